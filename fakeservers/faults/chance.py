"""Reproducible random draws: the same seed, fault, connection and stream always give the same number.

A draw does not depend on earlier ones, so neither the order of requests nor the speed of a client changes what happens to
a stream.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from hashlib import blake2b
from itertools import accumulate

from fakeservers.faults.actions import Delay

MASK = 0xFFFFFFFFFFFFFFFF
SCALE = float(1 << 64)


def salt(seed: int, *labels: object) -> int:
    """A 64-bit hash of these labels."""
    text = "/".join(str(part) for part in (seed, *labels))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def draw(salt: int, number: int) -> int:
    """64 bits for one stream (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014)."""
    x = (salt + number * 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


_LANES = 64
_ONES = sum(1 << 128 * lane for lane in range(_LANES))
_LOW = MASK * _ONES  # the lower half of each lane
_RAMP = sum((2 * lane + 1) * 0x9E3779B97F4A7C15 << 128 * lane for lane in range(_LANES))
_values = struct.Struct("<" + "Q8x" * _LANES)
BLOCK = 2 * _LANES
"""Stream ids of a block, of which the odd ones are requests."""


def chosen(salt: int, block: int, limit: int) -> frozenset[int]:
    """The odd numbers from `block * BLOCK` on, before the next block, whose `draw` is below the limit.

    All of them are drawn at once, each in 128 bits of one large integer: a quarter of the work of single draws.
    """
    begin = block * BLOCK
    x = (((salt + begin * 0x9E3779B97F4A7C15) & MASK) * _ONES + _RAMP) & _LOW
    x = ((x ^ (x >> 30)) & _LOW) * 0xBF58476D1CE4E5B9 & _LOW
    x = ((x ^ (x >> 27)) & _LOW) * 0x94D049BB133111EB & _LOW
    drawn = _values.unpack(((x ^ (x >> 31)) & _LOW).to_bytes(16 * _LANES, "little"))
    return frozenset([begin + 2 * lane + 1 for lane, value in enumerate(drawn) if value < limit])


def threshold(share: float) -> int:
    """The limit below which a draw is within the share."""
    return int(share * (1 << 64))


def delay_of(action: Delay, drawn: int) -> float:
    """Seconds."""
    if action.seconds is not None:
        return action.seconds
    point = drawn / SCALE
    if action.between:
        low, high = action.between
        return low + (high - low) * point
    if action.table:
        sums = list(accumulate(weight for weight, _ in action.table))
        return action.table[min(bisect_left(sums, point * sums[-1]), len(sums) - 1)][1]
    return _percentile(action.percentiles, point * 100)


def _percentile(points: tuple[tuple[float, float], ...], percent: float) -> float:
    before = (0.0, points[0][1])
    for point in points:
        if percent <= point[0]:
            width = point[0] - before[0]
            part = (percent - before[0]) / width if width else 1.0
            return before[1] + (point[1] - before[1]) * part
        before = point
    return before[1]
