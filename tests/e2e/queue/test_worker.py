"""Workers and coordinator over the queue in memory and a fake APNs: what each promises, without a crash."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fakeservers import FakeApns, fated_token
from pushcore import PushEngine, Rate, Result, RetryPolicy, Verdict
from pushcore.journal.journal import push_id
from pushcore.queue.brokers.memory import Memory, MemoryQueue
from pushcore.queue.campaign import CampaignInfo, CampaignState
from pushcore.queue.chunk import Chunk, Reference, inline_chunks
from pushcore.queue.coordinator import Coordinator
from pushcore.queue.errors import CampaignConflict, QueueFull, QueueUnavailable, SourceUnavailable
from pushcore.queue.fleet import HOLD, Fleet
from pushcore.queue.ledger import Ledger
from pushcore.queue.protocol import Lease
from pushcore.queue.pushes import Pushes, notifications
from pushcore.queue.worker import Worker
from tests.e2e.support import client_of, soon

PAYLOAD = {"aps": {"alert": "Hi"}}
PUSHES = notifications(PAYLOAD)


def rows(count: int) -> list[dict[str, Any]]:
    return [{"token": f"{row:064x}", "name": f"Name {row}"} for row in range(count)]


def info_of(name: str = "camp", chunk_rows: int = 20, **options: Any) -> CampaignInfo:
    return CampaignInfo(name, "fingerprint", chunk_rows, **options)


@asynccontextmanager
async def coordinator_of(
    path: Path, queue: MemoryQueue, info: CampaignInfo, source: list[dict[str, Any]]
) -> AsyncIterator[Coordinator]:
    with Ledger.create(path / "ledger", info) as ledger:
        coordinator = Coordinator(queue, ledger)
        await coordinator.publish(inline_chunks(source, info.chunk_rows))
        yield coordinator


@asynccontextmanager
async def worker_of(
    queue: MemoryQueue, fake: FakeApns, pushes: Pushes = PUSHES, *, window: int = 50, **options: Any
) -> AsyncIterator[Worker]:
    retry, rate = options.pop("retry", RetryPolicy()), options.pop("rate", None)
    async with (
        Fleet(queue) as fleet,
        PushEngine(client_of(fake), window=window, retry=retry, rate=rate, shared=fleet) as engine,
    ):
        yield Worker(queue, engine, fleet, pushes, **options)


def tokens_of(fake: FakeApns) -> Counter[str]:
    return Counter(request.token for request in fake.received)


async def test_every_row_has_one_outcome(tmp_path: Path) -> None:
    queue = MemoryQueue("camp")
    source = rows(1010)
    source[7]["token"] = fated_token("Unregistered")
    source[500]["token"] = "zz"
    async with FakeApns(keep=2000) as fake, coordinator_of(tmp_path, queue, info_of(), source) as coordinator:
        async with worker_of(queue, fake) as worker:
            report, status = await asyncio.gather(worker.run(), coordinator.run())
        assert (status.done, status.rows, status.repeats, status.over) == (1010, 1010, 0, True)
        assert (report.chunks, report.rows, report.aside) == (51, 1010, 0)
        outcomes = list(coordinator.ledger.outcomes())
        assert [outcome.row for outcome in outcomes] == list(range(1, 1011))
        assert [outcome.token for outcome in outcomes] == [row["token"] for row in source]
        assert outcomes[0].id == push_id("camp", 1)
        assert outcomes[7].verdict is Verdict.UNREGISTERED
        assert outcomes[500].verdict is Verdict.INVALID
        assert sum(outcome.verdict is Verdict.ACCEPTED for outcome in outcomes) == 1008
        assert status.tally["apns", "ACCEPTED", ""] == 1008
        assert set(tokens_of(fake).values()) == {1}
        assert coordinator.ledger.state is CampaignState.FINISHED


async def test_two_workers_share_the_work_and_a_late_one_sends_nothing(tmp_path: Path) -> None:
    memory = Memory()
    queues = [MemoryQueue("camp", memory) for _ in range(3)]
    async with (
        FakeApns(keep=5000, delay=0.01) as fake,
        coordinator_of(tmp_path, queues[0], info_of(), rows(2000)) as coordinator,
        worker_of(queues[0], fake) as first_worker,
        worker_of(queues[1], fake) as second_worker,
    ):
        first, second, status = await asyncio.gather(
            first_worker.run(), second_worker.run(), coordinator.run()
        )
        assert first.rows + second.rows == status.done == 2000
        assert min(first.rows, second.rows) > 200
        async with worker_of(queues[2], fake) as late:
            assert (await late.run()).rows == 0
        assert set(tokens_of(fake).values()) == {1}


async def test_a_drained_worker_gives_back_what_waits_and_nothing_is_sent_twice(tmp_path: Path) -> None:
    memory = Memory()
    one, two = MemoryQueue("camp", memory), MemoryQueue("camp", memory)
    source = rows(400)
    slow = [fated_token("TooManyRequests", number) for number in range(20)]
    for row, token in zip(range(0, 400, 20), slow, strict=True):
        source[row]["token"] = token  # its second attempt is in an hour
    retry = RetryPolicy(apns_device_wait=2000.0)
    async with FakeApns(keep=2000) as fake, coordinator_of(tmp_path, one, info_of(), source) as coordinator:
        async with worker_of(one, fake, retry=retry, linger=0.05) as worker:
            run = asyncio.create_task(worker.run())
            await soon(lambda: len(fake.received) == 400)
            worker.drain(0.1)
            report = await run
        assert report.released == 20
        await coordinator.collect()
        assert coordinator.ledger.status().done == 380
        async with worker_of(two, fake, retry=None) as worker:
            await asyncio.gather(worker.run(), coordinator.run())
        counts = tokens_of(fake)
        assert [counts.pop(token) for token in slow] == [2] * 20
        assert set(counts.values()) == {1}
        status = coordinator.ledger.status()
        assert (status.done, status.repeats) == (400, 0)
        assert status.tally["apns", "THROTTLED", "TooManyRequests"] == 20


async def test_a_slow_row_is_delivered_before_its_chunk_is_done(tmp_path: Path) -> None:
    queue = MemoryQueue("camp")
    source = rows(20)
    source[3]["token"] = fated_token("Slow", ms=700)
    async with FakeApns() as fake, coordinator_of(tmp_path, queue, info_of(), source) as coordinator:
        async with worker_of(queue, fake, linger=0.05) as worker:
            run = asyncio.create_task(worker.run())
            while coordinator.ledger.status().done < 19:
                await coordinator.collect(0.05)
            assert (await queue.stats()).leased == 1
            await coordinator.run()
            await run
        status = coordinator.ledger.status()
        assert (status.done, status.repeats) == (20, 0)


async def test_chunks_that_the_queue_forgot_are_put_back(tmp_path: Path) -> None:
    queue = MemoryQueue("camp")
    async with (
        FakeApns(keep=2000) as fake,
        coordinator_of(tmp_path, queue, info_of(), rows(400)) as coordinator,
    ):
        for key in list(queue.memory.entries)[3:9]:
            del queue.memory.entries[key]
        assert await coordinator.reconcile() == 6
        assert await coordinator.reconcile() == 0
        for key in list(queue.memory.entries)[::2]:
            del queue.memory.entries[key]
        async with worker_of(queue, fake) as worker:
            _, status = await asyncio.gather(worker.run(), coordinator.run())
        assert (status.done, status.repeats) == (400, 0)
        assert set(tokens_of(fake).values()) == {1}


async def test_a_campaign_outlives_a_queue_that_lost_everything(tmp_path: Path) -> None:
    queue = MemoryQueue("camp")
    async with (
        FakeApns(keep=2000) as fake,
        coordinator_of(tmp_path, queue, info_of(), rows(400)) as coordinator,
    ):
        await coordinator.pause()
        await queue.destroy()
        await coordinator.reconcile()
        async with worker_of(queue, fake) as worker:
            run = asyncio.create_task(worker.run())
            await asyncio.sleep(0.1)
            assert not fake.received  # the pause was not forgotten
            await coordinator.resume()
            await coordinator.run()
            await run
        assert coordinator.ledger.status().done == 400


async def test_a_create_that_was_interrupted_is_run_again(tmp_path: Path) -> None:
    queue = MemoryQueue("camp")
    source, info = rows(400), info_of()

    def dies() -> Any:
        for chunk in inline_chunks(source, 20):
            if chunk.number == 13:
                raise KeyboardInterrupt
            yield chunk

    with Ledger.create(tmp_path / "ledger", info) as ledger, pytest.raises(KeyboardInterrupt):
        await Coordinator(queue, ledger).publish(dies())
    with Ledger.create(tmp_path / "ledger", info) as ledger:
        assert not ledger.complete
        coordinator = Coordinator(queue, ledger)
        assert await coordinator.publish(inline_chunks(source, 20, start=ledger.known)) == 20
        assert ledger.complete
        assert (await queue.stats()).depth == 20
        assert await coordinator.publish(inline_chunks(source, 20)) == 20
        assert (await queue.stats()).depth == 20


async def test_two_campaigns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    queue = MemoryQueue("camp")
    async with coordinator_of(tmp_path, queue, info_of(), rows(20)):
        other = CampaignInfo("camp", "another source", 20)
        with pytest.raises(CampaignConflict, match="with another audience or other settings"):
            Ledger.create(tmp_path / "ledger", other)
        with (
            Ledger.create(tmp_path / "other", other) as ledger,
            pytest.raises(CampaignConflict, match="another campaign with the name camp"),
        ):
            await Coordinator(queue, ledger).publish(inline_chunks(rows(20), 20))
        assert (await queue.stats()).depth == 1


async def test_a_worker_with_other_credentials_sends_nothing(tmp_path: Path) -> None:
    queue = MemoryQueue("camp")
    needs: Mapping[str, Any] = {"apns": {"topic": "com.example.app", "team": "TEAM123456"}}
    async with FakeApns() as fake, coordinator_of(tmp_path, queue, info_of(needs=needs), rows(20)):
        for offers, words in (
            ({}, "needs apns, and this worker has none"),
            ({"apns": {"topic": "com.example.app", "team": "OTHER"}}, "needs team 'TEAM123456'"),
        ):
            async with worker_of(queue, fake, offers=offers) as worker:
                with pytest.raises(CampaignConflict, match=words):
                    await worker.run()
        assert not fake.received
        assert (await queue.stats()).depth == 1


async def test_chunks_that_cannot_be_sent_are_set_aside_with_a_reason(tmp_path: Path) -> None:
    queue = MemoryQueue("camp")
    source = rows(100)

    def pushes(chunk: Chunk, info: CampaignInfo) -> Any:
        made = PUSHES(chunk, info)
        if chunk.number == 2:
            raise LookupError("no such template")
        return made[1:] if chunk.number == 3 else made  # type: ignore[index]  # it is a list here

    async with FakeApns(keep=200) as fake, coordinator_of(tmp_path, queue, info_of(), source) as coordinator:
        entries = list(queue.memory.entries.values())
        entries[1].data = entries[1].data[:-5]
        entries[4].data = Chunk(4, 81, 20, Reference("file:///nowhere", 0, 100)).encode()
        async with worker_of(queue, fake, pushes) as worker:
            report, status = await asyncio.gather(worker.run(), asyncio.wait_for(coordinator.run(), 20))
        # What could not be read at all was put back out of the ledger, in which it is sound.
        assert (status.done, status.finished, status.aside, status.strays) == (40, 2, 3, 1)
        assert report.aside == 4
        reasons = dict(coordinator.ledger.aside())
        assert reasons[2] == "LookupError: no such template"
        assert "should have 20 rows" in reasons[3]
        assert "not in it but in file:///nowhere" in reasons[4]
        coordinator.ledger.take_back(reasons)
        assert await coordinator.reconcile() == 3


async def test_rows_that_are_no_push_have_an_outcome(tmp_path: Path) -> None:
    queue = MemoryQueue("camp")

    def pushes(chunk: Chunk, info: CampaignInfo) -> list[Any]:
        made: list[Any] = list(PUSHES(chunk, info))  # type: ignore[arg-type]  # made like those of the command line
        return [Result(push, Verdict.INVALID, reason="no name") if push.row % 2 else push for push in made]

    async with (
        FakeApns() as fake,
        coordinator_of(tmp_path, queue, info_of(chunk_rows=1), rows(10)) as coordinator,
    ):
        async with worker_of(queue, fake, pushes) as worker:
            _, status = await asyncio.gather(worker.run(), coordinator.run())
        assert status.tally == {("apns", "INVALID", "no name"): 5, ("apns", "ACCEPTED", ""): 5}


async def test_pause_and_cancel_are_obeyed(tmp_path: Path) -> None:
    queue = MemoryQueue("camp")
    async with (
        FakeApns(delay=0.05, keep=6000) as fake,
        coordinator_of(tmp_path, queue, info_of(), rows(5000)) as coordinator,
    ):
        async with worker_of(queue, fake) as worker:
            run = asyncio.create_task(worker.run())
            await soon(lambda: len(fake.received) > 100)
            await coordinator.pause()
            # What is in flight just then still arrives, and then nothing. A leased chunk stays with its worker.
            paused = -1
            while paused != len(fake.received):
                paused = len(fake.received)
                await asyncio.sleep(0.2)
            assert paused % 20 == 0 or (await queue.stats()).leased
            assert paused < 5000
            await coordinator.resume()
            await soon(lambda: len(fake.received) > paused)
            await coordinator.cancel()
            await run
        status = await coordinator.run()
        assert status.done == len(fake.received) < 5000
        assert status.state is CampaignState.CANCELLED


async def test_the_breakers_verdict_stops_every_worker(tmp_path: Path) -> None:
    memory = Memory()
    one, two = MemoryQueue("camp", memory), MemoryQueue("camp", memory)
    bad = [{"token": fated_token("BadDeviceToken")} for _ in range(5000)]
    async with (
        FakeApns(keep=6000, delay=0.005) as fake,
        coordinator_of(tmp_path, one, info_of(), bad) as coordinator,
        worker_of(one, fake, window=200) as first,
        worker_of(two, fake, window=200) as second,
    ):
        reports = await asyncio.gather(first.run(), second.run())
        for report in reports:
            assert report.trip is not None
            assert report.trip.reason == "BadDeviceToken"
        assert len(fake.received) < 3000
        assert (await one.stats()).leased == 0  # also what was being leased just then is given back
        status = await coordinator.run()
        assert status.done == len(fake.received)
        glance = await coordinator.status()
        assert glance.trip == reports[0].trip
        await coordinator.resume()
        assert (await coordinator.status()).trip is None
        assert await one.present() == {
            chunk.number for page in coordinator.ledger.unfinished() for chunk in page
        }


async def test_all_workers_together_keep_the_rate(tmp_path: Path) -> None:
    memory = Memory()
    one, two = MemoryQueue("camp", memory), MemoryQueue("camp", memory)
    async with (
        FakeApns(keep=2000) as fake,
        coordinator_of(tmp_path, one, info_of(), rows(900)) as coordinator,
        worker_of(one, fake, rate=Rate(1000)) as first,
        worker_of(two, fake, rate=Rate(1000)) as second,
    ):
        await asyncio.gather(first.run(), second.run(), coordinator.run())
        times = [request.time for request in fake.received]
        # 100 may leave at once, and those that were lent come up to 0.2 s late.
        assert max(times) - min(times) >= (900 - 100) / 1000 - HOLD - 0.05
        assert len(times) == 900


class Flaky(MemoryQueue):
    """A queue that is away, or full, every other time."""

    calls = 0

    def _stumble(self) -> None:
        type(self).calls += 1
        if self.calls % 2:
            raise QueueUnavailable("away") if self.calls % 4 == 1 else QueueFull("full")

    async def lease(self, n: int, wait: float) -> list[Lease]:
        self._stumble()
        return await super().lease(n, wait)

    async def done(self, lease: Lease, result: bytes) -> None:
        self._stumble()
        await super().done(lease, result)

    async def extend(self, leases: Any) -> list[Lease]:
        self._stumble()
        return await super().extend(leases)


async def test_a_queue_that_comes_and_goes_loses_nothing(tmp_path: Path) -> None:
    memory = Memory()
    queue = MemoryQueue("camp", memory)
    async with (
        FakeApns(keep=2000) as fake,
        coordinator_of(tmp_path, queue, info_of(), rows(300)) as coordinator,
    ):
        async with worker_of(Flaky("camp", memory, idle=0.6), fake) as worker:
            _, status = await asyncio.gather(worker.run(), coordinator.run())
        assert (status.done, status.repeats) == (300, 0)


async def test_undelivered_rows_are_at_most_window_and_chunk(tmp_path: Path) -> None:
    """So much is repeated when the worker is killed, however long the queue takes for results."""
    memory, go = Memory(), asyncio.Event()

    class Slow(MemoryQueue):
        async def done(self, lease: Lease, result: bytes) -> None:
            await go.wait()
            await super().done(lease, result)

    queue = MemoryQueue("camp", memory)
    async with (
        FakeApns(keep=2000) as fake,
        coordinator_of(tmp_path, queue, info_of(), rows(400)) as coordinator,
        worker_of(Slow("camp", memory), fake, window=50) as worker,
    ):
        run = asyncio.create_task(worker.run())
        await soon(lambda: len(fake.received) >= 60)
        while (await queue.stats()).depth > 17:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert len(fake.received) == 60  # one chunk more would be above 50 and 20
        go.set()
        await asyncio.gather(run, coordinator.run())
        assert set(tokens_of(fake).values()) == {1}
        assert coordinator.ledger.status().done == 400


class Unreadable:
    """Pushes of chunks that refer to something which can be read only now and then."""

    def __init__(self) -> None:
        self.away = True
        self.asked = 0

    async def __call__(self, chunk: Chunk, info: CampaignInfo) -> Any:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise SourceUnavailable("the share is not there")
        return PUSHES(chunk, info)


async def test_chunks_that_cannot_be_read_now_are_given_back_and_sent_later(tmp_path: Path) -> None:
    queue = MemoryQueue("camp")
    pushes = Unreadable()
    async with (
        FakeApns(keep=2000) as fake,
        coordinator_of(tmp_path, queue, info_of(), rows(100)) as coordinator,
        worker_of(queue, fake, pushes) as worker,
    ):
        run = asyncio.create_task(worker.run())
        await soon(lambda: pushes.asked >= 4)
        assert not fake.received
        pushes.away = False
        report, status = await asyncio.gather(run, coordinator.run())
        assert report.released >= 4
        assert (status.done, status.aside, status.repeats) == (100, 0, 0)
        assert set(tokens_of(fake).values()) == {1}


async def test_a_worker_that_can_make_no_push_gives_the_chunk_back_and_ends(tmp_path: Path) -> None:
    queue = MemoryQueue("camp")

    async def pushes(chunk: Chunk, info: CampaignInfo) -> Any:
        raise CampaignConflict("no such column")

    async with FakeApns() as fake, coordinator_of(tmp_path, queue, info_of(), rows(40)):
        async with worker_of(queue, fake, pushes) as worker:
            with pytest.raises(CampaignConflict, match="no such column"):
                await worker.run()
        stats = await queue.stats()
        assert (stats.depth, stats.leased) == (2, 0)


async def test_a_worker_waits_for_its_campaign(tmp_path: Path) -> None:
    memory = Memory()
    async with FakeApns() as fake, worker_of(MemoryQueue("camp", memory), fake) as worker:
        run = asyncio.create_task(worker.run())
        await asyncio.sleep(0.05)
        async with coordinator_of(tmp_path, MemoryQueue("camp", memory), info_of(), rows(20)) as coordinator:
            assert (await coordinator.run()).done == 20
            assert (await run).rows == 20
        async with worker_of(MemoryQueue("empty", Memory()), fake) as idle:
            run = asyncio.create_task(idle.run())
            await asyncio.sleep(0.05)
            idle.drain(0.0)
            assert (await run).rows == 0
