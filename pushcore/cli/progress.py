"""Progress on a terminal: one line that is drawn a few times a second, and nothing in a pipe."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from .audience import Audience
from .notices import Notices
from .report import Report

EVERY: Final = 0.25
"""Seconds between two drawings."""


class ProgressLine:
    """Draws how far a campaign has come on the standard error, if that is a terminal and `wanted`."""

    def __init__(self, audience: Audience, report: Report, notices: Notices, *, wanted: bool) -> None:
        self._audience = audience
        self._report = report
        self._notices = notices
        console = Console(stderr=True, markup=False, highlight=False, emoji=False)
        self._progress: Progress | None = None
        if wanted and sys.stderr.isatty():
            columns = [TextColumn("{task.description}", markup=False), TimeElapsedColumn()]
            if audience.size:
                columns[:0] = [BarColumn(20), TaskProgressColumn()]
            # No thread of rich's own: it would take turns with the event loop.
            self._progress = Progress(*columns, console=console, auto_refresh=False, transient=True)
            self._bar = self._progress.add_task("0 rows", total=audience.size or None)

    async def run(self) -> None:
        """Draw until cancelled."""
        if self._progress is None:
            return
        then, before = time.monotonic(), 0
        with self._progress as progress:
            while True:
                await asyncio.sleep(EVERY)
                now, total = time.monotonic(), self._report.total
                rate = (total - before) / (now - then)
                then, before = now, total
                accepted = self._report.accepted
                text = f"{total:,} rows, {rate:,.0f}/s, {accepted:,} accepted, {total - accepted:,} others"
                if self._notices.put_off:
                    text += f", {self._notices.put_off:,} repeats"
                progress.update(self._bar, completed=self._audience.position, description=text)
                progress.refresh()
