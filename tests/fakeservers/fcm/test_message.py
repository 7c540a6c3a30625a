"""What the fake FCM says of a message that can be parsed: the rules about what its fields say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fakeservers.fcm.fields import parse_json
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
from tests.fakeservers.fcm.messages import has_fcm_error, refusal, violations
from tests.fakeservers.fcm_client import FID, TOKEN

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
