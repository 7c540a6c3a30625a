"""Tests get into the tier that their marks say, and what changes code for `make weekly` changes what it should."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

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


def test_a_test_without_marks_is_everybodys(item: pytest.Function) -> None:
    tiers.sort(item)
    assert not list(item.iter_markers())


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


def test_ci_installs_every_program(pytestconfig: pytest.Config) -> None:
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
def test_what_cannot_be_changed_is_left(before: str) -> None:
    tree = ast.parse(before)
    assert not any(mutants.change_node(node) for node in ast.walk(tree))


def test_annotations_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    (tmp_path / "module.py").write_text("def f(a: int | None = 1) -> str | None:\n    return a\n")
    found = sorted(mutants.change(each) for each in mutants.mutants("module.py"))
    assert [(each.line, each.before, each.after) for each in found] == [
        (1, "1", "2"),
        (2, "return a", "return None"),
    ]
    assert found[0].source == "def f(a: int | None=2) -> str | None:\n    return a"
