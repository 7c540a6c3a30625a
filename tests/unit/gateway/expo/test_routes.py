"""Expo's routes: a ticket for each recipient, receipts, forwarding, and errors in Expo's form."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from pushcore.gateway.callers import digest_of
from pushcore.gateway.config import CallerSection, ExpoSection, GatewayConfig, SealingSection
from pushcore.gateway.expo.sealed import new_key
from tests.support.gateway import OTHER_TOKEN, TOKEN, config_of
from tests.support.virtual import Answer
from tests.support.virtual_gateway import (
    ANDROID,
    IPHONE,
    TOPIC,
    Providers,
    VirtualClient,
    apns_section,
    app,
    refused,
    serve,
)

SEND, RECEIPTS, GET_TOKEN = (
    f"/--/api/v2/push/{name}" for name in ("send", "getReceipts", "getExpoPushToken")
)
PROJECT = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
PACKAGE = "com.example.android"
ISSUED = [f"ExponentPushToken[{number:022}]" for number in range(4)]


@pytest.fixture
def config(tmp_path: Path) -> GatewayConfig:
    return configured(tmp_path)


def configured(place: Path, **changes: Any) -> GatewayConfig:
    """The app "shop" with `PROJECT`, and keys for tokens and receipts. `changes`: of its section on Expo."""
    files = {name: str(place / name) for name in ("token_keys", "receipt_keys")}
    for file in files.values():
        if not Path(file).exists():
            Path(file).write_text(new_key(os.urandom))
    expo = ExpoSection(**{"project_ids": (PROJECT,), "packages": (PACKAGE,), **changes})
    return config_of(app(expo=expo), sealing=SealingSection(**files))


async def tickets(client: VirtualClient, body: Any, path: str = SEND, **options: Any) -> Any:
    reply = await client.post(path, body, **options)
    assert reply.status == 200, reply.body
    return reply.json()["data"]


async def errors(client: VirtualClient, body: Any, path: str = SEND, **options: Any) -> tuple[int, str]:
    """The status and the code of a request that is rejected."""
    reply = await client.post(path, body, **options)
    assert reply.headers["content-type"] == "application/json"
    (error,) = reply.json()["errors"]
    return reply.status, error["code"]


def test_a_ticket_for_each_recipient_and_a_receipt_for_each_ticket(
    providers: Providers, config: GatewayConfig
) -> None:
    providers.fates[f"{2:064x}"] = refused(410, "Unregistered")

    async def work(client: VirtualClient) -> None:
        messages = [{"to": [IPHONE, ANDROID], "title": "Hi"}, {"to": f"{2:064x}", "title": "Hi"}, 5]
        first, second, dead, wrong = await tickets(client, messages)
        assert (first["status"], second["status"]) == ("ok", "ok")
        assert dead["details"]["error"] == "DeviceNotRegistered"
        assert wrong["details"]["error"] == "DeveloperError"
        ids = [first["id"], second["id"]]
        known = {one: {"status": "ok"} for one in ids}
        assert await tickets(client, {"ids": [*ids, "", "rubbish"]}, RECEIPTS) == known
        assert await tickets(client, {"ids": ids}, RECEIPTS, token=OTHER_TOKEN) == {}
        single = await tickets(client, {"to": IPHONE, "title": "Hi"})
        assert single["status"] == "ok"

    serve(work, config)
    assert sorted(providers.tokens) == sorted([IPHONE, ANDROID, f"{2:064x}", IPHONE])


def test_a_sealed_token_goes_to_its_device(providers: Providers, config: GatewayConfig) -> None:
    async def work(client: VirtualClient) -> None:
        base = {"projectId": PROJECT, "deviceId": "d", "development": False}
        ios = {**base, "type": "apns", "deviceToken": IPHONE.upper(), "appId": TOPIC}
        android = {**base, "type": "fcm", "deviceToken": ANDROID, "appId": PACKAGE}
        sealed = [
            (await tickets(client, body, GET_TOKEN, token=None))["expoPushToken"] for body in (ios, android)
        ]
        again = await tickets(client, ios, GET_TOKEN, token=None)
        assert again["expoPushToken"] == sealed[0]
        found = await tickets(client, {"to": sealed, "title": "Hi"})
        assert [ticket["status"] for ticket in found] == ["ok", "ok"]

    serve(work, config)
    assert providers.tokens == [IPHONE, ANDROID]


def test_the_same_message_to_the_same_device_is_sent_once(
    providers: Providers, config: GatewayConfig
) -> None:
    providers.fates[f"{2:064x}"] = refused(410, "Unregistered")

    async def work(client: VirtualClient) -> None:
        twice = {"to": [IPHONE, {"type": "ios", "data": IPHONE}, f"{2:064x}", f"{2:064X}"], "title": "Hi"}
        one, other, dead, copy = await tickets(client, twice)
        assert one == other
        assert dead["details"]["expoPushToken"] == f"{2:064x}"
        assert copy["details"]["expoPushToken"] == f"{2:064X}"
        assert copy["details"]["error"] == "DeviceNotRegistered"

    serve(work, config)
    assert providers.tokens == [IPHONE, f"{2:064x}"]


def test_what_cannot_be_sent_is_the_ticket_of_its_recipient_alone(providers: Providers) -> None:
    config = config_of(app(fcm=None, apns=(apns_section(environments=("sandbox",)),)))

    async def work(client: VirtualClient) -> None:
        messages = [
            {"to": IPHONE, "title": 5},
            {"to": ANDROID, "title": "Hi"},
            {"to": ISSUED[0], "title": "Hi"},
            {"to": IPHONE, "title": "Hi"},
        ]
        wrong, unconfigured, issued, fine = await tickets(client, messages)
        assert wrong["details"]["error"] == "DeveloperError"
        assert unconfigured["details"]["error"] == "InvalidCredentials"
        assert "no service account for FCM" in unconfigured["message"]
        assert "does not forward to Expo" in issued["message"]
        assert fine["status"] == "ok"

    serve(work, config)
    assert providers.tokens == [IPHONE]


def test_a_request_that_is_rejected_sends_nothing(providers: Providers, config: GatewayConfig) -> None:
    async def work(client: VirtualClient) -> None:
        invalid = (400, "VALIDATION_ERROR")
        assert await errors(client, b"{") == invalid
        assert await errors(client, b"5") == invalid
        assert await errors(client, {"to": IPHONE}, f"{SEND}?app=other") == invalid
        assert await errors(client, {"to": [IPHONE] * 101}) == (400, "PUSH_TOO_MANY_NOTIFICATIONS")
        assert await errors(client, {"to": IPHONE}, token="wrong") == (401, "UNAUTHORIZED")
        assert await errors(client, {"ids": 5}, RECEIPTS) == invalid
        assert await errors(client, {"ids": ["x"] * 1001}, RECEIPTS) == (400, "PUSH_TOO_MANY_RECEIPTS")
        client.gateway.callers.all[0].active = 64
        assert await errors(client, {"to": IPHONE}) == (429, "TOO_MANY_REQUESTS")
        client.gateway.callers.all[0].active = 0

    serve(work, config)
    assert not providers.requests


def test_a_fault_of_ours_is_expos_internal_error(
    providers: Providers, config: GatewayConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise LookupError

    monkeypatch.setattr("pushcore.gateway.expo.routes.dialect.plan", fail)

    async def work(client: VirtualClient) -> None:
        assert await errors(client, {"to": IPHONE}) == (500, "INTERNAL_SERVER_ERROR")

    serve(work, config)


@pytest.mark.parametrize(
    ("token", "fate", "error", "wait"),
    [
        (IPHONE, refused(500, "InternalServerError"), "ProviderError", None),
        (IPHONE, refused(429, "TooManyRequests"), "MessageRateExceeded", None),
        (ANDROID, (429, {}, b'{"error": {"status": "RESOURCE_EXHAUSTED"}}'), "MessageRateExceeded", None),
        (ANDROID, (503, {"retry-after": "1200"}, b""), "ProviderError", 1200),
    ],
)
def test_a_retry_that_would_be_due_later_is_told_at_once(
    providers: Providers, token: str, fate: Any, error: str, wait: float | None
) -> None:
    providers.fates[token] = fate

    async def work(client: VirtualClient) -> None:
        begun = asyncio.get_running_loop().time()
        ticket = await tickets(client, {"to": token, "body": "Hi"})
        assert asyncio.get_running_loop().time() - begun < 1
        assert ticket["details"]["error"] == error
        assert ticket["details"].get("retryAfter") == wait
        assert len(providers.requests) == 1

    serve(work)


def test_the_rate_of_a_caller_counts_before_the_first_push(providers: Providers) -> None:
    callers = (CallerSection(name="web", tokens=(digest_of(TOKEN),), rate=2.0),)

    async def work(client: VirtualClient) -> None:
        await tickets(client, {"to": [IPHONE, ANDROID], "title": "Hi"})
        reply = await client.post(SEND, {"to": IPHONE, "title": "Hi"})
        assert (reply.status, reply.headers["retry-after"]) == (429, "1")

    serve(work, config_of(app(), callers=callers))
    assert len(providers.requests) == 2


def test_the_app_of_callers_of_several(providers: Providers) -> None:
    bound = CallerSection(name="bound", tokens=(digest_of(OTHER_TOKEN),), apps=("other",))
    web = CallerSection(name="web", tokens=(digest_of(TOKEN),))
    config = config_of(app(), app(id="other"), callers=(web, bound))

    async def work(client: VirtualClient) -> None:
        message = {"to": IPHONE, "title": "Hi"}
        assert "the app of this token is unknown" in (await tickets(client, message))["message"]
        assert (await tickets(client, message, f"{SEND}?app=shop"))["status"] == "ok"
        assert (await tickets(client, message, token=OTHER_TOKEN))["status"] == "ok"
        assert await errors(client, message, f"{SEND}?app=shop", token=OTHER_TOKEN) == (
            400,
            "VALIDATION_ERROR",
        )
        senders = {name: app.apns().connections for name, app in client.gateway.apps.items()}
        assert senders == {"shop": 1, "other": 1}

    serve(work, config)


def test_a_repeat_by_its_key(
    providers: Providers, config: GatewayConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pushcore.gateway.idempotency.LOST", -1.0)
    body = [{"to": [IPHONE, IPHONE], "title": "Hi"}, {"to": "?", "title": "Hi"}]

    async def work(client: VirtualClient) -> None:
        first = await client.post(SEND, body, idempotency_key="a")
        assert (await client.post(SEND, body, idempotency_key="a")).body == first.body
        store = client.gateway.idempotency._store

        async def die(key: bytes, record: bytes) -> None:
            raise SystemError("killed")

        with monkeypatch.context() as patch:
            patch.setattr(store, "complete", die)
            assert await errors(client, body, idempotency_key="b") == (500, "INTERNAL_SERVER_ERROR")
        lost, copy, wrong = await tickets(client, body, idempotency_key="b")
        assert lost["details"]["error"] == copy["details"]["error"] == "ProviderError"
        assert lost["message"].startswith("may have been delivered")
        assert wrong["details"]["error"] == "DeveloperError"

    serve(work, config)
    assert providers.tokens == [IPHONE, IPHONE]


def expo_service(path: str, body: Any) -> Answer:
    """Expo's own: a ticket for each message, and receipts for the ids that it gave."""
    if path.endswith("getReceipts"):
        return (
            200,
            {},
            orjson.dumps({"data": {id: {"status": "ok"} for id in body["ids"] if id.startswith("expo")}}),
        )
    data = [
        {"status": "error", "message": "m", "details": {"error": "DeviceNotRegistered"}}
        if message["to"] == ISSUED[1]
        else {"status": "ok", "id": f"expo-{number}"}
        for number, message in enumerate(body)
    ]
    return 200, {}, orjson.dumps({"data": data})


def test_tokens_that_expo_has_issued_are_forwarded_to_it(providers: Providers, tmp_path: Path) -> None:
    providers.expo = expo_service
    token = tmp_path / "access"
    token.write_text("expo-secret")
    config = configured(tmp_path, forward="expo", access_token_file=str(token))

    async def work(client: VirtualClient) -> None:
        messages = [{"to": [ISSUED[0], IPHONE], "title": "Hi"}, {"to": ISSUED[1], "body": "b"}]
        first, own, dead = await tickets(client, messages)
        assert first == {"status": "ok", "id": "expo-0"}
        assert own["status"] == "ok"
        assert dead["details"]["error"] == "DeviceNotRegistered"
        found = await tickets(client, {"ids": [first["id"], own["id"], "unknown"]}, RECEIPTS)
        assert found == {first["id"]: {"status": "ok"}, own["id"]: {"status": "ok"}}
        metrics = (await client.get("/metrics")).body.decode()
        assert 'pushcore_gateway_forwarded_total{app="shop",ticket="ok"} 1.0' in metrics
        assert 'pushcore_gateway_forwarded_total{app="shop",ticket="DeviceNotRegistered"} 1.0' in metrics
        body = b'[{"to": "%s", "data": %s}]' % (ISSUED[0].encode(), b"[" * 300 + b"]" * 300)
        (nested,) = await tickets(client, body)
        assert nested["details"]["error"] == "DeveloperError"

    serve(work, config)
    sent, asked = (
        [(fields, body) for path, fields, body in providers.requests if path == wanted]
        for wanted in (SEND, RECEIPTS)
    )
    ((fields, body),) = sent
    assert fields["authorization"] == "Bearer expo-secret"
    assert body == [{"title": "Hi", "to": ISSUED[0]}, {"body": "b", "to": ISSUED[1]}]
    assert [body for _, body in asked] == [{"ids": ["expo-0", "unknown"]}]
    assert providers.tokens.count(IPHONE) == 1


# --- tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"projectId": "00000000-0000-4000-8000-000000000000"}, "no app of this gateway has this projectId"),
        ({"projectId": 5}, "no app of this gateway has this projectId"),
        ({"type": "pager"}, 'type must be "apns" or "fcm"'),
        ({"development": "yes"}, "development must be true or false"),
        ({"deviceToken": ""}, "deviceToken must be a string"),
        ({"deviceToken": "x" * 513}, "deviceToken must be a string"),
        ({"deviceToken": 5}, "deviceToken must be a string"),
        ({"deviceToken": "ab"}, "deviceToken is not a token of apns"),
        ({"deviceToken": "zz" * 32}, "deviceToken is not a token of apns"),
        ({"appId": 5}, "appId must be a string"),
        ({"appId": "com.other"}, "not one of the app's topics"),
        ({"appId": f"{TOPIC}.voip"}, "not one of the app's topics"),
        ({"development": True}, "sends to APNs in production only"),
        ({"type": "fcm", "deviceToken": ANDROID, "appId": TOPIC}, "not one of the app's packages"),
    ],
)
def test_a_token_for_a_device_that_is_not_the_apps(
    providers: Providers, config: GatewayConfig, changes: dict[str, Any], words: str
) -> None:
    body = {"projectId": PROJECT, "type": "apns", "deviceToken": IPHONE, "appId": TOPIC, **changes}

    async def work(client: VirtualClient) -> None:
        reply = await client.post(GET_TOKEN, body, token=None)
        (error,) = reply.json()["errors"]
        assert (reply.status, error["code"]) == (400, "VALIDATION_ERROR")
        assert words in error["message"]

    serve(work, config)


def test_what_is_no_request_for_a_token(providers: Providers, config: GatewayConfig) -> None:
    async def work(client: VirtualClient) -> None:
        assert await errors(client, b"[]", GET_TOKEN, token=None) == (400, "VALIDATION_ERROR")
        assert await errors(client, b"x" * 20_000, GET_TOKEN, token=None) == (413, "VALIDATION_ERROR")

    serve(work, config)


def test_requests_for_tokens_are_limited_by_network(
    providers: Providers, config: GatewayConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pushcore.gateway.expo.registrations.NETWORK_BURST", 2.0)
    monkeypatch.setattr("pushcore.gateway.expo.registrations.NETWORK_RATE", 1e-3)
    body = {"projectId": PROJECT, "type": "apns", "deviceToken": IPHONE, "appId": TOPIC}

    async def work(client: VirtualClient) -> None:
        phones = [("2001:db8:1:2::1", 1), ("2001:db8:1:2::2", 1), ("2001:db8:1:2:3::", 1)]
        replies = [await client.post(GET_TOKEN, body, token=None, client=phone) for phone in phones]
        assert [reply.status for reply in replies] == [200, 200, 429]
        assert int(replies[2].headers["retry-after"]) > 900
        elsewhere = await client.post(GET_TOKEN, body, token=None, client=None)
        assert elsewhere.status == 200

    serve(work, config)


def test_requests_for_tokens_are_limited_by_app(
    providers: Providers, config: GatewayConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pushcore.gateway.expo.registrations.APP_BURST", 2.0)
    monkeypatch.setattr("pushcore.gateway.expo.registrations.APP_RATE", 1e-3)
    body = {"projectId": PROJECT, "type": "apns", "deviceToken": IPHONE, "appId": TOPIC}

    async def work(client: VirtualClient) -> None:
        phones = [(f"2001:db8:{number}::1", 1) for number in range(3)]
        replies = [await client.post(GET_TOKEN, body, token=None, client=phone) for phone in phones]
        assert [reply.status for reply in replies] == [200, 200, 429]
        assert "this app requests" in replies[2].json()["errors"][0]["message"]

    serve(work, config)


def test_a_gateway_without_keys_issues_no_tokens(providers: Providers, config: GatewayConfig) -> None:
    async def work(client: VirtualClient) -> None:
        client.gateway.sealing.tokens = None
        body = {"projectId": PROJECT, "type": "apns", "deviceToken": IPHONE, "appId": TOPIC}
        reply = await client.post(GET_TOKEN, body, token=None)
        assert "does not issue tokens" in reply.json()["errors"][0]["message"]

    serve(work, config)


def test_the_receipts_of_a_gateway_without_keys_outlive_a_reload(providers: Providers) -> None:
    async def work(client: VirtualClient) -> None:
        ticket = await tickets(client, {"to": IPHONE, "title": "Hi"})
        await client.gateway.reload(config_of(app()))
        assert await tickets(client, {"ids": [ticket["id"]]}, RECEIPTS) == {ticket["id"]: {"status": "ok"}}

    serve(work, config_of(app()))
