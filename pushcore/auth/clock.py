"""Compares this machine's clock with the `date` header of a response (RFC 9110, section 6.6.1)."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

TOLERANCE: Final = 60.0
"""Seconds by which clocks may differ without a warning: the header has whole seconds, and a response takes time to arrive."""
LONGEST_DATE: Final = 64
"""Characters of a date that are parsed, at most."""


def read_date(value: str) -> float | None:
    """The UNIX seconds of a date in a header; None when it cannot be read."""
    if len(value) > LONGEST_DATE:
        return None
    try:
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def clock_advice(date: str | None, now: float) -> str | None:
    """Advice if this machine's clock differs from the server's.

    Args:
        date: the `date` header of a response, None if it has none.
        now: this machine's wall clock in UNIX seconds when the response arrived.

    Returns:
        A sentence with the difference and what to do; None if both agree, or the date cannot be read.
    """
    server = None if date is None else read_date(date.strip())
    if server is None or abs(now - server) <= TOLERANCE:
        return None
    return (
        f"set this machine's clock: it is {_duration(abs(now - server))} {'fast' if now > server else 'slow'}"
    )


def _duration(seconds: float) -> str:
    days, rest = divmod(round(seconds), 86_400)
    hours, rest = divmod(rest, 3600)
    parts = ((days, "d"), (hours, "h"), (rest // 60, "min"), (rest % 60, "s"))
    return " ".join([f"{number} {unit}" for number, unit in parts if number][:2])
