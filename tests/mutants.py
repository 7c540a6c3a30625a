"""Do the tests notice when the code is wrong? `python -m tests.mutants` changes one place at a time and runs them.

A mutant is one module with one change: `<` for `<=`, `and` for `or`, a number that is one more, a condition turned round,
a call left out, None for what is returned. Its tests must fail; a mutant that lives is a line of the report, for people to
read. Which are tried is drawn by `--seed`, the number of the week if none is given, until the time is over.

No library does it here: mutmut and cosmic-ray want the whole of the tests to be importable in their own runner, or a
database and workers, and either mutates a checkout in place; what is needed of them is this file.
"""

from __future__ import annotations

import argparse
import ast
import copy
import datetime
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
COPIED: Final = ("pushcore", "fakeservers", "tests", "pyproject.toml")
HTTP2: Final = ("tests/unit/http2/test_connection.py", "tests/protocol")
"""What tests the parts of a connection: each rule of the RFC by its section, over whole connections."""
MODULES: Final = {
    **{f"pushcore/http2/{name}.py": HTTP2 for name in ("blocks", "connection", "flow_control")},
    **{
        f"pushcore/http2/{name}.py": (f"tests/unit/http2/test_{name}.py", *HTTP2)
        for name in ("exchange", "frames", "headers", "outgoing", "response_headers", "runs", "streams")
    },
    "pushcore/reasons.py": (
        "tests/unit/test_reasons.py",
        "tests/unit/apns/test_reasons.py",
        "tests/unit/fcm/test_errors.py",
    ),
    "pushcore/apns/reasons.py": ("tests/unit/apns/test_reasons.py", "tests/unit/test_reasons.py"),
    "pushcore/fcm/errors.py": ("tests/unit/fcm/test_errors.py", "tests/unit/test_reasons.py"),
    "pushcore/fcm/legacy_errors.py": ("tests/unit/fcm/test_legacy_errors.py", "tests/unit/test_reasons.py"),
    "pushcore/journal/format.py": ("tests/unit/journal/test_format.py", "tests/unit/journal/test_journal.py"),
    "pushcore/engine/retry.py": ("tests/unit/engine/test_retry.py",),
    "pushcore/engine/rate.py": ("tests/unit/engine/test_rate.py",),
    "pushcore/engine/breaker.py": ("tests/unit/engine/test_breaker.py",),
    "pushcore/latency.py": ("tests/unit/test_latency.py",),
}
"""Modules without I/O, and the tests that alone must notice."""
SWAPPED: Final[dict[type[ast.AST], type[ast.AST]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
EXPLAINED: Final[dict[str, str]] = json.loads(Path(__file__).with_name("mutants.json").read_text())
"""Changes that no test can notice or need notice, as `shown` has them, and why: they do not count."""
SLOWEST: Final = 120.0
"""Seconds after which the tests of a mutant hang, which is to notice it."""


class Mutant(NamedTuple):
    """A change of one node of a module, by its place in `ast.walk`."""

    module: str
    place: int


class Change(NamedTuple):
    line: int
    before: str
    after: str
    source: str


def mutants(module: str) -> Iterator[Mutant]:
    """Every place where `module` can be changed. Annotations are never evaluated, and so nobody would notice."""
    tree = ast.parse((ROOT / module).read_text())
    unused: set[ast.AST] = set()
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if isinstance(found := getattr(node, field, None), ast.AST):
                unused.update(ast.walk(found))
    for index, node in enumerate(ast.walk(tree)):
        if node not in unused and change_node(copy.copy(node)):
            yield Mutant(module, index)


def change(mutant: Mutant) -> Change:
    """What it is, as people see it, and the whole module with it."""
    tree = ast.parse((ROOT / mutant.module).read_text())
    node = list(ast.walk(tree))[mutant.place]
    before, line = ast.unparse(node), getattr(node, "lineno", 0)
    change_node(node)
    after = ast.unparse(node)
    return Change(line, before, after, ast.unparse(ast.fix_missing_locations(tree)))


def shown(mutant: Mutant) -> str:
    """The change in one line, without its place."""
    found = change(mutant)
    return f"{mutant.module}: `{found.after}` for `{found.before}`"


def change_node(node: ast.AST) -> bool:
    """Make it another one; False when there is nothing to change in it."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in SWAPPED:
            node.ops = [SWAPPED[type(op)]()]  # type: ignore[list-item]
        case ast.BoolOp(op=op) | ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in SWAPPED:
            node.op = SWAPPED[type(op)]()  # type: ignore[assignment]
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            node.test = ast.UnaryOp(ast.Not(), test)
        case ast.Constant(value=bool(value)):
            node.value = not value
        case ast.Constant(value=int(value)) | ast.Constant(value=float(value)):
            node.value = value + 1
        case ast.Expr(value=ast.Call()):
            node.value = ast.Constant(None)
        case ast.Return(value=ast.expr()):
            node.value = ast.Constant(None)
        case _:
            return False
    return True


def passes(place: Path, module: str, source: str) -> bool:
    """Whether the module's tests pass with this source of it, in a copy of the project."""
    file = place / module
    kept = file.read_text()
    file.write_text(source)
    quick = ("-m", "not (slow or ci or weekly)")
    words = ("-x", "-q", "-n", "0", "-p", "no:cacheprovider", *quick, *MODULES[module])
    try:
        done = subprocess.run(
            [sys.executable, "-B", "-m", "pytest", *words], cwd=place, capture_output=True, timeout=SLOWEST
        )
        return done.returncode == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        file.write_text(kept)


def hunt(chosen: list[Mutant], seconds: float, workers: int) -> tuple[int, list[Mutant]]:
    """How many were tried in that time, and which of them nobody noticed."""
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as directory:
        places: SimpleQueue[Path] = SimpleQueue()
        for number in range(workers):
            place = _copy(Path(directory) / str(number))
            places.put(place)
        for module in {each.module for each in chosen}:
            if not passes(place, module, ast.unparse(ast.parse((ROOT / module).read_text()))):
                raise SystemExit(f"the tests of {module} fail without any change")

        def one(mutant: Mutant) -> bool | None:
            if time.monotonic() > until:
                return None
            place = places.get()
            try:
                return passes(place, mutant.module, change(mutant).source)
            finally:
                places.put(place)

        with ThreadPoolExecutor(workers) as pool:
            passed = list(pool.map(one, chosen))
    lives = [mutant for mutant, alive in zip(chosen, passed, strict=True) if alive]
    return sum(each is not None for each in passed), lives


def _copy(place: Path) -> Path:
    place.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place / name)
    return place


def main() -> int:
    week = datetime.datetime.now(datetime.UTC).isocalendar()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=week.year * 100 + week.week)
    parser.add_argument("--least", type=float, default=0.85, help="the share of mutants that must be noticed")
    parser.add_argument("modules", nargs="*", default=list(MODULES), metavar="MODULE")
    options = parser.parse_args()
    chosen = [mutant for module in options.modules for mutant in mutants(module)]
    random.Random(options.seed).shuffle(chosen)
    tried, lives = hunt(chosen, options.minutes * 60, os.cpu_count() or 1)
    explained = [mutant for mutant in lives if shown(mutant) in EXPLAINED]
    lives = [mutant for mutant in lives if mutant not in explained]
    counted = tried - len(explained)
    for mutant in sorted(lives):
        print(f"nobody notices {shown(mutant)}, line {change(mutant).line}")
    share = 1 - len(lives) / counted if counted else 0.0
    print(
        f"{tried} of {len(chosen)} mutants tried (seed {options.seed}), {len(explained)} explained, {share:.1%} of the others noticed"
    )
    return 0 if share >= options.least else 1


if __name__ == "__main__":
    sys.exit(main())
