"""RFC 9113, section 6.2: HEADERS, its padding and its deprecated priority fields."""

from __future__ import annotations

import pytest

from tests.support import http2 as h
from tests.support.http2 import Dial, UncheckedServer

PRIORITY = b"\x80\x00\x00\x00\x10"


@pytest.mark.parametrize("pad", [0, 1, 200])
@pytest.mark.parametrize("priority", [False, True])
@pytest.mark.parametrize("first", [False, True], ids=["later", "first"])
def test_padding_and_priority_are_removed(dial: Dial, pad: int, priority: bool, first: bool) -> None:
    client = dial()
    if not first:
        client.feed(h.frame(h.HEADERS, 0x5, client.request().stream_id, b"\x20\x88"))
    exchange = client.request()
    block = (b"\x20" if first else b"") + b"\x8c"
    payload = bytes((pad,)) + (PRIORITY if priority else b"") + block + bytes(pad)
    flags = 0x5 | h.PADDED | (h.PRIORITY_FLAG if priority else 0)
    client.feed(h.frame(h.HEADERS, flags, exchange.stream_id, payload))
    assert (exchange.status, exchange.error) == (400, None)


@pytest.mark.parametrize("payload", [b"\x03\x88\x00", b"\xff\x88", b"\x01"])
def test_padding_longer_than_the_frame(dial: Dial, payload: bytes) -> None:
    """Padding that leaves less than nothing MUST be a connection error of type PROTOCOL_ERROR."""
    client = dial()
    client.request()
    client.sent()
    client.feed(h.frame(h.HEADERS, 0x5 | h.PADDED, 1, payload))
    client.check_broken(h.PROTOCOL_ERROR)


@pytest.mark.parametrize("length", [0, 1, 4])
def test_priority_fields_cut_short(dial: Dial, length: int) -> None:
    """A frame too small for its mandatory fields is FRAME_SIZE_ERROR (section 4.2)."""
    client = dial()
    client.request()
    client.sent()
    client.feed(h.frame(h.HEADERS, 0x5 | h.PRIORITY_FLAG, 1, bytes(length)))
    client.check_broken(h.FRAME_SIZE_ERROR)


def test_headers_with_the_body_to_come(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    exchange = client.request()
    client.feed(wire.headers(1, (":status", "200"), flags=h.END_HEADERS))
    assert client.finished == []
    assert exchange.status == 200
    client.feed(h.data(1, b"body"))
    assert client.finished == [exchange]
    assert exchange.data == b"body"


def test_an_answer_may_end_with_empty_data(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    exchange = client.request()
    client.feed(wire.headers(1, (":status", "200"), flags=h.END_HEADERS), h.data(1))
    assert (exchange.status, exchange.data, exchange.error) == (200, b"", None)
