"""The parent of several processes: when they begin, how they end, and what a signal does. The children are scripted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from pushcore.audience.problems import BadInput
from pushcore.cli.report.progress import RunProgress
from pushcore.cli.report.tally import ResultCounts
from pushcore.cli.run import processes
from pushcore.cli.run.campaign import ABORTED, SIGNALS, STOPPING
from pushcore.cli.run.exit_report import ExitReport
from pushcore.cli.run.processes import FAILED, ChildProcess, ChildProcesses
from pushcore.results import Verdict

from .pipes import Pipes, plan_of
from .scripted import audience_of

SEEN = RunProgress(10, 4, 3, 1)


@dataclass(frozen=True)
class Script:
    """What a child does: tells `first` at once, and `last` when it may begin; then it has ended.

    `drains`: it goes on until it is stopped. `signals`: the same, and its parent gets a signal when it may begin. `late`: what it
    tells when it is stopped before that.
    """

    first: list[dict[str, Any]]
    last: list[dict[str, Any]]
    drains: bool = False
    signals: bool = False
    late: tuple[dict[str, Any], ...] = ()


class ScriptedChild(ChildProcess):
    """A child without a process, whose pid is its number and 100. `got`: what it was told."""

    def __init__(self, number: int, script: Script) -> None:
        self.pipes, self.script = Pipes(), script
        super().__init__(number, number + 100, self.pipes.told, self.pipes.orders)
        self.got: bytes | None = None
        self.tell(script.first)
        if READY not in script.first and not script.drains:
            self.pipes.close("tells")

    def tell(self, messages: list[dict[str, Any]]) -> None:
        os.write(self.pipes.tells, b"".join(json.dumps(each).encode() + b"\n" for each in messages))

    def finish(self) -> None:
        self.tell(self.script.last)
        self.pipes.close("tells")

    def go(self) -> None:
        super().go()
        if self.script.signals:
            os.kill(os.getpid(), signal.SIGTERM)
        elif not self.script.drains:
            self.finish()

    def stop(self) -> None:
        super().stop()
        if self.got is None:
            self.got = os.read(self.pipes.ordered, 9)
            self.pipes.close("ordered")
            if self.got and self.pipes.tells >= 0:
                self.finish()
            elif self.pipes.tells >= 0:
                self.tell([*self.script.late])
            self.pipes.close("tells")


READY = {"ready": True}


def ended(rows: int, **changes: Any) -> dict[str, Any]:
    counts = ResultCounts()
    counts.tallies["apns"].accepted = rows - 1
    counts.tallies["apns"].count(Verdict.INVALID, "odd", rows)
    ending = ExitReport(**{"rows": rows, "upto": rows, "ended": True, **changes})
    return {"ending": asdict(ending), "counts": counts.packed()}


class Parent(ChildProcesses):
    """A crew of scripted children."""

    def __init__(self, audience: str, *scripts: Script) -> None:
        super().__init__(plan_of(audience, len(scripts)))
        self.scripts = scripts
        self.children = cast(list[ScriptedChild], self._children)

    def _start(self, number: int, shared: Any, lock: int) -> None:
        assert list(shared) == ["apns"]
        child = ScriptedChild(number, self.scripts[number])
        self._children.append(child)
        self._running.add(child)


@pytest.fixture(autouse=True)
def ends(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """The statuses of scripted processes, by pid."""
    found: dict[int, int] = {}
    monkeypatch.setattr(os, "waitpid", lambda pid, flags: (pid, found.get(pid, 0)))
    return found


def test_all_begin_when_the_last_is_ready_and_their_endings_are_added_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {"said": ["APNs waits"], "seen": list(SEEN)}
    crew = Parent(
        audience_of(tmp_path, 9),
        Script([READY], [said, ended(5)]),
        Script([READY], [said, ended(4, trips={"apns": "k"})]),
    )
    total, ready = ResultCounts(), []
    ending = crew.run(total, lambda: ready.append(1))
    assert ready == [1]
    assert [child.got for child in crew.children] == [b"g", b"g"]
    assert (ending.rows, ending.upto, ending.ended, ending.trips) == (9, 5, True, {"apns": "k"})
    assert (ending.signalled, ending.problem) == (False, None)
    assert (total.total, total.accepted) == (9, 7)
    assert capsys.readouterr().err == "pushcore: APNs waits\n"  # both have said so


def test_when_one_cannot_begin_none_does(tmp_path: Path) -> None:
    crew = Parent(
        audience_of(tmp_path, 9), Script([READY], [ended(5)]), Script([{"refused": "no such row"}], [])
    )
    with pytest.raises(BadInput, match="no such row"):
        crew.run(ResultCounts(), lambda: pytest.fail("it is not ready"))
    assert crew.children[0].got == b""


def test_when_the_results_cannot_be_made_ready_none_begins(tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error")

    crew = Parent(audience_of(tmp_path, 9), Script([READY], [ended(5)]), Script([READY], [ended(4)]))
    with pytest.raises(OSError, match="Input/output error"):
        crew.run(ResultCounts(), fail)
    assert [child.got for child in crew.children] == [b"", b""]


def test_one_that_dies_before_the_beginning_is_told(tmp_path: Path, ends: dict[int, int]) -> None:
    ends[101] = 9
    crew = Parent(audience_of(tmp_path, 9), Script([READY], [ended(5)]), Script([{"said": []}], []))
    with pytest.raises(BadInput, match=r"the process 2 \(pid 101\) was killed by signal 9; nothing was sent"):
        crew.run(ResultCounts())


def test_one_that_dies_later_is_the_problem_and_the_others_rows_count(
    tmp_path: Path, ends: dict[int, int]
) -> None:
    ends[101] = 9
    crew = Parent(audience_of(tmp_path, 9), Script([READY], [ended(5)]), Script([READY], []))
    total = ResultCounts()
    ending = crew.run(total)
    assert ending.problem == "the process 2 (pid 101) was killed by signal 9"
    assert (ending.rows, ending.ended, total.total) == (5, False, 5)


def test_one_that_fails_later_says_why_itself(tmp_path: Path) -> None:
    crew = Parent(audience_of(tmp_path, 9), Script([READY], [{"refused": "KeyError: \x1b"}]))
    assert crew.run(ResultCounts()).problem == r"KeyError: \x1b"


def test_when_one_fails_the_others_drain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crew = Parent(
        audience_of(tmp_path, 9),
        Script([READY], [ended(2, ended=False, problem="c.db was removed")]),
        Script([READY], [ended(3, ended=False, signalled=True)], drains=True),
    )
    ending = crew.run(ResultCounts())
    assert (ending.problem, ending.rows, ending.ended) == ("c.db was removed", 5, False)
    assert capsys.readouterr().err == f"pushcore: {FAILED}\n"


def test_the_last_one_that_fails_stops_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crew = Parent(audience_of(tmp_path, 9), Script([READY], [ended(2, problem="c.db was removed")]))
    assert crew.run(ResultCounts()).problem == "c.db was removed"
    assert capsys.readouterr().err == ""


def test_a_signal_has_all_of_them_drain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handlers = [signal.getsignal(each) for each in SIGNALS]
    crew = Parent(
        audience_of(tmp_path, 9),
        Script([READY], [ended(2, ended=False, signalled=True)], signals=True),
        Script([READY], [ended(2, ended=False)], drains=True),
    )
    ending = crew.run(ResultCounts())
    assert (ending.signalled, ending.rows, ending.ended) == (True, 4, False)
    assert capsys.readouterr().err == f"pushcore: {STOPPING}\n"
    assert [signal.getsignal(each) for each in SIGNALS] == handlers


def test_a_parent_that_ignores_sigchld_changes_nothing(tmp_path: Path) -> None:
    """The system would forget how a child has ended, and the command would wait forever."""

    class Looking(Parent):
        def _start(self, number: int, shared: Any, lock: int) -> None:
            assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
            super()._start(number, shared, lock)

    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert Looking(audience_of(tmp_path, 9), Script([READY], [ended(5)])).run(ResultCounts()).ended
        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGCHLD, before)


class Interrupting:
    """In place of the progress: a signal as soon as the parent watches."""

    def __init__(self, *_: Any, **__: Any) -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)

    async def run(self) -> None:
        pass


def test_a_signal_before_the_beginning_sends_nothing(tmp_path: Path) -> None:
    crew = Parent(
        audience_of(tmp_path, 9), Script([READY], []), Script([{"said": []}], [], drains=True, late=(READY,))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "ProgressLine", Interrupting)
        with pytest.raises(KeyboardInterrupt):
            crew.run(ResultCounts(), lambda: pytest.fail("it is not wanted"))
    assert [child.got for child in crew.children] == [b"", b""]


def test_a_second_signal_kills_all_and_ends_the_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = Parent(audience_of(tmp_path, 9), Script([READY], []))
    killed: list[tuple[int, int]] = []
    exits: list[int] = []
    monkeypatch.setattr(os, "kill", lambda *call: killed.append(call))
    monkeypatch.setattr(os, "_exit", exits.append)
    crew._start(0, {"apns": None}, 0)
    crew._on_signal(signal.SIGTERM)
    crew._on_signal(signal.SIGHUP)  # a shell repeats that of its terminal
    assert killed == []
    crew._on_signal(signal.SIGTERM)
    assert (killed, exits) == ([(100, signal.SIGKILL)], [1])
    assert capsys.readouterr().err.splitlines()[:2] == [f"pushcore: {STOPPING}", f"pushcore: {ABORTED}"]
    crew.children[0].pipes.told = crew.children[0].pipes.orders = -1


def test_the_progress_of_all_is_one(tmp_path: Path) -> None:
    crew = Parent(audience_of(tmp_path, 9))
    for position, total in ((10, 4), (20, 5)):
        child = ChildProcess(0, 1, -1, -1)
        child.progress = RunProgress(position, total, 3, 1)
        crew._children.append(child)
    assert crew._progress() == RunProgress(15, 9, 6, 2)


def test_a_process_that_cannot_be_started_is_named_and_none_stays(tmp_path: Path) -> None:
    class Limited(Parent):
        def _start(self, number: int, shared: Any, lock: int) -> None:
            if number:
                raise OSError(11, "Resource temporarily unavailable")
            super()._start(number, shared, lock)

    crew = Limited(audience_of(tmp_path, 9), Script([READY], []), Script([READY], []))
    with pytest.raises(
        BadInput, match=r"a process cannot be started \(Resource temporarily .*; nothing was sent"
    ):
        crew.run(ResultCounts())
    assert not crew._running
