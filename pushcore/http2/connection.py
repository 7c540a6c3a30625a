"""The client's side of one HTTP/2 connection, without I/O: bytes in, finished exchanges out (RFC 9113).

`receive` reads what the peer sent. `outgoing` has the sending half, `streams` how exchanges end. Nothing here waits,
reads a clock, or raises for what a peer does: a protocol error of the peer ends the connection with the right error
code, and every exchange still ends exactly once.

There are two paths through `receive`. Nearly all frames are whole responses: HEADERS with END_STREAM and a status of one
byte, or HEADERS and one DATA frame. The loop in `receive` reads them with three lookups each, and `ResponseRuns` reads runs
of equal ones. All other frames go through `_on_frame`, which implements the whole RFC.
"""

from __future__ import annotations

import hpack

from ..errors import ProtocolError, ResponseTooLarge
from . import frames
from .blocks import HeaderBlockReader, holds_pseudo_fields
from .frames import DATA, DEFAULT_FRAME_SIZE, HEAD, HEADERS
from .outgoing import SendBuffer
from .response_headers import STATUS_BY_BYTE, read_status
from .runs import ResponseRuns
from .streams import GHOST, ConnectionState, Limits

_unpack = HEAD.unpack_from

_LONGEST = DEFAULT_FRAME_SIZE << 8 | 0xFF  # the first word of the largest frame that we accept


class Connection(SendBuffer):
    """The client side of HTTP/2, for many small requests. See `Streams` for how exchanges end."""

    def __init__(self, limits: Limits, now: float) -> None:
        super().__init__(limits, now)
        self._rest = b""
        self._fast = False  # responses may be read in the loop of `receive`
        self._reader = HeaderBlockReader()
        self._runs = ResponseRuns()

    def receive(self, data: bytes, now: float) -> None:
        """Read bytes from the peer, in any pieces. Afterwards look at `finished`, `refused` and `state`."""
        if self._ended():
            return
        self.last_received = now
        if self._reply_deadline is not None:
            self._on_reply()
        if self._rest:
            data = self._rest + data
        streams = self.streams
        finished = self.finished
        runs = self._runs
        runs.restart()
        fast = self._fast
        position, end = 0, len(data)
        last_head = end - 9  # where the last frame head begins at the latest
        while position <= last_head:
            word, flags, stream_id = _unpack(data, position)
            start = position + 9
            position = start + (word >> 8)
            if word > _LONGEST:
                if self.state is ConnectionState.WAITING and word & 0xFF != frames.SETTINGS:
                    self._fail(frames.PROTOCOL_ERROR, frames.NOT_SETTINGS)  # letters are large lengths
                else:
                    self._fail(frames.FRAME_SIZE_ERROR, "the server sent a frame above the size limit")
                return
            if position > end:
                position = start - 9
                break
            if fast:
                kind = word & 0xFF
                if kind == HEADERS and position > start:
                    status = STATUS_BY_BYTE[data[start]]
                    if status < 0:
                        status = read_status(data[start:position])
                    if status < 200:
                        pass  # interim, or unreadable
                    elif flags == 0x5:
                        exchange = streams.pop(stream_id, None)
                        if exchange is not None:
                            if not exchange.status:
                                exchange.status = status
                                exchange.header_block = data[start:position]
                                finished.append(exchange)
                                if runs.begins(word):
                                    position = self._read_run(data, position, flags)
                                continue
                            streams[stream_id] = exchange
                    elif flags == 0x4:
                        exchange = streams.get(stream_id)
                        if exchange is not None and not exchange.status:
                            exchange.status = status
                            exchange.header_block = data[start:position]
                            if runs.begins(word):
                                position = self._read_run(data, position, flags)
                            continue
                elif kind == DATA and flags == 0x1:
                    exchange = streams.pop(stream_id, None)
                    if exchange is not None:
                        if exchange.status and not exchange.data and position - start < self._credit:
                            exchange.data = data[start:position]
                            self._consumed += position - start
                            self._credit -= position - start
                            finished.append(exchange)
                            if runs.begins(word):
                                position = self._read_run(data, position, flags)
                            continue
                        streams[stream_id] = exchange
            self._on_frame(word & 0xFF, flags, stream_id & frames.STREAM_MASK, data[start:position])
            if self._ended():
                return
            fast = self._fast
        self._rest = data[position:] if position else data
        if self._consumed * 2 >= self.limits.receive_window:
            self._return_credit()

    def _read_run(self, data: bytes, position: int, flags: int) -> int:
        """Read the run that follows the last frame, if there is one; returns where the next frame begins."""
        position, consumed = self._runs.read(data, position, flags, self.streams, self.finished, self._credit)
        self._consumed += consumed
        self._credit -= consumed
        return position

    def _update_fast(self) -> None:
        self._fast = (
            self.state is not ConnectionState.WAITING
            and self._reader.stateless
            and not self._reader.pending
            and not self._uploads
            and self.limits.max_body >= DEFAULT_FRAME_SIZE  # the fast path does not check the size of a body
        )

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._reader.pending and kind != frames.CONTINUATION:
            self._fail(frames.PROTOCOL_ERROR, "a header block was interrupted by another frame")
        elif self.state is ConnectionState.WAITING and (kind != frames.SETTINGS or flags & frames.ACK):
            self._fail(frames.PROTOCOL_ERROR, frames.NOT_SETTINGS)
        else:
            handler = _HANDLERS.get(kind)
            if handler is not None:  # section 4.1: frames of unknown types are ignored
                handler(self, flags, stream_id, payload)

    def _is_open(self, stream_id: int) -> bool:
        """Whether a HEADERS or DATA frame belongs to an open stream; an illegal one ends the connection."""
        if stream_id in self.streams:
            return True
        if not stream_id & 1 or stream_id >= self.next_id:
            self._fail(frames.PROTOCOL_ERROR, "the server sent a frame on a stream that was never opened")
        # A stream above the last allowed one was refused by GOAWAY.
        elif stream_id <= self._last_allowed and stream_id not in self._cancelled:
            self._fail(frames.STREAM_CLOSED, "the server sent a frame on a stream that it had ended")
        return False

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        self._credit -= size
        self._consumed += size
        if self._credit < 0:
            self._fail(frames.FLOW_CONTROL_ERROR, "the server sent more than the connection's window allows")
            return
        fragment = self._unpad(flags, payload)
        if fragment is None or not self._is_open(stream_id):
            return
        exchange = self.streams[stream_id]
        if exchange is GHOST:
            if flags & frames.END_STREAM:
                self._complete(stream_id)
            return
        if not exchange.status:
            self._stream_error(stream_id, frames.PROTOCOL_ERROR, "the server sent a body before its header")
            return
        exchange.data += fragment
        remaining = self.limits.max_body - len(exchange.data)
        if flags & frames.END_STREAM and remaining >= 0:
            self._complete(stream_id)
        elif remaining <= 0:  # the window of the stream is used up; below zero, the server has exceeded it
            error = ResponseTooLarge(f"the response's body is larger than {self.limits.max_body} bytes")
            self._reset(stream_id, frames.FLOW_CONTROL_ERROR if remaining else frames.CANCEL)
            self._finish(stream_id, error)

    def _unpad(self, flags: int, payload: bytes) -> bytes | None:
        if not flags & frames.PADDED:
            return payload
        if not payload or payload[0] >= len(payload):
            self._fail(frames.PROTOCOL_ERROR, "the padding is longer than the frame")
            return None
        return payload[1 : len(payload) - payload[0]]

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        # A block for a stream that we reset is still read: it may change the table.
        if not self._is_open(stream_id) and self._ended():
            return
        fragment = self._unpad(flags, payload)
        if fragment is None:
            return
        if flags & frames.PRIORITY_FLAG:
            if len(fragment) < 5:
                self._fail(frames.FRAME_SIZE_ERROR, "the priority fields of HEADERS are incomplete")
                return
            fragment = fragment[5:]
        self._reader.begin(stream_id, fragment, end_stream=bool(flags & frames.END_STREAM))
        self._fast = False
        if flags & frames.END_HEADERS:
            self._on_header_block()

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        reader = self._reader
        if not reader.pending or stream_id != reader.stream_id:
            self._fail(frames.PROTOCOL_ERROR, "CONTINUATION without a header block of its stream")
        elif not reader.extend(payload):
            self._fail(frames.ENHANCE_YOUR_CALM, "a header block is above the size limit")
        elif flags & frames.END_HEADERS:
            self._on_header_block()

    def _on_header_block(self) -> None:
        stream_id, end_stream = self._reader.stream_id, self._reader.end_stream
        try:
            status, block = self._reader.read()
        except hpack.OversizedHeaderListError:
            self._fail(frames.ENHANCE_YOUR_CALM, "a header list is above the size limit")
            return
        except hpack.HPACKError:
            self._fail(frames.COMPRESSION_ERROR, "a header block cannot be decoded")
            return
        self._update_fast()
        exchange = self.streams.get(stream_id)
        if exchange is None:
            return  # we reset that stream; the block was read because it may change the table
        if exchange is GHOST:
            if end_stream:
                self._complete(stream_id)
        elif exchange.status:
            # Trailers (section 8.1): we need none of them, but they must end the stream, without pseudo-header fields.
            if not end_stream:
                self._stream_error(
                    stream_id, frames.PROTOCOL_ERROR, "a second header block that does not end the response"
                )
            elif holds_pseudo_fields(block):
                self._stream_error(stream_id, frames.PROTOCOL_ERROR, frames.PSEUDO_IN_TRAILERS)
            else:
                self._complete(stream_id)
        elif 100 <= status < 200:
            if end_stream:
                self._stream_error(stream_id, frames.PROTOCOL_ERROR, "an interim response ended the stream")
        elif not status:
            self._stream_error(stream_id, frames.PROTOCOL_ERROR, "a response whose status cannot be read")
        else:
            exchange.status = status
            exchange.header_block = block
            if end_stream:
                self._complete(stream_id)

    def _complete(self, stream_id: int) -> None:
        if stream_id in self._uploads:
            # The server responded before it had the whole request; we may stop (section 8.1).
            self._reset(stream_id, frames.NO_ERROR)
        self._finish(stream_id)

    def _stream_error(self, stream_id: int, code: int, message: str) -> None:
        self._reset(stream_id, code)
        self._finish(stream_id, ProtocolError(code, message))

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            self._fail(frames.PROTOCOL_ERROR, "PRIORITY on stream 0")
        elif len(payload) != 5:
            if stream_id in self.streams:
                self._stream_error(stream_id, frames.FRAME_SIZE_ERROR, "PRIORITY of a wrong size")
            else:  # RST_STREAM would be illegal for an idle stream, and unlimited for closed ones (section 5.4.1)
                self._fail(frames.FRAME_SIZE_ERROR, "PRIORITY of a wrong size on a stream that is not open")

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            self._fail(frames.FRAME_SIZE_ERROR, "RST_STREAM of a wrong size")
        elif not stream_id & 1 or stream_id >= self.next_id:
            self._fail(frames.PROTOCOL_ERROR, "RST_STREAM on a stream that was never opened")
        elif stream_id in self.streams:
            self._on_reset(stream_id, frames.decode_word(payload))
            self._forget_upload(stream_id)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            self._fail(frames.PROTOCOL_ERROR, "SETTINGS on a stream")
        elif len(payload) % 6 or (flags & frames.ACK and payload):
            self._fail(frames.FRAME_SIZE_ERROR, "SETTINGS of a wrong size")
        elif not flags & frames.ACK:
            # Before all frames that the new values allow: the server may enforce the old ones until it has the
            # acknowledgement (section 6.5.3), and libnghttp2 does. If a value is illegal, GOAWAY is sent instead.
            self._acknowledge(frames.SETTINGS_ACK)
            if self._ended():
                return
            for key, value in frames.decode_settings(payload):
                if not self._on_setting(key, value):
                    return
            if self.state is ConnectionState.WAITING:
                self.state = ConnectionState.OPEN
                self._update_capacity()
                self._update_fast()

    def _on_setting(self, key: int, value: int) -> bool:
        """One setting of the peer (section 6.5.2); False when it ended the connection."""
        if key == frames.HEADER_TABLE_SIZE:
            self._encoder.resize(value)
        elif key == frames.ENABLE_PUSH and value:
            self._fail(frames.PROTOCOL_ERROR, "a server must not set ENABLE_PUSH")
        elif key == frames.MAX_CONCURRENT_STREAMS:
            self._set_limit(value)
        elif key == frames.INITIAL_WINDOW_SIZE:
            if value > frames.LARGEST_WINDOW:
                self._fail(frames.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE above 2^31-1")
            elif not self._set_peer_window(value):
                self._fail(frames.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE made a window larger than 2^31-1")
        elif key == frames.MAX_FRAME_SIZE:
            if DEFAULT_FRAME_SIZE <= value <= frames.LARGEST_FRAME_SIZE:
                self._set_peer_frame(value)
            else:
                self._fail(frames.PROTOCOL_ERROR, "MAX_FRAME_SIZE out of its range")
        elif key == frames.MAX_HEADER_LIST_SIZE:
            self._set_peer_list(value)
        return not self._ended()

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._fail(frames.PROTOCOL_ERROR, "PUSH_PROMISE although it is disabled")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            self._fail(frames.PROTOCOL_ERROR, "PING on a stream")
        elif len(payload) != 8:
            self._fail(frames.FRAME_SIZE_ERROR, "PING of a wrong size")
        elif not flags & frames.ACK:
            self._acknowledge(frames.encode_ping(payload, ack=True))

    def _acknowledge(self, frame: bytes) -> None:
        self._out.append(frame)
        self._count_ack()

    def _on_goaway_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            self._fail(frames.PROTOCOL_ERROR, "GOAWAY on a stream")
        elif len(payload) < 8:
            self._fail(frames.FRAME_SIZE_ERROR, "GOAWAY of a wrong size")
        else:
            last, code, debug = frames.decode_goaway(payload)
            self._on_goaway(last, code, debug)
            for upload in [upload for upload in self._uploads if upload not in self.streams]:
                self._forget_upload(upload)

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            self._fail(frames.FRAME_SIZE_ERROR, "WINDOW_UPDATE of a wrong size")
            return
        increment = frames.decode_word(payload) & frames.LARGEST_WINDOW
        if not stream_id:
            if not increment:
                self._fail(frames.PROTOCOL_ERROR, "WINDOW_UPDATE by zero")
            elif not self._on_credit(increment):
                self._fail(frames.FLOW_CONTROL_ERROR, "WINDOW_UPDATE made the connection's window overflow")
        elif not stream_id & 1 or stream_id >= self.next_id:
            self._fail(frames.PROTOCOL_ERROR, "WINDOW_UPDATE on a stream that was never opened")
        elif stream_id in self.streams:
            if not increment:
                self._stream_error(stream_id, frames.PROTOCOL_ERROR, "WINDOW_UPDATE by zero")
            elif not self._on_stream_credit(stream_id, increment):
                self._stream_error(
                    stream_id, frames.FLOW_CONTROL_ERROR, "WINDOW_UPDATE made a window overflow"
                )


_HANDLERS = {
    frames.DATA: Connection._on_data,
    frames.HEADERS: Connection._on_headers,
    frames.PRIORITY: Connection._on_priority,
    frames.RST_STREAM: Connection._on_rst_stream,
    frames.SETTINGS: Connection._on_settings,
    frames.PUSH_PROMISE: Connection._on_push_promise,
    frames.PING: Connection._on_ping,
    frames.GOAWAY: Connection._on_goaway_frame,
    frames.WINDOW_UPDATE: Connection._on_window_update,
    frames.CONTINUATION: Connection._on_continuation,
}
