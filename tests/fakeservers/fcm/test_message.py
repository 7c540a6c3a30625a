"""What the fake FCM says of a message: Google's parser field by field, then the rules about what the fields say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fakeservers.fcm.fields import MAX_VIOLATIONS, camel, parse_json
from fakeservers.fcm.message import (
    KNOWN_BODIES,
    MAX_KNOWN_BODY,
    Send,
    _checked,
    _known,
    is_apns_consistent,
    is_condition,
    read_send,
)
from fakeservers.fcm.schema import SEND_REQUEST
from fakeservers.responses.fcm import Reply
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


def refusal(message: Any, **request: Any) -> Reply | None:
    return read_send(json.dumps({"message": message, **request}).encode())[0].refusal


def violations(reply: Reply | None) -> list[tuple[str, str]]:
    """Field and description of each violation."""
    assert reply is not None
    assert reply.status == 400
    details = json.loads(reply.body)["error"].get("details", [])
    return [
        (item.get("field", ""), item["description"])
        for detail in details
        for item in detail.get("fieldViolations", ())
    ]


def has_fcm_error(reply: Reply | None) -> bool:
    return reply is not None and b"FcmError" in reply.body


ALERT = {"aps": {"alert": {"title": "Hi"}}}
SILENT = {"aps": {"content-available": 1}}


@pytest.mark.parametrize(
    ("apns", "notification", "consistent"),
    [
        ({}, None, True),
        ({"payload": ALERT}, None, True),
        ({"headers": {"apns-priority": "10"}}, None, False),
        ({"headers": {"apns-priority": "10"}}, {"title": "Hi"}, True),
        ({"headers": {"apns-priority": "10"}, "payload": {"a": 1}}, None, False),
        ({"headers": {"apns-push-type": "background"}, "payload": ALERT}, None, False),
        ({"headers": {"Apns-Push-Type": "background"}, "payload": SILENT}, {"title": "Hi"}, False),
        ({"headers": {"apns-push-type": "background"}}, {"title": "Hi"}, False),
        ({"headers": {"apns-push-type": "background", "apns-priority": "5"}, "payload": SILENT}, None, True),
        ({"headers": {"apns-priority": "10"}, "payload": SILENT}, None, False),
        ({"headers": {"apns-priority": "10"}, "payload": {"aps": {**SILENT["aps"], "badge": 1}}}, None, True),
        ({"headers": {"apns-push-type": "alert", "apns-priority": "10"}, "payload": ALERT}, None, True),
    ],
)
def test_an_apns_part_that_google_dislikes(apns: Any, notification: Any, consistent: bool) -> None:
    message = {"token": TOKEN, "apns": apns, **({"notification": notification} if notification else {})}
    send, _ = read_send(json.dumps({"message": message}).encode())
    assert send.refusal is None
    assert is_apns_consistent(send.message) is consistent


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


LENIENT: list[dict[str, Any]] = [
    {"android": {"priority": "high"}},
    {"android": {"priority": 1}},
    {"android": {"direct_boot_ok": "true"}},
    {"android": {"ttl": "0s"}},
    {"android": {"ttl": "3.5s"}},
    {"android": {"ttl": "2419200.999999999s"}},
    {"android": {"notification": {"notification_count": "3"}}},
    {"android": {"notification": {"notification_count": 3.0}}},
    {"android": {"notification": {"light_settings": {"color": {"red": "0.5"}}}}},
    {"apns": {"payload": {}}},
    {"apns": {"payload": {"aps": {"badge": 0.5}}}},
    {"data": {}},
    {"data": {"From": "x", "message_typed": "x", "gcms": "x", "goo": "x"}},
    {"notification": {}},
]


@pytest.mark.parametrize("message", LENIENT, ids=str)
def test_what_google_takes(message: dict[str, Any]) -> None:
    assert refusal({"token": TOKEN} | message) is None


NO_RECIPIENT = "Recipient of the message is not set."
RULES: list[tuple[dict[str, Any], str, str]] = [
    ({"token": None}, "message", NO_RECIPIENT),
    ({"token": ""}, "message", NO_RECIPIENT),
    ({"token": None, "topic": ""}, "message", NO_RECIPIENT),
    ({"token": None, "fid": "x" * 22}, "message.fid", "Invalid registration token"),
    ({"token": None, "fid": TOKEN}, "message.fid", "Invalid registration token"),
    ({"token": None, "topic": "/topics/a"}, "message.topic", "Invalid topic name"),
    ({"token": None, "topic": "a b"}, "message.topic", "Invalid topic name"),
    ({"token": None, "topic": "ä"}, "message.topic", "Invalid topic name"),
    ({"token": None, "topic": "a" * 901}, "message.topic", "Invalid topic name"),
    ({"token": None, "condition": "news"}, "message.condition", "Invalid condition expression provided."),
    ({"data": {"from": "x"}}, "message.data", "Invalid data payload key: from"),
    ({"data": {"a": "b", "gcm": "x"}}, "message.data", "Invalid data payload key: gcm"),
    ({"data": {"message_type": "x"}}, "message.data", "Invalid data payload key: message_type"),
    ({"data": {"google.a": "x"}}, "message.data", "Invalid data payload key: google.a"),
    ({"data": {"googles": "x"}}, "message.data", "Invalid data payload key: googles"),
    ({"data": {"gcm.notification.a": "x"}}, "message.data", "Invalid data payload key: gcm.notification.a"),
    ({"android": {"data": {"from": "x"}}}, "message.android.data", "Invalid data payload key: from"),
    (
        {"android": {}, "android_v2": {}},
        "message.android_v2",
        "Only one of android and android_v2 may be set",
    ),
    ({"android": {"ttl": "-1s"}}, "message.android.ttl", "Invalid ttl"),
    ({"android": {"ttl": "2419201s"}}, "message.android.ttl", "Invalid ttl"),
    ({"android_v2": {"ttl": "2419201s"}}, "message.android_v2.ttl", "Invalid ttl"),
    (
        {"android": {"notification": {"color": "red"}}},
        "message.android.notification.color",
        "Invalid color",
    ),
    (
        {"android_v2": {"remote_notification": {"notification": {"color": "#12345"}}}},
        "message.android_v2.remote_notification.notification.color",
        "Invalid color",
    ),
    (
        {"android": {"notification": {"notification_count": -1}}},
        "message.android.notification.notification_count",
        "Invalid notification count",
    ),
    (
        {"android": {"notification": {"light_settings": {"color": {"red": 1.1}}}}},
        "message.android.notification.light_settings.color",
        "Invalid color",
    ),
    (
        {"apns": {"payload": {"aps": {"badge": "1"}}}},
        "message.apns.payload.aps.badge",
        "Value type for APS key [badge] is a number.",
    ),
    (
        {"apns": {"payload": {"aps": {"badge": True}}}},
        "message.apns.payload.aps.badge",
        "Value type for APS key [badge] is a number.",
    ),
    (
        {"apns": {"payload": {"aps": "x"}}},
        "message.apns.payload.aps",
        "Value type for APS key is a dictionary.",
    ),
    (
        {"webpush": {"fcm_options": {"link": "http://a"}}},
        "message.webpush.fcm_options.link",
        "Invalid link: HTTPS is required",
    ),
    (
        {"fcm_options": {"analytics_label": "a b"}},
        "message.fcm_options.analytics_label",
        "Invalid analytics label",
    ),
    (
        {"apns": {"fcm_options": {"analytics_label": "a" * 51}}},
        "message.apns.fcm_options.analytics_label",
        "Invalid analytics label",
    ),
]


@pytest.mark.parametrize(("message", "field", "description"), RULES, ids=lambda case: str(case)[:50])
def test_what_fcm_refuses(message: dict[str, Any], field: str, description: str) -> None:
    reply = refusal({"token": TOKEN} | message)
    assert violations(reply) == [(field, description)]
    assert has_fcm_error(reply)


@pytest.mark.parametrize(
    "token",
    ["nonsense", "ab" * 32, "ExponentPushToken[abc]", "APA91b", " " + TOKEN, TOKEN + "\n", "a" * 21 + ":"],
)
def test_what_is_no_token(token: str) -> None:
    reply = refusal({"token": token})
    assert violations(reply) == []
    assert has_fcm_error(reply)
    assert reply is not None
    assert b"The registration token is not a valid FCM registration token" in reply.body


def test_the_same_message_for_another_token() -> None:
    other = TOKEN[:-1] + "y"
    for data, status in (({"a": "b"}, 200), ({"from": "b"}, 400), ({"a": "x" * 5000}, 400), ({"a": 1}, 400)):
        for token in (TOKEN, other, "nonsense", "", None, 7, TOKEN):
            message = {"data": data, "token": token}
            send, target = read_send(json.dumps({"message": message}).encode())
            assert (send.refusal is None) == (status == 200 and token in (TOKEN, other))
            if send.refusal is None:
                assert (send.target, target, send.message["data"]) == ("token", token, data)
            # Nothing that came before changes what is answered.
            for before in (None, TOKEN, "nonsense"):
                _known.clear()
                if before is not None:
                    read_send(json.dumps({"message": message | {"token": before}}).encode())
                again, target_again = read_send(json.dumps({"message": message}).encode())
                assert (again.refusal, target_again) == (send.refusal, target)


@pytest.mark.parametrize(
    "body",
    [
        b'{"message":{"data":{"token":"%b"},"token":"nonsense"}}',
        b'{"message":{"token":"nonsense"},"token":"%b"}',
        b'{"message":{"data":{"token":"%b"},"topic":"t"}}',
        b'{"message":{"token":"%b","token":"nonsense"}}',
        b'{"message":{"token":"%b","topic":"t"}}',
        b'{"message":{"token":"%b"}',
        b'{"message":{"token":"%b"}}}',
        b'{"message":{"token":["%b"]}}',
        b'{"message":{"token":7,"data":{"%b":"x"}}}',
        b'{"message":{"data":{"a":"\\"token\\":\\"%b"},"topic":"t"}}',
        b'[{"message":{"token":"%b"}}]',
        b'"token":"%b"',
    ],
    ids=range(12),
)
def test_a_token_in_another_place_is_not_the_registration_token(body: bytes) -> None:
    expected = unremembered(body % TOKEN.encode())
    for _ in range(2):  # the second time it is known
        send, target = read_send(body % TOKEN.encode())
        assert (send.refusal, target if send.refusal is None else "") == expected
    other = f"other:{TOKEN.partition(':')[2]}".encode()
    assert read_send(body % other)[0].refusal == unremembered(body % other)[0]


def unremembered(body: bytes) -> tuple[Reply | None, str]:
    """Refusal and target as they are when nothing is remembered."""
    request, refused = parse_json(body, SEND_REQUEST)
    send = Send(*_checked(request, refused))
    return send.refusal, send.message.get(send.target, "") if send.refusal is None else ""


def test_one_and_true_are_told_apart() -> None:
    for flag, good in ((True, True), (1, False), (True, True), (1.0, False), ("true", True)):
        reply = refusal({"token": TOKEN, "android": {"notification": {"sticky": flag}}})
        assert (reply is None) == good


def test_what_is_known_has_an_end() -> None:
    for number in range(3 * KNOWN_BODIES):
        assert refusal({"token": TOKEN, "data": {"number": str(number)}}) is None
        assert refusal({"token": TOKEN, "notification": {"body": "x" * MAX_KNOWN_BODY}}) is not None
        assert len(_known) <= KNOWN_BODIES
    assert max(len(before) + len(after) for before, after in _known) <= MAX_KNOWN_BODY


@pytest.mark.parametrize("body", [b"", b"{}", b'{"message": null}', b'{"validate_only": true}'])
def test_no_message(body: bytes) -> None:
    assert violations(read_send(body)[0].refusal) == [("message", NO_RECIPIENT)]


@pytest.mark.parametrize(
    ("condition", "good"),
    [
        ("'a' in topics", True),
        ('"a" in topics', True),
        ("'a' in topics && ('b' in topics || !('c' in topics))", True),
        ("!('a' in topics)", True),
        ("!!'a' in topics", True),
        (" || ".join(f"'{item}' in topics" for item in "abcde"), True),
        (" || ".join(f"'{item}' in topics" for item in "abcdef"), False),
        ("", False),
        (" ", False),
        ("a in topics", False),
        ("'a' in topic", False),
        ("'a' in topicsy", False),
        ("'a b' in topics", False),
        ("'' in topics", False),
        ("'a\" in topics", False),
        ("'a' in topics &&", False),
        ("&& 'a' in topics", False),
        ("'a' in topics 'b' in topics", False),
        ("'a' in topics & 'b' in topics", False),
        ("('a' in topics", False),
        ("'a' in topics)", False),
        (")'a' in topics(", False),
        ("'a' in topics) && ('b' in topics", False),
        ("()", False),
        ("!", False),
    ],
)
def test_conditions(condition: str, good: bool) -> None:
    assert is_condition(condition) is good


@pytest.mark.parametrize(
    ("message", "size"),
    [
        ({"token": TOKEN, "data": {"k": ""}}, 4095),
        ({"fid": FID, "notification": {"title": ""}}, 4091),
        ({"topic": "a", "data": {"k": ""}}, 2047),
        ({"condition": "'a' in topics", "data": {"k": ""}}, 2047),
        ({"token": TOKEN, "android": {"data": {"k": ""}}}, 4095),
        ({"token": TOKEN, "android": {"notification": {"title": ""}}}, 4091),
        ({"token": TOKEN, "android_v2": {"remote_notification": {"notification": {"title": ""}}}}, 4091),
        ({"token": TOKEN, "apns": {"payload": {"k": ""}}}, 4088),
    ],
)
def test_sizes(message: dict[str, Any], size: int) -> None:
    """`size` bytes in the one empty string are the most; in characters of two bytes, half of that."""

    def filled(value: Any, text: str) -> Any:
        return {
            key: text if item == "" else filled(item, text) if isinstance(item, dict) else item
            for key, item in value.items()
        }

    assert refusal(filled(message, "x" * size)) is None
    assert refusal(filled(message, "ä" * (size // 2))) is None
    for text in ("x" * (size + 1), "ä" * (size // 2 + 1)):
        reply = refusal(filled(message, text))
        assert reply is not None
        assert json.loads(reply.body) == {
            "error": {
                "code": 400,
                "message": "Android message is too big",
                "status": "INVALID_ARGUMENT",
                "details": [
                    {
                        "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError",
                        "errorCode": "INVALID_ARGUMENT",
                    }
                ],
            }
        }
