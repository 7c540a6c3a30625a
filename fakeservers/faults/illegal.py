"""Illegal frames by name, and how RFC 9113 wants a client to react to each.

All are built as bytes, header blocks too: they neither use nor change the connection's compression table.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from fakeservers.serving.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)

CONNECTION = "a connection error"
STREAM = "a stream error"
IGNORED = "legal, to be ignored"


@dataclass(frozen=True, slots=True)
class Illegal:
    """One illegal frame."""

    description: str
    build: Callable[[int], bytes]
    """Makes the bytes for a request on this stream."""
    effect: str = CONNECTION
    """How a client must react."""


def literal(name: bytes, value: bytes) -> bytes:
    """A header field without indexing and without Huffman coding (RFC 7541, 6.2.2); either below 127 bytes."""
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


OK = b"\x88"
""":status 200, by the static table."""


def _answer(block: bytes, flags: int = END_HEADERS | END_STREAM) -> Callable[[int], bytes]:
    return lambda stream: frame(HEADERS, block, flags=flags, stream=stream)


def _fixed(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> Callable[[int], bytes]:
    made = frame(kind, payload, flags=flags, stream=stream)
    return lambda _: made


def _on_stream(kind: int, payload: bytes = b"", *, flags: int = 0) -> Callable[[int], bytes]:
    return lambda stream: frame(kind, payload, flags=flags, stream=stream)


def _settings(identifier: int, value: int) -> Callable[[int], bytes]:
    return _fixed(SETTINGS, struct.pack(">HI", identifier, value))


def _endless(stream: int) -> bytes:
    block = frame(CONTINUATION, literal(b"x-flood", b"x" * 100), stream=stream)
    return frame(HEADERS, OK, stream=stream) + block * 1000


ILLEGAL: dict[str, Illegal] = {
    "data-stream-0": Illegal("DATA on stream 0 (6.1)", _fixed(DATA, b"x")),
    "data-idle": Illegal(
        "DATA on a stream that was never opened (5.1)", _fixed(DATA, b"x", stream=0x7FFFFFFF)
    ),
    "data-before-headers": Illegal("DATA before HEADERS (8.1)", _on_stream(DATA, b"x"), STREAM),
    "data-padding": Illegal(
        "DATA with more padding than payload (6.1)", _on_stream(DATA, b"\x09x", flags=PADDED)
    ),
    "data-too-large": Illegal(
        "DATA of 16 385 bytes, one more than allowed (4.2)", _on_stream(DATA, b"x" * 16_385)
    ),
    "data-empty": Illegal("empty DATA on stream 0 (6.1)", _fixed(DATA)),
    "length-max": Illegal(
        "a frame header with a length of 16 MiB (4.2)",
        lambda stream: b"\xff\xff\xff\0\0" + struct.pack(">I", stream),
    ),
    "headers-stream-0": Illegal("HEADERS on stream 0 (6.2)", _fixed(HEADERS, OK, flags=END_HEADERS)),
    "headers-idle": Illegal(
        "HEADERS on a stream that was never opened (5.1)",
        _fixed(HEADERS, OK, flags=END_HEADERS, stream=0x7FFFFFFF),
    ),
    "headers-even": Illegal(
        "HEADERS on an even stream, which is the server's (5.1.1)", _fixed(HEADERS, OK, flags=5, stream=2)
    ),
    "headers-padding": Illegal(
        "HEADERS with more padding than payload (6.2)",
        _answer(b"\x09\x88", END_HEADERS | END_STREAM | PADDED),
    ),
    "headers-twice": Illegal(
        "two responses on one stream (8.1)",
        lambda stream: frame(HEADERS, OK, flags=END_HEADERS, stream=stream) * 2,
        STREAM,
    ),
    "push-promise": Illegal(
        "PUSH_PROMISE to a client that has disabled it (8.4)",
        _on_stream(PUSH_PROMISE, b"\0\0\0\2\x82\x87\x84", flags=END_HEADERS),
    ),
    "priority-stream-0": Illegal("PRIORITY on stream 0 (6.3)", _fixed(PRIORITY, b"\0\0\0\1\0")),
    "priority-short": Illegal("PRIORITY of 4 bytes (6.3)", _on_stream(PRIORITY, b"\0\0\0\1"), STREAM),
    "reset-stream-0": Illegal("RST_STREAM on stream 0 (6.4)", _fixed(RST_STREAM, b"\0\0\0\0")),
    "reset-idle": Illegal(
        "RST_STREAM on a stream that was never opened (6.4)",
        _fixed(RST_STREAM, b"\0\0\0\0", stream=0x7FFFFFFF),
    ),
    "reset-short": Illegal("RST_STREAM of 3 bytes (6.4)", _on_stream(RST_STREAM, b"\0\0\0")),
    "settings-on-stream": Illegal("SETTINGS on a stream (6.5)", _on_stream(SETTINGS)),
    "settings-short": Illegal("SETTINGS of 5 bytes (6.5)", _fixed(SETTINGS, b"\0\3\0\0\0")),
    "settings-ack-long": Illegal(
        "SETTINGS ACK with a payload (6.5)", _fixed(SETTINGS, b"\0\3\0\0\0\1", flags=ACK)
    ),
    "settings-ack-extra": Illegal("an unexpected SETTINGS ACK", _fixed(SETTINGS, flags=ACK), IGNORED),
    "settings-push": Illegal("ENABLE_PUSH 2 (6.5.2)", _settings(2, 2)),
    "settings-window": Illegal("INITIAL_WINDOW_SIZE 2**31 (6.5.2)", _settings(4, 0x80000000)),
    "settings-frame-small": Illegal("MAX_FRAME_SIZE 1 (6.5.2)", _settings(5, 1)),
    "settings-frame-large": Illegal("MAX_FRAME_SIZE 2**24 (6.5.2)", _settings(5, 0x1000000)),
    "settings-unknown": Illegal("an unknown setting (6.5.2)", _settings(0xFABE, 7), IGNORED),
    "settings-empty": Illegal(
        "SETTINGS that change nothing; many of them are a flood", _fixed(SETTINGS), IGNORED
    ),
    "ping-on-stream": Illegal("PING on a stream (6.7)", _on_stream(PING, b"12345678")),
    "ping-short": Illegal("PING of 7 bytes (6.7)", _fixed(PING, b"1234567")),
    "ping-ack-extra": Illegal("an unexpected PING ACK", _fixed(PING, b"12345678", flags=ACK), IGNORED),
    "goaway-on-stream": Illegal("GOAWAY on a stream (6.8)", _on_stream(GOAWAY, bytes(8))),
    "goaway-short": Illegal("GOAWAY of 7 bytes (6.8)", _fixed(GOAWAY, bytes(7))),
    "window-zero": Illegal("WINDOW_UPDATE of 0 for the connection (6.9)", _fixed(WINDOW_UPDATE, bytes(4))),
    "window-zero-stream": Illegal(
        "WINDOW_UPDATE of 0 for a stream (6.9)", _on_stream(WINDOW_UPDATE, bytes(4)), STREAM
    ),
    "window-short": Illegal("WINDOW_UPDATE of 3 bytes (6.9)", _fixed(WINDOW_UPDATE, b"\0\0\1")),
    "window-overflow": Illegal(
        "WINDOW_UPDATEs beyond 2**31-1 for the connection (6.9.1)",
        _fixed(WINDOW_UPDATE, b"\x7f\xff\xff\xff"),
    ),
    "window-overflow-stream": Illegal(
        "WINDOW_UPDATEs beyond 2**31-1 for a stream (6.9.1)",
        lambda stream: frame(WINDOW_UPDATE, b"\x7f\xff\xff\xff", stream=stream) * 2,
        STREAM,
    ),
    "window-idle": Illegal(
        "WINDOW_UPDATE on a stream that was never opened (5.1)",
        _fixed(WINDOW_UPDATE, b"\0\0\0\1", stream=0x7FFFFFFF),
    ),
    "continuation-alone": Illegal(
        "CONTINUATION without HEADERS before it (6.10)", _on_stream(CONTINUATION, OK, flags=END_HEADERS)
    ),
    "continuation-broken": Illegal(
        "PING between HEADERS and CONTINUATION (6.10)",
        lambda stream: frame(HEADERS, OK, stream=stream) + frame(PING, b"12345678"),
    ),
    "continuation-endless": Illegal(
        "a header block of 1000 CONTINUATION frames without an end (10.5.1)", _endless
    ),
    "hpack-index": Illegal("index 127 of the header table (RFC 7541, 2.3.3)", _answer(b"\xff\0")),
    "hpack-truncated": Illegal(
        "a header block that ends after a length (RFC 7541, 5.2)", _answer(b"\x88\0\x7f")
    ),
    "hpack-huffman": Illegal(
        "Huffman code padded with zeros (RFC 7541, 5.2)", _answer(b"\x88\0\x81\x00\x81\x00")
    ),
    "hpack-table": Illegal(
        "a header table larger than the client allows (RFC 7541, 6.3)", _answer(b"\x3f\xe1\xff\xff\x03\x88")
    ),
    "no-status": Illegal("a response without :status (8.3.2)", _answer(literal(b"x-nothing", b"1")), STREAM),
    "status-text": Illegal("a :status with letters (8.3.2)", _answer(literal(b":status", b"abc")), STREAM),
    "status-twice": Illegal(":status twice (8.3)", _answer(OK + OK), STREAM),
    "status-late": Illegal(
        ":status after a header (8.3)",
        _answer(literal(b"x-first", b"1") + literal(b":status", b"200")),
        STREAM,
    ),
    "status-101": Illegal(
        "101 Switching Protocols (8.6)", _answer(literal(b":status", b"101"), END_HEADERS), STREAM
    ),
    "header-uppercase": Illegal(
        "a header name in upper case (8.2.1)", _answer(OK + literal(b"X-Up", b"1")), STREAM
    ),
    "header-connection": Illegal(
        "a Connection header (8.2.2)", _answer(OK + literal(b"connection", b"close")), STREAM
    ),
    "header-pseudo": Illegal("a :path in a response (8.3)", _answer(OK + literal(b":path", b"/")), STREAM),
    "header-newline": Illegal(
        "a newline in a value (8.2.1)", _answer(OK + literal(b"x-a", b"1\r\nb: 2")), STREAM
    ),
    "length-wrong": Illegal(
        "a content-length of 99 and no body (8.1.1)", _answer(OK + literal(b"content-length", b"99")), STREAM
    ),
    "frame-unknown": Illegal("a frame of type 0xFA (4.1)", _on_stream(0xFA, b"hello"), IGNORED),
    "flags-unknown": Illegal(
        "PING with all flags except ACK (6.7)", _fixed(PING, b"12345678", flags=0xFE), IGNORED
    ),
    "http1": Illegal(
        "a response in HTTP/1.1", lambda _: b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
    ),
    "garbage": Illegal("256 bytes that are no frame", lambda _: bytes(255 - octet for octet in range(256))),
}
