"""Many requests from one source, with limits of concurrency and rate, and their results in order of completion."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any

from ..errors import ClosedError
from ..http2.exchange import Exchange, Sink
from ..http2.pool import Pool
from ..results import Result
from .change_rate import ChangeRateLimiter

BURST = 64
"""Items that are taken from the source before the event loop gets its turn."""

Build = Callable[[Any, Sink], tuple[Exchange | None, list[Result]]]
"""Turns an item of the source into a request with this sink, or results without a request, or both."""
Finish = Callable[[Exchange], list[Result] | None]
"""The results of a finished request; None when it was sent again."""


class FanOut:
    """One run. `weigh(item)`: how many changes an item counts for the rate limit; `opened()`: whether the pool can send;
    `check_loop()` raises on another event loop than the pool's.

    The source is read no further than `concurrency` requests ahead, and not while as many results are not consumed.
    """

    def __init__(
        self,
        pool: Pool,
        build: Build,
        finish: Finish,
        *,
        limiter: ChangeRateLimiter,
        concurrency: int,
        opened: Callable[[], bool],
        check_loop: Callable[[], None],
        weigh: Callable[[Any], int] = lambda item: 1,
    ) -> None:
        self._pool = pool
        self._build = build
        self._sink = self._settle  # bound once
        self._finish = finish
        self._limiter = limiter
        self._concurrency = concurrency
        self._opened = opened
        self._check_loop = check_loop
        self._weigh = weigh
        self._in_flight: dict[Exchange, None] = {}
        self._ready: deque[Result] = deque()
        self._source_ended = False
        self._error: BaseException | None = None
        self._feeder_waits: asyncio.Future[None] | None = None
        self._reader_waits: asyncio.Future[None] | None = None

    async def run(self, source: AsyncGenerator[Any, None]) -> AsyncGenerator[Result, None]:
        """The results, in order of completion; an error of the source follows the last of them."""
        self._check_loop()
        ready = self._ready
        feeder = asyncio.create_task(self._feed(source), name="pushcore topics")
        try:
            while True:
                while ready:
                    yield ready.popleft()
                    _wake(self._feeder_waits)
                if self._source_ended and not self._in_flight:
                    break
                self._reader_waits = asyncio.get_running_loop().create_future()
                await self._reader_waits
            if self._error is not None:
                raise self._error
        finally:
            feeder.cancel()
            for exchange in list(self._in_flight):
                self._pool.cancel(exchange)
            self._in_flight.clear()
            await asyncio.gather(feeder, return_exceptions=True)

    async def _feed(self, source: AsyncGenerator[Any, None]) -> None:
        items_left = BURST
        try:
            async with contextlib.aclosing(source):
                async for item in source:
                    await self._wait_for_rate(self._weigh(item))
                    if not self._opened():
                        raise ClosedError("the client was closed")
                    self._start(item)
                    await self._wait_for_capacity()
                    items_left -= 1
                    if not items_left:
                        items_left = BURST
                        await asyncio.sleep(0)
        except Exception as error:
            self._error = error
        finally:
            self._source_ended = True
            _wake(self._reader_waits)

    def _start(self, item: Any) -> None:
        exchange, results = self._build(item, self._sink)
        if exchange is not None:
            self._in_flight[exchange] = None
            self._pool.submit(exchange)
        if results:
            self._ready.extend(results)
            _wake(self._reader_waits)

    async def _wait_for_rate(self, changes: int) -> None:
        while True:
            seconds = self._limiter.wait(changes)
            if not seconds:
                return
            await asyncio.sleep(seconds)

    async def _wait_for_capacity(self) -> None:
        while len(self._in_flight) >= self._concurrency or len(self._ready) >= self._concurrency:
            self._feeder_waits = asyncio.get_running_loop().create_future()
            await self._feeder_waits

    def _settle(self, finished: list[Exchange]) -> None:
        for exchange in finished:
            results = self._finish(exchange)
            if results is not None:
                self._in_flight.pop(exchange, None)
                self._ready.extend(results)
                _wake(self._feeder_waits)
                _wake(self._reader_waits)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
