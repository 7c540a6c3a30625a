"""Several instances of one gateway with one Redis: one rate for a project, one response for a key, also when one has died."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from fakeservers import FakeApns
from pushcore.gateway import idempotency
from pushcore.gateway.config import FleetSection
from tests.support.gateway import app_section, config_of, gateway_of
from tests.support.redis import BINARY, MISSING, RedisServer

pytestmark = pytest.mark.skipif(BINARY is None, reason=MISSING)
IPHONE = f"{1:064x}"
ALERT = {"aps": {"alert": "Hi"}}


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


async def test_a_key_counts_on_every_instance(redis: RedisServer) -> None:
    async with FakeApns() as apns:
        config = config_of(app_section(apns), fleet=FleetSection(redis=redis.url))
        async with gateway_of(config) as one, gateway_of(config) as two:
            request = {"to": IPHONE, "payload": ALERT}
            responses = await asyncio.gather(
                *(client.post("/v1/push", request, idempotency_key="same") for client in (one, two, one, two))
            )
            assert len({response.text for response in responses}) == 1
            assert len(apns.received) == 1
            assert (
                await two.post("/v1/push", {**request, "ref": "x"}, idempotency_key="same")
            ).status_code == 422


async def test_after_a_crash_another_instance_answers_that_it_may_have_been_delivered(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeApns() as apns:
        config = config_of(app_section(apns), fleet=FleetSection(redis=redis.url))
        async with gateway_of(config) as dead, gateway_of(config) as alive:

            async def crash(*_: object) -> None:
                raise asyncio.CancelledError

            request = {"to": IPHONE, "payload": ALERT}
            monkeypatch.setattr(dead.gateway.idempotency._store, "complete", crash)
            with pytest.raises(asyncio.CancelledError):
                await dead.post("/v1/push", request, idempotency_key="crash")
            monkeypatch.setattr(idempotency, "LOST", 0.0)
            response = await alive.post("/v1/push", request, idempotency_key="crash")
            assert response.json()["verdict"] == "UNKNOWN"
            assert "may have been delivered" in response.json()["detail"]
            assert len(apns.received) == 1


async def test_without_its_redis_a_key_is_not_promised_and_nothing_is_sent(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis").start()
    try:
        async with FakeApns() as apns:
            config = config_of(app_section(apns), fleet=FleetSection(redis=server.url))
            async with gateway_of(config) as client:
                server.kill()
                request = {"to": IPHONE, "payload": ALERT}
                response = await client.post("/v1/push", request, idempotency_key="k")
                assert response.status_code == 503
                assert not apns.received
                assert (await client.post("/v1/push", request)).json()["verdict"] == "ACCEPTED"
    finally:
        server.stop()


@pytest.mark.parametrize("shared", [True, False], ids=["redis", "shares"])
async def test_instances_keep_one_rate_together(redis: RedisServer, shared: bool) -> None:
    rate, pushes = 100, 100
    async with FakeApns() as apns:
        section = app_section(apns)
        limited = msgspec.structs.replace(section.apns[0], rate=f"{rate}/s")
        section = msgspec.structs.replace(section, apns=(limited,))
        fleet = FleetSection(redis=redis.url) if shared else FleetSection(instances=2)
        async with (
            gateway_of(config_of(section, fleet=fleet)) as one,
            gateway_of(config_of(section, fleet=fleet)) as two,
        ):
            body = {"pushes": [{"to": IPHONE, "payload": ALERT}] * pushes}
            began = time.monotonic()
            responses = await asyncio.gather(*(client.post("/v1/push/batch", body) for client in (one, two)))
            took = time.monotonic() - began
        for response in responses:
            assert {result["verdict"] for result in response.json()["results"]} == {"ACCEPTED"}
        # 200 pushes at 100 a second; what may come at once is less than half of a second's worth of each.
        assert took > 1.0
