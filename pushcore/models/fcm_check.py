"""Checks for what Google would reject, before sending: each function raises `FieldError` with a sentence, or says nothing.

The rules are tables over Google's JSON, so a typed part and a plain dict are checked alike. Where Google's pages leave
a rule open, the message passes and Google is the judge. Sources: "REST Resource: projects.messages", "ErrorCode" and
"Topic messaging" at firebase.google.com/docs; the ranges are those of the discovery document.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, get_args

import orjson

from ..arguments import json_kind, json_shown
from ..arguments import kind as kind_of
from .apns_check import moments_problem
from .fcm import (
    LEGACY_ARGUMENTS,
    LEGACY_TARGETS,
    MAX_REGISTRATION_IDS,
    TARGETS,
    LegacyNotification,
    LegacyPriority,
    camel,
)
from .fcm_parts import NotificationPriority, NotificationProxy, Visibility
from .fcm_values import (
    MAX_TTL,
    Check,
    FieldError,
    boolean,
    check_data,
    duration,
    fraction,
    integer,
    legacy_data,
    list_of,
    matching,
    natural,
    object_of,
    one_of,
    string,
    strings,
    struct,
    ttl,
)
from .times import expiration_problem
from .token_forms import may_be_registration, mistaken_form, mistaken_registration
from .tokens import EXPO_ADVICE, MAX_TOKEN, TokenKind, recognise, unlike_fcm

LIMIT: Final = 4096
"""Bytes of a message's payload, keys and values (ErrorCode, INVALID_ARGUMENT)."""
TOPIC_LIMIT: Final = 2048
"""The same for a message to a topic or a condition."""
MAX_TOPICS: Final = 5  # in a condition

_TOPIC: Final = re.compile(r"[A-Za-z0-9\-_.~%]{1,900}", re.ASCII)
_LABEL: Final = re.compile(r"[A-Za-z0-9\-_.~%]{1,50}", re.ASCII)
_COLOR: Final = re.compile(r"#[0-9A-Fa-f]{6}", re.ASCII)
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
_PRINTABLE: Final = re.compile(r"[!-~]+", re.ASCII)
_CONDITION: Final = re.compile(
    r"\s*(?:(?P<operator>&&|\|\|)|(?P<not>!)|(?P<open>\()|(?P<close>\))"
    r"|(?P<quote>['\"])(?P<topic>[^'\"]*)(?P=quote)\s+in\s+topics\b)\s*",
    re.ASCII,
)


# --- targets --------------------------------------------------------------------------------------------------------


def check_one_target(push: Any, names: tuple[str, ...] = TARGETS) -> str:
    """The name of the one target that `push` has."""
    given = [name for name in names if getattr(push, name) is not None]
    if len(given) == 1:
        return given[0]
    choice = f"{', '.join(names[:-1])} or {names[-1]}"
    if not given:
        raise FieldError(f"the message has no target; expected one of {choice}", "missing")
    raise FieldError(f"the message has more than one target, {' and '.join(given)}; expected one of {choice}")


def check_token(token: object, where: str = "token") -> None:
    """Check a token: it must be FCM's, or at least of no other provider. (Google defines no form, so an unknown one passes.)"""
    if not isinstance(token, str):
        raise FieldError(f"the {where} must be a string, not {kind_of(token)}", "token")
    if len(token) > MAX_TOKEN:
        raise FieldError(f"the {where} is longer than {MAX_TOKEN} characters", "token")
    problem = unlike_fcm(token)
    if problem:
        raise FieldError(f"the {where} {problem}", "token")
    kind = recognise(token).kind
    if kind is TokenKind.EXPO:
        raise FieldError(f"{EXPO_ADVICE} (in {where})", "token")
    if where == "fid" and kind is TokenKind.FCM:
        raise FieldError("the fid is a registration token: set it as token", "token")


def check_topic(topic: object) -> None:
    """The name of a topic: 1 to 900 letters, digits and "-_.~%", without "/topics/"."""
    if not isinstance(topic, str):
        raise FieldError(f"the topic must be a string, not {kind_of(topic)}")
    if topic.startswith("/topics/"):
        raise FieldError('the topic must not begin with "/topics/"')
    if not _TOPIC.fullmatch(topic):
        raise FieldError(f'the topic must be 1 to 900 letters, digits and "-_.~%", not {json_shown(topic)}')


def check_condition(condition: object) -> None:
    """Up to five `'name' in topics`, joined by "&&", "||", "!" and parentheses."""
    if not isinstance(condition, str):
        raise FieldError(f"the condition must be a string, not {kind_of(condition)}")
    if not condition.isprintable():
        raise FieldError("the condition has a line break or another control character in it")
    topics = depth = position = 0
    operand_next = True
    while position < len(condition):
        match = _CONDITION.match(condition, position)
        if match is None:
            raise FieldError(f"the condition cannot be read from {json_shown(condition[position:])} on")
        position = match.end()
        sign = match.lastgroup if match["topic"] is None else "topic"
        if (sign in ("topic", "not", "open")) != operand_next:
            raise FieldError("the condition has a surplus operator or operand")
        if sign == "topic":
            check_topic(match["topic"])
            topics += 1
        depth += (sign == "open") - (sign == "close")
        if depth < 0:
            break
        operand_next = sign in ("operator", "not", "open")
    if depth:
        raise FieldError("the parentheses of the condition do not match")
    if operand_next:
        raise FieldError("the condition ends where a topic is expected")
    if topics > MAX_TOPICS:
        raise FieldError(f"the condition has {topics} topics, {MAX_TOPICS} are allowed")


# --- Google's objects -----------------------------------------------------------------------------------------------

_label: Final = matching(_LABEL, '1 to 50 letters, digits and "-_.~%"')
_options: Final = object_of({"analytics_label": _label})
_notification: Final = object_of(dict.fromkeys(("title", "body", "image"), string))
_color: Final = object_of(dict.fromkeys(("red", "green", "blue", "alpha"), fraction))
_light: Final = object_of({"color": _color, "light_on_duration": duration, "light_off_duration": duration})

_IN_BOTH: Final[dict[str, Check]] = {
    **dict.fromkeys(
        ("title", "body", "icon", "sound", "tag", "click_action", "channel_id", "ticker"), string
    ),
    **dict.fromkeys(("body_loc_key", "title_loc_key", "image"), string),
    **dict.fromkeys(("body_loc_args", "title_loc_args"), list_of(string)),
    **dict.fromkeys(("sticky", "local_only", "default_sound"), boolean),
    **dict.fromkeys(("default_vibrate_timings", "default_light_settings"), boolean),
    "color": matching(_COLOR, 'a colour such as "#00ff7f"'),
    "event_time": matching(_TIME, "an RFC 3339 time with its offset"),
    "notification_priority": one_of(*get_args(NotificationPriority)),
    "vibrate_timings": list_of(duration),
    "visibility": one_of(*get_args(Visibility)),
    "notification_count": natural,
    "light_settings": _light,
}
_proxy: Final = one_of(*get_args(NotificationProxy))

_CONFIG: Final[dict[str, Check]] = {
    "collapse_key": string,
    "ttl": ttl,
    "restricted_package_name": string,
    "data": check_data,
    "fcm_options": _options,
    **dict.fromkeys(("direct_boot_ok", "bandwidth_constrained_ok", "restricted_satellite_ok"), boolean),
}
_android: Final = object_of(
    {
        **_CONFIG,
        "priority": one_of("NORMAL", "HIGH", any_case=True),
        "notification": object_of({**_IN_BOTH, "proxy": _proxy}),
    }
)
_remote: Final = object_of(
    {
        "mutable_content": boolean,
        "use_as_v1_data_message": boolean,
        "notification": object_of({**_IN_BOTH, "id": integer}),
    }
)
_android_v2_fields: Final = object_of(
    {**_CONFIG, "remote_notification": _remote, "background_sync": object_of({})}
)


def _android_v2(value: Any, where: str) -> None:
    _android_v2_fields(value, where)
    if _get(value, "remote_notification") is not None and _get(value, "background_sync") is not None:
        raise FieldError(f"{where} must have remote_notification or background_sync, not both")


def _link(value: Any, where: str) -> None:
    if not isinstance(value, str) or not value.startswith("https://"):
        raise FieldError(f"{where} must be a URL with https, not {json_shown(value)}")


def _payload(value: Any, where: str) -> None:
    struct(value, where)
    aps = value.get("aps")
    if aps is not None:
        struct(aps, f"{where}.aps")
        badge = aps.get("badge")
        if isinstance(badge, bool) or not isinstance(badge, int | float | None):
            raise FieldError(f"{where}.aps.badge must be a number, not {json_shown(badge)}")
        if problem := moments_problem(value):
            raise FieldError(f"{where}.aps.{problem}")


def _live_activity_token(value: Any, where: str) -> None:
    string(value, where)
    if problem := mistaken_form(value):
        raise FieldError(f"{where} {problem}")


def _apns_headers(value: Any, where: str) -> None:
    strings(value, where)
    for name, text in value.items():
        if name.lower() == "apns-expiration":
            _digits(text, f"{where}.{name}", "UNIX seconds")
            if problem := expiration_problem(int(text[:40])):
                raise FieldError(f"{where}.{name} {problem}")


def _webpush_headers(value: Any, where: str) -> None:
    strings(value, where)
    for name, text in value.items():
        if name.lower() == "ttl":  # RFC 8030, section 5.2
            _digits(text, f"{where}.{name}", "a number of seconds")


def _digits(text: str, where: str, unit: str) -> None:
    if not (text.isdecimal() and text.isascii()):
        raise FieldError(f"{where} must be {unit} in digits, not {json_shown(text)}")


_webpush: Final = object_of(
    {
        "headers": _webpush_headers,
        "data": check_data,
        "notification": struct,
        "fcm_options": object_of({"link": _link, "analytics_label": _label}),
    }
)
_apns: Final = object_of(
    {
        "headers": _apns_headers,
        "payload": _payload,
        "fcm_options": object_of({"analytics_label": _label, "image": string}),
        "live_activity_token": _live_activity_token,
    }
)

_PARTS: Final[dict[str, Check]] = {
    "notification": _notification,
    "android": _android,
    "android_v2": _android_v2,
    "webpush": _webpush,
    "apns": _apns,
    "fcm_options": _options,
}
PARTS: Final = tuple(_PARTS)


def check_part(name: str, value: Any) -> None:
    """The part `name` of a message, one of `PARTS`, as the JSON that Google gets."""
    _PARTS[name](value, name)


# --- sizes ----------------------------------------------------------------------------------------------------------


def check_size(message: dict[str, Any], limit: int) -> None:
    """A whole v1 message, as JSON that has been checked: no platform may get more than `limit` bytes of payload."""
    size = payload_size(message)
    if size > limit:
        raise FieldError(f"the payload has {size} bytes in keys and values, {limit} are allowed", "size")


def payload_size(message: dict[str, Any]) -> int:
    """Bytes of the keys and values in data and notification, for the platform that gets most of them."""
    shared = _get(message, "notification") or {}
    data = _get(message, "data") or {}
    sizes = [_weight(data) + _weight(shared)]
    for name in ("android", "android_v2", "webpush"):
        part = _get(message, name)
        if part is not None:
            own = _get(_get(part, "remote_notification") or part, "notification") or {}
            sizes.append(_weight(_get(part, "data") or data) + _weight({**shared, **own}))
    payload = _get(_get(message, "apns") or {}, "payload")
    if payload is not None:
        sizes.append(len(orjson.dumps(payload)) + _weight(data))
    return max(sizes)


def _get(value: dict[str, Any], name: str) -> Any:
    item = value.get(name)
    return value.get(camel(name)) if item is None else item


def _weight(value: Any) -> int:
    if isinstance(value, dict):
        return sum(len(key.encode()) + _weight(item) for key, item in value.items())
    if isinstance(value, list):
        return sum(map(_weight, value))
    return len(value.encode()) if isinstance(value, str) else len(orjson.dumps(value))


# --- the legacy API -------------------------------------------------------------------------------------------------


def _badge(value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise FieldError(f"{where} must be a string, not {json_shown(value)}")


def _seconds(value: Any, where: str) -> None:
    if type(value) is not int or not 0 <= value <= MAX_TTL:
        raise FieldError(
            f"{where} must be from 0 to {MAX_TTL} seconds (four weeks), not {json_shown(value)}", "ttl"
        )


def _registration_ids(value: Any, where: str) -> None:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_REGISTRATION_IDS:
        count = f" of {len(value)}" if isinstance(value, list) else ""
        raise FieldError(
            f"{where} must be a list of 1 to {MAX_REGISTRATION_IDS} tokens, not {json_kind(value)}{count}"
        )
    for index, token in enumerate(value):
        check_legacy_token(token, f"{where}[{index}]")


def check_legacy_target(push: Any) -> None:
    """The one target of a legacy message, before it is JSON, in which a datetime is a string, too."""
    name = check_one_target(push, LEGACY_TARGETS)
    target = getattr(push, name)
    if name == "registration_ids":
        if not isinstance(target, Sequence) or isinstance(target, str | bytes | bytearray):
            _registration_ids(target, name)
    elif not isinstance(target, str):
        raise FieldError(
            f"{name} must be a string, not {json_shown(target)}", "token" if name == "to" else "argument"
        )


def check_legacy_arguments(notification: LegacyNotification) -> None:
    """The arguments of its texts, before they are a string with JSON."""
    for name in LEGACY_ARGUMENTS:
        value = getattr(notification, name)
        if value is not None and not isinstance(value, str):
            list_of(string)(list(value) if isinstance(value, tuple) else value, f"notification.{name}")


def check_legacy_token(value: Any, where: str) -> None:
    """A token for the legacy API, or the key of a device group."""
    # A private server's tokens may have a shape of their own, that of APNs' too.
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TOKEN:
        raise FieldError(
            f"{where} must be a token of 1 to {MAX_TOKEN} characters, not {json_shown(value)}", "token"
        )
    if not _PRINTABLE.fullmatch(value):
        raise FieldError(f"{where} {mistaken_form(value)}", "token")
    if may_be_registration(value):
        return
    if value.endswith("]") and recognise(value).kind is TokenKind.EXPO:
        raise FieldError(f"{EXPO_ADVICE} (in {where})", "token")
    if problem := mistaken_registration(value):
        raise FieldError(f"{where} {problem}", "token")


def _to(value: Any, where: str) -> None:
    if isinstance(value, str) and value.startswith("/topics/"):
        check_topic(value.removeprefix("/topics/"))
    else:
        check_legacy_token(value, where)


_LEGACY: Final[dict[str, Check]] = {
    "to": _to,
    "registration_ids": _registration_ids,
    "condition": lambda value, where: check_condition(value),
    "notification": object_of(
        {**dict.fromkeys(LegacyNotification.__slots__, string), "badge": _badge}, camel_too=False
    ),
    "data": legacy_data,
    "priority": one_of(*get_args(LegacyPriority)),
    "time_to_live": _seconds,
    "collapse_key": string,
    "restricted_package_name": string,
    **dict.fromkeys(("content_available", "mutable_content", "dry_run"), boolean),
}


def check_legacy(message: dict[str, Any]) -> None:
    """A whole legacy message, as the JSON that the server gets, with the one target that it has."""
    for name, value in message.items():
        _LEGACY[name](value, name)
    limit = TOPIC_LIMIT if "condition" in message or str(message.get("to")).startswith("/topics/") else LIMIT
    size = _weight(message.get("data", {})) + _weight(message.get("notification", {}))
    if size > limit:
        raise FieldError(f"the payload has {size} bytes in keys and values, {limit} are allowed", "size")
