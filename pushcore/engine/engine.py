"""`PushEngine`: sends any number of pushes with a bounded number at a time.

Two parties work on one `_Run`, and each only waits for the other:

    source ──▶ feeder task ──▶ pool … sink ──▶ ready ──▶ send_many, the caller's `async for`

The feeder stops reading the source when `window` pushes are between the two arrows' ends (taken from the source and
not yet handed to the caller), or when the pool has requests that no connection can take. So a slow provider and a slow
caller both stop the source, and memory depends on the window alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from types import TracebackType
from typing import Any, Final, cast

from ..apns.client import ApnsClient
from ..errors import ClosedError, ConfigurationError
from ..http2.exchange import Exchange
from ..models.apns import Notification
from ..results import Result

Push = Notification

BACKLOG: Final = 256
"""Requests that may wait in a pool before the source is read no further: what the next free streams take at once."""
BURST: Final = 256
"""Pushes read from the source before the event loop gets its turn."""
LARGEST_WINDOW: Final = 16_384
STREAMS: Final = 1000  # what APNs usually allows on a connection


class _Lane:
    """One run's use of one client: its sink is where that client's exchanges come back."""

    __slots__ = ("build", "pool", "ready", "result", "sink", "timeout", "waiting")

    def __init__(self, client: ApnsClient, ready: deque[Result]) -> None:
        self.build = client.requests.build
        self.pool = client.pool
        self.waiting = client.pool.waiting
        self.result = client.result
        self.timeout = client.timeout
        self.ready = ready
        self.sink = self.settle  # bound once, not for each push

    def settle(self, exchange: Exchange) -> None:
        """The sink."""
        result = self.result(exchange, exchange.context)
        if result is not None:  # else it was sent once more
            self.ready.append(result)


class _Run:
    """One `send_many`."""

    def __init__(self, clients: tuple[ApnsClient, ...], window: int) -> None:
        self.window = window
        self.ready: deque[Result] = deque()
        self.outstanding = 0
        """Taken from the source and not yet handed to the caller."""
        self.fed = False
        self.error: BaseException | None = None
        self.loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self.loop.create_future()
        self.lanes = {client.handles: _Lane(client, self.ready) for client in clients}
        self.feeder: asyncio.Task[None] | None = None
        self._feeder_waits: asyncio.Future[None] | None = None
        self._reader_waits: asyncio.Future[None] | None = None

    # --- waking -----------------------------------------------------------------------------------------------

    def on_batch(self) -> None:
        """The pool's listener: something was finished or taken. The feeder first, so that the wire does not idle."""
        self.wake_feeder()
        if self.ready:
            self.wake_reader()

    def wake_feeder(self) -> None:
        waiter = self._feeder_waits
        if waiter is not None and not waiter.done() and self.outstanding < self.window:
            waiter.set_result(None)

    def wake_reader(self) -> None:
        waiter = self._reader_waits
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def something_ready(self) -> None:
        """Wait until there is a result, or until there will be none any more."""
        if not self.ready and not (self.fed and not self.outstanding):
            self._reader_waits = self.loop.create_future()
            try:
                await self._reader_waits
            finally:
                self._reader_waits = None

    async def _room(self) -> None:
        """Let the loop turn; longer, until the window and the pools have room, where they have none."""
        self.wake_reader()
        if not self._full():
            await asyncio.sleep(0)
        while self._full():
            self._feeder_waits = self.loop.create_future()
            try:
                await self._feeder_waits
            finally:
                self._feeder_waits = None

    def _full(self) -> bool:
        return self.outstanding >= self.window or any(
            len(lane.waiting) >= BACKLOG for lane in self.lanes.values()
        )

    def stop(self, error: BaseException) -> None:
        """Read no more of the source; the caller gets what is in flight, and then the error."""
        self.error = self.error or error
        if self.feeder is not None:
            self.feeder.cancel()

    # --- feeding ----------------------------------------------------------------------------------------------

    async def feed(self, source: Iterable[Push] | AsyncIterable[Push]) -> None:
        """Read the source to its end. What it raises is kept for the caller, after the results."""
        try:
            if isinstance(source, AsyncIterable):
                await self._feed_async(source)
            else:
                await self._feed_plain(source)
        except Exception as error:
            self.error = error
        finally:
            self.fed = True
            self.wake_reader()

    async def _feed_plain(self, source: Iterable[Push]) -> None:
        pushes = iter(source)
        more = True
        while more:
            more = self._burst(pushes, min(BURST, self.window - self.outstanding))
            await self._room()

    def _burst(self, pushes: Iterator[Push], room: int) -> bool:
        """Take so many pushes from the source and hand them over; False when it has come to its end."""
        lanes, ready = self.lanes, self.ready
        now = self.loop.time()
        left = room
        kind: type | None = None
        try:
            for push in pushes:
                if type(push) is not kind:
                    lane = lanes.get(type(push)) or self._lane_of(push)
                    kind, build, sink, submit = type(push), lane.build, lane.sink, lane.waiting.append
                    deadline = now + lane.timeout
                built = build(push, sink, push, deadline)
                if type(built) is Exchange:
                    submit(built)
                else:
                    ready.append(cast(Result, built))
                left -= 1
                if not left:
                    return True
            return False
        finally:
            self.outstanding += room - left
            for lane in lanes.values():
                lane.pool.pump()

    async def _feed_async(self, source: AsyncIterable[Push]) -> None:
        async for push in source:
            self._burst(iter((push,)), 1)
            if self.ready:
                self.wake_reader()
            if self._full():
                await self._room()

    def _lane_of(self, push: object) -> _Lane:
        for kind, lane in self.lanes.items():
            if isinstance(push, kind):
                return lane
        known = ", ".join(kind.__name__ for kind in self.lanes)
        raise TypeError(f"this engine sends {known}, not {type(push).__name__}")


class PushEngine:
    """Sends streams of pushes through the clients it is given, a bounded number at a time.

    `window`: how many pushes may be between the source and the caller, None for twice what the connections of the
    clients can carry, 16 384 at most. Clients that are not open are opened by the engine, and closed with it.

    Raises `ConfigurationError` for no client, two clients for one kind of push, or a window below 1.
    """

    def __init__(self, *clients: ApnsClient, window: int | None = None) -> None:
        if not clients or len({client.handles for client in clients}) != len(clients):
            raise ConfigurationError(
                "an engine needs at least one client, and one only for each kind of push"
            )
        if window is None:
            window = min(2 * STREAMS * sum(client.max_connections for client in clients), LARGEST_WINDOW)
        if window < 1:
            raise ConfigurationError(f"the window must be at least 1, not {window}")
        self.window = window
        self._clients = clients
        self._opened: list[ApnsClient] = []
        self._generators: weakref.WeakSet[AsyncGenerator[Result, None]] = weakref.WeakSet()
        self._active: set[_Run] = set()
        self._open = False

    async def __aenter__(self) -> PushEngine:
        for client in self._clients:
            if not client.opened:
                await client.open()
                self._opened.append(client)
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End every `send_many` that was left early, then close the clients that this engine opened."""
        self._open = False
        for generator in list(self._generators):
            with contextlib.suppress(RuntimeError):  # it is running: somebody else is ending it
                await generator.aclose()
        for run in list(self._active):  # those that another task is iterating over
            run.stop(ClosedError("the engine was closed"))
            await run.ended
        opened, self._opened = self._opened, []
        for client in opened:
            await client.close()

    def send_many(self, source: Iterable[Push] | AsyncIterable[Push]) -> AsyncGenerator[Result, None]:
        """Send everything in `source` and yield one `Result` for each push, in order of completion.

        The source is read as fast as results are taken and the provider answers, never more than `window` ahead. An
        exception of the source is raised when all results of what it gave have been yielded. Leaving early (break,
        an exception, cancellation) stops the source and waits up to the clients' timeout for what is in flight.

        Raises:
            ClosedError: the engine is not open.
            TypeError: the source gave something that no client of this engine sends.
        """
        if not self._open:
            raise ClosedError("the engine is not open: use it in `async with`")
        generator = self._send_many(source)
        self._generators.add(generator)
        return generator

    async def _send_many(self, source: Iterable[Push] | AsyncIterable[Push]) -> AsyncGenerator[Result, None]:
        run = _Run(self._clients, self.window)
        ready = run.ready
        self._active.add(run)
        for client in self._clients:
            client.pool.listeners.append(run.on_batch)
        feeder = run.feeder = asyncio.create_task(run.feed(source), name="pushcore feeder")
        half = self.window // 2
        try:
            while True:
                while ready:
                    run.outstanding -= 1
                    if run.outstanding == half:
                        run.wake_feeder()
                    yield ready.popleft()
                if run.fed and not run.outstanding:
                    break
                run.wake_feeder()
                await run.something_ready()
            if run.error is not None:
                raise run.error
        finally:
            feeder.cancel()
            try:
                await asyncio.gather(feeder, return_exceptions=True)
                await self._settle(run)
            finally:  # even when a second cancellation cuts the waiting short
                for client in self._clients:
                    with contextlib.suppress(ClosedError, ValueError):
                        client.pool.listeners.remove(run.on_batch)
                self._active.discard(run)
                run.ended.set_result(None)

    async def _settle(self, run: _Run) -> None:
        """Wait for what is in flight after the caller has gone; the transport's timeout ends every one of them."""
        while run.outstanding > len(run.ready):
            waiter: asyncio.Future[Any] = run.loop.create_future()
            run._reader_waits = waiter
            await waiter
