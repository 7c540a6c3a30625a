"""The common part of the clients, in two classes.

`ProviderClient` is the public side of a client: it is opened and closed, and its configuration can be read. Its
`Dispatcher` owns the connections and sends; the engine, topics and channels use the dispatcher alone. The subclasses of
each provider add the class of the pushes, how a push becomes a request, its authorization, and the meaning of a response.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from ssl import SSLContext
from types import TracebackType
from typing import Any, ClassVar, Final, Generic, Self, TypedDict, TypeVar

from .arguments import check_choice, check_number, check_offers, check_whole, checked_clock
from .errors import ClosedError, EventLoopError
from .http2.dialer import check_idle
from .http2.exchange import Exchange
from .http2.origin import Origin
from .http2.pool import Pool
from .http2.protocol import ENGINES, Http2, Link
from .http2.proxy import Proxy, find_proxy
from .http2.streams import KeepAlive, Limits
from .metrics import Listener, Listeners, Metrics
from .requests import RequestBuilder
from .results import Result

P = TypeVar("P")

MAX_BODY: Final = 128 * 1024
"""Bytes of a response body that are accepted, unless configured."""


class TransportOptions(TypedDict):
    """The arguments that a provider's dispatcher passes on to `Dispatcher`."""

    max_connections: int
    timeout: float
    http2: Http2
    proxy: Proxy | str | None
    idle_ping: float | None
    keepalive: KeepAlive | None
    now: Callable[[], float]


class ProviderClient(Generic[P]):
    """A client of one provider, for pushes of the class `P`. Use it as an async context manager, on one event loop."""

    def __init__(self, dispatcher: Dispatcher[P]) -> None:
        self._dispatcher = dispatcher

    async def open(self, *, connections: int = 0) -> None:
        """Get ready to send.

        Args:
            connections: the number of connections to open now, at most `max_connections`. Further ones are opened while pushes
                wait.

        Raises:
            ClosedError: it is open already.
            EventLoopError: it is open on another event loop, or on one that has ended: then close it first.
            ConfigurationError: `connections` is more than `max_connections`.
            TransportError: one of the connections cannot be opened; then the client is closed.
        """
        check_whole("connections", connections, least=0, most=self.max_connections)
        await self._dispatcher.open()
        if connections:
            try:
                await self._dispatcher.pool.open_ahead(connections)
            except BaseException:
                await self._dispatcher.close()
                raise

    async def close(self) -> None:
        """Wait up to `timeout` for the open streams, then close all connections. Does nothing if it is not open.

        After a cancellation, call it again to close the rest. If the event loop that the client was opened on has ended,
        it closes the sockets, and the client can be opened on another loop.

        Raises:
            EventLoopError: the loop that the client was opened on still runs: close it there.
        """
        await self._dispatcher.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def send(self, push: P) -> Result[P]:
        """Send one push and wait for its result. It never raises because of the push's outcome.

        If it is cancelled, the stream is reset. The push may have been delivered nevertheless.

        Raises:
            ClosedError: the client is not open.
            EventLoopError: the client was opened on another event loop.
            TypeError: the object is not a push of this client.
        """
        dispatcher = self._dispatcher
        if not isinstance(push, dispatcher.handles):
            raise TypeError(f"this client sends {dispatcher.handles.__name__}, not {type(push).__name__}")
        pool = dispatcher._pool
        if pool is None:
            raise ClosedError("the client is not open: use it in `async with`")
        loop = asyncio.get_running_loop()
        if loop is not dispatcher._loop:
            raise dispatcher.other_loop()
        future: asyncio.Future[Result[P]] = loop.create_future()
        exchanges: list[Exchange] = []
        rejected: list[Result[P]] = []
        deadline = loop.time() + dispatcher.timeout
        dispatcher.requests.build((push,), type(push), dispatcher._sink, deadline, exchanges, rejected)
        if rejected:
            if dispatcher._events.listening:
                dispatcher._events.results(dispatcher.provider, rejected)
            return rejected[0]
        exchange = exchanges[0]
        del exchanges, rejected  # no reference from each push in flight
        exchange.waiter = future
        pool.submit(exchange)
        try:
            return await future
        except asyncio.CancelledError:
            pool.cancel(exchange)
            raise

    def watch(self, listener: Listener) -> Callable[[], None]:
        """Tell a listener of connections, GOAWAYs, renewed tokens, and the results of `send`. A `Metrics` also counts the
        duration of each, and reads the open connections and the pushes in flight. The listener of an engine with this
        client gets them without this call.

        Returns:
            A function that removes the listener.

        Raises:
            ClosedError: the client is not open.
            ConfigurationError: the object is not a listener.
        """
        pool = self._dispatcher.pool
        check_offers("listener", listener, Listener, "a Listener")
        pool.events.add(listener)
        forget = listener.watch(pool.name, pool) if isinstance(listener, Metrics) else None

        def unwatch() -> None:
            with contextlib.suppress(ValueError):  # it was called before
                pool.events.remove(listener)
            if forget is not None:
                forget()

        return unwatch

    @property
    def opened(self) -> bool:
        """Whether the client can send."""
        return self._dispatcher.opened

    @property
    def expiries(self) -> Mapping[str, float]:
        """The expiry of its credentials in UNIX seconds, by "certificate", "provider_token" and "access_token", if it has them."""
        return self._dispatcher.expiries

    @property
    def max_connections(self) -> int:
        """The limit of connections to one server."""
        return self._dispatcher.max_connections

    @property
    def timeout(self) -> float:
        """Seconds from the moment when the client takes a push until its result."""
        return self._dispatcher.timeout

    @property
    def idle_ping(self) -> float | None:
        """Seconds of silence after which an idle connection is pinged; None for never."""
        return self._dispatcher.idle_ping

    @property
    def keepalive(self) -> KeepAlive | None:
        """TCP keepalive of silent connections: seconds of silence, seconds between probes, number of probes; None for none."""
        return self._dispatcher.keepalive


class Dispatcher(ABC, Generic[P]):
    """Sends for a client: its connections, and the result of a push, independent of the provider.

    `origin`: the server. `max_connections`: how many to open at most. `timeout`: seconds from the moment that the
    client takes a push until its result. `http2`: "fast", or "reference" for the one on python-hyper/h2. `proxy`: see
    `http2.proxy.find_proxy`. `idle_ping`, `keepalive`: see `http2.streams.Limits`. `now`: the wall clock, UNIX seconds.

    Raises `ConfigurationError` for a wrong argument.
    """

    handles: type[P]
    """The class of the pushes that it sends."""
    streams: ClassVar[int]
    """Requests that the provider allows at a time on one connection."""
    quota: ClassVar[bool]
    """Whether the provider limits the rate of a whole project."""
    provider: ClassVar[str]
    """Its name in metrics and events."""
    environment: str | None = None
    """Of a provider with several: the environment of the server's tokens; None if it is not known."""

    requests: RequestBuilder

    def __init__(
        self,
        origin: Origin,
        context: SSLContext,
        *,
        max_connections: int,
        timeout: float,
        http2: Http2,
        proxy: Proxy | str | None,
        idle_ping: float | None,
        keepalive: KeepAlive | None,
        now: Callable[[], float],
    ) -> None:
        check_choice("http2", http2, ENGINES)
        check_whole("max_connections", max_connections, least=1)
        check_number("timeout", timeout, above=0)
        check_idle(idle_ping, keepalive)
        self.origin = origin
        self.max_connections = max_connections
        self.timeout = timeout
        self.idle_ping = idle_ping
        self.keepalive = keepalive
        self.expiries: dict[str, float] = {}
        """When its certificate or newest token ends, in UNIX seconds, by kind."""
        self._context = context
        self._engine = http2
        self._proxy = proxy
        self._proxy_for(origin)  # now, so that a wrong one raises at once
        self._now = checked_clock(now)
        self._loop: asyncio.AbstractEventLoop  # on which it was opened; whether it was, `_pool` says
        self._pool: Pool | None = None  # None unless it is open
        self._pools: dict[Origin, Pool] = {}  # `_pool` and those to other servers, until each is closed
        self._events = Listeners()  # of the pool
        self._sink = self._settle  # bound once: exchanges with the same sink are delivered together

    # --- opening and closing --------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Get ready to send; the first connection is made when there is something to send.

        Raises:
            ClosedError: it is open already.
            EventLoopError: it is open on another event loop, or on one that has ended.
        """
        if self._pools:
            self.check_loop()
            raise ClosedError("this client is open already")
        self._loop = asyncio.get_running_loop()
        self._pool = self._connect_to(self.origin)
        self._events = self._pool.events

    async def close(self) -> None:
        """See `ProviderClient.close`."""
        if not self._pools:
            return
        if self._loop is asyncio.get_running_loop():
            self._pool = None
            await self._close_pools()
        elif self._loop.is_running():
            raise self.other_loop()
        else:
            self._pool = None
            self._abandon_pools()

    async def _close_pools(self) -> None:
        async with contextlib.AsyncExitStack() as stack:  # each is closed even if we are cancelled meanwhile
            for origin in self._pools:
                stack.push_async_callback(self._close_pool, origin)

    async def _close_pool(self, origin: Origin) -> None:
        await self._pools[origin].close()
        self._pools.pop(origin, None)

    def _abandon_pools(self) -> None:
        """Close the sockets: the event loop has ended, and no frame can be sent to the servers any more."""
        for pool in self._pools.values():
            pool.abandon()
        self._pools.clear()

    def other_loop(self) -> EventLoopError:
        """The error of a call on another event loop than the client's."""
        if not self._loop.is_running():
            return EventLoopError(
                f"the event loop that this {self.provider} client was opened on has ended: close the client, then open it again"
            )
        return EventLoopError(
            f"this {self.provider} client was opened on another event loop: give each loop a client of its own, or use "
            "asyncio.run_coroutine_threadsafe"
        )

    def check_loop(self) -> None:
        """Refuse to be used on another event loop.

        Raises:
            EventLoopError: the client was opened on another loop than the one that runs.
        """
        if self._pool is not None and asyncio.get_running_loop() is not self._loop:
            raise self.other_loop()

    def pool_to(self, origin: Origin, max_body: int = MAX_BODY) -> Pool:
        """The connections to one of the provider's servers, authorized as this client's are and closed with it.

        `max_body`: bytes of a response body that are accepted; the first call for a server decides.

        Raises `ClosedError` when the client is not open, and `EventLoopError` on another event loop than its own.
        """
        if self._pool is None:
            raise ClosedError("the client is not open: use it in `async with`")
        self.check_loop()
        return self._pools.get(origin) or self._connect_to(origin, max_body)

    def _connect_to(self, origin: Origin, max_body: int = MAX_BODY) -> Pool:
        pool = self._pools[origin] = Pool(
            host=origin.host,
            port=origin.port,
            context=self._context,
            limits=self._limits(self.timeout, max_body),
            max_connections=self.max_connections,
            engine=self._engine,
            authorize=self._authorize,
            proxy=self._proxy_for(origin),
            name=self.provider,
            expiries=self.expiries,
        )
        return pool

    def _renew(self, context: SSLContext) -> None:
        """Replace all connections by new ones with this context; see `Pool.renew`."""
        self._context = context
        for pool in self._pools.values():
            pool.renew(context)

    def _limits(self, timeout: float, max_body: int = MAX_BODY) -> Limits:
        return Limits(timeout, self.idle_ping, self.keepalive, max_body=max_body)

    def _proxy_for(self, origin: Origin) -> Proxy | None:
        """The proxy for one server: with "environment", NO_PROXY may name some of them."""
        return find_proxy(self._proxy, origin.host, origin.port)

    @property
    def opened(self) -> bool:
        """Whether the client can send."""
        return self._pool is not None

    @property
    def pool(self) -> Pool:
        """The connections. Raises `ClosedError` when the client is not open."""
        if self._pool is None:
            raise ClosedError("the client is not open: use it in `async with`")
        return self._pool

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that it was opened on. Raises `ClosedError` when the client is not open."""
        if self._pool is None:
            raise ClosedError("the client is not open: use it in `async with`")
        return self._loop

    # --- sending --------------------------------------------------------------------------------------------------

    @property
    def takes_all(self) -> bool:
        """Whether it can send every push of its class."""
        return True

    def takes(self, push: P) -> bool:
        """Whether it can send this one."""
        return True

    def _settle(self, finished: list[Exchange]) -> None:
        results: list[Result] = []
        not_accepted = self.accept(finished, results)
        if not_accepted:
            excluded = set(not_accepted)
            finished = [exchange for exchange in finished if exchange not in excluded]
            for exchange in not_accepted:
                result = self.result(exchange, exchange.context)
                if result is not None:  # otherwise the exchange was sent again
                    finished.append(exchange)
                    results.append(result)
        for exchange, result in zip(finished, results, strict=True):
            try:  # noqa: SIM105  # for each push: cheaper than to ask first
                exchange.waiter.set_result(result)
            except asyncio.InvalidStateError:
                pass  # its caller was cancelled
        if self._events.listening and results:
            start = self._loop.time() + self.timeout
            self._events.durations(self.provider, [start - exchange.deadline for exchange in finished])
            self._events.results(self.provider, results)

    def tell(self, result: Result, started: float) -> None:
        """Pass a result that did not come through `_settle` to the listeners. `started`: by the loop's clock."""
        if self._events.listening:
            if result.attempts:
                self._events.durations(self.provider, [self.loop.time() - started])
            self._events.results(self.provider, [result])

    def accept(self, finished: list[Exchange], results: list[Result]) -> list[Exchange]:
        """Append the result of each accepted exchange, in order; returns those that were not accepted, for `result`.

        Called for every push, so a batch of them costs one call. Here nothing is accepted.

        Args:
            finished: at least one exchange, all of one connection.
            results: of the accepted ones.
        """
        return finished

    @abstractmethod
    def result(self, exchange: Exchange, push: Any) -> Result | None:
        """The result of `push`, whose finished exchange this is; None when it was sent again."""

    @abstractmethod
    def _authorize(self, link: Link) -> bool | None:
        """Give a connection its authorization before requests are sent on it; False keeps them queued."""
