"""A worker between a queue in memory and an engine that answers as told: leases, outcomes, drains and verdicts."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pushcore import ApnsClient, ApnsKey, PushEngine
from pushcore.engine.breaker import Trip
from pushcore.errors import BreakerOpen, ClosedError
from pushcore.queue.campaign import CampaignState
from pushcore.results import Result, Verdict
from tests.support import virtual
from tests.unit.queue.stage import (
    ROWS,
    Queue,
    ScriptedEngine,
    Stage,
    accepted,
    in_virtual_time,
    now,
)

TRIP = Trip("BadTopic", "BadTopic: correct the topic")


def test_every_row_is_sent_once_and_has_one_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Queue()
        await queue.put_all(7)
        stage = Stage(queue)
        await asyncio.sleep(5.0)
        report = await stage.finish()
        assert sorted(stage.engine.sent) == list(range(1, 7 * ROWS + 1))
        assert queue.outcomes() == dict.fromkeys(range(1, 7 * ROWS + 1), 1)
        assert (report.chunks, report.rows, report.released, report.aside) == (7, 35, 0, 0)
        assert await queue.present() == set()
        assert {each.worker for each in queue.delivered()} == {"w"}

    in_virtual_time(monkeypatch, work())


def test_it_holds_no_more_rows_than_window_and_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Queue()
        await queue.put_all(20)
        stage = Stage(queue, ScriptedEngine(lambda push: None), window=12)
        await asyncio.sleep(2.0)
        assert len(stage.engine.sent) == 15
        stage.engine.release(1, 2, 3, 4)
        await asyncio.sleep(1.0)
        assert len(stage.engine.sent) == 15
        stage.engine.release(5)
        await asyncio.sleep(1.0)
        assert len(stage.engine.sent) == 20
        stage.worker.drain(0.0)
        await stage.task

    in_virtual_time(monkeypatch, work())


def test_a_lease_is_extended_three_times_in_its_life_for_as_long_as_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work() -> None:
        queue = Queue(idle=6.0)
        await queue.put_all(1)
        stage = Stage(queue, ScriptedEngine(lambda push: None), linger=1000.0)
        await asyncio.sleep(20.0)
        assert queue.times("extend") == [2.0 * beat for beat in range(1, 11)]
        other = Queue(queue.memory, idle=6.0)
        assert await other.lease(1, 0.0) == []
        stage.engine.release(*range(1, ROWS + 1))
        report = await stage.finish()
        assert (report.lost, report.chunks) == (0, 1)

    in_virtual_time(monkeypatch, work())


def test_while_its_engine_waits_for_a_start_it_keeps_the_leases_of_a_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[float] = []

    def answer(fields: dict[str, str], body: bytes) -> virtual.Answer:
        sent.append(now())
        return 200, {}, b""

    async def work() -> None:
        queue = Queue(idle=6.0)
        await queue.put_all(10)
        virtual.connect_to(monkeypatch, answer)
        key = ApnsKey(ec.generate_private_key(ec.SECP256R1()), key_id="ABC123DEFG", team_id="TEAM123456")
        client = ApnsClient(key, topic="com.example.app", url="https://apns.test")
        begun = now()
        start = datetime.now(UTC) + timedelta(seconds=60)
        async with PushEngine(client, start_at=start, window=3 * ROWS) as engine:
            stage = Stage(queue, engine)
            await asyncio.sleep(59.0)
            assert not sent
            extended = queue.times("extend")
            assert extended == [2.0 * beat for beat in range(1, len(extended) + 1)]
            assert extended[-1] > 56.0
            assert len(stage.worker._held) == 4  # of a window and one chunk
            await asyncio.sleep(5.0)
            assert len(sent) == 10 * ROWS
            assert min(sent) - begun >= 59.5
            report = await stage.finish()
            assert (report.lost, report.rows) == (0, 10 * ROWS)
        assert set(queue.outcomes().values()) == {1}

    in_virtual_time(monkeypatch, work())


def test_a_lease_that_became_anothers_is_counted_and_its_outcomes_are_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work() -> None:
        queue = Queue(idle=3.0)
        await queue.put_all(1)
        stage = Stage(queue, ScriptedEngine(lambda push: None), linger=1000.0, window=ROWS)
        await asyncio.sleep(0.1)
        entry = next(iter(queue.memory.entries.values()))
        entry.free_at = entry.owner = 0
        other = Queue(queue.memory, idle=1000.0)
        (lease,) = await other.lease(1, 1.0)
        await asyncio.sleep(10.0)  # several beats: it is lost once
        stage.engine.release(*range(1, ROWS + 1))
        report = await stage.finish()
        assert (report.lost, report.rows) == (1, ROWS)
        assert queue.outcomes() == dict.fromkeys(range(1, ROWS + 1), 1)
        assert lease.attempt == 2

    in_virtual_time(monkeypatch, work())


def test_a_chunk_that_comes_back_while_it_is_held_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Queue(idle=3.0)
        await queue.put_all(1)
        stage = Stage(queue, ScriptedEngine(lambda push: None), linger=1000.0)
        await asyncio.sleep(0.1)
        entry = next(iter(queue.memory.entries.values()))
        entry.free_at = entry.owner = 0  # the lease has run out, and this worker is the first to lease it
        await asyncio.sleep(4.0)
        assert entry.attempts == 2
        stage.engine.release(*range(1, ROWS + 1))
        report = await stage.finish()
        assert (report.chunks, report.lost) == (1, 0)
        assert len(stage.engine.sent) == ROWS
        assert await queue.present() == set()

    in_virtual_time(monkeypatch, work())


# --- chunks that take long ----------------------------------------------------------------------------------------


def test_of_a_chunk_that_takes_long_the_outcomes_so_far_are_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work() -> None:
        queue = Queue(idle=30.0)
        await queue.put_all(1)
        stage = Stage(
            queue, ScriptedEngine(lambda push: None if push.row == 3 else accepted(push)), linger=2.0
        )
        await asyncio.sleep(1.9)
        assert queue.outcomes() == {}
        await asyncio.sleep(5.0)
        assert queue.outcomes() == dict.fromkeys([1, 2, 4, 5], 1)
        assert await queue.present() == {0}
        stage.engine.release(3)
        report = await stage.finish()
        assert queue.outcomes() == dict.fromkeys(range(1, ROWS + 1), 1)
        assert (report.chunks, report.rows) == (1, ROWS)

    in_virtual_time(monkeypatch, work())


def test_the_next_worker_of_a_chunk_sends_only_rows_without_an_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work() -> None:
        queue = Queue(idle=30.0)
        await queue.put_all(1)
        dead = Stage(queue, ScriptedEngine(lambda push: None if push.row > 3 else accepted(push)), linger=2.0)
        await asyncio.sleep(5.0)
        dead.task.cancel()
        await asyncio.gather(dead.task, return_exceptions=True)
        heir = Stage(Queue(queue.memory, idle=30.0))
        await asyncio.sleep(40.0)
        await heir.finish()
        assert heir.engine.sent == [4, 5]
        assert queue.outcomes() == dict.fromkeys(range(1, ROWS + 1), 1)

    in_virtual_time(monkeypatch, work())


# --- the end ------------------------------------------------------------------------------------------------------


def test_a_drained_worker_leases_nothing_more_and_finishes_what_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work() -> None:
        queue = Queue()
        await queue.put_all(10)
        stage = Stage(queue, ScriptedEngine(lambda push: None), window=10)
        await asyncio.sleep(1.0)
        sent = list(stage.engine.sent)
        stage.worker.drain(20.0)
        await asyncio.sleep(1.0)
        stage.engine.release(*sent)
        report = await stage.task
        assert stage.engine.sent == sent
        assert (report.chunks, report.released) == (len(sent) // ROWS, 0)
        assert not stage.engine.closed

    in_virtual_time(monkeypatch, work())


def test_rows_without_an_outcome_after_the_grace_period_are_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work() -> None:
        queue = Queue()
        await queue.put_all(2)
        stage = Stage(queue, ScriptedEngine(lambda push: None if push.row in (2, 9) else accepted(push)))
        await asyncio.sleep(1.0)
        stage.worker.drain(5.0)
        stage.worker.drain(60.0)  # the first one holds
        await asyncio.sleep(4.0)
        assert not stage.engine.closed
        report = await stage.task
        assert stage.engine.closed
        assert (report.chunks, report.released) == (0, 2)
        assert sorted(queue.outcomes()) == [1, 3, 4, 5, 6, 7, 8, 10]
        assert (await queue.stats()).leased == 0
        heir = Stage(queue)
        await asyncio.sleep(3.0)
        await heir.finish()
        assert sorted(heir.engine.sent) == [2, 9]

    in_virtual_time(monkeypatch, work())


def test_an_engine_closed_by_the_caller_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Queue()
        await queue.put_all(1)
        stage = Stage(queue, ScriptedEngine(lambda push: None))
        await asyncio.sleep(1.0)
        await stage.engine.close()
        with pytest.raises(ClosedError):
            await stage.task

    in_virtual_time(monkeypatch, work())


def test_the_engines_breaker_stops_the_campaign_and_gives_back_what_was_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work() -> None:
        queue = Queue()
        await queue.put_all(1)
        stage = Stage(queue, ScriptedEngine(lambda push: None if push.row == 5 else accepted(push)))
        stage.engine.late = lambda push: Result(push, Verdict.UNSENT, detail="not sent")
        await asyncio.sleep(1.0)
        stage.fellows.stop(TRIP)  # as a lane does, before it stops
        stage.engine.stop(BreakerOpen(TRIP.sentence, TRIP.reason))
        report = await stage.task
        assert stage.fellows.trip == report.trip == TRIP
        assert sorted(queue.outcomes()) == [1, 2, 3, 4]
        assert report.released == 1

    in_virtual_time(monkeypatch, work())


def test_a_verdict_at_the_very_end_is_told_to_the_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Queue()
        await queue.put_all(1)
        stage = Stage(queue)
        await asyncio.sleep(1.0)
        stage.engine.stop(BreakerOpen(TRIP.sentence, TRIP.reason))
        report = await stage.task
        assert stage.fellows.trip == report.trip == TRIP
        assert (report.chunks, report.released) == (1, 0)

    in_virtual_time(monkeypatch, work())


@pytest.mark.parametrize("how", ["trip", CampaignState.CANCELLED, CampaignState.FINISHED])
def test_a_verdict_of_another_worker_and_the_campaigns_state_end_it(
    how: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        queue = Queue()
        await queue.put_all(50)
        stage = Stage(queue, ScriptedEngine(lambda push: None), window=5)
        await asyncio.sleep(1.0)
        sent = list(stage.engine.sent)
        if how == "trip":
            stage.fellows.trip = TRIP
        else:
            stage.fellows.state = how
        await asyncio.sleep(0.25)  # before what is left is given back
        stage.engine.release(*sent)
        report = await stage.task
        assert report.trip == (TRIP if how == "trip" else None)
        assert stage.engine.sent == sent
        assert report.rows == len(sent)

    in_virtual_time(monkeypatch, work())


def test_cancelled_it_gives_back_what_has_no_result_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Queue()
        await queue.put_all(50)
        stage = Stage(queue, ScriptedEngine(lambda push: None), window=5)
        await asyncio.sleep(1.0)
        stage.fellows.state = CampaignState.CANCELLED
        ordered = now()
        report = await stage.task
        assert now() - ordered < 2.0
        assert (report.rows, report.released) == (0, len(stage.engine.sent) // ROWS)

    in_virtual_time(monkeypatch, work())


def test_paused_it_leases_nothing_until_it_may_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Queue()
        await queue.put_all(2)
        stage = Stage(queue)
        stage.fellows.state = CampaignState.PAUSED
        await asyncio.sleep(10.0)
        assert queue.times("lease") == []
        stage.fellows.state = CampaignState.RUNNING
        await asyncio.sleep(2.0)
        assert len(stage.engine.sent) == 2 * ROWS
        await stage.finish()

    in_virtual_time(monkeypatch, work())


def test_it_waits_for_its_campaign_and_ends_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Queue()
        early, never = Stage(queue), Stage(Queue())
        await asyncio.sleep(5.0)
        await queue.put_all(1)
        await asyncio.sleep(2.0)
        assert (await early.finish()).rows == ROWS
        never.worker.drain(60.0)
        report = await never.task
        assert (report.chunks, report.rows, report.trip) == (0, 0, None)

    in_virtual_time(monkeypatch, work())
