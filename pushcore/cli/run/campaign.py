"""A run of one process, from audience to results: the common part of `pushcore send`, `resume` and `demo`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from ...audience.audience import Audience
from ...audience.problems import BadInput, explain, printable
from ...engine.collector import relax_collector
from ...engine.engine import PushEngine
from ...engine.rules import Shared, dispatcher_of
from ...errors import BreakerOpen, ClosedError, ConfigurationError, JournalError, TransportError
from ...metrics import Listener
from ...payloads.devices import FCM, NAMES
from ...payloads.rows import PipedRows, Rows
from ..process.memory import shortage
from ..report.notices import MeteredNotices, Notices, Say, listening, say, showing_warnings
from ..report.progress import ProgressLine, RunProgress
from ..report.results_file import ResultSink
from ..statuses import INCOMPLETE
from .client_options import CampaignClient, Clients
from .exit_report import ExitReport
from .journals import RowJournal
from .sending import UNLIMITED, SendingOptions

HANGUP: Final = getattr(signal, "SIGHUP", None)  # Windows has none
SIGNALS: Final = tuple(number for number in (signal.SIGINT, signal.SIGTERM, HANGUP) if number is not None)
"""The signals that drain a run."""
STOPPING: Final = (
    "stopping; waiting for responses to requests in flight (send the signal again to stop at once)"
)
OPEN_BEFORE: Final = 10.0
"""Seconds before `--start-at` at which connections are opened; if they were opened earlier, they could be closed by then."""
READ_BEFORE: Final = 2.0
"""Seconds before `--start-at` at which the first rows become requests. If the process is killed in that time, their outcome is
unknown."""
FLUSH_EVERY: Final = 0.5
"""Seconds between two writes of results, unless there are many."""
_BAD_ROWS: Final = 4096
"""Consecutive bad rows after which the run waits for the journal; otherwise only pushes wait for it."""


class Supervisor(Protocol):
    """The parent of one of several processes: it draws the progress and stops the process."""

    def say(self, text: str) -> None: ...
    def watch(self, stop: Callable[[], None]) -> None: ...
    async def run(self, progress: Callable[[], RunProgress], listener: Listener) -> None: ...


class CampaignRun:
    """Sends an audience through clients, and passes the results to `sink`. `send()` must be called in the main thread.

    `clients`: by platform. If the breaker stops one of them, its rows are UNSENT from then on, and rows for the other provider
    are sent; without another provider the run ends. `journal`: records each row; closed at the end. `shared`: the state shared
    with other processes, by platform. `parent`: of one of several processes. `quiet`: no progress. `on_abort`: called before a
    second signal ends the process at once.
    """

    def __init__(
        self,
        clients: Clients,
        audience: Audience,
        rows: Rows,
        sink: ResultSink,
        sending: SendingOptions,
        *,
        journal: RowJournal | None = None,
        shared: Mapping[str, Shared] | None = None,
        parent: Supervisor | None = None,
        quiet: bool = False,
        on_abort: Callable[[], object] = lambda: None,
    ) -> None:
        self._clients = clients
        self._audience = audience
        self._rows = rows
        self._sink = sink
        self._sending = sending
        self._journal = journal
        self._shared = shared
        self._parent = parent
        self._quiet = quiet
        self._on_abort = on_abort
        self._say: Say = say if parent is None else parent.say
        self._notices = Notices(quiet=quiet, say=self._say)
        self._signalled = False
        self._early: int | None = None
        """The number of a signal that arrived before the event loop handled signals."""
        self._source: Rows | PipedRows = rows
        self._engine: PushEngine
        self._closing: asyncio.Task[None] | None = None
        self._told_to_stop = asyncio.Event()
        self._first_result = self._last_result = 0.0  # seconds after the start
        self._bad_rows = 0
        self._undelivered = 0
        """Rows that were not delivered when the signal arrived."""
        rows.on_bad = sink.bad_row if journal is None else self._on_bad_row
        if journal is not None:
            rows.on_end = journal.finish  # at once, so that the number of rows is known after a kill

    def send(self) -> ExitReport:
        """Send everything and write the results.

        Raises:
            BadInput: the options cannot work; nothing was sent.
        """
        problem: str | None = None
        # A KeyboardInterrupt during a callback of the garbage collector, or while the loop starts, would be lost.
        handlers = {number: signal.signal(number, self._keep_signal) for number in drain_signals()}
        started = time.monotonic()
        try:
            relax_collector()
            with (
                showing_warnings(self._say),
                self._listening() as listener,
                asyncio.Runner(loop_factory=loop_factory()) as runner,
            ):
                runner.run(self._send(listener))
        except BadInput:
            raise
        except (JournalError, ConfigurationError) as error:
            problem = printable(str(error))
        except OSError as error:
            where = f"{printable(str(error.filename))}: " if error.filename else ""
            problem = f"the run was cut short ({where}{printable(explain(error))})"
        except Exception as error:
            short = shortage(error)
            problem = (
                f"the run was cut short by an internal failure ({type(error).__name__}: {printable(str(error), 200)})"
                if short is None
                else f"the run was cut short: {short}"
            )
        finally:
            for number in handlers:  # the loop has removed its handlers, and the rest must still be written
                signal.signal(number, self._keep_signal)
            problem = self._close(problem)
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return self._conclude(time.monotonic() - started, problem)

    def _close(self, problem: str | None) -> str | None:
        """Close journal and results; returns the first problem."""
        if self._journal is not None:
            try:
                if self._rows.ended:
                    self._journal.finish()
                self._journal.close(self._why(problem))
            except JournalError as error:
                problem = problem or printable(str(error))
        try:
            self._sink.close()
        except OSError as error:
            problem = f"{self._sink.name} cannot be written ({explain(error)})"
        return problem

    def _why(self, problem: str | None) -> str | None:
        """The reason why the run ends before all rows are sent, for the journal."""
        trips = self._notices.trips
        if problem is None and trips:
            return "; ".join(
                f"every push to {NAMES[platform]} would fail: {trips[platform]}" for platform in trips
            )
        return problem or ("it was stopped by a signal or another process" if self._signalled else None)

    def _conclude(self, seconds: float, problem: str | None) -> ExitReport:
        source, rows = self._source, self._rows
        return ExitReport(
            seconds=seconds,
            rows=rows.shard.upto(source.taken),
            upto=source.taken,
            ended=source.ended,
            unserved=rows.unserved,
            signalled=self._signalled and not self._ended_anyway(),
            trips={
                platform: self._notices.trips[platform]
                for platform in self._clients
                if platform in self._notices.trips
            },
            problem=problem,
            first_result=self._first_result,
            last_result=self._last_result,
        )

    def _ended_anyway(self) -> bool:
        """Whether every row has the same result as without the signal, because it arrived too late to have an effect."""
        counts = self._sink.counts
        all_there = self._source.ended and counts.total == self._rows.shard.upto(self._source.taken)
        return all_there and counts.undelivered == self._undelivered

    @contextlib.contextmanager
    def _listening(self) -> Any:
        port = self._sending.metrics_port
        if port is not None and self._parent is not None:
            yield MeteredNotices(self._notices)  # for the parent
            return
        with listening(self._notices, port, quiet=self._quiet) as listener:
            yield listener

    async def _send(self, listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        self._engine = engine = PushEngine(
            *self._clients.all,
            retry=self._sending.policy(),
            window=self._sending.window,
            rate=self._sending.limit(),
            listener=listener,
            shared=self._shared,
            start_at=self._sending.start_at,
        )
        for number in drain_signals():
            try:
                loop.add_signal_handler(number, self._on_signal, number)
            except NotImplementedError:  # Windows
                signal.signal(number, signal.default_int_handler)
        if self._parent is None:
            line = ProgressLine(self._audience.size, self._progress, wanted=not self._quiet)
            tasks = [asyncio.create_task(line.run())]
        else:
            self._parent.watch(self._on_signal)
            tasks = [asyncio.create_task(self._parent.run(self._progress, listener))]
        tasks.append(asyncio.create_task(self._flush_often()))
        if self._audience.size is None:
            self._source = PipedRows(self._rows)
        try:
            start = self._sending.start_at
            if start is not None and self._parent is None and not self._quiet:
                self._say(f"everything is ready; waiting until {start.isoformat()}")
            await self._wait_until(OPEN_BEFORE)
            async with engine:
                if self._early is not None:
                    self._on_signal(self._early)
                if start is not None and self._closing is None:
                    await open_connections(self._clients)
                await self._wait_until(READ_BEFORE)
                await self._take_all(engine)
        finally:
            for task in tasks:
                task.cancel()
            closing = [self._closing] if self._closing is not None else []
            await asyncio.gather(*tasks, *closing, return_exceptions=True)

    async def _wait_until(self, before: float) -> None:
        """Wait until `before` seconds before the start, or for a signal."""
        start = self._sending.start_at
        if start is None or self._early is not None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(start.timestamp() - before - time.time()):
                await self._told_to_stop.wait()

    async def _take_all(self, engine: PushEngine) -> None:
        take = self._sink.take
        start = self._sending.start_at
        try:
            async with contextlib.aclosing(engine.send_many(self._source, journal=self._journal)) as results:
                async for result in results:
                    take(result)
                    if start is not None:
                        self._first_result = time.time() - start.timestamp()
                    break
                async for result in results:
                    take(result)
            if start is not None:
                self._last_result = time.time() - start.timestamp()
        except BreakerOpen:
            pass  # the notices have it
        except ClosedError:
            if self._closing is None:
                raise

    def _on_bad_row(self, *bad: Any) -> None:
        row, token, reason, platform, verdict = bad
        assert self._journal is not None
        if self._journal.note(row, token, platform, reason, verdict):
            self._sink.bad_row(*bad)
            self._bad_rows += 1
            if not self._bad_rows % _BAD_ROWS:
                self._journal.flush()

    def _progress(self) -> RunProgress:
        counts = self._sink.counts
        return RunProgress(self._audience.position, counts.total, counts.accepted, self._notices.put_off)

    def _end(self) -> None:
        """Send nothing more: requests in flight get their responses, rows that wait for a retry keep the result that they have."""
        self._source.stop()
        self._told_to_stop.set()
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._engine.close())

    async def _flush_often(self) -> None:
        """Write the results to the file regularly, so that a kill loses few of them."""
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            self._sink.flush()  # if it raises an error, the next write raises it, too

    def _keep_signal(self, number: int, frame: object) -> None:
        """Remember a signal that arrives before the event loop handles signals."""
        self._early = number

    def _on_signal(self, number: int | None = None) -> None:
        """Drain. `number`: of the signal, None if the parent stops this process."""
        first, self._signalled = not self._signalled, True
        if first:
            self._undelivered = self._sink.counts.undelivered
        # A child may get the signal from the terminal, from a service manager and from the parent, and a shell repeats the
        # SIGHUP of its terminal.
        if not first and self._parent is None and number != HANGUP:
            self._abort()
        self._end()
        if first and self._parent is None:
            say(STOPPING)

    def _abort(self) -> None:
        """End the process now, without waiting for responses."""
        with contextlib.suppress(OSError, ValueError):
            self._sink.flush()
        self._on_abort()
        say(ABORTED if self._journal is None else ABORTED_JOURNAL)
        os._exit(INCOMPLETE)


async def open_connections(clients: Clients) -> None:
    """Open all connections of the clients before the first push."""
    for client in clients.all:
        with contextlib.suppress(TransportError):  # the results of pushes will have the reason
            await dispatcher_of(client).pool.open_ahead(client.max_connections)


ABORTED: Final = "stopped; rows without a response have no result"
ABORTED_JOURNAL: Final = "stopped; rows without a response are in doubt; `pushcore resume` continues"


def drain_signals() -> tuple[signal.Signals, ...]:
    """`SIGNALS`, without a SIGHUP that is ignored, for example by `nohup`: it stays ignored."""
    return tuple(
        number for number in SIGNALS if number != HANGUP or signal.getsignal(number) is not signal.SIG_IGN
    )


def warn(sending: SendingOptions, clients: Mapping[str, CampaignClient], *, quiet: bool) -> None:
    """Print warnings before anything is sent."""
    if sending.unlimited and FCM in clients and not quiet:
        say(UNLIMITED)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """The factory for the event loop of a command."""
    try:
        import uvloop
    except ImportError:  # uvloop does not exist for Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop
