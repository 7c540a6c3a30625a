"""Brokers that fail over: the master of Redis under Sentinel, the leader of NATS streams, and a cluster of Redis without kills.

Two workers as processes; the fake counts what devices got. Nothing is lost, and no more is repeated than was leased when a
master died. The size is by `PUSHCORE_QUEUE_DEVICES`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fakeservers import Certificates, FakeApns
from pushcore.queue.campaign import CampaignInfo
from pushcore.queue.chunk import inline_chunks
from pushcore.queue.coordinator import Coordinator
from pushcore.queue.errors import QueueError
from pushcore.queue.ledger import Ledger
from pushcore.queue.opening import open_queue
from pushcore.queue.protocol import Broker
from tests.e2e.queue.test_conformance import join, start_node
from tests.e2e.queue.test_crash import Workers, requests_per_token
from tests.support import nats, queues, redis
from tests.tiers import WEEKLY

DEVICES = int(os.environ.get("PUSHCORE_QUEUE_DEVICES", 200_000 if WEEKLY else 8000))
KILLS = 2 if WEEKLY else 1
CHUNK = 100
WINDOW = 400
IDLE = 2.0
WORKERS = 2
LEASED = WORKERS * (WINDOW + CHUNK)
"""Rows that all workers together hold at most without having delivered them."""
IN_STEP = 400
"""Rows whose results a master may have kept that its replica had not: asynchronous replication, a moment's worth."""

pytestmark = [pytest.mark.ci, pytest.mark.timeout(120 + DEVICES // 200)]


async def opened(url: str, name: str) -> Broker:
    """The queue, as soon as its servers have chosen their leaders."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await open_queue(url, name, idle=IDLE)
            except QueueError:
                await asyncio.sleep(0.1)


@asynccontextmanager
async def campaign(
    url: str, name: str, place: Path, certs: Certificates
) -> AsyncIterator[tuple[FakeApns, Ledger, asyncio.Task[Any]]]:
    """A campaign that is sent by two workers; the task is the coordinator's."""
    rows = ({"token": f"{row:064x}"} for row in range(DEVICES))
    queue = await opened(url, name)
    workers = Workers(url=url, campaign=name, config=str(place / "apns.json"), idle=IDLE, window=WINDOW)
    try:
        async with FakeApns(keep=2 * DEVICES + 10_000, delay=0.03, certs=certs) as fake:
            fake.write_config(place)
            with Ledger.create(place / "ledger", CampaignInfo(name, "devices", CHUNK)) as ledger:
                coordinator = Coordinator(queue, ledger)
                await coordinator.publish(inline_chunks(rows, CHUNK))
                collecting = asyncio.create_task(coordinator.run())
                try:
                    for _ in range(WORKERS):
                        await workers.start()
                    yield fake, ledger, collecting
                    for process in workers.processes:
                        assert await process.wait() == 0
                finally:
                    collecting.cancel()
                    await workers.end()
                    await asyncio.gather(collecting, return_exceptions=True)
    finally:
        await queue.close()


async def at(fake: FakeApns, share: float) -> None:
    """When this share of the devices has been sent to."""
    while fake.counts.total() < share * DEVICES:
        await asyncio.sleep(0.005)


async def check(fake: FakeApns, ledger: Ledger, collecting: asyncio.Task[Any], most: int) -> None:
    status = await collecting
    assert status.over
    assert (status.rows, status.done) == (DEVICES, DEVICES)
    counts = requests_per_token(fake)
    repeats = counts.total() - DEVICES
    print(
        json.dumps({"devices": DEVICES, "lost": DEVICES - len(counts), "repeated": repeats, "allowed": most})
    )
    assert len(counts) == DEVICES
    assert repeats <= most


@pytest.mark.skipif(redis.BINARY is None, reason=redis.MISSING)
async def test_the_master_of_redis_dies(tmp_path: Path, certs: Certificates) -> None:
    servers = redis.RedisReplicas(tmp_path / "redis")
    try:
        await asyncio.to_thread(servers.start)
        async with campaign(servers.url, "sentinel", tmp_path, certs) as (fake, ledger, collecting):
            for kill in range(KILLS):
                await at(fake, (kill + 1) / (KILLS + 1))
                await asyncio.to_thread(servers.fail_over)
            await check(fake, ledger, collecting, KILLS * (LEASED + IN_STEP))
    finally:
        servers.stop()


@pytest.mark.skipif(nats.BINARY is None, reason=nats.MISSING)
async def test_the_leader_of_nats_dies(tmp_path: Path, certs: Certificates) -> None:
    cluster = nats.NatsCluster(tmp_path / "nats")
    try:
        await asyncio.to_thread(cluster.start)
        async with campaign(cluster.url, "leader", tmp_path, certs) as (fake, ledger, collecting):
            for kill in range(KILLS):
                await at(fake, (kill + 1) / (KILLS + 1))
                server = await leader(cluster, "leader")
                server.kill()
                await asyncio.sleep(1.0)
                await asyncio.to_thread(server.start)
            await check(fake, ledger, collecting, KILLS * LEASED)
    finally:
        cluster.stop()


async def leader(cluster: nats.NatsCluster, name: str) -> nats.NatsServer:
    """The server that leads the stream of chunks. During an election there is none, and no response either."""
    import nats as client

    connection = await client.connect([server.url for server in cluster.servers])
    try:
        async with asyncio.timeout(60.0):
            while True:
                with contextlib.suppress(client.errors.TimeoutError, client.errors.NoRespondersError):
                    info = await connection.request(f"$JS.API.STREAM.INFO.pushcore-{name}", b"{}", timeout=2)
                    if number := json.loads(info.data).get("cluster", {}).get("leader"):
                        return cluster.servers[int(number.removeprefix("n"))]
                await asyncio.sleep(0.05)
    finally:
        await connection.close()


@pytest.mark.skipif(redis.BINARY is None, reason=redis.MISSING)
async def test_a_cluster_of_redis(tmp_path: Path, certs: Certificates) -> None:
    servers: list[queues.Server] = []
    try:
        for number in range(3):
            servers.append(start_node(tmp_path / f"node{number}"))
        await asyncio.to_thread(join, servers)
        url = "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in servers)
        async with campaign(url, "cluster", tmp_path, certs) as (fake, ledger, collecting):
            await check(fake, ledger, collecting, 0)
    finally:
        for server in servers:
            server.stop()
