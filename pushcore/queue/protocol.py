"""The interface of a queue, in three small protocols, and the data that passes through them.

    coordinator ──put──▶ WorkQueue ──lease──▶ worker: send, extend … ──done──▶ Outbox ──results──▶ ledger

An adapter implements all three for one campaign (`Broker`) and proves it with `conformance.py`. The queue may forget
anything, at the cost of repeats: what exists and what has a result is known to the ledger alone, which is not on it.
What it may not do is to let a chunk go whose result it has not kept.

Every method raises `QueueUnavailable`, `QueueFull`, `QueueReadOnly` or `QueueRefused` for what stands in its way, and
may be called again after each. All times are seconds.
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
"""Seconds without a sign of life after which a chunk is given to another worker; `extend` is called three times in it."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def campaign_name(name: str) -> str:
    """The name, if it can be one on every queue. Raises `ConfigurationError`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"a campaign's name has 1 to 64 letters, digits, hyphens and underscores, not {shown(name)}"
        )
    return name


@dataclass(slots=True, eq=False)
class Lease:
    """A chunk that is this worker's until it is done, released, or not extended in time.

    `data`: the chunk's bytes, as they are on the queue, readable or not. `attempt`: 1 the first time. `handle`: the
    adapter's own. `nonce`: tells the results of two leases of one chunk apart, and two copies of one result do not
    differ in it.
    """

    data: bytes
    attempt: int
    handle: Any
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class QueueStats:
    """`depth`: chunks that wait. `leased`: chunks at workers. `results`: results that are not collected. `oldest`:
    seconds since the oldest chunk that is there was put, 0 when there is none."""

    depth: int
    leased: int
    results: int
    oldest: float


class DeliveredResult(NamedTuple):
    """A result out of the queue. `handle`: the adapter's own."""

    data: bytes
    handle: Any


class StoredValue(NamedTuple):
    """A value of the store. `revision`: 0 when there is none, and another after each change."""

    value: bytes
    revision: int


NOTHING: Final = StoredValue(b"", 0)


class WorkQueue(Protocol):
    """The queue of chunks between coordinator and workers."""

    @property
    def idle(self) -> float:
        """Seconds without `extend` after which a lease may be another's."""

    async def put(self, chunks: Sequence[Chunk], epoch: int = 0) -> int:
        """Add chunks, in the order of their numbers; what has been put in this epoch is not added again.

        Returns how many were added. `epoch`: 0 at first; `reconcile` takes a higher one each time. Several calls of
        an epoch may overlap, and an interrupted one is simply made again. Raises `ChunkError` for one that is larger
        than the queue takes.
        """

    async def epoch(self) -> int:
        """The highest epoch that a chunk was put in, as far as the queue knows; the next one must be higher."""

    async def lease(self, n: int, wait: float) -> list[Lease]:
        """At most `n` chunks: those that no worker has leased, or whose worker did not extend the lease for `idle` seconds.

        Waits up to `wait` for the first one, and for no more than that. An empty list when there is none.
        """

    async def extend(self, leases: Sequence[Lease]) -> list[Lease]:
        """A sign of life. Returns those that are another's by now, as far as the queue can tell."""

    async def done(self, lease: Lease, result: bytes) -> None:
        """Keep the result and let the chunk go. At no time is neither of them kept, whatever is killed.

        Also when the lease has been lost: then both have a result, and the ledger takes the first.
        """

    async def release(self, lease: Lease, delay: float = 0.0) -> None:
        """Give the chunk back; it can be leased again after `delay` seconds (at most `idle`)."""

    async def stats(self) -> QueueStats:
        """The fill level; all figures are of about the same moment."""


class Outbox(Protocol):
    """The queue of results between workers and the ledger."""

    async def report(self, result: bytes, nonce: str) -> None:
        """Keep a result of a chunk that is not done yet. The same `nonce` twice may be one result."""

    async def results(self, n: int, wait: float) -> list[DeliveredResult]:
        """At most `n` results that were not collected, the oldest first; waits up to `wait` for the first one.

        One reader at a time. What is not `collected` comes again, if only after `idle` seconds or a new connection.
        """

    async def collected(self, results: Sequence[DeliveredResult]) -> None:
        """The ledger has these: forget them."""

    async def present(self) -> set[int]:
        """Numbers of the chunks that are there, waiting or leased. What is there throughout the call is among them."""


class Store(Protocol):
    """A few small values that all have in common: the campaign's state, the rate, the breaker's verdict."""

    async def read(self, name: str) -> StoredValue:
        """The value of this name; `NOTHING` when there is none."""

    async def write(self, name: str, value: bytes, revision: int) -> bool:
        """Set it if it has still this revision, 0 for "if there is none". False if another writer was first."""


class Broker(WorkQueue, Outbox, Store, Protocol):
    """An adapter: the queue of one campaign."""

    @property
    def campaign(self) -> str:
        """The campaign's name."""

    async def close(self) -> None:
        """Give up the connection. What was leased and not released comes back after `idle` seconds."""

    async def destroy(self) -> None:
        """Remove everything of this campaign from the queue."""


async def overwrite(store: Store, name: str, value: bytes) -> None:
    """Set a value of the store, also while other processes write it."""
    while True:
        note = await store.read(name)
        if (note.revision and note.value == value) or await store.write(name, value, note.revision):
            return
