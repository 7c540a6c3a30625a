"""Faults of a connection: it breaks off, falls silent, or sends slowly.

`FaultyConnection` is the base class of the three kinds of connections: `h2peer.Nghttp2Connection`, `wire.WireConnection`, `http1.Http1Connection`. `ThrottlingProtocol`
is put between a connection and its transport where bytes must be slow, or cut off.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

from fakeservers.serving.types import ConnectionFaults

FLUSHED_WITHIN = 1.0
"""Seconds that bytes may take to leave before a connection is cut nevertheless."""
LOOK_AGAIN = 0.002


class _Gone(asyncio.Transport):
    """The transport of a connection that has ended."""

    def write(self, data: Any) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0


_GONE = _Gone()


def _no_answers(requests: Any) -> Any:
    return ()


class FaultyConnection(asyncio.Protocol):
    """A connection that can be cut or muted."""

    entry: ConnectionFaults | None = None
    """How it was received; None without a fault."""
    number = 0
    """1 for the first connection that reached the port, whatever became of it."""
    sock: socket.socket | None = None
    """The socket below TLS."""
    version = "2"
    """Version of HTTP, for the record of requests."""
    muted = False
    _transport: asyncio.Transport
    _handler: Callable[[Any], Any]
    _closing: bool

    @property
    def handler(self) -> Callable[[Any], Any]:
        """The handler of its requests."""
        return self._handler

    def cut(self, how: str) -> None:
        """End the connection without GOAWAY or close_notify: `reset` by RST, `close` by FIN, `frame` by FIN one byte
        before the end of what is queued."""
        if self._closing:
            return
        if how == "frame":
            self._write_all_but_one()
        elif how == "close":
            self._write_waiting()
        self._closing = True
        if how == "reset":
            _reset_on_close(self.sock)
            self._transport.abort()
        else:
            _when_flushed(self._transport, self._transport.abort)

    def mute(self, *, eof: bool = False) -> None:
        """Answer and acknowledge nothing any more; `eof` sends a FIN first. Incoming bytes are discarded."""
        if self._closing:
            return
        self._write_waiting()
        self._closing = self.muted = True
        sock = self.sock
        if eof and sock is not None:
            _when_flushed(self._transport, lambda: _end_writing(sock))

    def _release(self) -> None:
        """Drop references that form cycles, so that an ended connection takes no memory.

        Otherwise it would until the next garbage collection, and `__main__` makes these rare.
        """
        self._transport, self._handler = _GONE, _no_answers

    def _write_waiting(self) -> None:
        """Send what is queued."""

    def _write_all_but_one(self) -> None:
        """Send what is queued, without its last byte."""


def _when_flushed(transport: asyncio.Transport, action: Callable[[], object]) -> None:
    """Call a function when the transport's buffer is empty, or after a timeout."""
    loop = asyncio.get_running_loop()
    end = loop.time() + FLUSHED_WITHIN

    def look() -> None:
        if transport.get_write_buffer_size() and loop.time() < end and not transport.is_closing():
            loop.call_later(LOOK_AGAIN, look)
        else:
            action()

    loop.call_later(LOOK_AGAIN, look)  # uvloop writes at the end of its iteration, not at once


def _reset_on_close(sock: socket.socket | None) -> None:
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _end_writing(sock: socket.socket) -> None:
    if sock.fileno() >= 0:
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:  # the client was faster
            return


def reset_socket(sock: socket.socket) -> None:
    """Close a socket by RST."""
    _reset_on_close(sock)
    sock.close()


class ThrottlingProtocol(asyncio.Protocol):
    """Passes everything to a connection whose transport is a `ThrottledTransport`."""

    def __init__(self, inner: FaultyConnection, entry: ConnectionFaults, sock: socket.socket) -> None:
        self.inner: asyncio.Protocol = inner
        self._entry = entry
        self._sock = sock
        self._throttled: ThrottledTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._throttled = ThrottledTransport(
            cast(asyncio.Transport, transport), self, self._entry, self._sock
        )
        self.inner.connection_made(self._throttled)

    def data_received(self, data: bytes) -> None:
        self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self.inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._throttled.stop()
        self.inner.connection_lost(exc)


class ThrottledTransport(asyncio.Transport):
    """A transport that sends slowly, or ends too early."""

    def __init__(
        self,
        below: asyncio.Transport,
        protocol: ThrottlingProtocol,
        entry: ConnectionFaults,
        sock: socket.socket,
    ) -> None:
        super().__init__()
        self._below = below
        self._protocol = protocol
        self._sock = sock
        self._slow = entry.slow
        self._truncate = entry.truncate
        self._left = entry.truncate.bytes if entry.truncate else 0
        self._waiting = bytearray()
        self._high = 65_536
        self._timer: asyncio.TimerHandle | None = None
        self._paused = self._closing = self._cut = False

    def write(self, data: Any) -> None:
        if self._closing or self._cut:
            return
        if self._slow is None:
            self._write_below(bytes(data))
            return
        self._waiting += data
        if self._timer is None:
            self._trickle()
        if not self._paused and len(self._waiting) > self._high:
            self._paused = True
            self._protocol.inner.pause_writing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._below.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol.inner = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol.inner

    def is_closing(self) -> bool:
        return self._closing or self._below.is_closing()

    def close(self) -> None:
        self._closing = True
        if not self._waiting and not self._cut:
            self._below.close()

    def abort(self) -> None:
        self.stop()
        self._below.abort()

    def stop(self) -> None:
        """Stop writing."""
        self._closing = True
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pause_reading(self) -> None:
        self._below.pause_reading()

    def resume_reading(self) -> None:
        self._below.resume_reading()

    def is_reading(self) -> bool:
        return self._below.is_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 65_536 if high is None else high
        self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return len(self._waiting) + self._below.get_write_buffer_size()

    def _trickle(self) -> None:
        self._timer = None
        slow = self._slow
        assert slow is not None
        data = bytes(self._waiting[: slow.bytes])
        del self._waiting[: slow.bytes]
        self._write_below(data)
        if self._paused and len(self._waiting) < self._high // 2:
            self._paused = False
            self._protocol.inner.resume_writing()
        if self._cut:
            return
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(slow.seconds, self._trickle)
        elif self._closing:
            self._below.close()

    def _write_below(self, data: bytes) -> None:
        if self._truncate is None:
            self._below.write(data)
            return
        if len(data) < self._left:
            self._left -= len(data)
            self._below.write(data)
            return
        self._cut = True
        self._below.write(data[: self._left])
        _when_flushed(self._below, self._end)

    def _end(self) -> None:
        assert self._truncate is not None
        if self._truncate.how == "reset":
            _reset_on_close(self._sock)
        self._below.abort()
