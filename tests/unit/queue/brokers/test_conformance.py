"""The checks of the queues find what they are there for: each broken queue fails the check of its fault, with its sentence."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pushcore.queue.brokers import conformance
from pushcore.queue.brokers.conformance import CHECKS, Check
from pushcore.queue.brokers.memory import Memory, MemoryQueue
from pushcore.queue.chunk import Chunk
from pushcore.queue.protocol import NOTHING, Broker, DeliveredResult, Lease, QueueStats, StoredValue
from tests.support import virtual

from .clock import LoopClock


def fails(check: Check, kind: type[MemoryQueue], monkeypatch: pytest.MonkeyPatch) -> str:
    """What the check says of such a queue."""
    monkeypatch.setattr(conformance, "time", LoopClock)
    memories: dict[str, Memory] = {}

    async def open_one(campaign: str, idle: float) -> Broker:
        return kind(campaign, memories.setdefault(campaign, Memory(clock=LoopClock.monotonic)), idle=idle)

    with pytest.raises(AssertionError) as caught:
        virtual.run(check(open_one))
    return str(caught.value)


class PutsTwice(MemoryQueue):
    async def put(self, chunks: Sequence[Chunk], epoch: int = 0) -> int:
        self.memory.put.clear()
        return await super().put(chunks, epoch)


class LeasesTooMany(MemoryQueue):
    async def lease(self, n: int, wait: float) -> list[Lease]:
        return await super().lease(n + 1, wait)


class LeasesOfAnother(MemoryQueue):
    async def lease(self, n: int, wait: float) -> list[Lease]:
        for entry in self.memory.entries.values():
            entry.free_at = 0.0
        return await super().lease(n, wait)


class ChangesChunks(MemoryQueue):
    async def lease(self, n: int, wait: float) -> list[Lease]:
        leases = await super().lease(n, wait)
        for lease in leases:
            chunk = Chunk.decode(lease.data)
            payload = chunk.payload[:-1]
            lease.data = Chunk(chunk.number, chunk.first, chunk.rows, payload=payload).encode()
        return leases


class ChangesResults(MemoryQueue):
    async def results(self, n: int, wait: float) -> list[DeliveredResult]:
        return [DeliveredResult(result.data[:-1], result.handle) for result in await super().results(n, wait)]


class NeverWaits(MemoryQueue):
    async def lease(self, n: int, wait: float) -> list[Lease]:
        return await super().lease(n, 0.0)


class KeepsWhatIsLeased(MemoryQueue):
    """A lease never runs out."""

    async def lease(self, n: int, wait: float) -> list[Lease]:
        leases = await super().lease(n, wait)
        for entry in self.memory.entries.values():
            if entry.owner:
                entry.free_at = float("inf")
        return leases


class ForgetsAttempts(MemoryQueue):
    async def lease(self, n: int, wait: float) -> list[Lease]:
        leases = await super().lease(n, wait)
        for lease in leases:
            lease.attempt = 1
        return leases


class IgnoresExtend(MemoryQueue):
    async def extend(self, leases: Sequence[Lease]) -> list[Lease]:
        return []


class InventsLostLeases(MemoryQueue):
    async def extend(self, leases: Sequence[Lease]) -> list[Lease]:
        return [*await super().extend(leases), Lease(b"", 1, None)]


class LosesResults(MemoryQueue):
    async def done(self, lease: Lease, result: bytes) -> None:
        await super().done(lease, result)
        self.memory.results.clear()


class KeepsChunks(MemoryQueue):
    async def done(self, lease: Lease, result: bytes) -> None:
        await self.report(result, lease.nonce)


class CollectsNothing(MemoryQueue):
    async def collected(self, results: Sequence[DeliveredResult]) -> None:
        pass


class ReleasesAtOnce(MemoryQueue):
    async def release(self, lease: Lease, delay: float = 0.0) -> None:
        await super().release(lease)


class ReleasesNothing(MemoryQueue):
    async def release(self, lease: Lease, delay: float = 0.0) -> None:
        pass


class LosesWhatIsCancelled(MemoryQueue):
    """Only what is put while nobody waits is kept."""

    async def put(self, chunks: Sequence[Chunk], epoch: int = 0) -> int:
        return len(chunks) if chunks[0].number == 4 else await super().put(chunks, epoch)


class CountsWrongly(MemoryQueue):
    async def stats(self) -> QueueStats:
        stats = await super().stats()
        return QueueStats(stats.depth, 0, stats.results, stats.oldest)


class KnowsNoAge(MemoryQueue):
    async def stats(self) -> QueueStats:
        stats = await super().stats()
        return QueueStats(stats.depth, stats.leased, stats.results, 1e6 if stats.depth else 0.0)


class TellsOnePage(MemoryQueue):
    async def present(self) -> set[int]:
        return {number for number in await super().present() if number < 100}


class OverwritesAnything(MemoryQueue):
    async def write(self, name: str, value: bytes, revision: int) -> bool:
        self.memory.notes.setdefault(name, StoredValue(b"0", 0))
        self.memory.notes[name] = StoredValue(value, self.memory.next())
        return True


class RefusesValues(MemoryQueue):
    async def write(self, name: str, value: bytes, revision: int) -> bool:
        return False


class ForgetsValues(MemoryQueue):
    async def read(self, name: str) -> StoredValue:
        return NOTHING if name == "binary" else await super().read(name)


class DestroysNothing(MemoryQueue):
    async def destroy(self) -> None:
        pass


@pytest.mark.parametrize(
    ("check", "kind", "sentence"),
    [
        (conformance.put_twice_is_put_once, PutsTwice, "chunks that were added when 5 of 8 were there: 8"),
        (
            conformance.what_is_done_comes_back_in_a_higher_epoch_only,
            PutsTwice,
            "chunks that were added again in the same epoch: 2 instead of 0",
        ),
        (
            conformance.nobody_gets_more_than_was_asked_for_or_what_another_has,
            LeasesTooMany,
            "lease(3) gave 4 of 7 chunks",
        ),
        (
            conformance.nobody_gets_more_than_was_asked_for_or_what_another_has,
            LeasesOfAnother,
            "the chunks that are leased beyond 4",
        ),
        (conformance.bytes_come_through_unchanged, ChangesChunks, "a chunk's bytes were changed"),
        (conformance.bytes_come_through_unchanged, ChangesResults, "a result's bytes were changed"),
        (conformance.a_lease_waits_for_a_chunk, NeverWaits, "what is leased when it comes: [] instead"),
        (
            conformance.a_lease_without_a_sign_of_life_is_given_to_another,
            KeepsWhatIsLeased,
            "the chunks that are given to another: [] instead of [0, 1]",
        ),
        (
            conformance.a_lease_without_a_sign_of_life_is_given_to_another,
            ForgetsAttempts,
            "a repeated lease says that it is the first",
        ),
        (
            conformance.a_lease_with_signs_of_life_is_kept,
            IgnoresExtend,
            "a chunk was given to another in spite of extend",
        ),
        (
            conformance.a_lost_lease_does_no_harm,
            InventsLostLeases,
            "extend tells of leases that it was not asked about",
        ),
        (conformance.a_lost_lease_does_no_harm, LosesResults, "the results: [] instead of [b'new', b'old']"),
        (conformance.done_may_be_repeated, LosesResults, "the result is not there"),
        (conformance.done_may_be_repeated, KeepsChunks, "the chunks that are there"),
        (
            conformance.a_chunk_is_gone_when_it_is_done_and_its_result_is_there,
            CollectsNothing,
            "the results after they were collected",
        ),
        (conformance.what_is_released_is_for_the_next, ReleasesAtOnce, "before its delay was over"),
        (
            conformance.a_cancelled_lease_loses_nothing,
            LosesWhatIsCancelled,
            "the chunks that are leased in the end: [0, 1, 2, 3, 5",
        ),
        (conformance.the_figures_are_right, CountsWrongly, "depth and leased of 6 of which 2 are leased"),
        (conformance.the_figures_are_right, KnowsNoAge, "the oldest of new chunks is 1e+06 seconds old"),
        (conformance.many_chunks_are_all_told, TellsOnePage, "the chunks that are there"),
        (conformance.the_store_sees_every_change, OverwritesAnything, "a first value was set a second time"),
        (conformance.the_store_sees_every_change, RefusesValues, "a first value was refused"),
        (conformance.the_store_sees_every_change, ForgetsValues, "every byte: b'' instead of"),
        (conformance.campaigns_do_not_touch_each_other, DestroysNothing, "after all was removed"),
    ],
)
def test_a_queue_with_a_fault_fails(
    check: Check, kind: type[MemoryQueue], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sentence in fails(check, kind, monkeypatch)


def test_a_chunk_that_is_never_released_is_waited_for_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check stops waiting for it, although nothing but a timeout tells."""
    monkeypatch.setattr(conformance, "time", LoopClock)
    memory = Memory(clock=LoopClock.monotonic)

    async def open_one(campaign: str, idle: float) -> Broker:
        return ReleasesNothing(campaign, memory, idle=idle)

    with pytest.raises(ValueError, match="not enough values"):
        virtual.run(conformance.what_is_released_is_for_the_next(open_one))


def test_every_check_has_a_name_and_says_what_it_is_about() -> None:
    assert len({check.__name__ for check in CHECKS}) == len(CHECKS)
    assert all(check.__doc__ for check in CHECKS)
