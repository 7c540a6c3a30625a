"""How tasks that use a queue are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, Final

AGAIN: Final = 0.05
"""Seconds until a task that has not ended is cancelled again."""


async def end(tasks: Collection[asyncio.Future[Any]]) -> None:
    """Cancel tasks until they have ended; their exceptions are ignored.

    One cancellation is not enough: both client libraries use `asyncio.wait_for`, which loses a cancellation that arrives
    together with the response before Python 3.12 (python/cpython#86296).
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)
