"""What the fake FCM says of the fields of a message: Google's parser, field by field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fakeservers.fcm.fields import MAX_VIOLATIONS, camel
from fakeservers.fcm.message import (
    read_send,
)
from tests.fakeservers.fcm.messages import has_fcm_error, refusal, violations
from tests.fakeservers.fcm_client import FID, TOKEN

UNKNOWN = "Invalid JSON payload received. Unknown name"
NO_LIST = "Proto field is not repeating, cannot start list."
FCM = "type.googleapis.com/google.firebase.fcm.v1."
DURATION = "type.googleapis.com/google.protobuf.Duration"

NOTIFICATION: dict[str, Any] = {
    "title": "t",
    "body": "b",
    "icon": "i",
    "color": "#00fF7f",
    "sound": "default",
    "tag": "t",
    "click_action": "OPEN",
    "body_loc_key": "k",
    "body_loc_args": ["a"],
    "title_loc_key": "k",
    "title_loc_args": ["a", "b"],
    "channel_id": "c",
    "ticker": "t",
    "sticky": True,
    "event_time": "2026-11-24T10:00:00.5Z",
    "local_only": False,
    "notification_priority": "PRIORITY_HIGH",
    "default_sound": True,
    "default_vibrate_timings": False,
    "default_light_settings": False,
    "vibrate_timings": ["1s", "0.5s"],
    "visibility": "PRIVATE",
    "notification_count": 3,
    "light_settings": {
        "color": {"red": 1, "green": 0.5, "blue": 0, "alpha": 1},
        "light_on_duration": "1s",
        "light_off_duration": "2.5s",
    },
    "image": "https://example.com/i.png",
}
COMMON: dict[str, Any] = {
    "collapse_key": "c",
    "ttl": "2419200s",
    "restricted_package_name": "com.example",
    "data": {"a": "b"},
    "fcm_options": {"analytics_label": "label-1_.~%"},
    "direct_boot_ok": True,
    "bandwidth_constrained_ok": True,
    "restricted_satellite_ok": True,
}
WHOLE: dict[str, Any] = {
    "name": "ignored",
    "data": {"a": "b"},
    "notification": {"title": "t", "body": "b", "image": "i"},
    "android": COMMON | {"priority": "HIGH", "notification": NOTIFICATION | {"proxy": "DENY"}},
    "webpush": {
        "headers": {"TTL": "1"},
        "data": {"a": "b"},
        "notification": {"actions": [{"a": 1}], "x": None},
        "fcm_options": {"link": "https://example.com", "analytics_label": "l"},
    },
    "apns": {
        "headers": {"apns-priority": "5"},
        "payload": {"aps": {"alert": {"title-loc-args": ["a"]}, "badge": 1}, "own": {"deep": [1, None]}},
        "fcm_options": {"analytics_label": "l", "image": "i"},
        "live_activity_token": "abc",
    },
    "fcm_options": {"analytics_label": "l"},
    "token": TOKEN,
}
V2 = COMMON | {
    "remote_notification": {
        "mutable_content": True,
        "use_as_v1_data_message": False,
        "notification": NOTIFICATION | {"id": 7},
    }
}


def in_camels(value: Any, *, verbatim: bool = False) -> Any:
    """The same in lowerCamelCase, but for what is the app's own."""
    if not isinstance(value, dict) or verbatim:
        return value
    own = ("data", "headers", "payload")
    return {
        camel(key): in_camels(item, verbatim=key in own or (key == "notification" and "actions" in item))
        for key, item in value.items()
    }


@pytest.mark.parametrize(
    "message",
    [WHOLE, {"topic": "t", "android_v2": V2}, {"fid": FID, "android_v2": {"background_sync": {}}}],
)
def test_every_documented_field_in_both_spellings(message: dict[str, Any]) -> None:
    assert refusal(message) is None
    assert refusal(in_camels(message), validateOnly=True) is None
    assert in_camels(message) != message


def test_null_is_absent() -> None:
    nothing = dict.fromkeys(WHOLE) | {"android_v2": None, "fid": None, "topic": None}
    assert refusal(nothing | {"token": TOKEN}, validate_only=None) is None
    assert refusal({"token": TOKEN, "android": dict.fromkeys(COMMON)}) is None


PARSER: list[tuple[dict[str, Any], str, str]] = [
    ({"key": 1}, "message", f"{UNKNOWN} \"key\" at 'message': Cannot find field."),
    ({"to": "x"}, "message", f"{UNKNOWN} \"to\" at 'message': Cannot find field."),
    (
        {"notification": {"sound": "x"}},
        "message.notification",
        f"{UNKNOWN} \"sound\" at 'message.notification': Cannot find field.",
    ),
    (
        {"android": {"notification": {"bypass_proxy_notification": True}}},
        "message.android.notification",
        f"{UNKNOWN} \"bypass_proxy_notification\" at 'message.android.notification': Cannot find field.",
    ),
    (
        {"android_v2": {"priority": "HIGH"}},
        "message.android_v2",
        f"{UNKNOWN} \"priority\" at 'message.android_v2': Cannot find field.",
    ),
    (
        {"android_v2": {"remote_notification": {"notification": {"proxy": "DENY"}}}},
        "message.android_v2.remote_notification.notification",
        f"{UNKNOWN} \"proxy\" at 'message.android_v2.remote_notification.notification': Cannot find field.",
    ),
    (
        {"data": {"a": 12}},
        "message.data[0].value",
        "Invalid value at 'message.data[0].value' (TYPE_STRING), 12",
    ),
    (
        {"data": {"a": "b", "c": True}},
        "message.data[1].value",
        "Invalid value at 'message.data[1].value' (TYPE_STRING), true",
    ),
    (
        {"data": {"a": None}},
        "message.data[0].value",
        "Invalid value at 'message.data[0].value' (TYPE_STRING), null",
    ),
    (
        {"data": {"a": {}}},
        "message.data[0]",
        "Invalid value at 'message.data[0]' (value), Starting an object on a scalar field",
    ),
    ({"data": {"a": []}}, "message.data[0]", f"{UNKNOWN} \"value\" at 'message.data[0]': {NO_LIST}"),
    (
        {"data": [1]},
        "message.data",
        "Invalid value at 'message.data' (Map), Cannot bind a list to map for field 'data'.",
    ),
    ({"data": "x"}, "message.data", "Invalid value at 'message.data' (Map), \"x\""),
    ({"data": {"": "x"}}, "message.data", "Invalid value at 'message.data' (Map), Map keys cannot be empty"),
    ({"token": 5}, "message.token", "Invalid value at 'message.token' (TYPE_STRING), 5"),
    ({"token": ["a"]}, "message", f"{UNKNOWN} \"token\" at 'message': {NO_LIST}"),
    ({"notification": []}, "message", f"{UNKNOWN} \"notification\" at 'message': {NO_LIST}"),
    (
        {"notification": "hi"},
        "message.notification",
        f"Invalid value at 'message.notification' ({FCM}Notification), \"hi\"",
    ),
    (
        {"notification": {"title": {"a": 1}}},
        "message.notification",
        "Invalid value at 'message.notification' (title), Starting an object on a scalar field",
    ),
    (
        {"android": {"direct_boot_ok": "yes"}},
        "message.android.direct_boot_ok",
        "Invalid value at 'message.android.direct_boot_ok' (TYPE_BOOL), \"yes\"",
    ),
    (
        {"android": {"priority": "urgent"}},
        "message.android.priority",
        f"Invalid value at 'message.android.priority' ({FCM}AndroidMessagePriority), \"urgent\"",
    ),
    (
        {"android": {"notification": {"visibility": "VISIBILITY_PRIVATE"}}},
        "message.android.notification.visibility",
        "Invalid value at 'message.android.notification.visibility' "
        f'({FCM}AndroidNotification.Visibility), "VISIBILITY_PRIVATE"',
    ),
    (
        {"android": {"ttl": 5}},
        "message.android.ttl",
        f"Invalid value at 'message.android.ttl' ({DURATION}), "
        "Field 'ttl', Invalid data type for duration, value is 5",
    ),
    (
        {"android": {"ttl": "5"}},
        "message.android.ttl",
        f"Invalid value at 'message.android.ttl' ({DURATION}), "
        "Field 'ttl', Illegal duration format; duration must end with 's'",
    ),
    (
        {"android": {"ttl": "5.s"}},
        "message.android.ttl",
        f"Invalid value at 'message.android.ttl' ({DURATION}), "
        "Field 'ttl', Invalid duration format, failed to parse seconds",
    ),
    (
        {"android": {"notification": {"event_time": "yesterday"}}},
        "message.android.notification.event_time",
        "Invalid value at 'message.android.notification.event_time' "
        "(type.googleapis.com/google.protobuf.Timestamp), Field 'event_time', Invalid time format: yesterday",
    ),
    (
        {"android": {"notification": {"notification_count": 1.5}}},
        "message.android.notification.notification_count",
        "Invalid value at 'message.android.notification.notification_count' (TYPE_INT32), 1.5",
    ),
    (
        {"android": {"notification": {"notification_count": 2**31}}},
        "message.android.notification.notification_count",
        "Invalid value at 'message.android.notification.notification_count' (TYPE_INT32), 2147483648",
    ),
    (
        {"android": {"notification": {"light_settings": {"color": {"red": "much"}}}}},
        "message.android.notification.light_settings.color.red",
        "Invalid value at 'message.android.notification.light_settings.color.red' (TYPE_FLOAT), \"much\"",
    ),
    (
        {"android": {"notification": {"title_loc_args": [1]}}},
        "message.android.notification.title_loc_args[0]",
        "Invalid value at 'message.android.notification.title_loc_args[0]' (TYPE_STRING), 1",
    ),
    (
        {"apns": {"payload": "x"}},
        "message.apns.payload",
        "Invalid value at 'message.apns.payload' (type.googleapis.com/google.protobuf.Struct), \"x\"",
    ),
    ({"apns": {"payload": [1]}}, "message.apns", f"{UNKNOWN} \"payload\" at 'message.apns': {NO_LIST}"),
    (
        {"webpush": {"headers": {"TTL": 5}}},
        "message.webpush.headers[0].value",
        "Invalid value at 'message.webpush.headers[0].value' (TYPE_STRING), 5",
    ),
    (
        {"token": TOKEN, "topic": "a"},
        "message",
        "Invalid value at 'message' (oneof), oneof field 'target' is already set. Cannot set 'topic'",
    ),
    (
        {"token": TOKEN, "fid": FID},
        "message",
        "Invalid value at 'message' (oneof), oneof field 'target' is already set. Cannot set 'fid'",
    ),
    (
        {"android_v2": {"remote_notification": {}, "backgroundSync": {}}},
        "message.android_v2",
        "Invalid value at 'message.android_v2' (oneof), oneof field 'intent' is already set. "
        "Cannot set 'backgroundSync'",
    ),
]


@pytest.mark.parametrize(("message", "field", "description"), PARSER, ids=lambda case: str(case)[:50])
def test_what_the_parser_refuses(message: dict[str, Any], field: str, description: str) -> None:
    reply = refusal({"token": TOKEN} | message)
    assert violations(reply) == [(field, description)]
    assert not has_fcm_error(reply)
    assert reply is not None
    assert json.loads(reply.body)["error"]["message"] == description


def test_a_scalar_for_a_list() -> None:
    reply = refusal({"token": TOKEN, "android": {"notification": {"title_loc_args": "x"}}})
    assert [field for field, _ in violations(reply)] == ["message.android.notification.title_loc_args"]


def test_all_that_is_wrong_comes_at_once() -> None:
    reply = refusal({"token": TOKEN, "a": 1, "data": {"x": 1}, "android": {"b": 2}})
    assert [field for field, _ in violations(reply)] == [
        "message",
        "message.data[0].value",
        "message.android",
    ]
    assert reply is not None
    assert json.loads(reply.body)["error"]["message"].count("\n") == 2
    many = refusal({"token": TOKEN} | {f"k{number}": 1 for number in range(1000)})
    assert len(violations(many)) == MAX_VIOLATIONS


@pytest.mark.parametrize(
    ("body", "start"),
    [
        (b"nonsense", "Invalid JSON payload received. Unexpected token.\nnonsense\n^"),
        (b'{"message": {', "Invalid JSON payload received. Unexpected end of string. Expected a value.\n"),
        (b'{"message": {}} x', "Invalid JSON payload received. Unexpected token.\nx\n^"),
        (b"\xff", "Invalid JSON payload received. Unexpected token."),
        (b"[1]", f'{UNKNOWN} "": Root element must be a message.'),
        (b'"x"', f'{UNKNOWN} "": Root element must be a message.'),
        (b'{"to": "x"}', f'{UNKNOWN} "to": Cannot find field.'),
        (b'{"message": {}, "dry_run": true}', f'{UNKNOWN} "dry_run": Cannot find field.'),
    ],
)
def test_what_is_no_request(body: bytes, start: str) -> None:
    [(field, description)] = violations(read_send(body)[0].refusal)
    assert field == ""
    assert description.startswith(start)


def test_a_message_of_another_type() -> None:
    assert violations(refusal("x")) == [("message", f"Invalid value at 'message' ({FCM}Message), \"x\"")]
    assert violations(refusal([])) == [("", f'{UNKNOWN} "message": {NO_LIST}')]


def test_what_is_too_deep() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": [deep]}
    assert [field for field, _ in violations(refusal({"token": TOKEN, "apns": {"payload": deep}}))] == [
        "message.apns.payload"
    ]
    # orjson stops at 1024 levels
    assert read_send(b'{"a":' * 5000 + b"1" + b"}" * 5000)[0].refusal is not None
