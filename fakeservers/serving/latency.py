"""Histogram of response times: adding is cheap, and two of them can be added or subtracted."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

GROWTH = 2**0.25
"""Ratio of successive bucket bounds: a percentile is off by a tenth at most."""
BOUNDS = tuple(0.00001 * GROWTH**step for step in range(107))
"""Seconds: from 10 µs to 950 s; the last bucket has the longer times."""


class Latency:
    """Counts of responses by the time between a request's arrival and its response."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        """Responses per bucket: one bucket more than `BOUNDS`."""
        self.total = 0.0
        """Sum of all times, seconds."""

    def add(self, seconds: float, answers: int = 1) -> None:
        """Count responses that took this time."""
        self.counts[bisect_left(BOUNDS, seconds)] += answers
        self.total += seconds * answers

    def clear(self) -> None:
        """Set all counts to zero."""
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0


def percentile(counts: Sequence[int], share: float) -> float | None:
    """Seconds within which this share of the responses was sent; None when there are none."""
    sums = list(accumulate(counts))
    rank = share * sums[-1]
    if not sums[-1]:
        return None
    bucket = bisect_left(sums, rank) if rank else next(at for at, total in enumerate(sums) if total)
    if bucket >= len(BOUNDS):
        return BOUNDS[-1]
    low = BOUNDS[bucket - 1] if bucket else 0.0
    before = sums[bucket] - counts[bucket]
    return low + (BOUNDS[bucket] - low) * (rank - before) / counts[bucket]
