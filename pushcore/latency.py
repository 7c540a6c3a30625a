"""A histogram of latencies: cheap to add to, exact where it is exported, and good for percentiles in between."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

PER_OCTAVE: Final = 8
"""Buckets from one latency to twice that. A percentile is the middle of its bucket, so it is wrong by 2^(1/16) - 1 at
most: 4.4 %."""
SHORTEST, LONGEST = 0.0001, 120.0
"""Seconds between which that holds: 0.1 ms is less than any network, 120 s more than any timeout."""
EXPORTED: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(30.0, 60.0),
)
"""Upper bounds in seconds that Prometheus and OpenTelemetry see: those that OpenTelemetry advises for
`messaging.client.operation.duration`, and four for local servers and long timeouts."""


def _bounds() -> tuple[float, ...]:
    steps = math.ceil(math.log2(LONGEST / SHORTEST) * PER_OCTAVE)
    # The exported bounds are a subset of these bounds, so the exported counts are exact.
    return tuple(sorted({*(SHORTEST * 2 ** (step / PER_OCTAVE) for step in range(steps + 1)), *EXPORTED}))


BOUNDS: Final = _bounds()
"""Upper bounds of the buckets in seconds, each included in its bucket; one more bucket is for what is longer."""


class Histogram:
    """Latencies in seconds, in buckets whose width grows with them. An observation costs about 0.1 µs.

    Attributes:
        counts: the number of latencies in each bucket; the last one is for all that are longer than 120 s.
        total: the sum of all, in seconds.
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one latency."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def observe_all(self, latencies: Sequence[float]) -> None:
        """Count the latencies of a batch. Most pushes of a batch take the same time, so their bucket is looked up once."""
        if not latencies:
            return
        counts = self.counts
        first, last = bisect_left(BOUNDS, min(latencies)), bisect_left(BOUNDS, max(latencies))
        if first == last:
            counts[first] += len(latencies)
        else:
            for seconds in latencies:
                counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += sum(latencies)

    @property
    def count(self) -> int:
        """The number of latencies."""
        return sum(self.counts)

    def percentile(self, percent: float) -> float | None:
        """The percentile: seconds within which `percent` of all ended; None if there are no latencies.

        It is within 4.4 % of the exact value from 0.1 ms to 120 s. Shorter and longer latencies count as 0.1 ms and 120 s.
        """
        counts = self.counts.copy()
        rank = max(math.ceil(sum(counts) * percent / 100), 1)
        for index, count in enumerate(counts):
            rank -= count
            if rank <= 0:
                if index == len(BOUNDS):
                    return BOUNDS[-1]
                return math.sqrt(BOUNDS[index - 1] * BOUNDS[index]) if index else BOUNDS[0]
        return None

    def cumulative(self) -> list[tuple[float, int]]:
        """The buckets for Prometheus and OpenTelemetry: for each bound in seconds, the number of latencies up to it. The last bound is
        infinity."""
        return cumulate(self.counts)

    def merge(self, counts: Sequence[int], total: float) -> None:
        """Add the latencies of another histogram.

        Args:
            counts: its `counts`.
            total: its `total`, in seconds.

        Raises:
            ValueError: its buckets differ: it comes from another version.
        """
        if len(counts) != len(self.counts):
            raise ValueError("these latencies have other buckets")
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, counts, strict=True)]
        self.total += total


def cumulate(counts: Sequence[int]) -> list[tuple[float, int]]:
    """See `Histogram.cumulative`; for the counts in a snapshot."""
    buckets: list[tuple[float, int]] = []
    below, start = 0, 0
    for bound in EXPORTED:
        end = bisect_left(BOUNDS, bound) + 1
        below += sum(counts[start:end])
        start = end
        buckets.append((bound, below))
    return [*buckets, (math.inf, below + sum(counts[start:]))]
