"""Which connection takes the next request; dialling, draining, and sending again what was surely not processed.

A request goes to the connection that took the last one until that is full, so that few connections carry much; then
to any other with a free stream and window; else it waits here, first in, first out. The pool dials when requests wait
and every connection is full by a limit that the peer has granted in earnest: a peer that holds us at one stream, or
has lowered its limit, throttles us and must not be answered with more connections (Apple counts that as an attack).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import ssl
from collections import deque
from collections.abc import Callable

from ..errors import ConnectError, ConnectionLost, GoAway, ResponseTimeout, TransportError
from ..metrics import Listeners
from .dial import Attempt, Keepalive, order_addresses, race
from .exchange import Exchange, deliver
from .protocol import ENGINES, Link
from .proxy import Proxy
from .streams import ConnectionState, Limits
from .tls import name_tls_error

log = logging.getLogger("pushcore.http2")

MAX_ATTEMPTS = 5
"""How often one request may be refused before it is reported as UNSENT."""
BATCH = 256
"""Requests of one tick that are written before its end, so that the server works while we make the others."""
HANG_UP = 1.0
"""Seconds that a peer has to say goodbye, on TLS and on TCP."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds between dials after failures, doubled each time."""


class Pool:
    """A few HTTP/2 connections to one origin. Not thread-safe: it belongs to the loop that it was opened on.

    `authorize(link)` is called before requests are handed to a connection; False keeps them waiting. `proxy`: what all
    connections go through. `keepalive`: that of their TCP sockets. `events`: whom to tell of connections, under `name` (the host unless given).
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        context: ssl.SSLContext,
        limits: Limits,
        max_connections: int,
        engine: str = "fast",
        authorize: Callable[[Link], bool | None] = lambda link: None,
        proxy: Proxy | None = None,
        keepalive: Keepalive | None = None,
        events: Listeners | None = None,
        name: str | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.limits = limits
        self.waiting: deque[Exchange] = deque()
        """Requests that no connection can take at the moment."""
        self.links: list[Link] = []
        self.last_error: TransportError | None = None
        """Why the newest attempt to connect failed; None after one that succeeded."""
        self.answering: Link | None = None
        """The connection whose answers the sinks are being given, or were given last."""
        self.dialled = 0
        self.listeners: list[Callable[[], None]] = []
        """Called after each batch of events: exchanges were finished, or requests that waited were taken."""
        self._host, self._port, self._context = host, port, context
        self._proxy = proxy
        self._keepalive = keepalive
        self.events = Listeners() if events is None else events
        self.name = name or host
        self._max_connections = max_connections
        self._new_connection = ENGINES[engine]
        self._authorize = authorize
        self._rng = rng or random.Random()
        self._current: Link | None = None
        self._dial: asyncio.Task[None] | None = None
        self._failures = 0
        self._not_before = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._interval = min(max(limits.timeout / 20, 0.01), 0.5)
        self._due = False  # `_turn` will be called
        self._closed = False
        self._leaving: set[Link] = set()  # links that are over, but whose sockets are not closed yet
        self._loop = asyncio.get_running_loop()

    # --- requests -------------------------------------------------------------------------------------------------

    def submit(self, exchange: Exchange) -> None:
        """Take a request; its sink is called exactly once, later, unless it is cancelled.

        What is submitted in one tick of the loop is opened together, at its end or when there is a batch of it. Whoever
        has many requests at once may append them to `waiting` and then call `pump`.
        """
        waiting = self.waiting
        waiting.append(exchange)
        if not self._due:
            self._due = True
            self._loop.call_soon(self._turn)
        elif len(waiting) % BATCH == 0:
            self._open_and_write()

    def _turn(self) -> None:
        self._due = False
        self._open_and_write()

    def _open_and_write(self) -> None:
        """Without waiting for the loop to come round again."""
        self.pump()
        for link in self.links:
            link.flush()

    def cancel(self, exchange: Exchange) -> None:
        """Forget a request whose caller has gone; its sink is not called."""
        for link in self.links:
            stream_id = getattr(exchange, "stream_id", 0)
            if link.connection.streams.get(stream_id) is exchange:
                link.connection.cancel(exchange)
                link.dispatch()
                return
        with contextlib.suppress(ValueError):
            self.waiting.remove(exchange)
            self._notify()

    def pump(self) -> None:
        """Hand waiting requests to connections that can take them."""
        waiting = self.waiting
        if not waiting:
            return
        useful = True
        for link in self._candidates():
            connection = link.connection
            if len(connection.streams) < connection.capacity:
                if self._authorize(link) is False:
                    useful = False  # another connection could take nothing either
                    continue
                before = len(waiting)
                connection.take(waiting)
                if len(waiting) < before:
                    self._current = link
                    link.schedule()
                    if not waiting:
                        return
        if useful:
            self._dial_if_useful()
        self._arm()

    def _notify(self) -> None:
        for listener in self.listeners:
            listener()

    def _candidates(self) -> list[Link]:
        if self._current is None or len(self.links) < 2:
            return self.links
        return [self._current, *(link for link in self.links if link is not self._current)]

    def _on_answers(self, link: Link) -> None:
        self.answering = link

    def _on_progress(self, link: Link) -> None:
        """Something happened on a connection: streams ended, limits moved, or it is closing."""
        connection = link.connection
        if connection.refused:
            refused, connection.refused = connection.refused, []
            self._resend(refused)
        if connection.answered:
            self._failures = 0  # and not before: a server may greet us only to send us away
        state = connection.state
        if state is ConnectionState.DRAINING and connection.idle:
            connection.close()
            state = connection.state
        if state is ConnectionState.CLOSED:
            self._remove(link)
        elif state is ConnectionState.DRAINING and link is self._current:
            self._current = None
        self.pump()
        self._notify()

    def _resend(self, refused: list[Exchange]) -> None:
        now = self._loop.time()
        given_up = []
        for exchange in reversed(refused):
            if self._closed or exchange.attempts >= MAX_ATTEMPTS or exchange.deadline <= now:
                given_up.append(exchange)
            else:
                exchange.restart()
                self.waiting.appendleft(exchange)  # before the younger ones
        deliver(given_up)

    def _remove(self, link: Link) -> None:
        if link not in self.links:
            return
        self.links.remove(link)
        if not link.gone.done():
            self._leaving.add(link)
            link.gone.add_done_callback(lambda _: self._leaving.discard(link))
        if link is self._current:
            self._current = None
        connection = link.connection
        if isinstance(connection.error, GoAway):
            log.info("the server went away: %s", connection.error)
            self._tell_goaway(connection.error)
        elif not self._closed:
            log.info("connection ended: %s", connection.error)
        self.events.connection_closed(self.name, self._host, None if self._closed else connection.error)
        if not connection.answered:
            # It never did anything for us; what follows at once would look like an attack.
            self._back_off(connection.error or ConnectionLost("the connection was closed"))

    def _tell_goaway(self, error: GoAway) -> None:
        self.events.goaway(self.name, self._host, error.code, error.reason)

    # --- dialling -------------------------------------------------------------------------------------------------

    def _dial_if_useful(self) -> None:
        if self._closed or self._dial is not None:
            return
        taking = 0
        for link in self.links:
            connection = link.connection
            if connection.state is ConnectionState.OPEN:
                taking += 1
                if connection.throttled:
                    return
        if taking < self._max_connections and len(self.links) < 2 * self._max_connections:
            self._dial = self._loop.create_task(self._connect(), name="pushcore dial")

    def _back_off(self, error: TransportError) -> None:
        self.last_error = error
        pause = min(FIRST_PAUSE * 2 ** min(self._failures, 10), LONGEST_PAUSE)
        self._failures += 1
        self._not_before = self._loop.time() + pause * self._rng.uniform(0.5, 1.0)

    async def _connect(self) -> None:
        try:
            pause = self._not_before - self._loop.time()
            if pause > 0:
                await asyncio.sleep(pause)
            if not self.waiting:
                return  # whoever waited has gone
            self.dialled += 1
            link = await self._open_link()
        except TransportError as error:
            self._back_off(error)
            log.warning("cannot connect to %s port %d: %s", self._host, self._port, error)
            if isinstance(error, GoAway):
                self._tell_goaway(error)
            self.events.connection_failed(self.name, self._host, error)
            if not self.links and error.permanent:
                self.fail_waiting(error)
        else:
            self.last_error = None
            log.info("connected to %s port %d", self._host, self._port)
            self.events.connection_opened(self.name, self._host)
            if link.connection.state is ConnectionState.OPEN:
                self._current = link
        finally:
            self._dial = None
            if self.waiting:
                self.pump()

    async def _open_link(self) -> Link:
        """A connection whose SETTINGS have arrived. Raises a `TransportError` that says why there is none."""
        timeout = self.limits.timeout
        host, port = self._proxy.address if self._proxy is not None else (self._host, self._port)
        # Half of what a push may wait, so that it learns why it could not be sent.
        seconds = min(max(timeout / 2, 1.0), 0.9 * timeout)
        try:
            async with asyncio.timeout(timeout):
                found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                addresses = order_addresses(found, self._rng)
                link = await race(addresses, self._open_address, Link.abort, seconds)
        except TimeoutError:
            raise ConnectError(f"no connection within {timeout:g} s") from None
        except OSError as failure:
            raise self._name_error(failure) from failure
        if link not in self.links:
            self.links.append(link)
            self._arm()
        if link.connection.state is ConnectionState.CLOSED:  # since the race ended
            self.links.remove(link)
            raise link.connection.error or ConnectionLost("the server closed the connection")
        return link

    def _name_error(self, failure: OSError) -> TransportError:
        """What kept us from resolving the first hop's name, or from a TCP connection to it."""
        return name_tls_error(failure) if self._proxy is None else self._proxy.name_error(failure)

    async def _open_address(self, attempt: Attempt, seconds: float) -> Link:
        """One attempt of the race, within so many seconds."""

        def new_link() -> Link:
            connection = self._new_connection(self.limits, self._loop.time())
            return Link(connection, self._on_progress, self._on_answers)

        end = self._loop.time() + seconds
        link: Link | None = None
        try:
            async with asyncio.timeout(seconds):
                try:
                    sock = await attempt.connect(self._keepalive)
                except OSError as failure:
                    raise self._name_error(failure) from failure
                if self._proxy is not None:
                    left = end - self._loop.time()
                    link = await self._proxy.connect(
                        new_link, sock, self._host, self._port, self._context, left
                    )
                else:
                    _, link = await self._loop.create_connection(
                        new_link,
                        sock=sock,
                        ssl=self._context,
                        server_hostname=self._host,
                        ssl_shutdown_timeout=HANG_UP,
                    )
                await link.ready
                if link.connection.state is not ConnectionState.OPEN:  # SETTINGS, and GOAWAY at once
                    raise link.connection.error or ConnectionLost("the server closed the connection")
                return link
        except BaseException as error:
            if link is not None:
                link.abort()
            if isinstance(error, TimeoutError):
                if attempt.connected_at is None:
                    raise self._name_error(error) from None
                missing = "no connection with TLS" if link is None else "connected, but no SETTINGS"
                raise ConnectError(f"{missing} within {seconds:.3g} s") from None
            if isinstance(error, OSError):
                raise name_tls_error(error) from error
            raise

    def fail_waiting(self, error: TransportError) -> None:
        """End all requests that no connection has taken with this error."""
        waiting = list(self.waiting)
        self.waiting.clear()
        for exchange in waiting:
            exchange.error = error
            exchange.attempts -= 1
        deliver(waiting)
        self._notify()

    # --- time and the end -----------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(self._interval, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        for link in list(self.links):
            link.tick(now)
        late = []
        while self.waiting and self.waiting[0].deadline <= now:
            exchange = self.waiting.popleft()
            exchange.error = self._unwritten()
            exchange.attempts -= 1
            late.append(exchange)
        if late:
            deliver(late)
            self._notify()
        if self.waiting:
            self.pump()
        if self.links or self.waiting:
            self._arm()

    def _unwritten(self) -> TransportError:
        """Why a request has waited here until its deadline."""
        error = self.last_error
        if isinstance(error, GoAway):  # its reason says more than the time that has passed
            return GoAway(error.code, error.debug, unprocessed=True, reason=error.reason)
        reason = f": {error}" if error else ""
        return ResponseTimeout(f"the request was not written in time{reason}", unprocessed=True)

    async def close(self) -> None:
        """Take nothing new, wait up to the timeout for what is open, say GOAWAY and hang up. No task is left."""
        self._closed = True
        deadline = self._loop.time() + self.limits.timeout
        try:
            if self._dial is not None:
                self._dial.cancel()
                await asyncio.gather(self._dial, return_exceptions=True)
            self.fail_waiting(ConnectError("the client was closed before this request was sent"))
            for link in list(self.links):
                link.connection.drain()
                self._on_progress(link)
                link.dispatch()
            while self.links and self._loop.time() < deadline:
                await asyncio.wait([link.gone for link in self.links], timeout=self._interval)
                for link in list(self.links):
                    link.tick(self._loop.time())
        finally:  # also when we are cancelled meanwhile
            if self._timer is not None:
                self._timer.cancel()
            self.fail_waiting(ConnectError("the client was closed before this request was sent"))
            for link in list(self.links):
                link.close()
            self.links.clear()
            await self._hung_up()

    async def _hung_up(self) -> None:
        """Wait for the sockets, too: whoever closes a client may end the event loop next."""
        for _ in range(2):
            if self._leaving:
                try:
                    await asyncio.wait([link.gone for link in self._leaving], timeout=HANG_UP)
                finally:
                    for link in list(self._leaving):
                        link.abort()
