"""A worker in virtual time: the queue in memory, an engine whose answers the test gives, and outages at will."""

from __future__ import annotations

import asyncio
import types
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Sequence
from typing import Any, cast

import pytest

from pushcore.engine.breaker import Trip
from pushcore.engine.engine import PushEngine
from pushcore.errors import ClosedError
from pushcore.journal.journal import id_prefix
from pushcore.queue import coordinator, fleet, leases, ledger_file, worker
from pushcore.queue.brokers.memory import Memory, MemoryQueue
from pushcore.queue.campaign import CampaignInfo, CampaignState, announce
from pushcore.queue.chunk import Chunk, inline_chunks
from pushcore.queue.errors import QueueUnavailable
from pushcore.queue.fleet import Fleet
from pushcore.queue.outcomes import ChunkResult
from pushcore.queue.protocol import DeliveredResult, Lease, QueueStats, StoredValue
from pushcore.queue.pushes import NumberedNotification
from pushcore.results import Result, Verdict
from tests.support import virtual

ROWS = 5
"""Rows of a chunk."""
INFO = CampaignInfo("camp", "fingerprint", ROWS)
VERDICT = Trip("BadTopic", "BadTopic: correct the topic")


def in_virtual_time(monkeypatch: pytest.MonkeyPatch, work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end; the modules of the queue read the loop's clock. No task may be left."""
    clock = types.SimpleNamespace(monotonic=now, time=now)
    for module in (worker, leases, coordinator, ledger_file, fleet):
        monkeypatch.setattr(module, "time", clock)

    async def watched() -> Any:
        async with asyncio.timeout(5_000):
            found = await work
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert not left, f"tasks left running: {left}"
        return found

    return virtual.run(watched())


def now() -> float:
    return asyncio.get_running_loop().time()


def chunks(count: int, first: int = 0) -> list[Chunk]:
    rows = [{"token": f"{row:064x}"} for row in range((first + count) * ROWS)]
    return list(inline_chunks(rows, ROWS, start=first))


def accepted(push: Any) -> Result:
    return Result(push, Verdict.ACCEPTED, 200, 1, push.apns_id)


def throttled(push: Any) -> Result:
    return Result(push, Verdict.THROTTLED, 429, 1, reason="TooManyRequests")


class ScriptedEngine:
    """Gives each push the result of `answer`; None keeps it in flight until `release`, or until the engine is closed.

    Closed, it ends as the engine does: what is in flight comes with the result of `late`, and then `ClosedError`.
    """

    def __init__(self, answer: Callable[[Any], Result | None] = accepted, window: int = 100) -> None:
        self.window = window
        self.answer = answer
        self.late: Callable[[Any], Result] = throttled
        self.sent: list[int] = []
        self.held: dict[int, Any] = {}
        self.closed = False
        self._error: Exception | None = None
        self._results: deque[Result] = deque()
        self._changed = asyncio.Event()

    async def send_many(self, source: AsyncIterable[list[Any]]) -> AsyncGenerator[Result, None]:
        feeder = asyncio.create_task(self._feed(source))
        try:
            while self._error is None and not (feeder.done() and not self.held and not self._results):
                while self._results:
                    yield self._results.popleft()
                self._changed.clear()
                if not feeder.done() or self.held:
                    await self._changed.wait()
            for result in [*self._results, *map(self.late, self.held.values())]:
                yield result
            if self._error is not None:
                raise self._error
            feeder.result()
        finally:
            feeder.cancel()
            await asyncio.gather(feeder, return_exceptions=True)

    async def _feed(self, source: AsyncIterable[list[Any]]) -> None:
        try:
            async for pushes in source:
                for push in pushes:
                    self.sent.append(push.row)
                    result = self.answer(push)
                    if result is None:
                        self.held[push.row] = push
                    else:
                        self._results.append(result)
                self._changed.set()
        finally:
            self._changed.set()

    @property
    def in_flight(self) -> int:
        return len(self.held)

    def release(self, *rows: int) -> None:
        """These are accepted after all."""
        self._results.extend(accepted(self.held.pop(row)) for row in rows)
        self._changed.set()

    def stop(self, error: Exception) -> None:
        """Send nothing more: this is what the caller gets after the results."""
        self._error = self._error or error
        self._changed.set()

    async def close(self) -> None:
        self.closed = True
        self.stop(ClosedError("the engine was closed"))


class Fellows:
    """The `Fleet` of a worker, as the test sets it."""

    def __init__(self) -> None:
        self.state = CampaignState.RUNNING
        self.trip: Trip | None = None

    def stop(self, trip: Trip) -> Trip:
        self.trip = self.trip or trip
        return self.trip

    async def changed(self, known: CampaignState, seconds: float) -> CampaignState:
        await asyncio.sleep(min(seconds, 0.5))
        return self.state


class Queue(MemoryQueue):
    """The queue in memory; `failing` names the methods that raise `error`. `log`: every call, with its time."""

    def __init__(self, memory: Memory | None = None, *, idle: float = 3.0) -> None:
        super().__init__("camp", memory or Memory(clock=now), idle=idle)
        self.failing: set[str] = set()
        self.error: Exception = Exception()
        self.log: list[tuple[float, str]] = []

    def _note(self, name: str) -> None:
        self.log.append((now(), name))
        if name in self.failing:
            raise self.error

    async def lease(self, n: int, wait: float) -> list[Lease]:
        self._note("lease")
        return await super().lease(n, wait)

    async def extend(self, leases: Any) -> list[Lease]:
        self._note("extend")
        return await super().extend(leases)

    async def done(self, lease: Lease, result: bytes) -> None:
        self._note("done")
        await super().done(lease, result)

    async def report(self, result: bytes, nonce: str) -> None:
        self._note("report")
        await super().report(result, nonce)

    async def release(self, lease: Lease, delay: float = 0.0) -> None:
        self._note(f"release {delay:g}")
        await super().release(lease, delay)

    async def read(self, name: str) -> StoredValue:
        self._note("read")
        return await super().read(name)

    def times(self, name: str) -> list[float]:
        """When a method was called, in seconds since the first call of all."""
        return [round(at - self.log[0][0], 3) for at, called in self.log if called == name]

    async def put_all(self, count: int) -> None:
        """The campaign and so many chunks."""
        await announce(self, INFO)
        await self.put(chunks(count))

    def delivered(self) -> list[ChunkResult]:
        """What workers have sent back so far."""
        return [ChunkResult.decode(data) for _, data in self.memory.results.values()]

    def outcomes(self) -> dict[int, int]:
        """How many outcomes each row has by now."""
        found: dict[int, int] = {}
        for result in self.delivered():
            for part in result.parts:
                for outcome in part.outcomes("x"):
                    found[outcome.row] = found.get(outcome.row, 0) + 1
        return found


class Stage:
    """One worker, what it works with, and its task."""

    def __init__(self, queue: Queue, engine: Any = None, pushes: Any = None, **options: Any) -> None:
        self.queue = queue
        self.engine = engine or ScriptedEngine()
        self.fellows = Fellows()
        self.worker = worker.Worker(
            queue,
            cast(PushEngine, self.engine),
            cast(Fleet, self.fellows),
            pushes or numbered,
            name="w",
            **options,
        )
        self.task = asyncio.create_task(self.worker.run())

    async def finish(self) -> leases.WorkerReport:
        """The campaign is over."""
        self.fellows.state = CampaignState.FINISHED
        return await self.task


def numbered(chunk: Chunk, info: CampaignInfo) -> list[NumberedNotification]:
    tokens = chunk.columns()["token"]
    return [NumberedNotification(row, tokens[row - chunk.first], b"{}") for row in chunk.missing()]


# --- the other end ------------------------------------------------------------------------------------------------


class Broker(Queue):
    """Also keeps what was put by epoch, and can be away for everything."""

    def __init__(self) -> None:
        super().__init__(idle=30.0)
        self.puts: list[tuple[int, list[int]]] = []
        self.away = False

    def _ask(self, name: str) -> None:
        self.log.append((now(), name))
        if self.away:
            raise QueueUnavailable("not now")

    async def put(self, chunks: Sequence[Chunk], epoch: int = 0) -> int:
        self._ask("put")
        self.puts.append((epoch, [chunk.number for chunk in chunks]))
        return await super().put(chunks, epoch)

    async def results(self, n: int, wait: float) -> list[DeliveredResult]:
        self._ask("results")
        return await super().results(n, wait)

    async def stats(self) -> QueueStats:
        self._ask("stats")
        return await super().stats()


async def work_off(queue: Queue, count: int = 1000, rows: int = ROWS) -> int:
    """What a worker does with at most so many chunks: their first `rows` are accepted."""
    leases = await queue.lease(count, 0.0)
    for lease in leases:
        chunk = Chunk.decode(lease.data)
        sent = [accepted(push) for push in numbered(chunk, INFO)[:rows]]
        result = ChunkResult.of(chunk.number, lease.nonce, "w", sent, id_prefix(INFO.name))
        await queue.done(lease, result.encode())
    return len(leases)
