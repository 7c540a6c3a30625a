"""The gateway's plain dialect against the fakes: a push in, its result out."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from fakeservers import FakeApns, fated_token
from pushcore.gateway.callers import digest_of
from pushcore.gateway.config import CallerSection, LimitsSection
from tests.e2e.fcm_support import registration
from tests.support.gateway import OTHER_TOKEN, app_section, config_of, fakes_and_gateway, gateway_of

IPHONE = f"{1:064x}"
EXPO = {"title": "Hi", "body": "there"}
ALERT = {"aps": {"alert": "Hi"}}


async def test_one_push_in_every_format_to_every_target() -> None:
    async with fakes_and_gateway() as (_, _, client):
        android = registration()
        accepted: list[dict[str, Any]] = [
            {"to": IPHONE, "payload": ALERT},
            {"to": IPHONE, "payload": EXPO},
            {"to": {"type": "ios", "data": IPHONE}, "payload": EXPO},
            {"to": android, "payload": EXPO},
            {"to": {"type": "android", "data": android}, "payload": EXPO},
            {"to": android, "payload": {"notification": {"title": "Hi"}}},
            {"to": android, "payload": {"message": {"data": {"a": "b"}}}},
            {"to": IPHONE, "payload": {"apns": ALERT, "fcm": {"data": {"a": "b"}}}},
            {"to": android, "payload": {"apns": ALERT, "fcm": {"data": {"a": "b"}}}},
            {"fcm_topic": "news", "payload": EXPO},
            {"condition": "'a' in topics", "payload": {"notification": {"title": "Hi"}}},
            {"to": IPHONE, "payload": {"aps": {"content-available": 1}}, "priority": 5, "collapse_id": "x"},
        ]
        for request in accepted:
            result = await client.push(**request, ref="r")
            assert result["verdict"] == "ACCEPTED", (request, result)
            assert result["ref"] == "r"
            assert result["id"]


async def test_what_cannot_be_sent_is_an_invalid_result() -> None:
    async with fakes_and_gateway() as (apns, fcm, client):
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"payload": ALERT}, "exactly one of to"),
            ({"to": IPHONE, "fcm_topic": "x", "payload": ALERT}, "exactly one of to"),
            ({"to": "ExponentPushToken[abc]", "payload": EXPO}, "Expo's push service"),
            ({"to": "?", "payload": EXPO}, "platform"),
            ({"to": IPHONE, "payload": {}}, "several formats"),
            ({"to": IPHONE, "payload": {"notification": {}}}, "format of fcm"),
            ({"to": IPHONE, "payload": ALERT, "push_type": "loud"}, "push_type is one of"),
            ({"to": IPHONE, "payload": ALERT, "priority": 3}, "priority is 1, 5 or 10"),
            ({"to": IPHONE, "payload": ALERT, "topic": "com.other"}, "no key for that topic"),
            ({"to": IPHONE, "payload": ALERT, "environment": "sandbox"}, "production of APNs alone"),
            ({"to": registration(), "payload": {"notification": {}, "token": "x"}}, "has a target"),
            ({"to": IPHONE, "payload": {"fcm": {"data": {}}}}, "has no apns"),
        ]
        for request, expected in wrong:
            result = await client.push(**request)
            assert result["verdict"] == "INVALID"
            assert expected in result["detail"], (request, result)
        assert not apns.received
        assert not fcm.received


async def test_verdicts_of_the_providers_come_back() -> None:
    async with fakes_and_gateway() as (_, _, client):
        result = await client.push(to=fated_token("Unregistered"), payload=ALERT)
        assert result["verdict"] == "UNREGISTERED"
        assert result["reason"] == "Unregistered"
        assert result["drop_token"] is True
        assert result["timestamp"] > 0


async def test_a_batch_has_its_results_in_order_whatever_is_wrong_with_one() -> None:
    async with fakes_and_gateway() as (_, _, client):
        pushes: list[Any] = [
            {"to": f"{number:064x}", "payload": ALERT, "ref": str(number)} for number in range(100)
        ]
        pushes[7] = {"to": IPHONE}
        pushes[8] = {"to": IPHONE, "payload": ALERT, "colour": "red"}
        pushes[9] = 9
        pushes[10] = {"to": fated_token("Unregistered"), "payload": ALERT}
        pushes[11] = {"to": IPHONE, "payload": ALERT, "app": "nobody"}
        response = await client.post("/v1/push/batch", {"pushes": pushes})
        assert response.status_code == 200
        results = response.json()["results"]
        assert len(results) == 100
        assert [results[place]["verdict"] for place in (7, 8, 9, 10, 11)] == [
            *["INVALID"] * 3,
            "UNREGISTERED",
            "INVALID",
        ]
        for number in (*range(7), *range(12, 100)):
            assert results[number]["verdict"] == "ACCEPTED"
            assert results[number]["ref"] == str(number)


async def test_validate_only_sends_nothing_to_a_device() -> None:
    async with fakes_and_gateway() as (apns, fcm, client):
        result = await client.push(to=IPHONE, payload=ALERT, validate_only=True)
        assert (result["verdict"], result["detail"]) == ("UNSENT", "checked, and not sent")
        big = await client.push(to=IPHONE, payload={"aps": {"alert": "x" * 5000}}, validate_only=True)
        assert big["verdict"] == "INVALID"
        assert not apns.received
        result = await client.push(to=registration(), payload=EXPO, validate_only=True)
        assert result["verdict"] == "ACCEPTED"
        assert b"validate_only" in fcm.received[-1].body


@pytest.mark.parametrize(
    ("body", "status", "name"),
    [
        (b"", 400, "json"),
        (b"{", 400, "json"),
        (b"[" * 100_000, 400, "json"),
        (b'{"to": "x", "payload": {}, "colour": 1}', 422, "invalid"),
        (b"[]", 422, "invalid"),
        (b'{"to": "x", "payload": {}, "app": "nobody"}', 422, "no-app"),
        (b'"' + b"x" * 3000 + b'"', 413, "too-large"),
        (b'{"to": "\xff", "payload": {}}', 400, "json"),
    ],
)
async def test_a_wrong_request_is_a_problem(body: bytes, status: int, name: str) -> None:
    async with fakes_and_gateway(limits=LimitsSection(body=2048)) as (_, _, client):
        response = await client.post("/v1/push", body)
        if body.startswith(b"[["):
            status, name = 413, "too-large"
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        assert problem["type"] == f"urn:pushcore:problem:{name}"
        assert problem["status"] == status


async def test_who_may_come_in() -> None:
    async with FakeApns() as apns:
        callers = (
            CallerSection(name="web", tokens=(digest_of("a"), digest_of("b")), apps=("shop",), concurrent=1),
            CallerSection(name="slow", tokens=(digest_of("c"),), rate=2),
        )
        apps = app_section(apns), app_section(apns, id="news")
        async with gateway_of(config_of(*apps, callers=callers)) as client:
            request = {"to": IPHONE, "payload": ALERT}
            for token in (None, "", "d", OTHER_TOKEN, "é" * 10_000):
                response = await client.post(
                    "/v1/push",
                    request,
                    token=None if token is None else token.encode().hex() if "é" in token else token,
                )
                assert response.status_code == 401
                assert response.headers["www-authenticate"].startswith("Bearer")
            for token in ("a", "b"):
                assert (await client.post("/v1/push", request, token=token)).json()["verdict"] == "ACCEPTED"
            other = await client.post("/v1/push", {**request, "app": "news"}, token="a")
            assert other.status_code == 422
            several = await client.post("/v1/push", request, token="c")
            assert "several" in several.json()["detail"]
            statuses = [
                (await client.post("/v1/push", {**request, "app": "news"}, token="c")).status_code
                for _ in range(3)
            ]
            assert statuses == [200, 200, 429]


async def test_gzip_and_its_bombs() -> None:
    async with fakes_and_gateway() as (_, _, client):
        body = b'{"to": "%s", "payload": {"aps": {"alert": "Hi"}}}' % IPHONE.encode()
        for encoding in ("gzip", "x-gzip"):
            response = await client.post("/v1/push", gzip.compress(body), content_encoding=encoding)
            assert response.json()["verdict"] == "ACCEPTED"
        bomb = gzip.compress(b" " * 7_000_000 + body)
        assert (await client.post("/v1/push", bomb, content_encoding="gzip")).status_code == 413
        assert (await client.post("/v1/push", body, content_encoding="gzip")).status_code == 400
        assert (
            await client.post("/v1/push", gzip.compress(body)[:-4], content_encoding="gzip")
        ).status_code == 400
        assert (await client.post("/v1/push", body, content_encoding="br")).status_code == 415


async def test_unknown_paths_and_methods_are_problems() -> None:
    async with fakes_and_gateway() as (_, _, client):
        assert (await client.http.get("/healthz")).json() == {"status": "alive"}
        for response, status in (
            (await client.http.get("/nothing"), 404),
            (await client.http.get("/v1/push"), 405),
        ):
            assert response.status_code == status
            assert response.headers["content-type"] == "application/problem+json"
