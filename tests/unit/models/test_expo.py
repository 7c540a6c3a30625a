"""Expo's messages for both providers: fields, times, recipients, and what is wrong with a message."""

from __future__ import annotations

from collections import UserDict
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import orjson
import pytest

from pushcore.fcm.request import FcmRequestBuilder
from pushcore.models import warned
from pushcore.models.apns import Notification
from pushcore.models.expo import (
    ExpoMessage,
    apns_payload,
    fcm_data,
    message_fields,
    to_legacy,
    to_message,
    to_notification,
    to_push,
)
from pushcore.models.fcm import FcmNotification, LegacyMessage, Message
from pushcore.requests import build_one
from pushcore.results import Result, Verdict
from tests.support.expo_listing import APNS, FCM, FID, FULL, sent
from tests.support.strange_values import DEEP, Array

NOW = 1_700_000_000.0


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
    nested: Any
    for nested in (MappingProxyType({}), UserDict()):
        with pytest.raises(ValueError, match=r"^data\.a must be a dict, not (mappingproxy|UserDict)$"):
            to_message({"data": {"a": nested}}, FCM)
    assert to_message({"data": MappingProxyType({"a": 1})}, FCM).data == {"body": '{"a":1}'}
    with pytest.raises(ValueError, match=r"^data\._richContent\.x must be a value of JSON, not object$"):
        to_message({"richContent": {"x": object()}}, FCM)


@pytest.mark.parametrize(
    ("vibrate", "words"), [([0, -1], "it has -1"), ([0.5], "it has 0.5"), ([None], "it has null")]
)
def test_milliseconds_that_are_none(vibrate: Any, words: str) -> None:
    with pytest.raises(ValueError, match=f"^vibrate must be a list of whole milliseconds, {words}$"):
        ExpoMessage(vibrate=vibrate)


@pytest.mark.parametrize("name", ["priority", "interruptionLevel"])
def test_a_choice_is_a_text(name: str) -> None:
    for value in (Array(), ["high"], 7):
        with pytest.raises(ValueError, match=rf"^{name} must be one of "):
            ExpoMessage.from_dict({name: value})


@pytest.mark.parametrize("android", ["dta", "", 7, [], object(), Array(), DEEP])
def test_a_form_for_android_that_is_none(android: Any) -> None:
    """It is refused with a token of Apple's, too: the next may be of Google's."""
    for token in (APNS, FCM):
        with pytest.raises(ValueError, match=r"^android must be one of notification, data, not ") as caught:
            to_push({"title": "Hi"}, token, android=android)
        assert " at 0x" not in str(caught.value)
    for convert in (to_message, to_legacy):
        with pytest.raises(ValueError, match=r"^android must be one of notification, data, not "):
            convert({"title": "Hi"}, FCM, android=android)


def test_times_of_other_types() -> None:
    moment = datetime.fromtimestamp(1_790_000_000, UTC)
    assert ExpoMessage(ttl=timedelta(hours=1)) == ExpoMessage(ttl=3600)
    assert ExpoMessage(expiration=moment) == ExpoMessage(expiration=1_790_000_000)
    assert ExpoMessage(expiration=timedelta(hours=1)) == ExpoMessage(ttl=3600)
    assert ExpoMessage(ttl=5, expiration=timedelta(hours=1)) == ExpoMessage(ttl=5)
    for fields in (
        {"ttl": timedelta(seconds=-1)},
        {"expiration": timedelta(seconds=-1)},
        {"ttl": 3_600_000_000},  # microseconds
        {"ttl": timedelta.max},
        {"expiration": timedelta.max},
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
