"""Expo's dialect of the gateway against the fakes: tokens, tickets, receipts, and what goes on to Expo."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import orjson
import pytest

from fakeservers import fated_token
from fakeservers.fcm.fates import fated_registration
from pushcore.gateway.callers import digest_of
from pushcore.gateway.config import CallerSection
from pushcore.gateway.expo import registrations
from tests.e2e.fcm_support import registration
from tests.support.expo import (
    GET_TOKEN,
    PACKAGE,
    PROJECT,
    RECEIPTS,
    SEND,
    expo_gateway,
    key_file,
    sealed_token,
)
from tests.support.gateway import OTHER_TOKEN, TOKEN, app_section, config_of, gateway_of
from tests.support.http2_service import Http2Service, asgi
from tests.tiers import budget

IPHONE = f"{1:064x}"
ISSUED = "ExponentPushToken[xxxxxxxxxxxxxxxxxxxxxx]"
HI = {"title": "Hi", "body": "there"}


def tickets(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()["data"]


def errors(found: list[dict[str, Any]]) -> list[str | None]:
    return [ticket.get("details", {}).get("error") for ticket in found]


async def test_from_a_phones_token_to_its_receipt(tmp_path: Path) -> None:
    async with expo_gateway(tmp_path) as (apns, fcm, client):
        ios = await sealed_token(client, IPHONE, apns.topic)
        android = await sealed_token(client, registration(), PACKAGE)
        assert ios == await sealed_token(client, IPHONE.upper(), apns.topic), "the same at each start"
        assert len(ios) == 103
        assert len(android) == 223
        sent = tickets(await client.post(SEND, [{"to": [ios, android], **HI, "data": {"a": 1}}]))
        assert [ticket["status"] for ticket in sent] == ["ok", "ok"]
        (to_apns,) = apns.received
        assert (to_apns.token, to_apns.headers["apns-topic"]) == (IPHONE, apns.topic)
        assert orjson.loads(to_apns.body) == {"aps": {"alert": HI}, "body": {"a": 1}}
        (to_fcm,) = (each for each in fcm.received if each.path.endswith("messages:send"))
        assert orjson.loads(to_fcm.body)["message"]["token"] == registration()

        ids = [ticket["id"] for ticket in sent]
        assert len({*ids}) == 2
        asked = {"ids": [*ids, "", "rubbish", "f47ac10b-58cc-4372-a567-0e02b2c3d479", None]}
        ok = {one: {"status": "ok"} for one in ids}
        assert tickets(await client.post(RECEIPTS, asked)) == ok
        assert tickets(await client.post(RECEIPTS, asked, token=OTHER_TOKEN)) == {}


async def test_one_message_to_one_recipient_has_a_bare_ticket(tmp_path: Path) -> None:
    async with expo_gateway(tmp_path) as (_, _, client):
        for to in (IPHONE, {"type": "ios", "data": IPHONE}, {"type": "android", "data": registration()}):
            ticket = tickets(await client.post(SEND, {"to": to, **HI}))
            assert ticket["status"] == "ok"
        assert len(tickets(await client.post(SEND + "?useFcmV1=true", {"to": [IPHONE], **HI}))) == 1
        assert tickets(await client.post(SEND, [])) == []


async def test_a_bad_message_is_its_own_ticket(tmp_path: Path) -> None:
    async with expo_gateway(tmp_path) as (apns, fcm, client):
        messages: list[Any] = [
            {"to": IPHONE, **HI},
            {"to": IPHONE, "badge": "many"},
            {"to": "nonsense", **HI},
            {"to": ISSUED, **HI},
            "no message",
            {"to": registration(1), "title": "x" * 5000},
            {"to": IPHONE, "title": "x" * 5000},
            {"to": f"{2:064x}", **HI},
            {"to": IPHONE, **HI},
        ]
        found = tickets(await client.post(SEND, messages))
        assert errors(found) == [
            None,
            *(["DeveloperError"] * 4),
            *(["MessageTooBig"] * 2),
            None,
            None,
        ]
        assert "badge must be a number" in found[1]["message"]
        assert found[2]["details"]["expoPushToken"] == "nonsense"
        assert "issued by Expo" in found[3]["message"]
        assert [each.token for each in apns.received] == [IPHONE, f"{2:064x}"], "the last is the first's copy"
        assert not [each for each in fcm.received if each.path.endswith("messages:send")]


async def test_reasons_of_providers_become_errors_of_expo(tmp_path: Path) -> None:
    expected = {
        fated_token("Unregistered"): "DeviceNotRegistered",
        fated_token("ExpiredToken"): "DeviceNotRegistered",
        fated_token("BadDeviceToken"): "DeveloperError",
        fated_token("PayloadTooLarge"): "MessageTooBig",
        fated_token("TooManyRequests"): "MessageRateExceeded",
        fated_token("ServiceUnavailable"): "ProviderError",
        fated_token("TopicDisallowed"): "InvalidCredentials",
        fated_token("Cut"): "ProviderError",
        fated_registration("Unregistered"): "DeviceNotRegistered",
        fated_registration("SenderIdMismatch"): "MismatchSenderId",
        fated_registration("QuotaExceeded"): "MessageRateExceeded",
    }
    async with expo_gateway(tmp_path) as (_, _, client):
        found = [tickets(await client.post(SEND, {"to": token, **HI})) for token in expected]
        assert errors(found) == list(expected.values())
        assert [ticket["details"]["expoPushToken"] for ticket in found] == list(expected)
        by_error = dict(zip(expected.values(), found, strict=True))
        assert "is not a registered push notification recipient" in by_error["DeviceNotRegistered"]["message"]
        assert by_error["ProviderError"]["message"].startswith("may have been delivered")


async def test_gzip_and_what_a_request_is_rejected_for(tmp_path: Path) -> None:
    async with expo_gateway(tmp_path) as (apns, _, client):
        body = gzip.compress(orjson.dumps([{"to": IPHONE, **HI}]))
        (ticket,) = tickets(await client.post(SEND, body, content_encoding="gzip"))
        assert ticket["status"] == "ok"
        asked = gzip.compress(orjson.dumps({"ids": [ticket["id"]]}))
        assert tickets(await client.post(RECEIPTS, asked, content_encoding="gzip"))

        apns.received.clear()
        many = [{"to": f"{number:064x}"} for number in range(101)]
        for path, document, token, status, code in (
            (SEND, many, TOKEN, 400, "PUSH_TOO_MANY_NOTIFICATIONS"),
            (RECEIPTS, {"ids": ["x"] * 1001}, TOKEN, 400, "PUSH_TOO_MANY_RECEIPTS"),
            (SEND, b"{", TOKEN, 400, "VALIDATION_ERROR"),
            (SEND, 5, TOKEN, 400, "VALIDATION_ERROR"),
            (RECEIPTS, [], TOKEN, 400, "VALIDATION_ERROR"),
            (SEND, {"to": IPHONE}, "wrong", 401, "UNAUTHORIZED"),
            (RECEIPTS, {"ids": []}, None, 401, "UNAUTHORIZED"),
        ):
            response = await client.post(path, document, token=token)
            assert response.status_code == status
            assert response.headers["content-type"] == "application/json"
            (error,) = response.json()["errors"]
            assert error["code"] == code
            assert error["message"]
        assert (await client.post(SEND, b"x", content_encoding="gzip")).json()["errors"][0][
            "code"
        ] == "VALIDATION_ERROR"
        response = await client.post(SEND + "?app=other", {"to": IPHONE})
        assert response.json()["errors"][0]["code"] == "VALIDATION_ERROR"
        assert not apns.received


async def test_a_caller_above_its_rate_has_429_before_the_first_push(tmp_path: Path) -> None:
    async with expo_gateway(tmp_path) as (apns, _, client):
        slow = CallerSection(name="slow", tokens=(digest_of("s"),), rate=3)
        config = client.gateway.config
        sealing, app = config.sealing, config.app
        async with gateway_of(config_of(*app, callers=(slow,), sealing=sealing)) as limited:
            messages = [{"to": f"{number:064x}"} for number in range(3)]
            assert len(tickets(await limited.post(SEND, messages, token="s"))) == 3
            response = await limited.post(SEND, messages, token="s")
            assert response.status_code == 429
            assert response.json()["errors"][0]["code"] == "TOO_MANY_REQUESTS"
            assert response.headers["retry-after"] == "1"
        assert len(apns.received) == 3


async def test_a_repeat_by_idempotency_key_sends_nothing_again(tmp_path: Path) -> None:
    async with expo_gateway(tmp_path) as (apns, _, client):
        message = {"to": IPHONE, **HI}
        first, second = await asyncio.gather(
            *(client.post(SEND, message, idempotency_key="k") for _ in range(2))
        )
        assert first.content == second.content
        assert len(apns.received) == 1
        other = await client.post(SEND, {"to": IPHONE}, idempotency_key="k")
        assert other.status_code == 422
        assert other.json()["errors"][0]["code"] == "VALIDATION_ERROR"


async def test_a_repeat_of_what_an_instance_died_with_says_that_it_may_have_been_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with expo_gateway(tmp_path) as (apns, _, client):
        idempotency = client.gateway.idempotency
        messages = [{"to": [IPHONE, "nonsense", IPHONE.upper()], **HI}]

        async def die(*arguments: Any) -> None:
            raise asyncio.CancelledError

        with monkeypatch.context() as patch:
            patch.setattr(idempotency._store, "complete", die)
            with contextlib.suppress(asyncio.CancelledError):
                await client.post(SEND, messages, idempotency_key="k")
        monkeypatch.setattr(idempotency, "_clock", lambda: time.time() + 100)
        found = tickets(await client.post(SEND, messages, idempotency_key="k"))
        assert errors(found) == ["ProviderError", "DeveloperError", "ProviderError"]
        assert found[0]["message"].startswith("may have been delivered")
        assert found[2]["details"]["expoPushToken"] == IPHONE.upper()
        assert len(apns.received) == 1


def anything(rng: random.Random, depth: int = 0) -> Any:
    """Some JSON, with Expo's words in it."""
    kind = rng.randrange(9 if depth < 4 else 6)
    if kind < 6:
        return rng.choice(
            [None, True, -1, 0, 1e300, 2**63, "", "x", "\u0000", "default", IPHONE, ISSUED, registration()]
        )
    if kind == 6:
        return [anything(rng, depth + 1) for _ in range(rng.randrange(4))]
    words = "to title body data sound badge ttl expiration priority richContent type ids deviceToken projectId appId"
    words += " development vibrate future channelId relevanceScore"
    found = {rng.choice(words.split()): anything(rng, depth + 1) for _ in range(rng.randrange(6))}
    return found | rng.choice(
        [{}, {"to": IPHONE}, {"projectId": PROJECT}, {"to": registration(), "title": "T"}]
    )


@pytest.mark.grows
async def test_every_body_is_answered(tmp_path: Path) -> None:
    rng = random.Random(5)
    async with expo_gateway(tmp_path) as (_, _, client):
        for path in (SEND, RECEIPTS, GET_TOKEN):
            for _ in range(budget(150, 3000)):
                body = orjson.dumps(anything(rng))
                response = await client.post(path, body)
                assert response.status_code in (200, 400, 429), (path, body, response.text)
                assert response.json().keys() <= {"data", "errors"}


async def test_json_that_is_nested_deeply_is_a_ticket(tmp_path: Path) -> None:
    deep = b'{"a":' * 1010 + b"1" + b"}" * 1010
    async with expo_gateway(tmp_path, forward="expo", url="https://127.0.0.1:1") as (apns, _, client):
        for token in (IPHONE, registration(), ISSUED):
            message = b'{"to":"%b","title":"T","data":%b}' % (token.encode(), deep)
            found = tickets(await client.post(SEND, b"[%b,%b]" % (message, message)))
            assert errors(found) == ["DeveloperError", "DeveloperError"], token
        assert not apns.received


async def test_apps_of_callers(tmp_path: Path) -> None:
    async with expo_gateway(tmp_path) as (apns, fcm, client):
        config = client.gateway.config
        (shop,) = config.app
        news = app_section(apns, fcm, id="news")
        callers = (
            CallerSection(name="both", tokens=(digest_of("both"),)),
            CallerSection(name="news", tokens=(digest_of("news"),), apps=("news",)),
        )
        ios = await sealed_token(client, IPHONE, apns.topic)
        async with gateway_of(config_of(shop, news, callers=callers, sealing=config.sealing)) as two:
            (foreign,) = tickets(await two.post(SEND, [{"to": ios}], token="news"))
            assert "this caller may not use" in foreign["message"]
            assert "shop" not in foreign["message"]
            assert errors(
                tickets(await two.post(SEND, [{"to": ios}, {"to": f"{2:064x}"}], token="both"))
            ) == [None, None]
            assert errors(tickets(await two.post(SEND, [{"to": IPHONE}], token="both"))) == ["DeveloperError"]
            assert errors(tickets(await two.post(SEND + "?app=news", [{"to": IPHONE}], token="both"))) == [
                None
            ]
            response = await two.post(SEND + "?app=news", [{"to": ios}, {"to": IPHONE}], token="both")
            assert response.json()["errors"][0]["code"] == "PUSH_TOO_MANY_EXPERIENCE_IDS"


# --- tokens ---------------------------------------------------------------------------------------------------------


async def test_a_malformed_request_for_a_token_is_rejected(tmp_path: Path) -> None:
    async with expo_gateway(tmp_path) as (apns, _, client):
        good = {
            "type": "apns",
            "deviceToken": IPHONE,
            "appId": apns.topic,
            "projectId": PROJECT,
            "development": False,
        }
        assert (await client.post(GET_TOKEN, good, token=None)).status_code == 200
        android = {"type": "fcm", "deviceToken": registration(), "appId": PACKAGE}
        for changes, words in (
            ({"projectId": "other"}, "projectId"),
            ({"projectId": None}, "projectId"),
            ({"projectId": []}, "projectId"),
            ({"type": "web"}, "type must be"),
            ({"type": ["apns"]}, "type must be"),
            ({"deviceToken": "xyz"}, "deviceToken"),
            ({"deviceToken": "ab"}, "too short"),
            ({"deviceToken": registration()}, "deviceToken"),
            ({"deviceToken": ""}, "deviceToken"),
            ({"deviceToken": "ab" * 300}, "deviceToken"),
            ({"deviceToken": ISSUED}, "deviceToken"),
            ({"appId": "com.other"}, "topics for APNs"),
            ({"appId": PACKAGE}, "topics for APNs"),
            ({"appId": 5}, "appId"),
            ({"development": True}, "APNs in production only"),
            ({"development": "no"}, "development"),
            (android | {"appId": apns.topic}, "packages on Android"),
            (android | {"deviceToken": IPHONE}, "deviceToken"),
        ):
            response = await client.post(GET_TOKEN, good | changes, token=None)
            assert response.status_code == 400, changes
            (error,) = response.json()["errors"]
            assert error["code"] == "VALIDATION_ERROR"
            assert words in error["message"], changes
        for body in (b"", b"[]", b'"x"'):
            assert (await client.post(GET_TOKEN, body, token=None)).status_code == 400
        assert (await client.post(GET_TOKEN, b"x" * 20_000, token=None)).status_code == 413


async def test_a_development_build_is_of_the_sandbox(tmp_path: Path) -> None:
    async with expo_gateway(tmp_path) as (apns, _, client):
        config = client.gateway.config
        (production,) = app_section(apns).apns
        sandbox = msgspec.structs.replace(production, environments=("sandbox",))
        app = msgspec.structs.replace(config.app[0], apns=(production, sandbox))
        async with gateway_of(config_of(app, sealing=config.sealing)) as both:
            tokens = [
                await sealed_token(both, IPHONE, apns.topic, development=flag) for flag in (False, True)
            ]
            sealed = both.gateway.sealing.tokens
            assert sealed is not None
            devices = [sealed.open(token) for token in tokens]
            assert [device.environment for device in devices if device] == ["production", "sandbox"]
            assert errors(tickets(await both.post(SEND, [{"to": tokens}]))) == [None, None]


async def test_too_many_requests_for_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registrations, "NETWORK_BURST", 3.0)
    monkeypatch.setattr(registrations, "NETWORK_RATE", 1e-3)
    async with expo_gateway(tmp_path) as (_, _, client):
        codes = [(await client.post(GET_TOKEN, {}, token=None)).status_code for _ in range(5)]
        assert codes == [400, 400, 400, 429, 429]
        response = await client.post(GET_TOKEN, {}, token=None)
        assert response.json()["errors"][0]["code"] == "TOO_MANY_REQUESTS"
        assert int(response.headers["retry-after"]) > 100


# --- reloading and instances --------------------------------------------------------------------------------------


async def test_another_instance_opens_tokens_and_knows_receipts(tmp_path: Path) -> None:
    async with expo_gateway(tmp_path) as (apns, _, client):
        ios = await sealed_token(client, IPHONE, apns.topic)
        (ticket,) = tickets(await client.post(SEND, [{"to": ios}]))
        async with gateway_of(client.gateway.config) as other:
            assert tickets(await other.post(RECEIPTS, {"ids": [ticket["id"]]})) == {
                ticket["id"]: {"status": "ok"}
            }
            assert errors(tickets(await other.post(SEND, [{"to": ios}]))) == [None]


async def test_a_reload_takes_new_keys_and_reads_old_ones(tmp_path: Path) -> None:
    async with expo_gateway(tmp_path) as (apns, _, client):
        config = client.gateway.config
        ios = await sealed_token(client, IPHONE, apns.topic)
        (ticket,) = tickets(await client.post(SEND, [{"to": ios}]))
        assert config.sealing.token_keys is not None
        file = Path(config.sealing.token_keys)
        file.write_text(Path(key_file(tmp_path, "newer")).read_text() + file.read_text())
        await client.gateway.reload(config)
        assert await sealed_token(client, IPHONE, apns.topic) != ios
        assert errors(tickets(await client.post(SEND, [{"to": ios}]))) == [None]
        assert tickets(await client.post(RECEIPTS, {"ids": [ticket["id"]]}))


async def test_without_keys_of_their_own_receipts_are_known_while_the_process_is(tmp_path: Path) -> None:
    async with expo_gateway(tmp_path) as (apns, fcm, _):
        config = config_of(app_section(apns, fcm))
        async with gateway_of(config) as client, gateway_of(config) as other:
            (ticket,) = tickets(await client.post(SEND, [{"to": IPHONE}]))
            await client.gateway.reload(config)
            assert tickets(await client.post(RECEIPTS, {"ids": [ticket["id"]]}))
            assert tickets(await other.post(RECEIPTS, {"ids": [ticket["id"]]})) == {}


# --- Expo's own -----------------------------------------------------------------------------------------------------


async def test_a_second_gateway_in_the_place_of_expo(tmp_path: Path) -> None:
    async with expo_gateway(tmp_path / "expo") as (second_apns, _, expo):
        theirs = await sealed_token(expo, IPHONE, second_apns.topic)
        dead = await sealed_token(expo, fated_token("Unregistered"), second_apns.topic)
        async with Http2Service(asgi(expo.http._transport.app), tmp_path) as service:  # type: ignore[attr-defined]
            (tmp_path / "access-token").write_text(f"{TOKEN}\n")
            forward = {
                "forward": "expo",
                "url": service.url,
                "ca_file": service.ca_file,
                "access_token_file": str(tmp_path / "access-token"),
            }
            async with expo_gateway(tmp_path / "ours", **forward) as (apns, _, client):
                ours = await sealed_token(client, IPHONE, apns.topic)
                messages = [{"to": [theirs, ours, dead], **HI}, {"to": [ISSUED, f"{3:064x}"], **HI}]
                found = tickets(await client.post(SEND, messages))
                assert errors(found) == [None, None, "DeviceNotRegistered", "DeveloperError", None]
                assert [each.token for each in second_apns.received] == [IPHONE, fated_token("Unregistered")]
                assert [each.token for each in apns.received] == [IPHONE, f"{3:064x}"]
                ids = [ticket["id"] for ticket in found if ticket["status"] == "ok"]
                assert tickets(await client.post(RECEIPTS, {"ids": [*ids, "", "x"]})) == {
                    one: {"status": "ok"} for one in ids
                }
                assert tickets(await expo.post(RECEIPTS, {"ids": ids})) == {ids[0]: {"status": "ok"}}
                numbers = (await client.http.get("/metrics")).text
                for ticket in ("ok", "DeviceNotRegistered", "DeveloperError"):
                    assert f'pushcore_gateway_forwarded_total{{app="shop",ticket="{ticket}"}} 1.0' in numbers


async def test_expo_out_of_reach_fails_its_tokens_alone(tmp_path: Path) -> None:
    async with expo_gateway(tmp_path, forward="expo", url="https://127.0.0.1:1", timeout=0.2) as (
        apns,
        _,
        client,
    ):
        found = tickets(await client.post(SEND, [{"to": [ISSUED, IPHONE], **HI}]))
        assert errors(found) == ["ExpoError", None]
        assert len(apns.received) == 1
