"""Workers over both adapters with FCM: one project's rate for all, and one breaker's verdict that stops all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fakeservers import FakeFcm
from fakeservers.fcm.fates import fated_registration
from pushcore import PushEngine, Rate
from pushcore.payloads.fcm_rows import FcmRow
from pushcore.queue.campaign import CampaignInfo, CampaignState
from pushcore.queue.chunk import Chunk, inline_chunks
from pushcore.queue.coordinator import Coordinator
from pushcore.queue.fleet import Fleet
from pushcore.queue.ledger import Ledger
from pushcore.queue.opening import open_queue
from pushcore.queue.protocol import Broker
from pushcore.queue.worker import Worker
from tests.e2e.fcm_support import DATA, fcm_of, registration
from tests.support import queues

IDLE = 1.0
NO_RATE = Rate.parse("none")


@pytest.fixture(params=queues.ADAPTERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[queues.Server]:
    made = queues.start(request.param, tmp_path / "queue")
    yield made
    made.stop()


def pushes(chunk: Chunk, info: CampaignInfo) -> list[FcmRow]:
    tokens = chunk.columns()["token"]
    return [FcmRow(row, tokens[row - chunk.first], fid=False, data=DATA) for row in chunk.missing()]


@asynccontextmanager
async def worker_of(
    server: queues.Server, fake: FakeFcm, make: Any = pushes, **options: Any
) -> AsyncIterator[Worker]:
    """With a connection to the queue of its own."""
    async with (
        await open_queue(server.url, "camp", idle=IDLE) as queue,
        Fleet(queue) as fleet,
        PushEngine(fcm_of(fake), shared=fleet, **options) as engine,
    ):
        yield Worker(queue, engine, fleet, make)


@asynccontextmanager
async def coordinator_of(server: queues.Server, path: Path, tokens: list[str]) -> AsyncIterator[Coordinator]:
    info = CampaignInfo("camp", "fingerprint", 20)
    queue: Broker = await open_queue(server.url, "camp", idle=IDLE)
    try:
        with Ledger.create(path / "ledger", info) as ledger:
            coordinator = Coordinator(queue, ledger)
            await coordinator.publish(inline_chunks(({"token": token} for token in tokens), 20))
            yield coordinator
    finally:
        await queue.close()


def sends(fake: FakeFcm) -> list[float]:
    return [request.time for request in fake.received if request.path.endswith("messages:send")]


async def test_all_workers_together_keep_the_rate_of_a_project(server: queues.Server, tmp_path: Path) -> None:
    """The ramp as well: 10 a second at first, and 1000 after a minute."""
    options = {"rate": Rate(1000), "window": 20}
    async with (
        FakeFcm(keep=2000) as fake,
        coordinator_of(server, tmp_path, [registration(row) for row in range(120)]) as coordinator,
        worker_of(server, fake, **options) as first_worker,
        worker_of(server, fake, **options) as second_worker,
    ):
        *reports, status = await asyncio.gather(first_worker.run(), second_worker.run(), coordinator.run())
        assert min(report.rows for report in reports) >= 20
        assert (status.done, status.repeats) == (120, 0)
        times = sends(fake)
        assert len(times) == 120
        # 10 t + 8.25 t² are 120 after 3.25 s, and each for itself would have sent 60 of them within 2.2 s.
        assert max(times) - min(times) >= 2.6


async def test_a_429_closes_the_gate_for_all_workers(server: queues.Server, tmp_path: Path) -> None:
    """The fake says when to come again; nobody sends before, though only one worker was told."""
    tokens = [registration(row) for row in range(400)]
    tokens[0] = fated_registration("QuotaExceeded", ms=2000)
    options = {"rate": NO_RATE, "window": 40, "retry": None}
    async with (
        FakeFcm(keep=2000, delay=0.1) as fake,
        coordinator_of(server, tmp_path, tokens) as coordinator,
        worker_of(server, fake, **options) as first_worker,
        worker_of(server, fake, **options) as second_worker,
    ):
        await asyncio.gather(first_worker.run(), second_worker.run(), coordinator.run())
        times = sorted(sends(fake))
        assert len(times) == 400
        assert max(after - before for before, after in pairwise(times)) > 1.0


async def test_a_wrong_project_stops_all_workers_and_the_coordinator(
    server: queues.Server, tmp_path: Path
) -> None:
    bad = [fated_registration("SenderIdMismatch")] * 6000
    options = {"rate": NO_RATE, "window": 200}
    async with (
        FakeFcm(keep=7000, delay=0.01) as fake,
        coordinator_of(server, tmp_path, bad) as coordinator,
        worker_of(server, fake, **options) as first_worker,
        worker_of(server, fake, **options) as second_worker,
    ):
        first, second, status = await asyncio.gather(
            first_worker.run(), second_worker.run(), coordinator.run()
        )
        for report in (first, second):
            assert report.trip is not None
            assert report.trip.reason == "SENDER_ID_MISMATCH"
        assert status.done == len(sends(fake)) < 4000
        if server.url.startswith("redis"):  # NATS does not tell what was given back
            assert (await coordinator.queue.stats()).leased == 0
        assert (await coordinator.status()).trip == first.trip
        async with worker_of(server, fake, **options) as late:  # learns of it before it sends
            report = await late.run()
        assert (report.rows, report.trip) == (0, first.trip)
        assert status.done == len(sends(fake))
        await coordinator.resume()
        assert (await coordinator.status()).trip is None


def disliked(chunk: Chunk, info: CampaignInfo) -> list[FcmRow]:
    """Messages with an apns part that Google dislikes: headers without a payload."""
    apns = {"headers": {"apns-push-type": "background", "apns-priority": "10"}}
    tokens = chunk.columns()["token"]
    return [
        FcmRow(row, tokens[row - chunk.first], fid=False, data=DATA, apns=apns) for row in chunk.missing()
    ]


async def test_tokens_that_google_blames_for_the_message_stop_all_workers(
    server: queues.Server, tmp_path: Path
) -> None:
    tokens = [registration(row) for row in range(3000)]
    options = {"rate": NO_RATE, "window": 200, "make": disliked}
    async with (
        FakeFcm(keep=7000) as fake,
        coordinator_of(server, tmp_path, tokens) as coordinator,
        worker_of(server, fake, **options) as first_worker,
        worker_of(server, fake, **options) as second_worker,
    ):
        fake.ios_tokens.update(tokens)
        first, second, status = await asyncio.gather(
            first_worker.run(), second_worker.run(), coordinator.run()
        )
        for report in (first, second):
            assert report.trip is not None
            assert "Correct the apns, android or webpush part" in str(report.trip)
        assert 500 <= status.done < 3000
        assert "UNREGISTERED" not in str(status.tally)
        assert "INVALID_ARGUMENT (token)" in str(status.tally)


async def test_a_coordinator_does_not_wait_for_the_dead(server: queues.Server, tmp_path: Path) -> None:
    """A worker that died with a lease says nothing more; a cancelled campaign ends without it."""
    async with (
        FakeFcm() as fake,
        coordinator_of(server, tmp_path, [registration(row) for row in range(60)]) as coordinator,
    ):
        dead = await open_queue(server.url, "camp", idle=IDLE)
        assert len(await dead.lease(1, 5.0)) == 1
        await dead.close()
        assert (await coordinator.queue.stats()).leased == 1
        await coordinator.cancel()
        status = await coordinator.run()
        assert (status.done, status.state) == (0, CampaignState.CANCELLED)
        await coordinator.resume()
        async with worker_of(server, fake) as worker:
            await asyncio.gather(worker.run(), coordinator.run())
        assert len(sends(fake)) == 60


async def test_a_released_chunk_waits(server: queues.Server, tmp_path: Path) -> None:
    """On Redis it counts so at once; NATS knows no difference until somebody has it again."""
    async with coordinator_of(server, tmp_path, [registration(row) for row in range(60)]) as coordinator:
        queue = coordinator.queue
        (lease,) = await queue.lease(1, 5.0)
        stats = await queue.stats()
        assert (stats.depth, stats.leased) == (2, 1)
        await queue.release(lease)
        stats = await queue.stats()
        assert stats.depth + stats.leased == 3
        if server.url.startswith("redis"):
            assert stats.leased == 0
        leases = [await queue.lease(1, 5.0) for _ in range(3)]
        assert all(leases)
        assert (await queue.stats()).leased == 3
