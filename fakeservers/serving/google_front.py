"""Google's front end: HTTP/2 with its habits, and HTTP/1.1, on one port by ALPN and with the same handlers.

The habits are those that bloomberg/pushiko observed (reference/fcm.md, 1.4). Google documents none of them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from fakeservers.serving.h2peer import (
    Event,
    NGH2Error,
    Nghttp2Connection,
    PingReceived,
    SettingsAcknowledged,
)
from fakeservers.serving.h2server import H2Server
from fakeservers.serving.http1 import Http1Connection
from fakeservers.serving.types import (
    ENHANCE_YOUR_CALM,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    PROTOCOL_ERROR,
    Answer,
    Handler,
    Request,
    Server,
    ServerConnection,
    ServerLimits,
    Settings,
)

if TYPE_CHECKING:
    from fakeservers.serving.wire import WireConnection

STREAMS = 100
"""Concurrent streams of one connection, from the start, whether or not the client is authenticated."""

GOOGLE_SETTINGS = {
    MAX_CONCURRENT_STREAMS: STREAMS,
    INITIAL_WINDOW_SIZE: 1_048_576,
    MAX_HEADER_LIST_SIZE: 65_536,
}
"""Only the streams are in the reference; the other two are what Google's servers announce, from memory."""
GOOGLE_WINDOW = 1_048_576


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontEndPolicy:
    """How a front end treats its HTTP/2 connections; zero turns a habit off."""

    split_end: bool = True
    """End a response with an empty DATA frame."""
    ping: bool = True
    """Send a PING after each response."""
    max_pings: int = 3
    """The n-th client PING without a request between them is answered with GOAWAY `too_many_pings`."""
    session_timeout: float = 240.0
    """Seconds without an open request, then GOAWAY `session_timeout`; HTTP/1.1 is closed silently."""
    max_age: float = 3600.0
    """Seconds after which a connection gets GOAWAY `max_age`."""


PING = b"\0\0\x08\x06" + bytes(13)
"""The frame: its length, type, flags and stream, and eight bytes of data."""

BARE_POLICY = FrontEndPolicy(split_end=False, ping=False, max_pings=0, session_timeout=0.0, max_age=0.0)


Opener: TypeAlias = Callable[[ServerConnection], Handler]


class GoogleConnection(Nghttp2Connection):
    """One HTTP/2 connection; a client that did not ask for HTTP/2 gets an `Http1Connection` instead."""

    def __init__(self, server: Server) -> None:
        assert isinstance(server, GoogleFront)
        super().__init__(server)
        self._front = server
        self._policy = server.policy
        self._ends: list[int] = []  # streams whose last, empty DATA frame is still to be sent
        self._pings_owed = 0
        self._pings_taken = 0  # since the last request
        self._highest_at_ping = 0
        self._has_too_many_pings = False
        self._settings_unacknowledged = 1  # the SETTINGS that open the connection
        self._used = self._born = asyncio.get_running_loop().time()
        self._clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._front.hands_over(self, cast(asyncio.Transport, transport)):
            return
        super().connection_made(transport)
        if not self._closing:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._clock is not None:
            self._clock.cancel()
        super().connection_lost(exc)

    def _requests(self, events: list[Event]) -> list[Request]:
        requests = super()._requests(events)
        if requests:
            self._used = asyncio.get_running_loop().time()
        if self._has_too_many_pings:  # after the requests of the same read
            self._has_too_many_pings = False
            self.goaway(ENHANCE_YOUR_CALM, debug=b"too_many_pings")
        return requests

    def _take_event(self, event: Event) -> bool:
        if isinstance(event, SettingsAcknowledged):
            self._settings_unacknowledged -= 1
        elif isinstance(event, PingReceived) and self._policy.max_pings:
            if self._highest != self._highest_at_ping:
                self._highest_at_ping, self._pings_taken = self._highest, 0
            self._pings_taken += 1
            self._has_too_many_pings |= self._pings_taken == self._policy.max_pings
        return super()._take_event(event)

    def update_settings(self, settings: Settings) -> None:
        self._settings_unacknowledged += not self._closing
        super().update_settings(settings)

    def _refuse_stream(self, stream_id: int) -> None:
        """Google ends the connection of a client that knows the limit and exceeds it (reference/fcm.md, 1.4)."""
        super()._refuse_stream(stream_id)
        if not self._settings_unacknowledged and not self._draining:
            self.goaway(PROTOCOL_ERROR, debug=b"exceeded_max_concurrent_streams")

    def _answer(self, answers: Sequence[Answer]) -> None:
        self._used = asyncio.get_running_loop().time()
        split = self._policy.split_end
        if not split and not self._policy.ping:
            super()._answer(answers)
            return
        streams, h2, ends = self._streams, self._h2, self._ends
        owed = 0
        for stream_id, headers, body in answers:
            if streams.pop(stream_id, None) is None:
                continue
            try:
                if body:
                    h2.send_response(stream_id, headers)
                    h2.send_data(stream_id, body, end_stream=not split)
                    if split:
                        ends.append(stream_id)
                else:
                    h2.send_response(stream_id, headers, end_stream=True)
            except NGH2Error:  # the stream was closed within this read
                continue
            owed += 1
        self._pings_owed += owed

    def _flush(self) -> None:
        if not self._closing:
            try:
                data = self._output()
            except NGH2Error:
                self.abort()
                return
            if data:
                self._transport.write(data)
        super()._flush()

    def _output(self) -> bytes:
        """Write what is due, in Google's order: responses, their last frames, a PING for each."""
        h2 = self._h2
        data = h2.data_to_send()
        if self._ends:
            for stream_id in self._ends:
                try:
                    h2.end_stream(stream_id)
                except NGH2Error:  # reset by the client since
                    continue
            self._ends.clear()
            data += h2.data_to_send()
        if self._pings_owed:
            if self._policy.ping and h2.want_read:
                # libnghttp2 does not mind an ACK of a PING that it has not sent.
                data += PING * self._pings_owed
            self._pings_owed = 0
        return data

    def _write_all_but_one(self) -> None:
        self._pings_owed = 0
        self._transport.write(self._output()[:-1])

    def _watch(self) -> None:
        """Close the connection when it is too old or idle for too long, and schedule the next check."""
        policy, loop = self._policy, asyncio.get_running_loop()
        now, never = loop.time(), float("inf")
        aged = self._born + policy.max_age if policy.max_age else never
        idle = self._used + policy.session_timeout if policy.session_timeout else never
        if idle <= now and self._streams:  # busy: idleness begins with the last response
            idle = now + policy.session_timeout
        if aged <= now:
            self.goaway(debug=b"max_age")
        elif idle <= now:
            self.goaway(debug=b"session_timeout")
        elif (due := min(aged, idle)) < never:
            self._clock = loop.call_at(due, self._watch)


class GoogleFront(H2Server):
    """Listens for both protocols and passes each connection's requests to a handler of its own.

    Args:
        open_handler: called once per connection.
        context: the server's TLS context; ALPN is set here.
        settings: the contents of the first SETTINGS frame.
        window: bytes that a client may send on one connection before it is acknowledged.
        delay: seconds between a request and its response.
        limits: limits of clients.
        policy: habits on HTTP/2 connections.
    """

    peer_type = GoogleConnection

    def __init__(
        self,
        open_handler: Opener,
        context: ssl.SSLContext,
        *,
        settings: Settings = GOOGLE_SETTINGS,
        window: int = GOOGLE_WINDOW,
        delay: float = 0.0,
        limits: ServerLimits | None = None,
        policy: FrontEndPolicy | None = None,
    ) -> None:
        # Its peers are GoogleConnections, and these are ServerConnections.
        opener = cast("Callable[[Nghttp2Connection], Handler]", open_handler)
        super().__init__(opener, context, settings=settings, window=window, delay=delay, limits=limits)
        self.alpn = ["h2", "http/1.1"]
        self.open_link = open_handler
        self.policy = policy or FrontEndPolicy()
        self.http1_peers: set[Http1Connection] = set()
        self._ending = False
        self._no_http1 = asyncio.Event()
        self._no_http1.set()

    def _open_peers(self) -> list[Any]:
        return [*self.peers, *self.http1_peers]

    @property
    def idle_timeout(self) -> float:
        """Seconds without a request after which a connection of HTTP/1.1 is closed; 0 for never."""
        return self.policy.session_timeout

    @property
    def connections(self) -> int:
        """Connections open now, of both protocols."""
        return len(self.peers) + len(self.http1_peers)

    async def close(self, grace: float = 1.0, *, debug: bytes = b"") -> None:
        """Accept no more connections, finish HTTP/1.1 responses, then close as `H2Server` does, each within `grace` seconds."""
        self._ending = True
        for peer in list(self.http1_peers):
            peer.goaway()
        try:
            async with asyncio.timeout(grace):
                await self._no_http1.wait()
        except TimeoutError:
            for peer in list(self.http1_peers):
                peer.abort()
            await self._no_http1.wait()
        await super().close(grace, debug=debug)

    def hands_over(self, peer: ServerConnection, transport: asyncio.Transport) -> bool:
        """A client that did not ask for HTTP/2 gets HTTP/1.1."""
        tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
        if tls.selected_alpn_protocol() == "h2":
            return False
        http1 = Http1Connection(self)
        http1.number, http1.entry, http1.sock = peer.number, peer.entry, peer.sock
        transport.set_protocol(http1)
        http1.connection_made(transport)
        return True

    def admit_http1(self, peer: Http1Connection) -> bool:
        """Register an HTTP/1.1 connection; False when there are too many."""
        if not self._has_room():
            return False
        self.accepted += 1
        self.counters.connections_accepted += 1
        peer.id = self.accepted
        self.http1_peers.add(peer)
        self._no_http1.clear()
        return True

    def dismiss_http1(self, peer: Http1Connection) -> None:
        """Remove an HTTP/1.1 connection."""
        self.http1_peers.discard(peer)
        self.forget(peer.number)
        if not self.http1_peers:
            self._no_http1.set()

    def admit(self, peer: Nghttp2Connection | WireConnection) -> bool:
        return self._has_room() and super().admit(peer)

    def _has_room(self) -> bool:
        if not self._ending and self.connections < self.limits.max_connections:
            return True
        self.counters.connections_refused += 1
        return False
