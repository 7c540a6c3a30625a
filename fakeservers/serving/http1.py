"""One HTTP/1.1 connection, on h11, for the same handlers as HTTP/2: google-auth and half of
firebase-admin use nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol, cast

import h11

from fakeservers.serving.faulty_connection import FaultyConnection
from fakeservers.serving.latency import Latency
from fakeservers.serving.types import Answer, FaultSource, Handler, Header, ServerCounters, ServerLimits

_PREFACE = b"PRI * HTTP/2.0"
# An empty SETTINGS frame, then GOAWAY with PROTOCOL_ERROR: HTTP/2 needs ALPN.
_NO_ALPN = b"\0\0\0\4\0\0\0\0\0" + b"\0\0\x08\7\0\0\0\0\0" + b"\0\0\0\0\0\0\0\1"

MAX_PIPELINED = 1_048_576
"""Bytes that a client may send after an open request."""


class Http1Server(Protocol):
    """What a connection needs of the front end that it belongs to."""

    delay: float
    limits: ServerLimits
    latency: Latency
    faults: FaultSource | None
    counters: ServerCounters

    @property
    def idle_timeout(self) -> float:
        """Seconds without a request after which the connection is closed; 0 for never."""

    def open_link(self, peer: Http1Connection, /) -> Handler:
        """The handler of a new connection."""

    def admit_http1(self, peer: Http1Connection, /) -> bool:
        """Register a connection; False when there are too many."""

    def dismiss_http1(self, peer: Http1Connection, /) -> None:
        """Remove a connection."""


class Http1Connection(FaultyConnection):
    """One HTTP/1.1 connection: requests in sequence, each with an odd number as its stream id, as in HTTP/2."""

    version = "1.1"

    def __init__(self, front: Http1Server) -> None:
        self.id = 0
        self._front = front
        self._transport: asyncio.Transport
        self._handler: Handler
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=front.limits.max_header_list)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._stream_id = -1
        self._arrived = 0.0
        self._open = False  # whether the last request is open
        self._timers: set[asyncio.TimerHandle] = set()
        self._idle: asyncio.TimerHandle | None = None
        self._begun = self._draining = False
        self._closing = True

    # Calls of a handler besides responses

    @property
    def waiting(self) -> int:
        """Number of open requests."""
        return int(self._open)

    def after(self, seconds: float, answers: Sequence[Answer]) -> None:
        """Send these responses after this number of seconds."""

        def give() -> None:
            self._timers.discard(timer)
            self._answer(answers)
            self._advance()

        timer = asyncio.get_running_loop().call_later(seconds, give)
        self._timers.add(timer)

    def forget(self, stream_id: int) -> None:
        """Never respond to this request, nor to later ones."""
        if stream_id == self._stream_id:
            self._open = False

    def reset(self, stream_id: int, error_code: int) -> None:
        """Cut the connection: HTTP/1.1 cannot refuse a single request."""
        self.abort()

    def goaway(self, error_code: int = 0, *, last_stream_id: int | None = None, debug: bytes = b"") -> None:
        """Close after the response that is due, or at once if there is none or its request is not accepted."""
        self._draining = True
        if last_stream_id is not None and last_stream_id < self._stream_id:
            self._open = False
        if not self._open:
            self._close()

    def give(self, answers: Sequence[Answer]) -> None:
        """Send these responses at once."""
        self._answer(answers)

    def abort(self) -> None:
        """Cut the connection."""
        self._closing = True
        self._transport.abort()

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._front.admit_http1(self):
            self._transport.abort()
            return
        self._closing = False
        self._transport.set_write_buffer_limits(high=self._front.limits.max_buffered)
        self._handler = self._front.open_link(self)
        self._arm_idle_timer()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if not self._begun:
            self._begun = True
            if data.startswith(_PREFACE):
                self._front.counters.protocol_errors += 1
                self._transport.write(_NO_ALPN)
                self._close()
                return
        self._h11.receive_data(data)
        self._advance()

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        for timer in self._timers:
            timer.cancel()
        if self._idle is not None:
            self._idle.cancel()
        self._front.dismiss_http1(self)
        self._release()

    # Requests

    def _advance(self) -> None:
        """Read what has arrived, up to a request that must be answered first."""
        limit = self._front.limits.max_body
        while not self._closing:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(error.error_status_hint)
                return
            if isinstance(event, h11.Request):
                self._request = event
                self._body = bytearray()
            elif isinstance(event, h11.Data):
                self._body += event.data[: limit + 1 - len(self._body)]
            elif isinstance(event, h11.EndOfMessage):
                self._dispatch()
            elif isinstance(event, h11.ConnectionClosed):
                self._close()
            else:  # NEED_DATA, or PAUSED until the response is sent
                if self._h11.they_are_waiting_for_100_continue:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
                elif event is h11.PAUSED and len(self._h11.trailing_data[0]) > MAX_PIPELINED:
                    self.abort()
                return

    def _dispatch(self) -> None:
        assert self._request is not None
        self._stream_id += 2
        self._open = True
        self._arrived = time.monotonic()
        self._front.counters.requests += 1
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        request = (self._stream_id, _pseudo_headers(self._request), bytes(self._body))
        self._body = bytearray()
        faults = self._front.faults
        answers = (
            self._handler([request]) if faults is None else faults.answer(self, self._handler, [request])
        )
        if self._front.delay and answers:
            self.after(self._front.delay, answers)
        else:
            self._answer(answers)

    def _answer(self, answers: Sequence[Answer]) -> None:
        for stream_id, headers, body in answers:
            if self._closing or not self._open or stream_id != self._stream_id:
                continue
            self._open = False
            self._front.latency.add(time.monotonic() - self._arrived)
            fields = [*headers[1:], (b"content-length", b"%d" % len(body))]
            if self._draining:
                fields.append((b"connection", b"close"))
            self._send(h11.Response(status_code=int(headers[0][1]), headers=fields), body)
            if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
                self._h11.start_next_cycle()
                self._arm_idle_timer()
            else:  # client or server wants to close
                self._close()

    def _send(self, head: h11.Response | h11.InformationalResponse, body: bytes = b"") -> None:
        data = self._h11.send(head) or b""
        if isinstance(head, h11.Response):
            if body and (self._request is None or self._request.method != b"HEAD"):
                data += self._h11.send(h11.Data(data=body)) or b""
            data += self._h11.send(h11.EndOfMessage()) or b""
        self._transport.write(data)

    def _refuse(self, status: int) -> None:
        """Send an error for what is not HTTP, once."""
        self._front.counters.protocol_errors += 1
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = b"Bad Request\n"
            fields = [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
            self._request = None
            self._send(h11.Response(status_code=status, headers=fields), body)
        self._close()

    def _arm_idle_timer(self) -> None:
        """Close when no request begins for a while."""
        patience = self._front.idle_timeout
        if patience and self._idle is None:
            self._idle = asyncio.get_running_loop().call_later(patience, self._close)

    def _close(self) -> None:
        self._closing = True
        self._transport.close()


def _pseudo_headers(request: h11.Request) -> list[Header]:
    """The request's headers as HTTP/2 would have them (RFC 9113, 8.3.1), names in lower case."""
    fields = [(name, value) for name, value in request.headers if name != b"host"]
    host = next((value for name, value in request.headers if name == b"host"), b"")
    target = request.target
    if not target.startswith(b"/") and b"://" in target:  # as a proxy would be asked
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    return [
        (b":method", request.method),
        (b":scheme", b"https"),
        (b":authority", host),
        (b":path", target),
        *fields,
    ]
