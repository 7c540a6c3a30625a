"""One class name, one meaning in the whole repository: a reader who has met a name once knows what it is everywhere."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("pushcore", "fakeservers", "bench", "tests/support")


def classes() -> Iterator[tuple[str, str]]:
    """The name and the file of every public class at the top of a module."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    yield node.name, path.relative_to(ROOT).as_posix()


def test_each_class_name_has_one_meaning() -> None:
    files: dict[str, list[str]] = defaultdict(list)
    for name, file in classes():
        files[name].append(file)
    twice = {name: places for name, places in files.items() if len(places) > 1}
    assert not twice, f"names that stand for several classes: {twice}"


def test_the_classes_are_seen() -> None:
    """Otherwise the test above could not fail."""
    names = {name for name, _ in classes()}
    assert {"Result", "FakeApns", "Workload", "ScriptedClient"} <= names
    assert len(names) > 250
