"""One HTTP/2 connection made of hyperframe and hpack, with the interface of `h2peer.Nghttp2Connection`, that can send illegal frames.

libnghttp2 checks what its own side sends, so a connection that must send illegal or unusual frames, or withhold credit, is
one of these. It checks clients less strictly than libnghttp2, is slower, and has none of Google's habits; the same limits
apply to clients.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Sequence
from typing import cast

from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from fakeservers.serving.delayed import DelayedConnection
from fakeservers.serving.reset_limit import ResetLimit
from fakeservers.serving.types import (
    DEFAULT_WINDOW,
    HEADER_TABLE_SIZE,
    HIGHEST,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    Answer,
    Handler,
    Header,
    Request,
    Server,
    Settings,
    count_reset,
)
from fakeservers.serving.wire_in import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    HeaderBlock,
    Incoming,
    ProtocolViolation,
)
from fakeservers.serving.wire_out import FRAME, Outgoing


class Stream:
    """One open request."""

    __slots__ = ("body", "credit", "ended", "headers")

    def __init__(self, headers: Sequence[Header]) -> None:
        self.headers = headers
        self.body = bytearray()
        self.credit = 0
        """Credit in bytes that it has not used."""
        self.ended = False


class WireConnection(DelayedConnection):
    """One client's connection."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.latency)
        self.id = 0
        self.settings: dict[int, int] = dict(server.settings)
        """The settings to announce; a handler may change them in its constructor only."""
        self._server = server
        self._handler: Handler
        self._out = Outgoing(None)
        self._incoming = Incoming(server.limits.max_header_list)
        self._streams: dict[int, Stream] = {}
        # Never answered; their streams stay open and count against the limit.
        self._forgotten: set[int] = set()
        self._highest = 0
        self._last: int | None = None  # after our GOAWAY
        self._reset_limit = ResetLimit(*server.limits.resets)
        self._owed = 0  # bytes of DATA to acknowledge for the connection's window
        self._drip: asyncio.TimerHandle | None = None
        self._flush_due = self._draining = False
        self._closing = True

    # Calls of a handler besides responses

    @property
    def waiting(self) -> int:
        """Number of open requests."""
        return len(self._streams)

    def forget(self, stream_id: int) -> None:
        """Never respond to this request, and do not wait for it when the connection is drained."""
        if self._streams.pop(stream_id, None) is not None:
            self._forgotten.add(stream_id)

    def reset(self, stream_id: int, error_code: int) -> None:
        """Reset the stream of one request with RST_STREAM."""
        if self._streams.pop(stream_id, None) is not None:
            self._out.reset(stream_id, error_code)
            count_reset(self._server.counters, error_code)
            self._flush_soon()

    def update_settings(self, settings: Settings) -> None:
        """Announce new values of these settings; the others are unchanged."""
        if not self._closing:
            self._out.settings(settings)
            self.settings.update(settings)
            self._flush_soon()

    def ping(self, count: int = 1) -> None:
        """Send PINGs."""
        for number in range(count):
            self._out.ping(number.to_bytes(8, "big"))
        self._flush_soon()

    def send_raw(self, data: bytes) -> None:
        """Send these bytes as they are."""
        self._out.raw(data)
        self._flush_soon()

    def announce_goaway(self) -> None:
        """Announce a GOAWAY by one with the highest stream id (RFC 9113, 6.8)."""
        self._out.goaway(HIGHEST, 0, b"")
        self._flush_soon()

    def goaway(self, error_code: int = 0, *, last_stream_id: int | None = None, debug: bytes = b"") -> None:
        """Send GOAWAY; requests up to `last_stream_id` are answered, then the connection closes.

        The default is the last one whose headers are complete; its body is waited for.
        """
        if self._closing:
            return
        counters = self._server.counters
        counters.goaways += 1
        self._draining = True
        self._last = self._last_taken if last_stream_id is None else last_stream_id
        self._out.goaway(self._last, error_code, debug)
        for stream_id in [stream for stream in self._streams if stream > self._last]:
            del self._streams[stream_id]
            counters.goaway_unprocessed += 1
        self._flush_soon()

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        server = self._server
        if server.hands_over(self, transport):
            return
        tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
        if not server.admit(self) or tls.selected_alpn_protocol() not in ("h2", None):
            transport.abort()
            return
        self._closing = False
        transport.set_write_buffer_limits(high=server.limits.max_buffered)
        self._handler = server.open_handler(self)
        entry = self.entry
        if entry is not None:
            self._out = Outgoing(entry.shape)
            self.settings.update(entry.greeting)
            if entry.window is not None:
                if entry.window.stream is not None:
                    self.settings[INITIAL_WINDOW_SIZE] = entry.window.stream
                if entry.window.drip:
                    self._arm_drip()
        self._incoming.allow_table(self.settings.get(HEADER_TABLE_SIZE, 0))
        self._out.settings(self.settings)
        if server.window > DEFAULT_WINDOW and not self._has_small_window:
            self._out.credit(0, server.window - DEFAULT_WINDOW)
        self._flush()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        server = self._server
        arrived = time.monotonic()
        requests: list[Request] = []
        try:
            self._read(data, requests)
        except ProtocolViolation as violation:
            server.counters.protocol_errors += 1
            server.counters.goaways += 1
            self._out.goaway(self._last_taken, violation.code, str(violation).encode())
            self._transport.write(self._out.take())
            self._closing = True
            self._transport.close()
            return
        if requests:
            server.counters.requests += len(requests)
            faults = server.faults
            answers = (
                self._handler(requests) if faults is None else faults.answer(self, self._handler, requests)
            )
            if server.delay:
                if answers:
                    self._at(arrived + server.delay, answers, arrived)
            else:
                self._answer(answers)
                server.latency.add(time.monotonic() - arrived, len(answers))
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._stop_answering()
        if self._drip is not None:
            self._drip.cancel()
        self._streams.clear()
        self._server.dismiss(self)
        self._release()

    # Requests

    def _read(self, data: bytes, requests: list[Request]) -> None:
        for item, length in self._incoming.read(data, self.settings.get(MAX_FRAME_SIZE, FRAME)):
            self._take(item, length, requests)
        if self._owed and not self._has_small_window:
            self._out.credit(0, self._owed)
            self._owed = 0

    def _take(self, item: HeaderBlock | Frame, length: int, requests: list[Request]) -> None:
        if isinstance(item, HeaderBlock):
            self._take_headers(item, requests)
        elif isinstance(item, DataFrame):
            self._take_data(item, length, requests)
        elif isinstance(item, SettingsFrame):
            if "ACK" not in item.flags:
                self._out.obey(item.settings)
                self._out.settings({}, ack=True)
        elif isinstance(item, WindowUpdateFrame):
            if not self._out.credited(item.stream_id, item.window_increment):
                raise ProtocolViolation(FLOW_CONTROL_ERROR, "window too large")
        elif isinstance(item, PingFrame):
            if "ACK" not in item.flags:
                self._out.ping(item.opaque_data, ack=True)
        elif isinstance(item, RstStreamFrame):
            self._take_reset(item.stream_id)
        elif isinstance(item, GoAwayFrame):
            self._draining = True
            self._server.counters.goaways_received += 1

    def _take_headers(self, block: HeaderBlock, requests: list[Request]) -> None:
        stream_id = block.stream_id
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.ended:  # trailers
            if not block.ended:
                raise ProtocolViolation(PROTOCOL_ERROR, "trailers that do not end the stream")
            self._complete(stream_id, stream, requests)
            return
        if stream_id <= self._highest or not stream_id % 2:
            raise ProtocolViolation(
                STREAM_CLOSED if stream_id % 2 else PROTOCOL_ERROR, "HEADERS on a stream of the past"
            )
        self._highest = stream_id
        if self._last is not None and stream_id > self._last:
            self._server.counters.goaway_unprocessed += 1
            return  # after our own GOAWAY
        if self._open_streams >= self.settings.get(MAX_CONCURRENT_STREAMS, HIGHEST):
            self._out.reset(stream_id, REFUSED_STREAM)
            self._server.counters.streams_over_limit += 1
            return
        stream = self._streams[stream_id] = Stream(block.headers)
        self._out.opened(stream_id)
        if block.ended:
            self._complete(stream_id, stream, requests)

    def _take_data(self, frame: DataFrame, length: int, requests: list[Request]) -> None:
        self._owed += length
        stream = self._streams.get(frame.stream_id)
        if stream is None or stream.ended:
            return
        stream.credit -= length
        if len(stream.body) <= self._server.limits.max_body:
            stream.body += frame.data
        if "END_STREAM" in frame.flags:
            self._complete(frame.stream_id, stream, requests)
        elif length and not self._has_small_window:
            self._out.credit(frame.stream_id, length)

    def _complete(self, stream_id: int, stream: Stream, requests: list[Request]) -> None:
        stream.ended = True
        requests.append((stream_id, stream.headers, bytes(stream.body)))

    def _take_reset(self, stream_id: int) -> None:
        self._server.counters.streams_reset_by_client += 1
        if stream_id in self._streams and not self._reset_limit.allows():
            raise ProtocolViolation(ENHANCE_YOUR_CALM, "too many resets")
        self._streams.pop(stream_id, None)
        self._forgotten.discard(stream_id)
        self._out.drop(stream_id)

    def _answer(self, answers: Sequence[Answer]) -> None:
        for stream_id, headers, body in answers:
            if self._streams.pop(stream_id, None) is not None:
                self._out.answer(stream_id, headers, body)

    @property
    def _open_streams(self) -> int:
        """Streams that count against the limit."""
        return len(self._streams) + len(self._forgotten) + self._out.unfinished

    @property
    def _last_taken(self) -> int:
        """The last stream with complete headers that no GOAWAY of this server excludes."""
        return self._highest if self._last is None else min(self._last, self._highest)

    # Sending

    def _flush_soon(self) -> None:
        if not self._flush_due and not self._closing:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._closing:
            return
        data = self._out.take()
        if data:
            self._transport.write(data)
        if self._draining and not self._streams and not self._out.waiting:
            self._closing = True
            self._transport.close()

    def _write_all_but_one(self) -> None:
        self._transport.write(self._out.take()[:-1])

    @property
    def _has_small_window(self) -> bool:
        return self.entry is not None and self.entry.window is not None

    def _arm_drip(self) -> None:
        assert self.entry is not None
        assert self.entry.window is not None
        self._drip = asyncio.get_running_loop().call_later(
            max(self.entry.window.seconds, 0.001), self._send_drip
        )

    def _send_drip(self) -> None:
        """Send a little credit, for the connection and for every request whose body is not complete."""
        assert self.entry is not None
        assert self.entry.window is not None
        amount = self.entry.window.drip
        if self._owed:  # never more than was used, or the windows would grow without limit
            given = min(amount, self._owed)
            self._owed -= given
            self._out.credit(0, given)
        for stream_id, stream in self._streams.items():
            if not stream.ended and stream.credit < DEFAULT_WINDOW:
                stream.credit += amount
                self._out.credit(stream_id, amount)
        self._flush()
        if not self._closing:
            self._arm_drip()
