"""RFC 9113, section 6.9: WINDOW_UPDATE."""

from __future__ import annotations

import pytest

from tests.support import http2 as h
from tests.support.http2 import Dial, UncheckedServer


def test_zero_on_the_connection(dial: Dial) -> None:
    """An increment of 0 on the connection MUST be treated as a connection error of type PROTOCOL_ERROR."""
    client = dial()
    client.feed(h.window_update(0, 0))
    client.check_broken(h.PROTOCOL_ERROR)


@pytest.mark.parametrize("window", [65_535, 1])
def test_zero_on_a_stream(dial: Dial, wire: UncheckedServer, window: int) -> None:
    """An increment of 0 MUST be treated as a stream error of type PROTOCOL_ERROR (h2: of the connection)."""
    client = dial((h.INITIAL_WINDOW, window))
    exchange = client.request()
    client.sent()
    client.feed(h.window_update(1, 0))
    client.check_stream_error(exchange, h.PROTOCOL_ERROR, reference_closes=h.PROTOCOL_ERROR)


@pytest.mark.parametrize("stream_id", [0, 1])
@pytest.mark.parametrize("length", [0, 3, 5])
def test_another_size(dial: Dial, stream_id: int, length: int) -> None:
    """A length other than 4 octets MUST be treated as a connection error of type FRAME_SIZE_ERROR."""
    client = dial()
    client.request()
    client.sent()
    client.feed(h.frame(h.WINDOW_UPDATE, 0, stream_id, bytes(length)))
    client.check_broken(h.FRAME_SIZE_ERROR)


def test_the_reserved_bit_of_the_increment_is_ignored(dial: Dial, wire: UncheckedServer) -> None:
    """python-hyper/h2 takes it for a part of the number, and the number for too large."""
    client = dial((h.INITIAL_WINDOW, 1))
    client.request(b"xyz")
    wire.requests(client.sent())
    client.feed(h.window_update(1, 0x8000_0001))
    if not client.fast:
        client.check_broken(h.PROTOCOL_ERROR)
        return
    assert wire.requests(client.sent())[1].body == b"y"


def test_after_the_answer_it_is_ignored(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    client.request()
    client.feed(wire.answer(1), h.window_update(1, 100))
    client.check_alive()
