"""RFC 9113, section 4.1 and 5.5: the nine bytes before each payload, unknown types, unused flags."""

from __future__ import annotations

import pytest

from tests.support import http2 as h
from tests.support.http2 import Dial, UncheckedServer


@pytest.mark.parametrize("kind", [0x0A, 0x0B, 0x10, 0x80, 0xFE, 0xFF])
@pytest.mark.parametrize("stream_id", [0, 1, 2, 99])
def test_unknown_types_are_ignored(dial: Dial, wire: UncheckedServer, kind: int, stream_id: int) -> None:
    """Implementations MUST ignore and discard frames of unknown types."""
    client = dial()
    exchange = client.request()
    client.feed(h.frame(kind, 0xFF, stream_id, b"whatever"), wire.answer(1, 200, b"{}"))
    client.check_alive()
    assert (exchange.status, exchange.data) == (200, b"{}")


@pytest.mark.parametrize("kind", [0x0A, 0xFE])
def test_unknown_types_before_and_between_answers(dial: Dial, wire: UncheckedServer, kind: int) -> None:
    client = dial()
    client.request()
    client.request()
    strange = h.frame(kind, 0, 0, b"")
    client.feed(strange, wire.answer(3, 410, b"gone"), strange, wire.answer(1), strange)
    assert [exchange.status for exchange in client.finished] == [410, 200]


@pytest.mark.parametrize(
    "kind", [h.DATA, h.HEADERS, h.PING, h.SETTINGS, h.RST_STREAM, h.GOAWAY, h.WINDOW_UPDATE]
)
def test_undefined_flags_are_ignored(dial: Dial, wire: UncheckedServer, kind: int) -> None:
    """Flags that have no defined semantics for a frame type MUST be ignored."""
    client = dial()
    exchange = client.request()
    match kind:
        case h.DATA:
            raw = wire.headers(1, (":status", "200"), flags=h.END_HEADERS) + h.data(1, b"{}", 0x1 | 0x46)
        case h.HEADERS:
            raw = wire.headers(1, (":status", "200"), flags=0x5 | 0xD2 & ~h.PADDED & ~h.PRIORITY_FLAG)
        case h.PING:
            raw = h.ping(flags=0xFE) + wire.answer(1)
        case h.SETTINGS:
            raw = h.frame(h.SETTINGS, 0xFE) + wire.answer(1)
        case h.RST_STREAM:
            client.request()
            raw = h.frame(h.RST_STREAM, 0xFF, 3, bytes(4)) + wire.answer(1)
        case h.GOAWAY:
            raw = h.frame(h.GOAWAY, 0xFF, 0, bytes(3) + b"\x01" + bytes(4)) + wire.answer(1)
        case _:
            raw = h.frame(h.WINDOW_UPDATE, 0xFF, 0, b"\0\0\0\1") + wire.answer(1)
    client.feed(raw)
    client.check_alive()
    assert (exchange.status, exchange.error) == (200, None)


def test_the_reserved_bit_is_ignored(dial: Dial, wire: UncheckedServer) -> None:
    """The reserved bit MUST be ignored when receiving."""
    client = dial()
    one, two = client.request(), client.request()
    reserved = 0x8000_0000
    client.feed(
        h.frame(h.HEADERS, 0x4, 1 | reserved, b"\x20\x88"),
        h.frame(h.DATA, 0x1, 1 | reserved, b"body"),
        h.frame(h.PING, 0, reserved, b"12345678"),
        h.frame(h.HEADERS, 0x5, 3 | reserved, b"\x88"),
    )
    assert (one.status, one.data, two.status) == (200, b"body", 200)


def test_our_frames_leave_the_reserved_bit_unset(dial: Dial) -> None:
    """The reserved bit MUST remain unset (0x00) when sending."""
    client = dial()
    for _ in range(3):
        client.request(b"x" * 10)
    raw = client.output()
    while raw:
        assert not raw[5] & 0x80
        raw = raw[9 + int.from_bytes(raw[:3], "big") :]
