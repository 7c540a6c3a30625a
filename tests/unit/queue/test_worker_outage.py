"""A worker whose queue is away, full or closed to it: what it goes on with, and when it gives up."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from pushcore.queue.errors import QueueError, QueueFull, QueueReadOnly, QueueRefused, QueueUnavailable
from pushcore.queue.worker import GIVE_UP
from tests.unit.queue.stage import ROWS, Queue, ScriptedEngine, Stage, accepted, in_virtual_time, now


@pytest.mark.parametrize("kind", [QueueUnavailable, QueueFull, QueueReadOnly])
def test_outcomes_wait_for_a_queue_that_is_away_and_are_delivered_once(
    kind: type[QueueError], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        queue = Queue(idle=1000.0)
        await queue.put_all(3)
        queue.failing, queue.error = {"done"}, kind("not now")
        stage = Stage(queue)
        await asyncio.sleep(60.0)
        assert len(stage.engine.sent) == 3 * ROWS  # what it had leased is sent all the same
        queue.failing = set()
        await asyncio.sleep(2.1)
        report = await stage.finish()
        assert queue.outcomes() == dict.fromkeys(range(1, 3 * ROWS + 1), 1)
        assert (report.chunks, report.lost) == (3, 0)

    in_virtual_time(monkeypatch, work())


def test_it_asks_again_after_a_pause_that_grows_to_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Queue(idle=1000.0)
        await queue.put_all(1)
        queue.failing, queue.error = {"done"}, QueueUnavailable("not now")
        stage = Stage(queue)
        await asyncio.sleep(20.0)
        times = queue.times("done")
        pauses = [round(later - earlier, 3) for earlier, later in pairwise(times)]
        assert pauses[:7] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
        assert set(pauses[7:]) == {2.0}
        queue.failing = set()
        await asyncio.sleep(3.0)
        await stage.finish()

    in_virtual_time(monkeypatch, work())


def test_leasing_goes_on_when_the_queue_is_there_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Queue()
        await queue.put_all(2)
        queue.failing, queue.error = {"lease"}, QueueUnavailable("not now")
        stage = Stage(queue)
        await asyncio.sleep(30.0)
        assert 10 < len(queue.times("lease")) < 30
        assert stage.engine.sent == []
        queue.failing = set()
        await asyncio.sleep(3.0)
        await stage.finish()
        assert len(stage.engine.sent) == 2 * ROWS

    in_virtual_time(monkeypatch, work())


def test_a_beat_that_is_missed_is_made_up_before_the_lease_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Queue(idle=6.0)
        await queue.put_all(1)
        stage = Stage(queue, ScriptedEngine(lambda push: None), linger=0.5)
        await asyncio.sleep(1.0)
        queue.failing, queue.error = {"extend"}, QueueUnavailable("not now")
        await asyncio.sleep(4.0)
        queue.failing = set()
        await asyncio.sleep(10.0)
        assert await Queue(queue.memory).lease(1, 0.0) == []
        stage.engine.release(*range(1, ROWS + 1))
        report = await stage.finish()
        assert (report.lost, report.rows) == (0, ROWS)

    in_virtual_time(monkeypatch, work())


def test_a_drained_worker_gives_up_when_the_queue_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Queue(idle=1000.0)
        await queue.put_all(1)
        queue.failing, queue.error = {"done"}, QueueUnavailable("gone")
        stage = Stage(queue)
        await asyncio.sleep(1.0)
        start = now()
        stage.worker.drain(5.0)
        with pytest.raises(QueueUnavailable, match="was not reachable again in time: gone"):
            await stage.task
        assert GIVE_UP + 5.0 <= now() - start <= GIVE_UP + 5.0 + 3.0

    in_virtual_time(monkeypatch, work())


@pytest.mark.parametrize("method", ["done", "lease", "extend", "report"])
def test_a_queue_that_refuses_us_ends_the_worker_with_its_error(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        queue = Queue(idle=3.0)
        await queue.put_all(40)
        queue.failing, queue.error = {method}, QueueRefused("wrong password")
        slow = method in ("extend", "report")
        engine = ScriptedEngine(lambda push: None if slow and push.row == 1 else accepted(push))
        stage = Stage(queue, engine, linger=1.0, window=10)
        await asyncio.sleep(3.0)
        if slow:
            engine.release(1)
        with pytest.raises(QueueRefused, match="wrong password"):
            await stage.task

    in_virtual_time(monkeypatch, work())


def test_a_cancelled_worker_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Queue()
        await queue.put_all(5)
        stage = Stage(queue, ScriptedEngine(lambda push: None))
        await asyncio.sleep(1.0)
        stage.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stage.task

    in_virtual_time(monkeypatch, work())
