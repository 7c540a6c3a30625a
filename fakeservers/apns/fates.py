"""Device tokens that carry their own fate: a reason of Apple's (`responses.apns`), or one of those below.

A fated token reads `deadfa7e` + four-character code + anything hexadecimal. The code selects what happens to an
otherwise valid request, so a test needs no set-up on the server's side.
"""

from __future__ import annotations

STALL = "Stall"
"""Never answered; the stream stays open."""
SLOW = "Slow"
"""Answered 200, delayed by the milliseconds in the eight decimal digits after the code."""
REFUSED_STREAM = "RefusedStream"
"""RST_STREAM REFUSED_STREAM (7): surely not processed."""
INTERNAL_RESET = "InternalReset"
"""RST_STREAM INTERNAL_ERROR (2): fate unknown."""
GOAWAY = "GoAway"
"""Answered 200, and GOAWAY names this stream as the last one."""
GOAWAY_BEFORE = "GoAwayBefore"
"""GOAWAY names the stream before this one as the last: this one was not processed."""
CUT = "Cut"
"""The connection is cut without GOAWAY."""

UNPROCESSED = frozenset({REFUSED_STREAM, GOAWAY_BEFORE})
"""Fates after which the client knows that its push was not processed."""

PREFIX = "deadfa7e"
"""Prefix of fated tokens, long enough that no real token begins with it by chance."""

# Part of the interface: a code never gets a second meaning. Three digits of status, then a hexadecimal digit.
CODES = {
    "4000": "BadCollapseId",
    "4001": "BadDeviceToken",
    "4002": "BadExpirationDate",
    "4003": "BadMessageId",
    "4004": "BadPriority",
    "4005": "BadTopic",
    "4006": "DeviceTokenNotForTopic",
    "4007": "DuplicateHeaders",
    "4008": "IdleTimeout",
    "4009": "InvalidPushType",
    "400a": "MissingDeviceToken",
    "400b": "MissingTopic",
    "400c": "PayloadEmpty",
    "400d": "TopicDisallowed",
    "4030": "BadCertificate",
    "4031": "BadCertificateEnvironment",
    "4032": "ExpiredProviderToken",
    "4033": "Forbidden",
    "4034": "InvalidProviderToken",
    "4035": "MissingProviderToken",
    "4036": "UnrelatedKeyIdInToken",
    "4037": "BadEnvironmentKeyIdInToken",
    "4038": "BadEnvironmentKeyInToken",
    "4040": "BadPath",
    "4050": "MethodNotAllowed",
    "4100": "ExpiredToken",
    "4101": "Unregistered",
    "4130": "PayloadTooLarge",
    "4290": "TooManyProviderTokenUpdates",
    "4291": "TooManyRequests",
    "5000": "InternalServerError",
    "5030": "ServiceUnavailable",
    "5031": "Shutdown",
    "0001": STALL,
    "0002": SLOW,
    "0003": REFUSED_STREAM,
    "0004": INTERNAL_RESET,
    "0005": GOAWAY,
    "0006": GOAWAY_BEFORE,
    "0007": CUT,
}

_PREFIX = PREFIX.encode()
_BY_CODE = {code.encode(): fate for code, fate in CODES.items()}
_BY_FATE = {fate: code for code, fate in CODES.items()}
_CODE_END = len(PREFIX) + 4
_MS_END = _CODE_END + 8


def fated_token(fate: str, n: int = 0, *, ms: int = 0) -> str:
    """A device token of 64 hex digits to which `fate` happens; `n` tells tokens of one fate apart.

    Args:
        fate: one of Apple's reasons, or `Stall`, `Slow`, `RefusedStream`, `InternalReset`, `GoAway`,
            `GoAwayBefore`, `Cut`.
        n: 0 to 16**44 - 1.
        ms: milliseconds by which the response of `Slow` is delayed.

    Raises:
        KeyError: there is no such fate.
    """
    return f"{PREFIX}{_BY_FATE[fate]}{ms:08d}{n:044x}"


def fate_of(token: bytes) -> str:
    """The fate that a token (lower case) carries; empty for an ordinary token."""
    if not token.startswith(_PREFIX):
        return ""
    return _BY_CODE.get(token[len(PREFIX) : _CODE_END], "")


def milliseconds_of(token: bytes) -> int:
    """Milliseconds by which the response to a `Slow` token is delayed; 0 when its digits are not decimal."""
    digits = token[_CODE_END:_MS_END]
    return int(digits) if digits.isdigit() else 0
