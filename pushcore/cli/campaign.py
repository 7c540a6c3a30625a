"""One run from audience to results: what `pushcore send` and `pushcore demo` have in common."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Final

import click

from ..engine.collector import relax_collector
from ..engine.engine import PushEngine
from ..errors import BreakerOpen, ClosedError
from ..metrics import Listener
from ..results import Result
from .apns_rows import ApnsRow
from .audience import Audience
from .breakers import Breakers
from .devices import APNS, FCM, NAMES
from .formats import CREDENTIALS
from .notices import Complaints, Notices, watching
from .problems import BAD_INPUT, INCOMPLETE, OK, STOPPED, BadInput, explain, printable
from .progress import ProgressLine
from .report import Report
from .rows import Rows, WaitingRows
from .sender import Client
from .sending import UNLIMITED, Sending

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

FLUSH_EVERY: Final = 0.5
"""Seconds between two writes of results, unless there are many."""


class Campaign:
    """Sends an audience through clients into a report. `run()` gives the exit status, and needs the main thread.

    `clients`: by platform. When it is the configuration of one of them that makes every push fail, its rows are UNSENT
    from then on and the others are sent; when there is no other, the run ends. `quiet`: neither progress nor summary;
    `summary`: False leaves out the latter alone. `on_abort`: called before a second signal ends the process at once.
    After `run()`: `seconds` that it took.
    """

    def __init__(
        self,
        clients: dict[str, Client],
        audience: Audience,
        rows: Rows,
        report: Report,
        sending: Sending,
        *,
        quiet: bool = False,
        summary: bool = True,
        on_abort: Callable[[], object] = lambda: None,
    ) -> None:
        self.seconds = 0.0
        self._clients = clients
        self._audience = audience
        self._rows = rows
        self._report = report
        self._sending = sending
        self._quiet = quiet
        self._summary = summary and not quiet
        self._on_abort = on_abort
        self._breakers = Breakers(clients)
        self._notices = Notices(quiet=quiet)
        self._signalled = False
        self._source: Rows | WaitingRows = rows
        self._engine: PushEngine
        self._ending: asyncio.Task[None] | None = None

    def run(self) -> int:
        """Send everything, write the results and the summary."""
        if self._sending.unlimited and FCM in self._clients and not self._quiet:
            click.echo(f"pushcore: {UNLIMITED}", err=True)
        problem: str | None = None
        log = Complaints()
        logger = logging.getLogger("pushcore")
        logger.addHandler(log)
        relax_collector()
        started = time.monotonic()
        handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        try:
            with (
                watching(self._notices, self._sending.metrics_port, quiet=self._quiet) as listener,
                asyncio.Runner(loop_factory=_loop_factory()) as runner,
            ):
                runner.run(self._send(listener))
        except BadInput:
            raise
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            problem = f"the run was cut short ({where}{printable(explain(error))})"
        except Exception as error:
            problem = f"the run was cut short by an internal failure ({type(error).__name__}: {printable(str(error), 200)})"
        finally:
            logger.removeHandler(log)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self.seconds = time.monotonic() - started
            try:
                self._report.close()
            except OSError as error:
                problem = f"{self._report.name} cannot be written ({explain(error)})"
        return self._conclude(problem)

    async def _send(self, listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        self._engine = engine = PushEngine(
            *self._clients.values(),
            retry=self._sending.policy(),
            window=self._sending.window,
            rate=self._sending.limit(),
            breaker=self._breakers.engine_has_one,
            listener=listener,
        )
        for number in _SIGNALS:
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, self._on_signal)
        line = ProgressLine(self._audience, self._report, self._notices, wanted=not self._quiet)
        tasks = [asyncio.create_task(line.run()), asyncio.create_task(self._flush_often())]
        if self._audience.size is None:
            self._source = WaitingRows(self._rows)
        try:
            async with engine:
                await self._take_all(engine, listener)
        finally:
            for task in tasks:
                task.cancel()
            ending = [self._ending] if self._ending is not None else []
            await asyncio.gather(*tasks, *ending, return_exceptions=True)

    async def _take_all(self, engine: PushEngine, listener: Listener) -> None:
        take = self._report.take
        try:
            async with contextlib.aclosing(engine.send_many(self._source)) as results:
                async for result in results:
                    if not take(result):
                        self._look_at(result, listener)
        except BreakerOpen as error:
            self._breakers.opened(error)
        except ClosedError:
            if self._ending is None:
                raise

    def _look_at(self, result: Result, listener: Listener) -> None:
        """Whether to go on after a push that was not accepted."""
        platform = APNS if type(result.push) is ApnsRow else FCM
        trip = self._breakers.take(platform, result, self._report.tallies[platform].accepted)
        if trip is None:
            return
        listener.breaker_opened(platform, trip.sentence)
        if self._breakers.all_open:
            self._end()
        else:
            self._rows.close(
                platform, f"not sent, for every push to {NAMES[platform]} would fail: {trip.sentence}"
            )

    def _end(self) -> None:
        """Begin nothing more: what is in flight gets its answers, what waits for its turn the result that it has."""
        self._source.stop()
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._engine.close())

    async def _flush_often(self) -> None:
        """Have the results in the file soon, should nobody be there to write them later."""
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            self._report.flush()  # what it raises, the next write raises as well

    def _on_signal(self) -> None:
        if self._signalled:
            self._abort()
        self._signalled = True
        click.echo(
            "pushcore: stopping; waiting for the answers to what has been sent (once more to stop at once)",
            err=True,
        )
        self._end()

    def _abort(self) -> None:
        """Leave now. What waits for answers cannot be asked to hurry, so nothing is asked."""
        with contextlib.suppress(OSError, ValueError):
            self._report.flush()
        self._on_abort()
        click.echo("pushcore: stopped; what was not answered has no result", err=True)
        os._exit(INCOMPLETE)

    def _conclude(self, problem: str | None) -> int:
        report, taken = self._report, self._source.taken
        if self._summary:
            for text in report.summary(self.seconds):
                click.echo(text, err=True)
        if problem is not None:
            click.echo(f"pushcore: {problem}; rows that are not in {report.name} have no result", err=True)
            return INCOMPLETE
        rest = "" if self._source.ended else f"; rows after {taken} were not read"
        for platform in self._clients:
            self._breakers.conclude(platform, report.tallies[platform].accepted)
        for platform, trip in self._breakers.trips.items():
            where = f" to {NAMES[platform]}" if len(self._clients) > 1 else ""
            click.echo(
                f"pushcore: stopped, for every push{where} would fail: {printable(trip.sentence)}"
                f"{rest if self._breakers.all_open else ''}",
                err=True,
            )
        if self._breakers.trips:
            return STOPPED
        if self._signalled:
            click.echo(f"pushcore: stopped by a signal; rows after {taken} have no result", err=True)
            return INCOMPLETE
        if report.total != taken:
            click.echo(f"pushcore: {taken - report.total} rows have no result: please report it", err=True)
            return INCOMPLETE
        if taken and self._rows.unserved == taken:
            (missing,) = {APNS, FCM} - self._clients.keys()
            click.echo(
                f"pushcore: no row could be sent: all are of {NAMES[missing]}, which needs {CREDENTIALS[missing]}",
                err=True,
            )
            return BAD_INPUT
        return OK


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop
