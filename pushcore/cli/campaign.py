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

from ..apns.client import ApnsClient
from ..apns.reasons import REASONS
from ..engine.collector import relax_collector
from ..engine.engine import PushEngine
from ..errors import AlpnError, CertificateError
from ..results import Result, Verdict
from .audience import Audience
from .problems import INCOMPLETE, OK, STOPPED, explain, printable
from .progress import ProgressLine
from .report import Report
from .rows import Rows, WaitingRows

ENOUGH: Final = 20
"""So many results in a row that blame key, topic or environment, and not one push accepted: the rest would fail too."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

FLUSH_EVERY: Final = 0.5
"""Seconds between two writes of results, unless there are many."""


class ConfigurationWatch:
    """Finds out whether it is the configuration that makes everything fail. `take` sees all that is not accepted."""

    def __init__(self) -> None:
        self.cause: Result | None = None
        """The last result that blamed the configuration."""
        self._in_a_row = 0
        self._others = False

    def take(self, result: Result) -> bool:
        """True when there were enough in a row."""
        if result.verdict is Verdict.MISCONFIGURED or isinstance(result.detail, CertificateError | AlpnError):
            self.cause = result
            self._in_a_row += 1
            return self._in_a_row >= ENOUGH
        if result.attempts or result.verdict is not Verdict.INVALID:  # else we found it out ourselves
            self._in_a_row = 0
            self._others = True
        return False

    @property
    def alone(self) -> bool:
        """Whether all that was tried failed by the configuration."""
        return self.cause is not None and not self._others

    def explain(self) -> str:
        """Why, in one sentence."""
        assert self.cause is not None
        row = REASONS.get(self.cause.reason or "")
        words = [self.cause.reason or self.cause.verdict.value]
        if self.cause.detail is not None:
            words.append(str(self.cause.detail))
        if row is not None:
            words.append(row.advice.removesuffix("."))
        return printable(": ".join(words), 400)


class Campaign:
    """Sends an audience through a client into a report. `run()` gives the exit status, and needs the main thread.

    `quiet`: neither progress nor summary. `on_abort`: called before a second signal ends the process at once.
    After `run()`: `seconds` that it took.
    """

    def __init__(
        self,
        client: ApnsClient,
        audience: Audience,
        rows: Rows,
        report: Report,
        *,
        window: int | None = None,
        quiet: bool = False,
        on_abort: Callable[[], object] = lambda: None,
    ) -> None:
        self.seconds = 0.0
        self._client = client
        self._audience = audience
        self._rows = rows
        self._report = report
        self._window = window
        self._quiet = quiet
        self._on_abort = on_abort
        self._watch = ConfigurationWatch()
        self._signalled = False
        self._misconfigured = False
        self._source: Rows | WaitingRows = rows

    def run(self) -> int:
        """Send everything, write the results and the summary."""
        engine = PushEngine(self._client, window=self._window)
        problem: str | None = None
        log = _Complaints()
        logger = logging.getLogger("pushcore")
        logger.addHandler(log)
        relax_collector()
        started = time.monotonic()
        handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(self._send(engine))
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

    async def _send(self, engine: PushEngine) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, self._on_signal)
        line = ProgressLine(self._audience, self._report, wanted=not self._quiet)
        tasks = [asyncio.create_task(line.run()), asyncio.create_task(self._flush_often())]
        take, report = self._report.take, self._report
        self._source = self._rows if self._audience.size is not None else WaitingRows(self._rows)
        try:
            async with engine:
                results = engine.send_many(self._source)
                async with contextlib.aclosing(results):
                    async for result in results:
                        if not take(result) and self._watch.take(result) and not report.accepted:
                            self._misconfigured = True
                            self._source.stop()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

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
        self._source.stop()

    def _abort(self) -> None:
        """Leave now. What waits for answers cannot be asked to hurry, so nothing is asked."""
        with contextlib.suppress(OSError, ValueError):
            self._report.flush()
        self._on_abort()
        click.echo("pushcore: stopped; what was not answered has no result", err=True)
        os._exit(INCOMPLETE)

    def _conclude(self, problem: str | None) -> int:
        report, taken = self._report, self._rows.taken
        if not self._quiet:
            for text in report.summary(self.seconds):
                click.echo(text, err=True)
        if problem is not None:
            click.echo(f"pushcore: {problem}; rows that are not in {report.name} have no result", err=True)
            return INCOMPLETE
        if self._misconfigured or (self._watch.alone and not report.accepted):
            rest = f"; rows after {taken} were not read" if self._misconfigured else ""
            click.echo(
                f"pushcore: stopped, for every push would fail: {self._watch.explain()}{rest}", err=True
            )
            return STOPPED
        if self._signalled:
            click.echo(f"pushcore: stopped by a signal; rows after {taken} have no result", err=True)
            return INCOMPLETE
        if report.total != taken:
            click.echo(f"pushcore: {taken - report.total} rows have no result: please report it", err=True)
            return INCOMPLETE
        return OK


class _Complaints(logging.Handler):
    """Shows the transport's warnings, each once: what cannot be reached is tried again and again."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self._seen and len(self._seen) < 20:
            self._seen.add(text)
            click.echo(f"pushcore: {printable(text, 300)}", err=True)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop
