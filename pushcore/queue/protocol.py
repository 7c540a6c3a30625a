"""The interface of a queue in three small protocols, and their data.

    coordinator ──put──▶ WorkQueue ──lease──▶ worker: send, extend … ──done──▶ Outbox ──results──▶ ledger

An adapter implements all three for one campaign (`Broker`) and passes the checks of `conformance.py`. A queue may lose data:
the ledger, which is not on the queue, has all chunks and results, and the cost is that pushes are sent twice. But a queue
must not remove a chunk before it has stored the chunk's result.

Every method may raise `QueueUnavailable`, `QueueFull`, `QueueReadOnly` or `QueueRefused`, and may be called again after
that. All times are in seconds.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from ..arguments import shown
from ..errors import ConfigurationError
from .chunk import Chunk

IDLE: Final = 30.0
"""Seconds without `extend` after which a lease expires and another worker gets the chunk. Workers extend three times in it."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def campaign_name(name: str) -> str:
    """The name, if it is valid on every queue. Raises `ConfigurationError`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"a campaign's name has 1 to 64 letters, digits, hyphens and underscores, not {shown(name)}"
        )
    return name


@dataclass(slots=True, eq=False)
class Lease:
    """A chunk that a worker has leased, until it is done, released, or the lease expires.

    Attributes:
        data: the bytes of the chunk, which may be damaged.
        attempt: 1 for the first lease of the chunk.
        handle: for the adapter.
        nonce: differs between the results of two leases of one chunk; all copies of one result have the same.
    """

    data: bytes
    attempt: int
    handle: Any
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class QueueStats:
    """The fill level of a queue.

    Attributes:
        depth: waiting chunks.
        leased: leased chunks.
        results: results that are not collected.
        oldest: seconds since the oldest chunk on the queue was put, 0 if there is none.
    """

    depth: int
    leased: int
    results: int
    oldest: float


class DeliveredResult(NamedTuple):
    """A result from the queue.

    Attributes:
        data: the bytes that `done` or `report` got.
        handle: for the adapter.
    """

    data: bytes
    handle: Any


class StoredValue(NamedTuple):
    """A value of the store.

    Attributes:
        value: empty if there is none.
        revision: 0 if there is no value; it differs after each change.
    """

    value: bytes
    revision: int


NOTHING: Final = StoredValue(b"", 0)


class WorkQueue(Protocol):
    """The queue of chunks between coordinator and workers."""

    @property
    def idle(self) -> float:
        """Seconds without `extend` after which a lease expires."""

    async def put(self, chunks: Sequence[Chunk], epoch: int = 0) -> int:
        """Add chunks, in the order of their numbers. A chunk that has been put in this epoch is not added again.

        Calls with the same epoch may overlap, and an interrupted call can be repeated.

        Args:
            chunks: of the campaign.
            epoch: 0 at first; `reconcile` uses a higher one each time.

        Returns:
            The number of added chunks.

        Raises:
            ChunkError: a chunk is larger than the queue accepts.
        """

    async def epoch(self) -> int:
        """The highest epoch of the chunks on the queue; the next one must be higher."""

    async def lease(self, n: int, wait: float) -> list[Lease]:
        """Lease at most `n` chunks that are not leased, or with a lease that has expired.

        Args:
            n: how many, at most.
            wait: seconds to wait for the first one; it does not wait for more.

        Returns:
            The leases; an empty list if there is no such chunk.
        """

    async def extend(self, leases: Sequence[Lease]) -> list[Lease]:
        """Restart the time of leases.

        Returns:
            The leases that another worker has by now, as far as the queue reports it.
        """

    async def done(self, lease: Lease, result: bytes) -> None:
        """Store the result and remove the chunk. If anything is killed in between, at least one of the two is stored.

        It is also called after the lease was lost. Then there are two results, and the ledger uses the first.

        Args:
            lease: of the chunk.
            result: bytes, for `results`.
        """

    async def release(self, lease: Lease, delay: float = 0.0) -> None:
        """Release the chunk.

        Args:
            lease: of the chunk.
            delay: seconds until it can be leased again, at most `idle`.
        """

    async def stats(self) -> QueueStats:
        """The fill level; all figures are from about the same moment."""


class Outbox(Protocol):
    """The queue of results between workers and the ledger."""

    async def report(self, result: bytes, nonce: str) -> None:
        """Store a result of a chunk that is not done yet.

        Args:
            result: bytes, for `results`.
            nonce: two results with the same one may be stored as one.
        """

    async def results(self, n: int, wait: float) -> list[DeliveredResult]:
        """Results that were not collected, the oldest first.

        Only one reader at a time. Results that are not `collected` are returned again, at the latest after `idle` seconds or
        by a new connection.

        Args:
            n: how many, at most.
            wait: seconds to wait for the first one.

        Returns:
            The results.
        """

    async def collected(self, results: Sequence[DeliveredResult]) -> None:
        """Remove results that the ledger has recorded."""

    async def present(self) -> set[int]:
        """The numbers of all chunks on the queue, waiting or leased: at least those that are there during the whole call."""


class Store(Protocol):
    """A few small values shared by all workers and the coordinator: the campaign's state, the rate, the breaker's verdict."""

    async def read(self, name: str) -> StoredValue:
        """The value with this name; an empty one of revision 0 if there is none."""

    async def write(self, name: str, value: bytes, revision: int) -> bool:
        """Set a value if its revision is still `revision`.

        Args:
            name: of the value.
            value: the new one.
            revision: of the value that was read; 0 if there was none.

        Returns:
            False if another writer was first.
        """


class Broker(WorkQueue, Outbox, Store, Protocol):
    """An adapter: the queue of one campaign. Every method may raise `QueueUnavailable`, `QueueFull`, `QueueReadOnly` or `QueueRefused`,
    and may be called again after that."""

    @property
    def campaign(self) -> str:
        """The campaign's name."""

    async def close(self) -> None:
        """Close the connection. Leases that were not released expire after `idle` seconds."""

    async def destroy(self) -> None:
        """Remove everything of this campaign from the queue."""


async def overwrite(store: Store, name: str, value: bytes) -> None:
    """Set a value of the store, whatever its revision is; other processes may write it at the same time."""
    while True:
        note = await store.read(name)
        if (note.revision and note.value == value) or await store.write(name, value, note.revision):
            return
