"""Webhooks: signed, retried, bounded, without redirects, and counted when they are lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from fakeservers import FakeApns, fated_token
from pushcore.gateway import webhooks
from pushcore.gateway.config import WebhookSection
from pushcore.gateway.webhooks import read_secret, sign
from tests.e2e.support import soon
from tests.support.gateway import GatewayClient, app_section, config_of, gateway_of

ALERT = {"aps": {"alert": "Hi"}}
IPHONE = f"{1:064x}"


class Receiver:
    """An HTTP server that keeps what it is sent. `statuses`: of its next responses, then 200."""

    def __init__(self) -> None:
        self.url = ""
        self.deliveries: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.split("\r\n")[1:-2]
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                self.deliveries.append((headers, await reader.readexactly(int(headers["content-length"]))))
                status = self.statuses.pop(0) if self.statuses else 200
                location = f"Location: {self.url}\r\n" if status == 302 else ""
                writer.write(f"HTTP/1.1 {status} X\r\n{location}Content-Length: 0\r\n\r\n".encode())
        writer.close()

    @property
    def results(self) -> list[dict[str, Any]]:
        """Those of all deliveries, each once."""
        bodies = {headers["webhook-id"]: orjson.loads(body) for headers, body in self.deliveries}
        return [result for body in bodies.values() for result in body["data"]["results"]]


@contextlib.asynccontextmanager
async def receiving(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[Receiver, GatewayClient]]:
    """A receiver, and a gateway whose app has it as its webhook."""
    secret = tmp_path / "secret"
    secret.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    receiver = Receiver()
    async with FakeApns() as apns, await asyncio.start_server(receiver.serve, "127.0.0.1", 0) as server:
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        section = WebhookSection(
            **{"url": receiver.url, "secret_file": str(secret), "private": True, **options}
        )
        async with gateway_of(config_of(app_section(apns, webhook=(section,)))) as client:
            yield receiver, client


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "GATHER", 0.01)
    monkeypatch.setattr(webhooks, "DELAYS", (0.01, 0.01))


async def counted(client: GatewayClient, outcome: str) -> float:
    text = (await client.http.get("/metrics")).text
    name = f'pushcore_gateway_webhook_results_total{{app="shop",outcome="{outcome}"}} '
    return sum(float(line[len(name) :]) for line in text.splitlines() if line.startswith(name))


async def test_results_are_delivered_in_batches_and_signed(tmp_path: Path) -> None:
    async with receiving(tmp_path) as (receiver, client):
        pushes = [{"to": f"{number:064x}", "payload": ALERT} for number in range(50)]
        await client.post("/v1/push/batch", {"pushes": pushes})
        await client.push(to=fated_token("Unregistered"), payload=ALERT)
        await soon(lambda: len(receiver.results) == 51)
        assert len(receiver.deliveries) < 10
        headers, body = receiver.deliveries[0]
        key = read_secret(str(tmp_path / "secret"))
        expected = sign(key, headers["webhook-id"], headers["webhook-timestamp"], body)
        assert headers["webhook-signature"] == expected
        assert orjson.loads(body)["type"] == "push.results"
        dead = receiver.results[-1]
        assert (dead["app"], dead["caller"], dead["provider"]) == ("shop", "web", "apns")
        assert dead["push"]["token"] == fated_token("Unregistered")
        assert dead["drop_token"] is True
        await soon_counted(client, "delivered", 51)


async def test_only_dead_tokens(tmp_path: Path) -> None:
    async with receiving(tmp_path, results="dead") as (receiver, client):
        await client.push(to=IPHONE, payload=ALERT)
        await client.push(to=fated_token("BadDeviceToken"), payload=ALERT)
        await client.push(to=fated_token("Unregistered"), payload=ALERT)
        await soon(lambda: receiver.results)
        assert [result["reason"] for result in receiver.results] == ["Unregistered"]


async def test_a_delivery_that_fails_is_repeated_with_the_same_id(tmp_path: Path) -> None:
    async with receiving(tmp_path) as (receiver, client):
        receiver.statuses = [500, 302]
        await client.push(to=IPHONE, payload=ALERT)
        await soon(lambda: len(receiver.deliveries) == 3)  # the redirect is not followed, but repeated
        assert len({headers["webhook-id"] for headers, _ in receiver.deliveries}) == 1
        await soon_counted(client, "delivered", 1)


async def soon_counted(client: GatewayClient, outcome: str, results: int) -> None:
    async with asyncio.timeout(5):
        while await counted(client, outcome) != results:
            await asyncio.sleep(0.01)


async def test_an_undeliverable_webhook_is_counted(tmp_path: Path) -> None:
    async with receiving(tmp_path) as (receiver, client):
        receiver.statuses = [500] * 3
        await client.push(to=IPHONE, payload=ALERT)
        await soon_counted(client, "rejected", 1)
        receiver.statuses = [410]
        await client.push(to=IPHONE, payload=ALERT)
        await soon_counted(client, "rejected", 2)
        assert len(receiver.deliveries) == 4
        await client.push(to=IPHONE, payload=ALERT)
        await soon_counted(client, "delivered", 1)


async def test_a_private_address_gets_nothing_unless_allowed(tmp_path: Path) -> None:
    async with receiving(tmp_path, url="https://localhost:1/", private=False) as (receiver, client):
        assert (await client.push(to=IPHONE, payload=ALERT))["verdict"] == "ACCEPTED"
        await soon_counted(client, "unreachable", 1)
        assert not receiver.deliveries


async def test_a_receiver_that_does_not_keep_up_loses_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "MOST_QUEUED", 5)
    monkeypatch.setattr(webhooks, "GATHER", 5.0)
    async with receiving(tmp_path) as (receiver, client):
        pushes = [{"to": f"{number:064x}", "payload": ALERT} for number in range(20)]
        await client.post("/v1/push/batch", {"pushes": pushes})
        assert await counted(client, "overflow") == 15
    assert len(receiver.results) == 5  # when the gateway ends, what waits is delivered
