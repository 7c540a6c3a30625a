"""The errors of FCM: every documented error with its `Verdict` and advice.

Sources: "ErrorCode" and "FCM error codes" at firebase.google.com/docs/reference/fcm; "Best practices when sending FCM
messages at scale"; recorded bodies. Google's `details` come in any order and number, so they are all looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

import orjson

from ..auth.clock import MAX_WAIT, SECONDS, read_retry_after
from ..reasons import (
    INVALID,
    MISCONFIGURED,
    THROTTLED,
    UNAVAILABLE,
    UNEXPECTED_TABLE,
    UNKNOWN,
    UNNAMED,
    UNREGISTERED,
    Reason,
    ReasonTable,
    Verdict,
    describe_unexpected,
    printable_word,
    register,
    temporary_rows,
)

MAX_BODY: Final = 65_536
"""Bytes of an error's body that are read; Google's have some hundred."""
MAX_DETAIL: Final = 400
"""Characters of the text that is made of a response for people to read."""
_MAX_WORD: Final = 100
_MAX_DETAILS: Final = 32  # objects in `details`, and violations in one of them
_MAX_CACHED: Final = 2048  # bytes of a body that is cached: most errors of a campaign have the same body

_SLOWER: Final = "Send again later, with growing backoff."

_ROWS: Final = (
    Reason(0, "UNSPECIFIED_ERROR", UNKNOWN, "See the detail: Google gave no reason."),
    Reason(
        400,
        "INVALID_ARGUMENT",
        INVALID,
        "Correct the message, or the token if the detail blames it.",
    ),
    Reason(404, "UNREGISTERED", UNREGISTERED, "Drop the token: the app instance no longer exists."),
    Reason(
        403,
        "SENDER_ID_MISMATCH",
        MISCONFIGURED,
        "Use the service account of the app's project: the token belongs to another project.",
        suspect=True,
    ),
    Reason(
        429,
        "QUOTA_EXCEEDED",
        THROTTLED,
        "Slow the whole project down.",
        wait=60.0,
        setting="fcm_quota_wait",
        asked_setting="fcm_wait",
        scope="project",
    ),
    Reason(503, "UNAVAILABLE", UNAVAILABLE, _SLOWER, wait=10.0, setting="fcm_wait"),
    Reason(500, "INTERNAL", UNAVAILABLE, _SLOWER, wait=10.0, setting="fcm_wait"),
    Reason(
        401,
        "THIRD_PARTY_AUTH_ERROR",
        MISCONFIGURED,
        "Correct the APNs key or the web push key in the Firebase console.",
    ),
    Reason(  # its earlier name, in the maps of Google's SDKs
        401, "APNS_AUTH_ERROR", MISCONFIGURED, "Correct the APNs key in the Firebase console."
    ),
)
_BY_STATUS: Final = {
    401: Reason(
        401, "", MISCONFIGURED, "Correct the service account or its key: Google rejects its access token."
    ),
    403: Reason(403, "", MISCONFIGURED, "Check the permissions of the service account in this project."),
    405: replace(UNNAMED[MISCONFIGURED], status=405),
    # Without UNREGISTERED the path was not found: the project is wrong.
    404: Reason(404, "", MISCONFIGURED, "Correct the project id: there is no such path."),
    **temporary_rows(10.0, "fcm_wait"),
    429: Reason(
        429,
        "",
        THROTTLED,
        "Slow the whole project down.",
        wait=60.0,
        setting="fcm_quota_wait",
        asked_setting="fcm_wait",
        scope="project",
    ),
}

TABLE: Final = register("fcm", ReasonTable(_ROWS, _BY_STATUS, exact=False))
"""The table of `messages:send`, and what a status means without a word of the table."""
register("fcm", UNEXPECTED_TABLE)
REASONS: Final = TABLE.rows
"""The reasons of FCM: a `Reason` by its name (Google's `FcmError.errorCode`), with status, verdict and advice."""

DEAD_TOKEN: Final = Reason(
    400,
    "INVALID_ARGUMENT",
    UNREGISTERED,
    "Drop the token: according to Google it is not a registration token.",
)
"""INVALID_ARGUMENT for a token that is proven to be dead: by APNs' 410, or as `shapes` says."""
SUSPECT_TOKEN: Final = Reason(
    400,
    "INVALID_ARGUMENT",
    INVALID,
    "Check the message's apns, android and webpush parts first: Google also blames the token for errors in them.",
    blames="token",
    suspect=True,
    if_all="Correct the apns, android or webpush part: Google also blames the tokens for errors in them, and "
    "accepted no message of this shape",
    stored="INVALID_ARGUMENT (token)",
)
"""INVALID_ARGUMENT whose detail blames the token: this does not prove that the token is dead."""
register("fcm", ReasonTable((replace(SUSPECT_TOKEN, name="INVALID_ARGUMENT (token)"),), {}, exact=False))
TOO_LARGE: Final = Reason(
    400, "INVALID_ARGUMENT", INVALID, "Shorten the message's keys and values.", too_large=True
)
"""INVALID_ARGUMENT for a message that is too large, by our own count or by Google's words."""
_NARROW_QUOTAS: Final = (
    # By Google's words: "Device message rate exceeded"; "Topic quota exceeded", "Topic message rate exceeded", "to a
    # particular device", "to a particular topic", and a violation whose subject is "device:…", "token:…", "topic:…" or the
    # path of a topic.
    (
        re.compile(
            r"device ?(message ?)?(rate|quota)|particular device|\b(device|token|fid|registration):",
            re.IGNORECASE,
        ),
        replace(REASONS["QUOTA_EXCEEDED"], advice="Send to this device later.", scope="device"),
    ),
    (
        re.compile(r"topics? ?(message ?)?(rate|quota)|particular topic|\btopic:|\btopics/", re.IGNORECASE),
        replace(REASONS["QUOTA_EXCEEDED"], advice="Send to this topic later.", scope="topic"),
    ),
)
_DEAD_TO_APNS: Final = ("Unregistered", "ExpiredToken")
_TOKEN_FIELDS: Final = frozenset({"message.token", "message.fid"})
_TOO_LARGE_TEXT: Final = re.compile(r"message is too big", re.IGNORECASE)
_DEAD_TEXT: Final = "The registration token is not a valid FCM registration token"
_THIRD_PARTY_TEXT: Final = "Auth error from APNS or Web Push Service"
_CODE: Final = re.compile(r"[A-Z][A-Z_]*", re.ASCII)
"""A name of google.rpc.Code, such as NOT_FOUND."""
_MESSAGE_NAME: Final = re.compile(r"projects/[^/]+/messages/[^/]+")
_HTML_WAIT: Final = re.compile(rb"try again in ([0-9]{1,6}) seconds", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FcmFailure:
    """Read an error response.

    `row`: what it means. `reason`: Google's word: the FcmError's code, otherwise the ErrorInfo's reason, otherwise
    `error.status`. `detail`: a sentence for the log. `retry_after`: seconds that Google asks to wait, if it did.
    `refresh_token`: true when the access token was rejected, so that a fresh one may help; never when Apple rejected
    Firebase's key.
    """

    row: Reason
    reason: str | None = None
    detail: str | None = None
    retry_after: float | None = None
    refresh_token: bool = False

    @property
    def verdict(self) -> Verdict:
        """The verdict on the push."""
        return self.row.verdict


def read_error(status: int, body: bytes, retry_after: str | None = None, now: float = 0.0) -> FcmFailure:
    """The meaning of a response of `messages:send` with this status.

    `retry_after`: the header of that name, seconds or an HTTP date, for which `now` is the time in UNIX seconds.
    Never raises. A response that is not in Google's form is `UNEXPECTED`, whatever its status below 500 says: most servers
    have a page for 403 and 404, and it blames neither the account nor the project.
    """
    failure = _read_cached(status, body) if len(body) <= _MAX_CACHED else _read(status, body)
    if retry_after is not None:
        wait = read_retry_after(retry_after, now)
        if wait is not None:
            return replace(failure, retry_after=wait)
    return failure


def message_name(body: bytes) -> str | None:
    """The name of the message that Google accepted, "projects/p/messages/1"; None when the body has none.

    Other resources have a `name`, too.
    """
    document = json_object(body)
    name = printable_word(document.get("name"), 300) if document is not None else None
    return name if name is not None and _MESSAGE_NAME.fullmatch(name) else None


def find_name(push: object, body: bytes, key: str) -> str | None:
    """The same for `Result`: a message's name is its id, and it has no other."""
    return message_name(body) if key == "id" else None


@dataclass(slots=True)
class _Details:
    """The content of the objects in `details`; None or empty for absent ones."""

    code: str | None = None
    info: str | None = None
    apns_status: int | None = None
    apns_reason: str | None = None
    wait: float | None = None
    fields: set[str] = field(default_factory=set)
    words: list[str] = field(default_factory=list)


def _read(status: int, body: bytes) -> FcmFailure:
    response = json_object(body)
    error = response.get("error") if response is not None else None
    if status < 400 or not isinstance(error, dict) or not is_google_error(error):
        return read_unexpected(status, body)
    details = _scan(error.get("details"))
    message = printable_word(error.get("message"), MAX_DETAIL) or ""
    status_word = printable_word(error.get("status"), _MAX_WORD)
    other_cause = (
        details.code in REASONS
        or details.apns_status is not None
        or (details.code is None and message.startswith(_THIRD_PARTY_TEXT))
    )
    text = "; ".join([message, *details.words]).strip("; ")[:MAX_DETAIL]
    return FcmFailure(
        _row(status, message, details, text),
        details.code or details.info or status_word,
        text or None,
        details.wait,
        refresh_token=status == 401 and not other_cause,
    )


_read_cached = lru_cache(maxsize=256)(_read)


def _row(status: int, message: str, details: _Details, text: str) -> Reason:
    code = details.code
    if 400 <= status < 500:
        # The token is dead according to APNs. An INVALID_ARGUMENT that blames the token proves nothing.
        if code == "INVALID_ARGUMENT" and status == 400:
            if details.apns_status == 410 and details.apns_reason in _DEAD_TO_APNS:
                return DEAD_TOKEN
            if details.fields & _TOKEN_FIELDS or message.rstrip(". ") == _DEAD_TEXT:
                return SUSPECT_TOKEN
        if details.apns_reason == "PayloadTooLarge" or (status == 400 and _TOO_LARGE_TEXT.search(message)):
            return TOO_LARGE
    row = TABLE.lookup(status, code)
    if row.scope == "project":
        for pattern, narrow in _NARROW_QUOTAS:
            if pattern.search(text):
                return narrow
    return row


def verdict_for(status: int) -> Verdict:
    """The verdict of a status alone: never that a token is dead."""
    return TABLE.of_status(status).verdict


def is_google_error(error: dict[str, Any]) -> bool:
    """Whether an `error` is a google.rpc.Status in JSON, or has the list of Google's earlier form.

    JSON-RPC, Facebook and many others have an object of that name with a `code` and a `message`.
    """
    status = error.get("status")
    return (isinstance(status, str) and _CODE.fullmatch(status) is not None) or any(
        name in item
        for members, name in (("details", "@type"), ("errors", "domain"))
        for item in _objects(error.get(members))
    )


def read_unexpected(status: int, body: bytes) -> FcmFailure:
    """A response without Google's JSON: an HTML page (502 says how long to wait), an empty body, or another form."""
    wait = _HTML_WAIT.search(body[:MAX_BODY])
    row = TABLE.of_unexpected(status)
    return FcmFailure(
        row,
        row.name or None,
        describe_unexpected("FCM", status, body),
        min(float(wait[1]), MAX_WAIT) if wait else None,
        refresh_token=status == 401,
    )


def _scan(details: object) -> _Details:
    scanned = _Details()
    if not isinstance(details, list):
        return scanned
    for detail in details[:_MAX_DETAILS]:
        if not isinstance(detail, dict):
            continue
        kind = str(detail.get("@type")).rpartition(".")[2]
        if kind == "FcmError":
            scanned.code = printable_word(detail.get("errorCode"), _MAX_WORD) or scanned.code
        elif kind == "ApnsError":
            status = detail.get("statusCode")
            scanned.apns_status = status if type(status) is int else 0
            scanned.apns_reason = printable_word(detail.get("reason"), _MAX_WORD)
            scanned.words.append(f"APNs: {scanned.apns_status or ''} {scanned.apns_reason or ''}".rstrip())
        elif kind == "BadRequest":
            for violation in _objects(detail.get("fieldViolations")):
                name = printable_word(violation.get("field"), _MAX_WORD)
                if name:
                    scanned.fields.add(name)
                text = printable_word(violation.get("description"), _MAX_WORD * 2)
                scanned.words.append(": ".join(filter(None, (name, text))))
        elif kind == "QuotaFailure":
            for violation in _objects(detail.get("violations")):
                text = printable_word(violation.get("description"), _MAX_WORD * 2)
                scanned.words.append(
                    ": ".join(filter(None, (printable_word(violation.get("subject"), _MAX_WORD), text)))
                )
        elif kind == "ErrorInfo":
            scanned.info = printable_word(detail.get("reason"), _MAX_WORD)
            if scanned.info:
                scanned.words.append(scanned.info)
        elif kind == "RetryInfo":
            scanned.wait = _delay(detail.get("retryDelay"))
    return scanned


def _delay(value: object) -> float | None:
    if isinstance(value, str) and value.endswith("s") and SECONDS.fullmatch(value[:-1]):
        return min(float(value[:-1]), MAX_WAIT)
    return None


def _objects(value: object) -> list[dict[str, Any]]:
    return (
        [item for item in value[:_MAX_DETAILS] if isinstance(item, dict)] if isinstance(value, list) else []
    )


def json_object(body: bytes, limit: int = MAX_BODY) -> dict[str, Any] | None:
    """The JSON object in `body`, None when it is something else or longer than `limit` bytes.

    Some of Google's front ends put a list around it.
    """
    if len(body) > limit:
        return None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(document, list) and document:
        document = document[0]
    return document if isinstance(document, dict) else None
