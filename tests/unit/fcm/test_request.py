"""A message becomes a request or a result that says why not; nothing that is wrong with one push raises."""

from __future__ import annotations

import enum
from collections import UserString
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import product
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pushcore.errors import ConfigurationError
from pushcore.fcm.parts import MAX_KNOWN, EncodedParts
from pushcore.fcm.request import FcmRequestBuilder, LegacyRequestBuilder
from pushcore.http2.exchange import Exchange
from pushcore.models.aps import Aps
from pushcore.models.fcm import (
    AndroidConfig,
    AndroidConfigV2,
    AndroidNotification,
    AndroidNotificationV2,
    ApnsConfig,
    Color,
    FcmNotification,
    FcmOptions,
    LegacyMessage,
    LegacyNotification,
    LightSettings,
    Message,
    RemoteNotification,
    WebpushConfig,
    WebpushFcmOptions,
)
from pushcore.requests import END
from pushcore.results import Result, Verdict
from tests.support.strange_values import DEEP, Array

from .building import FID, TOKEN, build, path_of, refused, requests, sent, to


def test_a_plain_push() -> None:
    exchange = build(to(data={"title": "Hi"}))
    assert isinstance(exchange, Exchange)
    assert dict(exchange.template.fields) == {
        b":method": b"POST",
        b":scheme": b"https",
        b":authority": b"fcm.googleapis.com",
        b"content-type": b"application/json",
        b"x-goog-api-format-version": b"2",
    }
    assert path_of(exchange) == "/v1/projects/my-project/messages:send"
    assert exchange.own_fields == ()
    assert orjson.loads(exchange.body) == {"message": {"token": TOKEN, "data": {"title": "Hi"}}}


def test_all_requests_of_a_project_share_template_and_path() -> None:
    builder = requests()
    first, second = build(to(), builder), build(Message(topic="news"), builder)
    assert isinstance(first, Exchange)
    assert isinstance(second, Exchange)
    assert first.template is second.template
    assert first.path is second.path


@pytest.mark.parametrize("project", ["", "a b", "a/b", "a\r\nb", "ä", None, 7, "x" * 101])
def test_bad_projects(project: Any) -> None:
    with pytest.raises(ConfigurationError):
        FcmRequestBuilder("fcm.googleapis.com", project)


@pytest.mark.parametrize("project", ["my-project-1", "123456789012", "example.com:my-project"])
def test_projects(project: str) -> None:
    FcmRequestBuilder("fcm.googleapis.com", project)


TYPED: dict[str, tuple[Any, dict[str, Any]]] = {
    "notification": (
        FcmNotification("T", "B", "https://e.com/i.png"),
        {"title": "T", "body": "B", "image": "https://e.com/i.png"},
    ),
    "android": (
        AndroidConfig(
            collapse_key="k",
            priority="HIGH",
            ttl=3600,
            restricted_package_name="com.e",
            data={"a": "b"},
            notification=AndroidNotification(
                title="T",
                color="#00ff7f",
                body_loc_args=("1", "2"),
                event_time="2026-01-15T01:30:15.01Z",
                notification_priority="PRIORITY_MAX",
                vibrate_timings=[0.5, 1, "1.5s"],
                visibility="PRIVATE",
                notification_count=3,
                light_settings=LightSettings(
                    color=Color(1, 0.5, 0, 1), light_on_duration=1, light_off_duration=0.25
                ),
                proxy="DENY",
                sticky=False,
            ),
            fcm_options=FcmOptions("label"),
            direct_boot_ok=True,
        ),
        {
            "collapse_key": "k",
            "priority": "HIGH",
            "ttl": "3600s",
            "restricted_package_name": "com.e",
            "data": {"a": "b"},
            "notification": {
                "title": "T",
                "color": "#00ff7f",
                "body_loc_args": ["1", "2"],
                "event_time": "2026-01-15T01:30:15.01Z",
                "notification_priority": "PRIORITY_MAX",
                "vibrate_timings": ["0.5s", "1s", "1.5s"],
                "visibility": "PRIVATE",
                "notification_count": 3,
                "light_settings": {
                    "color": {"red": 1, "green": 0.5, "blue": 0, "alpha": 1},
                    "light_on_duration": "1s",
                    "light_off_duration": "0.25s",
                },
                "proxy": "DENY",
                "sticky": False,
            },
            "fcm_options": {"analytics_label": "label"},
            "direct_boot_ok": True,
        },
    ),
    "android_v2": (
        AndroidConfigV2(
            ttl="3.5s",
            remote_notification=RemoteNotification(
                mutable_content=True,
                use_as_v1_data_message=False,
                notification=AndroidNotificationV2(id=7, title="T"),
            ),
        ),
        {
            "ttl": "3.5s",
            "remote_notification": {
                "mutable_content": True,
                "use_as_v1_data_message": False,
                "notification": {"id": 7, "title": "T"},
            },
        },
    ),
    "webpush": (
        WebpushConfig(
            headers={"Urgency": "high"},
            data={"a": "b"},
            notification={"title": "T", "actions": [{"action": "x"}]},
            fcm_options=WebpushFcmOptions(link="https://e.com", analytics_label="w"),
        ),
        {
            "headers": {"Urgency": "high"},
            "data": {"a": "b"},
            "notification": {"title": "T", "actions": [{"action": "x"}]},
            "fcm_options": {"link": "https://e.com", "analytics_label": "w"},
        },
    ),
    "apns": (
        ApnsConfig(
            headers={"apns-priority": "10"},
            payload=Aps(alert="Hi", badge=1, mutable_content=True, custom={"k": [1]}),
            fcm_options={"image": "https://e.com/i.png"},
            live_activity_token="t",
        ),
        {
            "headers": {"apns-priority": "10"},
            "payload": {"aps": {"alert": "Hi", "badge": 1, "mutable-content": 1}, "k": [1]},
            "fcm_options": {"image": "https://e.com/i.png"},
            "live_activity_token": "t",
        },
    ),
    "fcm_options": (FcmOptions("a-b_c.d~e%"), {"analytics_label": "a-b_c.d~e%"}),
}


@pytest.mark.parametrize("name", TYPED)
def test_typed_parts_and_dicts_are_sent_alike(name: str) -> None:
    typed, plain = TYPED[name]
    builder = requests()
    for value in (typed, plain, MappingProxyType(plain), typed, plain):
        assert sent(to(**{name: value}), builder) == {"message": {"token": TOKEN, name: plain}}


@pytest.mark.parametrize("name", TYPED)
def test_json_of_both_spellings_comes_back_as_a_message(name: str) -> None:
    typed, plain = TYPED[name]
    for key in (name, {"android_v2": "androidV2", "fcm_options": "fcmOptions"}.get(name, name)):
        for spelling in ("validate_only", "validateOnly"):
            push = Message.from_dict({spelling: True, "message": {"fid": FID, key: plain}})
            fields: dict[str, Any] = {name: plain}
            assert push == Message(fid=FID, validate_only=True, **fields)
            assert sent(push) == {"validate_only": True, "message": {"fid": FID, name: plain}}
    assert to(**{name: typed}).to_dict() == {"message": {"token": TOKEN, name: plain}}


def test_camel_case_parts_pass_as_they_are() -> None:
    android = {
        "collapseKey": "k",
        "notification": {"channelId": "c", "titleLocArgs": ["x"], "lightSettings": {}},
    }
    assert sent(to(android=android))["message"]["android"] == android
    v2 = {"backgroundSync": {}, "directBootOk": True}
    assert sent(to(android_v2=v2))["message"]["android_v2"] == v2


def test_data_of_other_types() -> None:
    class Word(enum.StrEnum):
        A = "value"

    class Own(dict[str, str]):
        pass

    for data in ({"a": Word.A}, Own(a="value"), MappingProxyType({"a": "value"})):
        assert sent(to(data=data))["message"]["data"] == {"a": "value"}
    for key in ("collapse_key", "gcmx", "fromage", "x" * 100):
        assert sent(to(data={key: ""}))["message"]["data"] == {key: ""}


def test_the_cache_is_bounded_and_a_changed_dict_is_seen() -> None:
    builder = requests()
    for number in range(2 * MAX_KNOWN + 10):
        sent(to(data={f"k{number}": "v"}, android={"collapse_key": str(number)}), builder)
    assert len(builder._keys) <= MAX_KNOWN + 64
    assert len(builder._parts._known) <= MAX_KNOWN
    shared = {"a": "b"}
    push = to(android=AndroidConfig(data=shared))
    assert sent(push, builder)["message"]["android"]["data"] == {"a": "b"}
    shared["a"] = "c"
    assert sent(push, builder)["message"]["android"]["data"] == {"a": "c"}
    shared["a"] = 7  # type: ignore[assignment]  # what the types forbid
    assert "android.data['a']" in refused(push, builder)


def bodies(pushes: Iterable[Message]) -> list[Any]:
    """What a burst of pushes that can all be sent becomes, the JSON of each message."""
    made: list[Exchange] = []
    wrong: list[Result] = []
    assert requests().build(pushes, Message, lambda finished: None, 10.0, made, wrong) is END
    assert not wrong
    return [orjson.loads(exchange.body)["message"] for exchange in made]


@pytest.mark.parametrize("name", ["notification", "data", "android", "apns", "webpush", "fcm_options"])
def test_a_source_may_change_in_place_what_it_hands_out(name: str) -> None:
    """Each push is made a request before the next is read, and nothing of an earlier one is sent in its place."""
    texts = ["a", "b", "b", "a", "a", "c"]
    key = {"data": "k", "apns": "live_activity_token", "fcm_options": "analytics_label"}.get(name, "title")
    inner = {key: ""}
    part: Any = {"notification": inner} if name in ("android", "webpush") else inner

    def source() -> Iterator[Message]:
        for text in texts:
            inner[key] = text
            yield to(**{name: part})

    expected = [{"notification": {key: text}} if part is not inner else {key: text} for text in texts]
    assert [message[name] for message in bodies(source())] == expected


@pytest.mark.parametrize("kind", [dict, MappingProxyType])
def test_a_notification_of_another_mapping_may_change_in_place(kind: Any) -> None:
    shared = {"title": "a"}
    view = kind(shared)

    def source() -> Iterator[Message]:
        for title in ("a", "b", "a"):
            shared["title"] = title
            yield to(notification=view if kind is MappingProxyType else shared)

    assert [message["notification"]["title"] for message in bodies(source())] == ["a", "b", "a"]


def test_messages_sent_alone_one_after_another_have_nothing_of_those_before() -> None:
    """A builder keeps the start and the end of bodies from one call to the next."""
    builder = requests()
    notification = {"title": "a"}
    pushes = [
        to(notification=notification, data={"k": "v"}, android={"priority": "HIGH"}),
        to(notification=notification, data={"k": "v"}, android={"priority": "HIGH"}),
        to(notification=notification, android={"priority": "HIGH"}),
        Message(topic="news", notification=notification, android={"priority": "HIGH"}),
        Message(fid=FID, data={"k": "w"}, android={"priority": "HIGH"}),
        to(android={"priority": "HIGH"}),
        to(notification=FcmNotification(title="a")),
        to(notification=FcmNotification(title="a")),
        to(notification={"title": "a", "body": "b"}),
    ]
    for push in pushes:
        assert sent(push, builder) == push.to_dict()
    for title in ("b", "b", "a"):
        notification["title"] = title
        assert sent(to(notification=notification), builder)["message"]["notification"] == {"title": title}


def test_a_body_is_the_json_of_its_message_whatever_it_has() -> None:
    """Bodies are joined from pieces, in a burst of other messages as well as alone."""
    targets: list[dict[str, Any]] = [
        {"token": TOKEN},
        {"topic": "news"},
        {"condition": "'a' in topics"},
        {"fid": FID},
    ]
    parts: list[dict[str, Any]] = [
        {},
        {"android": {"priority": "HIGH"}},
        {"apns": {"payload": {"aps": {"alert": "é"}}}},
    ]
    notifications: list[Any] = [None, {"title": 'quoted "é"'}, FcmNotification(body="\\ \n")]
    data: list[Any] = [None, {}, {"k": "v", 'quoted "é"': "\\"}]
    pushes = [
        Message(**target, **part, notification=notification, data=values, validate_only=validate_only)
        for part, notification, target, values, validate_only in product(
            parts, notifications, targets, data, (False, True)
        )
    ]
    expected = [push.to_dict() for push in pushes]
    exchanges: list[Exchange] = []
    assert requests().build(pushes, Message, lambda finished: None, 10.0, exchanges, []) is END
    assert [orjson.loads(exchange.body) for exchange in exchanges] == expected
    assert [sent(push) for push in pushes] == expected


def test_numbers_that_are_equal_to_python_are_not_the_same() -> None:
    """1, 1.0 and True are equal, and different JSON."""
    values = [1, True, 1.0, 1, 1, False, 0, None]
    pushes = [to(apns={"payload": {"own": {"badge": value}, "list": [value]}}) for value in values]
    payloads = [message["apns"]["payload"] for message in bodies(pushes)]
    assert [repr(payload["own"]["badge"]) for payload in payloads] == list(map(repr, values))
    assert [repr(payload["list"]) for payload in payloads] == [repr([value]) for value in values]


def test_parts_come_and_go() -> None:
    pushes = [
        to(android={"priority": "HIGH"}),
        to(),
        to(android=AndroidConfig(priority="HIGH")),
        to(android={"priority": "HIGH"}, fcm_options={"analytics_label": "a"}),
        to(fcm_options={"analytics_label": "a"}),
        to(notification=FcmNotification(title="a")),
        to(notification=FcmNotification(title="a")),
        to(notification={"title": "b"}),
    ]
    high, label = {"priority": "HIGH"}, {"analytics_label": "a"}
    a, b = {"title": "a"}, {"title": "b"}
    parts_sent = [
        {name: part for name, part in message.items() if name != "token"} for message in bodies(pushes)
    ]
    assert parts_sent == [
        {"android": high},
        {},
        {"android": high},
        {"android": high, "fcm_options": label},
        {"fcm_options": label},
        {"notification": a},
        {"notification": a},
        {"notification": b},
    ]


def test_parts_are_known_as_they_are_when_two_messages_in_a_row_had_them() -> None:
    parts, shared = EncodedParts(), {"a": "b"}
    same = ({"priority": "HIGH"}, None, {"payload": {"n": 1, "l": ["a"]}}, None, None)
    other = ({"priority": "NORMAL"}, *same[1:])
    changing = (AndroidConfig(data=shared), None, None, None, None)
    for some, known in ((same, False), (other, False), (same, False), (same, True), (other, True)):
        assert parts.learn(some).keys() == {"android", "apns"}
        assert (parts.seen == same) is known
    for _ in range(3):
        parts.learn(changing)
    assert parts.seen != changing  # it may differ tomorrow
    shared["a"] = "c"
    assert orjson.loads(orjson.dumps(parts.learn(changing)["android"])) == {"data": {"a": "c"}}


def mostly(usual: Any, *unusual: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([usual] * (2 * len(unusual)) + list(unusual))


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "token": mostly(TOKEN, FID, None, 5),
                "fid": mostly(None, FID, ""),
                "topic": mostly(None, "news", "/topics/news"),
                "condition": mostly(None, "'a' in topics"),
                "data": st.sampled_from([{"a": "b"}, {"a": "c", "d": ""}, {}, {"from": "x"}, {"a": 1}, None]),
                "notification": st.sampled_from(
                    [
                        {"title": "a"},
                        {"title": "b", "body": "c"},
                        FcmNotification(title="a"),
                        {"titel": "a"},
                        None,
                    ]
                ),
                "android": mostly(None, {"priority": "HIGH"}, AndroidConfig(priority="NORMAL"), {"x": 1}),
                "fcm_options": mostly(None, {"analytics_label": "l"}),
                "validate_only": mostly(False, True, "no"),
            }
        ),
        max_size=8,
    )
)
@example([{"token": TOKEN, "data": {"a": "b"}}, {"token": TOKEN}])
@example([{"token": TOKEN, "notification": {"title": "a"}}, {"token": TOKEN}])
@example(
    [{"token": TOKEN, "data": {"a": "b"}}, {"fid": FID}, {"topic": "news"}, {"condition": "'a' in topics"}]
)
def test_a_message_in_a_burst_is_what_it_is_by_itself(messages: list[dict[str, Any]]) -> None:
    """Nothing of one message gets into another, whatever is wrong with the one between."""
    exchanges: list[Exchange] = []
    rejected: list[Result] = []
    pushes = [Message(**fields) for fields in messages]
    assert requests().build(iter(pushes), Message, lambda ended: None, 10.0, exchanges, rejected) is END
    outcomes: dict[int, Any] = {id(exchange.context): orjson.loads(exchange.body) for exchange in exchanges}
    outcomes |= {id(result.push): result.detail for result in rejected}
    for push in pushes:
        alone = build(push)
        assert outcomes[id(push)] == (
            orjson.loads(alone.body) if isinstance(alone, Exchange) else alone.detail
        )


class Hostile:
    """An object that fails whenever it is looked at."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("never")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    "name", ["notification", "data", "android", "android_v2", "apns", "webpush", "fcm_options", "fid"]
)
def test_an_object_that_fails_when_it_is_looked_at_costs_its_push_alone(name: str) -> None:
    token = None if name == "fid" else TOKEN
    fields: dict[str, Any] = {"token": token, name: Hostile()}
    assert name in refused(Message(**fields))


any_android: Any = AndroidConfig
"""For arguments of a wrong type."""


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"android": any_android(collapse_key=DEEP)}, "android is nested too deeply"),
        ({"notification": DEEP}, "notification is nested too deeply"),
        (
            {"android": any_android(collapse_key=UserString("x"))},
            "android.collapse_key must be a string, not UserString",
        ),
        (
            {"android": any_android(priority=Array())},
            "android.priority must be one of NORMAL, HIGH, not Array",
        ),
        ({"fcm_options": UserString("x")}, "fcm_options must be an object, not UserString"),
    ],
)
def test_a_part_that_json_does_not_have_is_named(fields: dict[str, Any], words: str) -> None:
    assert words in refused(to(**fields))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"to": False}, "to must be a string, not false"),
        ({"to": datetime(2030, 1, 1)}, "to must be a string, not datetime"),
        ({"condition": False}, "condition must be a string, not false"),
        ({"registration_ids": False}, "registration_ids must be a list of 1 to 1000 tokens"),
        ({"registration_ids": TOKEN}, "registration_ids must be a list of 1 to 1000 tokens, not a string"),
        ({"to": TOKEN, "data": {1: 2}}, "the keys of data must be strings, not int (1)"),
        ({"to": TOKEN, "data": {"a": b"x"}}, "data.a must be a value of JSON, not bytes"),
        ({"to": TOKEN, "priority": Array()}, "priority must be one of normal, high, not Array"),
    ],
)
def test_a_legacy_field_of_a_wrong_type_is_named(fields: dict[str, Any], words: str) -> None:
    assert words in refused(LegacyMessage(**fields), LegacyRequestBuilder("x"))


any_notification: Any = LegacyNotification


@pytest.mark.parametrize("name", ["title_loc_args", "body_loc_args"])
def test_arguments_of_a_legacy_text(name: str) -> None:
    for value in (
        7,
        True,
        b"ab",
        {"a": 1},
        datetime(2030, 1, 1).time,
        object(),
        [object()],
    ):
        notification = any_notification(**{name: value})
        detail = refused(LegacyMessage(to=TOKEN, notification=notification), LegacyRequestBuilder("x"))
        assert f"notification.{name}" in detail, value
    notification = any_notification(**{name: ("a", "b")})
    assert notification.to_dict() == {name: '["a","b"]'}


def test_half_of_a_surrogate_pair_in_a_legacy_notification() -> None:
    notification = LegacyNotification(subtitle="\ud800")
    detail = refused(LegacyMessage(to=TOKEN, notification=notification), LegacyRequestBuilder("x"))
    assert "notification.subtitle must be valid Unicode" in detail


def test_a_ttl_beyond_any_float_is_invalid() -> None:
    detail = refused(Message(token=TOKEN, android=AndroidConfig(ttl=10**400)))
    assert "android" in detail


def test_a_burst_ends_at_a_push_of_another_class() -> None:
    """And what cannot be sent does not hinder the others."""
    made: list[Exchange] = []
    wrong: list[Result] = []
    stranger = LegacyMessage(to="t")
    pushes = iter([to(), to(data={"a": 1}), to(android={"x": 1}), to(), stranger, to()])
    assert requests().build(pushes, Message, lambda finished: None, 10.0, made, wrong) is stranger
    assert (len(made), len(wrong), len(list(pushes))) == (2, 2, 1)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=20)
        | st.binary(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from(Message.__slots__),
)
def test_no_value_raises(value: Any, name: str) -> None:
    for fields in ({name: value}, {"token": TOKEN, name: value}):
        result = build(Message(**fields))
        assert isinstance(result, Exchange) or result.verdict is Verdict.INVALID


def test_a_circular_reference_does_not_raise() -> None:
    circle: dict[str, Any] = {}
    circle["a"] = circle
    refused(to(android={"notification": circle}))
    refused(to(apns=ApnsConfig(payload=circle)))
    refused(LegacyMessage(to="t", data=circle), LegacyRequestBuilder("x"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"message": {"token": "t", "key": 1}}, "unknown key 'key' in the message"),
        ({"message": {}, "key": 1}, "unknown key 'key' in the request"),
        ({"token": "t", "validate_only": True}, "validate_only"),
        ({"message": []}, "object"),
        ({"androidV2": {}, "android_v2": {}}, "twice"),
        ([], "object"),
        (None, "object"),
    ],
)
def test_json_that_is_no_message(source: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Message.from_dict(source)


def test_a_name_of_googles_is_ignored() -> None:
    assert Message.from_dict({"name": "projects/p/messages/1", "token": "t"}) == Message(token="t")
