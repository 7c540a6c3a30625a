"""What a user gives, gets or catches is imported from `pushcore` itself."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pushcore
import pushcore.queue.errors
from pushcore.errors import PushcoreError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TREES = {f"pushcore.{module}" for module in ("errors", "transport_errors", "results", "queue.errors")}
"""Where exceptions are that leave pushcore."""
SUBMODULES = {"telemetry"}
"""Modules that are used by their own name, as `telemetry.serve`."""


def errors(root: type[BaseException] = PushcoreError) -> Iterator[type[BaseException]]:
    yield root
    for below in root.__subclasses__():
        yield from errors(below)


def imported(page: Path) -> Iterator[tuple[str, str]]:
    """Each module and name that the Python examples of a page import."""
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        for node in ast.walk(
            compile(block, page.name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        ):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("name", pushcore.__all__)
def test_each_public_name_can_be_imported(name: str) -> None:
    assert getattr(pushcore, name) is not None
    assert name in dir(pushcore)


def test_no_other_name_can() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        pushcore.Nothing  # type: ignore[attr-defined]  # noqa: B018


def test_every_exception_is_public() -> None:
    found = {error for error in errors() if error.__module__ in TREES}
    assert len(found) > 25
    assert {error.__name__ for error in found} - set(pushcore.__all__) == set()
    assert all(getattr(pushcore, error.__name__) is error for error in found)


def test_no_name_is_there_twice() -> None:
    assert sorted(pushcore.__all__) == sorted(set(pushcore.__all__))


INTERNAL = {
    "Store",  # a part of `Broker`, which is shown with its methods
    *("CampaignJournal", "NumberedPush", "PushClient", "Shared"),  # protocols that public classes meet
    *("NatsQueue", "RedisQueue"),  # brokers: `open_queue` makes them
    *(
        "CampaignRecord",
        "Database",
        "Dispatcher",
        "JournalStore",
        "RunRecord",
        "UnfinishedRows",
    ),  # constructors that no caller uses
    *(
        "AccessToken",
        "FleetLimiter",
        "Peers",
        "ProviderToken",
        "RateLimiter",
        "WatchedPool",
    ),  # between a client and the engine
    *(
        "Audience",
        "ChunkResult",
        "Duplicates",
        "RowDefaults",
        "Rows",
        "Shard",
        "TokenSample",
        "UniformOutcomes",
    ),  # for the commands
    "TemplateOptions",  # the keyword arguments of `Template`
}
"""Classes of pushcore in the annotations of public names that a user neither makes nor gets."""


def member_types(cls: type) -> Iterator[str]:
    """What the public members of a class take and return, and its fields are."""
    for base in cls.__mro__:
        if base.__module__.startswith("pushcore."):
            yield from (
                str(kind) for name, kind in vars(base).get("__annotations__", {}).items() if name[0] != "_"
            )
            for name, member in list(vars(base).items()):
                function = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
                if inspect.isfunction(function) and (name[0] != "_" or name == "__init__"):
                    yield from map(str, function.__annotations__.values())


def test_what_a_public_name_takes_or_returns_is_public_too() -> None:
    classes = {
        node.name
        for path in (ROOT / "pushcore").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    used: set[str] = set()
    for value in (getattr(pushcore, name) for name in pushcore.__all__):
        if inspect.isfunction(value):
            used.update(*(re.findall(r"\w+", str(kind)) for kind in value.__annotations__.values()))
        elif isinstance(value, type):
            used.update(*(re.findall(r"\w+", text) for text in member_types(value)))
    assert {"Result", "LedgerStatus", "Lease"} <= used
    assert (used & classes) - set(pushcore.__all__) == INTERNAL


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_import_nothing_from_deeper(page: Path) -> None:
    for module, name in imported(page):
        if module.split(".")[0] == "pushcore":
            assert module == "pushcore", f"{page.name} imports {name} from {module}"
            assert name in pushcore.__all__ or name in SUBMODULES
