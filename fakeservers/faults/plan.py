"""A fault plan: what goes wrong, when, and with which seed. It is data, and can be changed while fakes run."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fakeservers.faults.actions import write_action
from fakeservers.faults.fault import Fault
from fakeservers.faults.files import read_file
from fakeservers.faults.presets import FAULTS, PRESETS
from fakeservers.faults.reading import FaultError, given, read, scaled, show, text, whole

MAX_FAULTS = 1000
MAX_SEED = 2**63 - 1


class FaultPlan:
    """Faults in order, and the seed of their random draws. Used by one thread; a change takes effect at once.

    Args:
        seed: 0 to 2**63 - 1.
        faults: checked in the same way as those of a file.
        name: for people.

    Raises:
        FaultError: a fault is wrong, or two have the same id.
    """

    def __init__(self, seed: int = 0, faults: Iterable[Fault] = (), *, name: str = "") -> None:
        self.seed: int = _checked_seed(seed)
        self.name = name
        self.hits: Counter[str] = Counter()
        """How often each fault has happened, by id."""
        self.version = 0
        """Incremented by each change."""
        self.epoch = 0
        """Incremented by each `restart`."""
        self._faults: dict[str, Fault] = {}
        self._watchers: list[Callable[[], None]] = []
        self._began: float | None = None
        for index, fault in enumerate(faults):
            try:
                self.add(fault)
            except FaultError as error:
                error.index = index
                raise

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> FaultPlan:
        """The plan in a file: TOML, or JSON when its name ends in `.json`.

        Raises:
            FaultError: it cannot be read, or something in it is wrong; the message names file and line.
        """
        file = read_file(path)
        try:
            plan = cls.from_dict(file.table)
        except FaultError as error:
            raise file.located(error) from None
        plan.name = plan.name or Path(file.name).stem
        return plan

    @classmethod
    def from_dict(cls, table: Any) -> FaultPlan:
        """The plan that a table describes: `faults`, and optionally `seed` and `name`.

        Raises:
            FaultError: something in it is wrong; `index` and `key` name the place.
        """
        head = read(_Head, table, "the plan", "")
        if len(head.faults) > MAX_FAULTS:
            raise FaultError(f"the plan has {len(head.faults)} faults, expected {MAX_FAULTS} at most")
        plan = cls(head.seed, name=head.name)
        for index, table in enumerate(head.faults):
            try:
                plan.add(Fault.from_dict(table))
            except FaultError as error:
                error.index = index
                raise
        return plan

    @classmethod
    def preset(cls, name: str, *, seed: int = 0, scale: float = 1.0) -> FaultPlan:
        """A ready-made plan, one of `PRESETS`, with all its times multiplied by `scale`.

        Raises:
            FaultError: there is none of this name.
        """
        if name not in PRESETS:
            raise FaultError(f"there is no preset {show(name)}, expected one of {', '.join(PRESETS)}")
        return cls(seed, FAULTS[name], name=name).scaled(scale)

    @classmethod
    def load(cls, what: str, *, seed: int | None = None, scale: float = 1.0) -> FaultPlan:
        """What `--faults` takes: the name of a preset, or a file; `seed` replaces the file's.

        Raises:
            FaultError: it is neither, or something in it is wrong.
        """
        if what in PRESETS:
            plan = cls.preset(what)
        elif "/" in what or "." in what or os.path.exists(what):
            plan = cls.from_file(what)
        else:
            raise FaultError(
                f"there is no preset and no file {show(what)}, expected a file or one of {', '.join(PRESETS)}"
            )
        plan = plan.scaled(scale)
        if seed is not None:
            plan.seed = _checked_seed(seed)
        return plan

    @classmethod
    def of(cls, source: FaultPlan | str | os.PathLike[str] | None) -> FaultPlan:
        """A plan as it is, the preset or file of a name, or an empty one.

        Raises:
            FaultError: there is no such preset or file, or something in it is wrong.
        """
        if isinstance(source, FaultPlan):
            return source
        return cls() if source is None else cls.load(os.fspath(source))

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` takes, and JSON and TOML can hold."""
        table: dict[str, Any] = {"seed": self.seed}
        if self.name:
            table["name"] = self.name
        return {**table, "faults": [fault.to_dict() for fault in self]}

    def scaled(self, factor: float) -> FaultPlan:
        """A copy with every time multiplied: with 0.1 an hour takes six minutes."""
        plan = FaultPlan(self.seed, name=self.name)
        for fault in self:
            actions = tuple(scaled(action, factor) for action in fault.actions)
            plan.add(replace(fault, when=scaled(fault.when, factor), what=actions))
        return plan

    def __iter__(self) -> Iterator[Fault]:
        return iter(list(self._faults.values()))

    def __len__(self) -> int:
        return len(self._faults)

    def __contains__(self, fault_id: object) -> bool:
        return fault_id in self._faults

    def __getitem__(self, fault_id: str) -> Fault:
        """The fault of this id.

        Raises:
            KeyError: there is none.
        """
        return self._faults[fault_id]

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All faults, in order."""
        return tuple(self._faults.values())

    @property
    def enabled(self) -> tuple[Fault, ...]:
        """Faults that are switched on, in order, whatever their times."""
        return tuple(fault for fault in self._faults.values() if fault.enabled)

    @property
    def in_force(self) -> tuple[Fault, ...]:
        """Faults that are switched on and whose times include now."""
        now = self.elapsed
        return tuple(fault for fault in self.enabled if fault.when.in_time(now))

    # Changes

    def add(self, fault: Fault) -> Fault:
        """Append a fault. Returns it with its id.

        Raises:
            FaultError: it is wrong, or its id exists already.
        """
        fault = self._named(fault)
        if fault.id in self._faults:
            raise FaultError(f"fault {show(fault.id)} is there twice, expected ids that differ", key="id")
        if len(self._faults) >= MAX_FAULTS:
            raise FaultError(f"the plan has more than {MAX_FAULTS} faults")
        self._faults[fault.id] = fault
        self._changed()
        return fault

    def replace(self, fault: Fault) -> Fault:
        """Replace the fault of the same id, or append it when there is none.

        Raises:
            FaultError: it is wrong.
        """
        fault = self._named(fault)
        if fault.id not in self._faults:
            return self.add(fault)
        self._faults[fault.id] = fault
        self._changed()
        return fault

    def remove(self, fault_id: str) -> Fault:
        """Remove a fault.

        Raises:
            KeyError: there is none of this id.
        """
        fault = self._faults.pop(fault_id)
        self._changed()
        return fault

    def enable(self, fault_id: str, on: bool = True) -> Fault:
        """Switch a fault on or off.

        Raises:
            KeyError: there is none of this id.
        """
        fault = self._faults[fault_id]
        if fault.enabled != on:
            fault = self._faults[fault_id] = replace(fault, enabled=on)
            self._changed()
        return fault

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()
        self._changed()

    def become(self, other: FaultPlan) -> None:
        """Take the seed, name and faults of another plan, and restart. Everything that shares this plan follows."""
        self.seed, self.name = other.seed, other.name
        self._faults = dict(other._faults)
        self.restart()

    # Its running

    @property
    def elapsed(self) -> float:
        """Seconds since the start; 0.0 before it."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    def start(self) -> None:
        """Start the plan's time unless it has started; every fake does so when it listens."""
        if self._began is None:
            self.restart()

    def restart(self) -> None:
        """Restart the plan's time, with all counts at zero."""
        self._began = time.monotonic()
        self.hits.clear()
        self.epoch += 1
        self._changed()

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` after each change. Returns a function that ends it."""
        self._watchers.append(changed)
        return lambda: self._watchers.remove(changed)

    def __repr__(self) -> str:
        return f"FaultPlan({self.name!r}, seed={self.seed}, faults={[fault.id for fault in self]})"

    def _changed(self) -> None:
        self.version += 1
        for watcher in list(self._watchers):
            watcher()

    def _named(self, fault: Fault) -> Fault:
        """The fault with an id, checked as a table."""
        table = fault.to_dict()
        if not fault.id:
            numbers = range(1, len(self._faults) + 2)
            kind = write_action(fault.actions[0])["kind"] if fault.actions else "fault"
            table["id"] = next(
                name for name in (f"{kind}-{number}" for number in numbers) if name not in self._faults
            )
        return Fault.from_dict(table)


def _fault_list(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError("a list of faults")
    return tuple(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Head:
    """The keys of a plan."""

    seed: int = given(whole(0, MAX_SEED), 0)
    name: str = given(text(200), "")
    faults: tuple[Any, ...] = given(_fault_list, ())


def _checked_seed(seed: int) -> int:
    try:
        return int(whole(0, MAX_SEED)(seed))
    except ValueError as error:
        raise FaultError(f"the seed is {show(seed)}, expected {error}", key="seed") from None
