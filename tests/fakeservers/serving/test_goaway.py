"""GOAWAY, and reads that end anywhere: streams up to its last are answered before the connection ends, none above is.

RFC 9113, 6.8: a client sends again what lies above, and must not what lies below. It is looked at frame by frame, by a
client on the standard library and hpack, on connections of libnghttp2 and of `wire`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import hpack
import pytest

from fakeservers import FakeApns, FakeFcm, fated_registration, fated_token
from fakeservers.faults import Fault, FaultPlan, Goaway, Shape
from fakeservers.serving.wire import WireConnection
from tests.fakeservers.client import DEADLINE, headers_for, provider_token, soon
from tests.fakeservers.faults_client import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    RawClient,
    frame,
    goaway_of,
)
from tests.fakeservers.faults_support import one
from tests.fakeservers.fcm_client import send_body, send_headers

END_STREAM, END_HEADERS = 1, 4
FIRST, BEFORE, SPLIT, AFTER = 1, 3, 5, 7
"""Streams: one that makes the connection known, a whole one, the one that reads split, and one that comes too late."""

engines = pytest.mark.parametrize(
    ("provider", "wire"),
    [("apns", False), ("apns", True), ("fcm", False), ("fcm", True)],
    ids=["apns-libnghttp2", "apns-wire", "fcm-libnghttp2", "fcm-wire"],
)


class Line:
    """One connection, from both of its ends."""

    def __init__(self, fake: Any, client: RawClient) -> None:
        self.client = client
        self.peer: Any = None
        """The fake's end."""
        self._read = bytearray()
        self._arrived = asyncio.Event()
        self._apns = isinstance(fake, FakeApns)
        self._headers = headers_for(fake, provider_token(fake)) if self._apns else send_headers(fake)
        self._encoder = hpack.Encoder()

    def request(self, stream: int, fate: str = "") -> bytes:
        """One in HEADERS, CONTINUATION and two DATA, of which the second is the last byte of the body."""
        headers, body = self._headers, send_body(topic="x")
        if self._apns:
            device = fated_token(fate) if fate else f"{stream:064x}"
            headers = [(name, f"/3/device/{device}" if name == ":path" else value) for name, value in headers]
            body = b'{"aps":{}}'
        elif fate:
            body = send_body(token=fated_registration(fate))
        block = self._encoder.encode(headers)
        half = len(block) // 2
        return (
            frame(HEADERS, block[:half], stream=stream)
            + frame(CONTINUATION, block[half:], flags=END_HEADERS, stream=stream)
            + frame(DATA, body[:-1], stream=stream)
            + frame(DATA, body[-1:], flags=END_STREAM, stream=stream)
        )

    async def send(self, data: bytes) -> None:
        """Send it, and wait until the fake has read it: what is sent next comes with another read."""
        self.client.send(data)
        async with asyncio.timeout(DEADLINE):
            while not self._read.endswith(data):
                self._arrived.clear()
                await self._arrived.wait()

    def watch(self, peer: Any) -> None:
        """Follow what this end of the fake's reads."""
        received = peer.data_received

        def data_received(data: bytes) -> None:
            received(data)
            self._read.extend(data)
            self._arrived.set()

        self.peer, peer.data_received = peer, data_received

    async def check(self) -> int:
        """Read to the end, and judge; the last stream that was named."""
        client = self.client
        await client.to_the_end()
        assert client.broken is None
        assert not client.data
        named = [goaway_of(frame)[0] for frame in client.of(GOAWAY)]
        assert named == sorted(named, reverse=True), named  # it must not rise
        answers = [
            frame for frame in client.frames if frame.kind in (HEADERS, CONTINUATION, DATA, RST_STREAM)
        ]
        ended = {
            answer.stream for answer in answers if answer.kind == RST_STREAM or answer.flags & END_STREAM
        }
        assert ended == {item for item in (FIRST, BEFORE, SPLIT, AFTER) if item <= named[-1]}, named
        assert not [answer for answer in answers if answer.stream > named[-1]]
        return named[-1]


@contextlib.asynccontextmanager
async def fake_of(provider: str, wire: bool, *faults: Fault) -> AsyncIterator[Any]:
    plan = FaultPlan(0, [*([one("wire", Shape())] if wire else []), *faults])
    async with FakeApns(faults=plan) if provider == "apns" else FakeFcm(faults=plan) as fake:
        yield fake


@contextlib.asynccontextmanager
async def line_to(fake: Any, wire: bool) -> AsyncIterator[Line]:
    """A connection on which a request was answered."""
    async with RawClient(fake) as client:
        line = Line(fake, client)
        client.send(line.request(FIRST))
        await client.answer(FIRST)
        (peer,) = fake.server.peers
        assert isinstance(peer, WireConnection) is wire
        line.watch(peer)
        yield line
    await soon(lambda: not fake.server.peers)


Say = Callable[[Line], None]


def by_itself(line: Line) -> None:
    """What the client has sent is the reason."""


def at_once(line: Line) -> None:
    line.peer.goaway(debug=b"bye")


def after_a_notice(line: Line) -> None:
    line.peer.announce_goaway()
    line.peer.goaway()


def of_age(line: Line) -> None:
    line.peer._born = -1e9
    line.peer._watch()


async def cut_everywhere(
    fake: Any, wire: bool, say: Say, *, fate: str = "", before: bytes = b"", step: int = 1
) -> set[int]:
    """Let a read end at every byte of a request (or every `step`), and GOAWAY be sent then; what it has named."""
    seen, at, size = set(), 1, 2
    while at < size:
        counts = fake.counts.copy()
        async with line_to(fake, wire) as line:
            begun, split = before + line.request(BEFORE, fate), line.request(SPLIT)
            await line.send(begun + split[:at])
            say(line)
            line.client.send(split[at:] + line.request(AFTER))
            named = await line.check()
        taken = sum(count for (status, _), count in (fake.counts - counts).items() if status == 200)
        assert taken == sum(stream <= named for stream in (FIRST, BEFORE, SPLIT, AFTER))
        seen.add(named)
        at, size = at + step, len(split)
    return seen


@engines
async def test_at_every_byte_of_a_request(provider: str, wire: bool) -> None:
    async with fake_of(provider, wire) as fake:
        assert await cut_everywhere(fake, wire, at_once) == {BEFORE, SPLIT}


@engines
async def test_at_every_byte_behind_a_request_that_a_fault_meets(provider: str, wire: bool) -> None:
    fault = one("x", Goaway(debug="bye"), nth=2, per_connection=True)
    async with fake_of(provider, wire, fault) as fake:
        assert await cut_everywhere(fake, wire, by_itself) == {BEFORE, SPLIT}


@engines
async def test_after_a_notice(provider: str, wire: bool) -> None:
    async with fake_of(provider, wire) as fake:
        assert await cut_everywhere(fake, wire, after_a_notice, step=5) == {BEFORE, SPLIT}


@engines
@pytest.mark.parametrize(("fate", "last"), [("GoAway", BEFORE), ("GoAwayBefore", FIRST)])
async def test_the_fates(fate: str, last: int, provider: str, wire: bool) -> None:
    async with fake_of(provider, wire) as fake:
        assert await cut_everywhere(fake, wire, by_itself, fate=fate, step=5) == {last}


async def test_too_many_pings_for_google() -> None:
    pings = frame(PING, bytes(8)) * 3
    async with fake_of("fcm", False) as fake:
        assert await cut_everywhere(fake, False, by_itself, before=pings, step=5) == {BEFORE, SPLIT}


async def test_a_connection_too_old_for_google() -> None:
    async with fake_of("fcm", False) as fake:
        assert await cut_everywhere(fake, False, of_age, step=5) == {BEFORE, SPLIT}


@engines
async def test_one_after_another(provider: str, wire: bool) -> None:
    """The second names nothing that the first has turned away."""
    async with fake_of(provider, wire) as fake, line_to(fake, wire) as line:
        begun = line.request(BEFORE)
        end = len(begun) - len(frame(DATA, b"}"))  # between two frames
        await line.send(begun[:end])
        line.peer.goaway()
        await line.send(line.request(SPLIT))
        line.peer.goaway()
        await line.send(line.request(AFTER) + begun[end:])
        assert await line.check() == BEFORE
        assert len(line.client.of(GOAWAY)) == 2


@engines
async def test_a_connection_error_after_it(provider: str, wire: bool) -> None:
    async with fake_of(provider, wire) as fake, line_to(fake, wire) as line:
        begun = line.request(BEFORE)
        await line.send(begun[: -len(frame(DATA, b"}"))])
        line.peer.goaway()
        line.client.send(line.request(SPLIT) + frame(CONTINUATION, stream=SPLIT))
        await line.client.to_the_end()
        assert [goaway_of(frame)[:2] for frame in line.client.of(GOAWAY)] == [(BEFORE, 0), (BEFORE, 1)]


@engines
async def test_a_request_that_is_read_before_the_loop_goes_on(provider: str, wire: bool) -> None:
    """What a loop has read already reaches the connection before anything that it is told to do soon."""
    async with fake_of(provider, wire) as fake, line_to(fake, wire) as line:
        begun = line.request(BEFORE)
        line.peer.data_received(begun[:-1])
        line.peer.goaway()
        line.peer.data_received(begun[-1:] + line.request(SPLIT))
        assert await line.check() == BEFORE
        assert fake.counts[200, ""] == 2


@engines
@pytest.mark.parametrize(("at", "last"), [(20, FIRST), (-1, BEFORE)])
async def test_the_end_of_the_fake(at: int, last: int, provider: str, wire: bool) -> None:
    async with fake_of(provider, wire) as fake, line_to(fake, wire) as line:
        begun = line.request(BEFORE)
        await line.send(begun[:at])
        closing = asyncio.ensure_future(fake.server.close(DEADLINE))
        await line.client.until(lambda: bool(line.client.of(GOAWAY)))
        line.client.send(begun[at:] + line.request(SPLIT))
        assert await line.check() == last
        await closing
