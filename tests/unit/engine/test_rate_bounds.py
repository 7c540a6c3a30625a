"""Each number of the rate limiter and the adaptive window, where it begins to count and where it no longer does."""

from __future__ import annotations

import dataclasses
import math

import pytest

from pushcore.engine.rate import FRESH, AdaptiveWindow, Rate, RateLimiter, State, project_limiter

FULL = 600_000 / 60.1
"""Pushes a second of a project, so that a minute that begins with a saved burst has no more than its quota."""
NOW = 5000.0


def ramped(now: float = NOW) -> RateLimiter:
    """A project's limiter whose ramp is long over, with nothing left of its burst."""
    limiter = project_limiter()
    limiter.restore((0.0, now, now, -math.inf, now - 1000, 0.0), now)
    return limiter


def half_ramped() -> RateLimiter:
    limiter = project_limiter()
    limiter.restore((0.0, NOW, NOW, -math.inf, NOW - 30, 0.0), NOW)
    return limiter


# --- the rate and its ramp --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "seconds"),
    [("s", 1), ("sec", 1), ("second", 1), ("min", 60), ("minute", 60), ("h", 3600), ("hour", 3600)],
)
def test_each_unit_has_its_seconds(unit: str, seconds: float) -> None:
    assert Rate.parse(f"7/{unit}") == Rate(7, seconds)


def test_a_rate_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Rate(1).pushes = 2  # type: ignore[misc]


def test_a_project_starts_with_a_hundredth_and_rises_in_a_straight_line_over_a_minute() -> None:
    limiter = project_limiter()
    assert limiter.allowed_rate(NOW) == pytest.approx(FULL)  # nothing has begun
    assert limiter.permits(1_000_000, NOW) == int(FULL * 0.01 * 0.1)
    for seconds, share in ((0.0, 0.01), (15.0, 0.2575), (30.0, 0.505), (60.0, 1.0), (61.0, 1.0)):
        assert limiter.allowed_rate(NOW + seconds) == pytest.approx(FULL * share)


@pytest.mark.parametrize(("full", "first"), [(8.0, 8.0), (100.0, 10.0), (2000.0, 20.0)])
def test_a_ramp_starts_with_ten_a_second_at_least(full: float, first: float) -> None:
    limiter = RateLimiter(Rate(full), ramp=60)
    limiter.permits(1, NOW)
    assert limiter.allowed_rate(NOW) == pytest.approx(first)


def test_a_ramp_begins_anew_after_more_than_a_minute_without_a_push() -> None:
    assert ramped().permits(1_000_000, NOW + 60) == int(FULL * 0.1)
    assert ramped().permits(1_000_000, NOW + 60.5) == int(FULL * 0.01 * 0.1)


# --- the gate ---------------------------------------------------------------------------------------------------------


def test_a_gate_opens_at_its_time() -> None:
    limiter = ramped()
    limiter.close(NOW + 5, NOW)
    assert limiter.allowed_rate(NOW + 4.999) == 0
    assert limiter.allowed_rate(NOW + 5) == pytest.approx(FULL)
    assert limiter.permits(100, NOW + 5) == 1


def test_permits_come_back_at_an_open_gate_alone() -> None:
    limiter = ramped()
    limiter.close(NOW + 5, NOW)
    limiter.give_back(50, NOW + 4.999)
    assert limiter.permits(100, NOW + 5) == 1
    limiter.give_back(50, NOW + 5)
    assert limiter.permits(100, NOW + 5) == 50


def test_without_a_limit_nothing_is_counted() -> None:
    limiter = RateLimiter(Rate(math.inf), ramp=60)
    limiter.give_back(5, NOW)
    assert limiter.state() == FRESH


def test_a_short_pause_leaves_the_ramp_where_it_was() -> None:
    limiter = half_ramped()
    limiter.close(NOW + 5, NOW)
    assert limiter.allowed_rate(NOW + 5) == pytest.approx(FULL * 0.505)
    assert limiter.allowed_rate(NOW + 20) == pytest.approx(FULL * 0.7525)


@pytest.mark.parametrize(("pause", "share"), [(59.9, 0.505), (60.0, 0.01)])
def test_a_pause_of_a_minute_begins_the_ramp_anew(pause: float, share: float) -> None:
    limiter = half_ramped()
    limiter.close(NOW + pause, NOW)
    assert limiter.allowed_rate(NOW + pause) == pytest.approx(FULL * share)


def test_a_pause_without_a_ramp() -> None:
    limiter = RateLimiter(Rate(1000))
    assert limiter.permits(1_000_000, NOW) == 100
    limiter.close(NOW + 5, NOW)
    assert limiter.permits(1_000_000, NOW + 5) == 1
    assert limiter.permits(1_000_000, NOW + 6) == 100


# --- 429 --------------------------------------------------------------------------------------------------------------


def test_each_429_takes_a_push_a_second() -> None:
    limiter = ramped()
    for refused in range(1, 4):
        limiter.refused(None, NOW)
        # What is over of the ramp counts for nothing: a minute ago it was over, too.
        assert limiter.allowed_rate(NOW) == pytest.approx(FULL - refused, abs=1e-6)


def test_a_429_leaves_the_least_rate() -> None:
    limiter = RateLimiter(Rate(100), ramp=60)
    limiter.restore((0.0, NOW, NOW, -math.inf, NOW, 0.0), NOW)
    limiter.refused(None, NOW)
    assert limiter.allowed_rate(NOW) == 10


def test_twenty_429s_without_a_success_close_the_gate_for_a_minute_and_count_once() -> None:
    limiter = ramped()
    refused = 0
    while not limiter.closed(NOW):
        limiter.refused(None, NOW)
        refused += 1
    assert refused in (20, 21)  # 0.1 is no binary fraction
    assert limiter.closed(NOW) == 60
    assert limiter.allowed_rate(NOW + 60) == pytest.approx(FULL * 0.01)
    limiter.refused(None, NOW + 60)
    assert limiter.closed(NOW + 60) == 0


def test_each_push_lets_the_share_of_429s_fade() -> None:
    limiter = ramped()
    limiter.refused(None, NOW)
    assert limiter.state()[5] == pytest.approx(1 / 200)
    assert limiter.permits(10, NOW + 1) == 10
    assert limiter.state()[5] == pytest.approx(0.995**10 / 200)


# --- a state that somebody else may have written ----------------------------------------------------------------------


def kept(state: State, limiter: RateLimiter | None = None) -> bool:
    limiter = limiter or project_limiter()
    limiter.restore(state, NOW)
    assert limiter.state() in (state, FRESH)
    return limiter.state() == state


@pytest.mark.parametrize(("over", "possible"), [(0.5, True), (1.5, False)])
def test_no_more_permits_than_a_burst_and_one_are_restored(over: float, possible: bool) -> None:
    assert kept((FULL * 0.1 + over, NOW, NOW, -math.inf, NOW, 0.0)) is possible
    slow = RateLimiter(Rate(1))  # whose burst is 1
    assert kept((1.0 + over, NOW, NOW, -math.inf, NOW, 0.0), slow) is possible


@pytest.mark.parametrize("place", [1, 2, 4])
@pytest.mark.parametrize(("ahead", "possible"), [(60.0, True), (60.5, False)])
def test_another_process_may_be_a_minute_ahead(place: int, ahead: float, possible: bool) -> None:
    state = [0.0, NOW, NOW, -math.inf, NOW, 0.0]
    state[place] += ahead
    assert kept((state[0], state[1], state[2], state[3], state[4], state[5])) is possible


@pytest.mark.parametrize(("until", "possible"), [(86_460.0, True), (86_460.5, False)])
def test_a_gate_is_closed_for_a_day_and_a_minute_at_most(until: float, possible: bool) -> None:
    assert kept((1.0, NOW + until, NOW + until, NOW + until, NOW + until, 0.0)) is possible


@pytest.mark.parametrize(("share", "possible"), [(0.1025, True), (0.1075, False)])
def test_the_share_of_429s_is_what_closes_the_gate_at_most(share: float, possible: bool) -> None:
    assert kept((0.0, NOW, NOW, -math.inf, NOW, share)) is possible


def test_429s_before_the_first_push_are_restored() -> None:
    assert kept((0.0, -math.inf, -math.inf, -math.inf, -math.inf, 0.05))


@pytest.mark.parametrize("begun", [1, 2, 4])
def test_what_begins_together_is_restored_together(begun: int) -> None:
    state = [0.0, NOW, NOW, -math.inf, NOW, 0.0]
    state[begun] = -math.inf
    assert not kept((state[0], state[1], state[2], state[3], state[4], state[5]))


# --- the window -------------------------------------------------------------------------------------------------------


def test_a_window_counts_from_nothing() -> None:
    window = AdaptiveWindow(1000, floor=1)
    window.pushed_back(9)
    assert window.window(1.0) == 1000
    window.answered(11)
    assert window.window(1.0) == 550  # 9 of 20


def test_a_small_window_grows_by_one() -> None:
    window = AdaptiveWindow(10, floor=1)
    window.pushed_back(10)
    assert window.window(1.0) == 5
    window.answered(10)
    assert window.window(2.0) == 6


def test_responses_are_counted_one_by_one() -> None:
    window = AdaptiveWindow(1000)
    for _ in range(5):
        window.answered()
    for _ in range(4):
        window.pushed_back()
    assert window.window(1.0) == 1000  # nine say nothing
    window.pushed_back()
    assert window.window(1.0) == 500


def test_a_window_keeps_ten_whatever_pushes_back() -> None:
    window = AdaptiveWindow(1000)
    for second in range(30):
        window.pushed_back(10)
        least = window.window(float(second))
    assert least == 10


def test_a_new_limiter_has_counted_nothing() -> None:
    never = -math.inf
    assert project_limiter().state() == FRESH == (0.0, never, never, never, never, 0.0)
