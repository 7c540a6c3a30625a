"""The coordinator between a ledger and the queue in memory, in virtual time: publish, collect, reconcile, and the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from pushcore.engine.breaker import Trip
from pushcore.journal.journal import id_prefix
from pushcore.queue.campaign import TRIP, CampaignInfo, State, read_info, read_state
from pushcore.queue.chunk import Chunk
from pushcore.queue.coordinator import BATCH, PAGE, Coordinator
from pushcore.queue.errors import CampaignConflict, QueueUnavailable
from pushcore.queue.ledger import Ledger
from pushcore.queue.outcomes import ChunkResult
from pushcore.queue.protocol import Delivered, QueueStats, overwrite
from tests.unit.queue.stage import INFO, ROWS, Queue, accepted, chunks, in_virtual_time, now, numbered

VERDICT = Trip("BadTopic", "BadTopic: correct the topic")


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

    async def results(self, n: int, wait: float) -> list[Delivered]:
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


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with Ledger.create(":memory:", INFO) as made:
        yield made


def test_publishing_enters_chunks_into_the_ledger_before_they_are_on_the_queue(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        queue = Broker()
        known: list[int] = []
        put = queue.put

        async def looked(chunks: Sequence[Chunk], epoch: int = 0) -> int:
            known.append(ledger.known)
            return await put(chunks, epoch)

        monkeypatch.setattr(queue, "put", looked)
        assert await Coordinator(queue, ledger).publish(chunks(BATCH + 3)) == BATCH + 3
        assert known == [BATCH, BATCH + 3]
        assert [(epoch, len(numbers)) for epoch, numbers in queue.puts] == [(0, BATCH), (0, 3)]
        assert ledger.complete
        assert await read_info(queue) == INFO

    in_virtual_time(monkeypatch, work())


def test_an_interrupted_publish_goes_on_where_it_was(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Broker()
        coordinator = Coordinator(queue, ledger)

        def source() -> Iterator[Chunk]:
            yield from chunks(BATCH)
            queue.away = True
            yield from chunks(1, first=BATCH)

        with pytest.raises(QueueUnavailable):
            await coordinator.publish(source())
        assert (ledger.known, ledger.complete) == (BATCH + 1, False)
        queue.away = False
        assert await coordinator.publish(chunks(BATCH + 4)) == BATCH + 4
        assert await queue.present() == set(range(BATCH + 4))
        assert await coordinator.publish(chunks(BATCH + 4)) == BATCH + 4
        assert (await queue.stats()).depth == BATCH + 4

    in_virtual_time(monkeypatch, work())


def test_another_campaign_of_the_name_is_a_conflict(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Broker()
        await Coordinator(queue, ledger).publish(chunks(1))
        with Ledger.create(":memory:", CampaignInfo("camp", "another", ROWS)) as other:
            with pytest.raises(CampaignConflict):
                await Coordinator(queue, other).publish(chunks(1))
            assert other.known == 0

    in_virtual_time(monkeypatch, work())


def test_results_are_in_the_ledger_before_the_queue_forgets_them(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        queue = Broker()
        coordinator = Coordinator(queue, ledger)
        await coordinator.publish(chunks(PAGE + 2))
        await work_off(queue)
        done: list[int] = []
        collected = queue.collected

        async def looked(results: Any) -> None:
            done.append(ledger.status().done)
            await collected(results)

        monkeypatch.setattr(queue, "collected", looked)
        await queue.report(b"what is this", "x")
        assert await coordinator.collect() == PAGE + 3
        assert done == [PAGE * ROWS, (PAGE + 2) * ROWS]
        status = ledger.status()
        assert (status.strays, status.over) == (1, True)
        assert await coordinator.collect() == 0

    in_virtual_time(monkeypatch, work())


def test_collecting_waits_for_the_first_result_alone(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        coordinator = Coordinator(Broker(), ledger)
        start = now()
        assert await coordinator.collect(3.0) == 0
        assert now() - start == 3.0
        await coordinator.queue.report(b"stray", "x")
        assert await coordinator.collect(3.0) == 1
        assert now() - start == 3.0

    in_virtual_time(monkeypatch, work())


def test_what_the_queue_forgot_is_put_back_in_a_higher_epoch_without_what_is_done(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        queue = Broker()
        coordinator = Coordinator(queue, ledger)
        await coordinator.publish(chunks(6))
        await work_off(queue, 2)
        for key in [key for key in queue.memory.entries if key[1] in (3, 5)]:
            del queue.memory.entries[key]
        assert await coordinator.reconcile() == 2
        assert queue.puts[-1] == (1, [3, 5])
        assert await coordinator.reconcile() == 0
        assert await queue.present() == {2, 3, 4, 5}
        del queue.memory.entries[1, 3]
        assert await coordinator.reconcile() == 1
        assert queue.puts[-1] == (2, [3])

    in_virtual_time(monkeypatch, work())


def test_a_chunk_that_is_done_while_it_is_reconciled_is_not_put_back(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        queue = Broker()
        coordinator = Coordinator(queue, ledger)
        await coordinator.publish(chunks(2))
        results = queue.results

        async def then_a_worker_is_done(n: int, wait: float) -> list[Delivered]:
            found = await results(n, wait)
            await work_off(queue)
            return found

        monkeypatch.setattr(queue, "results", then_a_worker_is_done)
        assert await coordinator.reconcile() == 0

    in_virtual_time(monkeypatch, work())


def test_a_queue_that_lost_everything_gets_campaign_and_state_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        queue = Broker()
        coordinator = Coordinator(queue, ledger)
        await coordinator.publish(chunks(3))
        await coordinator.pause()
        await queue.destroy()
        assert await coordinator.reconcile() == 3
        assert await read_info(queue) == INFO
        assert await read_state(queue) is State.PAUSED

    in_virtual_time(monkeypatch, work())


# --- run ----------------------------------------------------------------------------------------------------------


def test_it_runs_until_every_row_has_an_outcome_and_then_says_so(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        queue = Broker()
        coordinator = Coordinator(queue, ledger)
        await coordinator.publish(chunks(4))
        run = asyncio.create_task(coordinator.run())
        for _ in range(4):
            await asyncio.sleep(5.0)
            assert not run.done()
            await work_off(queue, 1)
        status = await run
        assert (status.done, status.over) == (4 * ROWS, True)
        assert await read_state(queue) is ledger.state is State.FINISHED

    in_virtual_time(monkeypatch, work())


def test_an_empty_queue_is_reconciled_while_rows_are_missing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        queue = Broker()
        coordinator = Coordinator(queue, ledger)
        await coordinator.publish(chunks(1))
        run = asyncio.create_task(coordinator.run())
        await work_off(queue, rows=3)  # the worker forgot two
        await asyncio.sleep(2.0)
        (lease,) = await queue.lease(1, 0.0)
        assert Chunk.decode(lease.data).missing() == [4, 5]
        await queue.release(lease)
        await asyncio.sleep(10.0)
        assert (await queue.stats()).depth == 1  # it is there, so it is not put twice
        await work_off(queue)
        status = await run
        assert (status.done, status.repeats) == (ROWS, 0)

    in_virtual_time(monkeypatch, work())


def test_an_outage_of_the_queue_is_waited_out(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Broker()
        coordinator = Coordinator(queue, ledger)
        await coordinator.publish(chunks(2))
        await work_off(queue)
        queue.away = True
        run = asyncio.create_task(coordinator.run())
        await asyncio.sleep(60.0)
        assert not run.done()
        assert len(queue.times("results")) <= 125  # not more often than every half second
        queue.away = False
        assert (await run).done == 2 * ROWS

    in_virtual_time(monkeypatch, work())


@pytest.mark.parametrize("how", ["cancelled", "tripped"])
def test_a_stopped_campaign_ends_when_no_chunk_is_leased(
    how: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        queue = Broker()
        coordinator = Coordinator(queue, ledger)
        await coordinator.publish(chunks(3))
        (lease,) = await queue.lease(1, 0.0)
        run = asyncio.create_task(coordinator.run())
        if how == "cancelled":
            await coordinator.cancel()
        else:
            await overwrite(queue, TRIP, VERDICT.encode())
        await asyncio.sleep(20.0)
        assert not run.done()
        await queue.release(lease)
        status = await asyncio.wait_for(run, 2.0)
        assert (status.done, status.over) == (0, False)

    in_virtual_time(monkeypatch, work())


def test_a_stopped_campaign_does_not_wait_for_a_worker_that_has_died(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        queue = Broker()
        coordinator = Coordinator(queue, ledger)
        await coordinator.publish(chunks(3))
        await queue.lease(1, 0.0)
        await coordinator.cancel()
        start = now()
        await coordinator.run()
        assert queue.idle < now() - start < queue.idle + 2.0

    in_virtual_time(monkeypatch, work())


# --- orders and status --------------------------------------------------------------------------------------------


def test_orders_are_in_the_ledger_and_on_the_queue(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        coordinator = Coordinator(Broker(), ledger)
        for order, state in (
            (coordinator.pause, State.PAUSED),
            (coordinator.cancel, State.CANCELLED),
            (coordinator.resume, State.RUNNING),
        ):
            await order()
            assert await read_state(coordinator.queue) is ledger.state is state

    in_virtual_time(monkeypatch, work())


def test_resuming_forgets_the_breakers_verdict(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        coordinator = Coordinator(Broker(), ledger)
        await overwrite(coordinator.queue, TRIP, VERDICT.encode())
        assert (await coordinator.status()).trip == VERDICT
        await coordinator.resume()
        assert (await coordinator.status()).trip is None

    in_virtual_time(monkeypatch, work())


def test_status_has_the_rate_of_the_last_minute_and_what_is_left_at_that_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work() -> None:
        queue = Broker()
        ledger = Ledger.create(":memory:", INFO)
        coordinator = Coordinator(queue, ledger)
        await coordinator.publish(chunks(100))
        first = await coordinator.status()
        assert (first.name, first.queue.depth, first.left) == ("camp", 100, None)
        for _ in range(80):  # a chunk every two seconds: 2.5 rows a second
            await asyncio.sleep(2.0)
            await work_off(queue, 1)
            await coordinator.collect()
            status = await coordinator.status()
        assert status.rate == pytest.approx(2.5)
        assert status.left == pytest.approx(20 * ROWS / 2.5)
        later = await Coordinator(queue, ledger).status()
        assert later.rate == pytest.approx(80 * ROWS / 160.0)  # since it began: this one has seen nothing yet
        for _ in range(7):  # nothing more comes
            await asyncio.sleep(10.0)
            quiet = await coordinator.status()
        assert (quiet.rate, quiet.left) == (0.0, None)
        ledger.close()

    in_virtual_time(monkeypatch, work())
