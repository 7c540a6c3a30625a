"""Two commits in pairs: what their ratios say, which commits there are, and one short run of the tree against itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from bench.__main__ import main
from bench.counts import instructed, instructions
from bench.guards import ab, sides
from bench.guards.ratios import Ratio, order, ratio
from bench.harness import checkouts, look
from bench.harness.checkouts import Checkout
from bench.harness.stage import ROOT, CannotMeasure, Target, fake

RUNNING = Checkout("running", ROOT, sys.executable, (sys.executable, "-m", "pushcore"))
QUIET = Console(quiet=True)


# --- ratios -----------------------------------------------------------------------------------------------------------


def test_a_ratio_is_the_median_of_those_of_the_pairs() -> None:
    # The machine was ten times as slow in the third pair; the ratio of the medians would be 2.
    found = ratio([1.0, 2.0, 30.0], [1.2, 4.0, 33.0])
    assert found.value == pytest.approx(1.2)
    assert (found.low, found.high) == pytest.approx((1.1, 2.0))


@pytest.mark.parametrize(
    ("pairs", "dropped"), [(1, 0), (2, 0), (5, 0), (6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (15, 3), (20, 5)]
)
def test_the_spread_is_the_interval_of_the_median(pairs: int, dropped: int) -> None:
    # As tables of the sign test have it.
    found = ratio([1.0] * pairs, [float(number) for number in range(1, pairs + 1)])
    assert (found.low, found.high) == (1 + dropped, pairs - dropped)


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (1.0, 1.0, 1.0, "same"),
        (1.03, 1.02, 1.04, "same"),
        (0.97, 0.96, 0.98, "same"),
        (1.031, 1.02, 1.04, "slower"),
        (0.969, 0.96, 0.98, "faster"),
        (1.2, 0.99, 1.4, "same"),
        (0.8, 0.7, 1.0, "same"),
        (1.2, 1.001, 1.4, "slower"),
    ],
)
def test_the_verdict_of_a_ratio(value: float, low: float, high: float, verdict: str) -> None:
    assert Ratio(value, low, high).verdict == verdict


@pytest.mark.parametrize(("old", "new"), [([], []), ([1.0], [1.0, 2.0]), ([0.0], [1.0])])
def test_without_pairs_there_is_no_ratio(old: list[float], new: list[float]) -> None:
    with pytest.raises(ValueError):
        ratio(old, new)


def test_the_sides_take_turns_at_being_first() -> None:
    assert [which for number in range(4) for which in order(number)] == [0, 1, 1, 0, 0, 1, 1, 0]


# --- instructions and allocations -------------------------------------------------------------------------------------


def test_instructions_per_push_are_the_difference_of_a_long_and_a_short_phase() -> None:
    pushes = instructed.LONG - instructed.SHORT
    start, fixed = 1_000_000, 70_000
    phases = [start]
    for pair in range(instructed.PAIRS):
        cost = 1000 + pair
        phases += [fixed + cost * instructed.SHORT, fixed + cost * (instructed.SHORT + pushes)]
    counted = instructions.per_push("apns frames\nfcm send\n", phases * 2)
    expected = [1000 + pair for pair in range(instructed.PAIRS)]
    assert counted == {("apns", "frames"): expected, ("fcm", "send"): expected}


def test_marks_that_are_missing_are_said() -> None:
    with pytest.raises(CannotMeasure, match=f"callgrind saw 0 marks where {1 + instructed.PHASES} are set"):
        instructions.per_push("apns frames\n", [])


@pytest.mark.needs("valgrind")
def test_callgrind_splits_its_counts_at_each_mark(tmp_path: Path) -> None:
    program = "import os; [os.getppid() for _ in range(3)]"
    command = ["valgrind", "-q", "--tool=callgrind", f"--dump-before={instructed.MARK}"]
    subprocess.run(
        [*command, f"--callgrind-out-file={tmp_path / 'out'}", sys.executable, "-S", "-c", program],
        check=True,
    )
    assert sorted(path.suffix for path in tmp_path.glob("out.*")) == [".1", ".2", ".3"]


def counted(**changed: float | None) -> dict[str, Any]:
    """A row of `bench.counting`."""
    return {"case": "engine", "allocations": 20.0, "blocks": 9.0, "objects": 3.0, "left": 0.0, **changed}


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ([{}], "same"),
        ([{"blocks": 8.99}], "fewer"),
        ([{"blocks": 8.0, "left": 0.01}], "more"),
        ([{"blocks": 9.01}, {"blocks": 9.02}], "more"),
        ([{"blocks": 9.01}, {"blocks": 9.0}], "same"),
        ([{"blocks": 9.5}, {"blocks": 8.5}], "same"),
        ([{"allocations": None}], "same"),
    ],
)
def test_counts_differ_when_they_do_in_every_try(
    changes: list[dict[str, float | None]], verdict: str
) -> None:
    old = [counted()] * len(changes)
    assert ab.counts("engine", "apns", old, [counted(**each) for each in changes])["verdict"] == verdict


@pytest.mark.parametrize(
    ("blocks", "tries", "verdict"),
    [([9.0], 1, "same"), ([9.5, 9.0], 2, "same"), ([9.5] * ab.TRIES, ab.TRIES, "more")],
)
def test_a_difference_is_counted_again(
    blocks: list[float], tries: int, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Checkout("new", ROOT, "", ())
    new_counts = iter(blocks)
    asked: list[str] = []

    def allocations(side: Checkout, provider: str) -> list[dict[str, Any]]:
        asked.append(side.name)
        return [counted(blocks=next(new_counts)) if side is new else counted()]

    monkeypatch.setattr(sides, "allocations", allocations)
    monkeypatch.setattr(ab, "check_cores", lambda: None)
    (row,) = ab.measure(QUIET, RUNNING, new, count=1, runs=1, providers=["apns"], cases=["allocations"])
    assert (row["verdict"], row["runs"]) == (verdict, tries)
    assert asked == ["running", "new"] * tries


def test_both_counts_are_shown_where_they_differ() -> None:
    assert ab.change([9.0, 9.0]) == "9"
    assert ab.change([9.0, 9.25]) == "9 → 9.25"
    assert ab.change([None, 9.0]) == f"{look.MISSING} → 9"


def test_worse_rows_are_named() -> None:
    rows = [
        ab.counts("engine", "apns", [counted()], [counted(blocks=10.0)]),
        ab.counts("send", "apns", [counted()], [counted(blocks=8.0)]),
        ab.compared("times", "fcm", "cli-static", [1.0, 1.0], [1.25, 1.25]),
        ab.compared("times", "fcm", "cli-journal", [1.0, 1.0], [0.5, 0.5]),
        ab.compared("instructions", "fcm", "send", [100.0, 100.0], [110.0, 110.0]),
    ]
    assert ab.worse(rows) == [
        "engine (apns) allocates more: blocks 9 → 10",
        "cli-static (fcm) is slower: 1.250 times the CPU",
        "send (fcm) is slower: 1.100 times the instructions",
    ]


# --- checkouts --------------------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, in the place of the running tree."""
    root = tmp_path / "repository"
    root.mkdir()
    for words in (
        ["init", "-q"],
        [
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@example.com",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "first",
        ],
    ):
        subprocess.run(["git", *words], cwd=root, check=True)
    monkeypatch.setattr(checkouts, "ROOT", root)
    monkeypatch.setattr(checkouts, "SCRATCH", tmp_path / "scratch")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    return root


@pytest.mark.parametrize("revision", ["no-such-branch", "--all", "", "HEAD:file", "HEAD~1"])
def test_an_unknown_revision_is_said(revision: str, repository: Path) -> None:
    with pytest.raises(CannotMeasure, match="git knows no commit"):
        checkouts.resolve(revision)


def test_a_revision_is_a_commit(repository: Path) -> None:
    commit = checkouts.resolve("HEAD")
    assert len(commit) == 40
    assert checkouts.resolve(commit[:8]) == commit


def test_uncommitted_changes_are_seen(repository: Path) -> None:
    assert not checkouts.has_uncommitted_changes()
    (repository / "new.py").write_text("")
    assert checkouts.has_uncommitted_changes()


def test_a_folder_without_git_is_said(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkouts, "ROOT", tmp_path)
    with pytest.raises(CannotMeasure, match="not a git repository"):
        checkouts.resolve("HEAD")


def test_a_missing_git_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda tool: None)
    with pytest.raises(CannotMeasure, match="git is missing"):
        checkouts.resolve("HEAD")


def test_a_commit_that_cannot_be_installed_is_said_and_its_worktree_is_as_committed(
    repository: Path, tmp_path: Path
) -> None:
    commit = checkouts.resolve("HEAD")
    with pytest.raises(CannotMeasure, match=f"the installation of {commit[:12]} failed: .*requirements.lock"):
        checkouts.checkout(QUIET, commit)
    place = tmp_path / "scratch" / "ab" / commit[:12]
    assert not (place / "installed").exists()
    (place / "tree" / "changed.py").write_text("")
    with pytest.raises(CannotMeasure, match="the installation"):
        checkouts.checkout(QUIET, commit)
    assert not (place / "tree" / "changed.py").exists()


def test_an_environment_is_made_once(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def step(what: str, command: list[str], directory: Path) -> None:
        done.append(what)
        python = directory.parent / "env" / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()

    monkeypatch.setattr(checkouts, "_do", step)
    commit = checkouts.resolve("HEAD")
    made = checkouts.checkout(QUIET, commit)
    assert made == checkouts.checkout(QUIET, commit)
    assert done == ["the environment", "the installation"]
    # Another Python needs another environment; a worktree that somebody has deleted is made again.
    monkeypatch.setattr("sys.version", "4.0")
    shutil.rmtree(made.root)
    assert made == checkouts.checkout(QUIET, commit)
    assert done == ["the environment", "the installation"] * 2
    assert (made.root / ".git").exists()


def test_a_sides_processes_are_told_nothing_of_the_running_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    environment = RUNNING.environment(3)
    python = {name: value for name, value in environment.items() if name.startswith("PYTHON")}
    assert python == {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "3"}


# --- the running tree against itself ----------------------------------------------------------------------------------


def no_cores() -> bool:
    """Whether there are too few cores."""
    try:
        ab.check_cores()
    except CannotMeasure:
        return True
    return False


@pytest.mark.skipif(no_cores(), reason="two cores are needed")
@pytest.mark.parametrize(
    ("provider", "cases"), [("apns", ("frames", "engine", "allocations")), ("fcm", ("send",))]
)
def test_a_tree_against_itself(provider: str, cases: tuple[str, ...]) -> None:
    rows = ab.measure(QUIET, RUNNING, RUNNING, count=200, runs=2, providers=[provider], cases=cases)
    timed = [row for row in rows if row["part"] == "times"]
    assert [row["case"] for row in timed] == [case for case in cases if case in sides.CLIENTS]
    for row in timed:
        assert row["low"] <= row["ratio"] <= row["high"]
        assert all(used > 0 for pair in row["pairs"] for used in pair)
        assert len(row["pairs"]) == 2
    verdicts = [row["verdict"] for row in rows if row["part"] == "allocations"]
    assert verdicts == ["same"] * (3 if "allocations" in cases else 0)
    assert {(row["old"], row["new"]) for row in rows} == {("running", "running")}


@pytest.mark.parametrize(
    ("provider", "case"), [("apns", "cli-static"), ("apns", "cli-personalised"), ("fcm", "cli-journal")]
)
def test_commands_are_run_in_a_place_that_both_sides_use(provider: str, case: str, tmp_path: Path) -> None:
    sides.prepare(tmp_path, provider, 10)
    with fake(provider, "bare") as target:
        for _ in range(2):  # what an earlier run has left does not matter
            assert sides.command_cpu(RUNNING, case, target, tmp_path, "few.csv", 0) > 0
    assert (tmp_path / "campaign.db").exists() == (case == "cli-journal")
    assert (tmp_path / "results.csv").exists() == (case != "cli-journal")


def test_the_cost_of_starting_is_subtracted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seconds = {"few.csv": 0.5, "devices.csv": 0.9}
    monkeypatch.setattr(sides, "command_cpu", lambda *words: seconds[words[4]])
    target = Target("bare", "apns", "", "", 0, {})
    assert sides.cpu_us(RUNNING, "cli-static", target, tmp_path, 100_000, 0) == pytest.approx(4.0)
    seconds["devices.csv"] = 0.4
    with pytest.raises(CannotMeasure, match="a larger --count is needed"):
        sides.cpu_us(RUNNING, "cli-static", target, tmp_path, 10, 0)


def test_a_side_that_fails_says_so(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").write_text("")
    broken = Checkout("broken", tmp_path, sys.executable, ())
    with pytest.raises(CannotMeasure, match=r"(?s)counting allocations of broken failed: .*bench.counting"):
        sides.allocations(broken, "apns")


def test_the_program_that_callgrind_watches_runs_each_case() -> None:
    program = [sys.executable, "-P", instructed.__file__, "apns"]
    done = subprocess.run(program, env=RUNNING.environment(0), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["apns frames", "apns engine", "apns send"]


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def measured(repository: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the command will have measured."""
    rows: list[dict[str, Any]] = []
    monkeypatch.setattr(checkouts, "checkout", lambda console, commit: RUNNING)
    monkeypatch.setattr(ab, "measure", lambda *words, **options: rows)
    return rows


def test_the_status_is_0_when_nothing_is_worse(measured: list[dict[str, Any]], tmp_path: Path) -> None:
    measured.append(ab.compared("times", "apns", "engine", [1.0] * 6, [1.02] * 6))
    file = tmp_path / "rows.json"
    result = CliRunner().invoke(main, ["ab", "HEAD", "--json", str(file)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (row,) = look.read(file)[1]
    assert (row["measurement"], row["ratio"], row["verdict"]) == ("ab", 1.02, "same")


def test_the_status_is_1_when_something_is_slower(measured: list[dict[str, Any]]) -> None:
    measured.append(ab.compared("times", "apns", "engine", [1.0] * 6, [1.04] * 6))
    assert CliRunner().invoke(main, ["ab", "HEAD", "HEAD"], catch_exceptions=False).exit_code == 1


def test_a_revision_that_looks_like_an_option_is_none(measured: list[dict[str, Any]]) -> None:
    result = CliRunner().invoke(main, ["ab", "--", "--all"])
    assert isinstance(result.exception, CannotMeasure)


def test_a_missing_core_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0}, raising=False)
    with pytest.raises(CannotMeasure, match="core 1 is missing"):
        ab.check_cores()


def test_a_missing_valgrind_is_said_when_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda tool: None)
    monkeypatch.setattr(ab, "check_cores", lambda: None)
    with pytest.raises(CannotMeasure, match="valgrind is missing"):
        ab.measure(QUIET, RUNNING, RUNNING, count=1, runs=1, providers=["apns"], cases=["instructions"])
