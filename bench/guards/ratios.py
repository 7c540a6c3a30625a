"""Ratios of paired runs, their spread, and the verdict: pure arithmetic.

The two runs of a pair follow each other at once. So a change of the machine's speed affects both, and not their ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import median
from typing import Final

TOLERANCE: Final = 0.03
"""A ratio this close to 1 counts as no change."""
CONFIDENCE: Final = 0.95
FEWEST: Final = 6
"""Pairs that this confidence takes."""
SAME, SLOWER, FASTER = "same", "slower", "faster"


@dataclass(frozen=True, slots=True)
class Ratio:
    """New to old: the median of the pairs' ratios, and its spread from `low` to `high`."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """`same` if the ratio is within `TOLERANCE` of 1, or 1 is within its spread; otherwise `slower` or `faster`."""
        if abs(self.value - 1) <= TOLERANCE + 1e-9 or self.low <= 1 <= self.high:
            return SAME
        return SLOWER if self.value > 1 else FASTER


def ratio(old: Sequence[float], new: Sequence[float]) -> Ratio:
    """The ratio of paired figures.

    The spread is the interval that contains the true median with a probability of at least `CONFIDENCE`, whatever the
    distribution. With fewer than nine pairs it is the smallest and the largest ratio, and with fewer than `FEWEST` its
    probability is lower.

    Args:
        old: one figure per pair, above 0.
        new: the figures of the same pairs, in the same order.

    Raises:
        ValueError: the lengths differ, there is no pair, or an old figure is not above 0.
    """
    if not old or any(figure <= 0 for figure in old):
        raise ValueError("a ratio needs pairs whose old figure is above 0")
    ratios = sorted(after / before for before, after in zip(old, new, strict=True))
    dropped = _dropped(len(ratios))
    return Ratio(median(ratios), ratios[dropped], ratios[-1 - dropped])


def _dropped(pairs: int) -> int:
    """How many of the smallest ratios, and as many of the largest, the interval can do without.

    The median lies outside the k-th smallest and the k-th largest ratio if fewer than k ratios are below it, or above it.
    """
    dropped, outside = 0, 1  # of 2 ** pairs equally likely patterns, on one side
    while True:
        outside += comb(pairs, dropped + 1)
        if 2 * outside > (1 - CONFIDENCE) * 2**pairs:
            return dropped
        dropped += 1


def order(number: int) -> tuple[int, int]:
    """Which side of the pair runs first: 0 1, 1 0, 0 1, … so that a steady drift favours neither."""
    return (1, 0) if number % 2 else (0, 1)
