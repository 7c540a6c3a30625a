"""The floors of coverage: what falls below is told, and they only rise. Explained mutants are of code that is there."""

from __future__ import annotations

import ast
import json
import re

import pytest

from tests import mutants, rooms

FOUND = {"pushcore": (9, 10, 19, 20), "pushcore/http2": (5, 5, 1, 3)}


def test_rooms_add_up_and_the_whole_has_all() -> None:
    one = {"summary": {"covered_lines": 1, "num_statements": 2, "covered_branches": 3, "num_branches": 4}}
    files = dict.fromkeys(("pushcore/a.py", "pushcore/http2/b.py", "pushcore/http2/c.py"), one)
    assert rooms.rooms(files) == {"pushcore": (3, 6, 9, 12), "pushcore/http2": (2, 4, 6, 8)}


def test_a_package_below_its_floor_is_reported() -> None:
    assert rooms.below(FOUND, {"pushcore": 95.0, "pushcore/http2": 33.3}) == []
    assert rooms.below(FOUND, {"pushcore": 95.1, "pushcore/gone": 1.0}) == [
        "pushcore/http2 has no floor: run with --raise",
        "pushcore: 95.0 % of the branches are taken, its floor is 95.1 %",
        "pushcore/gone has a floor of 1.0 % and no files: take it out of floors.json",
    ]


def test_a_floor_only_rises() -> None:
    floors = {"pushcore": 96, "pushcore/gone": 50}
    assert rooms.raised(FOUND, floors) == {"pushcore": 96, "pushcore/http2": 33}


def test_floors_are_of_rooms_that_are_there() -> None:
    package = rooms.FLOORS.parents[1] / "pushcore"
    there = {file.parent.relative_to(package.parent).as_posix() for file in package.rglob("*.py")}
    assert set(json.loads(rooms.FLOORS.read_text())) <= there


def test_explained_mutants_are_of_code_that_exists() -> None:
    for change, reason in mutants.EXPLAINED.items():
        module, _, before = re.fullmatch(r"(\S+)::\S*: `(.*)` for `(.*)`", change, re.DOTALL).groups()  # type: ignore[union-attr]
        assert module in mutants.MODULES
        assert before in ast.unparse(ast.parse((mutants.ROOT / module).read_text())), change
        assert len(reason.split()) > 3


def test_a_module_without_mutants_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["mutants", "pushcore/latency.py", "pushcore/x.py"])
    with pytest.raises(SystemExit, match="2"):
        mutants.main()
    assert "not mutated: pushcore/x.py; these are: pushcore/" in capsys.readouterr().err
