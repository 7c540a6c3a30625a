"""Checks of RFC 9113 that libnghttp2 does not make, on the bytes that a strict fake passes to it.

libnghttp2 forgets a stream when it closes, and from then on ignores what is sent on it, so it cannot tell a client that
it reuses stream ids. It ignores PRIORITY, and ends a connection where a stream error is right. These checks are those that
h2spec asks for; libnghttp2 makes the others. They cost half a microsecond per request.
"""

from __future__ import annotations

import struct

from ngh2 import Connection, ErrorCode, NGH2Error

DATA, HEADERS, PRIORITY, RST_STREAM, PING, WINDOW_UPDATE = 0, 1, 2, 3, 6, 8
END_STREAM = 0x1
HEAD_SIZE = 9
PREFACE_SIZE = 24
HIGHEST = 0x7FFFFFFF
"""The highest stream id and the largest window."""
MAX_UNENDED = 4096
"""Requests that a client may leave unfinished; beyond that the oldest count as finished."""
MAX_GAPS = 100

_head = struct.Struct(">IBI")  # length and type together, flags, stream id
_number = struct.Struct(">I")


class FrameValidator:
    """Checks what one client sends before libnghttp2 reads it."""

    def __init__(self, h2: Connection) -> None:
        self._h2 = h2
        self._last = 0  # the highest stream id so far
        self._unended: dict[int, None] = {}  # streams on which the client may still send, oldest first
        self._gaps: list[tuple[int, int]] = []  # skipped ids: the first, and the one after the last
        self._ahead = PREFACE_SIZE  # bytes still to come before the next frame's head
        self._held = b""  # a head that is not whole

    def feed(self, data: bytes) -> bool:
        """Pass what the client sent to libnghttp2. False when that ended the connection, with a GOAWAY to send.

        Raises:
            NGH2Error: as `receive_data`.
        """
        if self._held:
            data, self._held = self._held + data, b""
        at, begun, end = self._ahead, 0, len(data)
        unpack, last, unended = _head.unpack_from, self._last, self._unended
        while end - at >= HEAD_SIZE:
            word, flags, stream = unpack(data, at)
            kind, next_at = word & 0xFF, at + HEAD_SIZE + (word >> 8)
            if kind == PING:  # Google's clients send as many as requests
                at = next_at
                continue
            stream &= HIGHEST
            if kind == HEADERS:
                if stream > last:
                    if stream != last + 2 and len(self._gaps) < MAX_GAPS:
                        self._gaps.append((last + 1, stream))
                    last = stream
                    if not flags & END_STREAM:
                        unended[stream] = None
                elif stream in unended:
                    if flags & END_STREAM:
                        del unended[stream]
                elif stream:
                    return self._end(data[begun:at], self._reused(stream))
            elif kind == DATA:
                if stream in unended:
                    if flags & END_STREAM:
                        del unended[stream]
                elif 0 < stream <= last:
                    return self._end(data[begun:at], ErrorCode.STREAM_CLOSED)
            elif kind == RST_STREAM:
                unended.pop(stream, None)
            elif kind == PRIORITY and next_at - at == HEAD_SIZE + 5:
                if next_at > end:
                    break  # until the frame is complete
                depends_on = _number.unpack_from(data, at + HEAD_SIZE)[0] & HIGHEST
                if not stream or depends_on == stream:
                    return self._end(data[begun:at], ErrorCode.PROTOCOL_ERROR)
            elif kind == WINDOW_UPDATE and stream and next_at - at == HEAD_SIZE + 4:
                if next_at > end:
                    break
                self._h2.receive_data(data[begun:at])
                more = _number.unpack_from(data, at + HEAD_SIZE)[0] & HIGHEST
                begun = next_at if self._overflows(stream, more) else at
            at = next_at
        self._last = last
        while len(unended) > MAX_UNENDED:
            del unended[next(iter(unended))]
        if at < end:
            data, self._held = data[:at], data[at:]
        self._ahead = max(at - end, 0)
        self._h2.receive_data(data[begun:] if begun else data)
        return True

    def _end(self, before: bytes, code: int) -> bool:
        self._h2.receive_data(before)
        self._h2.terminate_connection(code)
        return False

    def _reused(self, stream: int) -> int:
        """Why a request must not have this id, which is not a new one (RFC 9113, 5.1 and 5.1.1)."""
        left_out = any(low <= stream < high for low, high in self._gaps)
        return ErrorCode.PROTOCOL_ERROR if left_out else ErrorCode.STREAM_CLOSED

    def _overflows(self, stream: int, more: int) -> bool:
        """Whether a stream's window would exceed its maximum; then the stream is reset (RFC 9113, 6.9.1)."""
        try:
            if self._h2.stream_remote_window_size(stream) + more <= HIGHEST:
                return False
            self._h2.reset_stream(stream, ErrorCode.FLOW_CONTROL_ERROR)
        except NGH2Error:  # there is no such stream
            return False
        return True
