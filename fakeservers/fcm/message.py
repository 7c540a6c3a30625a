"""The request of `messages:send`: how it is read, and the rules about what its fields (`schema`) say.

Google does not document which of two broken rules is reported: this order is a choice of the fake, and docs/reference/fakeservers.md shows it.
"""

from __future__ import annotations

import re
from secrets import token_hex
from typing import Any

import orjson

from fakeservers.fcm.fields import Violations, parse_json, parse_object
from fakeservers.fcm.schema import SEND_REQUEST, TARGETS
from fakeservers.responses.fcm import (
    Reply,
    invalid_argument,
    invalid_fields,
    no_recipient,
    not_a_token,
    too_big,
)

MAX_PAYLOAD = 4096
MAX_TOPIC_PAYLOAD = 2048
"""Bytes of keys and values; the second for topics and conditions."""
MAX_TTL = 2_419_200
"""Seconds: four weeks."""
MAX_CONDITION_TOPICS = 5
KNOWN_BODIES = 16
"""Distinct requests, apart from the registration token, whose check is remembered."""
MAX_KNOWN_BODY = 8192
"""Bytes of a request whose check is remembered."""

TOPIC = re.compile(r"[a-zA-Z0-9\-_.~%]{1,900}", re.ASCII)
MAX_TOKEN_HEAD = 64
"""Characters of a registration token before its colon."""
FID = re.compile(r"[cdef][\w-]{21}", re.ASCII)
_TOKEN = re.compile(rf"[\w-]{{1,{MAX_TOKEN_HEAD}}}:[\w-]+|APA91b[\w-]{{64,}}", re.ASCII)
_LABEL = re.compile(r"[a-zA-Z0-9\-_.~%]{1,50}", re.ASCII)
_COLOR = re.compile(r"#[0-9a-fA-F]{6}", re.ASCII)
_CONDITION = re.compile(
    r"\s*(?:(&&|\|\|)|(!)|(\()|(\))|(?:'([^']*)'|\"([^\"]*)\")\s+in\s+topics(?![\w]))\s*", re.ASCII
)
_RESERVED = ("from", "gcm", "message_type")
_RESERVED_PREFIXES = ("google", "gcm.notification.")

_KEY = b'"token":'
_PROBE = f"probe:{token_hex(16)}"  # a token that no client sends


class Send:
    """A request, parsed and checked."""

    __slots__ = ("is_dry_run", "message", "refusal", "target")

    def __init__(self, request: dict[str, Any], refusal: Reply | None) -> None:
        self.message: dict[str, Any] = request.get("message", {})
        """Names in snake_case, durations in seconds. Its registration token may be another one."""
        self.is_dry_run = bool(request.get("validate_only"))
        self.refusal = refusal
        """Google's response to an invalid request."""
        self.target = target_of(self.message)
        """Which of `TARGETS` it has; empty for none."""


_known: dict[tuple[bytes, bytes], Send | None] = {}
"""By what is before and after the registration token; None where the token is not found so."""


def read_send(body: bytes) -> tuple[Send, str]:
    """Parse and check a request. Returns it, and its token, topic or other target.

    Most sends differ from a recent one in the registration token only: the result of that one is used again.
    """
    at = body.find(_KEY)
    if at > 0 and len(body) <= MAX_KNOWN_BODY:
        at = body.find(b'"', at + len(_KEY)) + 1
        end = body.find(b'"', at)
        token = body[at:end]
        if _is_plain(token):
            around = body[:at], body[end:]
            try:
                send = _known[around]
            except KeyError:
                send = _learn(*around)
            if send is not None:
                return send, token.decode()
    send = Send(*_checked(*parse_json(body, SEND_REQUEST)))
    return send, send.message.get(send.target, "")


def _is_plain(token: bytes) -> bool:
    """Whether it is a registration token of the usual form, `_TOKEN`'s first: a regular expression would take much longer."""
    head, _, tail = token.replace(b"-", b"A").replace(b"_", b"A").partition(b":")
    return head.isalnum() and tail.isalnum() and len(head) <= MAX_TOKEN_HEAD


def _learn(before: bytes, after: bytes) -> Send | None:
    """Check the request that has these bytes around its token, whatever the token is."""
    send = None
    try:
        request = orjson.loads(b"%b%b%b" % (before, _PROBE.encode(), after))
        if request["message"]["token"] == _PROBE:  # only then it is the token that stands there
            send = Send(*_checked(*parse_object(request, SEND_REQUEST)))
    except (ValueError, LookupError, TypeError):  # no JSON, no token, or too deeply nested
        pass
    if len(_known) >= KNOWN_BODIES:
        _known.clear()
    _known[before, after] = send
    return send


def _checked(request: dict[str, Any], violations: Violations) -> tuple[dict[str, Any], Reply | None]:
    """The request, empty when it could not be parsed, and the response when it is invalid."""
    if violations:
        return {}, invalid_fields(violations)
    return request, _check(request.get("message", {}))


def target_of(message: dict[str, Any]) -> str:
    """Which of `TARGETS` a parsed message has; empty for none."""
    for name in TARGETS:
        if message.get(name):
            return name
    return ""


def is_registration(token: str) -> bool:
    """Whether `message.token` could be a registration token; an installation id is accepted too (since 2026)."""
    return _TOKEN.fullmatch(token) is not None or FID.fullmatch(token) is not None


def is_reserved(key: str) -> bool:
    """Whether a key of `data` is reserved by FCM."""
    return key in _RESERVED or key.startswith(_RESERVED_PREFIXES)


def is_condition(text: str) -> bool:
    """Whether a condition is valid: up to five topics, `&&`, `||`, `!` and parentheses."""
    at = depth = topics = 0
    operand = True  # whether the next part must be one
    while at < len(text):
        match = _CONDITION.match(text, at)
        if match is None:
            return False
        at = match.end()
        operator, negation, opening, closing, single, double = match.groups()
        if operator or closing:
            if operand:
                return False
            operand = bool(operator)
            depth -= bool(closing)
        else:
            if not operand:
                return False
            depth += bool(opening)
            if not negation and not opening:
                topic = double if single is None else single
                if TOPIC.fullmatch(topic) is None:
                    return False
                topics, operand = topics + 1, False
        if depth < 0:
            return False
    return not operand and not depth and topics <= MAX_CONDITION_TOPICS


def _check(message: dict[str, Any]) -> Reply | None:
    """Check a parsed message. Returns the response when it is invalid."""
    target = target_of(message)
    if not target:
        return no_recipient()
    return (
        _check_target(target, message[target])
        or _check_data(message)
        or (_check_android(message) if "android" in message or "android_v2" in message else None)
        or (_check_apple_and_web(message) if "apns" in message or "webpush" in message else None)
        or _check_labels(message)
        or _check_size(message, MAX_PAYLOAD if target in ("token", "fid") else MAX_TOPIC_PAYLOAD)
    )


def _check_target(name: str, value: str) -> Reply | None:
    if name == "token":
        return None if is_registration(value) else not_a_token()
    if name == "fid":
        return None if FID.fullmatch(value) else invalid_argument("message.fid", "Invalid registration token")
    if name == "topic":
        good = TOPIC.fullmatch(value) is not None
        return None if good else invalid_argument("message.topic", "Invalid topic name")
    if is_condition(value):
        return None
    problem = "Invalid condition expression provided."
    return invalid_argument("message.condition", problem, problem)


def _check_data(message: dict[str, Any]) -> Reply | None:
    for name in ("", "android", "android_v2"):
        part = message.get(name) if name else message
        for key in part.get("data", ()) if part else ():
            if is_reserved(key):
                problem = f"Invalid data payload key: {key:.100}"
                return invalid_argument(f"message.{name}.data" if name else "message.data", problem, problem)
    return None


def _check_android(message: dict[str, Any]) -> Reply | None:
    if "android" in message and "android_v2" in message:
        return invalid_argument("message.android_v2", "Only one of android and android_v2 may be set")
    name = "android" if "android" in message else "android_v2"
    part = message.get(name, {})
    if not 0 <= part.get("ttl", 0) <= MAX_TTL:
        return invalid_argument(f"message.{name}.ttl", "Invalid ttl")
    holder, where = part, f"message.{name}.notification"
    if "remote_notification" in part:
        holder, where = part["remote_notification"], f"message.{name}.remote_notification.notification"
    notification = holder.get("notification")
    if not notification:
        return None
    if "color" in notification and _COLOR.fullmatch(notification["color"]) is None:
        return invalid_argument(f"{where}.color", "Invalid color")
    if notification.get("notification_count", 0) < 0:
        return invalid_argument(f"{where}.notification_count", "Invalid notification count")
    light = notification.get("light_settings", {})
    if not all(0 <= share <= 1 for share in light.get("color", {}).values()):
        return invalid_argument(f"{where}.light_settings.color", "Invalid color")
    return None


def _check_apple_and_web(message: dict[str, Any]) -> Reply | None:
    aps = message.get("apns", {}).get("payload", {}).get("aps")
    if aps is not None and not isinstance(aps, dict):
        return invalid_argument("message.apns.payload.aps", "Value type for APS key is a dictionary.")
    badge = (aps or {}).get("badge", 0)
    if isinstance(badge, bool) or not isinstance(badge, int | float):
        problem = "Value type for APS key [badge] is a number."
        return invalid_argument("message.apns.payload.aps.badge", problem)
    link = message.get("webpush", {}).get("fcm_options", {}).get("link", "https://")
    if not link.startswith("https://"):
        return invalid_argument("message.webpush.fcm_options.link", "Invalid link: HTTPS is required")
    return None


def is_apns_consistent(message: dict[str, Any]) -> bool:
    """Whether Google accepts the `apns` part of a message to an iOS device.

    An invalid one is reported as a fault of the token, as senders found (firebase-ios-sdk #4605, firebase-admin-node #1224,
    fcm-django #223): headers without `payload.aps` and without a notification, the push type background with an alert, a
    silent push of priority 10.
    """
    apns = message.get("apns")
    if not apns:
        return True
    headers = {name.lower(): value for name, value in apns.get("headers", {}).items()}
    aps = apns.get("payload", {}).get("aps")
    shown = bool(message.get("notification"))
    if headers and aps is None and not shown:
        return False
    aps = aps or {}
    shown = shown or bool(aps.get("alert"))
    if shown:
        return headers.get("apns-push-type") != "background"
    silent = aps.get("content-available") and "badge" not in aps and "sound" not in aps
    return not silent or headers.get("apns-priority") != "10"


def _check_labels(message: dict[str, Any]) -> Reply | None:
    for name in ("", "android", "android_v2", "webpush", "apns"):
        part = message.get(name) if name else message
        if not part or "fcm_options" not in part:
            continue
        label = part["fcm_options"].get("analytics_label", "")
        if label and _LABEL.fullmatch(label) is None:
            where = f"message.{name}." if name else "message."
            return invalid_argument(f"{where}fcm_options.analytics_label", "Invalid analytics label")
    return None


def _check_size(message: dict[str, Any], limit: int) -> Reply | None:
    return too_big() if payload_size(message) > limit else None


def payload_size(message: dict[str, Any]) -> int:
    """Bytes of keys and values for the platform that gets most."""
    shared = message.get("notification", {})
    shared_size, data_size = size_of(shared), size_of(message.get("data", {}))
    largest = shared_size + data_size
    for name in ("android", "android_v2", "webpush"):
        part = message.get(name)
        if part:
            own = part.get("remote_notification", part).get("notification")
            size = size_of({**shared, **own}) if own else shared_size
            size += size_of(part["data"]) if "data" in part else data_size
            largest = max(largest, size)
    payload = message.get("apns", {}).get("payload")
    if payload is not None:
        largest = max(largest, len(orjson.dumps(payload)) + data_size)
    return largest


def size_of(value: Any) -> int:
    """Bytes of all keys and values within a value."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, dict):
        try:
            return len("".join([*value, *value.values()]).encode())
        except TypeError:  # not all values are strings
            return size_of("".join(value)) + sum(map(size_of, value.values()))
    if isinstance(value, list):
        return sum(map(size_of, value))
    return len(orjson.dumps(value))
