"""From a table of a plan to a frozen dataclass and back: each field has a check whose message says what is allowed.

A field made with `given` carries its check. `read` applies the checks, `write` gives what differs from the defaults,
and `scaled` multiplies the fields that are seconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, replace
from typing import Any, TypeVar

Check = Callable[[Any], Any]
"""Returns the value to store, or raises a ValueError that says what is allowed."""

T = TypeVar("T")
MAX_SECONDS = 31_536_000.0
_LONG_WORD = re.compile(r"""[^\s"']{21,}""")
MAX_TEXT = 65_536


class FaultError(ValueError):
    """What is wrong with a plan, in one sentence that names the file and line (if there is one) and the fault."""

    def __init__(self, problem: str, *, index: int | None = None, key: str = "") -> None:
        super().__init__(problem)
        self.index = index
        """Position of the fault in the plan, from 0; None when the mistake is not in one fault."""
        self.key = key
        """The wrong key; empty when it is not a single one."""

    def of(self, subject: str, index: int | None = None) -> FaultError:
        """The same error with the position of a fault."""
        return FaultError(f"{subject}: {self}", index=self.index if index is None else index, key=self.key)


def given(check: Check, default: Any = MISSING, *, seconds: bool = False) -> Any:
    """A field with a check; without a default it is required. `seconds`: it is a time, and `scaled` multiplies it."""
    return field(default=default, metadata={"check": check, "seconds": seconds})


def read(kind: type[T], table: Any, where: str, prefix: str | None = None) -> T:
    """Read the dataclass that a table describes. `where` names the table in messages, `prefix` precedes keys there.

    Raises:
        FaultError: an unknown or missing key, or a value that fails its check.
    """
    if not isinstance(table, Mapping):
        raise FaultError(f"{where} is {show(table)}, expected a table", key=where)
    known = _checked(kind)
    prefix = f"{where}." if prefix is None else prefix
    for name in table:
        if name not in known:
            raise FaultError(
                f"{where} has an unknown key {show(name)}, expected {listed(known)}", key=str(name)
            )
    values = {}
    for name, declared in known.items():
        if name in table:
            try:
                values[name] = declared.metadata["check"](table[name])
            except ValueError as error:
                raise FaultError(
                    f"{prefix}{name} is {show(table[name])}, expected {error}", key=name
                ) from None
        elif declared.default is MISSING:
            raise FaultError(f"{where} has no {name}", key=where)
    return kind(**values)


def write(item: Any) -> dict[str, Any]:
    """As a table for `read`: the fields that differ from their defaults, as JSON and TOML have them."""
    return {
        name: plain(getattr(item, name))
        for name, declared in _checked(type(item)).items()
        if declared.default is MISSING or getattr(item, name) != declared.default
    }


def scaled(item: T, factor: float) -> T:
    """A copy with every time multiplied."""
    changes = {
        name: _times(getattr(item, name), factor)
        for name, declared in _checked(type(item)).items()
        if declared.metadata["seconds"]
    }
    return replace(item, **changes)  # type: ignore[type-var]  # what is replaced is one of our dataclasses


def _checked(kind: type[Any]) -> dict[str, Field[Any]]:
    return {declared.name: declared for declared in fields(kind) if "check" in declared.metadata}


def _times(value: Any, factor: float) -> Any:
    if isinstance(value, tuple):
        return tuple(
            # the second item of a pair is a time
            (item[0], _times(item[1], factor)) if isinstance(item, tuple) else _times(item, factor)
            for item in value
        )
    if isinstance(value, int):  # whole seconds stay whole, and above zero
        return math.ceil(value * factor)
    return value * factor if isinstance(value, float) else value


def plain(value: Any) -> Any:
    """Tuples become lists; pairs with distinct names become a table."""
    if not isinstance(value, tuple):
        return value
    if value and all(
        isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in value
    ):
        table = dict(value)
        if len(table) == len(value):
            return table
    return [plain(item) for item in value]


def show(value: Any) -> str:
    """A value as a message shows it, shortened. A long word may be a key, and only its length is shown."""
    text = f'"{value}"' if isinstance(value, str) else str(value)
    text = _LONG_WORD.sub(lambda match: f"{len(match[0])} characters", text)
    return text if len(text) <= 80 else text[:77] + "..."


def listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    """`one of a, b, c`."""
    listing = list(names)
    return listing[0] if len(listing) == 1 else "one of " + ", ".join(listing)


# The checks


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def number(low: float, high: float, *, unit: str = "a number") -> Check:
    """A finite number within bounds."""

    def check(value: Any) -> float:
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or not math.isfinite(value) or not low <= value <= high:
            raise ValueError(f"{unit} from {low:g} to {high:g}")
        return float(value)

    return check


def whole(low: int, high: int) -> Check:
    """A whole number within bounds."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return check


duration = number(0, MAX_SECONDS, unit="seconds")


def text(longest: int = MAX_TEXT, *, empty: bool = True) -> Check:
    """A string of limited length."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > longest or not (value or empty):
            raise ValueError(f"a text of {'0' if empty else '1'} to {longest} characters")
        return value

    return check


def choice(names: Sequence[str] | Mapping[str, Any]) -> Check:
    """One of these names."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError(listed(names))
        return value

    return check


def some(check: Check, most: int = 1000, least: int = 1) -> Check:
    """One value or a list of them."""

    def check_all(value: Any) -> tuple[Any, ...]:
        values = value if isinstance(value, list | tuple) else [value]
        if not least <= len(values) <= most:
            raise ValueError(f"a list of {least} to {most}")
        return tuple(check(item) for item in values)

    return check_all


def optional(check: Check) -> Check:
    """As `check`, but None is allowed, for plans made in code."""
    return lambda value: None if value is None else check(value)
