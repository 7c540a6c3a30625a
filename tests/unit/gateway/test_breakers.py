"""A caller's breaker opens for what blames the configuration, never for tokens, and tries again after half a minute."""

from __future__ import annotations

from pushcore.engine.breaker import RUN
from pushcore.gateway.breakers import HALF_OPEN, CallerBreaker
from pushcore.models.apns import Notification
from pushcore.results import Result, Verdict

PUSH = Notification("00", {"aps": {}})


def result(verdict: Verdict, reason: str | None = None, status: int | None = 400) -> Result:
    return Result(PUSH, verdict, status, 1, reason=reason)


ACCEPTED = result(Verdict.ACCEPTED, status=200)
WRONG = result(Verdict.MISCONFIGURED, "TopicDisallowed")
SUSPECT = result(Verdict.INVALID, "BadDeviceToken")
DEAD = result(Verdict.UNREGISTERED, "Unregistered", 410)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> CallerBreaker:
    breaker = CallerBreaker(clock)
    assert [breaker.seen(WRONG) for _ in range(RUN)] == [False] * (RUN - 1) + [True]
    return breaker


def test_suspects_alone_never_open_it() -> None:
    assert SUSPECT.suspect
    breaker = CallerBreaker(Clock())
    for _ in range(2000):
        assert not breaker.seen(SUSPECT)
    assert breaker.refuses() is None


def test_it_opens_for_a_run_that_blames_the_configuration() -> None:
    clock = Clock()
    breaker = opened(clock)
    assert breaker.trip is not None
    assert "TopicDisallowed" in breaker.trip.sentence
    clock.now += 10
    assert breaker.refuses() == HALF_OPEN - 10


def test_after_half_a_minute_one_push_is_tried() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += HALF_OPEN
    assert breaker.refuses() is None
    assert breaker.refuses() == 1.0  # until the probe has its result
    assert not breaker.seen(ACCEPTED)
    assert breaker.trip is None
    assert breaker.refuses() is None


def test_a_probe_that_fails_keeps_it_open() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += HALF_OPEN
    assert breaker.refuses() is None
    breaker.seen(WRONG)
    assert breaker.refuses() == HALF_OPEN


def test_a_probe_that_says_nothing_is_followed_by_another() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += HALF_OPEN
    assert breaker.refuses() is None
    breaker.seen(result(Verdict.UNAVAILABLE, "ServiceUnavailable", 503))
    assert breaker.trip is not None
    assert breaker.refuses() is None


def test_a_dead_token_closes_it_too() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += HALF_OPEN
    assert breaker.refuses() is None
    breaker.seen(DEAD)
    assert breaker.trip is None


def test_a_push_that_was_accepted_speaks_for_the_configuration() -> None:
    breaker = CallerBreaker(Clock())
    assert not breaker.seen(ACCEPTED)
    assert not any(breaker.seen(WRONG) for _ in range(RUN))
    assert breaker.trip is None
