"""From a request's JSON to a push and its sender: formats, targets, options, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from pushcore.gateway.apps import App
from pushcore.gateway.plain.messages import (
    BadPush,
    PushRequest,
    address,
    format_of,
    invalid,
    priority_of,
    push_type,
    result_json,
)
from pushcore.models.apns import Broadcast, Notification
from pushcore.models.fcm import Message
from pushcore.results import Result, Verdict
from tests.support.virtual_gateway import ALERT, ANDROID, EXPO, IPHONE, TOPIC, apns_section, app

DATA: dict[str, Any] = {"data": {"a": "b"}}


@pytest.fixture(scope="module")
def shop() -> App:
    return App(app(apns=(apns_section(environments=("production", "sandbox")),)))


def addressed(shop: App, **request: Any) -> Any:
    return address(shop, PushRequest(**{"payload": ALERT, **request}))


@pytest.mark.parametrize(
    ("request_", "payload"),
    [
        ({"to": IPHONE}, ALERT),
        ({"to": IPHONE.upper(), "platform": "ios"}, ALERT),
        ({"to": IPHONE, "platform": "apns", "format": "apns"}, ALERT),
        ({"to": {"type": "ios", "data": IPHONE}}, ALERT),
        ({"to": IPHONE, "payload": {"mdm": "x"}}, {"mdm": "x"}),
        ({"to": IPHONE, "payload": {"x": 1}, "format": "apns"}, {"x": 1}),
        ({"to": IPHONE, "payload": {"apns": ALERT, "fcm": DATA}}, ALERT),
        ({"to": IPHONE, "payload": {"apns": ALERT}}, ALERT),
        ({"to": IPHONE, "payload": EXPO}, {"aps": {"alert": {"title": "Hi", "body": "there"}}}),
        ({"to": IPHONE, "payload": {"data": {"a": "b"}, "title": "Hi"}, "format": "expo"}, None),
    ],
)
def test_pushes_to_an_iphone(shop: App, request_: dict[str, Any], payload: Any) -> None:
    sender, push = addressed(shop, **request_)
    assert isinstance(push, Notification)
    assert sender is shop.apns("production")
    assert push.token.lower() == IPHONE
    if payload is not None:
        assert push.payload == payload


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        ({"to": ANDROID, "payload": DATA, "format": "fcm"}, {"token": ANDROID, "data": {"a": "b"}}),
        ({"to": ANDROID, "payload": {"message": DATA}}, {"token": ANDROID, "data": {"a": "b"}}),
        ({"to": ANDROID, "payload": {"notification": {"title": "x"}}}, {"notification": {"title": "x"}}),
        ({"to": ANDROID, "payload": {"apns": ALERT, "fcm": DATA}}, {"data": {"a": "b"}}),
        ({"to": ANDROID, "payload": EXPO}, {"token": ANDROID}),
        ({"to": "AbC-9_zZ" * 3, "payload": DATA, "format": "fcm", "platform": "android"}, {}),
        ({"fcm_topic": "news", "payload": EXPO}, {"topic": "news", "token": None}),
        (
            {"condition": "'a' in topics", "payload": EXPO, "validate_only": True},
            {"condition": "'a' in topics", "validate_only": True},
        ),
    ],
)
def test_pushes_to_fcm(shop: App, request_: dict[str, Any], fields: dict[str, Any]) -> None:
    sender, push = addressed(shop, **request_)
    assert isinstance(push, Message)
    assert sender is shop.fcm
    assert {name: getattr(push, name) for name in fields} == fields


def test_options_of_apns(shop: App) -> None:
    options = {"push_type": "background", "priority": 5, "expiration": 7, "collapse_id": "c", "apns_id": "i"}
    _, push = addressed(shop, to=IPHONE, topic=f"{TOPIC}.voip", **options)
    assert {name: getattr(push, name) for name in options} == options
    assert push.topic == f"{TOPIC}.voip"
    _, expo = addressed(shop, to=IPHONE, payload=EXPO, **options)
    assert {name: getattr(expo, name) for name in options} == options
    _, kept = addressed(shop, to=IPHONE, payload={**EXPO, "priority": "normal"})
    assert (kept.push_type, kept.priority) == ("alert", 5)
    sender, _ = addressed(shop, to=IPHONE, environment="sandbox")
    assert sender is shop.apns("sandbox")


def test_each_push_without_an_id_has_one_of_its_own(shop: App) -> None:
    ids = {addressed(shop, to=IPHONE)[1].apns_id for _ in range(3)}
    assert len(ids) == 3
    assert all(len(one) == 36 for one in ids)


def test_data_alone_is_a_data_message_of_fcm(shop: App) -> None:
    _, push = addressed(shop, to=ANDROID, payload={"data": {"a": "b"}})
    assert isinstance(push, Message)
    assert push.data == {"a": "b"}


def test_a_broadcast(shop: App) -> None:
    sender, push = addressed(shop, channel="Y2hhbm5lbA==")
    assert isinstance(push, Broadcast)
    assert sender is shop.apns()
    assert (push.channel_id, push.payload, push.priority, push.expiration) == ("Y2hhbm5lbA==", ALERT, 10, 0)
    _, push = addressed(shop, channel="Y2g=", priority=5, expiration=9)
    assert (push.priority, push.expiration) == (5, 9)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "exactly one of to"),
        ({"to": IPHONE, "channel": "x"}, "exactly one of to"),
        ({"to": "?"}, "platform"),
        ({"to": {"type": "pager", "data": IPHONE}}, "neither"),
        ({"to": "ExponentPushToken[abc]", "payload": EXPO}, "Expo's push service"),
        ({"to": IPHONE, "payload": {}}, "several formats"),
        ({"to": IPHONE, "payload": {"x": 1}}, "several formats"),
        ({"to": IPHONE, "payload": {"data": {"a": "b"}}}, "several formats"),
        ({"to": IPHONE, "payload": {"alert": "Hi"}}, 'has alert at the top; expected them in "aps"'),
        ({"to": ANDROID, "payload": {"app_id": "x", "contents": {}}}, "of OneSignal's API"),
        ({"to": IPHONE, "payload": DATA, "format": "fcm"}, "format of fcm, and the target belongs to apns"),
        ({"to": IPHONE, "payload": {"notification": {}}}, "format of fcm"),
        ({"to": ANDROID}, "format of apns, and the target belongs to fcm"),
        ({"to": IPHONE, "payload": {"fcm": DATA}}, "has no apns"),
        ({"to": IPHONE, "payload": {"apns": 5}}, "in the format of fcm"),
        ({"to": IPHONE, "payload": {"apns": "aps"}}, "in the format of fcm"),
        ({"to": IPHONE, "push_type": "loud"}, "unknown push_type; expected one of"),
        ({"to": IPHONE, "priority": 3}, "expected priority 1, 5 or 10"),
        ({"to": IPHONE, "topic": "com.other"}, "no key or certificate for this topic"),
        ({"to": ANDROID, "payload": {"notification": {}, "token": "x"}}, "contains a target"),
        ({"to": ANDROID, "payload": {"data": {"a": "b"}, "colour": 1}, "format": "fcm"}, "colour"),
        ({"to": IPHONE, "payload": {"title": 5}}, "title"),
        ({"channel": "x", "payload": EXPO}, "a broadcast's payload is in APNs' format"),
    ],
)
def test_an_invalid_message_is_rejected_in_one_sentence(
    shop: App, request_: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadPush) as raised:
        addressed(shop, **request_)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("payload", "format"),
    [
        ({"aps": {}}, "apns"),
        ({"mdm": ""}, "apns"),
        ({"message": {}}, "fcm"),
        ({"android": {}}, "fcm"),
        ({"body": ""}, "expo"),
    ],
)
def test_the_format_is_seen_in_the_keys(payload: dict[str, Any], format: str) -> None:
    assert format_of(payload, "apns") == format


def test_options_that_were_not_given_are_none() -> None:
    assert push_type(PushRequest({})) is None
    assert priority_of(PushRequest({})) is None
    assert priority_of(PushRequest({}, priority=1)) == 1


def test_a_result_as_json() -> None:
    push = Notification(IPHONE, ALERT)
    accepted = Result(push, Verdict.ACCEPTED, 200, 1, id="the-id")
    assert result_json(accepted) == {"verdict": "ACCEPTED", "status": 200, "id": "the-id"}
    assert result_json(accepted, "r")["ref"] == "r"
    dead = result_json(Result(push, Verdict.UNREGISTERED, 410, 1, reason="Unregistered"), "r")
    assert "push" not in dead
    assert (dead["drop_token"], dead["reason"], dead["ref"]) == (True, "Unregistered", "r")
    assert None not in dead.values()
    wrong = result_json(invalid("why"))
    assert (wrong["verdict"], wrong["detail"], wrong["drop_token"]) == ("INVALID", "why", False)
