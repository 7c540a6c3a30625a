"""The same interface as `Connection`, on python-hyper/h2: slow, complete, and independent.

It is the oracle for `Connection`: both pass the same tests, and `http2="reference"` selects this one if the fast one is
suspected of an error. h2 implements frames, HPACK, windows and states; `Streams` finishes the exchanges.
"""

from __future__ import annotations

import contextlib
from collections import deque

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from ..errors import HeaderListTooLarge, ProtocolError, ResponseTooLarge
from . import frames
from .blocks import holds_pseudo_fields, status_of
from .exchange import MAX_HEADER_LIST, Exchange
from .headers import DEFAULT_TABLE_SIZE, list_size
from .response_headers import plain_fields
from .streams import GHOST, ConnectionState, Limits, Streams

# `Connection` does not decode the fields of a response, so neither engine checks them: both come to the same results.
_CONFIG = h2.config.H2Configuration(client_side=True, header_encoding=None, validate_inbound_headers=False)
_OF_STREAMS = (frames.HEADERS, frames.RST_STREAM)  # h2 does not check that their stream was ever opened


class ReferenceConnection(Streams):
    """The client side of HTTP/2, on python-hyper/h2. See `Streams` for how exchanges end."""

    def __init__(self, limits: Limits, now: float) -> None:
        super().__init__(limits, now)
        self.authorization: bytes | None = None
        """The value of `authorization` that the next request will carry."""
        self._h2 = h2.connection.H2Connection(_CONFIG)
        codes = h2.settings.SettingCodes
        self._h2.local_settings = h2.settings.Settings(
            initial_values={
                codes.HEADER_TABLE_SIZE: DEFAULT_TABLE_SIZE,
                codes.ENABLE_PUSH: 0,
                codes.INITIAL_WINDOW_SIZE: limits.max_body,
                codes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST,
            },
        )
        self._h2.decoder.max_header_list_size = MAX_HEADER_LIST
        self._h2.initiate_connection()
        if limits.receive_window > frames.DEFAULT_WINDOW:
            self._h2.increment_flow_control_window(limits.receive_window - frames.DEFAULT_WINDOW)
        self._uploads: dict[int, int] = {}  # bytes of the body that have been sent
        self._rest = b""  # the beginning of a frame that has not arrived completely
        self._in_block = False  # whether CONTINUATION frames of a header block must follow
        self._ahead = b""  # bytes to send before those of h2
        self._consumed = 0
        self._start = b""  # the first bytes from the peer, until they are known to be SETTINGS

    @property
    def window(self) -> int:
        """What we may still send in DATA frames on this connection."""
        return self._h2.outbound_flow_control_window

    def authorize(self, value: bytes) -> None:
        """Use this value of `authorization` for all requests from now on."""
        self.authorization = value

    def take(self, waiting: deque[Exchange]) -> None:
        """Open streams for waiting requests, in their order, while there is a free stream and window for the body.

        The requests taken are removed from `waiting`.
        """
        while waiting and len(self.streams) < self.capacity:
            if len(waiting[0].body) > self.window and self.streams:
                return
            self._open(waiting.popleft())

    def _open(self, exchange: Exchange) -> None:
        template = exchange.template
        fields = [*template.fields]
        pseudo = sum(name.startswith(b":") for name, _ in fields)
        fields.insert(pseudo, (b":path", template.path + exchange.path))
        if self.authorization is not None:
            fields.append((b"authorization", self.authorization))
        fields += exchange.own_fields
        size, limit = list_size(fields), self._h2.remote_settings.max_header_list_size
        if limit is not None and size > limit:
            exchange.error = HeaderListTooLarge(
                f"the header list has {size} bytes, the server accepts {limit}"
            )
            self.finished.append(exchange)
            return
        self._combine_table_sizes()
        stream_id = self.next_id
        self.next_id += 2
        exchange.stream_id = stream_id
        exchange.connection = self
        self.streams[stream_id] = exchange
        self._h2.send_headers(stream_id, fields, end_stream=not exchange.body)
        if exchange.body:
            self._uploads[stream_id] = 0
            self._upload(stream_id)

    def _combine_table_sizes(self) -> None:
        """Announce the smallest table size since the last header block, then the newest (RFC 7541, section 4.2).

        hpack would announce all of them, of which one may be above the newest, or none if the same came twice.
        """
        sizes = self._h2.encoder.table_size_changes
        if sizes:
            sizes[:] = dict.fromkeys((min(sizes), sizes[-1]))
            self._h2.encoder.header_table.resized = True

    def _upload(self, stream_id: int) -> None:
        exchange = self.streams.get(stream_id)
        if exchange is None or exchange is GHOST:
            return
        body = exchange.body
        while stream_id in self._uploads:
            offset = self._uploads[stream_id]
            size = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
            if size <= 0:
                return
            piece = body[offset : offset + size]
            last = offset + len(piece) == len(body)
            self._h2.send_data(stream_id, piece, end_stream=last)
            self._uploads[stream_id] = offset + len(piece)
            if last:
                del self._uploads[stream_id]

    def _unwritten(self, stream_id: int) -> bool:
        if stream_id in self._uploads:
            return not self.streams[stream_id].status
        return stream_id >= self.written_id

    def data_to_send(self) -> bytes:
        """The bytes to write now, b"" if there are none. From here on they count as written."""
        self.written_id = self.next_id
        if self.next_id > frames.LAST_STREAM_ID - 100_000:
            self.drain()
        if not self._paused:
            self._unsent_acks = 0
        data, self._ahead = self._ahead + self._h2.data_to_send(), b""
        return data

    def _discard(self) -> None:
        raw = self._ahead + self._h2.data_to_send()
        self._ahead = frames.PREFACE if raw.startswith(frames.PREFACE) else b""

    def _withdraw(self, stream_id: int) -> bool:
        return stream_id in self._uploads  # frames that h2 has made cannot be removed

    def receive(self, data: bytes, now: float) -> None:
        """Read bytes from the peer, in any pieces. Afterwards look at `finished`, `refused` and `state`."""
        if self._ended():
            return
        self.last_received = now
        if self._reply_deadline is not None:
            self._on_reply()
        if self.state is ConnectionState.WAITING:
            # h2 does not check that the first frame is SETTINGS (RFC 9113, section 3.4).
            self._start = (self._start + data)[:9]
            if len(self._start) >= 4 and (self._start[3] != frames.SETTINGS or self._start[4:5] == b"\x01"):
                self._fail(frames.PROTOCOL_ERROR, frames.NOT_SETTINGS)
                return
        # Frame by frame, because GOAWAY is read here: after one, h2 allows nothing, not even the responses that
        # RFC 9113, section 6.8 allows the peer to finish.
        self._rest += data
        while len(self._rest) >= frames.HEAD_SIZE and not self._ended():
            word, flags, stream_id = frames.HEAD.unpack_from(self._rest)
            size = frames.HEAD_SIZE + (word >> 8)
            if word >> 8 > frames.DEFAULT_FRAME_SIZE:
                self._fail(frames.FRAME_SIZE_ERROR, "the server sent a frame above the size limit")
                return
            if len(self._rest) < size:
                return
            frame, self._rest = self._rest[:size], self._rest[size:]
            kind = word & 0xFF
            stream_id &= frames.STREAM_MASK
            if kind in _OF_STREAMS and (not stream_id & 1 or stream_id >= self.next_id):
                self._fail(frames.PROTOCOL_ERROR, "the server sent a frame on a stream that was never opened")
                return
            if kind in (frames.HEADERS, frames.CONTINUATION):
                self._in_block = not flags & frames.END_HEADERS
            if self._in_block:
                self._feed(frame)
            elif kind == frames.GOAWAY and not stream_id and word >> 8 >= 8:
                self._on_goaway(*frames.decode_goaway(frame[frames.HEAD_SIZE :]))
                self._uploads = {key: sent for key, sent in self._uploads.items() if key in self.streams}
            elif kind <= frames.CONTINUATION:  # h2 would read ALTSVC, an unknown type for us
                self._feed(frame)

    def _feed(self, frame: bytes) -> None:
        try:
            events = self._h2.receive_data(frame)
        except h2.exceptions.ProtocolError as error:
            code = int(getattr(error, "error_code", frames.PROTOCOL_ERROR))
            self._fail(code, f"the server violated HTTP/2: {error}")
            return
        for event in events:
            if not self._ended():
                self._on_event(event)

    def _on_event(self, event: h2.events.Event) -> None:
        stream_id = getattr(event, "stream_id", None) or 0
        match event:
            case h2.events.RemoteSettingsChanged(changed_settings=changed):
                push = changed.get(h2.settings.SettingCodes.ENABLE_PUSH)
                if push is not None and push.new_value:  # RFC 9113, section 6.5.2; an older h2 allows 1
                    self._fail(frames.PROTOCOL_ERROR, "a server must not set ENABLE_PUSH")
                    return
                self._on_settings()
                self._count_ack()
            case h2.events.PingReceived():
                self._count_ack()
            case h2.events.WindowUpdated():
                for upload in list(self._uploads) if not stream_id else [stream_id]:
                    self._upload(upload)
            case h2.events.ResponseReceived(headers=headers) if stream_id in self.streams:
                self._on_response(stream_id, plain_fields(headers or []))
            case h2.events.TrailersReceived(headers=headers) if stream_id in self.streams:
                self._on_trailers(stream_id, plain_fields(headers or []))
            case h2.events.DataReceived():
                self._on_data(stream_id, event)
            case h2.events.StreamEnded() if stream_id in self.streams:
                self._complete(stream_id)
            case h2.events.StreamReset() if stream_id in self.streams:
                self._uploads.pop(stream_id, None)
                code = int(event.error_code)
                if event.remote_reset:
                    self._on_reset(stream_id, code)
                else:
                    self._finish(stream_id, ProtocolError(code, "the server violated the rules of a stream"))

    def _on_settings(self) -> None:
        limit = self._h2.remote_settings.max_concurrent_streams
        if limit != self.peer_limit:
            self._set_limit(min(limit, frames.LAST_STREAM_ID))
        if self.state is ConnectionState.WAITING:
            self.state = ConnectionState.OPEN
            self._update_capacity()
        for upload in list(self._uploads):
            self._upload(upload)

    def _on_response(self, stream_id: int, fields: list[tuple[bytes, bytes]]) -> None:
        exchange = self.streams[stream_id]
        status = status_of(fields)
        if exchange is GHOST:
            return
        if status:
            exchange.status = status
            exchange.header_block = fields
        else:
            self._stream_error(stream_id, "a response whose status cannot be read")

    def _on_trailers(self, stream_id: int, fields: list[tuple[bytes, bytes]]) -> None:
        if self.streams[stream_id] is not GHOST and holds_pseudo_fields(fields):
            self._stream_error(stream_id, frames.PSEUDO_IN_TRAILERS)

    def _stream_error(self, stream_id: int, message: str) -> None:
        self._send_reset(stream_id, frames.PROTOCOL_ERROR)
        self._finish(stream_id, ProtocolError(frames.PROTOCOL_ERROR, message))

    def _on_data(self, stream_id: int, event: h2.events.DataReceived) -> None:
        # Acknowledged on the connection only: the window of a stream limits the size of the body that we accept.
        self._consumed += event.flow_controlled_length
        if self._consumed * 2 >= self.limits.receive_window:
            self._h2.increment_flow_control_window(self._consumed)
            self._consumed = 0
        exchange = self.streams.get(stream_id)
        if exchange is None or exchange is GHOST:
            return
        exchange.data += event.data
        if len(exchange.data) >= self.limits.max_body and event.stream_ended is None:
            error = ResponseTooLarge(f"the response's body is larger than {self.limits.max_body} bytes")
            self._send_reset(stream_id, frames.CANCEL)
            self._finish(stream_id, error)

    def _complete(self, stream_id: int) -> None:
        if self._uploads.pop(stream_id, None) is not None:
            self._send_reset(stream_id, frames.NO_ERROR)
        self._finish(stream_id)

    # --- called by `Streams` --------------------------------------------------------------------------------------

    def _send_reset(self, stream_id: int, code: int) -> None:
        self._uploads.pop(stream_id, None)
        with contextlib.suppress(h2.exceptions.StreamClosedError):  # h2 has closed it already
            self._h2.reset_stream(stream_id, code)

    def _send_ping(self) -> None:
        self._h2.ping(b"pushcore")

    def _send_goaway(self, code: int, debug: bytes) -> None:
        # Without h2: it reads nothing after it has sent GOAWAY, but responses may still arrive.
        self._ahead += self._h2.data_to_send() + frames.encode_goaway(0, code, debug)
