"""RFC 9113, section 5.1: frames on streams that are idle, open, or closed in one of several ways."""

from __future__ import annotations

import pytest

from pushcore.errors import StreamReset
from pushcore.http2.streams import Limits
from tests.support import http2 as h
from tests.support.http2 import Dial, UncheckedServer

PRIORITY = bytes(4) + b"\x10"


@pytest.mark.parametrize("ahead", [0, 2, 4, 100])
@pytest.mark.parametrize("opened", [0, 1])
@pytest.mark.parametrize(
    "kind", [h.DATA, h.HEADERS, h.RST_STREAM, h.WINDOW_UPDATE], ids=["data", "headers", "reset", "window"]
)
def test_idle(dial: Dial, kind: int, opened: int, ahead: int) -> None:
    """Receiving any frame other than HEADERS or PRIORITY on an idle stream MUST be PROTOCOL_ERROR.

    And a server can open no stream with HEADERS (section 5.1.1), so that is PROTOCOL_ERROR as well.
    """
    client = dial()
    for _ in range(opened):
        client.request()
    client.sent()
    stream_id = client.connection.next_id + ahead
    payload = {h.DATA: b"x", h.HEADERS: b"\x20\x88"}.get(kind, b"\0\0\0\1")
    client.feed(h.frame(kind, 0x4 if kind == h.HEADERS else 0, stream_id, payload))
    client.check_broken(h.PROTOCOL_ERROR)


@pytest.mark.parametrize("stream_id", [1, 3, 99])
def test_priority_is_legal_in_every_state(dial: Dial, wire: UncheckedServer, stream_id: int) -> None:
    client = dial()
    exchange = client.request()
    frame = h.frame(h.PRIORITY, 0, stream_id, PRIORITY)
    client.feed(frame, wire.answer(1), frame)
    client.check_alive()
    assert exchange.status == 200


@pytest.mark.parametrize("kind", [h.DATA, h.HEADERS], ids=["data", "headers"])
def test_closed_by_end_stream(dial: Dial, wire: UncheckedServer, kind: int) -> None:
    """A DATA or HEADERS frame after END_STREAM is an error of type STREAM_CLOSED.

    For DATA python-hyper/h2 makes it an error of the stream.
    """
    client = dial()
    exchange, other = client.request(), client.request()
    client.feed(wire.answer(1))
    client.sent()
    client.feed(h.frame(kind, 0x5, 1, b"\x88"))
    assert exchange.error is None
    if kind == h.DATA and not client.fast:
        client.check_alive()
        assert [one.error_code for one in h.only(client.sent(), "RST_STREAM")] == [h.STREAM_CLOSED]
        return
    client.check_broken(h.STREAM_CLOSED)
    assert client.finished == [exchange, other]


def test_closed_by_end_stream_ignores_window_update_and_reset(dial: Dial, wire: UncheckedServer) -> None:
    """Endpoints MUST ignore WINDOW_UPDATE or RST_STREAM frames received in this state."""
    client = dial()
    exchange = client.request()
    client.feed(wire.answer(1), h.window_update(1, 100), h.rst_stream(1, h.NO_ERROR), h.window_update(1, 5))
    client.check_alive()
    assert client.finished == [exchange]
    assert exchange.error is None
    client.feed(wire.answer(client.request().stream_id))
    assert len(client.finished) == 2


@pytest.mark.parametrize("kind", [h.DATA, h.HEADERS, h.RST_STREAM, h.WINDOW_UPDATE])
def test_closed_by_our_reset(dial: Dial, wire: UncheckedServer, kind: int) -> None:
    """After RST_STREAM an endpoint MUST ignore what the peer had sent before it knew."""
    client = dial()
    client.feed(wire.answer(client.request().stream_id))
    exchange = client.request()
    client.sent()
    client.connection.cancel(exchange)
    assert [(one.stream_id, one.error_code) for one in h.only(client.sent(), "RST_STREAM")] == [(3, h.CANCEL)]
    payload = {h.DATA: b"x", h.HEADERS: b"\x88"}.get(kind, b"\0\0\0\1")
    client.feed(
        h.frame(kind, 0x4 if kind == h.HEADERS else 0, 3, payload), wire.answer(client.request().stream_id)
    )
    client.check_alive()
    assert exchange not in client.finished + client.refused
    assert client.finished[-1].status == 200


def test_a_late_answer_to_a_cancelled_stream_is_ignored(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    exchange = client.request()
    client.connection.cancel(exchange)
    client.feed(wire.answer(1, 200, b"too late"))
    client.check_alive()
    assert (exchange.status, client.finished, client.refused) == (0, [], [])


@pytest.mark.slow
def test_data_on_a_cancelled_stream_is_still_credited(dial: Dial, wire: UncheckedServer) -> None:
    """The frames that we ignore count for the connection's window (section 5.1, closed)."""
    client = dial(limits=Limits(receive_window=65_535, max_body=60_000))
    client.sent()
    for _ in range(4):
        exchange = client.request()
        client.connection.cancel(exchange)
        client.sent()
        client.feed(
            wire.headers(exchange.stream_id, (":status", "200"), flags=h.END_HEADERS),
            *[h.data(exchange.stream_id, bytes(10_000), 0) for _ in range(5)],
        )
        client.check_alive()
        updates = [one for one in h.only(client.sent(), "WINDOW_UPDATE") if not one.stream_id]
        assert sum(one.window_increment for one in updates) >= 32_767


@pytest.mark.parametrize("kind", [h.RST_STREAM, h.WINDOW_UPDATE])
def test_closed_by_their_reset_ignores_what_is_harmless(dial: Dial, kind: int) -> None:
    client = dial()
    exchange = client.request()
    client.sent()
    client.feed(h.rst_stream(1, h.INTERNAL_ERROR), h.frame(kind, 0, 1, b"\0\0\0\1"))
    client.check_alive()
    assert isinstance(exchange.error, StreamReset)
    assert client.finished == [exchange]


@pytest.mark.parametrize("kind", [h.DATA, h.HEADERS])
def test_closed_by_their_reset(dial: Dial, kind: int) -> None:
    """A frame after RST_STREAM is an error of type STREAM_CLOSED: of the connection for us, of the stream for h2."""
    client = dial()
    exchange = client.request()
    client.sent()
    client.feed(h.rst_stream(1, h.CANCEL), h.frame(kind, 0x5, 1, b"\x20\x88"))
    assert client.finished == [exchange]
    if client.fast:
        client.check_broken(h.STREAM_CLOSED)
    else:
        client.check_alive()
        assert [one.error_code for one in h.only(client.sent(), "RST_STREAM")] == [h.STREAM_CLOSED]
