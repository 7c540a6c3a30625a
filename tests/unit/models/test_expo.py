"""Expo's messages against the two payload listings of Expo's page, field by field, for APNs, FCM v1 and legacy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pushcore.fcm.request import FcmRequestBuilder, LegacyRequestBuilder
from pushcore.http2.exchange import Exchange
from pushcore.models import warned
from pushcore.models.apns import Notification
from pushcore.models.expo import (
    NO_IMAGE,
    ExpoMessage,
    apns_payload,
    fcm_data,
    message_fields,
    quick_notification,
    to_legacy,
    to_message,
    to_notification,
    to_push,
)
from pushcore.models.fcm import FcmNotification, LegacyMessage, Message
from pushcore.requests import build_one
from pushcore.results import Result, Verdict

FID = "dPx6Y0k3Qm2Vb1N9zW8aLk"
FCM = f"{FID}:APA91b" + "x" * 134
APNS = "ab" * 32
NOW = 1_700_000_000.0
OWN = {"screen": "chat", "ids": [1, 2], "nested": {"ok": True}}

FULL = {
    "title": "Title",
    "subtitle": "Subtitle",
    "body": "Body",
    "data": OWN,
    "badge": 3,
    "sound": "default",
    "categoryId": "category",
    "channelId": "channel",
    "icon": "icon",
    "link": "https://example.com",
    "collapse_key": "collapse",
    "priority": "high",
    "threadId": "thread",
    "launchImage": "launch.png",
}
EXPERIENCE = "@yourExpoUsername/yourProjectSlug"

# The page's listing for Android: where each field's value is found, in the legacy form and in FCM v1.
ANDROID = {
    "token": (FCM, "to", "message.token"),
    "collapse_key": ("collapse", "collapse_key", "message.android.collapse_key"),
    "priority": ("high", "priority", "message.android.priority"),
    "data.experienceId": (EXPERIENCE, "data.experienceId", "message.data.experienceId"),
    "data.title": ("Title", "data.title", "message.data.title"),
    "data.message": ("Body", "data.message", "message.data.message"),
    "data.channelId": ("channel", "data.channelId", "message.data.channelId"),
    "data.categoryId": ("category", "data.categoryId", "message.data.categoryId"),
    "data.icon": ("icon", "data.icon", "message.data.icon"),
    "data.link": ("https://example.com", "data.link", "message.data.link"),
    "data.body": (OWN, "data.body", "message.data.body"),
}
# What expo-notifications reads besides, which this message has.
ALSO_READ = {"subtitle": "Subtitle", "badge": "3"}

# The page's listing for iOS.
IOS = {
    "aps.alert.title": "Title",
    "aps.alert.subtitle": "Subtitle",
    "aps.alert.body": "Body",
    "aps.alert.launch-image": "launch.png",
    "aps.category": "category",
    "aps.badge": 3,
    "aps.sound": "default",
    "aps.thread-id": "thread",
    "body": OWN,
    "experienceId": EXPERIENCE,
}


def take(source: dict[str, Any], path: str) -> Any:
    """Remove and return the value at `path`; objects that become empty are removed too."""
    key, _, subpath = path.partition(".")
    if not subpath:
        return source.pop(key)
    value = take(source[key], subpath)
    if source[key] == {}:
        del source[key]
    return value


def sent(push: Any) -> Any:
    """The JSON that goes to FCM."""
    builder = LegacyRequestBuilder("x") if isinstance(push, LegacyMessage) else FcmRequestBuilder("x", "p")
    exchange = build_one(builder, push, lambda ended: None, 1.0)
    assert isinstance(exchange, Exchange), exchange
    return orjson.loads(exchange.body)


def test_the_android_listing_in_the_legacy_form() -> None:
    message = sent(to_legacy(FULL, FCM, experience_id=EXPERIENCE))
    for value, path, _ in ANDROID.values():
        assert take(message, path) == value
    assert message == {"data": ALSO_READ}


def test_the_android_listing_in_v1() -> None:
    message = sent(to_message(FULL, FCM, android="data", experience_id=EXPERIENCE))
    for name, (value, _, path) in ANDROID.items():
        actual = take(message, path)
        if name == "priority":
            assert actual == "HIGH"
        elif name == "data.body":
            assert isinstance(actual, str)
            assert orjson.loads(actual) == value
        else:
            assert actual == value
    assert message == {"message": {"data": ALSO_READ}}


def test_the_ios_listing() -> None:
    push = to_notification(FULL, APNS, experience_id=EXPERIENCE)
    assert isinstance(push.payload, dict)
    for path, value in IOS.items():
        assert take(push.payload, path) == value
    assert push.payload == {}
    assert (push.token, push.push_type, push.priority, push.collapse_id) == (APNS, "alert", 10, "collapse")


def test_a_data_message_has_no_notification_at_all() -> None:
    push = to_message(FULL, FCM, android="data")
    assert push.notification is None
    assert set(sent(push)["message"]) == {"token", "data", "android"}
    assert all(isinstance(value, str) for value in sent(push)["message"]["data"].values())
    assert "notification" not in sent(to_legacy(FULL, FCM))


def test_by_default_android_gets_a_notification_with_the_data_of_the_listing() -> None:
    message = {
        **FULL,
        "sound": "bell.wav",
        "tag": "t",
        "color": "#00ff7f",
        "vibrate": [0, 250],
        "autoDismiss": False,
        "richContent": {"image": "https://e.com/i.png"},
    }
    fcm_message = sent(to_message(message, FCM))["message"]
    assert fcm_message["notification"] == {"title": "Title", "body": "Body", "image": "https://e.com/i.png"}
    assert fcm_message["android"] == {
        "collapse_key": "collapse",
        "priority": "HIGH",
        "notification": {
            "icon": "icon",
            "color": "#00ff7f",
            "sound": "bell.wav",
            "tag": "t",
            "channel_id": "channel",
            "sticky": True,
            "vibrate_timings": ["0s", "0.25s"],
            "notification_count": 3,
        },
    }
    assert (
        fcm_message["data"]
        == sent(to_message(message, FCM, android="data"))["message"]["data"]
        == fcm_data(message)
    )


@pytest.mark.parametrize(
    ("fields", "android"),
    [
        ({"sound": "default"}, {"notification": {"sound": "default"}}),
        ({"sound": {"name": "bell.wav", "critical": True}}, {"notification": {"sound": "bell.wav"}}),
        ({"vibrate": True}, {"notification": {"default_vibrate_timings": True}}),
        ({"vibrate": False, "badge": 0, "autoDismiss": True, "sticky": True}, None),
        ({"tag": "t", "ttl": 60}, {"ttl": "60s", "notification": {"tag": "t"}}),
        ({"subtitle": "S", "link": "https://e.com", "categoryId": "c"}, None),
    ],
)
def test_fields_beside_the_texts_become_androids(
    fields: dict[str, Any], android: dict[str, Any] | None
) -> None:
    message = sent(to_message({"body": "B", **fields}, FCM))["message"]
    assert (message["notification"], message.get("android")) == ({"body": "B"}, android)


def test_a_message_with_neither_title_nor_body_is_data_alone() -> None:
    for fields in ({"data": {"a": 1}}, {"_contentAvailable": True}, {"channelId": "c"}, {"subtitle": "S"}):
        assert set(sent(to_message(fields, FCM))["message"]) <= {"token", "data"}


def test_the_legacy_api_can_have_a_notification_as_well() -> None:
    message = sent(to_legacy({**FULL, "tag": "t"}, FCM, android="notification"))
    assert message["notification"] == {
        "title": "Title",
        "body": "Body",
        "sound": "default",
        "icon": "icon",
        "tag": "t",
        "android_channel_id": "channel",
    }
    assert message["data"] == fcm_data({**FULL, "tag": "t"}, legacy=True)
    assert to_push(FULL, FCM, legacy=True, android="notification") == to_legacy(
        FULL, FCM, android="notification"
    )
    assert to_push(FULL, FCM, android="data") == to_message(FULL, FCM, android="data")


def test_another_form_than_the_two() -> None:
    wrong: Any = "both"
    for make in (to_message, to_legacy, to_push):
        with pytest.raises(ValueError, match="android must be one of notification, data, not 'both'"):
            make(FULL, FCM, android=wrong)


def test_an_image_that_android_does_not_show_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    message = {"title": "T", "richContent": {"image": "https://e.com/i.png"}}
    warned.forget()
    to_message(message, FCM)
    assert caplog.messages == []
    for _ in range(3):
        to_message(message, FCM, android="data")
        to_legacy(message, FCM)
    assert caplog.messages == [NO_IMAGE]


def test_experience_and_scope_are_optional() -> None:
    for version in (False, True):
        data = fcm_data(FULL, legacy=version)
        assert not {"experienceId", "scopeKey"} & data.keys()
        data = fcm_data(FULL, legacy=version, experience_id="@a/b", scope_key="@a/c")
        assert (data["experienceId"], data["scopeKey"]) == ("@a/b", "@a/c")
    assert set(apns_payload(FULL)) == {"aps", "body"}
    payload = apns_payload(FULL, experience_id="@a/b", scope_key="@a/c")
    assert (payload["experienceId"], payload["scopeKey"]) == ("@a/b", "@a/c")


def test_the_minimal_examples_of_the_page() -> None:
    message = {"title": "T", "body": "B", "priority": "normal"}
    assert sent(to_legacy(message, FCM, experience_id="@a/b")) == {
        "to": FCM,
        "priority": "normal",
        "data": {"experienceId": "@a/b", "title": "T", "message": "B"},
    }
    push = to_notification(message, APNS, experience_id="@a/b")
    assert push.payload == {"aps": {"alert": {"title": "T", "body": "B"}}, "experienceId": "@a/b"}
    assert push.priority == 5
    v1 = {"channelId": "default", "body": "B", "title": "T", "data": {"a": 1}}
    assert sent(to_message(v1, FCM, android="data", scope_key="@a/b", experience_id="@a/b")) == {
        "message": {
            "token": FCM,
            "data": {
                "channelId": "default",
                "message": "B",
                "title": "T",
                "body": '{"a":1}',
                "scopeKey": "@a/b",
                "experienceId": "@a/b",
            },
        }
    }


@pytest.mark.parametrize(
    ("fields", "aps", "data"),
    [
        ({"sound": "default"}, {"sound": "default"}, {}),
        ({"sound": "bell.wav"}, {"sound": "bell.wav"}, {"sound": "bell.wav"}),
        ({"sound": None}, {}, {}),
        ({"sound": {"name": "bell.wav"}}, {"sound": "bell.wav"}, {"sound": "bell.wav"}),
        ({"sound": {"critical": True, "name": None}}, {"sound": {"critical": 1, "name": "default"}}, {}),
        (
            {"sound": {"critical": True, "name": "b.wav", "volume": 0.5}},
            {"sound": {"critical": 1, "name": "b.wav", "volume": 0.5}},
            {"sound": "b.wav"},
        ),
        ({"badge": 0}, {"badge": 0}, {"badge": "0"}),
        ({"mutableContent": True}, {"mutable-content": 1}, {}),
        ({"mutableContent": False}, {}, {}),
        ({"interruptionLevel": "time-sensitive"}, {"interruption-level": "time-sensitive"}, {}),
        ({"tag": "t"}, {}, {"tag": "t"}),
        ({"icon": "i", "link": "l", "color": "#ff0000"}, {}, {"icon": "i", "link": "l", "color": "#ff0000"}),
        ({"vibrate": True}, {}, {"vibrate": "true"}),
        ({"vibrate": [0, 250]}, {}, {"vibrate": "[0,250]"}),
        ({"sticky": True, "autoDismiss": False}, {}, {"sticky": "true", "autoDismiss": "false"}),
        ({"_contentAvailable": True}, {"content-available": 1}, {}),
        ({"contentAvailable": True}, {"content-available": 1}, {}),
        ({"_contentAvailable": True, "contentAvailable": False}, {}, {}),
        ({"contentAvailable": True, "_contentAvailable": False}, {"content-available": 1}, {}),
        ({"contentAvailable": None, "_contentAvailable": True}, {"content-available": 1}, {}),
        ({"_category": "c"}, {"category": "c"}, {"categoryId": "c"}),
        ({"_category": "old", "categoryId": "c"}, {"category": "c"}, {"categoryId": "c"}),
        ({"targetContentId": "w"}, {"target-content-id": "w"}, {}),
        ({"relevanceScore": 0.5}, {"relevance-score": 0.5}, {}),
        ({"filterCriteria": "work"}, {"filter-criteria": "work"}, {}),
        ({"_displayInForeground": True}, {}, {}),
    ],
)
def test_other_fields(fields: dict[str, Any], aps: dict[str, Any], data: dict[str, str]) -> None:
    message = {"title": "T", **fields}
    assert apns_payload(message) == {"aps": {"alert": {"title": "T"}, **aps}}
    assert fcm_data(message) == fcm_data(message, legacy=True) == {"title": "T", **data}


def test_rich_content_stands_where_a_service_extension_looks() -> None:
    message = {"title": "T", "data": {"a": 1}, "richContent": {"image": "https://e.com/i.png"}}
    body = {"a": 1, "_richContent": {"image": "https://e.com/i.png"}}
    assert apns_payload(message) == {"aps": {"alert": {"title": "T"}, "mutable-content": 1}, "body": body}
    assert orjson.loads(fcm_data(message)["body"]) == body
    assert message["data"] == {"a": 1}


def test_a_silent_message_is_a_background_push() -> None:
    push = to_notification({"_contentAvailable": True, "data": {"a": 1}, "priority": "high"}, APNS)
    assert (push.push_type, push.priority) == ("background", None)
    assert push.payload == {"aps": {"content-available": 1}, "body": {"a": 1}}
    assert to_notification({"_contentAvailable": True, "title": "T"}, APNS).push_type == "alert"


@pytest.mark.parametrize(
    ("fields", "expiration", "ttl"),
    [
        ({}, None, None),
        ({"ttl": 0}, 0, "0s"),
        ({"ttl": 60}, NOW + 60, "60s"),
        ({"ttl": 60, "expiration": 5}, NOW + 60, "60s"),
        ({"expiration": NOW + 90}, NOW + 90, "90s"),
        ({"expiration": NOW - 90}, NOW - 90, "0s"),
        ({"ttl": 1e9}, NOW + 1e9, "2419200s"),
    ],
)
def test_how_long_it_may_wait(fields: dict[str, Any], expiration: float | None, ttl: str | None) -> None:
    message = {"title": "T", **fields}
    assert to_notification(message, APNS, now=NOW).expiration == expiration
    assert sent(to_message(message, FCM, now=NOW))["message"].get("android", {}).get("ttl") == ttl
    legacy = sent(to_legacy(message, FCM, now=NOW)).get("time_to_live")
    assert (None if legacy is None else f"{legacy}s") == ttl


def test_now_is_needed_where_there_is_a_time() -> None:
    with pytest.raises(ValueError, match="needs now"):
        to_notification({"ttl": 5}, APNS)
    with pytest.raises(ValueError, match="needs now"):
        to_message({"expiration": NOW}, FCM)
    assert to_notification({"ttl": 0}, APNS).expiration == 0
    assert to_notification({"expiration": NOW}, APNS).expiration == NOW
    to_message({"ttl": 5}, FCM)


def test_a_now_in_milliseconds() -> None:
    for make, fields in ((to_notification, {"ttl": 5}), (to_message, {"expiration": NOW})):
        with pytest.raises(ValueError, match="now is in milliseconds"):
            make(fields, APNS, now=NOW * 1000)


def test_collapse_key_and_collapse_id_stand_in_for_each_other() -> None:
    for fields, ios, android in (
        ({"collapseId": "i"}, "i", "i"),
        ({"collapse_key": "a"}, "a", "a"),
        ({"collapseId": "i", "collapse_key": "a"}, "i", "a"),
    ):
        assert to_notification(fields, APNS).collapse_id == ios
        assert sent(to_message(fields, FCM))["message"]["android"] == {"collapse_key": android}
        assert sent(to_legacy(fields, FCM))["collapse_key"] == android


def test_the_default_priority_is_the_platforms_own() -> None:
    for fields in ({}, {"priority": "default"}, {"priority": None}):
        assert to_notification(fields, APNS).priority is None
        assert to_message(fields, FCM).android is None
        assert to_legacy(fields, FCM).priority is None


def test_the_token_chooses_the_push() -> None:
    message = ExpoMessage(title="T")
    push = to_push(message, APNS, topic="com.e")
    assert isinstance(push, Notification)
    assert (push.token, push.topic) == (APNS, "com.e")
    fields: dict[str, Any] = {"data": {"title": "T"}, "notification": FcmNotification("T")}
    assert to_push(message, FCM) == Message(token=FCM, **fields)
    assert to_push(message, FID) == Message(fid=FID, **fields)
    assert to_push(message, FCM, legacy=True) == LegacyMessage(to=FCM, data={"title": "T"})
    assert to_push({"to": FCM, "title": "T"}) == Message(token=FCM, **fields)
    assert to_push({"to": [FCM], "title": "T"}) == Message(token=FCM, **fields)
    assert isinstance(to_push(message, {"type": "ios", "data": "abcd"}), Notification)
    android = to_push(message, {"type": "android", "data": "of-a-new-shape"})
    assert android == Message(token="of-a-new-shape", **fields)
    assert message_fields(message) == fields


@pytest.mark.parametrize(
    ("token", "words"),
    [("ExponentPushToken[x]", "getDevicePushTokenAsync"), ("", "empty"), ("nonsense", "neither")],
)
def test_tokens_that_nothing_can_be_sent_to(token: str, words: str) -> None:
    for source in ({"to": token}, {"to": [token]}):
        with pytest.raises(ValueError, match=words):
            to_push(source)
    with pytest.raises(ValueError, match=words):
        to_push({}, token)


def test_several_recipients() -> None:
    message = ExpoMessage(["a", "b"], title="T")
    assert message.recipients == ("a", "b")
    assert sent(to_legacy(message)) == {"registration_ids": ["a", "b"], "data": {"title": "T"}}
    for make in (to_push, to_message, to_notification):
        with pytest.raises(ValueError, match="it holds 2"):
            make(message)
    for convert in (to_message, to_notification, to_legacy):
        with pytest.raises(ValueError, match="it holds 0"):
            convert({"title": "T"})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ([], "object"),
        (None, "object"),
        ({"title": 7}, "title must be a string"),
        ({"channelId": []}, "channelId"),
        ({"data": "x"}, "data must be an object"),
        ({"data": [1]}, "data must be an object"),
        ({"sound": 7}, "sound"),
        ({"sound": {"name": 7}}, "sound.name"),
        ({"sound": {"volume": 2}}, "sound.volume"),
        ({"badge": -1}, "badge"),
        ({"badge": True}, "badge"),
        ({"badge": 1.5}, "badge"),
        ({"ttl": -1}, "ttl"),
        ({"ttl": float("nan")}, "ttl"),
        ({"ttl": "60"}, "ttl"),
        ({"expiration": float("inf")}, "expiration"),
        (
            {"expiration": 3600},
            "expiration is in seconds from now: it takes UNIX seconds",
        ),
        (
            {"expiration": NOW * 1000},
            "expiration is in milliseconds: it takes UNIX seconds",
        ),
        ({"priority": "urgent"}, "default, normal, high"),
        ({"interruptionLevel": "loud"}, "passive"),
        ({"mutableContent": "yes"}, "mutableContent"),
        ({"_contentAvailable": 1}, "contentAvailable"),
        ({"richContent": "https://e.com"}, "richContent"),
        ({"richContent": {"image": 7}}, "richContent.image must be a URL, not 7"),
        ({"targetContentId": 7}, "targetContentId"),
        ({"filterCriteria": 7}, "filterCriteria"),
        ({"relevanceScore": 2}, "relevanceScore must be a number from 0 to 1, not 2"),
        ({"relevanceScore": True}, "relevanceScore"),
        ({"relevanceScore": float("nan")}, "relevanceScore"),
        ({"vibrate": "long"}, "vibrate"),
        ({"vibrate": ["x"]}, "vibrate"),
        ({"to": 7}, "to must be"),
        ({"to": [7]}, "to must be"),
    ],
)
def test_wrong_messages(source: Any, words: str) -> None:
    for make in (to_notification, to_message, to_legacy):
        with pytest.raises(ValueError, match=words):
            make(source, FCM)


def test_keys_of_tomorrow_are_left_out_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    warned.forget()
    for number in range(3):
        assert ExpoMessage.from_dict({"title": "T", "futureKey": number}) == ExpoMessage(title="T")
        to_notification({"title": "T", "futureKey": number}, APNS)
    assert caplog.messages == [
        "a message in Expo's format has the unknown key 'futureKey', which is left out"
    ]
    with pytest.raises(ValueError, match="unknown key 'futureKey' in the message in Expo's format"):
        ExpoMessage.from_dict({"title": "T", "futureKey": 1}, strict=True)
    assert ExpoMessage.from_dict({"title": "T", "_displayInForeground": True}, strict=True).title == "T"


def test_warnings_of_a_process_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    warned.forget()
    for number in range(1000):
        ExpoMessage.from_dict({"title": "T", f"key{number}": 1})
    assert len(caplog.messages) == warned.MAX_WARNINGS
    warned.forget()


def test_data_that_cannot_be_json() -> None:
    with pytest.raises(ValueError, match=r"^data\.a must be a value of JSON, not object$"):
        to_message({"data": {"a": object()}}, FCM)


def test_times_of_other_types() -> None:
    moment = datetime.fromtimestamp(1_790_000_000, UTC)
    assert ExpoMessage(ttl=timedelta(hours=1)) == ExpoMessage(ttl=3600)
    assert ExpoMessage(expiration=moment) == ExpoMessage(expiration=1_790_000_000)
    assert ExpoMessage(expiration=timedelta(hours=1)) == ExpoMessage(ttl=3600)
    assert ExpoMessage(ttl=5, expiration=timedelta(hours=1)) == ExpoMessage(ttl=5)
    for fields in (
        {"ttl": timedelta(seconds=-1)},
        {"expiration": moment.replace(tzinfo=None)},
        {"ttl": moment},
    ):
        wrong: Any = fields
        with pytest.raises(ValueError, match=next(iter(fields))):
            ExpoMessage(**wrong)


@pytest.mark.parametrize("now", ["1790000000", True, float("nan"), datetime(2030, 1, 1, tzinfo=UTC)])
def test_now_is_a_number(now: Any) -> None:
    with pytest.raises(ValueError, match=r"^now must be a finite number"):
        to_notification({"title": "Hi", "ttl": 60}, APNS, now=now)


def test_numbers_that_json_does_not_have_in_data() -> None:
    with pytest.raises(ValueError, match=r"^data\.n\[0\] is nan, a number that JSON does not have"):
        ExpoMessage(data={"n": [float("nan")]})


@pytest.mark.parametrize("form", [" {}", "{}\n", "{}\u200b", '"{}"'])
def test_a_mistyped_token_is_found_before_sending(form: str) -> None:
    wrong = form.format(FCM)
    push = to_message({"title": "Hi"}, wrong)
    requests = FcmRequestBuilder("fcm.googleapis.com", "project")
    result = build_one(requests, push, lambda exchange: None, 0.0)
    assert isinstance(result, Result)
    assert result.verdict is Verdict.INVALID


COMMON: dict[str, st.SearchStrategy[Any]] = {
    "title": st.text() | st.none(),
    "body": st.text(),
    "data": st.dictionaries(st.text(), st.text() | st.integers(0, 9) | st.none()) | st.just([]),
    "sound": st.just("default") | st.just({"name": "x"}) | st.just(5),
    "badge": st.integers(-1, 9) | st.booleans() | st.none(),
    "priority": st.sampled_from(["default", "normal", "high", "urgent", None, []]),
    "channelId": st.text() | st.integers(0, 1),
}
RARE: dict[str, st.SearchStrategy[Any]] = {
    "ttl": st.just(60),
    "subtitle": st.text(),
    "contentAvailable": st.booleans(),
    "future": st.none(),
}


@given(st.fixed_dictionaries({}, optional=COMMON) | st.fixed_dictionaries({}, optional=COMMON | RARE))
@example(
    {
        "title": "T",
        "body": "B",
        "data": {"a": 1},
        "sound": "x",
        "badge": 0,
        "priority": "high",
        "channelId": "c",
    }
)
def test_the_quick_way_makes_the_same_or_nothing(source: dict[str, Any]) -> None:
    quick = quick_notification(source, "aa", "topic")
    common = (
        COMMON.keys() >= source.keys()
        and None not in source.values()
        and type(source.get("sound")) is not dict
    )
    try:
        usual = to_notification(source, "aa", topic="topic", now=1_800_000_000)
    except ValueError:
        assert quick is None
    else:
        assert quick == (usual if common else None)


@pytest.mark.parametrize("source", [None, 5, "text", [], ()])
def test_the_quick_way_takes_objects_alone(source: object) -> None:
    assert quick_notification(source, "aa", None) is None


@pytest.mark.parametrize(
    ("times", "name"),
    [({"ttl": 2_419_201}, "ttl"), ({"expiration": 1_790_000_000 + 2_419_201}, "expiration")],
)
def test_a_lifetime_of_more_than_fcms_four_weeks_is_a_warning(
    times: dict[str, Any], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        push = to_message({"title": "T", **times}, FCM, now=1_790_000_000)
        assert sent(push)["message"]["android"]["ttl"] == "2419200s"
    (text,) = caplog.messages
    assert text.startswith(f"the {name} of a message is more than four weeks from now")
