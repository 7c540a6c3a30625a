"""The gateway's plain dialect against the fakes: a push in, its result out."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import msgspec
import orjson
import pytest

from fakeservers import FakeApns, fated_token
from pushcore.gateway.callers import digest_of
from pushcore.gateway.config import CallerSection, LimitsSection
from tests.e2e.fcm_support import registration
from tests.support.gateway import OTHER_TOKEN, TOKEN, app_section, config_of, fakes_and_gateway, gateway_of
from tests.support.redis import free_port

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


async def test_a_push_that_cannot_be_sent_is_an_invalid_result() -> None:
    async with fakes_and_gateway() as (apns, fcm, client):
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"payload": ALERT}, "exactly one of to"),
            ({"to": IPHONE, "fcm_topic": "x", "payload": ALERT}, "exactly one of to"),
            ({"to": "ExponentPushToken[abc]", "payload": EXPO}, "Expo's push service"),
            ({"to": "?", "payload": EXPO}, "platform"),
            ({"to": IPHONE, "payload": {}}, "several formats"),
            ({"to": IPHONE, "payload": {"notification": {}}}, "format of fcm"),
            ({"to": IPHONE, "payload": ALERT, "push_type": "loud"}, "unknown push_type; expected one of"),
            ({"to": IPHONE, "payload": ALERT, "priority": 3}, "expected priority 1, 5 or 10"),
            ({"to": IPHONE, "payload": ALERT, "topic": "com.other"}, "no key or certificate for this topic"),
            ({"to": IPHONE, "payload": ALERT, "environment": "sandbox"}, "APNs in production only"),
            ({"to": registration(), "payload": {"notification": {}, "token": "x"}}, "contains a target"),
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


async def test_a_template_with_rows() -> None:
    async with fakes_and_gateway() as (apns, fcm, client):
        request: dict[str, Any] = {
            "template": {"title": "Hi {{name}}", "body": "You have {{count}}"},
            "rows": [
                {"token": IPHONE, "name": 'Ada "', "count": 1, "ref": "ada"},
                {"token": registration(), "name": "Bo", "count": 2},
                {"type": "ios", "data": IPHONE, "name": "Cy", "count": 3},
                {"token": IPHONE, "name": "Di"},
                {"token": "?", "name": "Ed", "count": 5},
                {"token": IPHONE, "name": "Flo", "count": 6, "topic": "com.other"},
            ],
        }
        response = await client.post("/v1/push/batch", request)
        results = response.json()["results"]
        assert [result["verdict"] for result in results] == [*["ACCEPTED"] * 3, *["INVALID"] * 3]
        assert results[0]["ref"] == "ada"
        assert "count" in results[3]["detail"]
        bodies = sorted(orjson.loads(record.body)["aps"]["alert"]["title"] for record in apns.received)
        assert bodies == ['Hi Ada "', "Hi Cy"]
        assert b"You have 2" in fcm.received[-1].body
        checked = await client.post("/v1/push/batch", {**request, "validate_only": True})
        assert [result["verdict"] for result in checked.json()["results"][:2]] == ["UNSENT", "ACCEPTED"]
        assert b'"validate_only":true' in fcm.received[-1].body.replace(b" ", b"")
        for wrong, words in (
            ({**request, "template": {"aps": {"alert": "{{na:me}}"}}}, "malformed"),
            ({**request, "template": {}}, "an empty object"),
            ({**request, "pushes": [{}]}, "either pushes"),
            ({"template": request["template"]}, "either pushes"),
            ({**request, "priority": 3}, "priority"),
            ({**request, "format": "fcm"}, "FCM"),
        ):
            response = await client.post("/v1/push/batch", wrong)
            assert response.status_code == 422, (wrong, response.text)
            assert words in response.json()["detail"], (wrong, response.text)


async def test_a_broadcast_goes_to_its_channel() -> None:
    update = {"aps": {"event": "update", "content-state": {}, "timestamp": 1, "alert": "Goal"}}
    async with fakes_and_gateway() as (_, _, client):
        result = await client.push(channel="dHN0LXNyY2gtY2hubA==", payload=update)
        assert (result["verdict"], result["reason"]) == ("INVALID", "ChannelNotRegistered")
        assert "APNs' format" in (await client.push(channel="x", payload=EXPO))["detail"]


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


async def test_only_known_callers_are_served() -> None:
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


# --- the stream -------------------------------------------------------------------------------------------------------


def lines_of(text: str) -> tuple[dict[int, dict[str, Any]], dict[str, Any]]:
    """The results by line, and the last line."""
    *results, last = [orjson.loads(line) for line in text.splitlines()]
    return {result["line"]: result for result in results}, last


async def test_a_stream_answers_every_line() -> None:
    async with fakes_and_gateway() as (_, fcm, client):
        lines: list[Any] = [
            orjson.dumps({"to": f"{number:064x}", "payload": ALERT}) for number in range(3000)
        ]
        lines[5] = b"{"
        lines[6] = orjson.dumps({"to": registration(6), "payload": EXPO, "ref": "six"})
        lines[7] = orjson.dumps({"to": fated_token("Unregistered"), "payload": ALERT})
        lines[8] = b'{"payload": {"x": "' + b"y" * 70_000 + b'"}}'
        lines[9] = orjson.dumps({"to": IPHONE, "payload": ALERT, "validate_only": True})
        lines[10] = orjson.dumps({"to": IPHONE, "payload": ALERT, "app": "nobody"})
        for body, options in (
            (b"\n".join(lines), {}),
            (gzip.compress(b"\n".join(lines)), {"content_encoding": "gzip"}),
        ):
            response = await client.post("/v1/push/stream", body, **options)
            assert response.status_code == 200
            results, last = lines_of(response.text)
            assert last == {"done": True, "lines": 3000}
            assert sorted(results) == list(range(1, 3001))
            verdicts = [results[line]["verdict"] for line in (6, 7, 8, 9, 10, 11)]
            assert verdicts == ["INVALID", "ACCEPTED", "UNREGISTERED", "INVALID", "UNSENT", "INVALID"]
            assert results[7]["ref"] == "six"
            assert {results[line]["verdict"] for line in (1, 2, 3, 4, 5, *range(12, 3001))} == {"ACCEPTED"}
        assert sum(b"there" in record.body for record in fcm.received) == 2


async def test_a_stream_whose_body_is_wrong_says_so_in_its_last_line() -> None:
    async with fakes_and_gateway() as (_, _, client):
        line = orjson.dumps({"to": IPHONE, "payload": ALERT}) + b"\n"
        for body, options, words in (
            (line, {"content_encoding": "gzip"}, "is not gzip"),
            (gzip.compress(line * 9)[:-9], {"content_encoding": "gzip"}, "truncated"),
            (gzip.compress(b"\n" * 4_000_000), {"content_encoding": "gzip"}, "too large"),
        ):
            response = await client.post("/v1/push/stream", body, **options)
            _, last = lines_of(response.text)
            assert last["done"] is False
            assert words in last["detail"]
        assert (await client.post("/v1/push/stream", line, idempotency_key="a")).status_code == 400
        assert (await client.post("/v1/push/stream", line, content_encoding="br")).status_code == 415
        assert (await client.post("/v1/push/stream?app=nobody", line)).status_code == 422
        assert (await client.post("/v1/push/stream", b"")).text == '{"done":true,"lines":0}\n'


# --- idempotency ------------------------------------------------------------------------------------------------------


async def test_a_repeat_gets_the_first_response_and_sends_nothing() -> None:
    async with fakes_and_gateway() as (apns, _, client):
        request = {"to": IPHONE, "payload": ALERT}
        first, same = await asyncio.gather(
            *(client.post("/v1/push", request, idempotency_key="k") for _ in range(2))
        )
        again = await client.post("/v1/push", request, idempotency_key="k")
        assert first.json() == same.json() == again.json()
        assert again.headers["idempotent-replayed"] == "true"
        assert len(apns.received) == 1
        other = await client.post("/v1/push", {**request, "ref": "x"}, idempotency_key="k")
        assert other.status_code == 422
        for options in ({"token": OTHER_TOKEN, "idempotency_key": "k"}, {"idempotency_key": "l"}, {}):
            assert (await client.post("/v1/push", request, **options)).json()["verdict"] == "ACCEPTED"
        assert len(apns.received) == 4
        batch = {"pushes": [request]}
        for _ in range(2):
            response = await client.post("/v1/push/batch", batch, idempotency_key="k")  # another route
            assert response.json()["results"][0]["verdict"] == "ACCEPTED"
        assert len(apns.received) == 5
        assert (await client.post("/v1/push", request, idempotency_key="x y")).status_code == 400


# --- operating --------------------------------------------------------------------------------------------------------


async def test_operators_see_apps_providers_and_numbers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "pushcore.gateway.access")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with fakes_and_gateway() as (_, _, client):
        await client.post(
            "/v1/push",
            {"to": IPHONE, "payload": {"aps": {"alert": "secret words"}}},
            traceparent=f"00-{trace}-00f067aa0ba902b7-01",
            x_request_id="abc",
        )
        await client.push(to=registration(), payload=EXPO)
        ready = (await client.http.get("/readyz")).json()
        assert ready["status"] == "ready"
        states = ready["apps"]["shop"]
        assert [state["provider"] for state in states] == ["apns", "fcm"]
        assert all(state["ready"] and state["connections"] == 1 for state in states)
        assert states[1]["token_age"] >= 0
        text = (await client.http.get("/metrics", headers={"accept": "application/openmetrics-text"})).text
        assert (
            'pushcore_sent_total{app="shop",environment="production",outcome="ACCEPTED",provider="apns",reason=""} 1'
            in text
        )
        assert 'pushcore_gateway_requests_total{route="/v1/push",status="200"} 2' in text
        assert f'trace_id="{trace}"' in text
        client.gateway.ending = True
        assert (await client.http.get("/readyz")).status_code == 503
        await client.http.get("/secret-path")
    lines = [orjson.loads(record.message) for record in caplog.records]
    assert lines[0]["trace_id"] == trace
    assert lines[0]["request_id"] == "abc"
    assert lines[0]["caller"] == "web"
    assert lines[0]["pushes"] == 1
    assert lines[-1]["route"] == "other"
    assert not any(word in caplog.text for word in (IPHONE, "secret", TOKEN))


async def test_a_provider_that_cannot_be_reached_is_not_ready() -> None:
    async with FakeApns() as apns:
        section = app_section(apns)
        gone = msgspec.structs.replace(section.apns[0], url=f"https://127.0.0.1:{free_port()}", timeout=0.2)
        async with gateway_of(config_of(msgspec.structs.replace(section, apns=(gone,)))) as client:
            result = await client.push(to=IPHONE, payload=ALERT)
            assert result["verdict"] == "UNSENT"
            response = await client.http.get("/readyz")
            assert response.status_code == 503
            (state,) = response.json()["apps"]["shop"]
            assert state["problem"]
            assert (await client.http.get("/healthz")).status_code == 200


async def test_a_reload_takes_a_new_app_and_keeps_the_connections_of_the_old_one() -> None:
    async with FakeApns() as apns, gateway_of(config_of(app_section(apns))) as client:
        await client.push(to=IPHONE, payload=ALERT)
        old = client.gateway.apps["shop"]
        await client.gateway.reload(config_of(app_section(apns), app_section(apns, id="news")))
        assert client.gateway.apps["shop"] is old
        assert (await client.push(to=IPHONE, payload=ALERT, app="news"))["verdict"] == "ACCEPTED"
        changed = config_of(app_section(apns, id="news"))
        await client.gateway.reload(changed)
        response = await client.post("/v1/push", {"to": IPHONE, "payload": ALERT, "app": "shop"})
        assert response.status_code == 422
