"""The coordinator between a ledger and the queue in memory, in virtual time: publish, collect, reconcile, and the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pushcore.queue.campaign import TRIP, CampaignInfo, CampaignState, announce, read_info, read_state
from pushcore.queue.chunk import Chunk
from pushcore.queue.coordinator import BATCH, PAGE, Coordinator
from pushcore.queue.errors import CampaignConflict, QueueUnavailable
from pushcore.queue.heartbeats import WorkerHeartbeat, register
from pushcore.queue.ledger import Ledger
from pushcore.queue.protocol import DeliveredResult, overwrite
from tests.unit.queue.stage import INFO, ROWS, VERDICT, Broker, chunks, in_virtual_time, now, work_off


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


def test_a_new_ledger_of_a_campaign_that_the_queue_has_is_a_conflict(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of the lost one may have been sent."""

    async def work() -> None:
        queue = Broker()
        await Coordinator(queue, ledger).publish(chunks(2))
        with Ledger.create(tmp_path / "new", INFO) as new:
            for _ in range(2):
                with pytest.raises(
                    CampaignConflict, match="new is a new ledger: its rows may have been sent"
                ):
                    await Coordinator(queue, new).publish(chunks(2))
            assert new.known == 0

    in_virtual_time(monkeypatch, work())


def test_a_campaign_whose_announcement_was_interrupted_is_published(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        queue = Broker()
        ledger.announced = True
        await announce(queue, INFO)  # and then the process was killed
        assert await Coordinator(queue, ledger).publish(chunks(2)) == 2

    in_virtual_time(monkeypatch, work())


def test_another_campaign_of_the_name_is_a_conflict(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        queue = Broker()
        await Coordinator(queue, ledger).publish(chunks(1))
        with Ledger.create(tmp_path / "other", CampaignInfo("camp", "another", ROWS)) as other:
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


def test_lost_chunks_are_put_back_in_a_higher_epoch_without_finished_rows(
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

        async def then_a_worker_is_done(n: int, wait: float) -> list[DeliveredResult]:
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
        assert await read_state(queue) is CampaignState.PAUSED

    in_virtual_time(monkeypatch, work())


# --- orders and status --------------------------------------------------------------------------------------------


def test_orders_are_in_the_ledger_and_on_the_queue(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        coordinator = Coordinator(Broker(), ledger)
        for order, state in (
            (coordinator.pause, CampaignState.PAUSED),
            (coordinator.cancel, CampaignState.CANCELLED),
            (coordinator.resume, CampaignState.RUNNING),
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
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work() -> None:
        queue = Broker()
        ledger = Ledger.create(tmp_path / "ledger", INFO)
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


# --- workers that obey --------------------------------------------------------------------------------------------


def sign(state: str, *, busy: int = 0, at: float | None = None) -> WorkerHeartbeat:
    return WorkerHeartbeat("w", 0, state, now() if at is None else at, 0, 0, busy)


@pytest.mark.parametrize(
    ("order", "state", "busy", "obeys"),
    [
        ("pause", "paused", 0, True),
        ("pause", "paused", 3, False),
        ("pause", "running", 0, False),
        ("pause", "draining", 3, False),
        ("pause", "draining", 0, True),
        ("cancel", "draining", 3, True),
        ("cancel", "cancelled", 3, True),
        ("cancel", "gone", 0, True),
        ("resume", "running", 3, True),
    ],
)
def test_a_worker_obeys_when_it_does_what_the_state_says(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, order: str, state: str, busy: int, obeys: bool
) -> None:
    async def work() -> None:
        coordinator = Coordinator(Broker(), ledger)
        await register(coordinator.queue, "w")
        await getattr(coordinator, order)()
        last = sign(state, busy=busy)
        await last.write(coordinator.queue)
        began = now()
        expected: tuple[list[WorkerHeartbeat], list[WorkerHeartbeat]] = (
            ([last], []) if obeys else ([], [last])
        )
        assert await coordinator.obeyed(3.0) == expected
        assert (now() - began >= 3.0) is not obeys

    in_virtual_time(monkeypatch, work())


def test_a_worker_that_died_before_the_order_is_not_waited_for(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        coordinator = Coordinator(Broker(), ledger)
        await register(coordinator.queue, "w")
        await sign("running", at=now() - 60.0).write(coordinator.queue)
        await coordinator.pause()
        assert await coordinator.obeyed() == ([], [])

    in_virtual_time(monkeypatch, work())
