"""UNIX seconds that are none: milliseconds, or seconds from now.

Each function gives the problem as the rest of a sentence, which has no value in it: the rows of a campaign that have the same
problem are counted together.
"""

from __future__ import annotations

import math
from typing import Any, Final

EARLIEST: Final = 1_000_000_000
"""UNIX seconds of September 2001: what is less, and not 0, is meant to count from now."""
LATEST: Final = 100_000_000_000
"""UNIX seconds of the year 5138: what is more counts something shorter than seconds."""

_SHORTER: Final = ((10**17, "nanoseconds"), (10**14, "microseconds"), (LATEST, "milliseconds"))


def expiration_problem(seconds: float) -> str:
    """Why a moment until which something is kept cannot be meant so; empty when it can. 0 is always right."""
    if 0 < seconds < EARLIEST:
        return "is in seconds from now: it takes UNIX seconds"
    return unit_problem(seconds)


def unit_problem(seconds: float) -> str:
    """Why a moment cannot be meant in UNIX seconds; empty when it can."""
    for least, unit in _SHORTER:
        if seconds >= least:
            return f"is in {unit}: it takes UNIX seconds"
    return ""


def moment_problem(value: Any) -> str:
    """Why a value of a Live Activity cannot be a moment, which Apple reads as whole UNIX seconds; empty when it can.

    A moment of the past is allowed: it removes an activity at once, or comes before all others.
    """
    if type(value) is int:
        return unit_problem(value)
    if isinstance(value, float) and math.isfinite(value):
        return unit_problem(value) or "is not whole: it takes UNIX seconds"
    return "is not a number: it takes UNIX seconds"
