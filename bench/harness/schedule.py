"""When pushes are due under an offered load, and percentiles of their latencies: pure arithmetic.

The load is open: a push is due whether or not earlier ones have a response. Its latency runs from the moment when it was
due, not from when it was sent. So a stall of the sender or of the server is visible in every push that it delayed (no
coordinated omission).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

TICK: Final = 0.001
"""Seconds between two bursts. Event loops wait in milliseconds, so a finer schedule would measure their clock."""
PERCENTS: Final = (50.0, 90.0, 99.0, 99.9, 99.99)


def due_by(ticks: int, rate: float) -> int:
    """How many pushes are due when `ticks` ticks have begun, the first at tick 0; the sum does not drift from `rate`."""
    return math.floor(ticks * TICK * rate + 1e-9)


def due_at(number: int, rate: float) -> float:
    """Seconds from the start until the n-th push, from 0, is due: the start of its tick."""
    tick = math.ceil((number + 1) / (TICK * rate) - 1e-6) - 1
    while due_by(tick + 1, rate) <= number:
        tick += 1
    while tick and due_by(tick, rate) > number:
        tick -= 1
    return tick * TICK


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The smallest value with this many per cent of all at or below it; None if there are too few values.

    `ordered`: from small to large. There are too few if none would be above the percentile.
    """
    if not ordered or (percent > 50 and len(ordered) * (100 - percent) < 100 - 1e-9):
        return None
    return ordered[max(math.ceil(len(ordered) * percent / 100 - 1e-9), 1) - 1]


def summary(latencies: Iterable[float]) -> dict[str, float | None]:
    """Percentiles in milliseconds by name (`p50` to `p99_99`), and `max`."""
    ordered = sorted(latencies)
    percentiles: dict[str, float | None] = {}
    for percent in PERCENTS:
        value = percentile(ordered, percent)
        percentiles[f"p{percent:g}".replace(".", "_")] = None if value is None else round(value * 1000, 3)
    percentiles["max"] = round(ordered[-1] * 1000, 3) if ordered else None
    return percentiles
