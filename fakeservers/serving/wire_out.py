"""The sending side of a connection of `wire`: responses as frames of any shape, within the client's windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import hpack

from fakeservers.serving.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from fakeservers.serving.types import (
    DEFAULT_WINDOW,
    HEADER_TABLE_SIZE,
    HIGHEST,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    Header,
    Settings,
    ShapeFault,
)

FRAME = 16_384
TABLE = 4096
PRIORITY = 0x20
_PRIORITY = b"\0\0\0\0\x0f"


class Outgoing:
    """Makes frames. Bytes beyond the client's windows are queued; `take` returns those to send now."""

    def __init__(self, shape: ShapeFault | None) -> None:
        self._shape = shape
        self._out = bytearray()
        self._encoder = hpack.Encoder()
        self._window = self._initial = DEFAULT_WINDOW
        self._windows: dict[int, int] = {}  # of streams whose response is not sent completely
        self._bodies: dict[int, bytearray] = {}
        self._frame = FRAME
        self._padding = b"\0" * (shape.pad if shape else 0)
        self._chunk = (shape.fragment if shape else 0) or FRAME
        self._block = (shape.continuation if shape else 0) or FRAME
        self._limit_table(TABLE)

    @property
    def waiting(self) -> bool:
        """Whether a body waits for credit."""
        return bool(self._bodies)

    @property
    def unfinished(self) -> int:
        """Number of bodies that wait for credit."""
        return len(self._bodies)

    def take(self) -> bytes:
        """The bytes to send now."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def raw(self, data: bytes) -> None:
        """Send these bytes as they are."""
        self._out += data

    def settings(self, values: Settings, *, ack: bool = False) -> None:
        """SETTINGS, or the acknowledgement of the client's."""
        payload = b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in values.items())
        self._out += frame(SETTINGS, payload, flags=int(ack))

    def ping(self, data: bytes, *, ack: bool = False) -> None:
        """PING, or the answer to the client's."""
        self._out += frame(PING, data, flags=int(ack))

    def reset(self, stream_id: int, code: int) -> None:
        """RST_STREAM; nothing more is sent on this stream."""
        self.drop(stream_id)
        self._out += frame(RST_STREAM, code.to_bytes(4, "big"), stream=stream_id)

    def goaway(self, last: int, code: int, debug: bytes) -> None:
        """GOAWAY."""
        self._out += frame(GOAWAY, last.to_bytes(4, "big") + code.to_bytes(4, "big") + debug)

    def credit(self, stream_id: int, amount: int) -> None:
        """WINDOW_UPDATE."""
        self._out += frame(WINDOW_UPDATE, amount.to_bytes(4, "big"), stream=stream_id)

    def answer(self, stream_id: int, headers: Sequence[Header], body: bytes) -> None:
        """Send HEADERS, CONTINUATION and DATA in the configured shape."""
        shape = self._shape
        block = self._encoder.encode(headers, huffman=shape.huffman if shape else True)
        flags, before, after = 0 if body else END_STREAM, b"", b""
        if shape is not None and shape.pad:
            flags |= PADDED
            before, after = bytes((shape.pad,)), self._padding
        if shape is not None and shape.priority:
            flags |= PRIORITY
            before += _PRIORITY
        size = min(self._block, self._frame - len(before) - len(after))
        parts = [block[at : at + size] for at in range(0, len(block), size)]
        if len(parts) == 1:
            flags |= END_HEADERS
        self._out += frame(HEADERS, before + parts[0] + after, flags=flags, stream=stream_id)
        for number, part in enumerate(parts[1:], 2):
            last = END_HEADERS if number == len(parts) else 0
            self._out += frame(CONTINUATION, part, flags=last, stream=stream_id)
        if body:
            for _ in range(shape.empty if shape else 0):
                self._out += frame(DATA, stream=stream_id)
            self._windows.setdefault(stream_id, self._initial)
            self._bodies[stream_id] = bytearray(body)
            self._send_body(stream_id)

    def drop(self, stream_id: int) -> None:
        """Send nothing more on this stream."""
        self._bodies.pop(stream_id, None)
        self._windows.pop(stream_id, None)

    def opened(self, stream_id: int) -> None:
        """The client has begun a request."""
        self._windows[stream_id] = self._initial

    def credited(self, stream_id: int, amount: int) -> bool:
        """The client has sent WINDOW_UPDATE; False when a window is too large now."""
        if stream_id == 0:
            self._window += amount
            for waiting in list(self._bodies):
                self._send_body(waiting)
            return self._window <= HIGHEST
        if stream_id in self._windows:
            self._windows[stream_id] += amount
            if stream_id in self._bodies:
                self._send_body(stream_id)
            return self._windows.get(stream_id, 0) <= HIGHEST
        return True

    def obey(self, values: Mapping[int, int]) -> None:
        """Follow the client's SETTINGS."""
        if MAX_FRAME_SIZE in values:
            self._frame = min(max(values[MAX_FRAME_SIZE], FRAME), 16_777_215)
        if HEADER_TABLE_SIZE in values:
            self._limit_table(values[HEADER_TABLE_SIZE])
        if INITIAL_WINDOW_SIZE in values:
            difference = values[INITIAL_WINDOW_SIZE] - self._initial
            self._initial += difference
            for stream_id in self._windows:
                self._windows[stream_id] += difference
            for stream_id in list(self._bodies):
                self._send_body(stream_id)

    def _limit_table(self, allowed: int) -> None:
        table_size = self._shape.table if self._shape is not None and self._shape.table is not None else TABLE
        size = min(table_size, allowed)
        if size != self._encoder.header_table_size:
            self._encoder.header_table_size = size

    def _send_body(self, stream_id: int) -> None:
        body = self._bodies[stream_id]
        while body:
            # Padding and its length byte count as payload (RFC 9113, 6.1).
            room = min(self._window, self._windows[stream_id], self._frame)
            pad = self._padding if len(self._padding) + 1 < room else b""
            size = min(room - (len(pad) + 1 if pad else 0), self._chunk, len(body))
            if size <= 0:
                return
            end = END_STREAM if size == len(body) else 0
            data, flags = bytes(body[:size]), end
            if pad:
                data, flags = bytes((len(pad),)) + data + pad, flags | PADDED
            self._out += frame(DATA, data, flags=flags, stream=stream_id)
            self._window -= len(data)
            self._windows[stream_id] -= len(data)
            del body[:size]
        self.drop(stream_id)
