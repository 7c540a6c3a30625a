"""The two ends of the pipes between parent and child, each by itself: nothing is forked."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from pushcore.audience.problems import BadInput
from pushcore.cli.report.notices import Notices
from pushcore.cli.report.progress import RunProgress
from pushcore.cli.report.results_file import ResultCounter, ResultsFile, ResultSink
from pushcore.cli.report.tally import ResultCounts
from pushcore.cli.run import processes
from pushcore.cli.run.campaign import drain_signals
from pushcore.cli.run.exit_report import ExitReport
from pushcore.cli.run.processes import ChildProcess, ChildProcesses, StartRefusedError, SupervisorPipe, _serve
from pushcore.cli.run.run_plan import RunPlan
from pushcore.metrics import Listener, Metrics

from .pipes import Pipes, plan_of
from .scripted import ScriptedEngine, audience_of

SEEN = RunProgress(10, 4, 3, 1)


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    made = Pipes()
    yield made
    made.close()


# --- the child's side -------------------------------------------------------------------------------------------------


def test_a_child_begins_when_it_is_told_to(pipes: Pipes) -> None:
    os.write(pipes.orders, b"g")
    pipes.line.ready()
    assert pipes.messages() == [{"said": [], "ready": True}]


def test_a_child_whose_parent_has_gone_does_not_begin(pipes: Pipes) -> None:
    pipes.close("orders")
    with pytest.raises(StartRefusedError):
        pipes.line.ready()


async def test_the_end_of_the_orders_stops_it_once(pipes: Pipes) -> None:
    stops: list[int] = []
    pipes.line.watch(lambda: stops.append(1))
    for _ in range(3):
        await asyncio.sleep(0)
    assert stops == []
    pipes.close("orders")
    for _ in range(5):
        await asyncio.sleep(0)
    assert stops == [1]


def test_a_line_is_passed_on_once(pipes: Pipes) -> None:
    line = pipes.line
    line.say("one")
    line.say("two")
    line.send_final({"refused": "no"})
    line.send_final({"refused": "no"})
    assert pipes.messages() == [{"said": ["one", "two"], "refused": "no"}, {"said": [], "refused": "no"}]


async def told_while(
    pipes: Pipes, line: SupervisorPipe, listener: Listener, turns: int
) -> list[dict[str, Any]]:
    telling = asyncio.create_task(line.run(lambda: SEEN, listener))
    for _ in range(turns):
        await asyncio.sleep(0)
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    return pipes.messages()


async def test_it_tells_how_far_it_is_and_its_numbers(pipes: Pipes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "TELL_EVERY", 0.0)
    line = pipes.line
    line.say("one")
    first, *others = await told_while(pipes, line, Notices(quiet=True), 9)
    assert first == {"seen": list(SEEN), "said": ["one"], "metrics": None}
    assert others
    assert all(each["said"] == [] for each in others)
    metrics = Metrics(())
    (*_, last) = await told_while(pipes, line, metrics, 9)
    assert last["metrics"] == json.loads(json.dumps(metrics.snapshot()))


async def test_a_parent_that_does_not_read_holds_nothing_up(
    pipes: Pipes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "TELL_EVERY", 0.0)
    fcntl.fcntl(pipes.told, fcntl.F_SETPIPE_SZ, 4096)
    line = pipes.line
    line.say("x" * 10_000)
    telling = asyncio.create_task(line.run(lambda: SEEN, Notices(quiet=True)))
    for _ in range(20):
        await asyncio.sleep(0)
    line.say("later")
    data = b""
    while data.count(b"\n") < 2:  # each message is whole, though it went in pieces
        data += os.read(pipes.told, 4096)
        await asyncio.sleep(0)
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    first, second = data.splitlines()[:2]
    assert json.loads(first)["said"] == ["x" * 10_000]
    assert json.loads(second)["said"] == ["later"]


def test_a_dead_parent_is_no_error_and_no_endless_loop(pipes: Pipes) -> None:
    pipes.close("told")
    pipes.line.send_final({"ready": True})


# --- all that a child does --------------------------------------------------------------------------------------------


def test_a_child_tells_its_ending_and_its_counts(
    engine: type[ScriptedEngine], pipes: Pipes, tmp_path: Path
) -> None:
    os.write(pipes.orders, b"g")
    _serve(plan_of(audience_of(tmp_path, 2, "bad,row")), 0, pipes.line, {}, ResultCounter("x"))
    ready, last = pipes.messages()
    assert ready["ready"]
    ending = ExitReport(**last["ending"])
    assert (ending.rows, ending.ended, ending.problem) == (3, True, None)
    counts = ResultCounts()
    counts.add(*last["counts"])
    assert (counts.accepted, counts.total) == (2, 3)


def test_a_child_that_is_not_wanted_sends_nothing(
    engine: type[ScriptedEngine], pipes: Pipes, tmp_path: Path
) -> None:
    pipes.close("orders")
    _serve(plan_of(audience_of(tmp_path, 2)), 0, pipes.line, {}, ResultCounter("x"))
    assert pipes.messages() == [{"said": [], "ready": True}]
    assert engine.made == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BadInput("it cannot be"), "it cannot be"),
        (MemoryError(), "there is too little memory (see `ulimit -v`, or the limit of the container)"),
        (KeyError("odd"), "internal failure, please report it: KeyError: 'odd'"),
    ],
)
def test_a_child_that_cannot_begin_says_why(
    pipes: Pipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fail(*_: Any, **__: Any) -> ExitReport:
        raise error

    monkeypatch.setattr(RunPlan, "send", fail)
    _serve(plan_of(audience_of(tmp_path, 1)), 0, pipes.line, {}, ResultCounter("x"))
    assert pipes.messages() == [{"said": [], "refused": words}]


# --- the parent's side ------------------------------------------------------------------------------------------------


def test_messages_are_whole_however_they_arrive(pipes: Pipes) -> None:
    child = ChildProcess(0, 1, pipes.told, pipes.orders)
    os.write(pipes.tells, b'{"a": 1}\n{"b"')
    assert child.read_messages() == [{"a": 1}]
    os.write(pipes.tells, b": 2}")
    assert child.read_messages() == []
    os.write(pipes.tells, b"\n")
    assert child.read_messages() == [{"b": 2}]
    pipes.close("tells")
    assert child.read_messages() is None


def test_a_child_that_has_gone_can_be_told_anything(pipes: Pipes, monkeypatch: pytest.MonkeyPatch) -> None:
    child = ChildProcess(0, 1, pipes.told, pipes.orders)
    pipes.close("ordered")
    child.go()
    child.stop()
    child.stop()
    pipes.orders = -1

    def gone(pid: int, number: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", gone)
    child.kill()


@pytest.mark.parametrize(
    ("status", "ending", "problem"),
    [
        (0, None, None),
        (1 << 8, None, "the process 3 (pid 77) ended with status 1"),
        (9, None, "the process 3 (pid 77) was killed by signal 9"),
        (9, ExitReport(), None),
    ],
)
def test_how_a_process_ended_is_a_problem_unless_it_has_said_its_last(
    pipes: Pipes, monkeypatch: pytest.MonkeyPatch, status: int, ending: ExitReport | None, problem: str | None
) -> None:
    monkeypatch.setattr(os, "waitpid", lambda pid, flags: (pid, status))
    child = ChildProcess(2, 77, pipes.told, pipes.orders)
    child.report = ending
    child.wait()
    pipes.told = pipes.orders = -1
    assert child.problem == problem


# --- what a process does when it is forked ----------------------------------------------------------------------------


class Ended(BaseException):
    """In place of the end of a process."""


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ChildProcesses]:
    """The parent of a process that is about to start; `fork` returns as in the child, and `_exit` raises."""

    def leave(status: int) -> None:
        raise Ended(status)

    monkeypatch.setattr(os, "fork", lambda: 0)
    monkeypatch.setattr(os, "_exit", leave)
    handlers = {number: signal.getsignal(number) for number in drain_signals()}
    yield ChildProcesses(plan_of(audience_of(tmp_path, 4), 2))
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("output", [True, False])
def test_a_child_serves_its_part_without_the_ends_of_others_and_ignores_signals_before_it_can_drain(
    forked: ChildProcesses, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: bool
) -> None:
    served: list[Any] = []
    other = Pipes()
    forked._children.append(ChildProcess(0, 100, other.told, other.orders))
    if output:
        forked._output = os.open(tmp_path / "results.csv", os.O_WRONLY | os.O_CREAT)

    def serve(plan: RunPlan, number: int, parent: SupervisorPipe, shared: Any, sink: ResultSink) -> None:
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        for closed in (other.told, other.orders):
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(closed)
        os.close(parent._messages)
        os.close(parent._orders)
        served.append((number, shared, type(sink)))
        if isinstance(sink, ResultsFile):
            sink.close()

    monkeypatch.setattr(processes, "_serve", serve)
    with (tmp_path / "lock").open("w") as lock, pytest.raises(Ended) as ended:
        forked._start(1, {"apns": cast(Any, "state")}, lock.fileno())
    assert ended.value.args == (0,)
    assert served == [(1, {"apns": "state"}, ResultsFile if output else ResultCounter)]
    other.told = other.orders = -1
    other.close()


def test_a_child_that_fails_ends_with_a_status_and_nothing_else(
    forked: ChildProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    def serve(plan: RunPlan, number: int, parent: SupervisorPipe, *_: Any) -> None:
        os.close(parent._messages)
        os.close(parent._orders)
        raise KeyError("odd")

    monkeypatch.setattr(processes, "_serve", serve)
    with pytest.raises(Ended) as ended:
        forked._start(0, {}, 0)
    assert ended.value.args == (1,)


def test_the_parent_keeps_its_ends_of_the_pipes(
    forked: ChildProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fork", lambda: 4321)
    forked._start(0, {}, 0)
    (child,) = forked._children
    assert (child.number, child.pid, forked._running) == (0, 4321, {child})
    assert child.read_messages() is None  # nobody has the other end
    monkeypatch.setattr(os, "waitpid", lambda pid, flags: (pid, 0))
    child.wait()


def test_what_the_parent_does_not_take_at_once_is_told_in_the_end(pipes: Pipes) -> None:
    """A parent that was stopped and goes on again."""
    line = pipes.line
    os.set_blocking(pipes.tells, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipes.tells, b"\n" * 65536)
    line._write(b'{"seen": 1}\n')
    assert line._unwritten == b'{"seen": 1}\n'
    assert set(os.read(pipes.told, 1 << 20)) == {ord("\n")}
    line.send_final({"ready": True})
    told = os.read(pipes.told, 1 << 20).split(b"\n")
    assert [json.loads(text) for text in told if text] == [{"seen": 1}, {"said": [], "ready": True}]
