"""Many requests from one source, so many at a time and so many a second, and their results as they come."""

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
from .pace import ChangeRateLimiter

BURST = 64
"""Items that are taken from the source before the event loop gets its turn."""

Build = Callable[[Any, Sink], tuple[Exchange | None, list[Result]]]
"""Makes an item of the source a request with this sink, or results without one, or both."""
Finish = Callable[[Exchange], list[Result] | None]
"""What came of a request; None when it was sent once more."""


class FanOut:
    """One run. `weigh(item)` says how many changes an item is for the pace; `opened()` whether the pool takes anything,
    `check_loop()` raises on another event loop than the pool's.

    The source is read no further than `concurrency` requests ahead, and not while so many results are not taken.
    """

    def __init__(
        self,
        pool: Pool,
        build: Build,
        finish: Finish,
        *,
        pace: ChangeRateLimiter,
        concurrency: int,
        opened: Callable[[], bool],
        check_loop: Callable[[], None],
        weigh: Callable[[Any], int] = lambda item: 1,
    ) -> None:
        self._pool = pool
        self._build = build
        self._sink = self._settle  # bound once
        self._finish = finish
        self._pace = pace
        self._concurrency = concurrency
        self._opened = opened
        self._check_loop = check_loop
        self._weigh = weigh
        self._open: dict[Exchange, None] = {}
        self._ready: deque[Result] = deque()
        self._fed = False
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
                if self._fed and not self._open:
                    break
                self._reader_waits = asyncio.get_running_loop().create_future()
                await self._reader_waits
            if self._error is not None:
                raise self._error
        finally:
            feeder.cancel()
            for exchange in list(self._open):
                self._pool.cancel(exchange)
            self._open.clear()
            await asyncio.gather(feeder, return_exceptions=True)

    async def _feed(self, source: AsyncGenerator[Any, None]) -> None:
        left = BURST
        try:
            async with contextlib.aclosing(source):
                async for item in source:
                    await self._turn(self._weigh(item))
                    if not self._opened():
                        raise ClosedError("the client was closed")
                    self._start(item)
                    await self._room()
                    left -= 1
                    if not left:
                        left = BURST
                        await asyncio.sleep(0)
        except Exception as error:
            self._error = error
        finally:
            self._fed = True
            _wake(self._reader_waits)

    def _start(self, item: Any) -> None:
        exchange, results = self._build(item, self._sink)
        if exchange is not None:
            self._open[exchange] = None
            self._pool.submit(exchange)
        if results:
            self._ready.extend(results)
            _wake(self._reader_waits)

    async def _turn(self, changes: int) -> None:
        while True:
            seconds = self._pace.wait(changes)
            if not seconds:
                return
            await asyncio.sleep(seconds)

    async def _room(self) -> None:
        while len(self._open) >= self._concurrency or len(self._ready) >= self._concurrency:
            self._feeder_waits = asyncio.get_running_loop().create_future()
            await self._feeder_waits

    def _settle(self, finished: list[Exchange]) -> None:
        for exchange in finished:
            results = self._finish(exchange)
            if results is not None:
                self._open.pop(exchange, None)
                self._ready.extend(results)
                _wake(self._feeder_waits)
                _wake(self._reader_waits)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
