"""An HTTP/2 listener over TLS: a `Peer` for each connection, and what they have in common."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from fakeservers.serving.h2peer import Peer
from fakeservers.serving.latency import Latency
from fakeservers.serving.listener import Door
from fakeservers.serving.types import DEFAULT_WINDOW, Entry, Faults, Handler, Limits, Settings

if TYPE_CHECKING:
    from fakeservers.serving.wire import WirePeer


class H2Server:
    """Listens for HTTP/2 over TLS and hands each connection's requests to a handler made for it.

    Args:
        open_handler: called once per connection, before its SETTINGS leave, and so may change `peer.settings`.
        context: the server's TLS context; ALPN is set to `h2` here.
        settings: exactly what the first SETTINGS frame says.
        window: bytes that a client may send on one connection before it is acknowledged.
        delay: seconds between a request and its answer; answers are late by a burst's own handling at most.
        limits: what clients may cost.
    """

    peer_type: type[Peer] = Peer

    def __init__(
        self,
        open_handler: Callable[[Peer], Handler],
        context: ssl.SSLContext,
        *,
        settings: Settings,
        window: int = DEFAULT_WINDOW,
        delay: float = 0.0,
        limits: Limits | None = None,
    ) -> None:
        self.open_handler = open_handler
        self._context = context
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._door: Door | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self.settings = settings
        self.window = window
        self.delay = delay
        self.limits = limits or Limits()
        self.peers: set[Peer | WirePeer] = set()
        self.accepted = self.refused = self.requests = self.resets = self.protocol_errors = 0
        self.latency = Latency()
        self.faults: Faults | None = None
        """None while no fault is switched on: then nothing is looked at."""
        self.injector: Faults | None = None
        """What `faults` is when there are some."""
        self.broken_context: Callable[[str], ssl.SSLContext] | None = None
        """Makes the TLS context of a `Tls` fault."""
        self.screened = False
        """Whether clients are judged more strictly than libnghttp2 does, see `screen`."""
        self.alpn = ["h2"]

    @property
    def connections(self) -> int:
        """Connections open now."""
        return len(self.peers)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._door is not None, "not started"
        return self._door.port

    @property
    def arrivals(self) -> int:
        """Connections that reached the port, those too that TLS or a fault turned away."""
        return self._door.arrivals if self._door is not None else 0

    async def start(self, host: str, port: int, *, reuse_port: bool = False) -> None:
        """Listen; port 0 takes a free one, and with `reuse_port` other processes may listen on it too.

        Raises:
            OSError: the address cannot be listened on.
        """
        self._context.set_alpn_protocols(self.alpn)
        door = Door(self)
        await door.open(host, port, reuse_port=reuse_port)
        self._door = door

    def faults_changed(self, faults: Faults | None) -> None:
        """Follow these faults from now on, None for none."""
        self.faults = faults
        if self._door is not None:
            self._door.look()

    def forget(self, number: int) -> None:
        """This connection is gone."""
        if self.injector is not None:
            self.injector.forget(number)

    def new_peer(self, entry: Entry | None) -> Peer | WirePeer:
        """The protocol for a connection that comes in."""
        if entry is not None and entry.wire:
            from fakeservers.serving.wire import WirePeer

            return WirePeer(self)
        return self.peer_type(self)

    def hands_over(self, peer: Peer | WirePeer, transport: asyncio.Transport) -> bool:
        """Let another protocol have a connection, if the client asked for it."""
        return False

    def tls_context(self, entry: Entry | None) -> ssl.SSLContext:
        """What a connection is welcomed with: ours, or one that is broken as its entry says."""
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
        """Stop listening, send GOAWAY, let connections finish for `grace` seconds, cut what is left."""
        if self._door is None:
            return
        await self._door.close()
        for peer in list(self.peers):
            peer.abort() if peer.muted else peer.goaway(debug=debug)
        try:
            async with asyncio.timeout(grace):
                await self._empty.wait()
        except TimeoutError:
            for peer in list(self.peers):
                peer.abort()
            await self._empty.wait()
        self._door = None

    def admit(self, peer: Peer | WirePeer) -> bool:
        if len(self.peers) >= self.limits.max_connections:
            self.refused += 1
            return False
        self.accepted += 1
        peer.id = self.accepted
        self.peers.add(peer)
        self._empty.clear()
        return True

    def dismiss(self, peer: Peer | WirePeer) -> None:
        self.peers.discard(peer)
        self.forget(peer.number)
        if not self.peers:
            self._empty.set()
