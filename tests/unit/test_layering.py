"""The map in docs/inside/architecture.md as a test: imports go one way and never in a circle, pure modules stay pure, and a room
holds few enough files to be looked over."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("pushcore", "fakeservers", "bench")

PURE = [
    "pushcore/http2/response_headers.py",
    "pushcore/http2/blocks.py",
    "pushcore/http2/connection.py",
    "pushcore/http2/exchange.py",
    "pushcore/http2/flow_control.py",
    "pushcore/http2/frames.py",
    "pushcore/http2/headers.py",
    "pushcore/http2/no_proxy.py",
    "pushcore/http2/origin.py",
    "pushcore/http2/outgoing.py",
    "pushcore/http2/reference.py",
    "pushcore/http2/runs.py",
    "pushcore/http2/streams.py",
    "pushcore/models",
]
IMPURE_IMPORTS = {"asyncio", "ssl", "socket", "time", "random", "secrets"}

LEAVES = {
    "transport_errors",
    "redaction",
    "reasons",
    "results",
    "errors",
    "arguments",
    "key_material",
    "latency",
    "metrics",
}
PROVIDER = LEAVES | {"requests", "http2", "auth", "models", "provider_client"}
ENGINE = PROVIDER - {"auth", "provider_client"}
CAMPAIGN = ENGINE | {"apns", "fcm", "engine", "journal", "audience", "payloads"}

MAY_IMPORT = {
    "pushcore": {
        "transport_errors": set(),
        "reasons": set(),
        "results": {"reasons", "transport_errors"},
        "redaction": set(),
        "errors": {"transport_errors", "redaction", "results"},
        "arguments": {"errors", "redaction"},
        "key_material": {"redaction", "errors"},
        "latency": set(),
        "metrics": {"errors", "arguments", "results", "latency"},
        "telemetry": {"errors", "metrics", "latency"},
        "http2": LEAVES,
        "auth": {"errors", "arguments", "key_material", "reasons", "redaction", "results"},
        "models": {"errors", "arguments", "results"},
        "requests": {"results", "http2"},
        "provider_client": LEAVES | {"requests", "http2"},
        "apns": PROVIDER,
        "fcm": PROVIDER,
        "engine": ENGINE,
        "journal": {"errors", "arguments", "key_material", "results", "models"},
        "audience": {"redaction", "results", "key_material"},
        "payloads": {"errors", "arguments", "results", "requests", "fcm", "models", "audience"},
        "queue": CAMPAIGN,
        "gateway": CAMPAIGN | {"auth", "telemetry", "queue"},
        "cli": CAMPAIGN | {"auth", "telemetry", "queue", "gateway", "__init__"},
        "__main__": {"cli"},
        "__init__": CAMPAIGN | {"auth", "provider_client", "queue", "cli"},
    },
    "pushcore/queue": {
        "access": set(),
        "brokers": {"access", "campaign", "chunk", "errors", "protocol", "tasks"},
        "opening": {"access", "brokers", "protocol"},
    },
    "pushcore/cli": {
        "statuses": set(),
        "streams": set(),
        "origins": set(),
        "process": set(),
        "sections": {"origins", "process"},
        "options": {"sections"},
        "profiles": {"sections", "origins"},
        "report": {"statuses", "streams"},
        "run": {"statuses", "report", "process"},
        "queue_access": {"sections", "report", "run"},
        "commands": {
            "statuses",
            "sections",
            "options",
            "profiles",
            "queue_access",
            "report",
            "run",
            "process",
        },
        "main": {"statuses", "streams", "origins", "commands", "process"},
    },
    "fakeservers": {
        "certs": {"serving"},
        "in_thread": set(),
        "extra": set(),
        "serving": set(),
        "records": {"certs", "serving"},
        "responses": {"serving"},
        "faults": {"serving", "responses"},
        "apns": {"certs", "records", "serving", "responses", "faults"},
        "fcm": {"certs", "records", "serving", "responses", "faults"},
        "control": {"serving", "faults", "apns", "fcm"},
        "impersonation": {"serving"},
        "handouts": {"certs", "responses", "apns", "fcm"},
        "options": {"serving", "faults", "apns", "fcm", "control", "impersonation", "handouts"},
        "pytest_plugin": {"__init__", "in_thread", "faults", "apns", "fcm"},
        "__main__": {
            *("__init__", "certs", "extra", "options", "serving", "faults", "apns", "fcm", "control"),
            *("impersonation", "handouts"),
        },
        "__init__": {"certs", "extra", "in_thread", "serving", "faults", "apns", "fcm", "control"},
    },
    "bench": {
        "inprocess": set(),
        "harness": set(),
        "cases": {"harness"},
        "counting": {"harness", "cases", "inprocess"},
        "servers": {"harness"},
        "rivals": {"harness", "servers"},
        "micro": {"harness"},
        "client": {"harness", "servers", "cases"},
        "counts": {"harness", "cases", "inprocess", "counting"},
        "campaigns": {"harness", "servers", "cases", "inprocess"},
        "gateway": {"harness", "servers"},
        "guards": {"harness", "servers", "client", "counts", "campaigns"},
        "report": {"harness", "servers", "client", "counts", "campaigns", "micro", "rivals"},
        "programs": {"harness", "servers", "client", "campaigns"},
        "reporting": {"harness", "guards", "report"},
        "__main__": {
            *("harness", "servers", "client", "counts", "gateway", "micro", "rivals"),
            *("programs", "reporting"),
        },
    },
}
"""For each folder, which of its parts (files and rooms) each part may import; itself always. In `pushcore/queue` parts that
are not named may import any other."""

DEPRECATED = {"pushcore/engine/journal.py"}
"""Old places of modules that re-export the new ones, so against the order."""

MOST_FILES = 20
"""Python files of a room, tests apart; at the tops in `TOPS` fewer."""
TOPS = {"pushcore": 14, "pushcore/cli": 10, "fakeservers": 10, "bench": 7}


def files(*places: str) -> list[Path]:
    """All Python files of these packages, folders or files."""
    found: list[Path] = []
    for place in places:
        path = ROOT / place
        found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return found


def name_of(path: Path) -> str:
    """The path from the root, as tests show it."""
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    """The dotted name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in files(*PACKAGES)}


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    """The absolute dotted names that a file imports, relative imports resolved, those for type checking included.

    `from package import name` is the submodule of that name where there is one, else the package itself.
    """
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*start, node.module) if node.module else start)
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                yield whole if whole in MODULES else module


def circles() -> list[list[str]]:
    """The strongly connected parts of the graph of imports that have more than one module (Tarjan)."""
    graph = {module: sorted({*imports(path)} & MODULES.keys() - {module}) for module, path in MODULES.items()}
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in graph[module]:
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            at = stack.index(module)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for module in graph:
        if module not in order:
            visit(module)
    return found


@pytest.mark.parametrize("path", files(*PURE), ids=name_of)
def test_pure_modules_import_no_io_no_clock_and_no_chance(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & IMPURE_IMPORTS


def test_no_imports_go_in_a_circle() -> None:
    assert circles() == []


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_go_one_way(folder: str) -> None:
    assert breaches(folder) == []


def breaches(folder: str) -> list[str]:
    """Each import inside a folder that goes against its order."""
    allowed = MAY_IMPORT[folder]
    prefix = folder.replace("/", ".")
    found = []
    for path in files(folder):
        part = path.relative_to(ROOT / folder).parts[0].removesuffix(".py")
        if part not in allowed and (folder == "pushcore/queue" or part == "__init__"):
            continue
        for name in imports(path):
            if name != prefix and not name.startswith(f"{prefix}."):
                continue
            other = "__init__" if name == prefix else name.split(".")[prefix.count(".") + 1]
            if other != part and other not in allowed.get(part, ()) and name_of(path) not in DEPRECATED:
                found.append(f"{name_of(path)} imports {name}")
    return found


OF_TUPLES = {"_replace", "_asdict", "_fields", "_make"}
"""Public names of every named tuple."""
OF_RESULTS = {"_id", "_find"}
"""What the clients set of each result that they make; its users read `id`."""


def package_of(path: Path) -> Path:
    """The package, or the module at the top, whose private names a file may use."""
    return ROOT.joinpath(*path.relative_to(ROOT).parts[:2])


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in OF_TUPLES | OF_RESULTS


def is_own(node: ast.expr) -> bool:
    """Whether the object of an attribute is `self`, `cls` or `super()`: a subclass uses what it inherits."""
    if isinstance(node, ast.Call):
        node = node.func
    return isinstance(node, ast.Name) and node.id in ("self", "cls", "super")


def private_names(tree: ast.AST) -> set[str]:
    """The private names that a file defines: functions, classes, names that are assigned or annotated, slots."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_own(node.value):
            found.add(node.attr)
    return {name for name in found if is_private(name)}


def private_uses(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The private names of other objects that a file reads, sets or imports, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and not is_own(node.value):
            yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names if is_private(alias.name))


def foreign_private_uses(trees: dict[Path, ast.Module]) -> list[str]:
    """Each use of a private name that another package defines, and the file's own does not. Names that no file here
    defines are the standard library's, as `os._exit`."""
    defined: dict[Path, set[str]] = {}
    for path, tree in trees.items():
        defined.setdefault(package_of(path), set()).update(private_names(tree))
    everything = set().union(*defined.values())
    return [
        f"{name_of(path)}:{line} uses {name}"
        for path, tree in trees.items()
        for line, name in private_uses(tree)
        if name in everything - defined[package_of(path)]
    ]


@pytest.mark.parametrize("place", ["pushcore", "fakeservers"])
def test_no_package_uses_the_private_names_of_another(place: str) -> None:
    assert foreign_private_uses({path: ast.parse(path.read_text()) for path in files(place)}) == []


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("client._pool.close()", ["_pool"]),
        ("clients[0]._pool = None", ["_pool"]),
        ("from ..engine.engine import _later", ["_later"]),
        ("self._pool.close()", []),
        ("super()._later()", []),
        ("os._exit(1)", []),
        ("point._replace(x=1)", []),
        ("class Own:\n    _pool: int\nown._pool", []),
    ],
)
def test_the_use_of_a_private_name_is_seen(code: str, told: list[str]) -> None:
    engine = ast.parse("class Engine:\n    def __init__(self): self._pool = 1\ndef _later(): _replace = 1")
    trees = {ROOT / "pushcore/engine/engine.py": engine, ROOT / "pushcore/gateway/door.py": ast.parse(code)}
    assert [use.split()[-1] for use in foreign_private_uses(trees)] == told


def test_only_the_command_line_knows_the_fake_servers() -> None:
    for path in files("pushcore"):
        if "cli" not in path.parts:
            assert not any(name.split(".")[0] == "fakeservers" for name in imports(path)), name_of(path)


def test_only_the_command_line_knows_the_gateway_and_loads_it_when_asked() -> None:
    """Its libraries are an extra, and no command waits for them but its own."""
    for path in files("pushcore"):
        if "gateway" not in path.parts:
            lazy = path.parts[-2:] == ("commands", "gateway.py")
            tree = ast.parse(path.read_text())
            nodes = tree.body if lazy else ast.walk(tree)
            for node in nodes:
                if isinstance(node, ast.Import | ast.ImportFrom):
                    module = getattr(node, "module", None) or ""
                    assert "gateway" not in module.split(".") or module.startswith("commands."), name_of(path)


def test_fake_servers_share_no_code_with_pushcore() -> None:
    for path in files("fakeservers"):
        assert not any(name.split(".")[0] == "pushcore" for name in imports(path)), name_of(path)


@pytest.mark.parametrize(
    "folder",
    sorted({path.parent for path in files(*PACKAGES)}),
    ids=name_of,
)
def test_a_room_can_be_looked_over(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) <= TOPS.get(name_of(folder), MOST_FILES)
