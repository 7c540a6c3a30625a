"""Google's error responses of FCM v1, as recorded in reference/fcm.md, 1.1 and 1.3.

Texts that were not recorded are from memory, and marked `[M]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, TypeAlias

import orjson

from fakeservers.serving.types import Header

FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
APNS_ERROR = "type.googleapis.com/google.firebase.fcm.v1.ApnsError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
QUOTA_FAILURE = "type.googleapis.com/google.rpc.QuotaFailure"

INVALID_ARGUMENT = "Request contains an invalid argument."
NO_RECIPIENT = "Recipient of the message is not set."
BAD_REGISTRATION = "The registration token is not a valid FCM registration token"
UNAUTHENTICATED = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
)
NO_CREDENTIALS = (
    "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other "
    "valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
)
TOO_BIG = "Android message is too big"
"""FCM's message for an oversized push, since 2023."""
METHOD = "google.firebase.fcm.v1.FcmService.SendMessage"
RETRY_AFTER = 60
"""Seconds of `Retry-After`, when a fate has none."""
INTERNAL_TIMEOUT = 5.0
"""Seconds after which Google responds with an internal timeout, 500."""

JSON = (b"content-type", b"application/json; charset=UTF-8")
HTML = (b"content-type", b"text/html; charset=UTF-8")
ALWAYS: Sequence[Header] = (
    (b"vary", b"X-Origin"),
    (b"vary", b"Referer"),
    (b"vary", b"Origin,Accept-Encoding"),
    (b"server", b"scaffolding on HTTPServer2"),
    (b"x-xss-protection", b"0"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"x-content-type-options", b"nosniff"),
)
"""Headers that Google's front end adds to every JSON response [M]."""
Violation: TypeAlias = tuple[str, str]
"""Field (may be empty) and description."""
Detail: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class Reply:
    """A response; not frozen, which would make it three times as expensive."""

    status: int
    headers: Sequence[Header]
    body: bytes
    reason: str = ""
    """Its name in `counts`: FCM's error code, otherwise the reason of `ErrorInfo`, otherwise Google's status."""
    delay: float = 0.0
    """Additional seconds before it is sent; infinite for never."""
    fate: str = ""
    """One of `fcm.fates.TRANSPORT`: what happens to the request instead of this response, or with it."""


def status_header(status: int) -> Header:
    """`:status`."""
    return b":status", b"%d" % status


def json_reply(status: int, content: Any, reason: str = "", *, extra: Sequence[Header] = ()) -> Reply:
    """A response with any JSON, formatted like Google's."""
    body = orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return Reply(status, (status_header(status), JSON, *ALWAYS, *extra), body, reason)


def error(
    code: int, message: str, status: str, *details: Detail, reason: str = "", extra: Sequence[Header] = ()
) -> Reply:
    """Google's envelope around an error."""
    content: dict[str, Any] = {"code": code, "message": message, "status": status}
    if details:
        content["details"] = details
    if not reason:
        codes = [
            detail.get("errorCode") or detail.get("reason")
            for detail in details
            if detail["@type"] != APNS_ERROR
        ]
        reason = next((code for code in codes if code), status)
    return json_reply(code, {"error": content}, reason, extra=extra)


def fcm_error(code: str) -> Detail:
    """FCM's own error code."""
    return {"@type": FCM_ERROR, "errorCode": code}


def bad_request(violations: Sequence[Violation]) -> Detail:
    """The invalid fields; one without a name has none in Google's response either."""
    listed = [
        {"field": field, "description": text} if field else {"description": text}
        for field, text in violations
    ]
    return {"@type": BAD_REQUEST, "fieldViolations": listed}


def invalid_fields(violations: Sequence[Violation]) -> Reply:
    """Violations found by the JSON parser, all at once, without an `FcmError`."""
    message = "\n".join(text for _, text in violations)
    return error(400, message, "INVALID_ARGUMENT", bad_request(violations))


def invalid_argument(field: str, description: str, message: str = INVALID_ARGUMENT) -> Reply:
    """An invalid field found after parsing."""
    details = (fcm_error("INVALID_ARGUMENT"), bad_request([(field, description)]))
    return error(400, message, "INVALID_ARGUMENT", *details)


def not_a_token() -> Reply:
    """An invalid registration token; no field is named."""
    return error(400, BAD_REGISTRATION, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"))


def no_recipient() -> Reply:
    """A message without a target; the order of its details is reversed."""
    details = (bad_request([("message", NO_RECIPIENT)]), fcm_error("INVALID_ARGUMENT"))
    return error(400, NO_RECIPIENT, "INVALID_ARGUMENT", *details)


def too_big() -> Reply:
    """More than 4096 bytes, or 2048 to a topic."""
    return error(400, TOO_BIG, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"), reason="TooBig")


def unauthenticated(reason: str, message: str = UNAUTHENTICATED, method: str = METHOD) -> Reply:
    """A missing, unknown or expired access token; only ACCESS_TOKEN_EXPIRED was recorded, the other reasons are [M]."""
    info = error_info(reason, method=method, service="fcm.googleapis.com")
    challenge = b'Bearer realm="https://accounts.google.com/"'
    if reason != "CREDENTIALS_MISSING":
        challenge += b', error="invalid_token"'
    return error(401, message, "UNAUTHENTICATED", info, extra=[(b"www-authenticate", challenge)])


def permission_denied(project: str, permission: str = "cloudmessaging.messages.create") -> Reply:
    """IAM: the account may not do this in this project."""
    resource = f"//cloudresourcemanager.googleapis.com/projects/{project}"
    message = f"Permission '{permission}' denied on resource '{resource}' (or it may not exist)."
    info = error_info("IAM_PERMISSION_DENIED", permission=permission, resource=f"projects/{project}")
    return error(403, message, "PERMISSION_DENIED", info)


def insufficient_scope() -> Reply:
    """The access token is valid, but not for FCM [M]."""
    info = error_info("ACCESS_TOKEN_SCOPE_INSUFFICIENT", method=METHOD, service="fcm.googleapis.com")
    message = "Request had insufficient authentication scopes."
    return error(403, message, "PERMISSION_DENIED", info)


def not_found(message: str = "Requested entity was not found.") -> Reply:
    """A project or resource that does not exist: without `FcmError`, and so no reason to drop a token."""
    return error(404, message, "NOT_FOUND")


def quota_exceeded(subject: str, description: str, retry_after: bytes | None) -> Reply:
    """429. The reference found no recorded QuotaFailure of FCM's; this one is in its documented form."""
    failure = {"@type": QUOTA_FAILURE, "violations": [{"subject": subject, "description": description}]}
    return error(
        429,
        description,
        "RESOURCE_EXHAUSTED",
        fcm_error("QUOTA_EXCEEDED"),
        failure,
        extra=_retry_after(retry_after),
    )


def error_info(reason: str, **metadata: str) -> Detail:
    """`google.rpc.ErrorInfo`."""
    return {"@type": ERROR_INFO, "reason": reason, "domain": "googleapis.com", "metadata": metadata}


def html_page(status: int, title: str, text: str, reason: str = "", *, extra: Sequence[Header] = ()) -> Reply:
    """A page of the front end, without its style."""
    page = (
        f"<!DOCTYPE html>\n<html lang=en>\n  <meta charset=utf-8>\n  <title>Error {status} ({title})!!1</title>\n"
        "  <a href=//www.google.com/><span id=logo aria-label=Google></span></a>\n"
        f"  <p><b>{status}.</b> <ins>That's an error.</ins>\n  <p>{text}  <ins>That's all we know.</ins>\n"
    )
    return Reply(status, (status_header(status), HTML, *extra), page.encode(), reason or title)


def no_such_page(path: str) -> Reply:
    """An unknown path."""
    shown = path.replace("&", "&amp;").replace("<", "&lt;")
    return html_page(
        404, "Not Found", f"The requested URL <code>{shown}</code> was not found on this server."
    )


def too_large() -> Reply:
    """A body that is too large for the front end [M]."""
    text = "Your client issued a request that was too large."
    return html_page(413, "Request Entity Too Large", text)


def bad_gateway() -> Reply:
    """502 as recorded: HTML, and a hint in English."""
    text = "The server encountered a temporary error and could not complete your request.<p>Please try again in 30 seconds."
    return html_page(502, "Server Error", text, "BadGateway")


def _retry_after(value: bytes | None) -> Sequence[Header]:
    return () if value is None else ((b"retry-after", value),)


def _apns(status: int, reason: str) -> Detail:
    return {"@type": APNS_ERROR, "statusCode": status, "reason": reason}


def _third_party(code: str, *more: Detail, message: str = NO_CREDENTIALS) -> Reply:
    """The credentials for APNs or web push are wrong; the text is that of Google's OAuth gateway."""
    return error(401, message, "UNAUTHENTICATED", fcm_error(code), *more)


def _internal() -> Reply:
    return error(500, "Internal error encountered.", "INTERNAL", fcm_error("INTERNAL"))


def _unavailable(retry_after: bytes | None) -> Reply:
    return error(
        503,
        "The service is currently unavailable.",
        "UNAVAILABLE",
        fcm_error("UNAVAILABLE"),
        extra=_retry_after(retry_after),
    )


@dataclass(frozen=True, slots=True)
class FatedSend:
    """The send to which a fate happens."""

    project: str
    field: str
    """`message.token` or `message.fid`."""
    now: float
    seconds: int
    """For `Retry-After`."""


def _quota(what: str, description: str) -> Callable[[FatedSend], Reply]:
    return lambda send: quota_exceeded(f"{what}:{send.project}", description, b"%d" % send.seconds)


_DISABLED = (
    "Firebase Cloud Messaging API has not been used in project {0} before or it is disabled. Enable it by visiting "
    "https://console.developers.google.com/apis/api/fcm.googleapis.com/overview?project={0} then retry."
)
_NO_PAGE = "The requested URL was not found on this server."
_BADGE = "Value type for APS key [badge] is a number."
_DEAD_ON_IOS = "APNs device token is disabled."
_WRONG_TYPE = "Invalid value at 'message.data[0].value' (TYPE_STRING), 12"
_UNKNOWN_NAME = "Invalid JSON payload received. Unknown name \"key\" at 'message': Cannot find field."
_QUOTA = "Quota exceeded for quota metric 'Send requests' and limit 'Send requests per minute' of service 'fcm.googleapis.com'."

BY_FATE: dict[str, Callable[[FatedSend], Reply]] = {
    "InvalidToken": lambda send: invalid_argument(send.field, "Invalid registration token"),
    "NotARegistrationToken": lambda _: not_a_token(),
    "TokenByTextAndField": lambda send: invalid_argument(send.field, BAD_REGISTRATION, BAD_REGISTRATION),
    "ApnsDisabled": lambda _: error(
        400, _DEAD_ON_IOS, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"), _apns(410, "Unregistered")
    ),
    "TooBig": lambda _: too_big(),
    "NoRecipient": lambda _: no_recipient(),
    "WrongType": lambda _: invalid_fields([("message.data[0].value", _WRONG_TYPE)]),
    "UnknownName": lambda _: invalid_fields([("message", _UNKNOWN_NAME)]),
    "ApnsKeyType": lambda _: invalid_argument("message.apns.payload.aps.badge", _BADGE),
    "InvalidDataKey": lambda _: invalid_argument(
        "message.data", "Invalid data payload key: from", "Invalid data payload key: from"
    ),
    "InvalidTtl": lambda _: invalid_argument("message.android.ttl", "Invalid ttl"),
    "InvalidPackageName": lambda _: invalid_argument(
        "message.android.restricted_package_name", "Invalid package name"
    ),
    "InvalidArgument": lambda _: error(
        400, INVALID_ARGUMENT, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT")
    ),
    "AccessTokenExpired": lambda _: unauthenticated("ACCESS_TOKEN_EXPIRED"),
    "ThirdPartyAuth": lambda _: _third_party("THIRD_PARTY_AUTH_ERROR"),
    "ApnsInvalidProviderToken": lambda _: _third_party(
        "THIRD_PARTY_AUTH_ERROR", _apns(403, "InvalidProviderToken")
    ),
    "ApnsBadEnvironmentKey": lambda _: _third_party(
        "THIRD_PARTY_AUTH_ERROR", _apns(403, "BadEnvironmentKeyInToken")
    ),
    "ApnsAuth": lambda _: _third_party("APNS_AUTH_ERROR", message="Auth error from APNS or Web Push Service"),
    "SenderIdMismatch": lambda _: error(
        403, "SenderId mismatch", "PERMISSION_DENIED", fcm_error("SENDER_ID_MISMATCH")
    ),
    "PermissionDenied": lambda send: permission_denied(send.project),
    "ServiceDisabled": lambda send: error(
        403,
        _DISABLED.format(send.project),
        "PERMISSION_DENIED",
        error_info("SERVICE_DISABLED", service="fcm.googleapis.com", consumer=f"projects/{send.project}"),
    ),
    "Unregistered": lambda _: error(
        404, "Requested entity was not found.", "NOT_FOUND", fcm_error("UNREGISTERED")
    ),
    "UnregisteredApns": lambda _: error(
        404,
        "Requested entity was not found.",
        "NOT_FOUND",
        fcm_error("UNREGISTERED"),
        _apns(410, "Unregistered"),
    ),
    "ProjectNotFound": lambda _: not_found(),
    "HtmlNotFound": lambda _: html_page(404, "Not Found", _NO_PAGE, "HtmlNotFound"),
    "QuotaExceeded": _quota("project", _QUOTA),
    "DeviceRateExceeded": _quota("device", "Device message rate exceeded."),
    "TopicRateExceeded": _quota("topic", "Topic message rate exceeded."),
    "TopicQuotaExceeded": _quota("topic", "Topic quota exceeded."),
    "QuotaWithoutRetryAfter": lambda send: quota_exceeded(f"project:{send.project}", _QUOTA, None),
    "Internal": lambda _: _internal(),
    "InternalTimeout": lambda _: _internal(),
    "UnspecifiedError": lambda _: error(
        500, "Unknown error encountered.", "UNKNOWN", fcm_error("UNSPECIFIED_ERROR")
    ),
    "EmptyBody": lambda _: Reply(500, (status_header(500), HTML), b"", "EmptyBody"),
    "BadGateway": lambda _: bad_gateway(),
    "Unavailable": lambda send: _unavailable(b"%d" % send.seconds),
    "UnavailableWithoutRetryAfter": lambda _: _unavailable(None),
    "UnavailableUntilDate": lambda send: _unavailable(
        formatdate(send.now + send.seconds, usegmt=True).encode()
    ),
}
"""The response to a fated token, by fate."""
