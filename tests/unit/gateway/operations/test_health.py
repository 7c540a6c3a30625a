"""`/healthz`, `/readyz` and `/metrics`: what operators see of apps and providers."""

from __future__ import annotations

from typing import Any

import pytest

from pushcore.errors import ConnectError
from pushcore.gateway.config import ApnsSection
from tests.support.gateway import config_of
from tests.support.key_material import materials
from tests.support.virtual_gateway import (
    ALERT,
    ANDROID,
    EXPO,
    IPHONE,
    TOPIC,
    Providers,
    VirtualClient,
    app,
    serve,
)


async def states(client: VirtualClient, status: int = 200) -> dict[str, Any]:
    """What `/readyz` says of each provider of the app "shop"."""
    reply = await client.get("/readyz")
    assert reply.status == status
    body = reply.json()
    return {state["provider"]: state for state in body["apps"]["shop"]} | {"status": body["status"]}


def test_it_is_alive(providers: Providers) -> None:
    async def work(client: VirtualClient) -> None:
        client.gateway.ending = True
        assert (await client.get("/healthz")).json() == {"status": "alive"}

    serve(work)


def test_it_is_ready_before_the_first_push_and_after_it(providers: Providers) -> None:
    async def work(client: VirtualClient) -> None:
        fresh = await states(client)
        assert fresh["status"] == "ready"
        assert fresh["apns"] == {
            **{"provider": "apns", "environment": "production", "ready": True},
            **{"connections": 0, "queued": 0, "breakers_open": 0},
        }
        await client.batch([{"to": IPHONE, "payload": ALERT}, {"to": ANDROID, "payload": EXPO}])
        used = await states(client)
        assert (used["apns"]["connections"], used["fcm"]["connections"]) == (1, 1)
        assert used["fcm"]["token_age"] == 0
        assert "environment" not in used["fcm"]

    serve(work)


def test_it_says_why_a_provider_is_not_ready_and_is_ready_for_the_other(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(client: VirtualClient) -> None:
        apns = client.gateway.apps["shop"].apns()
        apns.metrics.connection_failed("apns", "api.push.apple.com", ConnectError("no route"))
        found = await states(client)
        assert (found["apns"]["ready"], found["apns"]["problem"]) == (False, "no route")
        assert found["fcm"]["ready"]
        client.gateway.apps["shop"].to_fcm().metrics.connection_failed("fcm", "h", ConnectError("no name"))
        assert (await states(client, 503))["status"] == "not ready"
        apns.metrics.connection_opened("apns", "api.push.apple.com")
        assert (await states(client))["apns"]["ready"]

    serve(work)


def test_a_gateway_that_ends_takes_nothing_new(providers: Providers) -> None:
    async def work(client: VirtualClient) -> None:
        client.gateway.ending = True
        assert (await states(client, 503))["status"] == "ending"

    serve(work)


def test_it_says_when_a_certificate_ends(providers: Providers) -> None:
    section = ApnsSection(certificate=materials()["certificate with key"], topics=(TOPIC,))

    async def work(client: VirtualClient) -> None:
        (moment,) = (await states(client))["apns"]["expires"].values()
        assert moment.endswith("Z")
        assert len(moment) == 20

    serve(work, config_of(app(apns=(section,))))


def test_metrics_are_text_for_prometheus(providers: Providers) -> None:
    async def work(client: VirtualClient) -> None:
        plain = await client.get("/metrics")
        assert plain.headers["content-type"].startswith("text/plain")
        assert b"pushcore_gateway_active_requests 1.0" in plain.body
        accept = "application/openmetrics-text; version=1.0.0"
        assert (await client.get("/metrics", accept=accept)).body.endswith(b"# EOF\n")

    serve(work)
