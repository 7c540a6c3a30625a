"""Three workers, each killed at least twice, and the broker killed and started again: every device has one outcome.

What the fake received is compared with the ledger, device by device. The size is by `PUSHCORE_QUEUE_DEVICES`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakeservers import Certificates, FakeApns
from pushcore.journal.journal import push_id
from pushcore.queue.brokers.redis import RedisQueue
from pushcore.queue.campaign import CampaignInfo
from pushcore.queue.chunk import inline_chunks
from pushcore.queue.coordinator import Coordinator
from pushcore.queue.errors import QueueError
from pushcore.queue.ledger import Ledger
from pushcore.queue.opening import open_queue
from pushcore.queue.protocol import Broker
from tests.support.nats import BINARY as NATS
from tests.support.nats import MISSING as NO_NATS
from tests.support.nats import NatsServer
from tests.support.redis import BINARY as REDIS
from tests.support.redis import MISSING as NO_REDIS
from tests.support.redis import RedisServer
from tests.tiers import budget

DEVICES = int(os.environ.get("PUSHCORE_QUEUE_DEVICES", budget(20_000, 400_000)))
WORKERS = 3
KILLS = budget(2, 35)
CHUNK = 100
WINDOW = 400
IDLE = 2.0
LEASED = WINDOW + CHUNK
"""Rows that one worker holds at most without having delivered them."""

Server = RedisServer | NatsServer


@pytest.fixture(params=["redis", "nats"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    if request.param == "redis":
        if REDIS is None:
            pytest.skip(NO_REDIS)
        made: Server = RedisServer(tmp_path / "redis").start()
    else:
        if NATS is None:
            pytest.skip(NO_NATS)
        made = NatsServer(tmp_path / "nats").start()
    yield made
    made.stop()


class Workers:
    """Worker processes that are killed and started again."""

    def __init__(self, **options: Any) -> None:
        self._options = json.dumps(options)
        self.processes: list[asyncio.subprocess.Process] = []
        self.kills = 0

    async def start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.queue_worker", self._options),
            cwd=Path(__file__).parents[3],
            stdout=asyncio.subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    async def torment(self, fake: FakeApns, times: int, rng: random.Random, until: int) -> None:
        """One worker: killed so often, each time while pushes are on their way, and then left alone."""
        process = await self.start()
        for _ in range(times):
            before = len(fake.received)
            target = before + rng.randrange(300, max(until // (WORKERS * KILLS), 600))
            while len(fake.received) < min(target, until):
                assert process.returncode is None, f"a worker ended with {process.returncode}"
                await asyncio.sleep(0.005)
            process.kill()
            await process.wait()
            self.kills += 1
            process = await self.start()
        assert await process.wait() == 0

    async def end(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await process.wait()


def rows() -> Iterator[dict[str, Any]]:
    return ({"token": f"{row:064x}"} for row in range(DEVICES))


def requests_per_token(fake: FakeApns) -> Counter[str]:
    return Counter(request.token for request in fake.received)


@pytest.mark.slow
@pytest.mark.grows
@pytest.mark.deadline(max(100.0, DEVICES / 1000 + KILLS * 30))
@pytest.mark.timeout(max(120, DEVICES // 900 + KILLS * 35))
async def test_workers_and_broker_are_killed(server: Server, tmp_path: Path, certs: Certificates) -> None:
    rng = random.Random(7)
    info = CampaignInfo("crash", "devices", CHUNK)
    fake = FakeApns(keep=3 * DEVICES, delay=0.03, certs=certs)
    async with (
        fake,
        await open_queue(server.url, "crash", idle=IDLE) as queue,
    ):
        fake.write_config(tmp_path)
        with Ledger.create(tmp_path / "ledger", info) as ledger:
            coordinator = Coordinator(queue, ledger)
            await coordinator.publish(inline_chunks(rows(), CHUNK))
            workers = Workers(
                url=server.url, campaign="crash", config=str(tmp_path / "apns.json"), idle=IDLE, window=WINDOW
            )
            broker = asyncio.create_task(kill_broker(server, fake))
            collecting = asyncio.create_task(coordinator.run())
            try:
                torments = [workers.torment(fake, KILLS, rng, DEVICES * 3 // 4) for _ in range(WORKERS)]
                await asyncio.gather(*torments, broker)
                status = await collecting
            finally:
                collecting.cancel()
                broker.cancel()
                await workers.end()
                await asyncio.gather(collecting, broker, return_exceptions=True)
            assert workers.kills == WORKERS * KILLS
            # NATS may give out what was leased when it was killed: its heartbeats were lost. Redis has a longer memory.
            restarts = WORKERS if isinstance(server, NatsServer) else 0
            check(fake, ledger, most=(workers.kills + restarts) * LEASED)
            assert status.over


async def kill_broker(server: Server, fake: FakeApns) -> None:
    """Once, in the middle, and away for a moment."""
    while len(fake.received) < DEVICES // 2:
        await asyncio.sleep(0.005)
    server.kill()
    await asyncio.sleep(0.2)
    await asyncio.to_thread(server.start)


def check(fake: FakeApns, ledger: Ledger, most: int) -> None:
    """Every device has one outcome and was sent to; `most`: pushes that may have been sent twice."""
    outcomes = list(ledger.outcomes())
    assert [outcome.row for outcome in outcomes] == list(range(1, DEVICES + 1))
    assert [outcome.token for outcome in outcomes] == [row["token"] for row in rows()]
    assert {outcome.verdict.name for outcome in outcomes} == {"ACCEPTED"}
    counts = requests_per_token(fake)
    assert len(counts) == DEVICES
    repeats = counts.total() - DEVICES
    print(f"{repeats} repeats of {most} allowed, {ledger.status().repeats} of them with two outcomes")
    assert repeats <= most
    # A repeat has the same id, so that it can be told.
    ids: dict[str, set[str]] = {}
    for request in fake.received:
        if counts[request.token] > 1:
            ids.setdefault(request.token, set()).add(request.headers["apns-id"])
    assert all(apns_ids == {push_id("crash", int(token, 16) + 1)} for token, apns_ids in ids.items())


async def test_entries_that_were_deleted_are_put_back(tmp_path: Path, certs: Certificates) -> None:
    """Of the stream itself, with Redis' own command, in the middle of the campaign; some are leased at that time."""
    if REDIS is None:
        pytest.skip(NO_REDIS)
    server = RedisServer(tmp_path / "redis").start()
    try:
        await delete_and_reconcile(server, tmp_path, certs)
    finally:
        server.stop()


async def delete_and_reconcile(server: RedisServer, tmp_path: Path, certs: Certificates) -> None:
    from redis.asyncio import Redis

    info = CampaignInfo("forgets", "devices", CHUNK)
    count = 5000
    source = [{"token": f"{row:064x}"} for row in range(count)]
    workers = Workers(
        url=server.url, campaign="forgets", config=str(tmp_path / "apns.json"), idle=IDLE, window=WINDOW
    )
    async with (
        FakeApns(keep=3 * count, delay=0.03, certs=certs) as fake,
        await RedisQueue.open(server.url, "forgets", idle=IDLE) as queue,
    ):
        fake.write_config(tmp_path)
        with Ledger.create(tmp_path / "ledger", info) as ledger:
            coordinator = Coordinator(queue, ledger)
            await coordinator.publish(inline_chunks(source, CHUNK))
            process = await workers.start()
            try:
                while len(fake.received) < 500:
                    await asyncio.sleep(0.005)
                deleted = 0
                client: Any
                async with Redis.from_url(server.url) as client:
                    key = "{pushcore:forgets}:chunks"
                    for entry, _ in await client.xrange(key):
                        if int(entry.split(b"-")[1]) % 3 == 0:
                            deleted += await client.xdel(key, entry)
                assert deleted > 5
                status = await coordinator.run()
                assert await process.wait() == 0
            finally:
                await workers.end()
            assert status.done == count
            assert status.over
            assert len(requests_per_token(fake)) == count
            assert fake.counts.total() - count <= LEASED  # those that were leased when they were deleted


async def test_a_worker_drains_on_sigterm(server: Server, tmp_path: Path, certs: Certificates) -> None:
    """It sends what it has leased, gives nothing back, and the next one goes on; nothing is sent twice."""
    info = CampaignInfo("drains", "devices", CHUNK)
    count = 4000
    source = [{"token": f"{row:064x}"} for row in range(count)]
    workers = Workers(
        url=server.url, campaign="drains", config=str(tmp_path / "apns.json"), idle=30.0, window=WINDOW
    )
    queue: Broker = await open_queue(server.url, "drains", idle=30.0)
    try:
        async with FakeApns(keep=3 * count, delay=0.03, certs=certs) as fake:
            fake.write_config(tmp_path)
            with Ledger.create(tmp_path / "ledger", info) as ledger:
                coordinator = Coordinator(queue, ledger)
                await coordinator.publish(inline_chunks(source, CHUNK))
                collecting = asyncio.create_task(coordinator.run())
                try:
                    process = await workers.start()
                    while len(fake.received) < 1000:
                        await asyncio.sleep(0.005)
                    process.send_signal(signal.SIGTERM)
                    assert await process.wait() == 0
                    assert len(fake.received) < count
                    assert (await queue.stats()).leased == 0
                    process = await workers.start()
                    status = await collecting
                    assert await process.wait() == 0
                finally:
                    collecting.cancel()
                    await workers.end()
                    await asyncio.gather(collecting, return_exceptions=True)
            assert (status.done, status.repeats) == (count, 0)
            assert fake.counts.total() == count
    finally:
        with contextlib.suppress(QueueError):
            await queue.destroy()
        await queue.close()
