"""RFC 9113, sections 5.4 and 7: GOAWAY for errors of the connection, RST_STREAM for errors of a stream."""

from __future__ import annotations

import pytest

from pushcore.errors import ConnectionLost, ProtocolError, StreamReset
from pushcore.http2.streams import ConnectionState
from tests.support import http2 as h
from tests.support.http2 import Dial, UncheckedServer

BREACH = h.frame(h.PING, 0, 0, b"short")


def test_the_last_frame_is_goaway(dial: Dial) -> None:
    """An endpoint that encounters a connection error SHOULD first send a GOAWAY frame."""
    client = dial()
    client.request()
    client.sent()
    client.feed(h.ping(), BREACH)
    sent = client.sent()
    assert type(sent[-1]).__name__ == "GoAwayFrame"
    assert sent[-1].error_code == h.FRAME_SIZE_ERROR
    assert sent[-1].last_stream_id == 0  # the server has opened no stream


def test_every_exchange_ends(dial: Dial, wire: UncheckedServer) -> None:
    """What was written is of unknown fate and carries the error; what was answered before stays answered."""
    client = dial()
    exchanges = [client.request() for _ in range(5)]
    client.sent()
    client.feed(wire.answer(3), BREACH, wire.answer(1))
    assert client.finished[0] is exchanges[1]
    assert exchanges[1].error is None
    assert len(client.finished) == 5
    assert not client.refused
    assert all(isinstance(exchange.error, ProtocolError) for exchange in client.finished[1:])
    assert not any(exchange.error.unprocessed for exchange in client.finished[1:] if exchange.error)


def test_unwritten_requests_are_refused_and_never_written(dial: Dial) -> None:
    """What `refused` calls unprocessed must not reach the peer afterwards, together with the GOAWAY."""
    client = dial()
    written = client.request()
    client.sent()
    unwritten = [client.request() for _ in range(3)]
    client.feed(BREACH)
    assert client.finished == [written]
    assert client.refused == unwritten
    assert all(exchange.error and exchange.error.unprocessed for exchange in unwritten)
    assert [type(one).__name__ for one in client.sent()] == ["GoAwayFrame"]


def test_closing_by_ourselves_drops_what_was_not_written(dial: Dial) -> None:
    client = dial()
    written = client.request()
    client.sent()
    unwritten = client.request()
    client.connection.close()
    client.collect()
    assert (client.finished, client.refused) == ([written], [unwritten])
    assert isinstance(written.error, ConnectionLost)
    (last,) = client.sent()
    assert (type(last).__name__, last.error_code) == ("GoAwayFrame", h.NO_ERROR)


def test_closing_before_anything_was_written(dial: Dial) -> None:
    """The preface still comes first."""
    client = dial(started=False)
    client.connection.close()
    assert h.only(client.sent(), "GOAWAY")


def test_nothing_is_read_or_taken_afterwards(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    client.feed(BREACH)
    client.sent()
    client.feed(h.settings((h.MAX_STREAMS, 100)), h.ping(), BREACH, h.goaway(0))
    client.tick(1000.0)
    assert client.offer() is None
    assert client.sent() == []
    assert client.state is ConnectionState.CLOSED


def test_lost_twice_is_lost_once(dial: Dial) -> None:
    client = dial()
    exchange = client.request()
    client.sent()
    error = ConnectionLost("the cable was cut")
    client.connection.lost(error)
    client.connection.lost(ConnectionLost("again"))
    client.collect()
    assert client.finished == [exchange]
    assert client.connection.error is error


def test_a_stream_error_leaves_the_others_alone(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    one, two = client.request(), client.request()
    client.feed(h.frame(h.RST_STREAM, 0, 1, bytes(3) + b"\x02"), wire.answer(3))
    assert isinstance(one.error, StreamReset)
    assert (two.status, two.error) == (200, None)


@pytest.mark.parametrize("code", [*range(0xE), 0xE, 0xFF, 0xFFFF_FFFF])
def test_unknown_error_codes_trigger_nothing_special(dial: Dial, wire: UncheckedServer, code: int) -> None:
    """Unknown or unsupported error codes MUST NOT trigger any special behavior (section 7)."""
    client = dial()
    one, two = client.request(), client.request()
    client.sent()
    client.feed(h.rst_stream(1, code), wire.answer(3), h.goaway(3, code))
    assert isinstance(one.error, StreamReset)
    assert one.error.code == code
    assert one.error.unprocessed is (code == h.REFUSED_STREAM)
    assert two.status == 200
    assert client.state is ConnectionState.DRAINING
