"""`--processes N`: the rows are divided among child processes; the parent draws the progress and stops the children.

    parent ── orders ───▶ child      one byte: start.  End of the pipe (the parent closes it, or dies): stop and drain
    parent ◀── messages ── child     lines of JSON: ready, progress, notices for the operator, the end

Children are forks: they have the keys, passwords and payloads that the parent has read. Ctrl-C reaches all processes of a
terminal, and a service manager may signal each of them. So a child only drains, however often it is signalled, and only the
parent reacts to a second signal. Nothing is sent before all children are ready.

Rate limit and breaker are in shared memory (`engine.shared`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from ...audience.audience import Audience
from ...audience.problems import BadInput, explain, printable
from ...engine.shared import SharedState
from ...errors import ConfigurationError, JournalError
from ...metrics import Listener, Metrics, merge
from ..process.memory import shortage
from ..report.notices import MAX_COMPLAINTS, say, served
from ..report.output import text_of
from ..report.progress import ProgressLine, RunProgress
from ..report.results_file import ResultCounter, ResultsFile, ResultSink
from ..report.shared_output import SharedOutput
from ..report.tally import ResultCounts
from ..statuses import INCOMPLETE
from .campaign import ABORTED, ABORTED_JOURNAL, HANGUP, STOPPING, drain_signals, warn
from .exit_report import ExitReport
from .run_plan import RunPlan

TELL_EVERY: Final = 0.25
"""Seconds between two messages of a child."""
FAILED: Final = (
    "a process has failed; the others send nothing more and wait for responses to requests in flight"
)
_GO: Final = b"g"
_READ: Final = 64 * 1024


# --- the child's side -------------------------------------------------------------------------------------------------


class StartRefusedError(Exception):
    """The parent has closed the pipe before the start: nothing must be sent."""


class SupervisorPipe:
    """The pipes of a child to its parent; a `campaign.Supervisor`."""

    def __init__(self, messages: int, orders: int) -> None:
        self._messages, self._orders = messages, orders
        self._said: list[str] = []
        self._unwritten = b""

    def say(self, text: str) -> None:
        """Send a notice for the operator."""
        self._said.append(text)

    def ready(self) -> None:
        """Wait until the parent starts this child. Raises `StartRefusedError`."""
        self.send_final({"ready": True})
        if os.read(self._orders, 1) != _GO:
            raise StartRefusedError

    def watch(self, stop: Callable[[], None]) -> None:
        """Call `stop` when the parent closes the pipe or ends."""
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(self._orders)
            stop()

        loop.add_reader(self._orders, ended)

    async def run(self, progress: Callable[[], RunProgress], listener: Listener) -> None:
        """Send the progress until cancelled."""
        os.set_blocking(self._messages, False)
        while True:
            await asyncio.sleep(TELL_EVERY)
            if self._unwritten:
                self._write(b"")
            if self._unwritten:
                continue  # the parent does not read at present
            said, self._said = self._said, []
            numbers = listener.snapshot() if isinstance(listener, Metrics) else None
            self._write(_line({"seen": progress(), "said": said, "metrics": numbers}))

    def _write(self, data: bytes) -> None:
        data = self._unwritten + data
        try:
            data = data[os.write(self._messages, data) :]
        except BlockingIOError:
            pass
        except OSError:
            data = b""  # the parent has ended, which the other pipe reports
        self._unwritten = data

    def send_final(self, message: dict[str, Any]) -> None:
        """Send the last message, and wait until it is written."""
        os.set_blocking(self._messages, True)
        self._write(_line({"said": self._said, **message}))
        self._said = []
        while self._unwritten:
            self._write(b"")


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _serve(
    plan: RunPlan, number: int, pipe: SupervisorPipe, shared: Mapping[str, SharedState], sink: ResultSink
) -> None:
    """The main function of a child."""
    try:
        with Audience(plan.audience) as source:
            report = plan.send(source, sink, number, ready=pipe.ready, shared=shared, parent=pipe)
    except StartRefusedError:
        return
    except (BadInput, ConfigurationError, JournalError) as error:
        pipe.send_final({"refused": str(error)})
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        pipe.send_final({"refused": f"a process cannot start ({where}{explain(error)})"})
    except BaseException as error:
        text = shortage(error) or f"internal failure, please report it: {type(error).__name__}: {error}"
        pipe.send_final({"refused": text})
    else:
        pipe.send_final({"ending": asdict(report), "counts": sink.counts.packed()})


# --- the parent's side ------------------------------------------------------------------------------------------------


class ChildProcess:
    """The parent's side of a child."""

    def __init__(self, number: int, pid: int, messages: int, orders: int) -> None:
        self.number, self.pid, self.messages, self._orders = number, pid, messages, orders
        self.progress = RunProgress(0, 0, 0, 0)
        self.metrics: dict[str, Any] | None = None
        self.ready = False
        self.refused: str | None = None
        self.report: ExitReport | None = None
        self.counts: Any = None
        self.problem: str | None = None
        """How its process ended, if there was an error."""
        self._incomplete = b""

    def read_messages(self) -> list[dict[str, Any]] | None:
        """The messages that have arrived; None after the end."""
        data = os.read(self.messages, _READ)
        if not data:
            return None
        *lines, self._incomplete = (self._incomplete + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def go(self) -> None:
        """Start sending."""
        with contextlib.suppress(OSError):
            os.write(self._orders, _GO)

    def stop(self) -> None:
        """Make it drain; before the start, make it end."""
        if self._orders >= 0:
            os.close(self._orders)
            self._orders = -1

    def wait(self) -> None:
        """Wait for its end."""
        os.close(self.messages)
        self.stop()
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code and self.report is None:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
            self.problem = f"the process {self.number + 1} (pid {self.pid}) {how}"

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class ChildProcesses:
    """The processes of a job. `output`: the open file for their results, None if the results are in journals."""

    def __init__(self, plan: RunPlan, output: int | None = None) -> None:
        self._plan = plan
        self._output = output
        self._children: list[ChildProcess] = []
        self._running: set[ChildProcess] = set()
        self._signalled = False
        self._said: set[str] = set()
        self._go: Callable[[], None] | None = None
        self._size: int | None = None

    def run(self, total: ResultCounts, ready: Callable[[], object] = lambda: None) -> ExitReport:
        """Send everything, and add all counts to `total`. `ready`: called before anything is sent.

        Raises:
            BadInput: a child could not start; nothing was sent.
            KeyboardInterrupt: it was interrupted before the start.
        """
        warn(self._plan.sending, self._plan.clients, quiet=self._plan.quiet)
        with Audience(self._plan.audience) as source:
            self._size = source.size
        handlers = {number: signal.getsignal(number) for number in drain_signals()}
        with ExitStack() as stack:
            for number, handler in handlers.items():
                stack.callback(signal.signal, number, handler)
            # If the parent of this process ignores it, the system forgets how a child has ended, and waiting for one fails.
            stack.callback(signal.signal, signal.SIGCHLD, signal.signal(signal.SIGCHLD, signal.SIG_DFL))
            directory = tempfile.TemporaryDirectory(prefix="pushcore-")
            path = stack.enter_context(directory)
            count = self._plan.processes
            shared = {name: SharedState.create(Path(path) / name, count) for name in self._plan.clients}
            for state in shared.values():
                stack.callback(state.close)
            lock = stack.enter_context(open(Path(path) / "lock", "wb"))
            stack.callback(self._kill_all)
            for place in range(count):
                try:
                    self._start(place, shared, lock.fileno())
                except OSError as error:
                    raise BadInput(
                        f"a process cannot be started ({explain(error)}); nothing was sent"
                    ) from None
            directory.cleanup()  # all processes have the files open, and no other process needs them
            port = self._plan.sending.metrics_port
            if port is not None:
                stack.enter_context(served(self._metrics, port, quiet=self._plan.quiet))
            started = time.monotonic()
            asyncio.run(self._watch(ready))
            return self._total(total, time.monotonic() - started)

    def _start(self, number: int, shared: Mapping[str, SharedState], lock: int) -> None:
        reads, writes = os.pipe()
        orders, gives_orders = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            os.close(writes)
            os.close(orders)
            child = ChildProcess(number, pid, reads, gives_orders)
            self._children.append(child)
            self._running.add(child)
            return
        status = INCOMPLETE
        try:
            for ignored in drain_signals():
                signal.signal(ignored, signal.SIG_IGN)  # until there is something to drain
            os.close(reads)
            os.close(gives_orders)
            for child in self._children:  # otherwise their pipes would stay open after the parent's end
                os.close(child.messages)
                child.stop()
            sink: ResultSink = ResultCounter("")
            if self._output is not None:
                file = text_of(SharedOutput(self._output, lock))
                sink = ResultsFile(file, "the results", header=False, raw=self._plan.results_raw)
            _serve(self._plan, number, SupervisorPipe(writes, orders), shared, sink)
            status = 0
        finally:
            os._exit(status)

    def _metrics(self) -> dict[str, Any]:
        return merge([child.metrics for child in self._children if child.metrics is not None])

    # --- watching ---------------------------------------------------------------------------------------------------------

    async def _watch(self, ready: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        for number in drain_signals():
            loop.add_signal_handler(number, self._on_signal, number)
        ended = loop.create_future()
        for child in self._children:
            loop.add_reader(child.messages, self._on_readable, child, ended)

        failed: list[Exception] = []

        def go() -> None:
            try:
                ready()
            except Exception as error:
                failed.append(error)  # raised after the children have ended
                self._stop()
                return
            for child in self._children:
                child.go()

        self._go = go
        line = asyncio.create_task(
            ProgressLine(self._size, self._progress, wanted=not self._plan.quiet).run()
        )
        try:
            await ended
        finally:
            line.cancel()
            await asyncio.gather(line, return_exceptions=True)
        if failed:
            raise failed[0]

    def _on_readable(self, child: ChildProcess, ended: asyncio.Future[None]) -> None:
        messages = child.read_messages()
        if messages is None:
            asyncio.get_running_loop().remove_reader(child.messages)
            self._running.discard(child)
            child.wait()
            if self._go is not None:
                self._stop()  # before all were ready: none starts
            if not self._running and not ended.done():
                ended.set_result(None)
            return
        for message in messages:
            self._on_message(child, message)

    def _on_message(self, child: ChildProcess, message: dict[str, Any]) -> None:
        for text in message.get("said", ()):
            # Each of them has the same to say.
            if text not in self._said and len(self._said) < MAX_COMPLAINTS:
                self._said.add(text)
                say(text)
        child.ready = child.ready or "ready" in message
        child.refused = message.get("refused", child.refused)
        child.metrics = message.get("metrics") or child.metrics
        if "seen" in message:
            child.progress = RunProgress(*message["seen"])
        if "ending" in message:
            child.report, child.counts = ExitReport(**message["ending"]), message["counts"]
            if child.report.problem is not None and len(self._running) > 1:
                # Its rows have to be sent by another run anyway, and what has ended it may end the others, too.
                say(FAILED)
                self._stop()
        if self._go is not None and not self._signalled and all(child.ready for child in self._children):
            go, self._go = self._go, None
            go()

    def _progress(self) -> RunProgress:
        position, total, accepted, put_off = (
            sum(numbers) for numbers in zip(*(c.progress for c in self._children), strict=True)
        )
        return RunProgress(position // len(self._children), total, accepted, put_off)

    def _stop(self) -> None:
        for child in self._children:
            child.stop()

    def _on_signal(self, number: int) -> None:
        if not self._signalled:
            self._signalled = True
            self._stop()
            say(STOPPING)
        elif number != HANGUP:  # a shell repeats SIGHUP
            self._kill_all()
            say(ABORTED if self._plan.journals is None else ABORTED_JOURNAL)
            os._exit(INCOMPLETE)

    def _kill_all(self) -> None:
        """End all children, whatever has happened."""
        for child in self._running:
            child.kill()
        for child in self._running:
            child.wait()
        self._running.clear()

    def _total(self, total: ResultCounts, seconds: float) -> ExitReport:
        if self._go is not None:  # it was never given
            for child in self._children:
                if child.refused or child.problem:
                    raise BadInput(child.refused or f"{child.problem}; nothing was sent")
            raise KeyboardInterrupt
        report = ExitReport(seconds=seconds, ended=True)  # whether a signal mattered, they say
        for child in self._children:
            if child.report is None:
                problem = child.problem or child.refused
                report.add(ExitReport(problem=None if problem is None else printable(problem)))
            else:
                total.add(*child.counts)
                report.add(child.report)
        return report
