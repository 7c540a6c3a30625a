"""How fast requests leave, by a clock that is moved by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.fcm.change_rate import BURST, ChangeRateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def sent_in(limiter: ChangeRateLimiter, clock: Clock, seconds: float, changes: int = 1) -> int:
    """How many changes leave in so many seconds, when there is always one more."""
    end = clock.now + seconds
    count = 0
    while True:
        wait = limiter.wait(changes)
        if not wait:
            count += changes
            continue
        if clock.now + wait > end:
            clock.now = end
            return count
        clock.now += wait


@pytest.mark.parametrize("rate", [1.0, 10.0, 3000.0])
def test_the_rate_is_reached_and_not_passed(rate: float) -> None:
    clock = Clock()
    limiter = ChangeRateLimiter(rate, clock)
    count = sent_in(limiter, clock, 60.0)
    assert 60 * rate - 1 <= count <= 60 * rate + 2


def test_a_batch_counts_for_all_that_is_in_it() -> None:
    clock = Clock()
    count = sent_in(ChangeRateLimiter(3000.0, clock), clock, 60.0, changes=1000)
    assert 60 * 3000 <= count <= 60 * 3000 + 1000


def test_no_rush_at_the_start_and_little_after_a_rest() -> None:
    clock = Clock()
    limiter = ChangeRateLimiter(1000.0, clock)
    assert limiter.wait() == 0
    assert limiter.wait() == pytest.approx(0.001)
    clock.now += 3600.0
    burst = 0
    while not limiter.wait():
        burst += 1
    assert burst <= BURST * 1000 + 2


def test_a_pause() -> None:
    clock = Clock()
    limiter = ChangeRateLimiter(1000.0, clock)
    limiter.pause(5.0)
    limiter.pause(1.0)  # the longer one holds
    assert limiter.wait() == pytest.approx(5.0)
    clock.now += 5.0
    assert limiter.wait() == 0
    assert limiter.wait() == pytest.approx(0.001)  # and what was missed is not caught up with


@given(st.floats(0.1, 1e5), st.lists(st.floats(0, 2.0), max_size=30))
def test_the_rate_holds_for_any_rhythm(rate: float, rests: list[float]) -> None:
    clock = Clock()
    limiter = ChangeRateLimiter(rate, clock)
    begin, count = clock.now, 0
    for rest in rests:
        clock.now += rest
        for _ in range(20):
            count += not limiter.wait()
    assert count <= (clock.now - begin + BURST) * rate + 2
