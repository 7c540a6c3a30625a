"""What becomes of Expo's responses, and that a bad message fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from pushcore.errors import ClosedError, ConfigurationError, ConnectionLost, GoAway, TransportError
from pushcore.gateway.expo import forward
from pushcore.gateway.expo.forward import ExpoService, Rejection
from pushcore.http2.exchange import NO_FIELDS, Exchange, request
from pushcore.http2.headers import HeaderTemplate
from tests.support.http2_service import Http2Service, Response
from tests.support.virtual import run

TOKENS = [f"ExponentPushToken[{number:022}]" for number in range(8)]
MESSAGES = [{"to": token, "title": "T"} for token in TOKENS]
SECONDS = 20.0


def exchange(status: int, document: Any, error: TransportError | None = None) -> Exchange:
    made = request(HeaderTemplate(()), b"", b"", NO_FIELDS, lambda finished: None)
    made.status, made.error, made.header_block = status, error, [(b"retry-after", b"7")]
    made.data = document if isinstance(document, bytes) else orjson.dumps(document)
    return made


def errors(code: str, **more: Any) -> dict[str, Any]:
    return {"errors": [{"code": code, "message": "why", **more}]}


def test_tickets_are_expos_own() -> None:
    tickets = [
        {"status": "ok", "id": "1"},
        {"status": "error", "message": "m", "details": {"error": "Future"}},
    ]
    assert forward.read_tickets(exchange(200, {"data": tickets}), 2) == tickets


@pytest.mark.parametrize(
    ("status", "document", "name", "words"),
    [
        (429, errors("TOO_MANY_REQUESTS"), "MessageRateExceeded", "after 7 s"),
        (429, b"<html>", "MessageRateExceeded", "429"),
        (401, errors("UNAUTHORIZED"), "InvalidCredentials", "UNAUTHORIZED: why"),
        (403, b"", "ExpoError", "not a response of Expo (a proxy, a wrong URL?): 403 with an empty body"),
        (
            401,
            b"<html><title>Sign in</title>",
            "ExpoError",
            "not a response of Expo (a proxy, a wrong URL?): 401",
        ),
        (500, errors("INTERNAL_SERVER_ERROR"), "ExpoError", "INTERNAL_SERVER_ERROR"),
        (502, b"<html>", "ExpoError", "502"),
        (404, b"not found", "ExpoError", "404"),
        (301, b"", "ExpoError", "301"),
        (400, errors("VALIDATION_ERROR"), "DeveloperError", "VALIDATION_ERROR: why"),
        (200, errors("VALIDATION_ERROR"), "DeveloperError", "VALIDATION_ERROR: why"),
        (200, {"data": []}, "ProviderError", "may have been delivered"),
        (200, {"data": ["x"]}, "ProviderError", "may have been delivered"),
        (200, b"{", "ProviderError", "may have been delivered: this is not a response of Expo"),
    ],
)
def test_a_request_that_expo_did_not_take(status: int, document: Any, name: str, words: str) -> None:
    rejection = forward.read_tickets(exchange(status, document), 1)
    assert isinstance(rejection, Rejection)
    assert rejection.name == name
    assert words in rejection.text


def test_a_request_without_a_response() -> None:
    lost = forward.read_tickets(exchange(0, b"", ConnectionLost("gone")), 1)
    unsent = forward.read_tickets(exchange(0, b"", GoAway(0, b"", unprocessed=True)), 1)
    assert isinstance(lost, Rejection)
    assert isinstance(unsent, Rejection)
    assert (lost.name, lost.text.startswith("may have been delivered")) == ("ProviderError", True)
    assert (unsent.name, unsent.text.startswith("not forwarded")) == ("ExpoError", True)


def test_how_a_request_is_divided() -> None:
    whole = list(range(8))
    assert forward.divide(Rejection("ExpoError", "x"), TOKENS) == [whole]
    assert forward.divide(Rejection("x", "x", True), TOKENS[:1]) == [[0]]
    assert forward.divide(Rejection("x", "x", True), TOKENS) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    groups = (frozenset(TOKENS[1::2]), frozenset(TOKENS[:4:2]))
    assert forward.divide(Rejection("x", "x", True, groups), TOKENS) == [[1, 3, 5, 7], [0, 2], [4, 6]]
    overlapping = (frozenset(TOKENS), frozenset(TOKENS))
    assert forward.divide(Rejection("x", "x", True, overlapping), TOKENS) == [[0, 1, 2, 3], [4, 5, 6, 7]]


class Expo:
    """Expo's service as far as the test needs it: `tokens` of projects, and titles that it does not take."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}

    async def respond(self, path: str, headers: dict[str, str], body: bytes) -> Response:
        self.headers = headers
        document = orjson.loads(body)
        if path.endswith("getReceipts"):
            return (
                200,
                {},
                orjson.dumps({"data": {one: {"status": "ok"} for one in document["ids"]} | {"x": {}}}),
            )
        if self.status != 200:
            return self.status, {}, b""
        projects = {
            project: [one["to"] for one in document if one["to"][-2] in odd]
            for project, odd in (("a", "13579"), ("b", "02468"))
        }
        if all(projects.values()):
            return 400, {}, orjson.dumps(errors("PUSH_TOO_MANY_EXPERIENCE_IDS", details=projects))
        if any(message["title"] == "bad" for message in document):
            return 400, {}, orjson.dumps(errors("VALIDATION_ERROR"))
        return (
            200,
            {},
            orjson.dumps({"data": [{"status": "ok", "id": f"for {one['to']}"} for one in document]}),
        )


async def forwarded(
    tmp_path: Path,
    messages: list[dict[str, Any]],
    change: Callable[[Expo], None] = lambda expo: None,
    rate: float = 600,
) -> tuple[list[dict[str, Any]], Http2Service]:
    expo = Expo()
    change(expo)
    async with Http2Service(expo.respond, tmp_path) as service:
        client = ExpoService("secret-token", url=service.url, ca_file=service.ca_file, rate=rate)
        await client.open()
        try:
            tickets = await client.send(messages, SECONDS)
            assert expo.headers["authorization"] == "Bearer secret-token"
            ids = await client.receipts(["one", "two"], SECONDS)
            assert ids == {"one": {"status": "ok"}, "two": {"status": "ok"}}
        finally:
            await client.close()
    return tickets, service


async def test_tickets_of_two_projects_come_in_their_places(tmp_path: Path) -> None:
    tickets, service = await forwarded(tmp_path, MESSAGES)
    assert [ticket["id"] for ticket in tickets] == [f"for {token}" for token in TOKENS]
    assert [len(orjson.loads(body)) for path, body in service.received if path.endswith("send")] == [8, 4, 4]


async def test_a_bad_message_fails_alone(tmp_path: Path) -> None:
    messages = [
        {**message, "title": "bad" if number == 5 else "T"} for number, message in enumerate(MESSAGES)
    ]
    tickets, _ = await forwarded(tmp_path, messages)
    assert [ticket["status"] for ticket in tickets] == ["ok"] * 5 + ["error"] + ["ok"] * 2
    assert tickets[5]["details"] == {"error": "DeveloperError", "expoPushToken": TOKENS[5]}


async def test_a_failure_at_expo_is_the_error_of_every_ticket(tmp_path: Path) -> None:
    tickets, service = await forwarded(tmp_path, MESSAGES, lambda expo: setattr(expo, "status", 503))
    assert {ticket["details"]["error"] for ticket in tickets} == {"ExpoError"}
    assert len(service.received) == 2


async def test_the_rate_is_kept_or_it_is_said(tmp_path: Path) -> None:
    expo = Expo()
    async with Http2Service(expo.respond, tmp_path) as service:
        client = ExpoService(url=service.url, ca_file=service.ca_file, rate=1)
        await client.open()
        try:
            tickets = await client.send(MESSAGES[::2], 0.1)
            assert {ticket["details"]["error"] for ticket in tickets} == {"MessageRateExceeded"}
            assert service.received == []
            (ticket,) = await client.send(MESSAGES[:1], SECONDS)
            assert ticket["status"] == "ok", "what was not sent is not counted"
        finally:
            await client.close()


async def test_a_service_that_cannot_be_reached() -> None:
    client = ExpoService(url="https://127.0.0.1:1")
    await client.open()
    try:
        (ticket,) = await client.send(MESSAGES[:1], 0.2)
        assert ticket["details"]["error"] == "ExpoError"
        assert "not forwarded" in ticket["message"]
        assert await client.receipts(["x"], 0.1) == {}
    finally:
        await client.close()


def test_a_wrong_url_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="url must look like"):
        ExpoService(url="http://exp.host")


async def test_cancelled_it_leaves_nothing_behind(tmp_path: Path) -> None:
    async def never(path: str, headers: dict[str, str], body: bytes) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with Http2Service(never, tmp_path) as service:
        client = ExpoService(url=service.url, ca_file=service.ca_file)
        await client.open()
        task = asyncio.create_task(client.send(MESSAGES, SECONDS))
        while not service.received:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()


async def test_a_service_that_is_replaced_is_closed_when_its_requests_have_ended(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def wait(path: str, headers: dict[str, str], body: bytes) -> Response:
        await go.wait()
        return 200, {}, orjson.dumps({"data": [{"status": "ok", "id": "x"}]})

    async with Http2Service(wait, tmp_path) as service:
        client = ExpoService(url=service.url, ca_file=service.ca_file)
        await client.open()
        sending = asyncio.create_task(client.send(MESSAGES[:1], SECONDS))
        while not service.received:
            await asyncio.sleep(0)
        closing = asyncio.create_task(client.close_when_idle())
        await asyncio.sleep(0)
        assert not closing.done()
        go.set()
        assert await sending == [{"status": "ok", "id": "x"}]
        await closing
        assert await client.send([], SECONDS) == []
        with pytest.raises(ClosedError):
            await client.send(MESSAGES[:1], SECONDS)
        await client.close()


def test_pushes_wait_for_the_rate_while_there_is_time() -> None:
    client = ExpoService(rate=4)

    async def work() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await client._permitted(4, began + 10)
        assert await client._permitted(8, began + 10)
        assert 1.5 < loop.time() - began < 3.5
        assert not await client._permitted(8, loop.time() + 0.5)

    run(work())
