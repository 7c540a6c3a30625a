"""RFC 9113, section 6.4: RST_STREAM."""

from __future__ import annotations

import pytest

from pushcore.errors import StreamReset
from tests.support import http2 as h
from tests.support.http2 import Dial, UncheckedServer


@pytest.mark.parametrize(
    "code", [h.NO_ERROR, h.INTERNAL_ERROR, h.CANCEL, h.ENHANCE_YOUR_CALM, h.HTTP_1_1_REQUIRED]
)
def test_it_ends_the_exchange(dial: Dial, code: int) -> None:
    client = dial()
    exchange = client.request()
    client.sent()
    client.feed(h.rst_stream(1, code))
    assert client.finished == [exchange]
    assert isinstance(exchange.error, StreamReset)
    assert (exchange.error.code, exchange.error.unprocessed) == (code, False)
    assert client.sent() == []  # MUST NOT send a RST_STREAM in response to a RST_STREAM (section 5.4.2)


def test_in_the_middle_of_an_answer(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    exchange = client.request()
    client.feed(
        wire.headers(1, (":status", "200"), flags=h.END_HEADERS), h.data(1, b"half", 0), h.rst_stream(1, 2)
    )
    assert isinstance(exchange.error, StreamReset)
    assert (exchange.status, exchange.data) == (200, b"half")


@pytest.mark.parametrize("length", [0, 3, 5, 8])
def test_another_size(dial: Dial, length: int) -> None:
    """A length other than 4 octets MUST be treated as a connection error of type FRAME_SIZE_ERROR."""
    client = dial()
    exchange = client.request()
    client.sent()
    client.feed(h.frame(h.RST_STREAM, 0, 1, bytes(length)))
    client.check_broken(h.FRAME_SIZE_ERROR)
    assert client.finished == [exchange]


def test_while_our_body_is_on_its_way(dial: Dial, wire: UncheckedServer) -> None:
    client = dial((h.INITIAL_WINDOW, 10))
    exchange, other = client.request(b"x" * 25), client.request(b"y" * 25)
    client.sent()
    client.feed(h.rst_stream(1, h.CANCEL), h.settings((h.INITIAL_WINDOW, 1000)), h.window_update(1, 100))
    assert client.finished == [exchange]
    requests = wire.requests(client.sent())
    assert set(requests) == {3}
    assert requests[3].body == b"y" * 15
    client.feed(wire.answer(3))
    assert other.status == 200
