"""The responses of the legacy API: one outcome per device of a message.

Source: "Firebase Cloud Messaging HTTP protocol", tables 5 to 9, as Google had it until 2024.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..auth.clock import read_retry_after
from ..reasons import (
    ACCEPTED,
    INVALID,
    MISCONFIGURED,
    THROTTLED,
    UNAVAILABLE,
    UNKNOWN,
    UNNAMED,
    UNREGISTERED,
    Reason,
    ReasonTable,
    Verdict,
    describe_unexpected,
    printable_word,
    register,
)
from .errors import TABLE as SEND_TABLE
from .errors import is_google_error, json_object

_MAX_WORD: Final = 100
_MAX_ID: Final = 4096  # characters of a token
_MAX_BODY: Final = 1 << 20  # bytes: a thousand results of a token's length
_LINE: Final = re.compile(
    rb"(?:JSON_PARSING_ERROR|InvalidParameters|Error=[A-Z]|Field \"|Must use either \"|\"registration_ids\"|Number of messages on bulk)"
)
"""The beginning of Google's line of text for a 400."""
_PAGE: Final = b"Error 401"
"""A part of Google's page for a 401."""
_LATER: Final = frozenset({THROTTLED, UNAVAILABLE})
_SUCCESS: Final = frozenset(("results", "success", "failure", "message_id", "error"))
"""The response to an accepted request has one of these keys."""

_ROWS: Final = (
    Reason(200, "MissingRegistration", INVALID, "Set a registration token."),
    Reason(
        200,
        "InvalidRegistration",
        INVALID,
        "Check the token: this server does not know its form; as with BadDeviceToken it may be the wrong server.",
        blames="token",
        suspect=True,
    ),
    Reason(200, "NotRegistered", UNREGISTERED, "Drop the token: the app instance no longer exists."),
    Reason(
        200,
        "InvalidPackageName",
        INVALID,
        "Correct restricted_package_name: the token belongs to another app.",
    ),
    Reason(
        200,
        "MismatchSenderId",
        MISCONFIGURED,
        "Use the server key of the project of this token.",
        suspect=True,
    ),
    Reason(400, "InvalidParameters", INVALID, "Correct the message."),
    Reason(200, "MessageTooBig", INVALID, "Shorten the message to 4096 bytes, 2048 for topics."),
    Reason(200, "InvalidDataKey", INVALID, "Rename the key in data that FCM reserves."),
    Reason(200, "InvalidTtl", INVALID, "Set time_to_live to seconds from 0 to 2419200."),
    Reason(
        200,
        "Unavailable",
        UNAVAILABLE,
        "Send again later, with growing backoff.",
        wait=10.0,
        setting="fcm_wait",
    ),
    Reason(
        200,
        "InternalServerError",
        UNAVAILABLE,
        "Send again later, with growing backoff.",
        wait=10.0,
        setting="fcm_wait",
    ),
    Reason(
        200,
        "DeviceMessageRateExceeded",
        THROTTLED,
        "Send to this device later.",
        wait=60.0,
        setting="fcm_quota_wait",
        asked_setting="fcm_wait",
        scope="device",
    ),
    Reason(
        200,
        "TopicsMessageRateExceeded",
        THROTTLED,
        "Send to this topic later.",
        wait=60.0,
        setting="fcm_quota_wait",
        asked_setting="fcm_wait",
        scope="topic",
    ),
    Reason(200, "InvalidApnsCredential", MISCONFIGURED, "Correct the server's APNs key."),
)
TABLE: Final = register("fcm", ReasonTable(_ROWS, {}, exact=False))
REASONS: Final = TABLE.rows
"""The table, by the word of the API."""


_WORDS: Final = ("", *REASONS)
"""Possible errors of a whole response; other servers have other words."""


@dataclass(frozen=True, slots=True)
class LegacyOutcome:
    """The outcome of the message for one device, topic or group.

    `id`: the message id in the response. `canonical`: the token that replaces the one it was sent to. `failed`: of a
    device group, the tokens that did not get it. The rest as in `FcmFailure`.
    """

    row: Reason
    reason: str | None = None
    id: str | None = None
    canonical: str | None = None
    failed: tuple[str, ...] = ()
    retry_after: float | None = None
    detail: str | None = None

    @property
    def verdict(self) -> Verdict:
        """The verdict on the push."""
        return self.row.verdict


def read_legacy(
    status: int,
    body: bytes,
    retry_after: str | None = None,
    now: float = 0.0,
    count: int | None = None,
) -> list[LegacyOutcome]:
    """One outcome for each of the `count` registration_ids, in their order; a single one when `count` is None.

    `retry_after` and `now` as in `errors.read_error`. Never raises. A success whose body cannot be read, or has another
    number of results, is UNKNOWN for all: it does not say which device got it.
    """
    length = 1 if count is None else count
    wait = read_retry_after(retry_after, now) if retry_after is not None else None
    response = json_object(body, _MAX_BODY)
    if status != 200:
        return [_request_failure(status, body, response, wait, length)] * length
    if response is None or response.keys().isdisjoint(_SUCCESS) or response.get("error", "") not in _WORDS:
        return [_unexpected(status, body, wait)] * length
    results = response.get("results")
    if isinstance(results, list):
        if len(results) != length:
            return _unreadable(length)
        return [_outcome(result, wait) for result in results]
    if count is not None:
        return _unreadable(length)
    if "success" in response or "failure" in response:
        return [_group(response, wait)]
    return [_outcome(response, wait)]


def _request_failure(
    status: int, body: bytes, response: Mapping[str, Any] | None, wait: float | None, length: int
) -> LegacyOutcome:
    """A failure of the whole request: every device gets it, and it never means that all their tokens are dead.

    From Google it was one of these words, or a google.rpc.Status; a 401 was a page, and a 400 a line of text.
    """
    text = body[:200].decode("utf-8", "replace") if response is None else response.get("error")
    error_text = printable_word(text, _MAX_WORD)
    if response is None:
        is_fcm = (status == 401 and _PAGE in body) or (status == 400 and bool(_LINE.match(body)))
    elif isinstance(text, dict):
        is_fcm = is_google_error(text)
    else:
        is_fcm = error_text in REASONS
    if status < 400 or not is_fcm:
        return _unexpected(status, body, wait)
    row = REASONS.get(error_text or "")
    if row is None or status // 100 != 4:
        row = SEND_TABLE.of_status(status)
    if row.verdict is UNREGISTERED and length > 1:
        row = UNNAMED[INVALID]
    if response is None:
        return LegacyOutcome(row, retry_after=wait, detail=error_text)
    return LegacyOutcome(row, error_text, retry_after=wait)


def _unexpected(status: int, body: bytes, wait: float | None) -> LegacyOutcome:
    row = SEND_TABLE.of_unexpected(status)
    detail = describe_unexpected("an FCM server", status, body)
    return LegacyOutcome(row, row.name or None, retry_after=wait, detail=detail)


def _unreadable(length: int) -> list[LegacyOutcome]:
    detail = "the server accepted the request, but its response has no result for each device"
    return [LegacyOutcome(UNNAMED[UNKNOWN], detail=detail)] * length


def _outcome(result: Any, wait: float | None) -> LegacyOutcome:
    """Reads one of `results`, or the response for a topic: {"message_id"} or {"error"}."""
    if not isinstance(result, dict):
        return _unreadable(1)[0]
    reason = printable_word(result.get("error"), _MAX_WORD)
    if reason is not None:
        row = REASONS.get(reason) or UNNAMED[INVALID]
        return LegacyOutcome(row, reason, retry_after=wait if row.verdict in _LATER else None)
    id = result.get("message_id")
    if isinstance(id, bool) or not isinstance(id, str | int):
        return _unreadable(1)[0]
    canonical = printable_word(result.get("registration_id"), _MAX_ID)
    return LegacyOutcome(UNNAMED[ACCEPTED], id=printable_word(str(id), _MAX_WORD), canonical=canonical)


def _group(response: Mapping[str, Any], wait: float | None) -> LegacyOutcome:
    """Reads the response for a device group: how many of its devices got the message, and which did not."""
    failed = _tokens(response.get("failed_registration_ids"))
    success, failure = response.get("success"), response.get("failure")
    if type(success) is not int or type(failure) is not int:
        return _unreadable(1)[0]
    if failure == 0:
        return LegacyOutcome(UNNAMED[ACCEPTED])
    detail = f"{failure} of the group's {success + failure} devices did not get it"
    if success:
        return LegacyOutcome(UNNAMED[ACCEPTED], failed=failed, detail=detail)
    return LegacyOutcome(UNNAMED[UNAVAILABLE], failed=failed, retry_after=wait, detail=detail)


def _tokens(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    tokens: Sequence[str | None] = [printable_word(token, _MAX_ID) for token in value[:1000]]
    return tuple(token for token in tokens if token)
