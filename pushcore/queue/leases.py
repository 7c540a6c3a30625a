"""The chunks that a worker has leased, and what becomes of them when a lease runs out.

A lease lasts for the queue's `idle` seconds, and `extend` begins it anew. One that has run out (a worker that was stopped, a
queue that was away) may be given to another worker, so rows of the chunk may be sent twice: the worker counts it as
lost, sends on, and delivers; the ledger keeps the first outcome of each row. Where no other worker came in between, the
queue leases the chunk to the same worker again, which only takes over the new lease.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from ..engine.breaker import Trip
from ..results import Result
from .chunk import Chunk
from .protocol import Broker, Lease


class HeldChunk:
    """A chunk that is leased and not delivered. `wanted`: how many of its rows are to be sent. `unsure`: how many earlier
    leases ran out, whose workers may have sent any of these."""

    __slots__ = ("chunk", "delivered", "lease", "lock", "results", "since", "unsure", "wanted")

    def __init__(self, lease: Lease, chunk: Chunk, wanted: int, unsure: int = 0) -> None:
        self.lease = lease
        self.chunk = chunk
        self.wanted = wanted
        self.unsure = unsure
        self.results: list[Result] = []
        self.delivered = 0
        """How many of the results the queue has already."""
        self.since = time.monotonic()
        self.lock = asyncio.Lock()


class Leases:
    """The chunks that one worker has leased.

    `held`: by the chunk's number. `lost`: nonces of leases that became another worker's; the queue reports one at each
    `extend` for as long as it is held.
    """

    def __init__(self, queue: Broker) -> None:
        self._queue = queue
        self.held: dict[int, HeldChunk] = {}
        self.lost: set[str] = set()

    def renewed(self, number: int, lease: Lease) -> bool:
        """Whether this worker holds the chunk already; then its lease had run out, and this one takes its place."""
        held = self.held.get(number)
        if held is None:
            return False
        held.lease = lease
        return True

    async def extend(self) -> None:
        """Let all leases begin anew. Raises `QueueError`."""
        lost = await self._queue.extend([chunk.lease for chunk in self.held.values()])
        self.lost.update(lease.nonce for lease in lost)


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """The report of a worker. `lost`: leases that expired while it had them; `aside`: chunks that could not be
    sent; `released`: chunks that it gave back in part or in whole. `trip`: the breaker's verdict, if that ended it."""

    chunks: int
    rows: int
    lost: int
    aside: int
    released: int
    trip: Trip | None
