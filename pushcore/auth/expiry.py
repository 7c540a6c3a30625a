"""The expiry of credentials, and a warning before it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

DAY: Final = 86_400.0
"""Seconds; the expiry is checked once a day."""
WARN_BEFORE: Final = 30 * DAY
"""Seconds before the expiry of a certificate at which warnings begin."""


def expiry_text(expires: float, now: float) -> str:
    """The expiry as text, such as "until 2027-01-31 (12 days)".

    Args:
        expires, now: UNIX seconds.
    """
    date = datetime.fromtimestamp(expires, UTC)
    left = expires - now
    if left < 0:
        return f"expired since {date:%Y-%m-%d}"
    if left < 2 * DAY:
        hours, minutes = divmod(int(left // 60), 60)
        return f"until {date:%Y-%m-%d %H:%M} UTC ({hours} h {minutes:02} min)"
    return f"until {date:%Y-%m-%d} ({int(left // DAY)} days)"


def expiry_warning(credential: str, expires: float, now: float) -> str | None:
    """A warning about credentials that expire within 30 days or have expired; None otherwise.

    Args:
        credential: the name of the credentials.
        expires, now: UNIX seconds.
    """
    if expires - now >= WARN_BEFORE:
        return None
    if expires <= now:
        return f"{credential} has {expiry_text(expires, now).replace(' since', ' on')}: renew it"
    return f"{credential} is valid {expiry_text(expires, now)}: renew it"
