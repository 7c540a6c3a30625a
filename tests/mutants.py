"""Do the tests notice when the code is wrong? `python -m tests.mutants` changes one place at a time and runs them.

A mutant is one module with one change: `<` for `<=`, `and` for `or`, a number that is one more, a condition turned round,
a call left out, None for what is returned. Its tests must fail. A mutant that survives is a line of the report, for people
to read. All are tried, in an order drawn by `--seed`, until the time is over; `tests/mutant_trials.py` tries them.

No library does it here: mutmut 3 rewrites every function into a trampoline with all its mutants, which slots, inlined hot
paths and module-level tables do not survive, and tries no module-level code; cosmic-ray starts pytest anew for each mutant,
seven seconds here. What is needed of them is these two files.
"""

from __future__ import annotations

import argparse
import ast
import copy
import datetime
import functools
import hashlib
import json
import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
CODEC: Final = (
    "blocks", "connection", "exchange", "flow_control", "frames", "headers", "outgoing", "reference", "response_headers", "runs",
    "streams",
)  # fmt: skip
TRANSPORT: Final = ("dialer", "no_proxy", "origin", "pool", "protocol", "proxy", "round_trip", "tls")
REASONS: Final = (
    "pushcore/reasons.py",
    "pushcore/apns/reasons.py",
    "pushcore/fcm/errors.py",
    "pushcore/fcm/legacy_errors.py",
)
MODULES: Final = {
    **dict.fromkeys(
        (f"pushcore/http2/{name}.py" for name in CODEC),
        (
            *(f"tests/unit/http2/test_{name}.py" for name in CODEC[1:] if name != "flow_control"),
            "tests/protocol",
        ),
    ),
    **dict.fromkeys(
        (f"pushcore/http2/{name}.py" for name in TRANSPORT),
        tuple(
            f"tests/unit/http2/test_{name}.py"
            for name in (
                *TRANSPORT,
                "dial_race",
                "pool_end",
                "pool_silence",
                "proxy_connect",
                "shared_contexts",
            )
        ),
    ),
    **dict.fromkeys(
        REASONS,
        (
            "tests/unit/test_reasons.py",
            "tests/unit/apns/test_reasons.py",
            "tests/unit/fcm/test_errors.py",
            "tests/unit/fcm/test_legacy_errors.py",
        ),
    ),
    "pushcore/journal/format.py": tuple(
        f"tests/unit/journal/test_{name}.py" for name in ("format", "journal", "later_runs")
    ),
    "pushcore/engine/retry.py": ("tests/unit/engine/test_retry.py",),
    "pushcore/engine/rate.py": ("tests/unit/engine/test_rate.py", "tests/unit/engine/test_rate_bounds.py"),
    "pushcore/engine/breaker.py": (
        "tests/unit/engine/test_breaker.py",
        "tests/unit/engine/test_breaker_bounds.py",
    ),
    "pushcore/latency.py": ("tests/unit/test_latency.py",),
}
"""The modules that are changed, and the tests that alone must notice. Modules with the same tests are tried together."""
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
"""Changes that no test can notice or need notice, as `Change.shown` has them, and why: they do not count."""
LONGEST: Final = 90
"""Characters of the code that is shown around a change."""
_SIMPLE: Final = (
    ast.expr,
    ast.keyword,
    ast.Assign,
    ast.AnnAssign,
    ast.AugAssign,
    ast.Return,
    ast.Raise,
    ast.Expr,
)


class Mutant(NamedTuple):
    """A change of one node of a module, by its place in `ast.walk`."""

    module: str
    place: int


class Change(NamedTuple):
    """What a mutant is."""

    line: int
    scope: str  # the class and function around it, with dots
    before: str
    after: str
    lines: frozenset[int]  # of the statement that is changed, without the statements inside it

    def shown(self, module: str) -> str:
        """The change without its line, which changes too often."""
        return f"{module}::{self.scope}: `{self.after}` for `{self.before}`"


def mutants(module: str) -> Iterator[Mutant]:
    """Every place where `module` can be changed.

    Left out is what cannot be noticed by design: annotations are never evaluated, nor is what is under `TYPE_CHECKING`;
    `slots` make an object smaller and do nothing else (`bench` counts what is allocated), and the `maxsize` of a cache is
    a choice of memory.
    """
    tree = ast.parse((ROOT / module).read_text())
    unused: set[ast.AST] = set()
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if isinstance(annotation := getattr(node, field, None), ast.AST):
                unused.update(ast.walk(annotation))
        match node:
            case ast.If(test=ast.Name("TYPE_CHECKING")) | ast.keyword("slots" | "maxsize"):
                unused.update(ast.walk(node))
    for index, node in enumerate(ast.walk(tree)):
        if node not in unused and change_node(copy.copy(node)):
            yield Mutant(module, index)


def change(mutant: Mutant) -> Change:
    """How a mutant is shown, and the lines that tests must get to."""
    nodes, above = _parsed((ROOT / mutant.module).read_text())
    node = nodes[mutant.place]
    shown, scope = node, []
    while isinstance(parent := above.get(shown), _SIMPLE) and len(ast.unparse(parent)) <= LONGEST:
        shown = parent
    before, line, statement = _text(shown), getattr(node, "lineno", 0), node
    while not isinstance(statement, ast.stmt):
        statement = above[statement]
    lines = (
        {*range(line, (getattr(node, "end_lineno", None) or line) + 1)} if node is not statement else set()
    )
    parent = statement
    while parent in above:
        if isinstance(parent, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            scope.append(parent.name)
        parent = above[parent]
    same = dict(vars(node))
    change_node(node)
    after = _text(shown)
    vars(node).update(same)
    return Change(line, ".".join(scope[::-1]), before, after, frozenset(lines | _own_lines(statement)))


def _text(node: ast.AST) -> str:
    return ast.unparse(node).split(":\n")[0] if isinstance(node, (ast.If, ast.While)) else ast.unparse(node)


def tree_of(mutant: Mutant) -> ast.Module:
    """The whole module with the change."""
    tree = ast.parse((ROOT / mutant.module).read_text())
    for index, node in enumerate(ast.walk(tree)):
        if index == mutant.place:
            change_node(node)
            break
    return ast.fix_missing_locations(tree)


@functools.lru_cache(maxsize=16)
def _parsed(source: str) -> tuple[list[ast.AST], dict[ast.AST, ast.AST]]:
    """The nodes of a module in the order of `ast.walk`, and the parent of each."""
    nodes = list(ast.walk(ast.parse(source)))
    return nodes, {child: parent for parent in nodes for child in ast.iter_child_nodes(parent)}


def _own_lines(statement: ast.stmt) -> set[int]:
    """The lines of a statement, those of a compound one without its body."""
    match statement:
        case ast.Match(cases=[ast.match_case(body=[first, *_]), *_]):
            end = max(statement.lineno, first.lineno - 1)
        case ast.stmt(body=[ast.stmt() as first, *_]):  # type: ignore[misc]
            end = max(statement.lineno, first.lineno - 1)
        case _:
            end = statement.end_lineno or statement.lineno
    decorators = [decorator.lineno for decorator in getattr(statement, "decorator_list", [])]
    return {*range(min([statement.lineno, *decorators]), end + 1)}


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
        case ast.Return(value=ast.Constant(value=None | bool() | int() | float())):
            return False  # None for None, or beside another value for this one
        case ast.Return(value=ast.expr()):
            node.value = ast.Constant(None)
        case _:
            return False
    return True


class Score(NamedTuple):
    """How the mutants of a module ended."""

    module: str
    tried: int
    survivors: int
    explained: int

    @property
    def share(self) -> float:
        """The share of the mutants that were noticed, without those that are explained."""
        counted = self.tried - self.explained
        return 1 - self.survivors / counted if counted else 1.0

    def __str__(self) -> str:
        noticed = self.tried - self.explained - self.survivors
        return f"{self.module:34}{self.tried:7}{noticed:9}{self.explained:11}{self.survivors:11}{self.share:9.1%}"


class Outcomes:
    """Whether mutants were noticed, in a file that later runs continue.

    A line is for one mutant of one version of its module: a module whose code has changed begins anew.
    """

    def __init__(self, file: Path | None, modules: Iterable[str]) -> None:
        self.noticed: dict[Mutant, bool] = {}
        self._file = file
        self._digests = {module: _digest((ROOT / module).read_text()) for module in modules}
        modules_by_digest = {digest: module for module, digest in self._digests.items()}
        places = {mutant for module in self._digests for mutant in mutants(module)}
        for line in file.read_text().splitlines() if file and file.exists() else ():
            digest, place, noticed = line.split()
            mutant = Mutant(modules_by_digest.get(digest, ""), int(place))
            if mutant in places:
                self.noticed[mutant] = noticed == "noticed"

    def is_settled(self, mutant: Mutant) -> bool:
        """Whether it need not be tried again: a survivor without explanation may have a test by now."""
        return mutant in self.noticed and (self.noticed[mutant] or _explained(mutant))

    def add(self, mutant: Mutant, noticed: bool) -> None:
        """Store how a mutant ended, and print it if it survives without an explanation."""
        self.noticed[mutant] = noticed
        if self._file:
            with self._file.open("a") as file:
                print(
                    self._digests[mutant.module], mutant.place, "noticed" if noticed else "alive", file=file
                )
        if not noticed and not _explained(mutant):
            print(f"survives: {change(mutant).shown(mutant.module)}, line {change(mutant).line}", flush=True)


def _digest(source: str) -> str:
    """Of the code, without comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                node.value = ast.Constant("")
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _explained(mutant: Mutant) -> bool:
    return change(mutant).shown(mutant.module) in EXPLAINED


def main() -> int:
    from tests import mutant_trials

    week = datetime.datetime.now(datetime.UTC).isocalendar()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="no other mutant is begun after so long")
    parser.add_argument("--seed", type=int, default=week.year * 100 + week.week)
    parser.add_argument("--least", type=float, default=0.85, help="the share of mutants that must be noticed")
    parser.add_argument("--workers", type=int, default=1, help="how many mutants are tried at a time")
    parser.add_argument("--outcomes", type=Path, metavar="FILE", help="where a later run continues")
    parser.add_argument("modules", nargs="*", default=list(MODULES), metavar="MODULE")
    options = parser.parse_args()
    if unknown := [module for module in options.modules if module not in MODULES]:
        parser.error(f"not mutated: {', '.join(unknown)}; these are: {', '.join(MODULES)}")
    groups: dict[tuple[str, ...], list[Mutant]] = {}
    for module in options.modules:
        groups.setdefault(MODULES[module], []).extend(mutants(module))
    outcomes = Outcomes(options.outcomes, options.modules)
    trials = mutant_trials.Trials(options.minutes * 60, options.workers, outcomes.add)
    for tests, chosen in groups.items():
        random.Random(options.seed).shuffle(chosen)
        if left := [mutant for mutant in chosen if not outcomes.is_settled(mutant)]:
            left.sort(key=lambda mutant: mutant not in outcomes.noticed)  # survivors of an earlier run first
            outcomes.noticed |= trials.run(tests, left)
    planned = sum(map(len, groups.values()))
    scores: list[Score] = []
    for module in options.modules:
        ends = {mutant: seen for mutant, seen in outcomes.noticed.items() if mutant.module == module}
        explained = [_explained(mutant) for mutant, seen in ends.items() if not seen]
        scores.append(Score(module, len(ends), explained.count(False), explained.count(True)))
    whole = Score(
        "all",
        sum(score.tried for score in scores),
        sum(score.survivors for score in scores),
        sum(score.explained for score in scores),
    )
    print(f"\n{'module':34}{'mutants':>7}{'noticed':>9}{'explained':>11}{'survivors':>11}{'score':>9}")
    print(*scores, whole, sep="\n")
    print(f"{whole.tried} of {planned} mutants tried (seed {options.seed})")
    return 0 if min(score.share for score in (*scores, whole)) >= options.least else 1


if __name__ == "__main__":
    sys.exit(main())
