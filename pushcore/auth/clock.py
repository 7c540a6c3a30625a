"""Times in headers of responses: `Retry-After`, and `date`, with which this machine's clock is compared (RFC 9110, sections 10.2.3 and 6.6.1)."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

TOLERANCE: Final = 60.0
"""Seconds by which clocks may differ without a warning: the header has whole seconds, and a response takes time to arrive."""
LONGEST_DATE: Final = 64
"""Characters of a date that are parsed, at most."""


MAX_WAIT: Final = 86_400.0
"""Seconds of `retry_after` at most."""
SECONDS: Final = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?", re.ASCII)
"""A number of seconds."""


def read_date(value: str) -> float | None:
    """The UNIX seconds of a date in a header; None when it cannot be read."""
    if len(value) > LONGEST_DATE:
        return None
    try:
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def read_retry_after(value: str, now: float) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110, section 10.2.3), from 0 to `MAX_WAIT`; None if unreadable."""
    value = value.strip()
    if SECONDS.fullmatch(value):
        return min(float(value), MAX_WAIT)
    date = read_date(value)
    return None if date is None else min(max(date - now, 0.0), MAX_WAIT)


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
