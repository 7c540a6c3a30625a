"""The chunks that a worker has leased.

A lease lasts for the queue's `idle` seconds, and `extend` restarts it. It expires if the worker was stopped or the queue was
unreachable. Then another worker may get the chunk, so that some rows are sent twice. A worker that has lost a lease counts
it, continues with the chunk and delivers its result; the ledger keeps the first outcome of each row. If no other worker has
got the chunk, the queue may lease it to the same worker again, which continues with the new lease.
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
    """A leased chunk that is not delivered yet.

    `wanted`: the number of its rows to send. `unsure`: the number of its expired leases; their workers may have sent any of
    these rows.
    """

    __slots__ = ("chunk", "delivered", "lease", "lock", "results", "since", "unsure", "wanted")

    def __init__(self, lease: Lease, chunk: Chunk, wanted: int, unsure: int = 0) -> None:
        self.lease = lease
        self.chunk = chunk
        self.wanted = wanted
        self.unsure = unsure
        self.results: list[Result] = []
        self.delivered = 0
        """The number of results that the queue has already."""
        self.since = time.monotonic()
        self.lock = asyncio.Lock()


class Leases:
    """The chunks that one worker has leased.

    `held`: by the chunk's number. `lost`: nonces of leases that another worker has now; the queue reports a lost lease at each
    `extend` until the chunk is delivered.
    """

    def __init__(self, queue: Broker) -> None:
        self._queue = queue
        self.held: dict[int, HeldChunk] = {}
        self.lost: set[str] = set()

    def renewed(self, number: int, lease: Lease) -> bool:
        """Whether this worker has the chunk already. Then its lease has expired, and the new one replaces it."""
        held = self.held.get(number)
        if held is None:
            return False
        held.lease = lease
        return True

    async def extend(self) -> None:
        """Extend all leases. Raises `QueueError`."""
        lost = await self._queue.extend([chunk.lease for chunk in self.held.values()])
        self.lost.update(lease.nonce for lease in lost)


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """The report of a worker.

    Attributes:
        chunks: chunks that it finished.
        rows: rows whose outcomes it delivered.
        lost: leases that expired while it had them.
        aside: chunks that could not be sent.
        released: chunks that it released completely or in part.
        trip: the breaker's verdict, if that ended the worker; otherwise None.
    """

    chunks: int
    rows: int
    lost: int
    aside: int
    released: int
    trip: Trip | None
