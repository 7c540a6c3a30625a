"""Tasks that talk to a queue, and how they are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, Final

AGAIN: Final = 0.05
"""Seconds until a task that has not ended is cancelled once more."""


async def end(tasks: Collection[asyncio.Future[Any]]) -> None:
    """Cancel them until they have ended; what they raised is lost.

    Once is not enough: both client libraries use `asyncio.wait_for`, which before Python 3.12 forgets a cancellation that
    arrives together with the answer (python/cpython#86296).
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)
