"""The client's side of one HTTP/2 connection, without I/O: bytes in, finished exchanges out (RFC 9113).

`open` appends the frames of a request to the outgoing list, `data_to_send` hands them over, `receive` reads what the
peer sent. It never waits, never reads a clock and never raises for what a peer does: a breach ends the connection
with the right error code, and every exchange still ends exactly once (see `streams`).

Two paths lead through `receive`. Nearly all frames are answers: HEADERS that end the stream and begin with a status
of one byte, or HEADERS and one DATA frame. They are read inside the scan, three lookups each. All others go through
`_on_frame`, which knows the whole of the RFC.
"""

from __future__ import annotations

from typing import Final

import hpack

from ..errors import HeaderListTooLarge, ProtocolError, ResponseTooLarge
from . import frames
from .exchange import MAX_HEADER_LIST, Exchange
from .frames import DATA, DEFAULT_FRAME_SIZE, HEAD, HEADERS
from .headers import STATUS_BY_BYTE, HeaderEncoder, list_size, plain_fields, read_status
from .streams import GHOST, Limits, State, Streams

_pack = HEAD.pack
_unpack = HEAD.unpack_from

MAX_CONTINUATIONS: Final = 8  # as nghttp2 since CVE-2024-28182; one is rare enough
MAX_BLOCK: Final = 64 * 1024  # bytes of one compressed header block over all its frames
MAX_CANCELLED: Final = (
    10_000  # streams that we reset and remember, so that what still comes for them is ignored
)
_LONGEST = DEFAULT_FRAME_SIZE << 8 | 0xFF  # the first word of the largest frame that we accept


class _Upload:
    """A body that goes out in parts, because it is larger than a frame or than the credit for it."""

    __slots__ = ("offset", "window")

    def __init__(self, window: int) -> None:
        self.offset = 0
        self.window = window


class Connection(Streams):
    """HTTP/2 as a client speaks it, built for many small requests. See `Streams` for how exchanges end."""

    def __init__(self, limits: Limits, now: float) -> None:
        super().__init__(limits, now)
        self.window = frames.DEFAULT_WINDOW
        """What we may still send in DATA frames on this connection."""
        self._encoder = HeaderEncoder()
        self._blocks = self._encoder.blocks
        self._peer_window = frames.DEFAULT_WINDOW  # SETTINGS_INITIAL_WINDOW_SIZE
        self._peer_frame = DEFAULT_FRAME_SIZE
        self._quick = DEFAULT_FRAME_SIZE  # bodies up to it leave in one frame
        self._uploads: dict[int, _Upload] = {}
        self._cancelled: set[int] = set()

        self._rest = b""
        self._fast = False  # answers may be read inside the scan
        self._decoder: hpack.Decoder | None = None  # for a peer that uses the table which we refused
        self._first_block = True
        self._block: bytearray | None = None  # of the header block that CONTINUATION frames go on with
        self._block_stream = self._block_flags = self._block_frames = 0
        self._credit = max(limits.receive_window, frames.DEFAULT_WINDOW)  # what the peer may still send
        self._consumed = 0

        announced = (
            (frames.HEADER_TABLE_SIZE, 0),
            (frames.ENABLE_PUSH, 0),
            (frames.INITIAL_WINDOW_SIZE, limits.max_body),
            (frames.MAX_HEADER_LIST_SIZE, MAX_HEADER_LIST),
        )
        start = frames.PREFACE + frames.encode_settings(announced)
        if self._credit > frames.DEFAULT_WINDOW:
            start += frames.encode_window_update(0, self._credit - frames.DEFAULT_WINDOW)
        self._out = [start]

    # --- requests -------------------------------------------------------------------------------------------------

    def authorize(self, value: bytes) -> None:
        """Use this value of `authorization` for all requests from now on."""
        self._encoder.authorize(value)

    @property
    def authorization(self) -> bytes | None:
        """The value of `authorization` that the next request will carry."""
        return self._encoder.authorization

    def open(self, exchange: Exchange) -> bool:
        """Take the exchange if there is a free stream and the credit for its body; False without either."""
        streams = self.streams
        if len(streams) >= self.capacity:
            return False
        body = exchange.body
        size = len(body)
        window = self.window - size
        block = self._blocks.get(exchange.template)
        if window < 0 or block is None or not 0 < size <= self._quick:
            return self._open_slowly(exchange)
        self.window = window
        stream_id = self.next_id
        self.next_id = stream_id + 2
        exchange.stream_id = stream_id
        streams[stream_id] = exchange
        path = exchange.path
        suffix = block.suffix
        length = block.length + len(path)
        if exchange.tail:
            tail = self._encoder.tail(exchange.tail)
            suffix += tail
            length += len(tail)
        self._out += (
            _pack(length << 8 | HEADERS, 0x4, stream_id),
            block.prefix,
            path,
            suffix,
            _pack(size << 8, 0x1, stream_id),
            body,
        )
        return True

    def _open_slowly(self, exchange: Exchange) -> bool:
        """The same for a block that changes the table, and for bodies that do not leave in one frame."""
        size = len(exchange.body)
        if size > self.window and self.streams:
            return False  # the answers to what is open will bring credit; until then another connection may have it
        encoder = self._encoder
        block = encoder.build(exchange.template)
        stream_id = self.next_id
        self.next_id = stream_id + 2
        exchange.stream_id = stream_id
        self.streams[stream_id] = exchange
        content = block.prefix + exchange.path + block.suffix + encoder.tail(exchange.tail)
        own = (*exchange.tail, (b":path", exchange.path))
        total = block.list_size + list_size(own)
        too_large = total > encoder.list_limit
        end_stream = not size and not too_large
        self._out.append(
            frames.encode_headers(stream_id, content, end_stream=end_stream, frame_size=self._peer_frame)
        )
        if too_large:
            # The block had to go out, for it may have changed the table; the request is taken back unfinished.
            self._reset(stream_id, frames.CANCEL)
            limit = encoder.list_limit
            self._finish(
                stream_id,
                HeaderListTooLarge(f"the header list counts {total} bytes, the server accepts {limit}"),
            )
        elif size:
            self._uploads[stream_id] = _Upload(self._peer_window)
            self._update_fast()
            self._upload(stream_id)
        return True

    def _upload(self, stream_id: int) -> None:
        upload = self._uploads[stream_id]
        exchange = self.streams[stream_id]
        if exchange is GHOST:
            return
        body = exchange.body
        while True:
            size = min(len(body) - upload.offset, self.window, upload.window, self._peer_frame)
            if size <= 0:
                return
            piece = body[upload.offset : upload.offset + size]
            upload.offset += size
            upload.window -= size
            self.window -= size
            last = upload.offset == len(body)
            self._out += (_pack(size << 8 | DATA, frames.END_STREAM if last else 0, stream_id), piece)
            if last:
                self._forget_upload(stream_id)
                return

    def _forget_upload(self, stream_id: int) -> None:
        if self._uploads.pop(stream_id, None) is not None:
            self._update_fast()

    def _unwritten(self, stream_id: int) -> bool:
        # A request whose end was never sent is malformed to the peer (RFC 9113, section 8.1) and cannot be acted on,
        # unless the peer has begun to answer all the same.
        if stream_id in self._uploads:
            return not self.streams[stream_id].status
        return stream_id >= self.written_id

    def _withdraw(self, stream_id: int) -> bool:
        if stream_id in self._uploads:
            return True  # its end has not been sent, and now never will be
        size = len(self.streams[stream_id].body)
        try:
            position = self._out.index(_pack(size << 8 | DATA, frames.END_STREAM, stream_id))
        except ValueError:
            return False
        del self._out[position : position + 2]
        self.window += size
        return True

    def _discard(self) -> None:
        del self._out[1 if self._out and self._out[0].startswith(frames.PREFACE) else 0 :]

    def data_to_send(self) -> bytes:
        """All that is to be written now; empty when there is nothing. From here on it counts as written."""
        out = self._out
        if not out:
            return b""
        data = b"".join(out)
        out.clear()
        self.written_id = self.next_id
        if not self._paused:
            self._unsent_acks = 0
        if self.next_id > frames.LAST_STREAM_ID - 100_000:
            self.drain()  # stream ids are used up (RFC 9113, section 5.1.1), some early so that `open` need not look
        return data

    # --- what comes in --------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Read bytes from the peer, in any pieces. Afterwards look at `finished`, `refused` and `state`."""
        if self._ended():
            return
        self.last_received = now
        if self._rest:
            data = self._rest + data
        streams = self.streams
        finish = self.finished.append
        fast = self._fast
        position, end = 0, len(data)
        while end - position >= 9:
            word, flags, stream_id = _unpack(data, position)
            start = position + 9
            position = start + (word >> 8)
            if word > _LONGEST:
                self._fail(frames.FRAME_SIZE_ERROR, "the server sent a frame larger than we accept")
                return
            if position > end:
                position = start - 9
                break
            if fast:
                kind = word & 0xFF
                if kind == HEADERS and position > start:
                    status = STATUS_BY_BYTE[data[start]]
                    if status:
                        if flags == 0x5:
                            exchange = streams.pop(stream_id, None)
                            if exchange is not None and not exchange.status:
                                exchange.status = status
                                exchange.block = data[start:position]
                                finish(exchange)
                                continue
                            if exchange is not None:
                                streams[stream_id] = exchange
                        elif flags == 0x4:
                            exchange = streams.get(stream_id)
                            if exchange is not None and not exchange.status:
                                exchange.status = status
                                exchange.block = data[start:position]
                                continue
                elif kind == DATA and flags == 0x1:
                    exchange = streams.pop(stream_id, None)
                    if exchange is not None:
                        if exchange.status and not exchange.data and position - start < self._credit:
                            exchange.data = data[start:position]
                            self._consumed += position - start
                            self._credit -= position - start
                            finish(exchange)
                            continue
                        streams[stream_id] = exchange
            self._on_frame(word & 0xFF, flags, stream_id & frames.STREAM_MASK, data[start:position])
            if self._ended():
                return
            fast = self._fast
        self._rest = data[position:] if position else data
        if self._consumed * 2 >= self.limits.receive_window:
            self._out.append(frames.encode_window_update(0, self._consumed))
            self._credit += self._consumed
            self._consumed = 0

    def _update_fast(self) -> None:
        self._fast = (
            self.state is not State.WAITING
            and not self._first_block
            and self._decoder is None
            and self._block is None
            and not self._uploads
            and self.limits.max_body >= DEFAULT_FRAME_SIZE  # the scan does not ask how large a body is
        )

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None and kind != frames.CONTINUATION:
            self._fail(frames.PROTOCOL_ERROR, "a header block was interrupted by another frame")
        elif self.state is State.WAITING and (kind != frames.SETTINGS or flags & frames.ACK):
            self._fail(
                frames.PROTOCOL_ERROR, "the server's first frame is not SETTINGS; does it speak HTTP/2?"
            )
        else:
            handler = _HANDLERS.get(kind)
            if handler is not None:  # section 4.1: frames of unknown types are ignored
                handler(self, flags, stream_id, payload)

    def _is_open(self, stream_id: int) -> bool:
        """Whether a HEADERS or DATA frame belongs to an open stream; what is illegal ends the connection."""
        if stream_id in self.streams:
            return True
        if not stream_id & 1 or stream_id >= self.next_id:
            self._fail(frames.PROTOCOL_ERROR, "the server sent a frame on a stream that we never opened")
        elif stream_id not in self._cancelled:
            self._fail(frames.STREAM_CLOSED, "the server sent a frame on a stream that it had ended")
        return False

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        self._credit -= size
        self._consumed += size
        if self._credit < 0:
            self._fail(frames.FLOW_CONTROL_ERROR, "the server sent more than the connection's window allows")
            return
        if not self._is_open(stream_id):
            return
        piece = self._unpad(flags, payload)
        if piece is None:
            return
        exchange = self.streams[stream_id]
        if exchange is GHOST:
            if flags & frames.END_STREAM:
                self._answered(stream_id)
            return
        if not exchange.status:
            self._stream_error(stream_id, frames.PROTOCOL_ERROR, "the server sent a body before its header")
            return
        exchange.data += piece
        spare = self.limits.max_body - len(exchange.data)
        if flags & frames.END_STREAM and spare >= 0:
            self._answered(stream_id)
        elif spare <= 0:  # the window of the stream is used up; below zero, the server did not keep to it
            error = ResponseTooLarge(f"the answer's body is larger than {self.limits.max_body} bytes")
            self._reset(stream_id, frames.FLOW_CONTROL_ERROR if spare else frames.CANCEL)
            self._finish(stream_id, error)

    def _unpad(self, flags: int, payload: bytes) -> bytes | None:
        if not flags & frames.PADDED:
            return payload
        if not payload or payload[0] >= len(payload):
            self._fail(frames.PROTOCOL_ERROR, "the padding is longer than the frame")
            return None
        return payload[1 : len(payload) - payload[0]]

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        # A block for a stream that we reset is read all the same: it may change the table.
        if not self._is_open(stream_id) and self._ended():
            return
        fragment = self._unpad(flags, payload)
        if fragment is None:
            return
        if flags & frames.PRIORITY_FLAG:
            if len(fragment) < 5:
                self._fail(frames.FRAME_SIZE_ERROR, "the priority fields of HEADERS are cut short")
                return
            fragment = fragment[5:]
        self._block = bytearray(fragment)
        self._block_stream, self._block_flags, self._block_frames = stream_id, flags, 0
        self._fast = False
        if flags & frames.END_HEADERS:
            self._on_block()

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None or stream_id != self._block_stream:
            self._fail(frames.PROTOCOL_ERROR, "CONTINUATION without a header block of its stream")
            return
        self._block += payload
        self._block_frames += 1
        if self._block_frames > MAX_CONTINUATIONS or len(self._block) > MAX_BLOCK:
            self._fail(frames.ENHANCE_YOUR_CALM, "a header block is larger than we accept")
        elif flags & frames.END_HEADERS:
            self._on_block()

    def _on_block(self) -> None:
        assert self._block is not None
        block, stream_id = bytes(self._block), self._block_stream
        end_stream = bool(self._block_flags & frames.END_STREAM)
        self._block = None
        if self._first_block:
            # A peer that obeys our table size of 0 begins its first block with a size update (RFC 7541, section 4.2).
            self._first_block = False
            if block[:1] != b"\x20":
                self._decoder = hpack.Decoder(max_header_list_size=MAX_HEADER_LIST)
        self._update_fast()
        content: bytes | list[tuple[bytes, bytes]] = block
        if self._decoder is None:
            status = read_status(block)
        else:
            try:
                content = plain_fields(self._decoder.decode(block, raw=True))
            except hpack.OversizedHeaderListError:
                self._fail(frames.ENHANCE_YOUR_CALM, "a header list is larger than we accept")
                return
            except hpack.HPACKError:
                self._fail(frames.COMPRESSION_ERROR, "a header block cannot be decoded")
                return
            status = _status_of(content)
        exchange = self.streams.get(stream_id)
        if exchange is None:
            return  # we reset that stream; the block was read for the table's sake
        if exchange is GHOST:
            if end_stream:
                self._answered(stream_id)
        elif exchange.status:
            # Trailers (section 8.1): nothing in them that we need, but they must end the stream.
            if end_stream:
                self._answered(stream_id)
            else:
                self._stream_error(
                    stream_id, frames.PROTOCOL_ERROR, "a second header that does not end the answer"
                )
        elif 100 <= status < 200:
            if end_stream:
                self._stream_error(stream_id, frames.PROTOCOL_ERROR, "an interim answer ended the stream")
        elif not status:
            self._stream_error(stream_id, frames.PROTOCOL_ERROR, "an answer whose status cannot be read")
        else:
            exchange.status = status
            exchange.block = content
            if end_stream:
                self._answered(stream_id)

    def _answered(self, stream_id: int) -> None:
        if stream_id in self._uploads:
            # The server answered before it had everything; we may stop (section 8.1).
            self._reset(stream_id, frames.NO_ERROR)
        self._finish(stream_id)

    def _stream_error(self, stream_id: int, code: int, message: str) -> None:
        self._reset(stream_id, code)
        self._finish(stream_id, ProtocolError(code, message))

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            self._fail(frames.PROTOCOL_ERROR, "PRIORITY on stream 0")
        elif len(payload) != 5 and stream_id in self.streams:
            self._stream_error(stream_id, frames.FRAME_SIZE_ERROR, "PRIORITY of a wrong size")

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            self._fail(frames.FRAME_SIZE_ERROR, "RST_STREAM of a wrong size")
        elif not stream_id & 1 or stream_id >= self.next_id:
            self._fail(frames.PROTOCOL_ERROR, "RST_STREAM on a stream that we never opened")
        elif stream_id in self.streams:
            self._on_reset(stream_id, frames.decode_word(payload))
            self._forget_upload(stream_id)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            self._fail(frames.PROTOCOL_ERROR, "SETTINGS on a stream")
        elif len(payload) % 6 or (flags & frames.ACK and payload):
            self._fail(frames.FRAME_SIZE_ERROR, "SETTINGS of a wrong size")
        elif not flags & frames.ACK:
            for key, value in frames.decode_settings(payload):
                if not self._on_setting(key, value):
                    return
            if self.state is State.WAITING:
                self.state = State.OPEN
                self._update_capacity()
                self._update_fast()
            self._acknowledge(frames.SETTINGS_ACK)

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
                return False
            for stream_id, upload in list(self._uploads.items()):
                upload.window += value - self._peer_window  # it may become negative (section 6.9.2)
                if upload.window > frames.LARGEST_WINDOW:
                    self._fail(
                        frames.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE made a window larger than 2^31-1"
                    )
                    return False
                self._upload(stream_id)
            self._peer_window = value
            self._quick = min(value, self._peer_frame)
        elif key == frames.MAX_FRAME_SIZE:
            if not DEFAULT_FRAME_SIZE <= value <= frames.LARGEST_FRAME_SIZE:
                self._fail(frames.PROTOCOL_ERROR, "MAX_FRAME_SIZE out of its range")
                return False
            self._peer_frame = value
            self._quick = min(self._peer_window, value)
        elif key == frames.MAX_HEADER_LIST_SIZE:
            self._encoder.list_limit = value
            self._blocks.clear()
        return not self._ended()

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._fail(frames.PROTOCOL_ERROR, "PUSH_PROMISE although we had switched it off")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            self._fail(frames.PROTOCOL_ERROR, "PING on a stream")
        elif len(payload) != 8:
            self._fail(frames.FRAME_SIZE_ERROR, "PING of a wrong size")
        elif flags & frames.ACK:
            self._ping_deadline = None
        else:
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
            self.window += increment
            if not increment:
                self._fail(frames.PROTOCOL_ERROR, "WINDOW_UPDATE by zero")
            elif self.window > frames.LARGEST_WINDOW:
                self._fail(frames.FLOW_CONTROL_ERROR, "WINDOW_UPDATE made the connection's window overflow")
            else:
                for waiting in list(self._uploads):
                    self._upload(waiting)
        elif not stream_id & 1 or stream_id >= self.next_id:
            self._fail(frames.PROTOCOL_ERROR, "WINDOW_UPDATE on a stream that we never opened")
        elif stream_id in self.streams:
            self._widen(stream_id, increment)

    def _widen(self, stream_id: int, increment: int) -> None:
        upload = self._uploads.get(stream_id)
        # For a body that is sent already only this one update is judged: its window is of no use any more.
        window = upload.window if upload else self._peer_window - len(self.streams[stream_id].body)
        if not increment:
            self._stream_error(stream_id, frames.PROTOCOL_ERROR, "WINDOW_UPDATE by zero")
        elif window + increment > frames.LARGEST_WINDOW:
            self._stream_error(stream_id, frames.FLOW_CONTROL_ERROR, "WINDOW_UPDATE made a window overflow")
        elif upload:
            upload.window += increment
            self._upload(stream_id)

    # --- what `Streams` asks for ----------------------------------------------------------------------------------

    def _reset(self, stream_id: int, code: int) -> None:
        self._forget_upload(stream_id)
        if len(self._cancelled) >= MAX_CANCELLED:
            self._cancelled = set(sorted(self._cancelled)[MAX_CANCELLED // 2 :])
        self._cancelled.add(stream_id)
        self._out.append(frames.encode_rst_stream(stream_id, code))

    def _send_reset(self, stream_id: int, code: int) -> None:
        self._reset(stream_id, code)

    def _send_ping(self) -> None:
        self._out.append(frames.encode_ping(b"pushcore"))

    def _send_goaway(self, code: int, debug: bytes) -> None:
        self._out.append(frames.encode_goaway(0, code, debug))


def _status_of(fields: list[tuple[bytes, bytes]]) -> int:
    name, value = fields[0] if fields else (b"", b"")
    if name != b":status" or len(value) != 3 or not value.isdigit():
        return 0
    return int(value) if 100 <= int(value) < 600 else 0  # RFC 9110, section 15


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
