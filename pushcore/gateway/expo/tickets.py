"""Expo's tickets: from the result of a push to its part of the response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...models.apns import Notification
from ...reasons import UNEXPECTED
from ...results import Result, Verdict

Json = dict[str, Any]

_MAX_SHOWN: Final = 400

_NAMES: Final[Mapping[Verdict, str]] = {
    Verdict.UNREGISTERED: "DeviceNotRegistered",
    Verdict.THROTTLED: "MessageRateExceeded",
    Verdict.MISCONFIGURED: "InvalidCredentials",
    Verdict.INVALID: "DeveloperError",
    Verdict.UNAVAILABLE: "ProviderError",
    Verdict.UNSENT: "ProviderError",
    Verdict.UNKNOWN: "ProviderError",
}
ERRORS: Final = frozenset(_NAMES.values()) | {"MessageTooBig", "MismatchSenderId", "ExpoError"}
"""Every name that an error in a ticket has. ExpoError is a failure of Expo's service, to which a push was forwarded."""


def error_name(result: Result) -> str:
    """Expo's name for the outcome of a push that was not accepted.

    DeviceNotRegistered is only for dead tokens, because callers delete the token then. A suspect token is not dead.
    DeviceNotRegistered is for dead tokens alone: users delete the token then. A suspect one is not dead. InvalidCredentials is
    for what the provider says of a key or an account, not for the page of another server.
    """
    row = result.row
    if row.too_large:
        return "MessageTooBig"
    if row is UNEXPECTED:
        return "ProviderError"
    if row.suspect and result.verdict is Verdict.MISCONFIGURED:
        return "MismatchSenderId"
    return _NAMES[result.verdict]


def error_ticket(name: str, message: str, token: Any, **details: Any) -> Json:
    """The ticket of a push that was not accepted.

    Args:
        name: one of `ERRORS`.
        message: one sentence.
        token: the recipient as the caller gave it.
        details: more of them.
    """
    shown = token.get("data") if isinstance(token, dict) else token
    if isinstance(shown, str):
        details["expoPushToken"] = shown
    return {"status": "error", "message": message, "details": {"error": name, **details}}


def ticket_of(result: Result, token: Any) -> Json:
    """The ticket of a push that was not accepted, with the provider's reason."""
    name = error_name(result)
    said: dict[str, Any] = {}
    if result.status is not None:
        provider = "apns" if isinstance(result.push, Notification) else "fcm"
        status = "statusCode" if provider == "apns" else "httpStatusCode"
        said[provider] = {status: result.status, "reason": result.reason}
    if result.retry_after is not None:
        said["retryAfter"] = result.retry_after
    return error_ticket(name, _sentence(result, name, token), token, **said)


def _sentence(result: Result, name: str, token: Any) -> str:
    if name == "DeviceNotRegistered":
        shown = token.get("data") if isinstance(token, dict) else token
        return f'"{shown}" is not a registered push notification recipient'
    detail = str(result.detail)[:_MAX_SHOWN] if result.detail is not None else ""
    if result.verdict is Verdict.UNKNOWN:
        return f"may have been delivered: {detail.removeprefix('may have been delivered: ') or 'no response'}"
    words = [result.reason or result.verdict.value, detail or result.row.advice]
    if result.retry_after is not None:
        words.append(f"send it again after {result.retry_after:.0f} s")
    return ": ".join(words)


def outcome_of(ticket: Json) -> str:
    """ "ok", or the error of a ticket, be it Expo's; "other" for a word that is none of `ERRORS`."""
    if ticket.get("status") == "ok":
        return "ok"
    details = ticket.get("details")
    name = details.get("error") if isinstance(details, dict) else None
    return name if isinstance(name, str) and name in ERRORS else "other"
