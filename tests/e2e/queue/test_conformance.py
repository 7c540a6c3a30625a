"""Every adapter against the same checks: on Redis, on Valkey, on a cluster of Redis, on NATS."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from pushcore.queue.brokers import conformance
from pushcore.queue.brokers.conformance import CHECKS, Check
from pushcore.queue.brokers.nats import NatsQueue
from pushcore.queue.brokers.redis import RedisQueue
from pushcore.queue.protocol import Broker
from tests.support import queues
from tests.support.redis import free_port


@pytest.fixture(
    scope="module", params=[pytest.param("redis", marks=pytest.mark.needs("redis-server")), "valkey"]
)
def redis_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = queues.start(request.param, tmp_path_factory.mktemp(request.param))
    yield server.url
    server.stop()


@pytest.fixture(scope="module")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = queues.start("nats", tmp_path_factory.mktemp("nats"))
    yield server.url
    server.stop()


WAITING = (
    conformance.a_lease_with_signs_of_life_is_kept,
    conformance.a_lost_lease_does_no_harm,
    conformance.a_cancelled_lease_loses_nothing,
)
"""Checks of some seconds, which see no replies that others do not see: for one version of the protocol alone."""
ON_REDIS = [
    pytest.param(check, protocol, id=f"{check.__name__}-{protocol}")
    for check in CHECKS
    for protocol in (2, 3)
    if protocol == 2 or check not in WAITING
]


@pytest.mark.parametrize(("check", "protocol"), ON_REDIS)
async def test_redis(check: Check, protocol: int, redis_url: str) -> None:
    async def open_one(campaign: str, idle: float) -> Broker:
        return await RedisQueue.open(redis_url, campaign, idle=idle, protocol=protocol)

    await check(open_one)


async def test_redis_6_2_has_every_command(redis_url: str) -> None:
    """By the server's own words: which commands the checks have used, and since when there are such."""
    from redis.asyncio import Redis

    client: Any
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        client.response_callbacks.pop("COMMAND", None)  # it takes every answer for a list of commands
        await client.config_resetstat()

        async def open_one(campaign: str, idle: float) -> Broker:
            return await RedisQueue.open(redis_url, campaign, idle=idle)

        for check in CHECKS:
            if check not in WAITING:
                await check(open_one)
        used = {name.removeprefix("cmdstat_") for name in await client.info("commandstats")}
        # What redis-py says of itself, and takes no for an answer.
        used -= {"client|setinfo", "config|resetstat", "info", "command|docs"}
        assert {"xautoclaim", "xpending", "exec", "watch"} <= used
        for name in used:
            reply = await client.execute_command("COMMAND", "DOCS", name)
            (about,) = reply.values() if isinstance(reply, dict) else reply[1::2]
            about = about if isinstance(about, dict) else dict(zip(about[::2], about[1::2], strict=True))
            since = tuple(map(int, about["since"].split(".")))
            assert since <= (6, 2, 99), f"{name} is there since {about['since']}"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_nats(check: Check, nats_url: str) -> None:
    async def open_one(campaign: str, idle: float) -> Broker:
        return await NatsQueue.open(nats_url, campaign, idle=idle)

    await check(open_one)


# --- a cluster of Redis: three masters, which refuse a command whose keys are not all on one of them ------------------

needs_transactions = pytest.mark.skipif(
    tuple(map(int, version("redis").split(".")[:2])) < (6, 2),
    reason="redis-py has transactions on clusters since 6.2",
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[queues.Server]]:
    servers: list[queues.Server] = []
    try:
        for number in range(3):
            servers.append(start_node(tmp_path_factory.mktemp(f"node{number}")))
        yield join(servers)
    finally:
        for server in servers:
            server.stop()


def start_node(directory: Path) -> queues.Server:
    bus = free_port()
    return queues.start("redis", directory, "--cluster-enabled", "yes", "--cluster-port", str(bus))


def join(servers: list[queues.Server]) -> list[queues.Server]:
    """One third of the slots for each; returns when all of them know of all."""
    from redis import Redis

    clients: list[Any] = [Redis.from_url(server.url) for server in servers]
    with contextlib.ExitStack() as stack:
        for number, client in enumerate(clients):
            stack.callback(client.close)
            slots = range(number * 16384 // 3, (number + 1) * 16384 // 3)
            client.execute_command("CLUSTER", "ADDSLOTS", *slots)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        bus = clients[0].config_get("cluster-port")["cluster-port"]
        for client in clients[1:]:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port, bus)
        deadline = time.monotonic() + 20
        while not all(known(client) for client in clients):
            assert time.monotonic() < deadline, "the cluster does not come together"
            time.sleep(0.02)
    return servers


def known(client: Any) -> bool:
    info = client.execute_command("CLUSTER", "INFO")
    return b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info


@needs_transactions
@pytest.mark.parametrize(
    "check", [check for check in CHECKS if check not in WAITING], ids=lambda check: check.__name__
)
async def test_redis_cluster(check: Check, cluster: list[queues.Server]) -> None:
    from redis.asyncio.cluster import RedisCluster

    async with contextlib.AsyncExitStack() as stack:

        async def open_one(campaign: str, idle: float) -> Broker:
            client = RedisCluster(host="127.0.0.1", port=cluster[0].port)
            stack.push_async_callback(client.aclose)
            return RedisQueue(client, campaign, idle=idle)

        await check(open_one)


@needs_transactions
async def test_campaigns_are_spread_over_a_cluster(cluster: list[queues.Server]) -> None:
    """Each on one node, all of its keys, and not all campaigns on the same."""
    from redis.asyncio.cluster import RedisCluster

    async with RedisCluster(host="127.0.0.1", port=cluster[0].port) as client:
        for number in range(12):
            queue = RedisQueue(client, f"spread{number}")
            await queue.put(conformance.chunks(1))
            await queue.write("note", b"x", 0)
            (lease,) = await queue.lease(1, 1.0)
            await queue.done(lease, b"r")
        places: dict[str, set[int]] = {}
        node: Any
        for node in client.get_primaries():
            for key in await client.keys("*spread*", target_nodes=node):
                places.setdefault(str(key).split("}")[0], set()).add(node.port)
        assert len(places) == 12
        assert all(len(nodes) == 1 for nodes in places.values())
        assert len(set.union(*places.values())) > 1
