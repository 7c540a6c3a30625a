"""The queue in memory: the model for the adapters, and a way to try a worker without a server.

Its content is lost with the process. Every method is as simple as possible; the adapters must behave in the same way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..chunk import Chunk
from ..protocol import IDLE, NOTHING, DeliveredResult, Lease, QueueStats, StoredValue, campaign_name


@dataclass(slots=True)
class _Entry:
    number: int
    data: bytes
    since: float
    owner: int = 0
    """The number of its lease; 0 while it waits."""
    free_at: float = 0.0
    attempts: int = 0


@dataclass(slots=True)
class Memory:
    """The content of a queue: several `MemoryQueue`s can share it, like workers share a server."""

    clock: Callable[[], float] = time.monotonic
    entries: dict[tuple[int, int], _Entry] = field(default_factory=dict)
    """By epoch and number."""
    put: set[tuple[int, int]] = field(default_factory=set)
    """All chunks that have been put, by epoch and number."""
    results: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    notes: dict[str, StoredValue] = field(default_factory=dict)
    count: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def next(self) -> int:
        """A new number."""
        self.count += 1
        return self.count

    def change(self) -> None:
        """Wake all waiting methods."""
        self.changed.set()
        self.changed = asyncio.Event()


class MemoryQueue:
    """A `Broker` in memory. `memory`: shared with other brokers; a new one by default."""

    def __init__(self, campaign: str, memory: Memory | None = None, *, idle: float = IDLE) -> None:
        self.campaign = campaign_name(campaign)
        self.idle = idle
        self.memory = memory or Memory()

    async def put(self, chunks: Sequence[Chunk], epoch: int = 0) -> int:
        """See `WorkQueue.put`."""
        memory = self.memory
        added = 0
        for chunk in chunks:
            key = (epoch, chunk.number)
            if key not in memory.put:
                memory.put.add(key)
                memory.entries[key] = _Entry(chunk.number, chunk.encode(), memory.clock())
                added += 1
        memory.change()
        return added

    async def epoch(self) -> int:
        """See `WorkQueue.epoch`."""
        return max((epoch for epoch, _ in self.memory.put), default=0)

    async def lease(self, n: int, wait: float) -> list[Lease]:
        """See `WorkQueue.lease`."""
        memory = self.memory
        deadline = memory.clock() + wait
        while True:
            now = memory.clock()
            free = [key for key, entry in sorted(memory.entries.items()) if entry.free_at <= now][:n]
            if free or now >= deadline:
                return [self._take(key, now) for key in free]
            await self._wait(min([deadline, *(entry.free_at for entry in memory.entries.values())]) - now)

    def _take(self, key: tuple[int, int], now: float) -> Lease:
        entry = self.memory.entries[key]
        entry.owner = self.memory.next()
        entry.free_at = now + self.idle
        entry.attempts += 1
        return Lease(entry.data, entry.attempts, (key, entry.owner))

    async def _wait(self, seconds: float) -> None:
        """Wait for a change, at most `seconds`."""
        timer = asyncio.get_running_loop().call_later(max(seconds, 0.0), self.memory.change)
        try:
            await self.memory.changed.wait()
        finally:
            timer.cancel()

    def _own(self, lease: Lease) -> _Entry | None:
        key, owner = lease.handle
        entry = self.memory.entries.get(key)
        return entry if entry is not None and entry.owner == owner else None

    async def extend(self, leases: Sequence[Lease]) -> list[Lease]:
        """See `WorkQueue.extend`."""
        lost = []
        for lease in leases:
            entry = self._own(lease)
            if entry is None:
                lost.append(lease)
            else:
                entry.free_at = self.memory.clock() + self.idle
        return lost

    async def done(self, lease: Lease, result: bytes) -> None:
        """See `WorkQueue.done`."""
        self.memory.results[self.memory.next()] = (lease.nonce, result)
        self.memory.entries.pop(lease.handle[0], None)
        self.memory.change()

    async def release(self, lease: Lease, delay: float = 0.0) -> None:
        """See `WorkQueue.release`."""
        entry = self._own(lease)
        if entry is not None:
            entry.owner = 0
            entry.free_at = self.memory.clock() + min(delay, self.idle)
            self.memory.change()

    async def stats(self) -> QueueStats:
        """See `WorkQueue.stats`."""
        entries = self.memory.entries.values()
        leased = sum(entry.owner != 0 for entry in entries)
        oldest = self.memory.clock() - min(entry.since for entry in entries) if entries else 0.0
        return QueueStats(len(entries) - leased, leased, len(self.memory.results), oldest)

    async def report(self, result: bytes, nonce: str) -> None:
        """See `Outbox.report`."""
        self.memory.results[self.memory.next()] = (nonce, result)
        self.memory.change()

    async def results(self, n: int, wait: float) -> list[DeliveredResult]:
        """See `Outbox.results`."""
        deadline = self.memory.clock() + wait
        while not self.memory.results and self.memory.clock() < deadline:
            await self._wait(deadline - self.memory.clock())
        return [DeliveredResult(data, key) for key, (_, data) in list(self.memory.results.items())[:n]]

    async def collected(self, results: Sequence[DeliveredResult]) -> None:
        """See `Outbox.collected`."""
        for result in results:
            self.memory.results.pop(result.handle, None)

    async def present(self) -> set[int]:
        """See `Outbox.present`."""
        return {entry.number for entry in self.memory.entries.values()}

    async def read(self, name: str) -> StoredValue:
        """See `Store.read`."""
        return self.memory.notes.get(name, NOTHING)

    async def write(self, name: str, value: bytes, revision: int) -> bool:
        """See `Store.write`."""
        if self.memory.notes.get(name, NOTHING).revision != revision:
            return False
        self.memory.notes[name] = StoredValue(value, self.memory.next())
        return True

    async def close(self) -> None:
        """See `Broker.close`."""

    async def destroy(self) -> None:
        """See `Broker.destroy`."""
        self.memory.entries.clear()
        self.memory.put.clear()
        self.memory.results.clear()
        self.memory.notes.clear()
