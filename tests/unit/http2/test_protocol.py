"""A link between a connection and a transport that is a list: who is called when, and how it ends."""

from __future__ import annotations

import asyncio
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from pushcore.errors import AlpnError, ConnectError, ConnectionLost
from pushcore.http2.connection import Connection
from pushcore.http2.exchange import Exchange, request
from pushcore.http2.protocol import WRITE_BUFFER, Link
from pushcore.http2.streams import ConnectionState, Limits
from tests.support import http2 as h
from tests.support.http2 import PREFACE, TEMPLATE


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self, alpn: str | None = "h2") -> None:
        super().__init__()
        self.alpn = alpn
        self.written: list[bytes] = []
        self.calls: list[str] = []
        self.high: int | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return SimpleNamespace(selected_alpn_protocol=lambda: self.alpn) if name == "ssl_object" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return bool(self.calls)

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")


class Stage:
    """A link, what it wrote, and the order in which it called whom."""

    def __init__(self, alpn: str | None = "h2") -> None:
        self.calls: list[str] = []
        self.transport = Transport(alpn)
        self.link = Link(
            Connection(Limits(), 0.0),
            lambda link: self.calls.append("progress"),
        )
        self.link.connection_made(self.transport)

    def settings(self) -> None:
        self.link.data_received(h.settings((h.MAX_STREAMS, 10)))

    def open(self) -> Exchange:
        exchange = request(TEMPLATE, b"/x", b"{}", (), lambda finished: self.calls.append("sink"))
        self.link.connection.take(deque([exchange]))
        return exchange

    @property
    def error(self) -> BaseException | None:
        return self.link.ready.exception()


async def test_the_preface_is_written_at_once_and_settings_make_it_ready() -> None:
    stage = Stage()
    assert stage.transport.written[0].startswith(PREFACE)
    assert stage.transport.high == WRITE_BUFFER
    assert WRITE_BUFFER > 1000 * 400  # a request of usual size on each of a thousand streams
    assert not stage.link.ready.done()
    stage.settings()
    assert stage.link.ready.done()
    assert stage.error is None
    await asyncio.sleep(0)
    assert stage.transport.written[1:] == [h.SETTINGS_ACK]


@pytest.mark.parametrize("alpn", [None, "http/1.1"])
async def test_a_server_that_does_not_choose_h2_is_left(alpn: str | None) -> None:
    stage = Stage(alpn)
    assert isinstance(stage.error, AlpnError)
    assert stage.transport.calls == ["abort"]
    stage.link.flush()
    assert stage.transport.written == []  # and never is sent the preface
    assert stage.link.connection.state is ConnectionState.CLOSED


async def test_requests_of_one_turn_leave_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    stage.settings()
    await asyncio.sleep(0)
    count = len(stage.transport.written)
    flushed: list[Link] = []
    flush = Link.flush

    def counting(link: Link) -> None:
        flushed.append(link)
        flush(link)

    monkeypatch.setattr(Link, "flush", counting)
    for _ in range(5):
        stage.open()
        stage.link.schedule()
    assert len(stage.transport.written) == count
    await asyncio.sleep(0)
    assert len(stage.transport.written) == count + 1
    await asyncio.sleep(0)
    assert len(stage.transport.written) == count + 1
    assert len(flushed) == 1
    stage.link.schedule()
    await asyncio.sleep(0)
    assert len(flushed) == 2


async def test_the_pool_hears_of_a_response_after_its_sink() -> None:
    stage = Stage()
    stage.settings()
    exchange = stage.open()
    stage.link.flush()
    stage.calls.clear()
    stage.link.data_received(h.frame(h.HEADERS, 0x5, exchange.stream_id, b"\x20\x88"))
    assert stage.calls == ["sink", "progress"]
    assert stage.link.connection.answered
    stage.link.abort()


@pytest.mark.parametrize(
    ("block", "authenticated"),
    [
        (b"\x20\x88", True),  # 200
        (b"\x20\x08\x03400", True),
        (b"\x20\x08\x03401", False),
        (b"\x20\x08\x03403", False),
    ],
    ids=["200", "400", "401", "403"],
)
async def test_a_response_says_whether_the_server_accepts_our_credentials(
    block: bytes, authenticated: bool
) -> None:
    stage = Stage()
    stage.settings()
    exchange = stage.open()
    stage.link.flush()
    stage.link.data_received(h.frame(h.HEADERS, 0x5, exchange.stream_id, block))
    connection = stage.link.connection
    assert exchange.status in (200, 400, 401, 403)
    assert (connection.answered, connection.progressed, connection.authenticated) == (
        True,
        True,
        authenticated,
    )
    later = stage.open()
    stage.link.flush()
    connection.progressed = False
    stage.link.data_received(h.frame(h.HEADERS, 0x5, later.stream_id, b"\x08\x03401"))
    assert (connection.progressed, connection.authenticated) == (True, authenticated)


async def test_a_stream_that_is_reset_is_no_response() -> None:
    stage = Stage()
    stage.settings()
    exchange = stage.open()
    stage.link.flush()
    stage.link.data_received(h.frame(h.RST_STREAM, 0, exchange.stream_id, bytes((0, 0, 0, 2))))
    assert exchange.error is not None
    connection = stage.link.connection
    assert (connection.answered, connection.progressed, connection.authenticated) == (False, False, False)


async def test_a_connection_that_ends_before_settings_says_why() -> None:
    for given, kind in ((None, ConnectionLost), (ConnectionResetError("reset by peer"), ConnectError)):
        stage = Stage()
        stage.link.connection_lost(given)
        assert isinstance(stage.error, kind)
        assert stage.link.gone.done()


async def test_a_connection_that_is_lost_ends_its_requests() -> None:
    stage = Stage()
    stage.settings()
    exchange = stage.open()
    stage.link.flush()
    stage.link.connection_lost(ConnectionResetError("reset by peer"))
    assert str(exchange.error) == "the connection was lost: reset by peer"
    assert stage.calls[-2:] == ["sink", "progress"]
    written = len(stage.transport.written)
    stage.link.flush()
    stage.link.abort()
    assert (len(stage.transport.written), stage.transport.calls) == (written, [])


async def test_the_end_of_the_servers_bytes_is_the_end_of_the_connection() -> None:
    """What was opened and not written goes elsewhere, and nothing is written any more."""
    stage = Stage()
    stage.settings()
    written = stage.open()
    stage.link.flush()
    unwritten = stage.open()
    stage.link.schedule()
    writes = len(stage.transport.written)
    assert not stage.link.eof_received()
    assert stage.link.connection.capacity == 0
    await asyncio.sleep(0)
    assert len(stage.transport.written) == writes
    assert written.error is not None
    assert not written.error.unprocessed
    assert stage.link.connection.refused == [unwritten]
    assert unwritten.error is not None
    assert unwritten.error.unprocessed
    assert stage.transport.calls == ["close"]


async def test_a_transport_that_is_closing_takes_nothing_and_says_why_in_the_end() -> None:
    """As after a failed write: `is_closing` comes a tick or two before `connection_lost`."""
    stage = Stage()
    stage.settings()
    stage.link.flush()
    unwritten = stage.open()
    stage.link.schedule()
    stage.transport.calls.append("abort")
    writes = len(stage.transport.written)
    await asyncio.sleep(0)
    assert len(stage.transport.written) == writes
    assert stage.link.connection.capacity == 0
    stage.link.resume_writing()
    assert stage.link.connection.capacity == 0
    stage.link.connection_lost(ConnectionResetError("reset by peer"))
    assert stage.link.connection.refused == [unwritten]
    assert unwritten.error is not None
    assert unwritten.error.unprocessed
    assert "reset by peer" in str(unwritten.error)


async def test_closing_says_goaway_and_hangs_up_once() -> None:
    stage = Stage()
    stage.settings()
    stage.link.close()
    assert [one.error_code for one in h.only(h.parse(stage.transport.written[-1]), "GOAWAY")] == [h.NO_ERROR]
    assert stage.transport.calls == ["close"]
    stage.link.close()
    assert stage.transport.calls == ["close"]


async def test_a_breach_of_the_protocol_is_answered_before_it_hangs_up() -> None:
    stage = Stage()
    stage.link.data_received(h.data(1))
    assert [one.error_code for one in h.only(h.parse(stage.transport.written[-1]), "GOAWAY")] == [
        h.PROTOCOL_ERROR
    ]
    assert stage.transport.calls == ["close"]
    assert stage.error is not None


async def test_a_transport_that_is_full_takes_no_requests_until_it_is_not() -> None:
    stage = Stage()
    stage.settings()
    assert stage.link.connection.capacity == 10
    stage.link.pause_writing()
    assert stage.link.connection.capacity == 0
    stage.calls.clear()
    stage.link.resume_writing()
    assert stage.link.connection.capacity == 10
    assert stage.calls == ["progress"]


async def test_time_reaches_the_connection() -> None:
    stage = Stage()
    stage.settings()
    exchange = stage.open()
    exchange.deadline = 1.0
    stage.link.flush()
    stage.link.tick(2.0)
    assert exchange.error is not None
    assert "sink" in stage.calls
