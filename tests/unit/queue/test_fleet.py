"""The common rate and verdict: no more than the rate from all together, and what one learns the others know."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from pushcore.engine.breaker import Trip
from pushcore.engine.rate import LOOKED_BACK, Rate, RateLimiter, project_limiter
from pushcore.errors import ConfigurationError
from pushcore.queue.brokers.memory import Memory, MemoryQueue
from pushcore.queue.campaign import CampaignState, set_state
from pushcore.queue.errors import QueueUnavailable
from pushcore.queue.fleet import HOLD, POLL, Fleet, FleetLimiter
from pushcore.queue.protocol import StoredValue
from tests.e2e.support import soon

from .stage import in_virtual_time, now

TRIP = Trip("BadTopic", "BadTopic: correct the topic")


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def queue_of(memory: Memory) -> MemoryQueue:
    return MemoryQueue("camp", memory)


async def simulate(limiter: RateLimiter, workers: int, seconds: float, memory: Memory) -> list[float]:
    """When pushes left, of workers that want to send all the time and ask every 10 ms."""
    clock = Clock()
    queue = queue_of(memory)
    made = [
        FleetLimiter(
            "fcm",
            RateLimiter(limiter.rate) if limiter.rate.seconds < 60 else project_limiter(limiter.rate),
            lambda: None,
            clock,
        )
        for _ in range(workers)
    ]
    left = []
    start = clock.now
    while clock.now < start + seconds:
        for each in made:
            left += [clock.now - start] * each.permits(1000, clock.now)
            if each.patience() <= 0.006:
                await each.exchange(queue)
        clock.now += 0.01
    return left


@pytest.mark.parametrize("workers", [1, 3, 10])
async def test_all_together_keep_a_pace_and_use_it(workers: int) -> None:
    left = await simulate(RateLimiter(Rate(1000)), workers, 20.0, Memory())
    assert 0.9 * 20_000 <= len(left) <= 1000 * (20 + 0.1 + HOLD)


@pytest.mark.slow
async def test_no_window_has_more_than_the_quota() -> None:
    rate = Rate(6000, 60.0)
    left = await simulate(project_limiter(rate), 4, 260.0, Memory())
    start = 0
    for end, moment in enumerate(left):
        while left[start] <= moment - 60.0:
            start += 1
        assert end - start + 1 <= 6000
    assert sum(moment > 200.0 for moment in left) >= 0.9 * 6000  # and after the ramp nearly all of it is used


async def test_a_ramp_begins_and_gets_on() -> None:
    """Its first permits come one at a time: what is withheld of a quota must not be all of them."""
    left = await simulate(project_limiter(Rate(600, 60.0)), 3, 30.0, Memory())
    assert len(left) > 100


async def test_a_gate_closes_for_all() -> None:
    clock, memory = Clock(), Memory()
    one, two = (FleetLimiter("fcm", project_limiter(), lambda: None, clock) for _ in range(2))
    for each in (one, two):
        each.permits(10, 0.0)
        await each.exchange(queue_of(memory))
    one.refused(30.0, 5.0)
    assert one.permits(10, 5.0) == 0
    assert one.closed(5.0) == pytest.approx(30.0)
    assert one.wait(5.0) == pytest.approx(30.0)
    await one.exchange(queue_of(memory))
    clock.now += 1.0
    await two.exchange(queue_of(memory))
    assert two.closed(0.0) == pytest.approx(29.0)
    assert two.permits(10, 0.0) == 0
    clock.now += 29.1
    for _ in range(3):  # and then there is a ramp
        assert two.wait(0.0) < 1.0
        two.permits(10, 0.0)
        clock.now += 0.5
        await two.exchange(queue_of(memory))
    assert 1 <= two.permits(1000, 0.0) <= 40  # 0.1 s of what the ramp allows by then, of 1000 at its end


async def test_permits_that_are_not_used_are_lost() -> None:
    clock = Clock()
    limiter = FleetLimiter("apns", RateLimiter(Rate(1000)), lambda: None, clock)
    limiter.permits(10, 0.0)
    await limiter.exchange(MemoryQueue("camp"))
    assert limiter.permits(10, 0.0) == 10
    limiter.give_back(5, 0.0)
    assert limiter.wait(0.0) == 0.0
    clock.now += HOLD + 0.01
    assert limiter.permits(10, 0.0) == 0
    assert limiter.wait(0.0) > 0.0


async def test_without_a_limit_there_is_the_gate_alone() -> None:
    clock = Clock()
    limiter = FleetLimiter("fcm", project_limiter(Rate.parse("none")), lambda: None, clock)
    assert limiter.permits(10**6, 0.0) == 10**6
    limiter.close(12.0, 2.0)
    assert limiter.permits(1, 0.0) == 0
    clock.now += 10.1
    assert limiter.permits(5, 0.0) == 5


# --- a worker's fleet, in virtual time --------------------------------------------------------------------------------


def at_once(memory: Memory) -> Fleet:
    return Fleet(queue_of(memory), clock=now)


def test_the_first_trip_is_shared_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        memory = Memory(clock=now)
        async with at_once(memory) as one, at_once(memory) as two:
            assert one.trip is None
            assert one.stop(TRIP) == TRIP
            assert one.stop(Trip("Other", "Other: x")) == TRIP
            await soon(lambda: two.trip == TRIP)
            assert two.stop(Trip("Other", "Other: x")) == TRIP
        async with at_once(memory) as three:
            assert three.trip == TRIP

    in_virtual_time(monkeypatch, work())


def test_two_workers_that_stop_at_the_same_time_agree_in_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        memory = Memory(clock=now)
        other = Trip("Other", "Other: x")
        async with at_once(memory) as one, at_once(memory) as two:
            one.stop(TRIP)
            two.stop(other)
            await asyncio.sleep(5 * POLL)
        kept = Trip.decode((await queue_of(memory).read("trip")).value)
        assert kept in (TRIP, other)

    in_virtual_time(monkeypatch, work())


async def test_a_verdict_found_at_the_end_is_told_as_well() -> None:
    memory = Memory()
    async with Fleet(queue_of(memory)) as one:
        one.stop(TRIP)
    async with Fleet(queue_of(memory)) as two:
        assert two.trip == TRIP


async def test_a_verdict_that_cannot_be_told_at_the_end_is_a_problem_and_no_error() -> None:
    queue = Away("camp")
    async with Fleet(queue) as fleet:
        queue.away = True
        fleet.stop(TRIP)
    assert str(fleet.problem) == "away"


def test_the_state_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        memory = Memory(clock=now)
        async with at_once(memory) as fleet:
            assert (fleet.state, fleet.paused, fleet.peers()) == (CampaignState.RUNNING, False, None)
            began = now()
            assert await fleet.changed(CampaignState.RUNNING, POLL / 4) is CampaignState.RUNNING
            assert now() - began <= POLL / 4 + 0.01
            assert await fleet.changed(CampaignState.PAUSED, 100.0) is CampaignState.RUNNING
            await set_state(queue_of(memory), CampaignState.PAUSED)
            await soon(lambda: fleet.paused)
            assert await fleet.changed(CampaignState.RUNNING, 100.0) is CampaignState.PAUSED
            assert now() - began < 3 * POLL

    in_virtual_time(monkeypatch, work())


class Away(MemoryQueue):
    away = False

    async def read(self, name: str) -> StoredValue:
        if self.away:
            raise QueueUnavailable("away")
        return await super().read(name)


def test_no_member_sends_while_the_store_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Away("camp", Memory(clock=now))
        async with Fleet(queue, clock=now) as fleet:
            limiter = fleet.limiter("apns", RateLimiter(Rate(10_000)))
            assert fleet.limiter("apns", RateLimiter(Rate(10_000))) is limiter
            await soon(lambda: limiter.permits(1, 0.0))
            queue.away = True
            await soon(lambda: fleet.problem is not None and not limiter.permits(10_000, 0.0))
            await asyncio.sleep(HOLD)
            assert limiter.permits(10_000, 0.0) == 0
            queue.away = False
            await soon(lambda: limiter.permits(1, 0.0))
            await soon(lambda: fleet.problem is None)

    in_virtual_time(monkeypatch, work())


# --- what providers say -----------------------------------------------------------------------------------------------


async def test_many_429s_without_retry_after_stop_every_worker() -> None:
    clock, memory = Clock(), Memory()
    woken: list[str] = []
    one, two = (
        FleetLimiter("fcm", project_limiter(Rate(600, 60.0)), lambda: woken.append("x"), clock)
        for _ in range(2)
    )
    await one.exchange(queue_of(memory))
    one.refused(None, 5.0)
    assert (one.patience(), woken) == (0.0, ["x"])
    await one.exchange(queue_of(memory))
    assert one.closed(5.0) == 0.0  # one of many says nothing
    for _ in range(int(LOOKED_BACK)):
        one.refused(None, 5.0)
    await one.exchange(queue_of(memory))
    assert one.closed(5.0) > 0
    assert one.allowed_rate(5.0) == 0.0
    clock.now += 1.0
    await two.exchange(queue_of(memory))
    assert two.closed(5.0) == pytest.approx(one.closed(5.0))


async def test_permits_that_were_given_back_while_the_gate_is_closed_are_lost() -> None:
    clock = Clock()
    limiter = FleetLimiter("apns", RateLimiter(Rate(1000)), lambda: None, clock)
    limiter.permits(10, 0.0)
    await limiter.exchange(MemoryQueue("camp"))
    assert limiter.permits(10, 0.0) == 10
    limiter.close(5.0, 0.0)
    limiter.close(2.0, 0.0)
    limiter.give_back(10, 0.0)
    assert limiter.closed(0.0) == pytest.approx(5.0)
    clock.now += 5.01
    assert limiter.permits(1, 0.0) == 0


async def test_a_worker_that_was_overtaken_in_the_store_asks_again() -> None:
    class Overtaken(MemoryQueue):
        tries = 0

        async def write(self, name: str, value: bytes, revision: int) -> bool:
            self.tries += 1
            return self.tries > 1 and await super().write(name, value, revision)

    queue = Overtaken("camp")
    limiter = FleetLimiter("apns", RateLimiter(Rate(1000)), lambda: None, Clock())
    limiter.permits(10, 0.0)
    await limiter.exchange(queue)
    assert (queue.tries, limiter.permits(10, 0.0)) == (2, 10)


async def test_a_state_that_cannot_be_read_begins_anew() -> None:
    queue = MemoryQueue("camp")
    await queue.write("rate-apns", b"nonsense", 0)
    limiter = FleetLimiter("apns", RateLimiter(Rate(1000)), lambda: None, Clock())
    limiter.permits(10, 0.0)
    await limiter.exchange(queue)
    assert limiter.permits(10, 0.0) == 10


@pytest.mark.parametrize(("store", "clock"), [(object(), time.time), (MemoryQueue("camp"), 5.0)])
def test_a_fleet_of_something_else_is_refused(store: Any, clock: Any) -> None:
    with pytest.raises(ConfigurationError):
        Fleet(store, clock=clock)
