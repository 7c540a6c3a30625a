"""The map in docs/architecture.md as a test: imports go one way, and pure modules stay pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pushcore"

PURE = [
    "http2/frames.py",
    "http2/headers.py",
    "http2/connection.py",
    "http2/outgoing.py",
    "http2/blocks.py",
    "http2/streams.py",
    "http2/exchange.py",
    "http2/reference.py",
    "models",
]
IMPURE_IMPORTS = {"asyncio", "ssl", "socket", "time", "random", "secrets"}

# Which parts of pushcore each part may import, itself always included.
MAY_IMPORT = {
    "errors": {"results"},  # for a type only: results raises one of the errors
    "results": {"errors"},
    "latency": set(),
    "metrics": {"errors", "results", "latency"},
    "telemetry": {"errors", "metrics", "latency"},
    "http2": {"errors", "results", "metrics"},
    "auth": {"errors", "results"},
    "models": {"errors", "results"},
    "requests": {"results", "http2"},
    "sender": {"errors", "results", "requests", "http2"},
    "apns": {"sender", "errors", "results", "requests", "metrics", "http2", "auth", "models"},
    "fcm": {"sender", "errors", "results", "requests", "metrics", "http2", "auth", "models"},
    "engine": {
        "errors",
        "results",
        "requests",
        "metrics",
        "latency",
        "http2",
        "apns",
        "fcm",
        "models",
        "journal",
    },
    "journal": {"errors", "results", "models"},
    "audience": {"results"},
    "payloads": {"results", "requests", "fcm", "models", "audience"},
    "queue": {"errors", "results", "models", "engine", "journal", "audience", "payloads"},
    "cli": {
        "errors",
        "results",
        "requests",
        "metrics",
        "latency",
        "telemetry",
        "http2",
        "apns",
        "fcm",
        "models",
        "auth",
        "engine",
        "journal",
        "audience",
        "payloads",
        "queue",
        "__init__",
    },
}


def imports(path: Path) -> Iterator[str]:
    """The absolute dotted names that a file imports, relative imports resolved."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                yield node.module or ""
                continue
            start = package[: len(package) - node.level + 1]
            if node.module:
                yield ".".join((*start, node.module))
            else:
                yield from (".".join((*start, alias.name)) for alias in node.names)


def pure_files() -> list[Path]:
    files: list[Path] = []
    for name in PURE:
        path = PACKAGE / name
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.exists() else []
    return files


@pytest.mark.parametrize("path", pure_files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_pure_modules_import_no_io_no_clock_and_no_chance(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & IMPURE_IMPORTS


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_go_one_way(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part in ("__init__", "__main__"):
        return
    for name in imports(path):
        words = name.split(".")
        if words[0] == "fakeservers" and part != "cli":
            pytest.fail(f"{path.name} imports {name}: the engine knows nothing of the fake servers")
        if words[0] != "pushcore" or len(words) == 1:
            continue
        assert words[1] == part or words[1] in MAY_IMPORT[part], f"{part} must not import {name}"


def test_fake_servers_share_no_code_with_pushcore() -> None:
    for path in (ROOT / "fakeservers").rglob("*.py"):
        assert not any(name.split(".")[0] == "pushcore" for name in imports(path)), path
