"""A chunk in the hands of a worker, and what the worker has to tell in the end."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from ..engine.breaker import Trip
from ..results import Result
from .chunk import Chunk
from .protocol import Lease


class Held:
    """A chunk that is leased and not delivered. `wanted`: how many of its rows are to be sent."""

    __slots__ = ("chunk", "delivered", "lease", "lock", "results", "since", "wanted")

    def __init__(self, lease: Lease, chunk: Chunk, wanted: int) -> None:
        self.lease = lease
        self.chunk = chunk
        self.wanted = wanted
        self.results: list[Result] = []
        self.delivered = 0
        """How many of the results the queue has already."""
        self.since = time.monotonic()
        self.lock = asyncio.Lock()


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker has done. `lost`: leases that became another's while it had them; `aside`: chunks that could not be
    sent; `released`: chunks that it gave back in part or in whole. `trip`: the breaker's verdict, if that ended it."""

    chunks: int
    rows: int
    lost: int
    aside: int
    released: int
    trip: Trip | None
