"""What `/metrics` shows: of each app and provider, and of the gateway's own requests."""

from __future__ import annotations

import re

import pytest

from pushcore.engine.breaker import RUN
from pushcore.gateway.operations.numbers import GatewayNumbers
from tests.support.virtual_gateway import (
    ALERT,
    ANDROID,
    EXPO,
    IPHONE,
    Providers,
    VirtualClient,
    refused,
    serve,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def samples(text: str) -> dict[str, float]:
    """By name with labels."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_requests_are_counted_by_route_and_status() -> None:
    numbers = GatewayNumbers(list)
    for seconds in (0.02, 0.3):
        numbers.request("/v1/push", 200, seconds, None)
    numbers.request("/v1/push", 429, 0.02, None)
    found = samples(numbers.exposition("")[0].decode())
    assert found['pushcore_gateway_requests_total{route="/v1/push",status="200"}'] == 2
    assert found['pushcore_gateway_requests_total{route="/v1/push",status="429"}'] == 1
    assert found['pushcore_gateway_request_seconds_bucket{le="0.025",route="/v1/push"}'] == 2
    assert found['pushcore_gateway_request_seconds_sum{route="/v1/push"}'] == pytest.approx(0.34)


def test_a_trace_is_the_exemplar_of_its_request() -> None:
    numbers = GatewayNumbers(list)
    numbers.request("/v1/push", 200, 0.3, TRACE)
    text, media_type = numbers.exposition("application/openmetrics-text")
    assert media_type.startswith("application/openmetrics-text")
    assert re.search(rf'le="0.5".* # {{trace_id="{TRACE}"}} 0.3', text.decode())
    assert TRACE.encode() not in numbers.exposition("text/plain")[0]


def test_webhooks_and_forwarded_pushes_are_counted() -> None:
    numbers = GatewayNumbers(list)
    numbers.webhook("shop", "delivered", 5)
    numbers.webhook("shop", "delivered", 2)
    numbers.forwarded("shop", "DeviceNotRegistered")
    found = samples(numbers.exposition("")[0].decode())
    assert found['pushcore_gateway_webhook_results_total{app="shop",outcome="delivered"}'] == 7
    assert found['pushcore_gateway_forwarded_total{app="shop",ticket="DeviceNotRegistered"}'] == 1


def test_numbers_of_each_app_and_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    providers = Providers(monkeypatch)
    providers.fates[f"{2:064x}"] = refused(400, "TopicDisallowed")

    async def work(client: VirtualClient) -> dict[str, float]:
        await client.batch([{"to": IPHONE, "payload": ALERT}, {"to": ANDROID, "payload": EXPO}])
        await client.batch([{"to": f"{2:064x}", "payload": ALERT}] * (20 * RUN))
        return samples((await client.get("/metrics")).body.decode())

    found = serve(work)
    apns = 'app="shop",environment="production",provider="apns"'
    accepted = [
        value
        for name, value in found.items()
        if "ACCEPTED" in name and 'app="shop"' in name and 'provider="apns"' in name
    ]
    assert accepted == [1]
    assert found[f"pushcore_gateway_queued{{{apns}}}"] == 0
    assert (
        found[
            'pushcore_gateway_breaker_open{app="shop",caller="web",environment="production",provider="apns"}'
        ]
        == 1
    )
    assert found['pushcore_gateway_token_age_seconds{app="shop",environment="",provider="fcm"}'] >= 0
    totals = {
        name: value
        for name, value in found.items()
        if "duration" in name and 'le="+Inf"' in name and 'provider="fcm"' in name
    }
    assert list(totals.values()) == [1]
    assert not [name for name in found if name.startswith("pushcore_breaker")], (
        "of engines, which have none here"
    )
