"""The reasons of APNs: every documented reason with its `Verdict` and advice.

Sources: "Handling notification responses from APNs" at developer.apple.com/documentation, the table of `/3/device`;
"Handling error responses from Apple Push Notification service" for channels and broadcasts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from ..http2.exchange import header_of
from ..reasons import (
    INVALID,
    MISCONFIGURED,
    THROTTLED,
    UNAVAILABLE,
    UNEXPECTED_TABLE,
    UNNAMED,
    UNREGISTERED,
    Reason,
    ReasonTable,
    Verdict,
    register,
    temporary_rows,
)

MAX_REASON: Final = 100
"""Characters of a reason that is not in the table."""
_MEMBERS: Final = frozenset({"reason", "timestamp"})
"""All members of an error's body ("Handling notification responses from APNs", table 5)."""
_WORDS: Final = re.compile(r"[A-Z][A-Za-z ]*", re.ASCII)
"""The form of Apple's reasons."""
_IDS: Final = (b"apns-id", b"apns-request-id")
_MAX_TIMESTAMP: Final = 253_402_300_800  # the year 10000 in UNIX seconds: beyond what a datetime can hold

_ROWS: Final = (
    Reason(400, "BadCollapseId", INVALID, "Shorten the collapse id to 64 bytes."),
    Reason(
        400,
        "BadDeviceToken",
        INVALID,
        "Check the environment first: the token is malformed or belongs to the other environment; do not retry.",
        blames="token",
        suspect=True,
        if_all="Use the other environment, production or sandbox: these tokens do not belong to this one",
    ),
    Reason(400, "BadExpirationDate", INVALID, "Set the expiration in UNIX seconds."),
    Reason(400, "BadMessageId", INVALID, "Set the apns-id to a UUID in lower case."),
    Reason(400, "BadPriority", INVALID, "Set a priority that the push type allows."),
    Reason(
        400,
        "BadTopic",
        MISCONFIGURED,
        "Correct the topic: the bundle id and the push type's suffix.",
        about_topic=True,
    ),
    Reason(
        400,
        "DeviceTokenNotForTopic",
        INVALID,
        "Check the topic first: the token belongs to another app; do not retry.",
        blames="token",
        suspect=True,
        if_all="Correct the topic: these tokens belong to another app",
        about_topic=True,
    ),
    Reason(400, "DuplicateHeaders", INVALID, "Report a bug: the sender repeated a header."),
    Reason(
        400,
        "IdleTimeout",
        UNAVAILABLE,
        "Send again: APNs closed the connection because it was idle.",
        wait=60.0,
        setting="apns_unavailable_wait",
        early=True,
    ),
    Reason(400, "InvalidPushType", INVALID, "Set one of Apple's push types."),
    Reason(400, "MissingDeviceToken", INVALID, "Set a device token: there was none in the path."),
    Reason(
        400,
        "MissingTopic",
        MISCONFIGURED,
        "Set a topic: this key or certificate needs one.",
        about_topic=True,
    ),
    Reason(400, "PayloadEmpty", INVALID, "Set a payload: there was none."),
    Reason(
        400,
        "TopicDisallowed",
        MISCONFIGURED,
        "Correct the topic, or use a key or certificate that may push to it.",
        about_topic=True,
    ),
    Reason(403, "BadCertificate", MISCONFIGURED, "Replace the certificate: it is not valid."),
    Reason(
        403, "BadCertificateEnvironment", MISCONFIGURED, "Use this certificate with the other environment."
    ),
    Reason(
        403,
        "ExpiredProviderToken",
        MISCONFIGURED,
        "Apple rejects the newest provider token as older than an hour, on a new connection too.",
    ),
    Reason(403, "Forbidden", MISCONFIGURED, "Check what this key or certificate may do; do not retry."),
    Reason(
        403,
        "InvalidProviderToken",
        MISCONFIGURED,
        "Check key file, key id and team id: they do not belong together.",
    ),
    Reason(403, "MissingProviderToken", MISCONFIGURED, "Configure a key or a certificate."),
    Reason(
        403,
        "UnrelatedKeyIdInToken",
        MISCONFIGURED,
        "Use another connection: the first key on this connection belongs to another team.",
    ),
    Reason(
        403,
        "BadEnvironmentKeyIdInToken",
        MISCONFIGURED,
        "Use this key with the other environment, or a key of this one.",
    ),
    Reason(  # Apple's table has the name above; APNs sends this one
        403,
        "BadEnvironmentKeyInToken",
        MISCONFIGURED,
        "Use this key with the other environment, or a key of this one.",
    ),
    Reason(404, "BadPath", INVALID, "Check the device token and the URL: the path is not one of APNs'."),
    Reason(405, "MethodNotAllowed", INVALID, "Report a bug: the sender did not use POST."),
    Reason(410, "ExpiredToken", UNREGISTERED, "Drop the device token: it has expired."),
    Reason(
        410,
        "Unregistered",
        UNREGISTERED,
        "Drop the device token, unless the device registered again after the timestamp.",
    ),
    Reason(413, "PayloadTooLarge", INVALID, "Shorten the payload to the push type's limit.", too_large=True),
    Reason(
        429,
        "TooManyProviderTokenUpdates",
        THROTTLED,
        "Slow down and keep the token: it was changed twice within 20 minutes.",
        wait=1200.0,
        setting="apns_token_wait",
        blames="configuration",
    ),
    Reason(
        429,
        "TooManyRequests",
        THROTTLED,
        "Send to this device later: it got too many pushes in a row.",
        wait=30.0,
        setting="apns_device_wait",
        scope="device",
    ),
    Reason(
        500,
        "InternalServerError",
        UNAVAILABLE,
        "Send again after some minutes.",
        wait=900.0,
        setting="apns_error_wait",
        early=True,
    ),
    Reason(
        503,
        "ServiceUnavailable",
        UNAVAILABLE,
        "Send again after some minutes.",
        wait=60.0,
        setting="apns_unavailable_wait",
    ),
    Reason(
        503,
        "Shutdown",
        UNAVAILABLE,
        "Send again on another connection: this server is going down.",
        wait=60.0,
        setting="apns_unavailable_wait",
        early=True,
    ),
)
_BY_STATUS: Final = {
    403: replace(UNNAMED[MISCONFIGURED], status=403),
    410: Reason(
        410,
        "",
        UNREGISTERED,
        "Drop the device token, unless the device registered again after the timestamp.",
    ),
    **temporary_rows(60.0, "apns_unavailable_wait"),
    # An Apple 429 is about one device. A 5xx without a reason of the table waits Apple's 15 minutes.
    429: Reason(
        429,
        "",
        THROTTLED,
        "Send to this device later.",
        wait=30.0,
        setting="apns_device_wait",
        scope="device",
    ),
    5: Reason(500, "", UNAVAILABLE, "Send again after some minutes.", wait=900.0, setting="apns_error_wait"),
}

TABLE: Final = register("apns", ReasonTable(_ROWS, _BY_STATUS, exact=True))
"""The table of `/3/device`, and what a status means without a word of the table."""

REASONS: Final = TABLE.rows
"""The reasons of APNs: a `Reason` by its name, with status, verdict and advice."""

_CHANNEL_ROWS: Final = (
    *(
        REASONS[name]
        for name in (
            *("BadExpirationDate", "BadMessageId", "BadPriority", "InvalidPushType", "PayloadEmpty"),
            *("BadCertificate", "BadCertificateEnvironment", "ExpiredProviderToken", "InvalidProviderToken"),
            *("MissingProviderToken", "UnrelatedKeyIdInToken", "BadEnvironmentKeyIdInToken", "BadPath"),
            "BadEnvironmentKeyInToken",
            *("MethodNotAllowed", "PayloadTooLarge", "TooManyProviderTokenUpdates", "InternalServerError"),
            *("ServiceUnavailable", "Shutdown"),
        )
    ),
    Reason(400, "BadChannelId", INVALID, "Use the channel id exactly as APNs returned it."),
    Reason(
        400,
        "BadRequestParams",
        INVALID,
        "Report a bug: the sender named an attribute that APNs does not know.",
    ),
    Reason(400, "BadRequestPayload", INVALID, "Set a payload that is a JSON object."),
    Reason(
        400,
        "CannotCreateChannelConfig",
        MISCONFIGURED,
        "Delete channels: the app has reached the limit of channels.",
    ),
    Reason(
        400, "ChannelNotRegistered", INVALID, "Create the channel again: there is no channel with this id."
    ),
    Reason(
        400, "FeatureNotEnabled", MISCONFIGURED, "Enable the broadcast capability for the app's bundle id."
    ),
    Reason(400, "MissingChannelId", INVALID, "Set a channel id."),
    Reason(400, "MissingChannelQueueSize", INVALID, "Report a bug: the sender set no storage policy."),
    Reason(400, "MissingPushType", INVALID, "Report a bug: the sender set no push type."),
    Reason(400, "TopicDisallowed", MISCONFIGURED, "Set the bundle id without the suffix of a push type."),
    Reason(403, "TopicMismatch", MISCONFIGURED, "Use a key or certificate of this app."),
    Reason(
        429,
        "TooManyRequests",
        THROTTLED,
        "Slow down: APNs accepts no more of these requests now.",
        wait=30.0,
        setting="apns_device_wait",
        scope="project",
    ),
    Reason(
        503,
        "Service Unavailable",
        UNAVAILABLE,
        "Send again after some minutes.",
        wait=60.0,
        setting="apns_unavailable_wait",
    ),
)

CHANNEL_TABLE: Final = register("apns", ReasonTable(_CHANNEL_ROWS, _BY_STATUS, exact=True))
register("apns", UNEXPECTED_TABLE)
CHANNEL_REASONS: Final = CHANNEL_TABLE.rows
"""The table of channel management and broadcasts, "Handling error responses from Apple Push Notification service", the
reasons of scoped keys added. MissingChannelQueueSize is in no table of Apple; it was seen."""

# Nearly every error body is one of these, byte for byte.
_BODIES: Final[dict[bytes, tuple[str | None, float | None]]] = {
    b'{"reason":"%b"}' % name.encode(): (name, None) for name in REASONS
}


def verdict_for(status: int, reason: str | None, table: Mapping[str, Reason] = REASONS) -> Verdict:
    """The row of a response: by its reason, or by its status if the table has no row for both.

    Never raises: a status that is neither success nor an error is UNKNOWN.
    """
    row = table.get(reason) if reason is not None else None
    return row.verdict if row is not None and row.status == status else TABLE.of_status(status).verdict


def read_error(body: bytes, header_block: Any = b"") -> tuple[str | None, float | None]:
    """The reason and the timestamp (UNIX seconds; Apple sends milliseconds) in the body of an error.

    Either is None when it is absent or is not what Apple documents; never raises. A reason that is not in the table
    is cut to `MAX_REASON` characters and loses those that do not print, for it is logged.

    Other services have a member "reason", too: Kubernetes with its own words, and members that Apple does not have. So
    without a timestamp a reason is capitalised words, and a body with further members counts only with one of Apple's reasons and
    beside one of Apple's ids.

    Args:
        body: of the response.
        header_block: of the response.
    """
    known = _BODIES.get(body)
    if known is not None:
        return known
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None, None
    if not isinstance(document, dict):
        return None, None
    reason, timestamp = _read_reason(document.get("reason")), _read_timestamp(document.get("timestamp"))
    documented = reason in REASONS or reason in CHANNEL_REASONS
    if document.keys() - _MEMBERS:
        if not documented or not any(header_of(header_block, name) for name in _IDS):
            return None, None
    elif not documented and timestamp is None and reason is not None and not _WORDS.fullmatch(reason):
        return None, None
    return reason, timestamp


def _read_reason(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    if value in REASONS:
        return value
    return "".join(character for character in value[:MAX_REASON] if character.isprintable()).strip() or None


def _read_timestamp(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    seconds = value / 1000
    return seconds if 0 < seconds < _MAX_TIMESTAMP else None
