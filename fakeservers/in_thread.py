"""A fake on a thread and an event loop of its own: for tests on any loop, or on none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, Self, TypeVar

F = TypeVar("F")
T = TypeVar("T")

STARTING = 30.0
"""Seconds until a fake must listen, and until it must have ended."""


class InThread(Generic[F]):
    """Runs a fake while its `with` block runs.

    Args:
        make: makes the fake; called on the thread, inside its loop.

    Raises:
        OSError: on entering, when the fake cannot listen.
    """

    fake: F
    """What `async with` gives, which is the fake itself. Its loop is on another thread: look at it, and change it, in a function given to `call`."""

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[F]]) -> None:
        self._make = make
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="fakeserver", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._ready.result(STARTING)
        except BaseException:
            self._thread.join(STARTING)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STARTING)

    def call(self, function: Callable[[], T]) -> T:
        """What `function()` gives or raises, called on the fake's thread between two of its requests."""
        if threading.current_thread() is self._thread:
            return function()
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(STARTING)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with self._make() as self.fake:
            self._ready.set_result(None)
            await self._stop.wait()
