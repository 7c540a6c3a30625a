"""One HTTP/2 connection over TLS, which passes complete requests to a handler: the only user of ngh2 (libnghttp2).

It knows nothing about push. A handler is made per connection and gets the requests of one read as a list; what it
returns is sent in one write. Framing, HPACK, flow control and stream limits are libnghttp2's, so a client is checked by
an implementation that shares no code with pushcore's.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Sequence
from typing import cast

from ngh2 import (
    Configuration,
    Connection,
    DataReceived,
    GoAwayReceived,
    NeverIndexedHeader,
    Role,
    StreamClosed,
    StreamReset,
    TrailersReceived,
)
from ngh2 import NGH2Error as NGH2Error
from ngh2 import PingAcknowledged as PingAcknowledged
from ngh2 import PingReceived as PingReceived
from ngh2 import RequestReceived as RequestReceived
from ngh2 import SettingsAcknowledged as SettingsAcknowledged
from ngh2.events import Event as Event

from fakeservers.serving.delayed import DelayedConnection
from fakeservers.serving.frame_validator import FrameValidator
from fakeservers.serving.reset_limit import ResetLimit
from fakeservers.serving.scheme import SchemeRewriter, as_sent
from fakeservers.serving.types import (
    DEFAULT_WINDOW,
    ENHANCE_YOUR_CALM,
    HIGHEST,
    MAX_CONCURRENT_STREAMS,
    REFUSED_STREAM,
    Answer,
    Handler,
    Header,
    Request,
    Server,
    Settings,
    count_reset,
)

Literal = NeverIndexedHeader
"""A header whose value differs in every response: it is not added to the compression table."""


class Nghttp2Connection(DelayedConnection):
    """One client's connection."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.latency)
        self.id = 0
        self.settings: dict[int, int] = dict(server.settings)
        """The settings to announce; a handler may change them in its constructor only."""
        self._server = server
        self._transport: asyncio.Transport
        self._handler: Handler
        self._h2: Connection
        self._validator: FrameValidator | None = None
        self._rewriter: SchemeRewriter | None = SchemeRewriter()
        self._streams: dict[int, Sequence[Header]] = {}  # open requests
        # Streams that count against the limit: also those that are never answered, or whose response waits for credit.
        self._open: set[int] = set()
        self._reset_limit = ResetLimit(*server.limits.resets)
        self._highest = 0  # of the requests whose headers are complete
        self._headers: Sequence[Header] = ()  # the last request's: the next one's too if they are equal
        self._bodies: dict[int, bytearray] = {}  # of those, the ones whose body came in several parts
        self._flush_due = False
        self._draining = False
        self._closing = True

    # Calls of a handler besides responses

    @property
    def waiting(self) -> int:
        """Number of open requests."""
        return len(self._streams)

    def forget(self, stream_id: int) -> None:
        """Never respond to this request, and do not wait for it when the connection is drained."""
        self._streams.pop(stream_id, None)

    def reset(self, stream_id: int, error_code: int) -> None:
        """Reset the stream of one request with RST_STREAM."""
        if self._streams.pop(stream_id, None) is not None:
            self._h2.reset_stream(stream_id, error_code)
            count_reset(self._server.counters, error_code)
            self._flush_soon()

    def update_settings(self, settings: Settings) -> None:
        """Announce new values of these settings; the others are unchanged."""
        if not self._closing:
            self._flush()
        if not self._closing:
            self._h2.update_settings(_without_limit(settings))
            self.settings.update(settings)
            self._write_settings()

    def ping(self, count: int = 1) -> None:
        """Send PINGs."""
        if not self._closing:
            for _ in range(count):
                self._h2.ping()
            self._flush_soon()

    def announce_goaway(self) -> None:
        """Announce a GOAWAY by one with the highest stream id (RFC 9113, 6.8)."""
        if not self._closing:
            self._h2.send_shutdown_notice()
            self._flush_soon()

    def goaway(self, error_code: int = 0, *, last_stream_id: int | None = None, debug: bytes = b"") -> None:
        """Send GOAWAY at once; requests up to `last_stream_id` are answered, then the connection closes.

        The default is the last one whose headers are complete; its body is waited for.
        """
        if self._closing:
            return
        counters = self._server.counters
        counters.goaways += 1
        if last_stream_id is None:  # libnghttp2 would name a stream at the first bytes of its HEADERS
            last_stream_id = self._highest
        if last_stream_id == HIGHEST:  # after a GOAWAY of its own libnghttp2 would accept no more requests
            self._flush()
            self._draining = True
            head = (8 + len(debug)).to_bytes(3, "big") + b"\7\0\0\0\0\0\x7f\xff\xff\xff"
            self._transport.write(head + error_code.to_bytes(4, "big") + debug)
            self._flush_soon()
            return
        self._h2.send_goaway(error_code, last_stream_id=last_stream_id, debug_data=debug)
        for stream_id in [stream for stream in self._streams if stream > last_stream_id]:
            del self._streams[stream_id]
            counters.goaway_unprocessed += 1
        self._flush()  # until it is sent, libnghttp2 accepts requests above it
        self._draining = True
        self._flush_soon()

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is a Transport by its methods alone
        self._transport = transport = cast(asyncio.Transport, transport)
        server, limits = self._server, self._server.limits
        tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
        # None: a client without ALPN, such as Pushy; anything but HTTP/2 fails below.
        if not server.admit(self) or tls.selected_alpn_protocol() not in ("h2", None):
            transport.abort()
            return
        self._closing = False
        transport.set_write_buffer_limits(high=limits.max_buffered)
        self._handler = server.open_handler(self)
        if self.entry is not None:
            self.settings.update(self.entry.greeting)
        self._h2 = Connection(
            Role.SERVER,
            Configuration(
                max_inbound_header_list_size=limits.max_header_list,
                stream_reset_rate_limit=_ANY_RESETS,
            ),
        )
        if server.validates_frames:
            self._validator = FrameValidator(self._h2)
        self._h2.initiate_connection(_without_limit(self.settings))
        if server.window != DEFAULT_WINDOW:
            self._h2.set_local_window_size(server.window)
        self._write_settings()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        server = self._server
        arrived = time.monotonic()
        try:
            if self._rewriter is not None:
                data = self._rewriter.feed(data)
                if self._rewriter.finished:
                    self._rewriter = None
            if self._validator is None:
                self._h2.receive_data(data)
            elif not self._validator.feed(data):
                server.counters.protocol_errors += 1
            requests = self._requests(self._h2.events())
        except NGH2Error:  # a fatal error: libnghttp2 answers others itself, with GOAWAY
            server.counters.protocol_errors += 1
            self.abort()
            return
        if requests:
            server.counters.requests += len(requests)
            faults = server.faults
            answers = (
                self._handler(requests) if faults is None else faults.answer(self, self._handler, requests)
            )
            if not server.delay:
                self._answer(answers)
                server.latency.add(time.monotonic() - arrived, len(answers))
            elif answers:
                self._at(arrived + server.delay, answers, arrived)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._stop_answering()
        self._streams.clear()
        self._open.clear()
        self._bodies.clear()
        self._server.dismiss(self)
        self._release()

    # Requests

    def _requests(self, events: list[Event]) -> list[Request]:
        """The requests that are complete with these events."""
        streams, open_streams, bodies = self._streams, self._open, self._bodies
        limit = self.settings.get(MAX_CONCURRENT_STREAMS, HIGHEST)
        complete: list[Request] = []
        for event in events:
            # A request has one event of each of the first kinds, as a rule: comparing classes is cheaper than isinstance.
            if type(event) is DataReceived:
                stream_id = event.stream_id
                headers = streams.get(stream_id)
                if headers is None:
                    continue
                if not event.end_stream:
                    body = bodies.setdefault(stream_id, bytearray())
                    if len(body) <= self._server.limits.max_body:
                        body += event.data
                elif stream_id in bodies:
                    complete.append((stream_id, headers, self._body(stream_id) + event.data))
                else:
                    complete.append((stream_id, headers, event.data))
            elif type(event) is RequestReceived:
                self._highest = stream_id = event.stream_id
                if len(open_streams) >= limit:
                    self._refuse_stream(stream_id)
                    continue
                headers = event.headers
                if headers == self._headers:
                    headers = self._headers  # handlers compare by identity
                else:
                    self._headers = headers if self._rewriter is None else as_sent(headers)
                    headers = self._headers
                open_streams.add(stream_id)
                streams[stream_id] = headers
                if event.end_stream:
                    complete.append((stream_id, headers, b""))
            elif type(event) is PingAcknowledged:  # Google's clients send as many as requests
                continue
            elif type(event) is StreamClosed:
                stream_id = event.stream_id
                open_streams.discard(stream_id)
                if streams.pop(stream_id, None) is not None:
                    bodies.pop(stream_id, None)
            elif isinstance(event, TrailersReceived):
                if event.stream_id in streams:
                    body_so_far = self._body(event.stream_id)
                    complete.append((event.stream_id, streams[event.stream_id], body_so_far))
            elif not self._take_event(event):
                return []
        return complete

    def _take_event(self, event: Event) -> bool:
        """An event that is no part of a request. False when it ends the connection."""
        if isinstance(event, StreamReset):
            self._server.counters.streams_reset_by_client += 1
            if event.stream_id in self._streams and not self._reset_limit.allows() and not self._draining:
                self._server.counters.protocol_errors += 1
                self.goaway(ENHANCE_YOUR_CALM, last_stream_id=0)
                return False
        elif isinstance(event, GoAwayReceived):
            self._server.counters.goaways_received += 1
        return True

    def _refuse_stream(self, stream_id: int) -> None:
        """Refuse a request beyond the stream limit (RFC 9113, 5.1.2); the connection stays open."""
        self._h2.reset_stream(stream_id, REFUSED_STREAM)
        self._server.counters.streams_over_limit += 1

    def _body(self, stream_id: int) -> bytes:
        return bytes(self._bodies.pop(stream_id, b""))

    def _answer(self, answers: Sequence[Answer]) -> None:
        streams, h2 = self._streams, self._h2
        for stream_id, headers, body in answers:
            if streams.pop(stream_id, None) is None:
                continue
            try:
                if body:
                    h2.send_response(stream_id, headers)
                    h2.send_data(stream_id, body, end_stream=True)
                else:
                    h2.send_response(stream_id, headers, end_stream=True)
            except NGH2Error:  # the stream was closed within this read
                continue

    def _write_all_but_one(self) -> None:
        self._transport.write(self._h2.data_to_send()[:-1])

    def _write_settings(self) -> None:
        """Send the new SETTINGS, with the stream limit, which libnghttp2 does not know."""
        limit = self.settings.get(MAX_CONCURRENT_STREAMS, HIGHEST)
        data = self._h2.data_to_send()
        self._transport.write(data.replace(_NO_LIMIT, _limit_entry(limit), 1))

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Write what libnghttp2 has queued, and close when it has ended."""
        self._flush_due = False
        if self._closing:
            return
        try:
            data = self._h2.data_to_send()
        except NGH2Error:
            self.abort()
            return
        if data:
            self._transport.write(data)
        drained = self._draining and not self._streams and not self._h2.queued_body_size()
        if drained or not (self._h2.want_read or self._h2.want_write):
            self._closing = True
            self._transport.close()


def _limit_entry(limit: int) -> bytes:
    """MAX_CONCURRENT_STREAMS as a SETTINGS frame has it (RFC 9113, 6.5.1)."""
    return MAX_CONCURRENT_STREAMS.to_bytes(2, "big") + limit.to_bytes(4, "big")


_ANY_RESETS = (HIGHEST, HIGHEST)
"""Resets at once and per second: libnghttp2 would count those of streams that have their response; `ResetLimit` does not."""
_NO_LIMIT = _limit_entry(HIGHEST)


def _without_limit(settings: Settings) -> dict[int, int]:
    """The entry for libnghttp2, which would end the connection at a request beyond the stream limit."""
    if MAX_CONCURRENT_STREAMS not in settings:
        return dict(settings)
    return {**settings, MAX_CONCURRENT_STREAMS: HIGHEST}
