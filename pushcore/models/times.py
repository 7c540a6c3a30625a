"""UNIX seconds that are none: milliseconds, seconds from now, or seconds since 2001.

Each function gives the problem as the rest of a sentence, which has no value in it: the rows of a campaign that have the same
problem are counted together.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any, Final

from ..arguments import json_kind

EARLIEST: Final = 1_000_000_000
"""UNIX seconds of September 2001: what is less, and not 0, is meant to count from now."""
LATEST: Final = 100_000_000_000
"""UNIX seconds of the year 5138: what is more counts something shorter than seconds."""

_SINCE_2001: Final = 300_000_000
"""Seconds from 2001, as Swift's timeIntervalSinceReferenceDate counts them, are more since July 2010, and no lifetime is so long."""
_SHORTER: Final = ((10**17, "nanoseconds"), (10**14, "microseconds"), (LATEST, "milliseconds"))


def unix_seconds(moment: datetime) -> int:
    """Whole UNIX seconds of a datetime.

    Raises:
        ValueError: it has no time zone; the message is the rest of a sentence.
    """
    if moment.utcoffset() is None:
        raise ValueError(
            "is a datetime without a time zone; expected an aware one, such as datetime.now(timezone.utc)"
        )
    return math.floor(moment.timestamp())


def lifetime_seconds(lifetime: timedelta) -> float:
    """Seconds of a timedelta: an int where they are whole."""
    seconds = lifetime.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def expiration_problem(seconds: float) -> str:
    """Why a moment until which something is kept cannot be meant so; empty when it can. 0 is always right."""
    if 0 < seconds < EARLIEST:
        return _premature(seconds)
    return unit_problem(seconds)


def _premature(seconds: float) -> str:
    if seconds >= _SINCE_2001:
        return "is in seconds since 2001, as Swift's reference date: it takes UNIX seconds"
    return "is in seconds from now: it takes UNIX seconds"


def unit_problem(seconds: float) -> str:
    """Why a moment cannot be meant in UNIX seconds; empty when it can."""
    for least, unit in _SHORTER:
        if seconds >= least:
            return f"is in {unit}: it takes UNIX seconds"
    return ""


def moment_problem(value: Any) -> str:
    """Why a value of a Live Activity cannot be a moment, which Apple reads as whole UNIX seconds; empty when it can.

    A moment of the past is allowed: it removes an activity at once, or orders before all other times. So are 0 and 1, which are
    written for "before all others"; any other moment before 2001 counts in another way.
    """
    if type(value) is int or (isinstance(value, float) and 1 < value < EARLIEST):
        return _premature(value) if 1 < value < EARLIEST else unit_problem(value)
    if isinstance(value, float) and math.isfinite(value):
        return (
            unit_problem(value) or "is written with a decimal point: it takes UNIX seconds as a whole number"
        )
    if isinstance(value, datetime):
        return "is a datetime, which a dict cannot have here: it takes UNIX seconds"
    found = repr(value) if isinstance(value, float) else json_kind(value)  # NaN or infinity
    return f"is not a number but {found}: it takes UNIX seconds"
