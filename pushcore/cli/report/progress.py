"""Progress on a terminal: one line, updated a few times per second. Nothing is drawn in a pipe."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from ..streams import is_blocked

EVERY: Final = 0.25
"""Seconds between two updates."""


class RunProgress(NamedTuple):
    """The progress of a run: bytes of the audience read, rows with a result, accepted rows, and retries."""

    position: int
    total: int
    accepted: int
    put_off: int


class ProgressLine:
    """Draws the progress of a run on the standard error, if that is a terminal and `wanted`.

    `size`: of the audience in bytes, None for a pipe. `look`: returns the progress.
    """

    def __init__(self, size: int | None, look: Callable[[], RunProgress], *, wanted: bool) -> None:
        self._look = look
        console = Console(stderr=True, markup=False, highlight=False, emoji=False)
        self._progress: Progress | None = None
        if wanted and sys.stderr.isatty():
            columns = [TextColumn("{task.description}", markup=False), TimeElapsedColumn()]
            if size:
                columns[:0] = [BarColumn(20), TaskProgressColumn()]
            # Without rich's own thread, which would compete with the event loop.
            self._progress = Progress(*columns, console=console, auto_refresh=False, transient=True)
            self._bar = self._progress.add_task("0 rows", total=size or None)

    async def run(self) -> None:
        """Draw until cancelled."""
        if self._progress is None:
            return
        then, before = time.monotonic(), 0
        with self._progress as progress:
            while True:
                await asyncio.sleep(EVERY)
                if is_blocked():
                    continue
                now, seen = time.monotonic(), self._look()
                total = seen.total
                rate = (total - before) / (now - then)
                then, before = now, total
                text = f"{total:,} rows, {rate:,.0f}/s, {seen.accepted:,} accepted, {total - seen.accepted:,} others"
                if seen.put_off:
                    text += f", {seen.put_off:,} repeats"
                progress.update(self._bar, completed=seen.position, description=text)
                progress.refresh()
