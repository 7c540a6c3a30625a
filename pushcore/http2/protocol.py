"""One connection on one transport: the only file that writes to a transport.

Everything that is sent in one tick of the loop leaves in one `transport.write`: on TLS that is eleven times cheaper than
one write per request. `data_received` always feeds the connection, then calls the sinks, then the pool.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, cast

from ..errors import AlpnError, ConnectionLost, TransportError
from .connection import Connection
from .exchange import deliver
from .reference import ReferenceConnection
from .streams import ConnectionState, Limits
from .tls import name_tls_error

if TYPE_CHECKING:
    from ssl import SSLObject

WRITE_BUFFER = 512 * 1024
"""Bytes in the buffer of a transport above which the connection gets no requests: 1000 streams fill it in one tick."""

_UNKNOWN = frozenset((0, 401, 403))
"""Statuses that do not show that the server accepts our credentials."""

Http2 = Literal["fast", "reference"]
"""The HTTP/2 implementation of a client: pushcore's own, or the one on python-hyper/h2."""

ENGINES: dict[Http2, Callable[[Limits, float], Connection | ReferenceConnection]] = {
    "fast": Connection,
    "reference": ReferenceConnection,
}


class Link(asyncio.Protocol):
    """Connects a `Connection` and a transport. `on_progress(link)` is called after anything that may concern the pool.

    Call `schedule` after opening requests. `ready` is done when the peer's SETTINGS have arrived, or fails with the error.
    """

    def __init__(
        self,
        connection: Connection | ReferenceConnection,
        on_progress: Callable[[Link], None],
    ) -> None:
        self.connection = connection
        self._scheduled = False
        self._loop = asyncio.get_running_loop()
        self._on_progress = on_progress
        self._transport: asyncio.Transport | None = None
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.gone: asyncio.Future[None] = self._loop.create_future()

    # --- called by the event loop ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        tls = cast("SSLObject | None", transport.get_extra_info("ssl_object"))
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            transport.abort()  # and not stored: a peer that speaks another protocol must not be sent the preface
            self._end(AlpnError('the server does not speak HTTP/2: it did not choose "h2" in ALPN'))
            return
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self.flush()

    def data_received(self, data: bytes) -> None:
        self.connection.receive(data, self._loop.time())
        self.dispatch()

    def eof_received(self) -> bool:
        # No response can come any more, and bytes that are written from here on may be dropped silently: asyncio's TLS
        # does so until `connection_lost`, which a peer that does not read can delay.
        self._end(ConnectionLost("the server closed the connection"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        error: TransportError = ConnectionLost("the server closed the connection")
        if exc is not None and not self.ready.done():
            # With TLS 1.3 our handshake is over before the server has looked at our certificate.
            error = name_tls_error(exc)
        elif exc is not None:
            error = ConnectionLost(f"the connection was lost: {exc}")
        self.connection.lost(error)
        self._transport = None
        if not self.gone.done():
            self.gone.set_result(None)
        self.dispatch()

    def pause_writing(self) -> None:
        self.connection.pause(True)

    def resume_writing(self) -> None:
        self.connection.pause(self._is_closing())
        self.dispatch()

    # --- called by the pool ---------------------------------------------------------------------------------------

    def schedule(self) -> None:
        """Write the requests of this tick at its end."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write all that the connection has to send.

        A transport that is closing drops bytes. So nothing is written to it, and the connection takes no more requests:
        what is unwritten by then is certainly unprocessed, and `connection_lost` has the reason.
        """
        self._scheduled = False
        if self._is_closing():
            self.connection.pause(True)
        elif self._transport is not None:
            data = self.connection.data_to_send()
            if data:
                self._transport.write(data)

    def dispatch(self) -> None:
        """Call the sinks of finished exchanges, then the pool, then write what these two have added."""
        connection = self.connection
        finished = connection.finished
        if finished:
            connection.finished = []
            if not connection.progressed and any(exchange.status for exchange in finished):
                connection.progressed = connection.answered = True
            if not connection.authenticated:
                connection.authenticated = any(exchange.status not in _UNKNOWN for exchange in finished)
            deliver(finished)
        if not self.ready.done() and connection.state is not ConnectionState.WAITING:
            if connection.state is ConnectionState.CLOSED:
                self.ready.set_exception(connection.error or ConnectionLost("the connection was closed"))
                self.ready.exception()  # marked as retrieved: the dial may have been cancelled
            else:
                self.ready.set_result(None)
        self._on_progress(self)
        if connection.state is ConnectionState.CLOSED:
            self._hang_up()
        else:
            self.schedule()

    def tick(self, now: float) -> None:
        """Expire requests, send pings; called a few times a second."""
        self.connection.tick(now)
        self.dispatch()

    def close(self) -> None:
        """Send GOAWAY and close; open requests end as `Streams.lost` says."""
        self.connection.close()
        self.dispatch()

    def abort(self) -> None:
        """Close without waiting for the peer."""
        if self._transport is not None:
            self._transport.abort()

    def abandon(self) -> None:
        """Close the socket after the event loop has ended.

        A transport closes its socket in the next iteration of the loop, and there is none any more.
        """
        if self._transport is None:
            return
        self.connection.streams.clear()  # the tasks that waited for them have ended with the loop
        self._on_progress = lambda _: None
        self.gone = self._loop.create_future()
        turn: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._loop.call_soon = lambda callback, *args, **_: turn.append((callback, args))  # type: ignore[method-assign, assignment]
        try:
            self._transport.abort()
            while turn:
                callback, args = turn.pop(0)
                callback(*args)
        finally:
            del self._loop.call_soon
        self._transport = None

    def _is_closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def _end(self, error: TransportError) -> None:
        self.connection.lost(error)
        self.dispatch()

    def _hang_up(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self.flush()
            self._transport.close()
