"""The port of one server: it accepts connections, and receives each as the faults in force demand."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from typing import Any, Protocol, cast

from fakeservers.serving.faulty_connection import FaultyConnection, ThrottlingProtocol, reset_socket
from fakeservers.serving.types import ConnectionFaults, FaultSource, ServerCounters, ServerLimits

BACKLOG = 1024
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
REST = 1.0
"""Seconds without accepting when the process has no more file descriptors, as in asyncio."""
LOOK = 0.01
"""Seconds between two checks whether the port must refuse connections."""

PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\nserver: CloudFront\r\ncontent-type: text/html\r\ncontent-length: 42\r\n"
    b"connection: close\r\n\r\n<html><body>plain HTTP, no TLS</body></html>"
)


class ListeningServer(Protocol):
    """What a listener needs of its server."""

    limits: ServerLimits
    faults: FaultSource | None
    counters: ServerCounters

    def new_peer(self, entry: ConnectionFaults | None, /) -> FaultyConnection:
        """The protocol for a new connection."""

    def tls_context(self, entry: ConnectionFaults | None, /) -> ssl.SSLContext:
        """The context of its handshake."""


class ServerListener:
    """Listens on a port for a server.

    Args:
        server: the server of the connections.
    """

    def __init__(self, server: ListeningServer) -> None:
        self.arrivals = 0
        """Connections that have reached the port."""
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._sockets: list[socket.socket] = []
        self._addresses: list[tuple[Any, Any]] = []
        self._reuse_port = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._plain: set[PlainConnection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._open = False
        self.port = 0
        """The port that it listens on."""

    async def open(self, host: str, port: int, *, reuse_port: bool = False) -> None:
        """Listen on all addresses of a host; port 0 takes a free one.

        Raises:
            OSError: it cannot be listened on.
        """
        self._reuse_port = reuse_port
        addresses = await self._loop.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in dict.fromkeys(addresses):
            if self._addresses:  # the other addresses have the same port
                address = (address[0], self.port, *address[2:])
            try:
                sock = self._bound(family, address)
            except OSError:
                self._close_sockets()
                raise
            self._sockets.append(sock)
            self.port = sock.getsockname()[1]
            self._addresses.append((family, sock.getsockname()))
        self._open = True
        self._listen()
        self.look()

    def look(self) -> None:
        """Close the port or open it again, as the faults in force demand."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._open:
            return
        faults = self._server.faults
        refuses = faults is not None and faults.refuses()
        if refuses and self._sockets:
            self._close_sockets()
        elif not refuses and not self._sockets:
            self._listen_again()
        if not self._sockets or (faults is not None and faults.may_refuse):
            self._timer = self._loop.call_later(LOOK, self.look)

    async def close(self) -> None:
        """Stop accepting connections, and drop those that were not received yet."""
        self._open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._close_sockets()
        for connection in list(self._plain):
            connection.leave()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _bound(self, family: Any, address: Any) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setblocking(False)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
        return sock

    def _listen(self) -> None:
        for sock in self._sockets:
            sock.listen(BACKLOG)
            self._loop.add_reader(sock.fileno(), self._accept, sock)

    def _listen_again(self) -> None:
        try:
            for family, address in self._addresses:
                self._sockets.append(self._bound(family, address))
            self._listen()
        except OSError:  # another process uses the port: the next check tries again
            self._close_sockets()

    def _close_sockets(self) -> None:
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(BACKLOG):
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in EXHAUSTED and listener in self._sockets:
                    self._loop.remove_reader(listener.fileno())
                    self._loop.call_later(REST, self._resume, listener)
                return
            sock.setblocking(False)
            # asyncio does it only where the socket names its protocol. Without it each handshake waits 40 ms for Nagle.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._receive(sock)

    def _resume(self, listener: socket.socket) -> None:
        if listener in self._sockets:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def _receive(self, sock: socket.socket) -> None:
        server = self._server
        self.arrivals += 1
        entry = None if server.faults is None else server.faults.entry(self.arrivals)
        how = "" if entry is None or entry.connect is None else entry.connect.how
        if how in ("reset", "close", "silent", "plain"):
            server.counters.connections_turned_away += 1
        if how == "reset":
            reset_socket(sock)
        elif how == "close":
            sock.close()
        else:
            task = self._loop.create_task(self._welcome(sock, self.arrivals, entry, how))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _welcome(
        self, sock: socket.socket, number: int, entry: ConnectionFaults | None, how: str
    ) -> None:
        handed_over = False  # then the socket belongs to a transport, which closes it
        try:
            if how == "delay" and entry is not None and entry.connect is not None:
                await asyncio.sleep(entry.connect.seconds)
            cut = entry is not None and entry.tls is not None and entry.tls.how == "cut"
            if how in ("silent", "plain") or cut:
                if len(self._plain) >= self._server.limits.max_connections:
                    return
                handed_over = True
                last_word = PLAIN if how == "plain" else b"\x15\x03\x03" if cut else None
                await self._loop.connect_accepted_socket(
                    lambda: PlainConnection(self._plain, last_word), sock
                )
                return
            peer = self._server.new_peer(entry)
            peer.number, peer.entry, peer.sock = number, entry, sock
            protocol: asyncio.Protocol = peer
            if entry is not None and (entry.slow is not None or entry.truncate is not None):
                protocol = ThrottlingProtocol(peer, entry, sock)
            handed_over = True
            await self._loop.connect_accepted_socket(
                lambda: protocol,
                sock,
                ssl=self._server.tls_context(entry),
                ssl_handshake_timeout=self._server.limits.handshake_timeout,
                ssl_shutdown_timeout=1.0,  # do not wait for the client's close_notify
            )
        except OSError:  # the handshake failed: this concerns this connection alone
            self._server.counters.handshakes_failed += 1
        finally:
            if not handed_over:
                sock.close()


class PlainConnection(asyncio.Protocol):
    """A connection without TLS: it gets nothing, or one response to its first bytes."""

    def __init__(self, open_plain: set[PlainConnection], last_word: bytes | None) -> None:
        self._plain = open_plain
        self._last_word = last_word
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is a Transport by its methods alone.
        self._transport = cast(asyncio.Transport, transport)
        self._plain.add(self)

    def data_received(self, data: bytes) -> None:
        if self._last_word is not None:
            self._transport.write(self._last_word)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._plain.discard(self)

    def leave(self) -> None:
        """Cut the connection."""
        self._transport.abort()
