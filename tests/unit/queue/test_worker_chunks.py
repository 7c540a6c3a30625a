"""Chunks that a worker cannot send, not now or not at all: set aside with the reason, or given back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pushcore.queue.campaign import CampaignInfo, announce
from pushcore.queue.chunk import Chunk
from pushcore.queue.errors import CampaignConflict, SourceUnavailable
from pushcore.queue.worker import MAX_ATTEMPTS
from pushcore.results import Result, Verdict
from tests.unit.queue.stage import (
    INFO,
    ROWS,
    Queue,
    ScriptedEngine,
    Stage,
    accepted,
    chunks,
    in_virtual_time,
    numbered,
)


def test_a_worker_that_cannot_send_for_the_campaign_leases_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Queue()
        await announce(queue, CampaignInfo("camp", "f", ROWS, needs={"apns": {"team": "A"}}))
        await queue.put(chunks(1))
        with pytest.raises(CampaignConflict, match="needs team 'A'"):
            await Stage(queue, offers={"apns": {"team": "B"}}).task
        assert queue.times("lease") == []

    in_virtual_time(monkeypatch, work())


def test_chunks_that_can_never_be_sent_are_set_aside_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def pushes(chunk: Chunk, info: CampaignInfo) -> Any:
        if chunk.number == 1:
            raise LookupError("no such template")
        made = numbered(chunk, info)
        return made[1:] if chunk.number == 2 else made

    async def work() -> None:
        queue = Queue()
        await queue.put_all(6)
        entries = {entry.number: entry for entry in queue.memory.entries.values()}
        entries[0].data = b"damaged"
        entries[3].attempts = MAX_ATTEMPTS
        entries[4].data = chunks(1, first=9)[0].encode()[:-1]
        stage = Stage(queue, pushes=pushes)
        await asyncio.sleep(3.0)
        report = await stage.finish()
        bad = {each.number: each.bad for each in queue.delivered() if each.bad is not None}
        assert bad[1] == "LookupError: no such template"
        assert bad[2] == "chunk 2 should have 5 rows to send, and has 4 or different ones"
        assert bad[3] == "chunk 3 was leased 21 times and never finished"
        assert sorted(bad, key=str) == [1, 2, 3, None]
        assert (report.aside, report.chunks) == (5, 1)
        assert await queue.present() == set()

    in_virtual_time(monkeypatch, work())


def test_a_chunk_of_other_rows_than_its_number_says_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        queue = Queue()
        await announce(queue, INFO)
        rows = [{"token": "x"}] * ROWS
        await queue.put([Chunk.inline(3, 1, rows), Chunk.inline(0, 1, [*rows, *rows])])
        stage = Stage(queue)
        await asyncio.sleep(2.0)
        report = await stage.finish()
        assert (report.aside, stage.engine.sent) == (2, [])
        assert {each.bad for each in queue.delivered()} == {
            "chunk 3 has rows of another chunk",
            "chunk 0 has rows of another chunk",
        }

    in_virtual_time(monkeypatch, work())


def test_rows_that_can_be_no_push_have_their_outcome_without_the_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def pushes(chunk: Chunk, info: CampaignInfo) -> list[Any]:
        made = numbered(chunk, info)
        return [Result(each, Verdict.INVALID, reason="no name") if each.row != 7 else each for each in made]

    async def work() -> None:
        queue = Queue()
        await queue.put_all(2)
        stage = Stage(queue, pushes=pushes)
        await asyncio.sleep(2.0)
        report = await stage.finish()
        assert stage.engine.sent == [7]
        assert report.rows == 2 * ROWS
        assert sum((each.tally for each in queue.delivered()), start=type(queue.delivered()[0].tally)()) == {
            ("apns", "INVALID", "no name"): 9,
            ("apns", "ACCEPTED", ""): 1,
        }

    in_virtual_time(monkeypatch, work())


def test_a_chunk_whose_rows_cannot_be_read_now_is_given_back_for_longer_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readable = False

    def pushes(chunk: Chunk, info: CampaignInfo) -> Any:
        if not readable:
            raise SourceUnavailable("the storage is away")
        return numbered(chunk, info)

    async def work() -> None:
        nonlocal readable
        queue = Queue(idle=3.0)
        await queue.put_all(1)
        stage = Stage(queue, pushes=pushes)
        await asyncio.sleep(20.0)
        delays = [float(name.split()[1]) for _, name in queue.log if name.startswith("release")]
        assert delays[:7] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0]
        assert set(delays[7:]) <= {3.0}
        readable = True
        await asyncio.sleep(6.0)
        report = await stage.finish()
        assert (report.rows, report.aside) == (ROWS, 0)

    in_virtual_time(monkeypatch, work())


def test_a_worker_that_can_make_no_push_gives_the_chunk_back_and_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def pushes(chunk: Chunk, info: CampaignInfo) -> Any:
        raise CampaignConflict("another template")

    async def work() -> None:
        queue = Queue()
        await queue.put_all(1)
        with pytest.raises(CampaignConflict, match="another template"):
            await Stage(queue, pushes=pushes).task
        stats = await queue.stats()
        assert (stats.depth, stats.leased, stats.results) == (1, 0, 0)

    in_virtual_time(monkeypatch, work())


# --- pushes that may have been doubled --------------------------------------------------------------------------------


async def abandon(queue: Queue) -> None:
    """Lease all chunks, as a worker that dies then."""
    assert await queue.lease(1000, 0.0)
    await asyncio.sleep(queue.idle + 0.1)


def test_pushes_of_a_lease_that_ran_out_may_have_been_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each such lease; a row that is never sent is not among them."""

    def pushes(chunk: Chunk, info: CampaignInfo) -> list[Any]:
        made: list[Any] = numbered(chunk, info)
        return [Result(made[0], Verdict.INVALID, reason="no name"), *made[1:]]

    async def work() -> None:
        queue = Queue()
        await queue.put_all(2)
        await abandon(queue)
        await abandon(queue)
        await queue.put(chunks(1, first=2))
        stage = Stage(queue, pushes=pushes)
        await asyncio.sleep(2.0)
        await stage.finish()
        assert {each.number: each.doubled for each in queue.delivered()} == {
            0: 2 * (ROWS - 1),
            1: 2 * (ROWS - 1),
            2: 0,
        }

    in_virtual_time(monkeypatch, work())


def test_pushes_of_a_chunk_that_was_given_back_were_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the worker that gave it back had sent, it has reported."""

    async def work() -> None:
        queue = Queue()
        await queue.put_all(1)
        for turn in range(3):
            if turn == 1:
                await abandon(queue)
            stage = Stage(queue, ScriptedEngine(lambda push: accepted(push) if push.row == 1 else None))
            await asyncio.sleep(1.0)
            stage.worker.drain(0.0)
            report = await stage.task
            assert report.released == 1
        stage = Stage(queue)
        await asyncio.sleep(4.0)
        await stage.finish()
        assert queue.outcomes() == dict.fromkeys(range(1, ROWS + 1), 1)
        doubled = [each.doubled for each in queue.delivered() if each.parts]
        assert doubled == [0, ROWS - 1]  # of the one lease that ran out

    in_virtual_time(monkeypatch, work())
