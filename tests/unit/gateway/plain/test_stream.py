"""`POST /v1/push/stream`: a result for every line, back-pressure both ways, and what ends it."""

from __future__ import annotations

import asyncio
import gzip
from collections import deque
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from pushcore.gateway.callers import digest_of
from pushcore.gateway.config import CallerSection, LimitsSection
from pushcore.gateway.plain import stream
from tests.support.gateway import TOKEN, config_of
from tests.support.virtual_gateway import (
    ALERT,
    ANDROID,
    EXPO,
    IPHONE,
    GatewayReply,
    Providers,
    VirtualClient,
    app,
    refused,
    scope_of,
    serve,
)

PATH = "/v1/push/stream"
LINE = orjson.dumps({"to": IPHONE, "payload": ALERT}) + b"\n"


class Body:
    """The parts of a body, as a server gives them; a number is a wait in seconds. `end`: what comes after the last part."""

    def __init__(self, *parts: bytes | float, end: Any = None) -> None:
        self.parts = deque(parts)
        self.end = {"type": "http.request", "body": b"", "more_body": False} if end is None else end

    async def __call__(self) -> Any:
        while self.parts and isinstance(self.parts[0], int | float):
            await asyncio.sleep(self.parts.popleft())  # type: ignore[arg-type]
        if not self.parts:
            return self.end
        return {"type": "http.request", "body": self.parts.popleft(), "more_body": True}


def streamed(*parts: bytes | float, path: str = PATH, config: Any = None, **options: Any) -> GatewayReply:
    """The response to a stream of these parts."""

    async def work(client: VirtualClient) -> GatewayReply:
        end = options.pop("end", None)
        return await client.post(path, receive=Body(*parts, end=end), **options)

    reply: GatewayReply = serve(work, config)
    return reply


def lines_of(reply: GatewayReply) -> tuple[dict[int, dict[str, Any]], dict[str, Any]]:
    """The results by line, and the last line."""
    assert reply.status == 200, reply.body
    *results, last = map(orjson.loads, reply.body.splitlines())
    assert len({result["line"] for result in results}) == len(results)
    return {result["line"]: result for result in results}, last


def test_every_line_has_a_result_however_it_is_cut(providers: Providers) -> None:
    lines: list[Any] = [
        {"to": IPHONE, "payload": ALERT},
        {"to": ANDROID, "payload": EXPO, "ref": "two"},
        {"to": f"{2:064x}", "payload": ALERT, "ref": "dead"},
        {"to": "?", "payload": ALERT, "ref": "four"},
        {"to": IPHONE},
        {"to": IPHONE, "payload": ALERT, "app": "nobody"},
        {"to": IPHONE, "payload": ALERT, "validate_only": True},
        {"to": ANDROID, "payload": EXPO, "validate_only": True},
    ]
    providers.fates[f"{2:064x}"] = refused(410, "Unregistered")
    body = b"\n  \n".join(map(orjson.dumps, lines)) + b"\n{\n[" + LINE.strip()  # the last without an end
    parts = [body[at : at + 50] for at in range(0, len(body), 50)]
    reply = streamed(*parts)
    assert reply.headers["content-type"] == "application/x-ndjson"
    results, last = lines_of(reply)
    verdicts = [results[number]["verdict"] for number in range(1, 11)]
    assert verdicts == [
        *("ACCEPTED", "ACCEPTED", "UNREGISTERED"),
        *("INVALID", "INVALID", "INVALID"),
        *("UNSENT", "ACCEPTED", "INVALID", "INVALID"),
    ]
    assert [results[number].get("ref") for number in range(1, 5)] == [None, "two", "dead", "four"]
    assert results[1] == {
        **{"line": 1, "verdict": "ACCEPTED", "status": 200},
        "id": results[1]["id"],
    }
    assert last == {"done": True, "lines": 10}


def test_a_byte_order_mark_before_the_first_line_is_ignored(providers: Providers) -> None:
    mark = b"\xef\xbb\xbf"
    for parts in ([mark + LINE + LINE], [mark + LINE[:9], LINE[9:], LINE]):
        results, _ = lines_of(streamed(*parts))
        assert [result["verdict"] for result in results.values()] == ["ACCEPTED"] * 2
    assert lines_of(streamed(LINE, mark + LINE))[0][2]["verdict"] == "INVALID"


def test_an_empty_stream(providers: Providers) -> None:
    assert lines_of(streamed()) == ({}, {"done": True, "lines": 0})


def test_results_come_while_the_body_does(providers: Providers) -> None:
    """The second part is held back until the first result is there."""
    seen: list[bytes] = []
    more = asyncio.Event()

    async def receive() -> Any:
        if not seen:
            if len(received) == 1:
                await more.wait()
            received.append(1)
            return {"type": "http.request", "body": LINE, "more_body": True}
        return {"type": "http.request", "body": b"", "more_body": False}

    received: list[int] = []

    async def send(message: Any) -> None:
        if message.get("body"):
            seen.append(message["body"])
            more.set()

    async def work(client: VirtualClient) -> None:
        await client.app(scope_of("POST", PATH), receive, send)

    serve(work)
    assert b'"line":1,"verdict":"ACCEPTED"' in seen[0]
    assert b'"line":2,' in b"".join(seen)


def test_a_line_that_is_too_long_is_a_result_and_the_next_is_read(providers: Providers) -> None:
    limits = LimitsSection(stream_line=1024)
    long = b"x" * 3000
    results, last = lines_of(
        streamed(
            LINE, long, long, long + b"\n" + LINE, long + b"\n", LINE, config=config_of(app(), limits=limits)
        )
    )
    assert [results[number]["verdict"] for number in range(1, 6)] == [
        *("ACCEPTED", "INVALID", "ACCEPTED", "INVALID", "ACCEPTED")
    ]
    assert "longer than 1024 bytes" in results[2]["detail"]
    assert last == {"done": True, "lines": 5}


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_gzip_body(providers: Providers, size: int) -> None:
    body = gzip.compress(LINE * 30)
    results, last = lines_of(
        streamed(*(body[at : at + size] for at in range(0, len(body), size)), content_encoding="gzip")
    )
    assert len(results) == 30
    assert last == {"done": True, "lines": 30}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"no gzip", "is not gzip"),
        (gzip.compress(LINE * 30, mtime=0)[:-3], "truncated"),
        (gzip.compress(b" " * 4_000_000, mtime=0), "too large after decompression"),
        (gzip.compress(LINE, mtime=0) * 2, "followed by other data"),
    ],
    ids=["none", "truncated", "too large", "two"],
)
def test_a_gzip_body_that_is_wrong_ends_the_stream_with_a_reason(
    providers: Providers, body: bytes, words: str
) -> None:
    _, last = lines_of(streamed(body, content_encoding="gzip"))
    assert last["done"] is False
    assert words in last["detail"]


@pytest.mark.parametrize(
    ("options", "status", "name"),
    [
        ({"token": None}, 401, "unauthorized"),
        ({"idempotency_key": "k"}, 400, "idempotency-key"),
        ({"content_encoding": "br"}, 415, "content-encoding"),
        ({"path": f"{PATH}?app=other"}, 422, "no-app"),
    ],
)
def test_a_stream_can_be_rejected_before_its_first_line(
    providers: Providers, options: dict[str, Any], status: int, name: str
) -> None:
    reply = streamed(LINE, **options)
    assert (reply.status, reply.problem) == (status, name)
    assert not providers.requests


def test_the_app_of_lines_that_name_none(providers: Providers) -> None:
    config = config_of(app(), app(id="other"))
    results, _ = lines_of(streamed(LINE, path=f"{PATH}?app=shop", config=config))
    assert results[1]["verdict"] == "ACCEPTED"
    results, _ = lines_of(streamed(LINE, config=config))
    assert "expected app" in results[1]["detail"]


def test_a_client_that_goes_away_ends_it_and_what_was_sent_is_waited_for(providers: Providers) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def work(client: VirtualClient) -> None:
        caller = client.gateway.callers.all[0]
        body = Body(LINE, end={"type": "http.disconnect"})
        serving = asyncio.create_task(client.app(scope_of("POST", PATH), body, send))
        await asyncio.sleep(0.01)
        assert caller.active == 1  # the provider takes 50 ms
        await serving
        assert caller.active == 0

    serve(work)
    assert providers.tokens == [IPHONE]
    assert not sent


def test_a_body_that_stalls_ends_the_stream_once_nothing_is_in_progress(providers: Providers) -> None:
    _, last = lines_of(streamed(LINE, stream.STALLED * 2.5, LINE))
    assert (last["done"], last["lines"]) == (False, 1)
    assert "no data of the body arrived for 60 s" in last["detail"]


def test_a_body_may_wait_for_results(providers: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends no line before it has the result of the one before is no client that stalls."""
    Providers(monkeypatch, latency=8.0)
    monkeypatch.setattr(stream, "STALLED", 5.0)
    results, last = lines_of(streamed(LINE, 9.0))
    assert results[1]["verdict"] == "ACCEPTED"
    assert last["done"] is True


class SlowReader:
    """A client that reads nothing until `reads` is set. `sent`: what was written to it."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.sent: list[Any] = []

    async def __call__(self, message: Any) -> None:
        self.sent.append(message)
        if message.get("body"):
            await self.reads.wait()


def serve_slowly(parts: int, while_it_waits: Callable[[VirtualClient, SlowReader, Body], Any]) -> SlowReader:
    reader = SlowReader()

    async def work(client: VirtualClient) -> None:
        body = Body(*([LINE * 100] * parts))
        running = asyncio.create_task(client.app(scope_of("POST", PATH), body, reader))
        await asyncio.sleep(10)
        await while_it_waits(client, reader, body)
        await running

    serve(work)
    return reader


def test_the_body_is_read_no_further_than_the_client_reads(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "WINDOW", 200)

    async def check(client: VirtualClient, reader: SlowReader, body: Body) -> None:
        assert len(body.parts) > 40
        read = len(providers.requests)
        assert read <= 500
        await asyncio.sleep(10)
        assert len(providers.requests) == read
        reader.reads.set()

    reader = serve_slowly(50, check)
    lines = b"".join(message.get("body", b"") for message in reader.sent).splitlines()
    assert len(lines) == 5001
    assert orjson.loads(lines[-1]) == {"done": True, "lines": 5000}
    assert len(providers.requests) == 5000


def test_a_client_that_does_not_read_is_given_up(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "WINDOW", 200)

    async def check(client: VirtualClient, reader: SlowReader, body: Body) -> None:
        await asyncio.sleep(stream.STALLED)
        assert client.gateway.callers.all[0].active == 0

    serve_slowly(50, check)
    assert len(providers.requests) < 1000


def test_the_rate_of_a_caller_holds_the_body_back(providers: Providers) -> None:
    callers = (CallerSection(name="web", tokens=(digest_of(TOKEN),), rate=100.0),)

    async def work(client: VirtualClient) -> float:
        loop = asyncio.get_running_loop()
        caller = client.gateway.callers.all[0]
        caller._clock, caller._credit_at = loop.time, loop.time()
        began = loop.time()
        reply = await client.post(PATH, receive=Body(LINE * 100, LINE * 100, LINE * 100))
        assert lines_of(reply)[1]["lines"] == 300
        return loop.time() - began

    assert 1.9 < serve(work, config_of(app(), callers=callers)) < 3.0


def test_a_gateway_that_ends_says_which_lines_to_send_again(providers: Providers) -> None:
    async def work(client: VirtualClient) -> GatewayReply:
        client.gateway.ending = True
        return await client.post(PATH, receive=Body(LINE * 3, 1.0, LINE))

    results, last = lines_of(serve(work))
    assert {result["verdict"] for result in results.values()} == {"ACCEPTED"}
    assert (last["done"], last["lines"]) == (False, 3)
    assert "send the lines after this one again" in last["detail"]


def test_a_fault_of_ours_ends_the_stream_and_is_logged(
    providers: Providers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise LookupError("a fault")

    monkeypatch.setattr(stream, "address", fail)
    results, last = lines_of(streamed(LINE))
    assert (results[1]["verdict"], results[1]["detail"]) == ("UNSENT", "internal failure of the gateway")
    assert last == {"done": False, "lines": 1, "detail": "internal failure of the gateway"}
    assert "please report it" in caplog.text
