"""Registration tokens and installation ids that carry their own fate.

Either begins `deadfa7e` + four-character code + five decimal digits of milliseconds + five hexadecimal digits; a token
goes on with `:APA91b` and 128 hexadecimal digits. The code selects what happens to an otherwise valid send.
"""

from __future__ import annotations

STALL, SLOW, REFUSED_STREAM, INTERNAL_RESET = "Stall", "Slow", "RefusedStream", "InternalReset"
GOAWAY, GOAWAY_BEFORE, CUT = "GoAway", "GoAwayBefore", "Cut"
CANONICAL = "Canonical"
"""Accepted; the legacy API names the token that replaces this one, as the canonical id."""

# Part of the interface: a code never gets a second meaning. Three digits of v1's status, then a running digit.
CODES = {
    "4000": "InvalidToken",
    "4001": "NotARegistrationToken",
    "4002": "ApnsDisabled",
    "4003": "TooBig",
    "4004": "NoRecipient",
    "4005": "WrongType",
    "4006": "UnknownName",
    "4007": "ApnsKeyType",
    "4008": "InvalidDataKey",
    "4009": "InvalidTtl",
    "400a": "InvalidPackageName",
    "400b": "InvalidArgument",
    "400c": "TokenByTextAndField",
    "4010": "AccessTokenExpired",
    "4011": "ThirdPartyAuth",
    "4012": "ApnsInvalidProviderToken",
    "4013": "ApnsBadEnvironmentKey",
    "4014": "ApnsAuth",
    "4030": "SenderIdMismatch",
    "4031": "PermissionDenied",
    "4032": "ServiceDisabled",
    "4040": "Unregistered",
    "4041": "UnregisteredApns",
    "4042": "ProjectNotFound",
    "4043": "HtmlNotFound",
    "4290": "QuotaExceeded",
    "4291": "DeviceRateExceeded",
    "4292": "TopicRateExceeded",
    "4293": "QuotaWithoutRetryAfter",
    "4294": "TopicQuotaExceeded",
    "5000": "Internal",
    "5001": "InternalTimeout",
    "5002": "UnspecifiedError",
    "5003": "EmptyBody",
    "5020": "BadGateway",
    "5030": "Unavailable",
    "5031": "UnavailableWithoutRetryAfter",
    "5032": "UnavailableUntilDate",
    "0001": STALL,
    "0002": SLOW,
    "0003": REFUSED_STREAM,
    "0004": INTERNAL_RESET,
    "0005": GOAWAY,
    "0006": GOAWAY_BEFORE,
    "0007": CUT,
    "0008": CANONICAL,
}
FATES = frozenset(CODES.values())
TRANSPORT = frozenset({STALL, SLOW, REFUSED_STREAM, INTERNAL_RESET, GOAWAY, GOAWAY_BEFORE, CUT})
"""Fates that are not responses of Google's."""

UNPROCESSED = frozenset({REFUSED_STREAM, GOAWAY_BEFORE})
"""Fates after which the client knows that its push was not processed."""

LASTING = frozenset(
    {
        "InvalidToken",
        "NotARegistrationToken",
        "TokenByTextAndField",
        "ApnsDisabled",
        "SenderIdMismatch",
        "Unregistered",
        "UnregisteredApns",
    }
)
"""Fates that hold for later sends to the same target."""

PREFIX = "deadfa7e"
"""Prefix of fated tokens, long enough that no real token begins with it by chance."""

_BY_FATE = {fate: code for code, fate in CODES.items()}
_CODE_END = len(PREFIX) + 4
_MS_END = _CODE_END + 5


def fated_fid(fate: str, n: int = 0, *, ms: int = 0) -> str:
    """An installation id (22 characters) to which `fate` happens; `n` tells ids of one fate apart.

    Args:
        fate: one of `FATES`.
        n: 0 to 16**5 - 1.
        ms: at most 99 999: the delay of the response of `Slow` or `InternalTimeout`, or the `Retry-After`
            (in whole seconds) where the fate has one.

    Raises:
        KeyError: there is no such fate.
    """
    return f"{PREFIX}{_BY_FATE[fate]}{ms:05d}{n:05x}"


def fated_registration(fate: str, n: int = 0, *, ms: int = 0) -> str:
    """The same as a registration token of 157 characters; `n` has no upper limit.

    Raises:
        KeyError: there is no such fate.
    """
    return f"{fated_fid(fate, n % 16**5, ms=ms)}:APA91b{n:0128x}"


def fate_of(token: str) -> str:
    """The fate that a token or installation id carries; empty for an ordinary one."""
    if not token.startswith(PREFIX):
        return ""
    return CODES.get(token[len(PREFIX) : _CODE_END], "")


def canonical_of(token: str) -> str:
    """The token that replaces one whose fate is `Canonical`; it has no fate of its own."""
    return "c" + token[1:]


def milliseconds_of(token: str) -> int:
    """The milliseconds in a fated token; 0 when its digits are not decimal."""
    digits = token[_CODE_END:_MS_END]
    return int(digits) if token.startswith(PREFIX) and digits.isdecimal() and digits.isascii() else 0
