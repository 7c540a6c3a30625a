"""`--processes N`: the rows are divided among child processes; this one draws the progress and says when to stop.

    parent ── orders ──▶ child       one byte: go.  The end of the pipe, by the parent's will or its death: stop, and drain
    parent ◀── told ──── child       lines of JSON: ready, how far it is, what the operator should know, how it ended

Children are forks: they have the keys, passwords and payloads that were read, from wherever. Ctrl-C goes to all of a
terminal's processes, and a service manager may signal each of them: a child drains however often it is told so, and only
the parent knows what a second signal means. Nothing is sent before all children are ready.

Rate and breaker are shared, in memory that all of them have (`engine.shared`).
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
from ...audience.problems import BadInput, printable
from ...engine.shared import SharedState
from ...errors import ConfigurationError, JournalError
from ...metrics import Listener, Metrics, merge
from ..report.notices import MAX_COMPLAINTS, say, served
from ..report.output import text_of
from ..report.progress import ProgressLine, Seen
from ..report.results_file import Counter, Report, Taker
from ..report.shared_output import SharedOutput
from ..report.tally import Counts
from ..statuses import INCOMPLETE
from .campaign import ABORTED, ABORTED_JOURNAL, SIGNALS, STOPPING, warn
from .exit_report import Ending
from .run_plan import RunPlan

TELL_EVERY: Final = 0.25
"""Seconds between two messages of a child."""
_GO: Final = b"g"
_READ: Final = 64 * 1024


# --- the child's side -------------------------------------------------------------------------------------------------


class NotWantedError(Exception):
    """The parent has said no, or is dead: nothing is to be sent."""


class Line:
    """A child's line to its parent; a `campaign.Parent`."""

    def __init__(self, told: int, orders: int) -> None:
        self._told, self._orders = told, orders
        self._said: list[str] = []
        self._rest = b""

    def say(self, text: str) -> None:
        """What the operator should know."""
        self._said.append(text)

    def ready(self) -> None:
        """Wait for the parent's go. Raises `NotWantedError`."""
        self.last({"ready": True})
        if os.read(self._orders, 1) != _GO:
            raise NotWantedError

    def watch(self, stop: Callable[[], None]) -> None:
        """Have the parent's end, or his order, stop this."""
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(self._orders)
            stop()

        loop.add_reader(self._orders, ended)

    async def run(self, seen: Callable[[], Seen], listener: Listener) -> None:
        """Tell how far it is until cancelled."""
        os.set_blocking(self._told, False)
        while True:
            await asyncio.sleep(TELL_EVERY)
            if self._rest:
                self._write(b"")
            if self._rest:
                continue  # the parent has been stopped: what he gets when he goes on is old enough
            said, self._said = self._said, []
            numbers = listener.snapshot() if isinstance(listener, Metrics) else None
            self._write(_line({"seen": seen(), "said": said, "metrics": numbers}))

    def _write(self, data: bytes) -> None:
        data = self._rest + data
        try:
            data = data[os.write(self._told, data) :]
        except BlockingIOError:
            pass
        except OSError:
            data = b""  # he is dead, and the other pipe tells us
        self._rest = data

    def last(self, message: dict[str, Any]) -> None:
        """Tell, and wait until it is told."""
        os.set_blocking(self._told, True)
        self._write(_line({"said": self._said, **message}))
        self._said = []
        while self._rest:
            self._write(b"")


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _serve(work: RunPlan, number: int, line: Line, shared: Mapping[str, SharedState], taker: Taker) -> None:
    """All that a child does."""
    try:
        with Audience(work.audience) as source:
            ending = work.send(source, taker, number, ready=line.ready, shared=shared, parent=line)
    except NotWantedError:
        return
    except (BadInput, ConfigurationError, JournalError) as error:
        line.last({"refused": str(error)})
    except BaseException as error:
        line.last({"refused": f"internal failure, please report it: {type(error).__name__}: {error}"})
    else:
        line.last({"ending": asdict(ending), "counts": taker.counts.packed()})


# --- the parent's side ------------------------------------------------------------------------------------------------


class Child:
    """A child as its parent knows it."""

    def __init__(self, number: int, pid: int, told: int, orders: int) -> None:
        self.number, self.pid, self.told, self._orders = number, pid, told, orders
        self.seen = Seen(0, 0, 0, 0)
        self.metrics: dict[str, Any] | None = None
        self.ready = False
        self.refused: str | None = None
        self.ending: Ending | None = None
        self.counts: Any = None
        self.problem: str | None = None
        """How its process ended, if it did not end as it should."""
        self._rest = b""

    def take(self) -> list[dict[str, Any]] | None:
        """What it has told; None when it has ended."""
        data = os.read(self.told, _READ)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def go(self) -> None:
        """Let it begin."""
        with contextlib.suppress(OSError):
            os.write(self._orders, _GO)

    def stop(self) -> None:
        """Have it drain, or not begin."""
        if self._orders >= 0:
            os.close(self._orders)
            self._orders = -1

    def wait(self) -> None:
        """Wait for its end."""
        os.close(self.told)
        self.stop()
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code and self.ending is None:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
            self.problem = f"the process {self.number + 1} (pid {self.pid}) {how}"

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Crew:
    """The processes of a job. `output`: the open file that they write results to, None where journals keep them."""

    def __init__(self, work: RunPlan, output: int | None = None) -> None:
        self._work = work
        self._output = output
        self._children: list[Child] = []
        self._running: set[Child] = set()
        self._signalled = False
        self._said: set[str] = set()
        self._go: Callable[[], None] | None = None
        self._size: int | None = None

    def run(self, total: Counts, ready: Callable[[], object] = lambda: None) -> Ending:
        """Send it all, and add up in `total`. `ready`: called before anything is sent.

        Raises:
            BadInput: it cannot be; nothing was sent.
            KeyboardInterrupt: it was interrupted before that.
        """
        warn(self._work.sending, self._work.clients, quiet=self._work.quiet)
        with Audience(self._work.audience) as source:
            self._size = source.size
        handlers = {each: signal.getsignal(each) for each in SIGNALS}
        with ExitStack() as stack:
            for each, handler in handlers.items():
                stack.callback(signal.signal, each, handler)
            directory = tempfile.TemporaryDirectory(prefix="pushcore-")
            place = stack.enter_context(directory)
            parts = self._work.processes
            shared = {name: SharedState.create(Path(place) / name, parts) for name in self._work.clients}
            for state in shared.values():
                stack.callback(state.close)
            lock = stack.enter_context(open(Path(place) / "lock", "wb"))
            stack.callback(self._end_all)
            for number in range(self._work.processes):
                self._start(number, shared, lock.fileno())
            directory.cleanup()  # all have the files open, and nobody else is to; so none stays, however this ends
            port = self._work.sending.metrics_port
            if port is not None:
                stack.enter_context(served(self._metrics, port, quiet=self._work.quiet))
            started = time.monotonic()
            asyncio.run(self._watch(ready))
            return self._added_up(total, time.monotonic() - started)

    def _start(self, number: int, shared: Mapping[str, SharedState], lock: int) -> None:
        told, tells = os.pipe()
        orders, ordered = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            os.close(tells)
            os.close(orders)
            child = Child(number, pid, told, ordered)
            self._children.append(child)
            self._running.add(child)
            return
        status = INCOMPLETE
        try:
            for ignored in SIGNALS:
                signal.signal(ignored, signal.SIG_IGN)  # until it has something to drain
            os.close(told)
            os.close(ordered)
            for child in self._children:  # else their pipes would not end with the parent
                os.close(child.told)
                child.stop()
            taker: Taker = Counter("")
            if self._output is not None:
                file = text_of(SharedOutput(self._output, lock))
                taker = Report(file, "the results", header=False)
            _serve(self._work, number, Line(tells, orders), shared, taker)
            status = 0
        finally:
            os._exit(status)

    def _metrics(self) -> dict[str, Any]:
        return merge([each.metrics for each in self._children if each.metrics is not None])

    # --- watching ---------------------------------------------------------------------------------------------------------

    async def _watch(self, ready: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        ended = loop.create_future()
        for child in self._children:
            loop.add_reader(child.told, self._on_told, child, ended)

        failed: list[Exception] = []

        def go() -> None:
            try:
                ready()
            except Exception as error:
                failed.append(error)  # raised when all have ended, which leave no new journal then
                self._stop()
                return
            for child in self._children:
                child.go()

        self._go = go
        line = asyncio.create_task(ProgressLine(self._size, self._seen, wanted=not self._work.quiet).run())
        try:
            await ended
        finally:
            line.cancel()
            await asyncio.gather(line, return_exceptions=True)
        if failed:
            raise failed[0]

    def _on_told(self, child: Child, ended: asyncio.Future[None]) -> None:
        messages = child.take()
        if messages is None:
            asyncio.get_running_loop().remove_reader(child.told)
            self._running.discard(child)
            child.wait()
            if self._go is not None:
                self._stop()  # before all were ready: nobody begins
            if not self._running and not ended.done():
                ended.set_result(None)
            return
        for message in messages:
            self._take(child, message)

    def _take(self, child: Child, message: dict[str, Any]) -> None:
        for text in message.get("said", ()):
            if (
                text not in self._said and len(self._said) < MAX_COMPLAINTS
            ):  # each of them has the same to say
                self._said.add(text)
                say(text)
        child.ready = child.ready or "ready" in message
        child.refused = message.get("refused", child.refused)
        child.metrics = message.get("metrics") or child.metrics
        if "seen" in message:
            child.seen = Seen(*message["seen"])
        if "ending" in message:
            child.ending, child.counts = Ending(**message["ending"]), message["counts"]
        if self._go is not None and not self._signalled and all(each.ready for each in self._children):
            go, self._go = self._go, None
            go()

    def _seen(self) -> Seen:
        position, total, accepted, put_off = (
            sum(each) for each in zip(*(c.seen for c in self._children), strict=True)
        )
        return Seen(position // len(self._children), total, accepted, put_off)

    def _stop(self) -> None:
        for child in self._children:
            child.stop()

    def _on_signal(self) -> None:
        if self._signalled:
            self._end_all()
            say(ABORTED if self._work.journals is None else ABORTED_JOURNAL)
            os._exit(INCOMPLETE)
        self._signalled = True
        say(STOPPING)
        self._stop()

    def _end_all(self) -> None:
        """Whatever has happened here: no child stays."""
        for child in self._running:
            child.kill()
        for child in self._running:
            child.wait()
        self._running.clear()

    def _added_up(self, total: Counts, seconds: float) -> Ending:
        if self._go is not None:  # it was never given
            for child in self._children:
                if child.refused or child.problem:
                    raise BadInput(child.refused or f"{child.problem}; nothing was sent")
            raise KeyboardInterrupt
        found = Ending(seconds=seconds, ended=True, signalled=self._signalled)
        for child in self._children:
            if child.ending is None:
                problem = child.problem or child.refused
                found.add(Ending(problem=None if problem is None else printable(problem)))
            else:
                total.add(*child.counts)
                found.add(child.ending)
        return found
