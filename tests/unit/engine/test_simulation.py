"""100 000 pushes on a simulated clock: 2 % are answered 429 and 1 % 503, and every repeat obeys the rules.

A small engine drives the policy, the heap, the budget, the limiter, the window and the breaker, and a judge that shares nothing with
them looks at what arrives. Its numbers are written out here once more, from the providers' pages.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from pushcore.engine.breaker import Breaker
from pushcore.engine.rate import AdaptiveWindow, RateLimiter, project_limiter
from pushcore.engine.retry import DelayHeap, RetryBudget, RetryPolicy
from pushcore.results import Result, Verdict

pytestmark = pytest.mark.slow

PUSHES = 100_000
BURST = 256
LATENCY = 0.08
WINDOW = 2000

Answer = Callable[[int, float], Result]

ACCEPTED = Verdict.ACCEPTED

LEAST_WAIT = {
    "TooManyRequests": 1.0,  # "with delay"
    "ServiceUnavailable": 1.0,  # "later"
    "QUOTA_EXCEEDED": 10.0,  # with Retry-After, else 60
    "UNAVAILABLE": 10.0,
}
LONGEST = 3600.0


class Judge:
    """Sees every push arrive and every answer leave, and knows the rules."""

    def __init__(self, quota: bool) -> None:
        self.quota = quota
        self.first: dict[int, float] = {}
        self.not_before: dict[int, float] = {}
        self.accepted: set[int] = set()
        self.arrivals = 0
        self.closed_until = -math.inf
        self.began = 1000.0
        self.repeats = 0
        self.refused = 0

    def arrived(self, push: int, now: float) -> None:
        assert push not in self.accepted, "it was accepted before"
        if push in self.first:
            self.repeats += 1
            assert now >= self.not_before.pop(push), "a repeat came too early"
            assert now - self.first[push] <= LONGEST, "a repeat came after an hour"
        else:
            self.first[push] = now
        self.arrivals += 1
        if not self.quota:
            return
        assert now >= self.closed_until, "a push came through a closed gate"
        after = now - self.began
        if after <= 60:  # never more than a straight line from 1 % to 10 000 a second lets through
            assert self.arrivals <= 100 * after + 9900 * after * after / 120 + 1000 * after / 60 + 15

    def answered(self, push: int, result: Result, now: float) -> None:
        if result.verdict is ACCEPTED:
            self.accepted.add(push)
            return
        self.refused += 1
        assert result.reason is not None
        wait = max(LEAST_WAIT[result.reason], result.retry_after or 0)
        if result.reason == "QUOTA_EXCEEDED":
            if result.retry_after is None:
                wait = 60.0
            else:
                self.closed_until = max(self.closed_until, now + result.retry_after)
        self.not_before[push] = now + wait


@dataclass(slots=True)
class Kept:
    """A push that waits for its repeat."""

    push: int
    attempt: int
    first: float
    last: Result | None = None


@dataclass
class Engine:
    """The loop that somebody else writes with sockets."""

    answer: Answer
    judge: Judge
    limiter: RateLimiter | None
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    pushes: int = PUSHES
    now: float = 1000.0
    reported: list[Result] = field(default_factory=list)
    most_delayed: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(11)
        self.heap: DelayHeap[Kept] = DelayHeap(self.policy.max_delayed)
        self.budget = RetryBudget(self.policy.budget_share, self.policy.budget_rate)
        self.window = AdaptiveWindow(WINDOW)
        self.breaker = Breaker()
        self.source: Iterator[int] = iter(range(self.pushes))
        self.fed = False
        self.flying: list[tuple[float, int, list[Kept]]] = []
        self.in_flight = 0

    def run(self) -> None:
        turns = 0
        while not self.ended:
            turns += 1
            assert turns < 40 * self.pushes, "it goes on for ever"
            while self.flying and self.flying[0][0] <= self.now:
                self.settle(heapq.heappop(self.flying)[2])
            if not self.send() and not self.ended:
                self.now = max(self.next_moment(), math.nextafter(self.now, math.inf))
        assert self.in_flight == 0

    @property
    def ended(self) -> bool:
        return self.fed and not self.flying and not len(self.heap)

    def next_moment(self) -> float:
        """When something can go on: an answer, or something to send, which then needs a permit as well."""
        moments = [self.flying[0][0]] if self.flying else []
        if self.in_flight < self.window.window(self.now):
            to_send = []
            if not self.fed and not self.heap.full:
                to_send.append(self.now)
            if len(self.heap):
                to_send.append(max(self.heap.next_due, self.now + self.budget.wait(self.now)))
            if to_send:
                gate = self.now + self.limiter.wait(self.now) if self.limiter is not None else self.now
                moments.append(max(min(to_send), gate))
        return min(moments)

    def send(self) -> bool:
        """One burst: what is due first, then the source. False when nothing could leave."""
        room = min(BURST, self.window.window(self.now) - self.in_flight)
        granted = self.limiter.permits(room, self.now) if self.limiter is not None else room
        burst: list[Kept] = []
        allowed = self.budget.take(granted, self.now)
        for each in self.heap.due(self.now, allowed):
            if self.policy.too_old(self.now - each.first):
                assert each.last is not None
                self.reported.append(each.last)
            else:
                burst.append(each)
        self.budget.give_back(allowed - len(burst))
        fresh = 0
        while len(burst) < granted and not self.fed and not self.heap.full:
            push = next(self.source, None)
            if push is None:
                self.fed = True
                break
            burst.append(Kept(push, 0, self.now))
            fresh += 1
        self.budget.earn(fresh)
        if self.limiter is not None:
            self.limiter.give_back(granted - len(burst), self.now)
        if not burst:
            return False
        for each in burst:
            each.attempt += 1
            self.judge.arrived(each.push, self.now)
        self.in_flight += len(burst)
        heapq.heappush(self.flying, (self.now + LATENCY, self.judge.arrivals, burst))
        return True

    def settle(self, burst: list[Kept]) -> None:
        accepted = 0
        for each in burst:
            result = self.answer(each.push, self.now)
            self.judge.answered(each.push, result, self.now)
            if result.verdict is ACCEPTED:
                accepted += 1
                self.budget.repaid(each.attempt > 1)
                self.reported.append(result)
                continue
            assert self.breaker.take(result) is None
            self.window.pushed_back()
            if result.reason == "QUOTA_EXCEEDED" and self.limiter is not None:
                self.limiter.refused(result.retry_after, self.now)
            wait = self.policy.delay(result, each.attempt, self.rng, self.now - each.first)
            if wait is None:
                self.reported.append(result)
            else:
                each.last = result
                self.heap.add(self.now + wait, each)
        self.most_delayed = max(self.most_delayed, len(self.heap))
        self.breaker.accepted(accepted)
        self.window.answered(accepted)
        self.in_flight -= len(burst)

    def check(self) -> None:
        """Every push has one result, and it was accepted."""
        assert sorted(each.push for each in self.reported) == list(range(self.pushes))
        assert all(each.verdict is ACCEPTED for each in self.reported)
        assert self.judge.accepted == set(range(self.pushes))
        assert self.judge.not_before == {}
        assert self.breaker.conclude() is None


def apns(rng: random.Random) -> Answer:
    def answer(push: int, now: float) -> Result:
        dice = rng.random()
        if dice < 0.02:
            return Result(push, Verdict.THROTTLED, 429, 1, reason="TooManyRequests")
        if dice < 0.03:
            return Result(push, Verdict.UNAVAILABLE, 503, 1, reason="ServiceUnavailable")
        return Result(push, ACCEPTED, 200, 1)

    return answer


def fcm(rng: random.Random, retry_after: float | None) -> Answer:
    def answer(push: int, now: float) -> Result:
        dice = rng.random()
        if dice < 0.02:
            return Result(push, Verdict.THROTTLED, 429, 1, reason="QUOTA_EXCEEDED", retry_after=retry_after)
        if dice < 0.03:
            asked = rng.choice([None, 5.0, 30.0])
            return Result(push, Verdict.UNAVAILABLE, 503, 1, reason="UNAVAILABLE", retry_after=asked)
        return Result(push, ACCEPTED, 200, 1)

    return answer


def test_apns() -> None:
    engine = Engine(apns(random.Random(1)), Judge(quota=False), None)
    engine.run()
    engine.check()
    assert 2800 < engine.judge.repeats < 3400
    assert engine.now < 1000 + 600  # single devices that are throttled slow nobody else down
    assert engine.window.window(engine.now) == WINDOW


@pytest.mark.parametrize(("retry_after", "rate"), [(None, 150), (1.0, 150), (15.0, 10)])
def test_fcm(retry_after: float | None, rate: float) -> None:
    """Each Retry-After closes the gate for the whole project, so that there is a burst between two of them and no more."""
    engine = Engine(fcm(random.Random(2), retry_after), Judge(quota=True), project_limiter())
    engine.run()
    engine.check()
    assert 2800 < engine.judge.repeats < 3400
    assert engine.pushes / (engine.now - 1000) > rate


def test_fcm_without_errors_is_held_up_by_the_ramp_alone() -> None:
    def answer(push: int, now: float) -> Result:
        return Result(push, ACCEPTED, 200, 1)

    engine = Engine(answer, Judge(quota=True), project_limiter())
    engine.run()
    engine.check()
    # a straight line from 100 to 10 000 a second: 100 t + 82.5 t² = 100 000
    assert engine.now - 1000 == pytest.approx(34.2, abs=0.3)


def test_an_outage_holds_the_source_and_loses_nothing() -> None:
    """At first everything is refused, for five minutes: the heap fills up, the source waits, little is repeated."""
    policy = RetryPolicy(max_delayed=3000)

    def answer(push: int, now: float) -> Result:
        if now < 1300:
            return Result(push, Verdict.UNAVAILABLE, 503, 1, reason="ServiceUnavailable")
        return Result(push, ACCEPTED, 200, 1)

    engine = Engine(answer, Judge(quota=False), None, policy, pushes=200_000)
    engine.run()
    engine.check()
    assert 3000 <= engine.most_delayed <= 3000 + WINDOW
    most = engine.most_delayed
    # While it lasts no more than the budget has, where the policy alone would repeat each two or three times.
    assert engine.judge.refused - most <= policy.budget_share * most + 301 * policy.budget_rate
    assert engine.now < 1300 + 900


def test_an_outage_that_does_not_end_ends_the_campaign() -> None:
    """Everything is refused for good: every push is reported as it is, none later than after an hour or so."""

    def answer(push: int, now: float) -> Result:
        return Result(push, Verdict.UNAVAILABLE, 503, 1, reason="ServiceUnavailable")

    engine = Engine(answer, Judge(quota=False), None, RetryPolicy(max_delayed=500), pushes=2000)
    engine.run()
    assert sorted(each.push for each in engine.reported) == list(range(2000))
    assert {each.verdict for each in engine.reported} == {Verdict.UNAVAILABLE}
