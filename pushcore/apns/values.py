"""The values of a push, checked: what a `Notification` and a `Broadcast` have in common.

Each function returns what is sent, or raises `InvalidPush`, of which `rejection` makes the result.
"""

from __future__ import annotations

import re
import uuid
from binascii import unhexlify
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from ..arguments import kind
from ..models.apns_check import INVISIBLE, idle_parts, mistyped_parts, moments_problem
from ..models.aps import Aps
from ..models.json_values import json_problem
from ..models.times import expiration_problem, lifetime_seconds, unix_seconds
from ..models.tokens import unlike_apns
from ..results import Result, Verdict

TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,255}", re.ASCII)
_QUAD: Final = "-[0-9a-f]{4}"  # written three times below, because a repeated group would take twice as long
UUID: Final = re.compile(f"[0-9a-f]{{8}}{_QUAD}{_QUAD}{_QUAD}-[0-9a-f]{{12}}", re.ASCII)
BRACE: Final = 0x7B
_BOM: Final = b"\xef\xbb\xbf"
_WHITE_SPACE: Final = b" \t\r\n"  # of JSON (RFC 8259, section 2)
_ABSENT: Final = object()


class InvalidPush(Exception):
    """Carries the result of a push that cannot be sent."""

    def __init__(self, reason: str | None, detail: str, verdict: Verdict = Verdict.INVALID) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.verdict = reason, detail, verdict


def rejection(push: Any, error: Exception, fields: Iterable[tuple[str, Any, str, str | None]]) -> Result:
    """The result of a push that cannot be sent for this reason.

    `fields`: of each field its name, its classes, what it must be, and Apple's word for one that is wrong.
    """
    if not isinstance(error, InvalidPush):
        error = _invalid_field(push, error, fields)
    return Result(push, error.verdict, reason=error.reason, detail=error.detail, attempts=0)


def _invalid_field(
    push: Any, error: Exception, fields: Iterable[tuple[str, Any, str, str | None]]
) -> InvalidPush:
    """Which field of a push raised this error. The fields are searched only after an error."""
    for name, classes, expected, reason in fields:
        value = getattr(push, name, _ABSENT)
        if value is _ABSENT:
            return InvalidPush(reason, f"the push has no {name}: {type(push).__name__} never set it")
        if not isinstance(value, classes):
            return InvalidPush(reason, f"the {name} must be {expected}, not {kind(value)}")
    # A value in the payload may have raised any error, such as an array whose truth is asked for.
    if isinstance(error, ValueError) and hasattr(push, "token") and not _is_hexadecimal(push.token):
        form = unlike_apns(push.token)
        return InvalidPush(None, f"the device token is not hexadecimal{': it ' * bool(form)}{form}")
    payload = push.payload.to_dict() if isinstance(push.payload, Aps) else push.payload
    problem = json_problem(payload, "payload") if isinstance(payload, dict) else ""
    if problem or isinstance(error, orjson.JSONEncodeError):
        return InvalidPush(None, f"the payload cannot be JSON: {problem or error}")
    return InvalidPush(None, f"a field has a wrong type: {error}")


def _is_hexadecimal(token: str) -> bool:
    try:
        return unhexlify(token) is not None
    except ValueError:
        return False


def check_moments(payload: Any) -> None:
    """Raises `InvalidPush` when a Live Activity's times are not UNIX seconds. An `Aps` was checked when it was made."""
    content = content_of(payload) if type(payload) is bytes else payload
    problem = moments_problem(content) if type(content) is dict else ""
    if problem:
        raise InvalidPush(None, problem)


def content_of(body: bytes) -> Any:
    """The content of JSON. Raises `InvalidPush` when it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidPush(None, f"the payload is not JSON: {error}") from None


def body_of(payload: object, push_type: object = "liveactivity") -> bytes:
    """The JSON of a payload, of a Live Activity by default. Raises `InvalidPush` when it is none."""
    if isinstance(payload, Aps):
        typed = payload.to_dict()
        idle = [sentence for sentence in idle_parts(typed, push_type) if sentence != INVISIBLE]
        problems = mistyped_parts(typed) + idle
        if problems:
            raise InvalidPush(None, problems[0])
        problem = json_problem(typed, "payload")
        if problem:
            raise InvalidPush(None, problem)
        return orjson.dumps(typed)
    if isinstance(payload, dict):
        return orjson.dumps(payload)
    if not isinstance(payload, bytes):
        raise InvalidPush(None, f"the payload must be a dict, JSON in bytes, or an Aps, not {kind(payload)}")
    if payload and payload[0] == BRACE:
        return payload
    content = payload.removeprefix(_BOM).lstrip(_WHITE_SPACE)
    if not content:
        raise InvalidPush("PayloadEmpty", "the payload is empty")
    if content[:1] != b"{":
        raise InvalidPush(None, "the payload is not a JSON object")
    return content


def expiration_of(moment: Any, now: Callable[[], float]) -> bytes:
    """The value of the header. Raises `InvalidPush` when it can be no moment in UNIX seconds."""
    if isinstance(moment, datetime):
        try:
            moment = unix_seconds(moment)
        except ValueError as error:
            raise InvalidPush("BadExpirationDate", f"the expiration {error}") from None
    elif isinstance(moment, timedelta):
        seconds = lifetime_seconds(moment)
        moment = int(now() + seconds) if seconds > 0 else seconds
    if type(moment) is not int:
        raise InvalidPush(
            "BadExpirationDate",
            f"the expiration must be whole UNIX seconds, a datetime or a timedelta, not {kind(moment)}",
        )
    if moment < 0:
        raise InvalidPush("BadExpirationDate", "the expiration is negative")
    problem = expiration_problem(moment)
    if problem:
        raise InvalidPush("BadExpirationDate", f"the expiration {problem}")
    return b"%d" % moment


def uuid_of(value: Any, name: str) -> bytes:
    """The value of a header. Raises `InvalidPush` when it is no UUID in lower case."""
    if isinstance(value, uuid.UUID):
        return str(value).encode()
    if not isinstance(value, str):
        raise InvalidPush("BadMessageId", f"the {name} must be a string or a uuid.UUID, not {kind(value)}")
    if not UUID.fullmatch(value):
        raise InvalidPush("BadMessageId", f"the {name} is not a UUID in lower case")
    return value.encode()
