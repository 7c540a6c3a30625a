"""The responses that a plan can name, per provider: Apple's reasons, fates and error codes of FCM, errors of OAuth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from fakeservers.faults.actions import Answer
from fakeservers.faults.reading import show
from fakeservers.faults.when import PROVIDERS
from fakeservers.responses.apns import STATUSES
from fakeservers.responses.fcm import (
    BY_FATE,
    JSON,
    RETRY_AFTER,
    FatedSend,
    Reply,
    error,
    html_page,
    json_reply,
)
from fakeservers.responses.fcm import status_header as status_header
from fakeservers.serving.types import Header

FCM_CODES = {
    "INVALID_ARGUMENT": "InvalidArgument",
    "UNREGISTERED": "Unregistered",
    "SENDER_ID_MISMATCH": "SenderIdMismatch",
    "QUOTA_EXCEEDED": "QuotaExceeded",
    "UNAVAILABLE": "Unavailable",
    "INTERNAL": "Internal",
    "THIRD_PARTY_AUTH_ERROR": "ThirdPartyAuth",
    "APNS_AUTH_ERROR": "ApnsAuth",
    "UNSPECIFIED_ERROR": "UnspecifiedError",
}
"""FCM's own error codes, and the fate whose response has each."""

OAUTH_ERRORS = {
    "invalid_grant": (400, "Invalid grant: account not found"),
    "invalid_scope": (400, "Invalid OAuth scope or ID token audience provided."),
    "invalid_request": (400, "Bad Request"),
    "invalid_client": (401, "The OAuth client was not found."),
    "unsupported_grant_type": (400, "Invalid grant_type"),
    "internal_failure": (500, "Backend Error"),
    "unavailable": (503, ""),
}
"""Status and description; `unavailable` is an HTML page."""

REASONS: dict[str, tuple[str, ...]] = {
    "apns": tuple(STATUSES),
    "fcm": (*BY_FATE, *FCM_CODES),
    "oauth": tuple(OAUTH_ERRORS),
}
"""What `reason` may be without a status."""

_UNAVAILABLE = "The service you requested is not available at this time.<p>Service error -27."
_DAY_MS = 86_400_000


def providers_of(action: Answer) -> frozenset[str]:
    """The providers that can send this response."""
    if action.status:
        return frozenset(PROVIDERS)
    return frozenset(name for name, reasons in REASONS.items() if action.reason in reasons)


def refusal_of(action: Answer, providers: Iterable[str]) -> str:
    """Why these providers cannot send this response, in one sentence; empty when they can."""
    able = providers_of(action)
    for name in providers or PROVIDERS:
        if name not in able and (providers or not able):
            known = REASONS[name] if providers else [reason for names in REASONS.values() for reason in names]
            return f"what.reason is {show(action.reason)}, expected a status with it, or one of {', '.join(known)}"
    return ""


def answer_of(action: Answer, provider: str, *, project: str = "", now: float = 0.0) -> Reply:
    """The response as the provider would send it."""
    return _MAKERS[provider](action, project, now)


def _apns(action: Answer, project: str, now: float) -> Reply:
    status = action.status or STATUSES[action.reason]
    body = b""
    if action.body is not None:
        body = action.body.encode()
    elif action.reason:
        content: dict[str, Any] = {"reason": action.reason}
        if status == 410:
            content["timestamp"] = int(now * 1000) - _DAY_MS
        body = orjson.dumps(content)
    headers: list[Header] = [status_header(status)]
    if body:
        headers.append((b"content-type", _content_type(action, body) or b"application/json"))
    return Reply(status, (*headers, *_more_headers(action)), body, action.reason)


def _fcm(action: Answer, project: str, now: float) -> Reply:
    fate = FCM_CODES.get(action.reason, action.reason)
    if fate in BY_FATE:
        wait = action.retry_after if isinstance(action.retry_after, int) else RETRY_AFTER
        reply = BY_FATE[fate](FatedSend(project, "message.token", now, wait))
    elif action.reason:
        reply = error(action.status, action.reason, action.reason)
    else:
        reply = Reply(action.status, (status_header(action.status),), b"")
    return _changed(reply, action)


def _oauth(action: Answer, project: str, now: float) -> Reply:
    name = action.reason
    if name == "unavailable":
        reply = html_page(503, "Service Unavailable", _UNAVAILABLE, "Unavailable")
    elif name:
        status, description = OAUTH_ERRORS.get(name, (action.status, name))
        reply = json_reply(status, {"error": name, "error_description": description}, name)
    else:
        reply = Reply(action.status, (status_header(action.status),), b"")
    return _changed(reply, action)


_MAKERS = {"apns": _apns, "fcm": _fcm, "oauth": _oauth}


def _changed(reply: Reply, action: Answer) -> Reply:
    """Google's response with the changes of the plan."""
    status = action.status or reply.status
    body = reply.body if action.body is None else action.body.encode()
    if action.body is None and body[:1] == b"{":
        content = orjson.loads(body)
        google_error = content.get("error")
        if isinstance(google_error, dict):
            google_error["code"] = status
            if not action.details:
                google_error.pop("details", None)
            body = orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    gone = {b":status", b"content-type"}
    if action.retry_after is not None:
        gone.add(b"retry-after")
    kept = [header for header in reply.headers if header[0] not in gone]
    old_type = dict(reply.headers).get(b"content-type", JSON[1])
    kind = _content_type(action, body) or old_type
    headers = [status_header(status), *([(b"content-type", kind)] if body else ()), *kept]
    return Reply(status, (*headers, *_more_headers(action)), body, reply.reason)


def _content_type(action: Answer, body: bytes) -> bytes:
    """The content type of the plan, stated or implied by its body; empty when there is none."""
    if action.content_type:
        return action.content_type.encode()
    return b"text/html; charset=UTF-8" if action.body is not None and body.startswith(b"<") else b""


def _more_headers(action: Answer) -> list[Header]:
    headers = [(name.encode(), value.encode()) for name, value in action.headers]
    if action.retry_after is not None:
        headers.append((b"retry-after", str(action.retry_after).encode()))
    return headers
