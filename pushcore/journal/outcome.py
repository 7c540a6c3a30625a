"""An outcome on its way into the journal and as it comes out, and the ids of pushes. No I/O."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from ..arguments import check, check_type, check_whole
from ..models.apns import Notification
from ..models.fcm import LegacyMessage, Message
from ..results import Accepted, Result, Verdict

OutcomeKind = tuple[str, str, int | None, str | None, int]
"""Platform, verdict, status, reason, attempts: what many rows have in common."""
PLAIN: Final[list[OutcomeKind]] = [(platform, "ACCEPTED", 200, None, 1) for platform in ("apns", "fcm")]
"""What nearly all rows are: accepted the first time they were sent."""
PLAIN_APNS, PLAIN_FCM = 0, 1
"""Where those of APNs and of FCM stand."""
_PLAIN: Final = {"apns": PLAIN_APNS, "fcm": PLAIN_FCM}


LARGEST_ROW: Final = (1 << 48) - 1
"""The largest number of twelve hexadecimal digits, which are the end of the apns-id of a row."""
MAX_ID: Final = 64
"""Bytes of a campaign's id: what a key of blake2b may have."""


class Outcome(NamedTuple):
    """The outcome of one row: the columns of the results file, None for missing values.

    Attributes:
        row: its number, from 1.
        token: of the device, as in the audience.
        platform: "apns", "fcm", or "" for a row of neither.
        verdict: that of the result. It is UNKNOWN if the result says that nothing was delivered, but an earlier run, which
            was killed, may have delivered it.
        status: the HTTP status, None without a response.
        reason: the provider's reason, None if there is none.
        id: the apns-id, or FCM's message name.
        timestamp: UNIX seconds, see `Result`.
        attempts: how often it was sent in all runs. A killed run that may have sent it counts as one.
    """

    row: int
    token: str
    platform: str
    verdict: Verdict
    status: int | None
    reason: str | None
    id: str | None
    timestamp: float | None
    attempts: int

    @property
    def environment(self) -> str | None:
        """The environment that knows the token, if the row named none and the first environment did not know the token."""
        return self.reason if self.verdict is Verdict.ACCEPTED and self.platform == "apns" else None


class RowDevice:
    """Stands in for the push of a row that has none. `platform`: "apns", "fcm" or ""."""

    __slots__ = ("platform", "row", "token")

    def __init__(self, row: int, token: str, platform: str) -> None:
        self.row = row
        self.token = token
        self.platform = platform


class UncommonOutcome(NamedTuple):
    """What there is to say of a row that is not plain."""

    kind: OutcomeKind
    timestamp: float | None


OutcomeEntry = tuple[int, str, str | None, int | UncommonOutcome]
"""Row, token, id, and what became of it: a place in `PLAIN`, or whatever else."""


class EarlierAttempts(NamedTuple):
    """What earlier runs have done with a row that has no outcome: `attempts` made, and of them `unsure`, killed."""

    attempts: int
    unsure: int


# --- ids --------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def id_prefix(campaign_id: str) -> str:
    """What the apns-ids of a campaign have in common: a UUID of version 8 (RFC 9562) but for its last 12 digits."""
    digits = blake2b(b"apns-id", digest_size=10, key=campaign_id.encode(), person=b"pushcore").hexdigest()
    variant = "89ab"[int(digits[15], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-8{digits[12:15]}-{variant}{digits[16:19]}-"


def push_id(campaign_id: str, row: int) -> str:
    """The apns-id of a row, the same in every run: 74 bits of a keyed hash of the campaign, then the row's number.

    The number is not hashed, so an id in a log names its row.

    Args:
        campaign_id: 1 to 64 bytes in UTF-8.
        row: its number, from 1 to 2**48 - 1.

    Returns:
        The apns-id, a UUID.

    Raises:
        ConfigurationError: an argument is out of bounds or of a wrong type.
    """
    try:
        text = (
            f"{id_prefix(campaign_id)}{int.__format__(row, '012x')}"  # format makes a text of a datetime, too
        )
    except (TypeError, ValueError, AttributeError):  # the checks cost more than the id, so they come only now
        checked_campaign_id(campaign_id)
        check_whole("row", row, least=1, most=LARGEST_ROW)
        raise
    if not 0 < row <= LARGEST_ROW:
        check_whole("row", row, least=1, most=LARGEST_ROW)
    return text


def checked_campaign_id(campaign_id: str) -> str:
    """The id, if a key of blake2b can be made of it. Raises `ConfigurationError`."""
    check_type("campaign_id", campaign_id, str, "a string")
    size = len(campaign_id.encode("utf-8", "surrogatepass"))
    valid = 1 <= size <= MAX_ID and campaign_id.isprintable()
    check(valid, "campaign_id", f"1 to {MAX_ID} bytes that print", campaign_id)
    return campaign_id


# --- out of results ---------------------------------------------------------------------------------------------------


def device_of(push: Any) -> tuple[str, str]:
    """Platform and token of a push, as the results show them; of one to a topic, the topic."""
    if isinstance(push, Notification):
        return "apns", _text(push.token)
    if isinstance(push, Message):
        return "fcm", _text(push.token or push.fid or push.topic or push.condition)
    if isinstance(push, LegacyMessage):
        return "fcm", _text(push.to or push.condition or ",".join(push.registration_ids or ()))
    return getattr(push, "platform", ""), _text(getattr(push, "token", None))


def _text(value: object) -> str:
    if type(value) is str:
        return value
    return "" if value is None else str(value)


def entry_of(result: Result) -> OutcomeEntry:
    """Any result, ready to be packed. Its push knows its row."""
    push = result.push
    platform, token = device_of(push)
    if type(result) is Accepted and result.attempts == 1 and platform in _PLAIN:  # as nearly all are
        return push.row, token, result.id or None, _PLAIN[platform]
    kind = (platform, result.verdict.name, result.status, stored_reason(result, platform), result.attempts)
    if result.timestamp is None and kind in PLAIN:
        return push.row, token, result.id or None, PLAIN.index(kind)
    return push.row, token, result.id or None, UncommonOutcome(kind, result.timestamp)


def stored_reason(result: Result, platform: str) -> str | None:
    """The reason of a rejected push as journals and results have it: the provider's word, else what we know.

    An accepted push has the environment whose token it turned out to be, where it named none; see `Outcome.environment`.
    """
    detail = None if result.detail is None else str(result.detail)
    if detail and platform == "apns" and result.verdict is Verdict.ACCEPTED:
        return result.environment
    if detail and platform == "fcm" and not result.attempts and result.verdict is Verdict.INVALID:
        return detail  # found here: Google's word, INVALID_ARGUMENT, would say less
    return (result.reason and result.row.stored) or result.reason or detail
