"""HTTP/2 frames: the constants and layouts of RFC 9113, section 4 and 6, and functions that encode them.

Nothing here has state. The hot path (HEADERS and DATA of requests and responses) uses `HEAD` directly; all other frames
are made by the `encode_*` functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (RFC 9113, section 3.4)."""

NOT_SETTINGS: Final = "the server's first frame is not SETTINGS; does it speak HTTP/2?"
"""The error of a server that does not begin with SETTINGS (section 3.4)."""

HEAD: Final = Struct(">IBI")
"""The nine bytes before each payload as three numbers: length << 8 | type, flags, stream id.

Reading the 24-bit length and the type as one 32-bit word costs one `unpack` and one shift (section 4.1).
"""
HEAD_SIZE: Final = 9
STREAM_MASK: Final = 0x7FFF_FFFF  # the first bit of a stream id is reserved and ignored (section 4.1)

PSEUDO_IN_TRAILERS: Final = (
    "the trailers of a response hold a pseudo-header field, as a second response would"
)
"""The error of a stream whose second header block cannot be trailers (section 8.1)."""

# Types (section 6)
DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

# Flags
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY_FLAG: Final = 0x20

# Settings (section 6.5.2)
HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

# Error codes (section 7)
NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
SETTINGS_TIMEOUT: Final = 0x4
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
CONNECT_ERROR: Final = 0xA
ENHANCE_YOUR_CALM: Final = 0xB
INADEQUATE_SECURITY: Final = 0xC
HTTP_1_1_REQUIRED: Final = 0xD

DEFAULT_WINDOW: Final = 65_535  # section 6.9.2
DEFAULT_FRAME_SIZE: Final = 16_384  # section 6.5.2
LARGEST_FRAME_SIZE: Final = 16_777_215
LARGEST_WINDOW: Final = 0x7FFF_FFFF
LAST_STREAM_ID: Final = 0x7FFF_FFFF

_SETTING = Struct(">HI")
_WORD = Struct(">I")
_GOAWAY = Struct(">II")


def encode_frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One whole frame of any type."""
    return HEAD.pack(len(payload) << 8 | kind, flags, stream_id) + payload


def encode_settings(settings: Iterable[tuple[int, int]]) -> bytes:
    """SETTINGS with these (identifier, value) pairs, in this order (section 6.5)."""
    return encode_frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(key, value) for key, value in settings))


SETTINGS_ACK: Final = encode_frame(SETTINGS, ACK, 0)


def encode_ping(opaque: bytes, *, ack: bool = False) -> bytes:
    """PING with eight bytes of any content (section 6.7)."""
    return encode_frame(PING, ACK if ack else 0, 0, opaque)


def encode_goaway(last_stream_id: int, code: int, debug: bytes = b"") -> bytes:
    """GOAWAY (section 6.8)."""
    return encode_frame(GOAWAY, 0, 0, _GOAWAY.pack(last_stream_id, code) + debug)


def encode_rst_stream(stream_id: int, code: int) -> bytes:
    """RST_STREAM (section 6.4)."""
    return encode_frame(RST_STREAM, 0, stream_id, _WORD.pack(code))


def encode_window_update(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE; stream 0 is the connection (section 6.9)."""
    return encode_frame(WINDOW_UPDATE, 0, stream_id, _WORD.pack(increment))


def encode_headers(stream_id: int, block: bytes, *, end_stream: bool, frame_size: int) -> bytes:
    """HEADERS, and CONTINUATION for what does not fit one frame (sections 6.2 and 6.10)."""
    end = END_STREAM if end_stream else 0
    if len(block) <= frame_size:
        return encode_frame(HEADERS, end | END_HEADERS, stream_id, block)
    frames = [encode_frame(HEADERS, end, stream_id, block[:frame_size])]
    for start in range(frame_size, len(block), frame_size):
        piece = block[start : start + frame_size]
        last = start + frame_size >= len(block)
        frames.append(encode_frame(CONTINUATION, END_HEADERS if last else 0, stream_id, piece))
    return b"".join(frames)


def decode_settings(payload: bytes) -> list[tuple[int, int]]:
    """The (identifier, value) pairs of a SETTINGS payload; its length must be a multiple of six."""
    return list(_SETTING.iter_unpack(payload))


def decode_word(payload: bytes) -> int:
    """The one 32-bit number of RST_STREAM and WINDOW_UPDATE."""
    (value,) = _WORD.unpack(payload)
    return int(value)


def decode_goaway(payload: bytes) -> tuple[int, int, bytes]:
    """Last stream id, error code and debug data of a GOAWAY payload of at least eight bytes."""
    last, code = _GOAWAY.unpack_from(payload)
    return last & STREAM_MASK, code, payload[8:]
