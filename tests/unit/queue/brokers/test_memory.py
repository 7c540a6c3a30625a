"""The queue in memory: the checks of every adapter, and what else is true of it alone. In virtual time."""

from __future__ import annotations

import asyncio

import pytest

from pushcore.errors import ConfigurationError
from pushcore.queue.brokers import conformance
from pushcore.queue.brokers.conformance import CHECKS, Check, chunks
from pushcore.queue.brokers.memory import Memory, MemoryQueue
from pushcore.queue.protocol import Broker
from tests.support import virtual

from .clock import LoopClock


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_does_what_every_adapter_must(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance, "time", LoopClock)
    memories: dict[str, Memory] = {}

    async def open_one(campaign: str, idle: float) -> Broker:
        memory = memories.setdefault(campaign, Memory(clock=LoopClock.monotonic))
        return MemoryQueue(campaign, memory, idle=idle)

    virtual.run(check(open_one))


async def test_each_queue_has_a_memory_of_its_own_unless_one_is_given() -> None:
    one, two = MemoryQueue("camp"), MemoryQueue("camp")
    assert (await one.put(chunks(1)), await two.stats()) == (1, (await MemoryQueue("other").stats()))


async def test_a_lost_lease_is_told_and_not_released() -> None:
    now = 0.0
    memory = Memory(clock=lambda: now)
    queue = MemoryQueue("camp", memory, idle=10.0)
    await queue.put(chunks(1))
    (old,) = await queue.lease(1, 0.0)
    now = 11.0
    (new,) = await queue.lease(1, 0.0)
    assert await queue.extend([old, new]) == [old]
    await queue.release(old)
    assert (await queue.stats()).leased == 1
    await queue.done(new, b"r")
    assert await queue.extend([new]) == [new]


async def test_the_oldest_chunk_says_how_long_it_has_waited() -> None:
    now = 5.0
    queue = MemoryQueue("camp", Memory(clock=lambda: now))
    await queue.put(chunks(1))
    now = 12.5
    await queue.put(chunks(2))
    assert (await queue.stats()).oldest == 7.5


async def test_results_wait_for_the_first_one_and_come_in_their_order() -> None:
    queue = MemoryQueue("camp")
    waiting = asyncio.create_task(queue.results(5, 60.0))
    await asyncio.sleep(0)
    await queue.report(b"one", "a")
    await queue.report(b"two", "b")
    assert [result.data for result in await waiting] == [b"one", b"two"]
    assert [result.data for result in await queue.results(1, 0.0)] == [b"one"]


@pytest.mark.parametrize("name", ["", "two words", "x" * 65])
def test_a_name_that_no_queue_takes_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="a campaign's name has"):
        MemoryQueue(name)
