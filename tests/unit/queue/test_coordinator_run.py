"""How long a coordinator runs: until every row has an outcome, or the campaign is stopped and no chunk is leased."""

from __future__ import annotations

import asyncio

import pytest

from pushcore.queue.campaign import TRIP, CampaignState, read_state
from pushcore.queue.chunk import Chunk
from pushcore.queue.coordinator import Coordinator
from pushcore.queue.ledger import Ledger
from pushcore.queue.protocol import QueueStats, overwrite
from tests.unit.queue.stage import ROWS, VERDICT, Broker, chunks, in_virtual_time, now, work_off


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
        assert await read_state(queue) is ledger.state is CampaignState.FINISHED

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


def test_results_that_came_meanwhile_are_collected_before_it_ends(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker delivers its last chunk just after the coordinator has found nothing."""

    class Late(Broker):
        late = False

        async def stats(self) -> QueueStats:
            if not self.late:
                self.late = True
                await work_off(self)
            return await super().stats()

    async def work() -> None:
        queue = Late()
        coordinator = Coordinator(queue, ledger)
        await coordinator.publish(chunks(1))
        await coordinator.cancel()
        status = await coordinator.run()
        assert (status.done, queue.late) == (ROWS, True)

    in_virtual_time(monkeypatch, work())
