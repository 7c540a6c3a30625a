"""Tests get into the tier that their marks say, and what changes code for `make weekly` changes what it should."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from xdist.remote import WorkerInteractor  # type: ignore[import-untyped]
from xdist.scheduler.loadgroup import LoadGroupScheduling  # type: ignore[import-untyped]

from tests import mutants, tiers

ROOT = Path(__file__).parents[2]


@pytest.fixture
def item(request: pytest.FixtureRequest) -> pytest.Function:
    """A test that was found beside the one that asks."""
    found: pytest.Function = pytest.Function.from_parent(
        request.node.parent, name="found", callobj=lambda: None
    )
    return found


def reasons(item: pytest.Item) -> list[str]:
    return [marker.kwargs["reason"] for marker in item.iter_markers("skip")]


def groups(item: pytest.Item) -> list[str]:
    return [marker.args[0] for marker in item.iter_markers("xdist_group")]


def test_a_fast_test_without_marks_gets_the_group_of_its_file(item: pytest.Function) -> None:
    tiers.sort(item)
    assert [marker.name for marker in item.iter_markers()] == ["xdist_group"]
    assert groups(item) == ["tests/unit/test_tiers.py"]


@pytest.mark.parametrize("mark", ["slow", "ci", "weekly"])
def test_a_slow_test_has_no_group(mark: str, item: pytest.Function) -> None:
    item.add_marker(mark)
    tiers.sort(item)
    assert groups(item) == []


def test_pytest_xdist_sends_the_tests_of_a_group_to_one_process(item: pytest.Function) -> None:
    """What a worker tells the scheduler of an item is its id, which has to end with the group."""
    item.add_marker(pytest.mark.xdist_group("cores"))
    config = SimpleNamespace(getvalue=lambda name: name == "loadgroup")
    WorkerInteractor.pytest_collection_modifyitems(None, config, [item])
    tiers.keep_groups([item])
    assert item.nodeid == "tests/unit/test_tiers.py::found@cores"
    scheduler = SimpleNamespace()
    assert LoadGroupScheduling._split_scope(scheduler, item.nodeid) == "cores"


def test_a_program_makes_it_one_of_ci(item: pytest.Function, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/bin/{program}")
    item.add_marker(pytest.mark.needs("nginx", "curl"))
    tiers.sort(item)
    assert item.get_closest_marker("ci")
    assert reasons(item) == []


def test_a_program_that_is_missing_is_said_with_its_package(
    item: pytest.Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda program: None if program == "nginx" else program)
    item.add_marker(pytest.mark.needs("curl", "nginx"))
    tiers.sort(item)
    assert item.get_closest_marker("ci")
    assert reasons(item) == ["nginx is missing: Debian's package nginx-light"]


def test_ci_installs_every_program() -> None:
    script = ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip("the sdist has no .ci/run")
    text = script.read_text()
    for program, package in tiers.PACKAGES.items():
        assert f":{package} " in text or f":{package};" in text, program


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a < b", "a <= b"),
        ("a is None", "a is not None"),
        ("a and b", "a or b"),
        ("a + 1", "a - 1"),
        ("7", "8"),
        ("True", "False"),
        ("f(a)", "None"),
        ("return a", "return None"),
        ("return 'a'", "return None"),
        ("if a:\n    b", "if not a:\n    b"),
    ],
)
def test_a_mutant_differs_in_one_place(before: str, after: str) -> None:
    (node,) = ast.parse(before).body
    target = node.value if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call) else node
    assert target is not None
    assert mutants.change_node(target)
    assert ast.unparse(node) == after


@pytest.mark.parametrize("before", ["a", "'text'", "None", "import a", "a = b"])
def test_a_node_without_a_change_is_left(before: str) -> None:
    tree = ast.parse(before)
    assert not any(mutants.change_node(node) for node in ast.walk(tree))


def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> list[mutants.Mutant]:
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    (tmp_path / "module.py").write_text(source)
    return list(mutants.mutants("module.py"))


def test_annotations_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = write(tmp_path, monkeypatch, "def f(a: int | None = 1) -> str | None:\n    return a\n")
    changes = {(change.line, change.before, change.after) for change in map(mutants.change, chosen)}
    assert changes == {(1, "1", "2"), (2, "return a", "return None")}
    sources = {ast.unparse(mutants.tree_of(mutant)) for mutant in chosen}
    assert "def f(a: int | None=2) -> str | None:\n    return a" in sources


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    return None\n",
        "def f():\n    return\n",
        "if TYPE_CHECKING:\n    a = 1\n",
        "@dataclass(slots=True)\nclass A: ...\n",
        "@lru_cache(maxsize=1)\ndef f(): ...\n",
    ],
)
def test_a_change_without_effect_is_left(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert write(tmp_path, monkeypatch, source) == []


def test_a_change_is_shown_with_its_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "class A:\n    def f(self):\n        if (\n            self.a\n            < 1\n        ):\n            self.b = 2\n"
    chosen = write(tmp_path, monkeypatch, source)
    changes = {change.shown("module.py"): change.lines for change in map(mutants.change, chosen)}
    assert changes == {
        "module.py::A.f: `self.a <= 1` for `self.a < 1`": {3, 4, 5, 6},
        "module.py::A.f: `self.a < 2` for `self.a < 1`": {3, 4, 5, 6},
        "module.py::A.f: `if not self.a < 1` for `if self.a < 1`": {3, 4, 5, 6},
        "module.py::A.f: `self.b = 3` for `self.b = 2`": {7},
    }


def test_outcomes_hold_while_the_code_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was noticed is not tried again, nor what is explained; survivors are, and what has not been tried."""
    file = tmp_path / "outcomes"
    source = '"""A module."""\na = 1\nb = 2\nc = 3\nd = 4\n'
    noticed, explained, alive, untried = write(tmp_path, monkeypatch, source)
    monkeypatch.setattr(mutants, "EXPLAINED", {"module.py::: `b = 3` for `b = 2`": "because"})
    outcomes = mutants.Outcomes(file, ["module.py"])
    for mutant in (noticed, explained, alive):
        outcomes.add(mutant, mutant is noticed)
    assert capsys.readouterr().out == "survives: module.py::: `c = 4` for `c = 3`, line 4\n"
    write(tmp_path, monkeypatch, source.replace("A module.", "Words.").replace("b = 2", "b = 2  # two"))
    later = mutants.Outcomes(file, ["module.py"])
    assert later.noticed == {noticed: True, explained: False, alive: False}
    settled = [later.is_settled(mutant) for mutant in (noticed, explained, alive, untried)]
    assert settled == [True, True, False, False]
    write(tmp_path, monkeypatch, source.replace("d = 4", "d = 5"))
    assert mutants.Outcomes(file, ["module.py"]).noticed == {}


MODULE = """
from functools import lru_cache

LIMIT = 10
SPARE = 5

def full(count):
    if count < 0:
        raise ValueError
    return count >= LIMIT

def unused():
    return 1

def loop(count):
    while count:
        count -= 1

@lru_cache(maxsize=8)
def doubled(count):
    return 2 * count
"""
TESTS = """
import module

def test_full():
    assert module.full(10)
    assert not module.full(9)

def test_loop():
    module.loop(1)
    module.doubled(3)

def test_doubled():
    assert module.doubled(3) == 6
"""


@pytest.mark.slow
def test_mutants_are_noticed_or_survive(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(MODULE)
    (tmp_path / "test_module.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow\n    ci\n    weekly\n")
    program = """
import sys
from pathlib import Path
from tests import mutant_trials, mutants

mutants.ROOT = mutant_trials.ROOT = Path(sys.argv[1])
sys.path.insert(0, sys.argv[1])
chosen = list(mutants.mutants("module.py"))
trials = mutant_trials.Trials(600.0, 2, lambda mutant, noticed: None)
for mutant, noticed in trials.run(["test_module.py"], chosen).items():
    print("noticed" if noticed else "survives", mutants.change(mutant).shown("module.py"))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(set(lines)) == 14, done.stdout + done.stderr
    assert {line for line in lines if line.startswith("survives")} == {
        "survives module.py::: `SPARE = 6` for `SPARE = 5`",
        "survives module.py::full: `count <= 0` for `count < 0`",
        "survives module.py::full: `count < 1` for `count < 0`",
        "survives module.py::loop: `while not count` for `while count`",
        "survives module.py::unused: `return 2` for `return 1`",
    }
