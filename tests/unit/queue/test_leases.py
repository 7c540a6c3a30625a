"""What a worker holds, and what becomes of its leases."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pushcore.queue.brokers.memory import MemoryQueue
from pushcore.queue.chunk import Chunk, inline_chunks
from pushcore.queue.leases import HeldChunk, Leases
from pushcore.queue.protocol import Lease


def chunk() -> Chunk:
    """The only one of a campaign."""
    return next(iter(inline_chunks([{"token": "ab" * 32}], chunk_rows=1)))


def lease(nonce: str) -> Lease:
    """One of that chunk."""
    return Lease(chunk().encode(), 1, "handle", nonce)


class Reporting(MemoryQueue):
    """A queue that says which leases are another worker's."""

    def __init__(self, lost: list[Lease]) -> None:
        self.asked: list[list[str]] = []
        self._lost = lost

    async def extend(self, leases: Sequence[Lease]) -> list[Lease]:
        self.asked.append([each.nonce for each in leases])
        return self._lost


def test_a_chunk_that_is_held_takes_over_the_new_lease() -> None:
    leases = Leases(Reporting([]))
    leases.held[0] = HeldChunk(lease("old"), chunk(), 1)
    assert leases.renewed(0, lease("new"))
    assert leases.held[0].lease.nonce == "new"


def test_a_chunk_that_is_not_held_is_not_renewed() -> None:
    leases = Leases(Reporting([]))
    assert not leases.renewed(0, lease("new"))
    assert leases.held == {}


async def test_all_leases_are_extended_and_a_lost_one_counts_once() -> None:
    queue = Reporting([lease("a")])
    leases = Leases(queue)
    leases.held = {0: HeldChunk(lease("a"), chunk(), 1), 1: HeldChunk(lease("b"), chunk(), 1)}
    await leases.extend()
    await leases.extend()
    assert queue.asked == [["a", "b"]] * 2
    assert leases.lost == {"a"}


def test_a_chunk_knows_since_when_it_is_held() -> None:
    before = time.monotonic()
    assert before <= HeldChunk(lease("a"), chunk(), 1).since <= time.monotonic()
