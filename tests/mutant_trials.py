"""Runs a module's tests against its mutants: `tests/mutants.py` says which.

Starting pytest anew for each of thousands of mutants takes hours, so each runs in a fork of a process that is ready:

- One process for each module imports it, collects its tests and runs them once, to see which test runs which lines.
- A mutant of a line that runs in tests alone is a fork of that process: the functions of the module get the code of
  the changed ones, and those tests run that get to that line, the quickest first.
- A mutant of what runs while modules are imported (a table, a default, a class) is a fork of a process that has
  imported other libraries alone; its `import` of the module finds the changed one.

A mutant that takes much longer than the tests do has hung, which is to be noticed.
"""

from __future__ import annotations

import faulthandler
import functools
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import pickle
import resource
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Final, NamedTuple

import coverage
import pytest

from tests.mutants import ROOT, Mutant, change, tree_of

UNCHANGED: Final = -1
"""The place of a mutant without any change: it must survive, or the others prove nothing."""
ALIVE, NOTICED, OTHERWISE = 0, 1, 3
"""How the process of a mutant ends; OTHERWISE: it must be imported, for code cannot be exchanged in place."""
WORDS: Final = (
    "-q", "-x", "-n", "0", "-p", "no:cacheprovider", "-p", "no:faulthandler", "-m", "not (slow or ci or weekly)",
    "-W", "ignore::pytest.PytestAssertRewriteWarning", "--hypothesis-seed", "0",
)  # fmt: skip


class Survey(NamedTuple):
    """What a run of a module's tests without any change has shown."""

    seconds: dict[str, float]
    """The CPU time of each test."""
    libraries: list[str]
    """The libraries that the tests import."""


class Trials:
    """Tries mutants for `seconds`, `workers` of them at a time, and calls `tell` with each and whether it was noticed."""

    def __init__(self, seconds: float, workers: int, tell: Callable[[Mutant, bool], None]) -> None:
        self._until = time.monotonic() + seconds
        self._workers = workers
        self._tell = tell
        self._output = os.dup(1)
        self._compiled = tempfile.TemporaryDirectory()
        sys.pycache_prefix, sys.dont_write_bytecode = self._compiled.name, False

    def run(self, tests: Sequence[str], chosen: list[Mutant]) -> dict[Mutant, bool]:
        """Whether each mutant was noticed by these tests, of those that the time was enough for."""
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "outcomes"
            session = _Session(chosen, self._try_all, file)
            code = os.waitstatus_to_exitcode(os.waitpid(_fork(lambda: _pytest(tests, session)), 0)[1])
            if code != 0:
                raise SystemExit(f"these fail without any change: {', '.join(tests)}")
            survey, codes = pickle.loads(file.read_bytes())
        for name in survey.libraries:
            importlib.import_module(name)
        left = [mutant for mutant in chosen if codes.get(mutant, OTHERWISE) == OTHERWISE]

        def imported(mutant: Mutant) -> int:
            sys.meta_path.insert(0, _Finder(mutant))
            own = [test for test in tests if Path(test).name == f"test_{Path(mutant.module).name}"]
            parts = [own, [test for test in tests if test not in own]] if own else [tests]
            codes = (_pytest(part, _Sorted(survey.seconds)) for part in parts if part)
            return next((code for code in codes if code != ALIVE), ALIVE)

        same = Mutant(chosen[0].module, UNCHANGED)
        codes |= self._try_all([same, *left], imported, sum(survey.seconds.values()) + 3)
        if codes.pop(same, ALIVE) != ALIVE:
            raise SystemExit(
                f"the tests of {same.module} fail when it is imported from a tree without any change"
            )
        return {mutant: code != ALIVE for mutant, code in codes.items() if code != OTHERWISE}

    def _try_all(
        self, chosen: list[Mutant], trial: Callable[[Mutant], int], usual: float
    ) -> dict[Mutant, int]:
        """Fork for each mutant, and run `trial` there, which takes `usual` seconds if it does not hang."""
        os.dup2(self._output, 1)
        running: dict[int, Mutant] = {}
        codes: dict[Mutant, int] = {}

        def reap() -> None:
            pid, status = os.wait()
            mutant = running.pop(pid)
            codes[mutant] = code = os.waitstatus_to_exitcode(status)
            if mutant.place != UNCHANGED and code != OTHERWISE:
                self._tell(mutant, code != ALIVE)

        for mutant in chosen:
            if time.monotonic() > self._until:
                break
            if len(running) == self._workers:
                reap()
            running[_fork(lambda mutant=mutant: trial(mutant), usual)] = mutant  # type: ignore[misc]
        while running:
            reap()
        return codes


def _fork(target: Callable[[], int], usual: float | None = None) -> int:
    """Run it in another process without output; `usual` seconds is what it takes if it does not hang."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    code = ALIVE  # so it counts if this file itself is wrong
    try:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        if usual is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (4 << 30, 4 << 30))
            _limit(usual)
        code = target()
    finally:
        os._exit(code)


def _limit(usual: float) -> None:
    """End this process when it takes much longer than `usual` seconds from now on.

    The CPU time bounds what spins, and the watch what waits: on a busy machine no mutant is noticed because of that.
    """
    cpu = int(time.process_time() + 3 + 5 * usual)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, resource.RLIM_INFINITY))
    faulthandler.dump_traceback_later(15 + 30 * usual, exit=True, file=2)


def _pytest(tests: Sequence[str], plugin: object) -> int:
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    os.chdir(ROOT)
    return ALIVE if pytest.main([*WORDS, *tests], plugins=[plugin]) == 0 else NOTICED


class _Sorted:
    """Runs the quickest tests first."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self._seconds.get(item.nodeid, 0.0))


class _Session:
    """A run of pytest that tries mutants in its forks, instead of running tests itself."""

    def __init__(
        self, chosen: list[Mutant], try_all: Callable[..., dict[Mutant, int]], outcomes: Path
    ) -> None:
        self._files = {str(ROOT / mutant.module) for mutant in chosen}
        self._chosen = chosen
        self._try_all = try_all
        self._outcomes = outcomes
        self._failed = False
        self._functions: list[types.FunctionType] = []
        self._caches: list[functools._lru_cache_wrapper[object]] = []
        self._tracer = _Tracer(self._files)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed = self._failed or report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("errors while tests were collected")
        gc.unfreeze()
        objects = gc.get_objects()
        self._functions = [
            item
            for item in objects
            if type(item) is types.FunctionType and item.__code__.co_filename in self._files
        ]
        self._caches = [
            item
            for item in objects
            if isinstance(item, functools._lru_cache_wrapper) and item.__wrapped__ in self._functions
        ]
        del objects
        gc.freeze()
        part = self._outcomes.with_suffix(".survey")
        if os.waitstatus_to_exitcode(os.waitpid(_fork(lambda: self._look(session.items, part)), 0)[1]):
            raise session.Failed(
                "a test fails without any change, or when functions get their own code again"
            )
        imported = self._tracer.stop()[""]
        reached: dict[str, set[tuple[str, int]]]
        seconds: dict[str, float]
        reached, seconds = pickle.loads(part.read_bytes())
        survey = Survey(seconds, [name for name in sys.modules if foreign(name)])
        items = sorted(session.items, key=lambda item: seconds[item.nodeid])
        concerned: dict[Mutant, list[pytest.Item]] = {}
        for mutant in self._chosen:
            file = str(ROOT / mutant.module)
            lines = {(file, line) for line in change(mutant).lines}
            if not lines & imported:
                concerned[mutant] = [
                    item for item in items if not lines.isdisjoint(reached.get(item.nodeid, ()))
                ]

        def exchanged(mutant: Mutant) -> int:
            try:
                self._exchange(mutant)
            except ValueError:  # another number of names from around it
                return OTHERWISE
            return self._run(concerned[mutant], seconds)

        codes = self._try_all(list(concerned), exchanged, 1.0)
        self._outcomes.write_bytes(pickle.dumps((survey, codes)))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # pytest's own report is of no interest
        return True

    def _exchange(self, mutant: Mutant) -> None:
        """Give the functions of the module the code that they have with this change."""
        file = str(ROOT / mutant.module)
        codes = dict(_codes(compile(tree_of(mutant), file, "exec", dont_inherit=True)))
        for function in self._functions:
            if function.__code__.co_filename == file:
                function.__code__ = codes[_name(function.__code__)]
        self._empty_caches()

    def _empty_caches(self) -> None:
        """Nothing of `lru_cache` is known any more: a cached call runs no line of its function."""
        for cache in self._caches:
            cache.cache_clear()

    def _run(self, items: Sequence[pytest.Item], seconds: dict[str, float]) -> int:
        for item, following in zip_longest(items, items[1:]):
            _limit(seconds[item.nodeid])
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed:
                return NOTICED
        return ALIVE

    def _look(self, items: Sequence[pytest.Item], outcome: Path) -> int:
        """Run the tests without any change: which lines does each run, and how long does it take?

        The functions get their own code again, as they get the code of a mutant: that alone must fail no test.
        """
        for module in {mutant.module for mutant in self._chosen}:
            self._exchange(Mutant(module, UNCHANGED))
        seconds = {}
        for item, following in zip_longest(items, items[1:]):
            self._tracer.begin(item.nodeid)
            self._empty_caches()
            begun = time.process_time()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            seconds[item.nodeid] = time.process_time() - begun
        outcome.write_bytes(pickle.dumps((self._tracer.stop(), seconds)))
        return NOTICED if self._failed else ALIVE


class _Tracer:
    """Notes which lines of some files run, before the first test and in each."""

    def __init__(self, files: set[str]) -> None:
        self._files = files
        self._coverage = coverage.Coverage(data_file=None, config_file=False, include=sorted(files))
        self._coverage.start()

    def begin(self, test: str) -> None:
        self._coverage.switch_context(test)

    def stop(self) -> dict[str, set[tuple[str, int]]]:
        """The files and lines by test; those before the first are under an empty name."""
        self._coverage.stop()
        data = self._coverage.get_data()
        reached: dict[str, set[tuple[str, int]]] = {"": set()}
        for file in self._files:
            for line, contexts in data.contexts_by_lineno(file).items():
                for context in contexts:
                    reached.setdefault(context, set()).add((file, line))
        return reached


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module with its change."""

    def __init__(self, mutant: Mutant) -> None:
        self._file = str(ROOT / mutant.module)
        self._name = mutant.module.removesuffix(".py").replace("/", ".")
        self._tree = tree_of(mutant)

    def find_spec(
        self, name: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        return importlib.util.spec_from_file_location(name, self._file, loader=self)

    def exec_module(self, module: types.ModuleType) -> None:
        exec(compile(self._tree, self._file, "exec", dont_inherit=True), module.__dict__)


def foreign(name: str) -> bool:
    """Whether a module is a library: it can be imported before the project's own modules are."""
    spec = getattr(sys.modules[name], "__spec__", None)
    if spec is None or spec.origin is None:
        return False
    return not spec.origin.startswith(f"{ROOT}{os.sep}") or "site-packages" in spec.origin


def _codes(code: types.CodeType) -> Iterator[tuple[tuple[str, int], types.CodeType]]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield _name(constant), constant
            yield from _codes(constant)


def _name(code: types.CodeType) -> tuple[str, int]:
    return code.co_qualname, code.co_firstlineno
