"""Options, variables, metrics, modules and places that the text of a page names exist; test_blocks.py looks into the code blocks."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest

from pushcore.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)
FOREIGN = {"--preload", "--add-host", "--no-cache-dir", "--cache-sim", "--tool"}
"""Options of gunicorn, docker, pip and valgrind."""
PARTS = ("pushcore", "fakeservers", "bench", "tests", "docs", "docsite")


def options(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield from (*parameter.opts, *parameter.secondary_opts)
    for child in getattr(command, "commands", {}).values():
        yield from options(child)


@cache
def source() -> str:
    """All code of the repository, which has the options of the fakes, the benchmark and other programs."""
    files = [
        file
        for part in (*PARTS[:4], ".ci")
        for file in sorted((ROOT / part).rglob("*"))
        if file.suffix in (".py", ".sh", ".js", ".mjs") and file.is_file()
    ]
    return "".join(file.read_text(encoding="utf-8") for file in (*files, ROOT / "Makefile"))


@cache
def words() -> frozenset[str]:
    """Every word of the code. Metrics get their prefix when they are exported."""
    return frozenset(re.findall(r"\w+", source()))


@cache
def known_options() -> frozenset[str]:
    quoted = re.findall(r"--[a-z][a-z0-9-]+", source())
    return frozenset((*options(cli), *quoted, *FOREIGN))


def named(page: Path, pattern: str) -> set[str]:
    return set(re.findall(pattern, page.read_text(encoding="utf-8")))


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_and_variables_exist(page: Path) -> None:
    assert named(page, r"(?<![\w-])--[a-z][a-z0-9-]+") - known_options() == set()
    variables = named(page, r"\b_?PUSHCORE_[A-Z_]*[A-Z]\b")
    assert [name for name in variables if name not in words() and not is_of_an_option(name)] == []


def is_of_an_option(variable: str) -> bool:
    option = variable.removeprefix("PUSHCORE_").lower().replace("_", "-")
    return f"--{option}" in known_options()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_metrics_modules_and_places_exist(page: Path) -> None:
    metrics = {
        re.sub("_(total|bucket|count|sum)$", "", name) for name in named(page, r"\bpushcore_[a-z_]+\b")
    }
    assert [name for name in metrics if words().isdisjoint({name, name.removeprefix("pushcore_")})] == []
    places = named(page, rf"`((?:{'|'.join(PARTS)})/[\w./*-]+)`")
    assert [place for place in places if not list(ROOT.glob(place.rstrip("/")))] == []
    dotted = named(page, r"`((?:pushcore|fakeservers)(?:\.\w+)+)[`(]")
    assert [name for name in dotted if not (ROOT / name).exists() and not resolves(name)] == []


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one. Files and metrics of other systems are not asked for."""
    if name.endswith((".toml", ".service")) or name == "pushcore.outcome":
        return True
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            found = getattr(found, part, None)
        return found is not None
    return False


@pytest.mark.parametrize("package", ["pushcore", "fakeservers"])
def test_the_map_has_every_room_and_every_module_at_the_top(package: str) -> None:
    page = (ROOT / "docs" / "inside" / "architecture.md").read_text(encoding="utf-8")
    rooms = {f"{file.parent.name}/" for file in (ROOT / package).glob("*/__init__.py")}
    modules = {file.name for file in (ROOT / package).glob("*.py")} - {"__init__.py"}
    if package == "pushcore":
        modules.remove("__main__.py")  # the command line in a process
    assert not {name for name in rooms | modules if f"`{name}`" not in page}
