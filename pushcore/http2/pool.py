"""Decides which connection takes the next request, dials, drains, and resends requests that were certainly not processed.

A request goes to the connection that took the last one until that is full, so that a few connections carry most of the
load; then to any other with a free stream and window; otherwise it waits here, first in, first out.

The pool dials when requests wait and every connection is full. It does not dial while a peer allows one stream only or has
lowered its limit: the peer throttles us then, and Apple counts further connections as an attack. One dial is in progress at
a time until the first response to accepted credentials, and after a failure; afterwards up to `DIALS`.

After a long silence a connection is probed before it gets requests. While the connections that are being probed could take
all waiting requests, no other silent connection is probed, and no new one is dialled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice

from ..errors import ConnectError, ConnectionLost, GoAway, ResponseTimeout, TransportError
from ..metrics import Listeners
from .dialer import HANG_UP, Dialer
from .exchange import Exchange, deliver
from .frames import NO_ERROR
from .protocol import ENGINES, Http2, Link
from .proxy import Proxy
from .streams import LONG_SILENCE, ConnectionState, Limits, Streams
from .tls import name_tls_error

log = logging.getLogger("pushcore.http2")

MAX_REFUSALS = 5
"""Refusals of one request, by connections without any response, after which it is reported as UNSENT."""
REFUSAL_ROUNDS = 2
"""Rounds of refusals without a response, see `Streams.refusal_rounds`, after which a connection is replaced."""
DIALS = 4
"""Dials in progress at a time, at most, once the server has accepted our credentials and while `BATCH` requests wait."""
BATCH = 256
"""Requests after which a tick's output is written before its end, so that the server works while more requests are made."""


class Pool:
    """The HTTP/2 connections to one origin. Not thread-safe: it belongs to the event loop that it was opened on.

    `authorize(link)` is called before a connection gets requests; if it returns False, they stay waiting. `proxy`: the
    proxy of all connections. `events`: listeners of the events of connections, which carry `name` (by default the host).
    `expiries`: see the attribute.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        context: ssl.SSLContext,
        limits: Limits,
        max_connections: int,
        engine: Http2 = "fast",
        authorize: Callable[[Link], bool | None] = lambda link: None,
        proxy: Proxy | None = None,
        events: Listeners | None = None,
        name: str | None = None,
        expiries: Mapping[str, float] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.limits = limits
        self.expiries = {} if expiries is None else expiries
        """When the credentials of the connections expire, in UNIX seconds, by the kind of credentials."""
        self.waiting: deque[Exchange] = deque()
        """Requests that no connection can take at the moment."""
        self.links: list[Link] = []
        self.dialled = 0
        self.listeners: list[Callable[[], None]] = []
        """Called after exchanges have finished or waiting requests were taken."""
        self.dialer = Dialer(
            host=host,
            port=port,
            context=context,
            timeout=limits.timeout,
            keepalive=limits.keepalive,
            new_link=self._new_link,
            proxy=proxy,
            rng=rng,
        )
        """Opens the connections, and keeps the error of the last failure."""
        self._host = host
        self.events = Listeners() if events is None else events
        self.name = name or host
        self._max_connections = max_connections
        self._new_connection = ENGINES[engine]
        self._authorize = authorize
        self._current: Link | None = None
        self._carried = 0  # requests that the last connection with a GOAWAY processed
        # Requests that each connection processes; None unless two in a row have shown the same limit.
        self._request_limit: int | None = None
        self._dials: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._interval = min(max(limits.timeout / 20, 0.01), 0.5)
        self._due = False  # whether `_turn` is scheduled
        self._closed = False
        self._leaving: set[Link] = set()  # ended links with sockets that are not closed yet
        self._loop = asyncio.get_running_loop()
        # By how much the wall clock was ahead of the loop's at the last tick.
        self._lead = time.time() - self._loop.time()

    @property
    def last_error(self) -> TransportError | None:
        """The error of the last connection attempt; None after a success."""
        return self.dialer.last_error

    # --- requests -------------------------------------------------------------------------------------------------

    def submit(self, exchange: Exchange) -> None:
        """Take a request; its sink is called exactly once, later, unless it is cancelled.

        The requests of one tick of the loop are opened together, at its end or after each `BATCH` of them. A caller with
        many requests may append them to `waiting` and then call `pump`.
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
        """Open the waiting requests and write them now, not at the end of the tick."""
        self.pump()
        for link in self.links:
            link.flush()

    def cancel(self, exchange: Exchange) -> None:
        """Cancel a request; its sink is not called."""
        for link in self.links:
            stream_id = getattr(exchange, "stream_id", 0)
            if link.connection.streams.get(stream_id) is exchange:
                link.connection.cancel(exchange)
                link.dispatch()
                return
        with contextlib.suppress(ValueError):
            self.waiting.remove(exchange)
            self._notify()

    @property
    def closed(self) -> bool:
        """Whether the pool has been closed and takes no more requests."""
        return self._closed

    def pump(self) -> None:
        """Assign waiting requests to connections that can take them."""
        waiting = self.waiting
        if not waiting:
            return
        useful = True
        probed = 0  # requests that the connections being probed could take
        for link in self._candidates():
            connection = link.connection
            if len(connection.streams) < connection.capacity:
                if self._authorize(link) is False:
                    useful = False  # a new connection could take nothing either
                    continue
                if not connection.streams and self._is_silent(connection):
                    if probed >= len(waiting):
                        continue
                    connection.probe(self._loop.time())
                    probed += connection.peer_limit
                    link.schedule()
                before = len(waiting)
                if self._request_limit is None:
                    connection.take(waiting)
                else:
                    self._take_limited(link, self._request_limit)
                if len(waiting) < before:
                    self._current = link
                    link.schedule()
                    if not waiting:
                        return
            elif connection.probing:
                probed += connection.peer_limit
        if self._closed:
            self._loop.call_soon(self._fail_late)
        if useful:
            self._dial_if_useful()
        self._arm()

    def _fail_late(self) -> None:
        """Fail requests that were submitted after the pool was closed."""
        if self.waiting:
            self.fail_waiting(ConnectError("the client was closed before this request was sent"))

    def _is_silent(self, connection: Streams) -> bool:
        """Whether nothing has come from the peer for so long that it may be unreachable."""
        silent = self._loop.time() - connection.last_received >= LONG_SILENCE
        return silent and connection.state is ConnectionState.OPEN

    def _take_limited(self, link: Link, limit: int) -> None:
        batch = deque(islice(self.waiting, max(limit - link.connection.opened, 0)))
        offered = len(batch)
        link.connection.take(batch)
        for _ in range(offered - len(batch)):
            self.waiting.popleft()

    def _notify(self) -> None:
        for listener in self.listeners:
            listener()

    def _candidates(self) -> list[Link]:
        if self._current is None or len(self.links) < 2:
            return self.links
        links = self.links.copy()
        links.remove(self._current)
        return [self._current, *links]

    def _on_progress(self, link: Link) -> None:
        """Something has changed on a connection: streams have ended, limits have changed, or it is closing."""
        connection = link.connection
        if connection.refused:
            refused, connection.refused = connection.refused, []
            self._resend(refused, self._has_progressed(connection, refused))
        if connection.answered:
            # Not before the first response: a server may send SETTINGS and then GOAWAY.
            self.dialer.reset(trusted=connection.authenticated, dialled_at=connection.opened_at)
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

    def _has_progressed(self, connection: Streams, refused: list[Exchange]) -> bool:
        """Whether a connection that has refused requests has processed, or will process, other requests.

        A server may limit the requests of one connection (nginx's `keepalive_requests`): it then processes that many and
        refuses the rest. One that does so without GOAWAY is left.
        """
        carried = connection.carried
        if carried:
            self._learn_limit(connection, carried)
        elif connection.state is ConnectionState.OPEN:
            connection.count_refusals(refused)
            if connection.answered and connection.refusal_rounds >= REFUSAL_ROUNDS:
                connection.error = ConnectionLost("the server refuses every request on this connection")
                connection.drain()
        return connection.answered or bool(carried)

    def _learn_limit(self, connection: Streams, carried: int) -> None:
        """If two connections in a row processed this number of requests and no more, later ones get no more than that."""
        error = connection.error
        in_order = error.code == NO_ERROR if isinstance(error, GoAway) else isinstance(error, ConnectionLost)
        if in_order and carried == self._carried:
            self._request_limit = carried
        self._carried = carried

    def _exceeds(self, connection: Streams, limit: int) -> bool:
        """Whether a connection has completed `limit` requests and takes more: it does not end soon after the last one."""
        completed = connection.idle and connection.opened >= limit
        since = self._loop.time() - connection.last_received
        return completed and connection.state is ConnectionState.OPEN and since >= self._interval

    def _resend(self, refused: list[Exchange], progressed: bool) -> None:
        now = self._loop.time()
        given_up = []
        for exchange in reversed(refused):
            refusals = getattr(exchange, "refusals", 0) + (not progressed)
            if self._closed or refusals >= MAX_REFUSALS or exchange.deadline <= now:
                given_up.append(exchange)
            else:
                exchange.restart(refusals)
                self.waiting.appendleft(exchange)  # before newer requests
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
            log.info("the server sent GOAWAY: %s", connection.error)
            self._report_goaway(connection.error)
        elif not self._closed:
            log.info("connection ended: %s", connection.error)
        self.events.connection_closed(self.name, self._host, None if self._closed else connection.error)
        served = connection.served
        if served and self.waiting and connection.authenticated and connection.carried in (None, served):
            self._learn_limit(connection, served)
        if not connection.answered:
            # It ended before its first response: a new connection at once would look like an attack.
            error = connection.error or ConnectionLost("the connection was closed")
            self.dialer.back_off(error, sent_away=isinstance(error, GoAway) and error.code == NO_ERROR)

    def _report_goaway(self, error: GoAway) -> None:
        self.events.goaway(self.name, self._host, error.code, error.reason)

    # --- dialling -------------------------------------------------------------------------------------------------

    def _dial_if_useful(self) -> None:
        if self._closed or len(self._dials) >= (DIALS if self.dialer.trusted else 1):
            return
        open_links = 0
        for link in self.links:
            connection = link.connection
            if connection.state is ConnectionState.OPEN:
                open_links += 1
                # A server that takes one request a connection allows one stream for that reason.
                throttled = connection.throttled and self._request_limit != 1
                if connection.probing or (throttled and not connection.unresponsive):
                    return
        room = min(self._max_connections - open_links, 2 * self._max_connections - len(self.links))
        while len(self._dials) < min(room, self._wanted_dials()):
            self._start_dial()

    def _wanted_dials(self) -> int:
        """The number of connections to dial at a time for the waiting requests."""
        if not self.dialer.trusted:
            return 1
        waiting = len(self.waiting)
        if waiting >= BATCH:  # then the source is not read any further: many more may follow
            return DIALS
        return 1 if self._request_limit is None else min(1 + waiting // self._request_limit, DIALS)

    def _start_dial(self, *, ahead: bool = False) -> asyncio.Task[None]:
        dial = self._loop.create_task(self._connect(ahead=ahead), name="pushcore dial")
        self._dials.add(dial)
        dial.add_done_callback(self._on_dialled)
        return dial

    async def open_ahead(self, connections: int) -> None:
        """Open `connections` connections before the first request, one after another: no credentials are accepted yet.

        Raises:
            TransportError: a connection could not be opened.
        """
        while len(self.links) < connections:
            await self._start_dial(ahead=True)
            if self.last_error is not None:
                raise self.last_error

    def _new_link(self) -> Link:
        return Link(self._new_connection(self.limits, self._loop.time()), self._on_progress)

    async def _connect(self, *, ahead: bool) -> None:
        dialer = self.dialer
        try:
            await dialer.pause()
            if not self.waiting and not ahead:
                return  # all waiting requests have been cancelled or have expired
            self.dialled += 1
            link = await dialer.dial()
        except Exception as failure:
            error = failure if isinstance(failure, TransportError) else name_tls_error(failure)
            if error is not failure:
                log.exception("the dial failed unexpectedly")  # and the next one waits as after any failure
            dialer.back_off(error)
            log.warning("cannot connect to %s port %d: %s", dialer.host, dialer.port, error)
            if isinstance(error, GoAway):
                self._report_goaway(error)
            self.events.connection_failed(self.name, self._host, error)
            if not self.links and error.permanent:
                self.fail_waiting(error)
        else:
            self.links.append(link)
            self._arm()
            log.info("connected to %s port %d", dialer.host, dialer.port)
            self.events.connection_opened(self.name, self._host)
            self._current = link

    def _on_dialled(self, task: asyncio.Task[None]) -> None:
        self._dials.discard(task)
        if self.waiting and not self._closed:
            self.pump()

    def renew(self, context: ssl.SSLContext) -> None:
        """Replace all connections by new ones with this context.

        The old connections get no new requests; each is closed after its last response.
        """
        self.dialer.renew(context)
        for dial in self._dials:
            dial.cancel()  # `_on_dialled` dials again if requests wait
        links = list(self.links)
        for link in links:  # all of them before the first `dispatch`, so that none takes a waiting request
            link.connection.retired = True
            link.connection.drain()
        for link in links:
            link.dispatch()

    def fail_waiting(self, error: TransportError) -> None:
        """Finish all waiting requests with this error."""
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
        self._notice_suspension(now)
        for link in list(self.links):
            link.tick(now)
            if self._request_limit is not None and self._exceeds(link.connection, self._request_limit):
                self._request_limit = None
        expired = []
        while self.waiting and self.waiting[0].deadline <= now:
            exchange = self.waiting.popleft()
            exchange.error = self._unwritten()
            exchange.attempts -= 1
            expired.append(exchange)
        if expired:
            deliver(expired)
            self._notify()
        if self.waiting:
            self.pump()
        if self.links or self.waiting:
            self._arm()

    def _notice_suspension(self, now: float) -> None:
        """Treat all connections as silent if the machine has slept: its monotonic clock, `now`, has not, but the wall clock has gone on."""
        lead = time.time() - now
        if lead - self._lead >= LONG_SILENCE:
            for link in self.links:
                link.connection.last_received = -math.inf
        self._lead = lead

    def _unwritten(self) -> TransportError:
        """The reason why a request waited here until its deadline."""
        error = self.last_error
        if isinstance(error, GoAway):  # the server's reason says more than a timeout
            return GoAway(error.code, error.debug, unprocessed=True, reason=error.reason)
        reason = f": {error}" if error else ""
        return ResponseTimeout(f"the request was not written in time{reason}", unprocessed=True)

    async def close(self) -> None:
        """Take no more requests, wait up to the timeout for open ones, send GOAWAY and close. No task remains."""
        self._closed = True
        deadline = self._loop.time() + self.limits.timeout
        try:
            for dial in self._dials:
                dial.cancel()
            await asyncio.gather(*self._dials, return_exceptions=True)
            self.fail_waiting(ConnectError("the client was closed before this request was sent"))
            for link in list(self.links):
                link.connection.drain()
                link.dispatch()
            while self.links and self._loop.time() < deadline:
                await asyncio.wait([link.gone for link in self.links], timeout=self._interval)
                for link in list(self.links):
                    link.tick(self._loop.time())
        finally:  # also if this task is cancelled
            if self._timer is not None:
                self._timer.cancel()
            self.fail_waiting(ConnectError("the client was closed before this request was sent"))
            for link in list(self.links):
                link.close()
            await self._hung_up()

    def abandon(self) -> None:
        """Close the sockets after the event loop of the pool has ended: nothing can be written or waited for any more."""
        self._closed = True
        self.waiting.clear()
        for link in (*self.links, *self._leaving):
            link.abandon()
        self.links.clear()
        self._leaving.clear()

    async def _hung_up(self) -> None:
        """Wait until the sockets are closed: the caller may end the event loop next."""
        for _ in range(2):
            if self._leaving:
                try:
                    await asyncio.wait([link.gone for link in self._leaving], timeout=HANG_UP)
                finally:
                    for link in list(self._leaving):
                        link.abort()
