"""Every adapter against the same checks: in memory, on Redis, on NATS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pushcore.queue import conformance
from pushcore.queue.conformance import CHECKS, Check
from pushcore.queue.memory import Memory, MemoryQueue
from pushcore.queue.nats import NatsQueue
from pushcore.queue.protocol import Broker
from pushcore.queue.redis import RedisQueue
from tests.support import nats, redis


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if redis.BINARY is None:
        pytest.skip(redis.MISSING)
    server = redis.RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server.url
    server.stop()


@pytest.fixture(scope="module")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if nats.BINARY is None:
        pytest.skip(nats.MISSING)
    server = nats.NatsServer(tmp_path_factory.mktemp("nats")).start()
    yield server.url
    server.stop()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_memory(check: Check) -> None:
    memories: dict[str, Memory] = {}

    async def open_one(campaign: str, idle: float) -> Broker:
        return MemoryQueue(campaign, memories.setdefault(campaign, Memory()), idle=idle)

    await check(open_one)


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


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_nats(check: Check, nats_url: str) -> None:
    async def open_one(campaign: str, idle: float) -> Broker:
        return await NatsQueue.open(nats_url, campaign, idle=idle)

    await check(open_one)
