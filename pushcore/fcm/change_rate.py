"""Rate limit of topic changes, without a burst at the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

BURST: Final = 0.05
"""Changes of so many seconds may be sent at once, because timers have a resolution of some milliseconds."""


class ChangeRateLimiter:
    """At most `rate` changes a second, by a clock in seconds that never steps back. `rate` must be above 0."""

    __slots__ = ("_clock", "_interval", "_next")

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._interval = 1.0 / rate
        self._next = clock()

    def wait(self, changes: int = 1) -> float:
        """Seconds until a request with this number of changes may be sent; 0 when it may be sent now, and then it counts."""
        now = self._clock()
        if self._next > now:
            return self._next - now
        # Changes that were not sent in time may be sent later, up to `BURST`.
        self._next = max(self._next, now - BURST) + changes * self._interval
        return 0.0

    def pause(self, seconds: float) -> None:
        """Send nothing for this many seconds: the server asked for it."""
        self._next = max(self._next, self._clock() + seconds)
