"""Connections on hyperframe and hpack: served as on libnghttp2 where nothing is wrong, and able to be wrong in any way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import hpack
import pytest

from fakeservers import FakeApns, FakeFcm, ServerLimits, fated_token
from fakeservers.faults import (
    ILLEGAL,
    Answer,
    ChangeStreamLimit,
    Cut,
    FaultPlan,
    Frame,
    Goaway,
    HalfOpen,
    Ping,
    Reset,
    Settings,
    Shape,
    Window,
)
from fakeservers.serving.wire import WireConnection
from tests.fakeservers.client import Client, headers_for, provider_token, soon
from tests.fakeservers.faults_client import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    RawClient,
    frame,
    goaway_of,
    run,
    settings_of,
)
from tests.fakeservers.faults_support import one, plan_of
from tests.fakeservers.fcm_client import curl, send_body, send_headers, send_path

pytestmark = pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.uvloop)])

PLAIN = Shape()
"""A shape that changes nothing: it lets a connection run on `wire`."""
HIGHEST = 0x7FFFFFFF


@contextlib.asynccontextmanager
async def raw(
    *what: Any, settings: dict[int, int] | None = None, limits: ServerLimits | None = None, **when: Any
) -> AsyncIterator[tuple[FakeApns, RawClient, list[tuple[str, str]]]]:
    """A fake whose connections run on `wire`, one of them, and the headers of a push in order."""
    plan = FaultPlan(0, [one("wire", what[0] if isinstance(what[0], Shape | Window) else PLAIN)])
    for item in what:
        if not isinstance(item, Shape | Window):
            plan.add(one("x", item, **when))
    async with FakeApns(faults=plan, limits=limits) as fake, RawClient(fake, settings=settings) as client:
        yield fake, client, headers_for(fake, provider_token(fake), fated_token("BadTopic"))


async def test_rules_and_order_are_those_of_the_other_connections(loop: str) -> None:
    async with FakeApns(faults=plan_of(PLAIN)) as fake, await Client.connect(fake) as client:
        assert client.settings[0][3] == 1
        token = provider_token(fake)
        assert (await client.push(headers_for(fake, token))).status == 200
        await client.until(lambda: client.streams == 1000)
        assert (
            await client.push(headers_for(fake, token, fated_token("Unregistered")))
        ).reason == "Unregistered"
        assert (await client.push(headers_for(fake, token), b"x" * 10_000)).reason == "PayloadTooLarge"
        assert (await client.push(headers_for(fake, token, fated_token("RefusedStream")))).reset == 7
        replies = [client.request(headers_for(fake, token, f"{number:064x}")) for number in range(200)]
        assert {(await client.reply(reply)).status for reply in replies} == {200}
        assert (await client.push(headers_for(fake, token, fated_token("Slow", ms=50)))).status == 200
        assert all(isinstance(peer, WireConnection) for peer in fake.server.peers)
        assert fake.server.counters.protocol_errors == 0


@pytest.mark.needs("curl")
async def test_fcm_too(loop: str) -> None:
    async with FakeFcm(faults=plan_of(PLAIN)) as fake, await Client.connect(fake) as client:
        reply = await client.push(send_headers(fake), send_body())
        assert reply.status == 200
        assert json.loads(reply.body)["name"].startswith(f"projects/{fake.project_id}/messages/")
        code, output = await curl(
            *("--http2", "--cacert", fake.ca_file, "-d", send_body().decode(), "-w", "%{http_version}"),
            *("-H", f"authorization: Bearer {fake.oauth.issue()}", fake.url + send_path(fake)),
        )
        assert (code, output[-1]) == (0, "2")
        assert "messages/" in output


@pytest.mark.needs("curl")
async def test_http_1_1_is_not_for_wire(loop: str) -> None:
    async with FakeFcm(faults=plan_of(PLAIN)) as fake:
        call: tuple[str, ...] = ("--http1.1", "--cacert", fake.ca_file, "-d", send_body().decode())
        call += ("-H", f"authorization: Bearer {fake.oauth.issue()}", fake.url + send_path(fake))
        code, output = await curl(*call)
        assert (code, "messages/" in output) == (0, True)


@pytest.mark.needs("h2load")
@pytest.mark.parametrize(
    "shape", [PLAIN, Shape(fragment=5, pad=9, continuation=11, empty=1)], ids=["plain", "odd"]
)
async def test_h2load(shape: Shape, loop: str, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(b'{"aps":{}}')
    async with FakeApns("bare", faults=plan_of(shape)) as fake:
        code, output = await run(
            *("h2load", "-n", "400", "-c", "2", "-m", "20", "-d", str(body), f"{fake.url}/3/device/ab")
        )
        assert code == 0
        assert "400 succeeded, 0 failed" in output, output


NODE = """
const http2 = require('node:http2'), fs = require('node:fs');
const session = http2.connect(process.argv[2], {ca: fs.readFileSync(process.argv[3])});
const request = session.request({':method': 'POST', ':path': '/3/device/ab'});
request.on('response', headers => console.log(headers[':status']));
request.setEncoding('utf8'); let body = '';
request.on('data', chunk => body += chunk);
request.on('end', () => { console.log(body); session.close(); });
request.end('{"aps":{}}');
"""


@pytest.mark.needs("node")
async def test_nodes_own_client(loop: str, tmp_path: Path) -> None:
    script = tmp_path / "client.js"
    script.write_text(NODE)
    async with FakeApns(faults=plan_of(Shape(fragment=1, pad=1, continuation=20))) as fake:
        code, output = await run("node", str(script), fake.url, fake.ca_file)
        assert (code, output) == (0, '403\n{"reason":"MissingProviderToken"}\n')


@pytest.mark.needs("nghttp")
async def test_nghttp(loop: str) -> None:
    async with FakeApns(faults=plan_of(Shape(fragment=3, pad=255, continuation=2))) as fake:
        _, output = await run("nghttp", "-nv", f"{fake.url}/3/device/ab")
        assert ":status: 405" in output


# Shapes


def block_of(frames: list[Any]) -> bytes:
    """The header block of an answer, padding and priority taken off."""
    block = b""
    for part in frames:
        if part.kind == HEADERS:
            payload = part.payload
            if part.flags & 0x8:
                payload = payload[1 : len(payload) - payload[0]]
            block += payload[5:] if part.flags & 0x20 else payload
        elif part.kind == CONTINUATION:
            block += part.payload
    return block


def decoded(decoder: hpack.Decoder, frames: list[Any]) -> dict[str, str]:
    """The headers of an answer."""
    return {str(name): str(value) for name, value in decoder.decode(block_of(frames))}


def body_of(frames: list[Any]) -> bytes:
    body = b""
    for part in frames:
        if part.kind == DATA:
            body += (
                part.payload[1 : len(part.payload) - part.payload[0]] if part.flags & 0x8 else part.payload
            )
    return body


SHAPES = {
    "plain": PLAIN,
    "fragments": Shape(fragment=1),
    "padding": Shape(pad=255),
    "continuation": Shape(continuation=1),
    "empty": Shape(empty=3),
    "no table": Shape(table=0),
    "raw": Shape(huffman=False),
    "priority": Shape(priority=True),
    "all": Shape(fragment=4, pad=3, continuation=7, empty=1, table=100, huffman=False, priority=True),
}


@pytest.mark.parametrize("name", SHAPES)
async def test_shapes(name: str, loop: str) -> None:
    shape = SHAPES[name]
    async with raw(shape) as (_, client, headers):
        decoder = hpack.Decoder()
        for _ in range(3):
            frames = await client.answer(client.request(headers))
            assert body_of(frames) == b'{"reason":"BadTopic"}'
            fields = decoded(decoder, frames)
            assert fields[":status"] == "400"
            kinds = [frame.kind for frame in frames]
            data = [frame for frame in frames if frame.kind == DATA]
            assert kinds[0] == HEADERS
            assert kinds.index(DATA) == 1 + kinds.count(CONTINUATION)
            if shape.fragment:
                assert len(data) == -(-21 // shape.fragment) + shape.empty
            if shape.pad:
                assert {frame.flags & 0x8 for frame in frames if frame.kind == HEADERS} == {0x8}
                assert {octet.payload[0] for octet in data if octet.payload} == {shape.pad}
            if shape.continuation:
                sizes = {len(frame.payload) for frame in frames if frame.kind == CONTINUATION}
                assert max(sizes) == shape.continuation
                assert [frame.flags & 0x4 for frame in frames if frame.kind == CONTINUATION][-1] == 0x4
            assert sum(not octet.payload for octet in data) == shape.empty
            assert bool(frames[0].flags & 0x20) == shape.priority
        if name == "no table":
            assert decoder.header_table_size == 0
            assert b"MissingTopic" not in block_of(frames)


@pytest.mark.parametrize("size", [0, 60, 4096, 65_536])
async def test_the_clients_header_table_is_respected(size: int, loop: str) -> None:
    async with raw(PLAIN, settings={1: size}) as (_, client, headers):
        decoder = hpack.Decoder()
        decoder.max_allowed_table_size = size
        decoder.header_table_size = min(size, 4096)
        for _ in range(3):
            frames = await client.answer(client.request(headers))
            assert decoded(decoder, frames)["content-type"] == "application/json"


async def test_the_clients_windows_are_respected(loop: str) -> None:
    async with raw(PLAIN, settings={4: 5}) as (_, client, headers):
        stream = client.request(headers)
        await client.until(lambda: body_of(client.frames) == b'{"rea')
        client.send(frame(WINDOW_UPDATE, (6).to_bytes(4, "big"), stream=stream))
        await client.until(lambda: body_of(client.frames) == b'{"reason":"')
        client.send(frame(SETTINGS, b"\0\4" + (100).to_bytes(4, "big")))
        await client.answer(stream)
        assert body_of(client.frames) == b'{"reason":"BadTopic"}'


async def test_padding_waits_for_room_too(loop: str) -> None:
    async with raw(Shape(pad=100), settings={4: 50}) as (_, client, headers):
        await client.answer(client.request(headers))
        assert body_of(client.frames) == b'{"reason":"BadTopic"}'
        assert all(len(frame.payload) <= 50 for frame in client.of(DATA))


async def test_the_connections_window_is_respected(loop: str) -> None:
    async with (
        FakeApns(
            faults=FaultPlan(0, [one("w", PLAIN), one("x", Answer(status=500, body="x" * 40_000))])
        ) as fake,
        RawClient(fake) as client,
    ):
        headers = headers_for(fake)
        await client.answer(client.request(headers))
        client.request(headers)
        await client.until(lambda: len(body_of(client.frames)) == 65_535)
        client.send(frame(WINDOW_UPDATE, (20_000).to_bytes(4, "big")))
        await client.until(lambda: len(body_of(client.frames)) == 80_000)


# Windows


async def test_no_credit(loop: str) -> None:
    async with raw(Window()) as (_, client, headers):
        for _ in range(3):
            await client.answer(client.request(headers, b"x" * 9000))
        assert not client.of(WINDOW_UPDATE)


async def test_credit_in_drops(loop: str) -> None:
    async with raw(Window(stream=100, drip=30, seconds=0.005)) as (_, client, headers):
        await client.until(lambda: bool(client.of(SETTINGS)))
        assert settings_of(client.of(SETTINGS)[0])[4] == 100
        stream = 1
        block = hpack.Encoder().encode(headers)
        client.send(frame(HEADERS, block, flags=4, stream=stream) + frame(DATA, b"x" * 100, stream=stream))
        await client.until(lambda: len(client.of(WINDOW_UPDATE)) >= 5)
        grants = {(frame.stream, int.from_bytes(frame.payload, "big")) for frame in client.of(WINDOW_UPDATE)}
        assert {(0, 30), (1, 30)} <= grants
        for_connection = [
            int.from_bytes(frame.payload, "big") for frame in client.of(WINDOW_UPDATE) if not frame.stream
        ]
        assert sum(for_connection) <= 100  # never more than was spent


async def test_credit_as_usual(loop: str) -> None:
    async with raw(PLAIN) as (_, client, headers):
        await client.answer(client.request(headers, b"x" * 9000))
        assert [int.from_bytes(frame.payload, "big") for frame in client.of(WINDOW_UPDATE)] == [9000]


# Illegal frames


@pytest.mark.parametrize("name", ILLEGAL)
async def test_illegal_frames_come_as_they_are(name: str, loop: str) -> None:
    async with raw(Frame(name=name), nth=2) as (fake, client, headers):
        await client.answer(client.request(headers))
        before = len(client.raw)
        stream = client.request(headers)
        expected = ILLEGAL[name].build(stream)
        await client.until(lambda: b'"BadTopic"' in client.raw[before:])
        assert expected in client.raw[before:]
        assert not client.eof  # it goes on as if nothing had been
        assert fake.faults.hits["x"] == 1


async def test_any_bytes_any_number_of_times(loop: str) -> None:
    async with raw(Frame(hex="c0ffee", count=100), nth=1) as (_, client, headers):
        client.request(headers)
        await client.until(lambda: b"\xc0\xff\xee" * 100 in client.raw)
        assert client.raw.count(b"\xc0\xff\xee") == 100


async def test_only_what_a_fault_may_reach_runs_on_wire(loop: str) -> None:
    plan = FaultPlan(0, [one("x", Frame(name="garbage"), connection=2, nth=1)])
    async with FakeApns(faults=plan) as fake:
        kinds = []
        for _ in range(3):
            async with RawClient(fake) as client:
                await client.until(lambda client=client: bool(client.of(SETTINGS)))  # type: ignore[misc]  # bound now, for the loop goes on
                (peer,) = fake.server.peers
                kinds.append(isinstance(peer, WireConnection))
            await soon(lambda: not fake.server.peers)
        assert kinds == [False, True, False]


async def test_a_connection_that_was_open_before_gets_no_illegal_frames(loop: str) -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        headers = headers_for(fake, provider_token(fake))
        assert (await client.push(headers)).status == 200
        fake.faults.add(one("x", Frame(name="garbage")))
        assert (await client.push(headers)).status == 200


# The other faults, on these connections


async def test_goaway(loop: str) -> None:
    for last, seen in (("all", 3), ("before", 1), ("max", HIGHEST), (2, 2)):
        async with raw(PLAIN, Goaway(last=last, code=5, debug="bye"), nth=2) as (_, client, headers):
            await client.answer(client.request(headers))
            client.request(headers)
            await client.to_the_end()
            assert goaway_of(client.of(GOAWAY)[0]) == (seen, 5, b"bye")
            assert bool([frame for frame in client.of(HEADERS) if frame.stream == 3]) == (seen >= 3)


async def test_goaway_with_notice(loop: str) -> None:
    async with raw(PLAIN, Goaway(notice=0.05), nth=1) as (_, client, headers):
        await client.answer(client.request(headers))
        await client.answer(client.request(headers))
        await client.to_the_end()
        assert [goaway_of(frame)[0] for frame in client.of(GOAWAY)] == [HIGHEST, 3]


async def test_resets_settings_limits_and_pings(loop: str) -> None:
    what = [
        one("r", Reset(code=77), nth=1),
        one("s", Settings(values=(("MAX_FRAME_SIZE", 20_000),)), nth=2),
        one("l", ChangeStreamLimit(limits=(4,)), nth=2),
        one("p", Ping(count=3), nth=2),
        one("w", PLAIN),
    ]
    async with FakeApns(faults=FaultPlan(0, what)) as fake, RawClient(fake) as client:
        headers = headers_for(fake, provider_token(fake))
        (reset,) = await client.answer(client.request(headers))
        assert (reset.kind, reset.payload) == (RST_STREAM, b"\0\0\0\x4d")
        await client.answer(client.request(headers))
        assert [settings_of(frame) for frame in client.of(SETTINGS) if not frame.flags][1:] == [
            {5: 20_000},
            {3: 4},
            {3: 1000},
        ]
        assert len(client.of(PING)) == 3


@pytest.mark.parametrize("how", ["reset", "close", "frame"])
async def test_cuts(how: str, loop: str) -> None:
    async with raw(PLAIN, Cut(how=how), nth=2) as (_, client, headers):
        await client.answer(client.request(headers))
        client.request(headers)
        await client.to_the_end()
        assert bool(client.data) == (how == "frame")
        assert isinstance(client.broken, ConnectionResetError) == (how == "reset")


async def test_silence(loop: str) -> None:
    async with raw(PLAIN, HalfOpen(), nth=1) as (_, client, headers):
        client.request(headers)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.answer(1)


# Clients that are broken or hostile


HOSTILE: dict[str, tuple[bytes, int]] = {
    "frame too large": (b"\x01\x00\x00\0\0\0\0\0\1", 6),
    "data on stream 0": (frame(DATA, b"x"), 1),
    "bad padding": (frame(DATA, b"\xffx", flags=8, stream=1), 1),
    "bad hpack": (frame(HEADERS, b"\xff\xff\xff\xff\xff", flags=5, stream=1), 9),
    "even stream": (frame(HEADERS, b"\x83", flags=5, stream=2), 1),
    "continuation alone": (frame(CONTINUATION, b"\x83", flags=4, stream=1), 1),
    "ping within a block": (frame(HEADERS, b"\x83", stream=1) + frame(PING, b"12345678"), 1),
    "block without end": (frame(HEADERS, b"", stream=1) + frame(CONTINUATION, b"", stream=1) * 70, 11),
    "block of 200 KB": (
        frame(HEADERS, b"", stream=1) + frame(CONTINUATION, b"\0" * 16_000, stream=1) * 12,
        11,
    ),
    "window overflow": (frame(WINDOW_UPDATE, b"\x7f\xff\xff\xff"), 3),
    "settings on a stream": (frame(SETTINGS, stream=1), 1),
    "short ping": (frame(PING, b"1234"), 1),
    "headers again": (frame(HEADERS, b"\x83", flags=5, stream=1) * 2, 5),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_broken_clients_are_told_and_closed(name: str, loop: str) -> None:
    sent, code = HOSTILE[name]
    async with raw(PLAIN) as (fake, client, _):
        client.send(sent)
        await client.to_the_end()
        assert goaway_of(client.of(GOAWAY)[0])[1] == code
        await soon(lambda: fake.connections == 0)
        assert fake.server.counters.protocol_errors == 1
        async with await Client.connect(fake) as other:
            assert (await other.push(headers_for(fake, provider_token(fake)))).status == 200


async def test_no_preface(loop: str) -> None:
    async with FakeApns(faults=plan_of(PLAIN)) as fake:
        client = RawClient(fake)
        client.send = lambda data: client._writer.write(b"GET / HTTP/1.1\r\n\r\n")  # type: ignore[method-assign]  # a client of another protocol
        async with client:
            await client.to_the_end()
            assert goaway_of(client.of(GOAWAY)[0])[1] == 1


async def test_too_many_streams_are_refused(loop: str) -> None:
    async with FakeApns(faults=plan_of(PLAIN), delay=0.1) as fake, RawClient(fake) as client:
        streams = [client.request(headers_for(fake)) for _ in range(3)]
        await client.answer(streams[0])
        refused = [frame.stream for frame in client.of(RST_STREAM)]
        assert refused == streams[1:]


async def test_too_many_resets(loop: str) -> None:
    async with raw(PLAIN, limits=ServerLimits(resets=(50, 1))) as (_, client, _):
        for number in range(1, 200, 2):
            client.send(
                frame(HEADERS, b"\x83", flags=4, stream=number)
                + frame(RST_STREAM, b"\0\0\0\x08", stream=number)
            )
        await client.to_the_end()
        assert goaway_of(client.of(GOAWAY)[0])[1] == 11


async def test_answers_that_nobody_reads_stop_the_reading(loop: str) -> None:
    async with raw(PLAIN, limits=ServerLimits(max_buffered=10_000)) as (fake, client, _):
        await client.until(lambda: bool(client.of(SETTINGS)))
        (peer,) = fake.server.peers
        sock = client._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # or the kernel keeps megabytes of answers
        for _ in range(10_000):
            client.send(frame(PING, b"12345678") * 100)
            await asyncio.sleep(0)
            if not peer._transport.is_reading():
                break
        await soon(lambda: not peer._transport.is_reading())
        assert peer._transport.get_write_buffer_size() < 2_000_000


async def test_a_body_is_kept_in_part_only(loop: str) -> None:
    async with raw(PLAIN) as (fake, client, headers):
        await client.answer(client.request(headers))
        stream, block = 3, client._encoder.encode(headers)
        client.send(frame(HEADERS, block, flags=4, stream=stream))
        for _ in range(40):
            client.send(frame(DATA, b"x" * 1000, stream=stream))
        client.send(frame(DATA, flags=1, stream=stream))
        await client.answer(stream)
        assert len(fake.received[-1].body) < 12_000
        assert fake.received[-1].reason == "PayloadTooLarge"


async def test_trailers_end_a_request(loop: str) -> None:
    async with raw(PLAIN) as (_, client, headers):
        block = client._encoder.encode(headers)
        trailers = client._encoder.encode([("x-end", "1")])
        sent = frame(HEADERS, block, flags=4, stream=1) + frame(DATA, b'{"aps":{}}', stream=1)
        client.send(sent + frame(HEADERS, trailers, flags=5, stream=1))
        assert body_of(await client.answer(1)) == b'{"reason":"BadTopic"}'


async def test_bytes_one_by_one(loop: str) -> None:
    async with raw(PLAIN) as (_, client, headers):
        block = client._encoder.encode(headers)
        for byte in frame(HEADERS, block, flags=4, stream=1) + frame(DATA, b'{"aps":{}}', flags=1, stream=1):
            client.send(bytes((byte,)))
            await asyncio.sleep(0)
        assert body_of(await client.answer(1)) == b'{"reason":"BadTopic"}'
