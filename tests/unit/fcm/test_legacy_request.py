"""A legacy message becomes a request or a result that says why not."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pushcore.fcm.request import LegacyRequestBuilder
from pushcore.http2.exchange import Exchange
from pushcore.models.fcm import LegacyMessage, LegacyNotification
from pushcore.results import Result

from .building import APNS, TOKEN, build, path_of, refused, sent


def legacy(**fields: Any) -> Any:
    return sent(LegacyMessage(**fields), LegacyRequestBuilder("push.example.com"))


def test_a_plain_legacy_push() -> None:
    push = LegacyMessage(to=TOKEN, data={"nested": {"a": [1, None]}})
    exchange = build(push, LegacyRequestBuilder("push.example.com"))
    assert isinstance(exchange, Exchange)
    assert dict(exchange.template.fields)[b":authority"] == b"push.example.com"
    assert path_of(exchange) == "/fcm/send"
    assert orjson.loads(exchange.body) == {"to": TOKEN, "data": {"nested": {"a": [1, None]}}}
    assert push.token == TOKEN


def test_every_field_of_a_legacy_push() -> None:
    plain = {
        "registration_ids": ["a", "b"],
        "collapse_key": "k",
        "priority": "high",
        "content_available": True,
        "mutable_content": True,
        "time_to_live": 0,
        "restricted_package_name": "com.e",
        "dry_run": True,
        "data": {"a": 1},
        "notification": {
            "title": "T", "body": "B", "sound": "s", "badge": "1", "icon": "i", "tag": "t", "color": "#fff000",
            "click_action": "c", "android_channel_id": "ch", "subtitle": "st", "body_loc_key": "k",
            "body_loc_args": '["1"]', "title_loc_key": "k", "title_loc_args": '["2"]',
        },
    }  # fmt: skip
    notification = dict(plain["notification"])  # type: ignore[call-overload]  # the example's part is an object
    typed = LegacyNotification(**{**notification, "body_loc_args": ["1"], "title_loc_args": ("2",)})
    assert legacy(**plain) == plain
    assert legacy(**{**plain, "notification": typed}) == plain
    assert LegacyMessage.from_dict(plain).to_dict() == plain
    assert LegacyMessage.from_dict(plain) == LegacyMessage(**plain)  # type: ignore[arg-type]  # fields by their names
    with pytest.raises(ValueError, match="unknown key 'tokens'"):
        LegacyMessage.from_dict({"tokens": []})
    with pytest.raises(ValueError, match="object"):
        LegacyMessage.from_dict([])  # type: ignore[arg-type]  # what the types forbid


@pytest.mark.parametrize(
    ("fields", "reason", "words"),
    [
        ({}, "MissingRegistration", "no target"),
        ({"to": "t", "condition": "x"}, "InvalidParameters", "to and condition"),
        ({"to": ""}, "InvalidRegistration", "1 to 4096"),
        ({"to": "ExponentPushToken[x]"}, "InvalidRegistration", "getDevicePushTokenAsync"),
        ({"to": "/topics/a b"}, "InvalidParameters", "topic"),
        ({"registration_ids": []}, "InvalidParameters", "1 to 1000"),
        ({"registration_ids": ["t"] * 1001}, "InvalidParameters", "1001"),
        ({"registration_ids": "abc"}, "InvalidParameters", "list"),
        ({"registration_ids": ["t", 7]}, "InvalidRegistration", "registration_ids[1]"),
        ({"condition": "'a' in"}, "InvalidParameters", "condition"),
        ({"to": "t", "priority": "HIGH"}, "InvalidParameters", "normal, high"),
        ({"to": "t", "time_to_live": -1}, "InvalidTtl", "2419200"),
        ({"to": "t", "time_to_live": 2419201}, "InvalidTtl", "2419200"),
        ({"to": "t", "time_to_live": "1s"}, "InvalidTtl", "2419200"),
        ({"to": "t", "data": {"from": 1}}, "InvalidDataKey", "'from'"),
        ({"to": "t", "data": []}, "InvalidParameters", "object"),
        ({"to": "t", "notification": {"titel": "x"}}, "InvalidParameters", "unknown key 'titel'"),
        ({"to": "t", "notification": {"bodyLocKey": "x"}}, "InvalidParameters", "unknown key 'bodyLocKey'"),
        ({"to": "t", "notification": {"body_loc_args": ["x"]}}, "InvalidParameters", "string"),
        ({"to": "t", "dry_run": 1}, "InvalidParameters", "true or false"),
        ({"to": "t", "data": {"k": "x" * 4096}}, "MessageTooBig", "4097"),
        ({"to": "/topics/t", "data": {"k": "x" * 2048}}, "MessageTooBig", "2049"),
        ({"to": "t", "data": {"k": object()}}, "InvalidParameters", "JSON"),
        ({"to": "t", "data": {"k": b"x"}}, "InvalidParameters", "JSON"),
    ],
)
def test_bad_legacy_pushes(fields: dict[str, Any], reason: str, words: str) -> None:
    push, builder = LegacyMessage(**fields), LegacyRequestBuilder("x")
    assert words in refused(push, builder)
    result = build(push, builder)
    assert isinstance(result, Result)
    assert result.reason == reason


@pytest.mark.parametrize("target", ["t", "/topics/news", APNS, "k" * 4096])
def test_legacy_targets(target: str) -> None:
    assert legacy(to=target) == {"to": target}
