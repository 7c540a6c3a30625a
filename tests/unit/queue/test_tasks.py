"""Tasks are ended, whatever their libraries do with a cancellation."""

from __future__ import annotations

import asyncio
import contextlib

from pushcore.engine.rate import FCM_RATE, RateLimiter
from pushcore.queue.brokers.memory import MemoryQueue
from pushcore.queue.fleet import Fleet
from pushcore.queue.protocol import StoredValue
from pushcore.queue.tasks import end


async def forgetful(times: int) -> None:
    """Swallows so many cancellations, as `asyncio.wait_for` does one before Python 3.12."""
    for _ in range(times):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
    await asyncio.sleep(60)


async def test_a_task_that_forgets_its_cancellation_ends_all_the_same() -> None:
    async def fails() -> None:
        raise LookupError

    tasks = [asyncio.create_task(forgetful(times)) for times in (0, 1, 3)]
    tasks.append(asyncio.create_task(fails()))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await end(tasks)
    assert all(task.done() for task in tasks)
    await end([])


async def test_a_fleet_ends_where_its_store_forgets_a_cancellation() -> None:
    class Forgetful(MemoryQueue):
        swallowed = 0

        async def read(self, name: str) -> StoredValue:
            found = await super().read(name)
            if name == "rate-fcm":
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)
                self.swallowed += 1
            return found

    store = Forgetful("camp")
    async with asyncio.timeout(10):
        async with Fleet(store) as fleet:
            fleet.limiter("fcm", RateLimiter(FCM_RATE)).permits(5, 0.0)
            await asyncio.sleep(0.05)
    assert store.swallowed
