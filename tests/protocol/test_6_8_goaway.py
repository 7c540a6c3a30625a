"""RFC 9113, section 6.8: GOAWAY, graceful and not; above its last stream nothing was processed."""

from __future__ import annotations

import pytest

from pushcore.errors import ConnectionLost, GoAway
from pushcore.http2.streams import ConnectionState
from tests.support import http2 as h
from tests.support.http2 import Dial, HonestServer, UncheckedServer, converse

APPLE = b'{"reason":"ExpiredProviderToken","timestamp":1700000000000}'


@pytest.mark.parametrize("last", [0, 1, 2, 3, 4, 5, 9, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_streams_above_the_last_are_refused(dial: Dial, wire: UncheckedServer, last: int) -> None:
    """Streams with a higher identifier were not and will not be processed: they can be tried again elsewhere."""
    client = dial()
    exchanges = [client.request() for _ in range(5)]
    client.sent()
    client.feed(h.goaway(last))
    allowed = last & 0x7FFF_FFFF
    above = [exchange for exchange in exchanges if exchange.stream_id > allowed]
    below = [exchange for exchange in exchanges if exchange.stream_id <= allowed]
    assert client.refused == above
    assert client.finished == []
    assert all(isinstance(exchange.error, GoAway) and exchange.error.unprocessed for exchange in above)
    assert client.state is ConnectionState.DRAINING
    assert client.offer() is None  # MUST NOT open additional streams
    for exchange in below:
        client.feed(wire.answer(exchange.stream_id, 200, b"{}"))
    assert client.finished == below
    assert all(exchange.error is None for exchange in below)
    assert client.connection.idle


@pytest.mark.parametrize("last", [1, 3, 0x7FFF_FFFF])
def test_frames_of_streams_up_to_the_last_are_not_ignored(
    dial: Dial, wire: UncheckedServer, last: int
) -> None:
    """The server has processed them, so what it sends after their end is an error, as without GOAWAY."""
    client = dial()
    client.request()
    client.request()
    client.feed(wire.answer(1), h.goaway(last), wire.answer(1))
    client.check_broken(h.STREAM_CLOSED)


@pytest.mark.parametrize("body", [b"", b"x"])
def test_frames_of_refused_streams_are_ignored(dial: Dial, wire: UncheckedServer, body: bytes) -> None:
    """The server contradicts itself, but the responses to the requests that it has taken may follow."""
    client = dial()
    client.feed(wire.answer(client.request().stream_id))
    taken, refused = client.request(), client.request()
    client.feed(h.goaway(taken.stream_id))
    client.feed(wire.answer(refused.stream_id, 200, body), wire.answer(taken.stream_id))
    assert client.refused == [refused]
    assert (taken.status, taken.error) == (200, None)
    assert client.connection.idle


def test_answers_that_are_half_here(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    exchange = client.request()
    client.feed(wire.headers(1, (":status", "410"), flags=h.END_HEADERS), h.data(1, b"ab", 0), h.goaway(1))
    client.feed(h.data(1, b"cd"))
    assert (exchange.status, exchange.data, exchange.error) == (410, b"abcd", None)


def test_a_stream_that_has_begun_to_answer_is_not_sent_again(dial: Dial, wire: UncheckedServer) -> None:
    """A server that answers a stream and then denies it contradicts itself; a second sending could double it."""
    client = dial()
    exchange = client.request()
    client.sent()
    client.feed(wire.headers(1, (":status", "200"), flags=h.END_HEADERS), h.goaway(0))
    assert (client.finished, client.refused) == ([exchange], [])
    assert isinstance(exchange.error, GoAway)
    assert not exchange.error.unprocessed


def test_twice_as_a_graceful_shutdown_does(dial: Dial, wire: UncheckedServer) -> None:
    """First with 2^31-1 and NO_ERROR, then with the last stream that was really taken."""
    client = dial()
    exchanges = [client.request() for _ in range(4)]
    client.sent()
    client.feed(h.goaway(0x7FFF_FFFF), wire.answer(1))
    assert client.refused == []
    client.feed(h.goaway(5), wire.answer(5), wire.answer(3))
    assert client.refused == exchanges[3:]
    assert [exchange.stream_id for exchange in client.finished] == [1, 5, 3]


def test_a_second_may_not_raise_the_last_stream(dial: Dial, wire: UncheckedServer) -> None:
    """Endpoints MUST NOT increase the value; what was refused stays refused, and ends once."""
    client = dial()
    exchanges = [client.request() for _ in range(3)]
    client.sent()
    client.feed(h.goaway(1), h.goaway(99), wire.answer(1))
    assert client.refused == exchanges[1:]
    assert client.finished == exchanges[:1]


@pytest.mark.parametrize(
    ("debug", "reason"),
    [
        (b"", None),
        (APPLE, "ExpiredProviderToken"),
        (b'{"reason":', '{"reason":'),
        (b"too_many_pings", "too_many_pings"),
        (b"\xff\x00\n", "\ufffd"),
        (b"[1]", "[1]"),
        (b'{"reason": 5}', '{"reason": 5}'),
        (b"x" * 10_000, "x" * 100),
    ],
)
def test_debug_data(dial: Dial, debug: bytes, reason: str | None) -> None:
    client = dial()
    exchange = client.request()
    client.sent()
    client.feed(h.goaway(0, h.ENHANCE_YOUR_CALM, debug))
    for error in (exchange.error, client.connection.error):
        assert isinstance(error, GoAway)
        assert (error.code, error.debug, error.reason) == (h.ENHANCE_YOUR_CALM, debug, reason)


@pytest.mark.parametrize("length", [0, 4, 7])
def test_too_short(dial: Dial, length: int) -> None:
    client = dial()
    client.feed(h.frame(h.GOAWAY, payload=bytes(length)))
    client.check_broken(h.FRAME_SIZE_ERROR)


def test_then_the_connection_ends(dial: Dial) -> None:
    """Streams below the last that are not answered are of unknown fate, and say why."""
    client = dial()
    one, two = client.request(), client.request()
    client.sent()
    client.feed(h.goaway(1, h.INTERNAL_ERROR, APPLE))
    client.connection.lost(ConnectionLost("the server closed the connection"))
    client.collect()
    assert (client.finished, client.refused) == ([one], [two])
    assert isinstance(one.error, GoAway)
    assert not one.error.unprocessed
    assert one.error.reason == "ExpiredProviderToken"


def test_requests_not_written_are_refused_at_the_end(dial: Dial) -> None:
    client = dial()
    client.sent()
    exchange = client.request()
    client.feed(h.goaway(0x7FFF_FFFF))
    client.connection.lost(ConnectionLost("gone"))
    client.collect()
    assert client.refused == [exchange]


def test_frames_of_the_connection_still_count(dial: Dial, wire: UncheckedServer) -> None:
    """After GOAWAY, flow control, PING and SETTINGS go on, and bodies in parts are finished."""
    client = dial((h.INITIAL_WINDOW, 10))
    exchange = client.request(b"x" * 25)
    client.sent()
    client.feed(h.goaway(1), h.ping(), h.window_update(1, 15), h.settings((h.MAX_STREAMS, 5)))
    sent = client.sent()
    assert h.only(sent, "PING")
    assert h.only(sent, "SETTINGS")
    assert wire.requests(sent)[1].ended
    assert client.offer() is None
    client.feed(wire.answer(1))
    assert exchange.status == 200


def test_a_refused_body_in_parts_sends_nothing_more(dial: Dial) -> None:
    client = dial((h.INITIAL_WINDOW, 10))
    exchange = client.request(b"x" * 25)
    client.sent()
    client.feed(h.goaway(0), h.window_update(0, 100), h.settings((h.INITIAL_WINDOW, 1000)))
    assert client.refused == [exchange]
    assert h.only(client.sent(), "DATA") == []


def test_an_honest_server_goes_away(dial: Dial) -> None:
    client, server = dial(started=False), HonestServer()
    converse(client, server)
    exchanges = [client.request() for _ in range(3)]
    converse(client, server)
    server.answer(1, 200)
    converse(client, server)
    server.h2.close_connection(last_stream_id=1)
    converse(client, server)
    assert client.finished == exchanges[:1]
    assert client.refused == exchanges[1:]
    assert client.connection.idle
