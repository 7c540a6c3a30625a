"""RFC 9113, section 6.1: DATA, its padding, and what it may belong to."""

from __future__ import annotations

import pytest

from pushcore.errors import ResponseTooLarge
from pushcore.http2.streams import Limits
from tests.support import http2 as h
from tests.support.http2 import Dial, UncheckedServer


@pytest.mark.parametrize("pad", [0, 1, 7, 255])
def test_padding_is_removed(dial: Dial, wire: UncheckedServer, pad: int) -> None:
    client = dial()
    exchange = client.request()
    head = wire.headers(1, (":status", "400"), flags=h.END_HEADERS)
    client.feed(head, h.data(1, bytes((pad,)) + b"reason" + bytes(pad), h.PADDED | h.END_STREAM))
    assert (exchange.status, exchange.data, exchange.error) == (400, b"reason", None)


@pytest.mark.parametrize("payload", [b"\x01", b"\x05abcd", b"\xff" + bytes(10), b"\x02\x00"])
def test_padding_longer_than_the_frame(dial: Dial, wire: UncheckedServer, payload: bytes) -> None:
    """Padding of the length of the payload or more MUST be a connection error of type PROTOCOL_ERROR."""
    client = dial()
    exchange = client.request()
    client.sent()
    client.feed(
        wire.headers(1, (":status", "200"), flags=h.END_HEADERS), h.data(1, payload, h.PADDED | h.END_STREAM)
    )
    client.check_broken(h.PROTOCOL_ERROR)
    assert client.finished == [exchange]


def test_a_padded_frame_without_a_pad_length(dial: Dial, wire: UncheckedServer) -> None:
    """Too short for its mandatory field: FRAME_SIZE_ERROR (4.2), which we call PROTOCOL_ERROR like all bad padding."""
    client = dial()
    client.request()
    client.sent()
    client.feed(
        wire.headers(1, (":status", "200"), flags=h.END_HEADERS), h.data(1, b"", h.PADDED | h.END_STREAM)
    )
    client.check_broken(h.PROTOCOL_ERROR, reference=h.FRAME_SIZE_ERROR)


def test_a_body_in_many_frames(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    one, two = client.request(), client.request()
    head = [wire.headers(number, (":status", "200"), flags=h.END_HEADERS) for number in (1, 3)]
    client.feed(
        head[0], h.data(1, b"a", 0), head[1], h.data(3, b"x", 0), h.data(1, b"", 0), h.data(1, b"b", 0)
    )
    client.feed(h.data(3, b"", h.END_STREAM), h.data(1, b"c", h.END_STREAM))
    assert (one.data, two.data) == (b"abc", b"x")
    assert client.finished == [two, one]


@pytest.mark.parametrize("size", [1000, 40_000])
def test_a_body_of_exactly_the_limit(dial: Dial, wire: UncheckedServer, size: int) -> None:
    client = dial(limits=Limits(max_body=size))
    exchange = client.request()
    body = bytes(size)
    pieces = [body[at : at + 16_384] for at in range(0, size, 16_384)]
    frames = [h.data(1, piece, h.END_STREAM if piece is pieces[-1] else 0) for piece in pieces]
    client.feed(wire.headers(1, (":status", "200"), flags=h.END_HEADERS), *frames)
    assert (len(exchange.data), exchange.error) == (size, None)


@pytest.mark.parametrize("size", [1000, 16_384])
def test_a_body_that_goes_on_after_the_limit(dial: Dial, wire: UncheckedServer, size: int) -> None:
    """The window of a stream is the most that we accept: when it is used up and the body not at its end, we reset."""
    client = dial(limits=Limits(max_body=size))
    exchange = client.request()
    client.sent()
    client.feed(wire.headers(1, (":status", "200"), flags=h.END_HEADERS), h.data(1, bytes(size), 0))
    assert isinstance(exchange.error, ResponseTooLarge)
    assert client.finished == [exchange]
    resets = h.only(client.sent(), "RST_STREAM")
    assert [(one.stream_id, one.error_code) for one in resets] == [(1, h.CANCEL)]
    client.check_alive()
    client.feed(wire.answer(client.request().stream_id))
    assert client.finished[-1].status == 200


@pytest.mark.parametrize("flags", [0, h.END_STREAM])
def test_a_body_above_the_window_of_its_stream(dial: Dial, wire: UncheckedServer, flags: int) -> None:
    """An error of the stream for us, of the connection for h2; both are allowed (section 6.9.1)."""
    client = dial(limits=Limits(max_body=1000))
    exchange = client.request()
    client.sent()
    client.feed(wire.headers(1, (":status", "200"), flags=h.END_HEADERS), h.data(1, bytes(1001), flags))
    assert client.finished == [exchange]
    if client.fast:
        assert isinstance(exchange.error, ResponseTooLarge)
        assert [one.error_code for one in h.only(client.sent(), "RST_STREAM")] == [h.FLOW_CONTROL_ERROR]
    else:
        client.check_broken(h.FLOW_CONTROL_ERROR)


@pytest.mark.parametrize("responses", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_bodies_of_a_campaign_are_credited(dial: Dial, wire: UncheckedServer, responses: int) -> None:
    """Forgetting to acknowledge on the connection would stop it after a few thousand rejections."""
    client = dial(limits=Limits(receive_window=100_000))
    sent = credit = 100_000
    for number in range(responses):
        exchange = client.request()
        body = bytes(8_000 + number)
        client.feed(wire.answer(exchange.stream_id, 400, body))
        credit -= len(body)
        updates = [one for one in h.only(client.sent(), "WINDOW_UPDATE") if not one.stream_id]
        credit += sum(one.window_increment for one in updates)
        assert 40_000 <= credit <= sent, "the window ran out, or grew"
    assert all(exchange.error is None for exchange in client.finished)


def test_too_much_padding_is_an_error_on_a_stream_that_we_reset_as_well(dial: Dial) -> None:
    """Padding of the payload's length or more MUST be treated as a connection error of type PROTOCOL_ERROR."""
    client = dial()
    client.connection.cancel(client.request())
    client.sent()
    client.feed(h.frame(h.DATA, h.PADDED, 1, b"\x05abc"))
    client.check_broken(h.PROTOCOL_ERROR)
