"""Rates on a simulated clock: no window has more than it may, the ramp is kept, a closed gate is closed for all."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pushcore.engine.rate import (
    BURST,
    ENOUGH,
    FCM_RATE,
    FRESH,
    GROWTH,
    IDLE,
    LOOKED_BACK,
    START,
    USED_UP,
    AdaptiveWindow,
    Rate,
    RateLimiter,
    State,
    project_limiter,
    ramp_for,
)
from pushcore.errors import ConfigurationError

Sent = list[tuple[float, int]]


def send(limiter: RateLimiter, seconds: float, start: float = 0.0, tick: float = 0.001) -> Sent:
    """What a sender with more than enough to send does for so long: (when, how many) for each burst."""
    now, sent = start, []
    while now < start + seconds:
        granted = limiter.permits(256, now)
        if granted:
            sent.append((now, granted))
        now += max(limiter.wait(now), tick)
    return sent


def total(sent: Sent, since: float = -math.inf, until: float = math.inf) -> int:
    return sum(count for at, count in sent if since <= at < until)


def busiest(sent: Sent, seconds: float) -> int:
    """The most that left within any so many seconds."""
    times = [at for at, _ in sent]
    sums = [0, *accumulate(count for _, count in sent)]
    return max(sums[bisect_left(times, at + seconds)] - sums[index] for index, at in enumerate(times))


# --- what a user writes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pushes", "seconds", "shown"),
    [
        ("5000/s", 5000, 1, "5000/s"),
        ("600000/min", 600_000, 60, "600000/min"),
        (" 600_000 / Minute ", 600_000, 60, "600000/min"),
        ("0.5/sec", 0.5, 1, "0.5/s"),
        ("36000000/h", 36_000_000, 3600, "36000000/h"),
        ("none", math.inf, 1, "none"),
        ("NONE", math.inf, 1, "none"),
    ],
)
def test_a_rate_is_read(text: str, pushes: float, seconds: float, shown: str) -> None:
    rate = Rate.parse(text)
    assert (rate.pushes, rate.seconds, str(rate)) == (pushes, seconds, shown)
    assert rate.unlimited == (pushes == math.inf)
    assert Rate.parse(str(rate)) == rate


@pytest.mark.parametrize(
    "text",
    ["", "5000", "0/s", "-1/s", "1e6/s", "5000/day", "nan/s", "inf/s", "5/s/s", "_5/s", "\u0665/s", "9" * 99],
)
def test_a_malformed_rate_is_rejected(text: str) -> None:
    with pytest.raises(ConfigurationError, match="rate"):
        Rate.parse(text)


@pytest.mark.parametrize(("pushes", "seconds"), [(0, 1), (-1, 1), (math.nan, 1), (1, 0), (1, math.inf)])
def test_a_rate_that_cannot_be_is_refused(pushes: float, seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="rate"):
        Rate(pushes, seconds)


# --- the rate ---------------------------------------------------------------------------------------------------------


def test_a_pace_is_kept_on_average_and_without_a_rush() -> None:
    sent = send(RateLimiter(Rate.parse("5000/s")), 10)
    assert total(sent) == pytest.approx(50_000 + 5000 * BURST, abs=10)
    assert busiest(sent, 1.0) <= 5000 * (1 + BURST) + 1
    assert busiest(sent, 0.01) <= 5000 * (BURST + 0.01) + 1


@pytest.mark.parametrize("text", ["600000/min", "1/min", "7/min", "599/min", "1000/h", "1/h"])
@pytest.mark.parametrize("ramp", [0, 60])
def test_no_window_holds_more_than_a_quota(text: str, ramp: float) -> None:
    rate = Rate.parse(text)
    sent = send(RateLimiter(rate, ramp=ramp), rate.seconds * 2.2 + ramp, tick=0.01)
    assert busiest(sent, rate.seconds) <= rate.pushes
    assert busiest(sent, rate.seconds) >= int(rate.pushes * 0.99)


def test_unused_permits_are_not_saved_up() -> None:
    limiter = RateLimiter(Rate(1000))
    send(limiter, 1)
    assert limiter.permits(10_000, 500.0) == 1000 * BURST


def test_permits_of_unsent_pushes_are_given_back() -> None:
    limiter = RateLimiter(Rate(1000))
    assert limiter.permits(80, 5.0) == 80
    limiter.give_back(30, 5.0)
    assert limiter.permits(256, 5.0) == 50
    limiter.give_back(1000, 5.0)
    assert limiter.permits(256, 5.0) == 1000 * BURST


def test_a_slow_rate_waits_for_its_one() -> None:
    limiter = RateLimiter(Rate.parse("2/min"))
    assert limiter.wait(10.0) == 0
    assert limiter.permits(5, 10.0) == 1
    assert limiter.wait(10.0) == pytest.approx(30.05, abs=0.01)
    assert limiter.permits(5, 39.9) == 0
    assert limiter.permits(5, 40.1) == 1


@given(
    st.floats(0.001, 1e6),
    st.sampled_from([1.0, 60.0, 3600.0]),
    st.sampled_from([0.0, 60.0]),
    st.floats(0, 2e9),
    st.lists(st.floats(0, 100), max_size=20),
)
@example(1e6, 1.0, 0.0, 1e6, [])
def test_after_its_wait_there_is_one(
    pushes: float, seconds: float, ramp: float, start: float, pauses: list[float]
) -> None:
    limiter = RateLimiter(Rate(pushes, seconds), ramp=ramp)
    now = start
    granted = 0
    for pause in [*pauses, 0.0, 0.0]:
        granted += limiter.permits(10**9, now)
        wait = limiter.wait(now)
        assert wait <= 1.01 * seconds / pushes + 0.11  # by the ramp at its start 10 a second
        now += wait
        assert limiter.permits(1, now) == 1
        granted += 1
        assert granted <= pushes / seconds * (now - start + BURST) + 2
        now += pause


def test_time_that_steps_back_brings_nothing() -> None:
    limiter = RateLimiter(Rate(1000))
    limiter.permits(256, 10.0)
    assert limiter.permits(256, 9.0) == 0
    assert limiter.permits(256, 10.0) == 0


def test_without_a_limit_there_is_the_gate_alone() -> None:
    limiter = RateLimiter(Rate.parse("none"), ramp=60)
    assert limiter.permits(256, 0.0) == 256
    assert limiter.wait(0.0) == 0
    limiter.refused(None, 0.0)
    assert limiter.permits(256, 0.0) == 256
    assert limiter.allowed_rate(0.0) == math.inf
    limiter.refused(60.0, 0.0)
    assert limiter.permits(256, 59.9) == 0
    assert limiter.wait(10.0) == 50
    limiter.give_back(5, 10.0)
    assert limiter.permits(256, 60.0) == 256
    assert limiter.wait(60.0) == 0
    *others, refused = limiter.state()
    assert others == [1.0, 60.0, 60.0, 60.0, 60.0]
    assert 0 < refused < 1 / LOOKED_BACK


# --- a project's quota and its ramp -----------------------------------------------------------------------------------


def ramped(full: float, seconds: float, ramp: float = 60.0) -> float:
    """The most that a straight ramp from START to `full` lets through in its first seconds."""
    risen = min(seconds, ramp)
    mean = full * (START + (1 - START) * risen / ramp / 2)
    return mean * risen + full * (seconds - risen) + full * BURST * (START + risen / ramp) + 1


@pytest.mark.slow
def test_a_project_ramps_up_over_a_minute() -> None:
    sent = send(project_limiter(), 180, start=1000)
    for second in range(1, 180):
        gone = total(sent, until=1000 + second)
        assert gone <= ramped(10_000, second)
        assert gone >= 0.98 * ramped(10_000, second) - 1100
    assert total(sent, until=1001) <= 300  # it starts low
    assert total(sent, since=1059, until=1060) <= 10_000
    assert busiest(sent, 60) <= FCM_RATE.pushes
    assert total(sent, since=1120) >= 0.99 * 600_000  # and gets all of it


def test_a_few_pushes_hardly_wait() -> None:
    limiter = project_limiter()
    assert limiter.permits(10, 0.0) >= 5
    assert total(send(limiter, 1.0)) >= 100


@pytest.mark.parametrize(
    ("text", "seconds"), [("5000/s", 60), ("600000/min", 60), ("1200000/min", 120), ("none", 60)]
)
def test_a_higher_rate_has_a_longer_ramp(text: str, seconds: float) -> None:
    assert ramp_for(Rate.parse(text)) == seconds


@pytest.mark.slow
def test_an_idle_sender_ramps_up_again() -> None:
    limiter = project_limiter()
    send(limiter, 100)
    assert total(send(limiter, 1.0, start=100 + IDLE - 5)) >= 9000
    assert total(send(limiter, 1.0, start=200 + IDLE)) <= 300


@pytest.mark.slow
def test_one_retry_after_closes_the_gate_and_after_a_minute_it_ramps_up() -> None:
    limiter = project_limiter()
    send(limiter, 100)
    limiter.refused(70.0, 100.0)
    assert limiter.closed(110.0) == 60
    assert limiter.wait(110.0) == 60
    assert limiter.allowed_rate(110.0) == 0
    assert limiter.permits(256, 169.999) == 0
    limiter.give_back(50, 110.0)
    sent = send(limiter, 160, start=110)
    assert sent[0] == (170, 1)
    for second in range(1, 100):
        assert total(sent, until=170 + second) <= ramped(10_000, second)
    assert limiter.closed(171.0) == 0


@pytest.mark.slow
def test_after_a_short_wait_it_goes_on_a_little_slower() -> None:
    limiter = project_limiter()
    send(limiter, 100)
    for _ in range(1000):  # what was in flight
        limiter.refused(5.0, 100.0)
    assert limiter.allowed_rate(105.0) == pytest.approx(10_000 * 60 / 60.1 - 1000)
    sent = send(limiter, 6, start=100)
    assert sent[0] == (105, 1)
    assert total(sent) == pytest.approx(9000, rel=0.05)


def test_without_retry_after_each_takes_a_push_a_second_and_the_ramp_brings_it_back() -> None:
    """Two in a hundred are refused, whatever the pace: it settles where both are the same."""
    limiter, now, refused = project_limiter(), 0.0, 0.0
    for _ in range(30_000):  # five minutes
        granted = limiter.permits(256, now)
        refused += 0.02 * granted
        for _ in range(int(refused)):
            limiter.refused(None, now)
        refused %= 1
        now += 0.01
        assert limiter.closed(now) == 0
    assert limiter.allowed_rate(now) == pytest.approx(10_000 / 60 / 0.02, rel=0.1)


@pytest.mark.slow
def test_too_many_rejections_use_the_quota_up_and_close_the_gate_for_a_minute() -> None:
    limiter = project_limiter()
    send(limiter, 100)
    times = 0
    while not limiter.closed(100.0):
        limiter.refused(None, 100.0)
        times += 1
    assert times == pytest.approx(USED_UP * LOOKED_BACK, abs=1)
    assert limiter.wait(100.0) == 60
    assert limiter.permits(1, 159.9) == 0
    sent = send(limiter, 30, start=160)
    for second in range(1, 30):
        assert total(sent, until=160 + second) <= ramped(10_000, second)


def test_a_429_before_anything_was_sent_starts_no_pace() -> None:
    limiter = project_limiter()
    limiter.refused(None, 0.0)
    limiter.refused(3.0, 0.0)
    assert total(send(limiter, 1.0, start=3.0)) <= 300


def test_several_429s_leave_the_longest() -> None:
    limiter = project_limiter()
    limiter.refused(100.0, 0.0)
    limiter.refused(10.0, 1.0)
    limiter.close(50.0, 2.0)
    assert limiter.wait(3.0) == 97
    limiter.refused(1e12, 3.0)
    assert limiter.wait(3.0) == 86_400  # a day at most


@pytest.mark.slow
def test_a_429_that_asks_for_no_wait_slows_it_all_the_same() -> None:
    limiter = project_limiter()
    send(limiter, 100)
    before = limiter.allowed_rate(100.0)
    for _ in range(500):
        limiter.refused(0.0, 100.0)
    assert limiter.closed(100.0) == 0
    assert limiter.allowed_rate(100.0) == pytest.approx(before - 500)


@pytest.mark.parametrize("ramp", [-1.0, math.nan, math.inf])
def test_a_ramp_that_cannot_be_is_refused(ramp: float) -> None:
    with pytest.raises(ConfigurationError, match="ramp"):
        RateLimiter(Rate(1), ramp=ramp)


# --- a memory that somebody else may have written ---------------------------------------------------------------------


def test_a_limiter_goes_on_from_the_state_of_another() -> None:
    one, other = project_limiter(), project_limiter()
    send(one, 30)
    one.permits(1000, 30.0)
    other.restore(one.state(), 30.0)
    assert other.permits(1000, 30.0) == 0
    assert total(send(other, 1.0, start=30.0)) == pytest.approx(5000, rel=0.05)
    one.refused(100.0, 30.0)
    other.restore(one.state(), 29.0)  # its clock is a moment behind
    assert other.closed(30.0) == 100


@pytest.mark.slow
def test_a_process_whose_clock_is_behind_changes_nothing() -> None:
    limiter = project_limiter()
    send(limiter, 100)
    limiter.permits(10_000, 100.0)
    state = limiter.state()
    limiter.restore(state, 70.0)
    assert limiter.permits(1, 70.0) == 0
    assert limiter.wait(70.0) == pytest.approx(30, abs=0.01)
    assert limiter.state() == state


any_float = st.floats() | st.sampled_from([-math.inf, 0.0, 1.0, 1000.0, 1060.0])


@given(st.tuples(any_float, any_float, any_float, any_float, any_float, any_float))
@example((0.0, 1030.0, 1030.0, -math.inf, 1000.0, 0.0))
@example((1e300, 1000.0, 1000.0, -math.inf, 1000.0, 0.0))
@example((1.0, 1000.0, 1000.0, 1e9, 1000.0, 0.0))
@example((1.0, 1e9, 1000.0, -math.inf, 1000.0, 0.0))
@example((1.0, 1000.0, 1000.0, -math.inf, 1e9, 0.0))
@example((1.0, -math.inf, 1000.0, -math.inf, 1000.0, 0.0))
@example((math.nan, 1000.0, 1000.0, -math.inf, 1000.0, 0.0))
@example((1.0, 1000.0, 1000.0, math.nan, 1000.0, 0.0))
@example((1.0, 1000.0, 1000.0, -math.inf, 1000.0, 0.5))
@example((1.0, 1000.0, 1000.0, -math.inf, 1000.0, math.nan))
@example((0.0, 1001.0, 0.0, 1001.0, 0.0, 0.0))
def test_no_state_can_break_it(state: State) -> None:
    now = 1000.0
    limiter = project_limiter()
    limiter.restore(state, now)
    assert limiter.permits(10_000, now) <= 1000
    assert 0 <= limiter.wait(now) <= 86_400 + 61
    later = now + limiter.wait(now)
    assert limiter.permits(1, later) == 1
    limiter.restore(limiter.state(), later)
    limiter.give_back(1, later)
    assert limiter.permits(1, later) == 1


def test_an_impossible_state_is_reset() -> None:
    limiter = project_limiter()
    limiter.restore(
        (900.0, 5e6, 5e6, -math.inf, 5e6, 0.0), 1000.0
    )  # from before the machine was started anew
    assert limiter.state() == FRESH
    assert total(send(limiter, 1.0, start=1000.0)) <= 300


# --- the window -------------------------------------------------------------------------------------------------------


def epoch(window: AdaptiveWindow, now: float, answered: int, pushed_back: int) -> int:
    window.answered(answered)
    window.pushed_back(pushed_back)
    return window.window(now)


def test_it_starts_at_the_limit_and_follows_it() -> None:
    window = AdaptiveWindow(1)
    assert window.window(0.0) == 1
    window.follow(8000)  # the first authenticated answer
    assert window.window(0.0) == 8000
    window.follow(0)
    assert window.window(0.0) == 1
    window.follow(1000)
    assert window.window(0.0) == 1000


def test_it_shrinks_by_what_pushes_back_and_grows_again() -> None:
    window = AdaptiveWindow(1000)
    assert epoch(window, 1.0, 98, 2) == 1000  # 2 % of single devices is nothing
    assert epoch(window, 2.0, 70, 30) == 700
    assert epoch(window, 3.0, 0, 100) == 350  # no more than half
    assert epoch(window, 4.0, 100, 0) == 350 + GROWTH * 1000
    for second in range(5, 40):
        now = epoch(window, second, 90, 10)
    assert now == 1000


def test_it_never_shrinks_below_its_floor() -> None:
    window = AdaptiveWindow(1000, floor=20)
    for second in range(30):
        least = epoch(window, second, 0, 50)
    assert least == 20
    assert epoch(window, 31, 50, 0) == 70
    window.follow(5)
    assert window.window(31) == 5


def test_it_decides_once_an_epoch_and_not_on_a_few_answers() -> None:
    window = AdaptiveWindow(1000)
    assert epoch(window, 1.0, 0, 100) == 500
    assert epoch(window, 1.5, 0, 100) == 500
    assert epoch(window, 2.0, 0, 100) == 250
    assert epoch(window, 5.0, 0, ENOUGH - 1) == 250
    assert epoch(window, 6.0, 0, 1) == 125


def test_a_shrunk_window_keeps_its_place_when_the_limit_rises() -> None:
    window = AdaptiveWindow(1000)
    epoch(window, 1.0, 0, 100)
    window.follow(2000)
    assert window.window(1.0) == 500
    assert epoch(window, 2.0, 100, 0) == 600


@pytest.mark.parametrize(("limit", "floor"), [(0, 1), (1, 0)])
def test_a_window_of_nothing_is_refused(limit: int, floor: int) -> None:
    with pytest.raises(ConfigurationError, match="window"):
        AdaptiveWindow(limit, floor)
