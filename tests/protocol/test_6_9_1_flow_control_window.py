"""RFC 9113, section 6.9.1: two windows for what we send, and two for what we read."""

from __future__ import annotations

import pytest

from pushcore.http2.streams import Limits
from tests.support import http2 as h
from tests.support.http2 import Dial, UncheckedServer


def sent_bytes(client: h.ClientHarness) -> int:
    return sum(len(one.data) for one in h.only(client.sent(), "DATA"))


@pytest.mark.slow
@pytest.mark.parametrize("body", [0, 1, 100, 4096])
def test_no_more_than_the_connections_window(dial: Dial, wire: UncheckedServer, body: int) -> None:
    """The sender MUST NOT send a flow-controlled frame with a length that exceeds either window."""
    client = dial((h.MAX_STREAMS, 10_000))
    opened = 0
    while opened < 1000 and client.offer(b"x" * body) is not None:
        opened += 1
    assert opened == (1000 if body * 1000 <= 65_535 else 65_535 // body)
    assert sent_bytes(client) == opened * body
    assert client.connection.window == 65_535 - opened * body


def test_an_update_admits_more(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    for _ in range(16):
        client.request(b"x" * 4095)
    assert client.offer(b"x" * 4095) is None
    client.feed(h.window_update(0, 4095))
    client.request(b"x" * 4095)
    assert client.offer(b"x" * 4095) is None


def test_answers_alone_bring_no_window(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    exchanges = [client.request(b"x" * 4095) for _ in range(16)]
    client.feed(*(wire.answer(exchange.stream_id) for exchange in exchanges[:-1]))
    assert client.offer(b"x" * 4095) is None


def test_a_body_larger_than_the_connections_window(dial: Dial, wire: UncheckedServer) -> None:
    """It goes out in parts when nothing else is open, or waits for another connection."""
    body = bytes(range(256)) * 400
    client = dial((h.INITIAL_WINDOW, 1 << 20))
    small = client.request()
    assert client.offer(body) is None
    client.feed(wire.answer(small.stream_id))
    exchange = client.request(body)
    received = wire.requests(client.sent())[3].body
    assert len(received) == 65_533
    for _ in range(8):
        client.feed(h.window_update(0, 5_000))
        received += b"".join(one.data for one in h.only(client.sent(), "DATA"))
    assert received == body
    client.feed(wire.answer(3))
    assert exchange.error is None


@pytest.mark.parametrize("excess", [0, 1])
def test_a_body_may_use_all_of_the_window_beside_another_request(dial: Dial, excess: int) -> None:
    client = dial((h.INITIAL_WINDOW, 1 << 20))
    client.request(b"x" * 100)
    body = b"y" * (65_435 + excess)
    assert (client.offer(body) is None) is bool(excess)
    assert sent_bytes(client) == 100 + (0 if excess else len(body))


def test_what_was_received_is_acknowledged_at_half_of_the_window(dial: Dial, wire: UncheckedServer) -> None:
    """Each time with as many bytes as have come since, and not for single frames."""
    client = dial(started=False, limits=Limits(receive_window=131_068))
    client.feed(h.settings())
    exchange = client.request()
    client.sent()
    client.feed(wire.headers(exchange.stream_id, (":status", "200"), flags=h.END_HEADERS))
    client.feed(h.data(exchange.stream_id, b"", 0))
    for end in (0, h.END_STREAM):
        for size in (16_384, 16_384, 16_384, 16_381):
            client.feed(h.data(exchange.stream_id, b"x" * size, 0))
            assert client.sent() == []
        client.feed(h.data(exchange.stream_id, b"x", end))
        updates = [(one.stream_id, one.window_increment) for one in h.only(client.sent(), "WINDOW_UPDATE")]
        assert updates == [(0, 65_534)]
        assert client.sent() == []


@pytest.mark.parametrize("stream_id", [0, 1])
def test_a_window_above_the_maximum(dial: Dial, stream_id: int) -> None:
    """A window above 2^31-1 MUST end the stream or the connection with FLOW_CONTROL_ERROR."""
    client = dial()
    exchange = client.request(b"{}")
    client.sent()
    client.feed(h.window_update(stream_id, 0x7FFF_FFFF - 65_535 + 2))
    client.check_alive()
    client.feed(h.window_update(stream_id, 0x7FFF_FFFF - 10))
    if stream_id:
        client.check_stream_error(exchange, h.FLOW_CONTROL_ERROR)
    else:
        client.check_broken(h.FLOW_CONTROL_ERROR)


def test_the_largest_window_is_legal(dial: Dial) -> None:
    client = dial()
    client.feed(h.window_update(0, 0x7FFF_FFFF - 65_535))
    client.check_alive()
    assert client.connection.window == 0x7FFF_FFFF


def test_more_than_our_connection_window(dial: Dial, wire: UncheckedServer) -> None:
    """A receiver MAY end the connection of a sender that does not respect the window with FLOW_CONTROL_ERROR.

    The reference acknowledges while it reads, so that there the same bytes are within the window.
    """
    client = dial(limits=Limits(receive_window=65_535, max_body=70_000))
    client.request()
    client.sent()
    flood = [h.data(1, bytes(16_384), 0) for _ in range(4)]
    client.feed(wire.headers(1, (":status", "200"), flags=h.END_HEADERS))
    client.connection.receive(b"".join(flood), client.now)  # in one call, before we have given any back
    client.collect()
    if client.fast:
        client.check_broken(h.FLOW_CONTROL_ERROR)
    else:
        client.check_alive()


def test_empty_data_needs_no_window(dial: Dial, wire: UncheckedServer) -> None:
    """Frames with zero length and END_STREAM MAY be sent if there is no available space in either window."""
    client = dial((h.INITIAL_WINDOW, 0))
    exchange = client.request(b"")
    assert wire.requests(client.sent())[1].ended
    client.feed(wire.answer(1))
    assert exchange.status == 200
