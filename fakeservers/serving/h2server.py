"""An HTTP/2 listener over TLS, with a `Nghttp2Connection` for each connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fakeservers.serving.h2peer import Nghttp2Connection
from fakeservers.serving.latency import Latency
from fakeservers.serving.listener import ServerListener
from fakeservers.serving.types import (
    DEFAULT_WINDOW,
    ConnectionFaults,
    FaultSource,
    Handler,
    ServerCounters,
    ServerLimits,
    Settings,
)

if TYPE_CHECKING:
    from fakeservers.serving.wire import WireConnection


class H2Server:
    """Listens for HTTP/2 over TLS and passes each connection's requests to a handler of its own.

    Args:
        open_handler: called once per connection, before its SETTINGS are sent; may change `peer.settings`.
        context: the server's TLS context; ALPN is set to `h2` here.
        settings: the contents of the first SETTINGS frame.
        window: bytes that a client may send on one connection before it is acknowledged.
        delay: seconds between a request and its response; the time to handle a burst may come on top.
        limits: limits of clients.
    """

    peer_type: type[Nghttp2Connection] = Nghttp2Connection

    def __init__(
        self,
        open_handler: Callable[[Nghttp2Connection], Handler],
        context: ssl.SSLContext,
        *,
        settings: Settings,
        window: int = DEFAULT_WINDOW,
        delay: float = 0.0,
        limits: ServerLimits | None = None,
    ) -> None:
        self.open_handler = open_handler
        self._context = context
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._listener: ServerListener | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self.settings = self._first_settings = settings
        self.window = window
        self.delay = delay
        self.limits = limits or ServerLimits()
        self.peers: set[Nghttp2Connection | WireConnection] = set()
        self.accepted = 0
        """Connections that were admitted since they were numbered from 1."""
        self.counters = ServerCounters()
        self.latency = Latency()
        self.faults: FaultSource | None = None
        """None while no fault is switched on."""
        self.injector: FaultSource | None = None
        """The value of `faults` while a fault is switched on."""
        self.broken_context: Callable[[str], ssl.SSLContext] | None = None
        """Makes the TLS context of a `Tls` fault."""
        self.validates_frames = False
        """Whether clients are checked more strictly than by libnghttp2, see `frame_validator`."""
        self.alpn = ["h2"]

    @property
    def connections(self) -> int:
        """Connections open now."""
        return len(self.peers)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._listener is not None, "not started"
        return self._listener.port

    @property
    def arrivals(self) -> int:
        """Connections that reached the port, also those that TLS or a fault refused."""
        return self._listener.arrivals if self._listener is not None else 0

    async def start(self, host: str, port: int, *, reuse_port: bool = False) -> None:
        """Listen; port 0 takes a free one, and with `reuse_port` other processes may listen on it too.

        Raises:
            OSError: the address cannot be listened on.
        """
        self._context.set_alpn_protocols(self.alpn)
        listener = ServerListener(self)
        await listener.open(host, port, reuse_port=reuse_port)
        self._listener = listener

    def reset_counters(self) -> None:
        """Set all counters to zero."""
        self.counters = ServerCounters()
        self.latency.clear()

    def begin_anew(self) -> None:
        """Number connections from 1 again, with the SETTINGS of the start. Open ones get GOAWAY, and the number 0."""
        self.settings = self._first_settings
        for peer in self._open_peers():
            self.forget(peer.number)
            peer.number = 0
            peer.abort() if peer.muted else peer.goaway()
        self.accepted = 0
        if self._listener is not None:
            self._listener.arrivals = 0

    def _open_peers(self) -> list[Any]:
        return list(self.peers)

    def faults_changed(self, faults: FaultSource | None) -> None:
        """Use these faults from now on; None for none."""
        self.faults = faults
        if self._listener is not None:
            self._listener.look()

    def forget(self, number: int) -> None:
        """Forget a connection that has ended."""
        if self.injector is not None:
            self.injector.forget(number)

    def new_peer(self, entry: ConnectionFaults | None) -> Nghttp2Connection | WireConnection:
        """The protocol for a new connection."""
        if entry is not None and entry.wire:
            from fakeservers.serving.wire import WireConnection

            return WireConnection(self)
        return self.peer_type(self)

    def hands_over(self, peer: Nghttp2Connection | WireConnection, transport: asyncio.Transport) -> bool:
        """Replace the protocol of a connection, if the client asked for another one. Returns whether it did."""
        return False

    def tls_context(self, entry: ConnectionFaults | None) -> ssl.SSLContext:
        """The TLS context of a connection: the usual one, or a faulty one by its entry."""
        if entry is None or entry.tls is None or self.broken_context is None:
            return self._context
        how = entry.tls.how
        if how not in self._contexts:
            context = self.broken_context(how)
            if how == "http/1.1":
                context.set_alpn_protocols(["http/1.1"])
            elif how != "no-alpn":
                context.set_alpn_protocols(self.alpn)
            self._contexts[how] = context
        return self._contexts[how]

    async def close(self, grace: float = 1.0, *, debug: bytes = b"") -> None:
        """Stop listening, send GOAWAY, let connections finish for `grace` seconds, then cut the others."""
        if self._listener is None:
            return
        await self._listener.close()
        for peer in list(self.peers):
            peer.abort() if peer.muted else peer.goaway(debug=debug)
        try:
            async with asyncio.timeout(grace):
                await self._empty.wait()
        except TimeoutError:
            for peer in list(self.peers):
                peer.abort()
            await self._empty.wait()
        self._listener = None

    def admit(self, peer: Nghttp2Connection | WireConnection) -> bool:
        if len(self.peers) >= self.limits.max_connections:
            self.counters.connections_refused += 1
            return False
        self.accepted += 1
        self.counters.connections_accepted += 1
        peer.id = self.accepted
        self.peers.add(peer)
        self._empty.clear()
        return True

    def dismiss(self, peer: Nghttp2Connection | WireConnection) -> None:
        self.peers.discard(peer)
        self.forget(peer.number)
        if not self.peers:
            self._empty.set()
