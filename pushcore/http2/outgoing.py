"""The sending half of a client's HTTP/2 connection: requests become frames, and bodies wait for credit.

`take` appends the frames of requests to the outgoing list and `data_to_send` returns them. Nearly all requests have a
cached header block and a body that leaves in one frame. The slow path is for all others: a block that changes the peer's
table, no body, or a body that is larger than a frame or than the window. Such a body is sent in parts, see `flow_control`.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ..errors import HeaderListTooLarge
from . import frames
from .exchange import MAX_HEADER_LIST, Exchange
from .flow_control import FlowControl, Upload
from .frames import DATA, HEADERS
from .headers import FrameLayout, HeaderEncoder, HeaderTemplate, list_size, path_literal
from .streams import Limits

_head = frames.HEAD.pack
_new_headers, _new_data = frames.END_HEADERS, frames.END_STREAM  # the flags of a request in two frames

MAX_CANCELLED: Final = 10_000
"""Streams that we have reset and remember, so that frames that still arrive for them are ignored."""


class SendBuffer(FlowControl):
    """The outgoing side of `Connection`, within the peer's limits."""

    def __init__(self, limits: Limits, now: float) -> None:
        super().__init__(limits, now)
        self._encoder = HeaderEncoder()
        self._blocks = self._encoder.blocks
        self._cancelled: set[int] = set()

        announced = (
            (frames.HEADER_TABLE_SIZE, 0),
            (frames.ENABLE_PUSH, 0),
            (frames.INITIAL_WINDOW_SIZE, limits.max_body),
            (frames.MAX_HEADER_LIST_SIZE, MAX_HEADER_LIST),
        )
        start = frames.PREFACE + frames.encode_settings(announced)
        if limits.receive_window > frames.DEFAULT_WINDOW:
            start += frames.encode_window_update(0, limits.receive_window - frames.DEFAULT_WINDOW)
        self._out.append(start)

    # --- requests -------------------------------------------------------------------------------------------------

    def authorize(self, value: bytes) -> None:
        """Use this value of `authorization` for all requests from now on."""
        self._encoder.authorize(value)

    @property
    def authorization(self) -> bytes | None:
        """The value of `authorization` that the next request will carry."""
        return self._encoder.authorization

    def take(self, waiting: deque[Exchange]) -> None:
        """Open streams for waiting requests, in their order, while there is a free stream and window for the body.

        The requests taken are removed from `waiting`. This is the hot path: the state of the connection is kept in local
        names, and a layout is looked up only if the template or the length of the path has changed.
        """
        streams, blocks = self.streams, self._blocks
        out = self._out
        layout: FrameLayout | None
        before = head = b""
        while waiting:
            window, stream_id, quick = self.window, self.next_id, self._quick
            template: HeaderTemplate | None = None
            length = known = -1  # of the last path, and of the last body
            for _ in range(min(self.capacity - len(streams), len(waiting))):
                exchange = waiting.popleft()
                path, body = exchange.path, exchange.body
                if exchange.template is not template or len(path) != length:
                    template, length, known = exchange.template, len(path), -1
                    block = blocks.get(template)
                    layout = None
                    if block is not None:
                        layout = block.layout(template.path, length)
                        head, before = layout.head, layout.before
                        packers = layout.packers
                size = len(body)
                if size != known or size > window:
                    if layout is None or size > window or not 0 < size <= quick:
                        self.window, self.next_id = window, stream_id
                        if not self._open_slowly(exchange):
                            waiting.appendleft(exchange)
                            return
                        break  # the table may have changed, and so all cached blocks
                    known = size
                    try:
                        pack, between = packers[size]
                    except KeyError:
                        pack, between = layout.packer(size)
                window -= size
                exchange.stream_id = stream_id
                exchange.connection = self
                streams[stream_id] = exchange
                if not exchange.own_fields:
                    out.append(pack(head, stream_id, before, path, between, stream_id, body))
                else:
                    assert layout is not None
                    own = exchange.own_fields
                    name, value = own[0]
                    made = layout.own_packers.get((name, len(value), size))
                    if made is not None and len(own) == 1:
                        pack_own, start, middle, end = made
                        out.append(
                            pack_own(start, stream_id, before, path, middle, value, end, stream_id, body)
                        )
                    else:
                        out.append(self._with_own_fields(exchange, layout))
                        if template not in blocks:
                            template = None  # the first field with a name changes the table
                stream_id += 2
            else:
                self.window, self.next_id = window, stream_id
                return

    def _with_own_fields(self, exchange: Exchange, layout: FrameLayout) -> bytes:
        """Both frames of a request with several fields of its own, or with the first of their size."""
        encoder, fields, size = self._encoder, exchange.own_fields, len(exchange.body)
        if len(fields) == 1:
            ((name, value),) = fields
            start = encoder.own_field_start(name, len(value))
            if start is not None:
                layout.add_own_packer(start, name, len(value), size)
        block = b"".join((layout.before, exchange.path, layout.after, encoder.encode_own_fields(fields)))
        headers = _head(len(block) << 8 | HEADERS, _new_headers, exchange.stream_id)
        return headers + block + _head(size << 8, _new_data, exchange.stream_id) + exchange.body

    def _open_slowly(self, exchange: Exchange) -> bool:
        """Open one stream for a block that changes the table, or for a body that does not fit into one frame.

        Returns False if the window has no room for the body.
        """
        size = len(exchange.body)
        if size > self.window and self.streams:
            return False  # responses to the open requests will bring credit; until then another connection may take it
        encoder = self._encoder
        block = encoder.build(exchange.template)
        stream_id = self.next_id
        self.next_id = stream_id + 2
        exchange.stream_id = stream_id
        exchange.connection = self
        self.streams[stream_id] = exchange
        path = exchange.template.path + exchange.path
        content = (
            block.prefix + path_literal(path) + block.suffix + encoder.encode_own_fields(exchange.own_fields)
        )
        fields = (*exchange.own_fields, (b":path", path))
        total = block.list_size + list_size(fields)
        too_large = total > encoder.list_limit
        end_stream = not size and not too_large
        self._out.append(
            frames.encode_headers(stream_id, content, end_stream=end_stream, frame_size=self._peer_frame)
        )
        if too_large:
            # The block had to be sent, because it may have changed the table; the request is cancelled unfinished.
            self._reset(stream_id, frames.CANCEL)
            limit = encoder.list_limit
            self._finish(
                stream_id,
                HeaderListTooLarge(f"the header list has {total} bytes, the server accepts {limit}"),
            )
        elif size:
            self._uploads[stream_id] = Upload(self._peer_window)
            self._update_fast()
            self._upload(stream_id)
        return True

    def _unwritten(self, stream_id: int) -> bool:
        # A request whose end was never sent is malformed to the peer (RFC 9113, section 8.1) and cannot be acted on,
        # unless the peer has begun to respond all the same.
        if stream_id in self._uploads:
            return not self.streams[stream_id].status
        return stream_id >= self.written_id

    def _withdraw(self, stream_id: int) -> bool:
        if stream_id in self._uploads:
            return True  # its end has not been sent, and will not be
        # Its HEADERS must be sent, because they may have changed the table; without DATA the request is incomplete.
        out, size, number = self._out, len(self.streams[stream_id].body), stream_id.to_bytes(4)
        for position, piece in enumerate(out):
            if piece[5:9] != number:
                continue
            kind, end = piece[3], frames.HEAD_SIZE + int.from_bytes(piece[:3])
            if kind == HEADERS and piece[end + 3 : end + 4] == b"\0":  # both frames in one piece
                out[position] = piece[:end]
            elif kind == DATA and end == frames.HEAD_SIZE + size:
                del out[position]
            else:
                continue
            self.window += size
            return True
        return False

    def _discard(self) -> None:
        del self._out[1 if self._out and self._out[0].startswith(frames.PREFACE) else 0 :]

    def data_to_send(self) -> bytes:
        """The bytes to write now, b"" if there are none. From here on they count as written."""
        out = self._out
        if not out:
            return b""
        data = b"".join(out)
        out.clear()
        self.written_id = self.next_id
        if not self._paused:
            self._unsent_acks = 0
        if self.next_id > frames.LAST_STREAM_ID - 100_000:
            self.drain()  # stream ids run out (RFC 9113, section 5.1.1); stopping a little early saves a check per request
        return data

    # --- what the peer allows -------------------------------------------------------------------------------------

    def _set_peer_frame(self, value: int) -> None:
        """A new MAX_FRAME_SIZE (section 4.2)."""
        self._peer_frame = value

    def _set_peer_list(self, value: int) -> None:
        """A new MAX_HEADER_LIST_SIZE (section 6.5.2)."""
        self._encoder.list_limit = value
        self._blocks.clear()

    # --- called by `Streams` --------------------------------------------------------------------------------------

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
