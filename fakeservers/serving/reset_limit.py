"""The limit of resets by a client: the response to CVE-2023-44487 ("rapid reset")."""

from __future__ import annotations

import time


class ResetLimit:
    """Counts resets of open requests. A reset of a stream that has its response costs nothing, and curl sends many.

    Args:
        burst: resets at once.
        rate: further resets per second.
    """

    def __init__(self, burst: int, rate: int) -> None:
        self._burst, self._rate = burst, rate
        self._credit = float(burst)
        self._credit_at = time.monotonic()

    def allows(self) -> bool:
        """Count a reset; False when it is one too many."""
        now = time.monotonic()
        self._credit = min(self._credit + (now - self._credit_at) * self._rate, self._burst) - 1
        self._credit_at = now
        return self._credit >= 0
