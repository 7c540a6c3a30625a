"""How long answers took, in buckets: cheap to add to, and two of them can be added up or taken apart."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

GROWTH = 2**0.25
"""Each bucket's bound is so many times the last: a percentile is off by a tenth at most."""
BOUNDS = tuple(0.00001 * GROWTH**step for step in range(107))
"""Seconds: from 10 µs to 950 s; the last bucket, after them, holds what took longer."""


class Latency:
    """Counts of answers by the time between a request's arrival and its answer."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        """Answers per bucket, as many as `BOUNDS` and one more."""
        self.total = 0.0
        """Seconds, all of them together."""

    def add(self, seconds: float, answers: int = 1) -> None:
        """Count so many answers that each took so long."""
        self.counts[bisect_left(BOUNDS, seconds)] += answers
        self.total += seconds * answers

    def clear(self) -> None:
        """Begin anew."""
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0


def percentile(counts: Sequence[int], share: float) -> float | None:
    """Seconds within which this share of the answers was given; None when there are none."""
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
