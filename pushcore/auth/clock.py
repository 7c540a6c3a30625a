"""Whether this machine's clock agrees with a server's, whose responses carry a `date` (RFC 9110, section 6.6.1)."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

TOLERANCE: Final = 60.0
"""Seconds by which clocks may differ without a word: the header has whole seconds, and a response is some time on its way."""
LONGEST_DATE: Final = 64
"""Characters of a date that are read."""


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
    """A sentence for people when this machine's clock is wrong by the server's.

    Args:
        date: the response's `date`, None when it has none.
        now: this machine's wall time in UNIX seconds when the response came.

    Returns:
        What to do, and by how much the clock is wrong; None when both agree, or nothing can be said.
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
