"""Our client under an offered load: `python -m bench.client.openloop CASE TARGET RATE SECONDS CONNECTIONS`.

It prints one JSON line: rate, ok, cpu_us, and the latencies in milliseconds. Cases: `engine` is `send_many` with a
source that yields each push when it is due; `send` is a task for each push, like a server's task for each of its requests. RATE 0
is the highest possible rate; `latency` takes it as the maximum of that case.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from array import array
from collections.abc import AsyncIterator
from typing import Any, Final

import uvloop

from pushcore import ApnsClient, FcmClient, PushEngine
from pushcore.engine.collector import relax_collector

from ..cases import NO_RATE, Stopwatch, connected
from ..harness.providers import PROVIDERS, USUAL
from ..harness.schedule import TICK, due_by, summary
from ..harness.stage import Target

MOST: Final = 4_000_000
"""Pushes in one run: each keeps eight bytes."""
LONGEST: Final = 4.0
"""Times the planned duration after which an overloaded run is cut off at the source."""
ENDLESS: Final = 1e9


class Load:
    """Pushes with the moment when they were due, and the latencies of finished ones."""

    def __init__(self, target: Target, rate: float, seconds: float) -> None:
        self.rate = rate or ENDLESS
        self.count = min(max(round(rate * seconds), 1), MOST) if rate else MOST
        self.seconds = seconds
        self.pushes = PROVIDERS[target.provider].pushes(self.count, USUAL)
        self.due: dict[int, float] = {}
        """By the identity of a push that is on its way."""
        self.latencies = array("d")
        self.ok = 0

    async def bursts(self) -> AsyncIterator[list[Any]]:
        """The pushes due at each tick, late ones at once; without a rate, enough to keep the engine busy."""
        begun = time.perf_counter()
        given, tick = 0, 0
        while given < self.count:
            now = time.perf_counter() - begun
            if now > (self.seconds if self.rate == ENDLESS else self.seconds * LONGEST):
                return
            if self.rate == ENDLESS:
                due_now, at = given + 500, begun + now
            else:
                if tick * TICK > now:
                    await asyncio.sleep(tick * TICK - now)
                    continue
                due_now, at = min(due_by(tick + 1, self.rate), self.count), begun + tick * TICK
                tick += 1
            burst = []
            for push in self.pushes:
                burst.append(push)
                self.due[id(push)] = at
                given += 1
                if given >= due_now:
                    break
            if given < due_now or burst:
                yield burst
            if given < due_now:
                return

    def ended(self, push: Any, ok: bool) -> None:
        """One push has its result."""
        self.latencies.append(time.perf_counter() - self.due.pop(id(push)))
        self.ok += ok


async def engine(target: Target, load: Load, connections: int) -> dict[str, Any]:
    """`send_many` over an async source."""

    async def source() -> AsyncIterator[Any]:
        async for burst in load.bursts():
            for push in burst:
                yield push

    provider = PROVIDERS[target.provider]
    async with (
        connected(provider, target, connections) as client,
        PushEngine(client, rate=NO_RATE) as push_engine,
    ):
        meter = Stopwatch()
        meter.start()
        async for result in push_engine.send_many(source()):
            load.ended(result.push, result.ok)
        return meter.stop(max(len(load.latencies), 1), load.ok, len(load.latencies))


async def send(target: Target, load: Load, connections: int) -> dict[str, Any]:
    """A task for each push; without a rate, one at a time per stream."""
    provider = PROVIDERS[target.provider]
    room = asyncio.Semaphore(provider.streams * connections) if load.rate == ENDLESS else None

    async def one(client: ApnsClient | FcmClient, push: Any) -> None:
        result = await client.send(push)
        load.ended(push, result.ok)
        if room is not None:
            room.release()

    async with connected(provider, target, connections) as client:
        meter = Stopwatch()
        meter.start()
        async with asyncio.TaskGroup() as tasks:
            async for burst in load.bursts():
                for push in burst:
                    if room is not None:
                        await room.acquire()
                    tasks.create_task(one(client, push))
        return meter.stop(max(len(load.latencies), 1), load.ok, len(load.latencies))


CASES: Final = {"engine": engine, "send": send}


def main() -> None:
    """Run one load and print what was measured."""
    case, target, rate, seconds, connections = sys.argv[1:6]
    relax_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        where = Target(**json.loads(target))
        load = Load(where, float(rate), float(seconds))
        measured = runner.run(CASES[case](where, load, int(connections)))
    print(json.dumps(measured | {"planned": load.count, "latencies": summary(load.latencies)}))


if __name__ == "__main__":
    main()
