"""RFC 9113, section 5.1.1: odd, increasing, never used twice, and used up one day."""

from __future__ import annotations

import pytest

from pushcore.http2.streams import ConnectionState
from tests.support import http2 as h
from tests.support.http2 import Dial, UncheckedServer


def test_ours_are_odd_and_increase(dial: Dial, wire: UncheckedServer) -> None:
    """Streams initiated by a client MUST use odd-numbered stream identifiers, numerically greater each time."""
    client = dial()
    seen: list[int] = []
    for number in range(20):
        exchange = client.request()
        assert exchange.connection is client.connection
        seen += wire.requests(client.sent())
        if number % 3:
            client.feed(wire.answer(exchange.stream_id))
    assert seen == list(range(1, 41, 2))


@pytest.mark.parametrize("kind", [h.DATA, h.HEADERS, h.RST_STREAM, h.WINDOW_UPDATE])
@pytest.mark.parametrize("stream_id", [2, 4, 0x7FFF_FFFE])
def test_a_server_opens_none(dial: Dial, kind: int, stream_id: int) -> None:
    """An unexpected stream identifier MUST be answered with a connection error of type PROTOCOL_ERROR."""
    client = dial()
    client.request()
    client.sent()
    payload = {h.DATA: b"x", h.HEADERS: b"\x20\x88"}.get(kind, b"\0\0\0\1")
    client.feed(h.frame(kind, 0x4 if kind == h.HEADERS else 0, stream_id, payload))
    client.check_broken(h.PROTOCOL_ERROR)


@pytest.mark.parametrize("kind", [h.DATA, h.HEADERS, h.PRIORITY, h.RST_STREAM, h.CONTINUATION])
def test_stream_0_is_the_connection(dial: Dial, kind: int) -> None:
    """DATA, HEADERS, PRIORITY, RST_STREAM and CONTINUATION on stream 0 are PROTOCOL_ERROR."""
    client = dial()
    client.request()
    client.sent()
    payload = {h.RST_STREAM: bytes(4), h.PRIORITY: bytes(5)}.get(kind, b"\x88")
    client.feed(h.frame(kind, 0x4 if kind in (h.HEADERS, h.CONTINUATION) else 0, 0, payload))
    client.check_broken(h.PROTOCOL_ERROR)


@pytest.mark.parametrize("kind", [h.SETTINGS, h.PING, h.GOAWAY])
def test_frames_of_the_connection_belong_on_stream_0(dial: Dial, kind: int) -> None:
    client = dial()
    client.request()
    client.sent()
    client.feed(h.frame(kind, 0, 1, bytes(0 if kind == h.SETTINGS else 8)))
    client.check_broken(h.PROTOCOL_ERROR)


def test_used_up(dial: Dial, wire: UncheckedServer) -> None:
    """A client that is unable to establish a new stream identifier can establish a new connection."""
    client = dial()
    client.connection.next_id = client.connection.written_id = 0x7FFF_FFFF - 100_000 - 2
    states = []
    for _ in range(2):
        client.request()
        client.sent()
        states.append(client.state)
    assert states == [ConnectionState.OPEN, ConnectionState.DRAINING]
    assert client.offer() is None
    for exchange in client.opened:
        client.feed(wire.answer(exchange.stream_id))
        assert (exchange.status, exchange.error) == (200, None)
    assert client.connection.idle
