"""Checks of arguments: an error names the argument, what it must be and what it is."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Collection, Iterable
from typing import Final

from .errors import ConfigurationError
from .redaction import redact_value

log = logging.getLogger(__name__)

LONGEST = 60
"""Characters of a value in an error message."""
LATEST: Final = 253_402_300_800.0
"""The end of the year 9999 in UNIX seconds. A clock that shows more counts in another unit."""


def shown(value: object) -> str:
    """A value for an error message: plain values as Python writes them, cut to `LONGEST` characters, of all other values the class."""
    if isinstance(value, str):
        value = redact_value(value)[:LONGEST]  # in this order: a part of a key is harder to recognise
    elif isinstance(value, bytes):
        value = value[:LONGEST]
    elif value is not None and not isinstance(value, bool | int | float):
        return type(value).__name__
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python writes
        text = "a very large number"
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def kind(value: object) -> str:
    """The class of a value for an error message: all that may be shown of what could be a secret in the wrong place."""
    return "None" if value is None else type(value).__name__


_JSON_KINDS: Final = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def json_kind(value: object) -> str:
    """The kind of a value that came from JSON, in JSON's words: its user may not know Python. For other values, the name of the class."""
    return _JSON_KINDS.get(type(value)) or kind(value)


def json_shown(value: object) -> str:
    """A value that came from JSON, for an error message: lists and objects by their kind, other values as JSON writes them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json_kind(value) if value is None or isinstance(value, list | dict) else shown(value)


def check(
    valid: bool, name: str, expected: str, value: object, error: type[ValueError] = ConfigurationError
) -> None:
    """Raise `error` unless the argument is valid."""
    if not valid:
        raise error(f"{name} must be {expected}, not {shown(value)}")


def check_type(
    name: str,
    value: object,
    classes: type | tuple[type, ...],
    expected: str,
    error: type[ValueError] = ConfigurationError,
) -> None:
    """The argument is an instance of one of these classes."""
    if not isinstance(value, classes):
        raise error(f"{name} must be {expected}, not {kind(value)}")


def check_choice(
    name: str, value: object, choices: Collection[str], error: type[ValueError] = ConfigurationError
) -> None:
    """The argument is one of these strings."""
    valid = isinstance(value, str) and value in choices
    check(valid, name, f"one of {', '.join(choices)}", value, error)


def check_flag(name: str, value: object, error: type[ValueError] = ConfigurationError) -> None:
    """The argument is a bool."""
    check(isinstance(value, bool), name, "true or false", value, error)


def check_function(name: str, value: object, example: str = "time.time") -> None:
    """The argument can be called."""
    check(callable(value), name, f"a function such as {example}", value)


def check_offers(name: str, value: object, protocol: type, expected: str) -> None:
    """The argument has the methods of a protocol."""
    methods = (name for name in dir(protocol) if name[0] != "_" and callable(getattr(protocol, name)))
    valid = not isinstance(value, type) and all(callable(getattr(value, method, None)) for method in methods)
    check(valid, name, expected, value)


def check_texts(name: str, value: object, expected: str) -> list[str]:
    """The argument is an iterable of strings, and none itself; as a list."""
    check(
        isinstance(value, Iterable) and not isinstance(value, str | bytes | bytearray), name, expected, value
    )
    assert isinstance(value, Iterable)
    texts = list(value)
    for text in texts:
        check_type(f"each of {name}", text, str, "a string")
    return texts


def check_number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    infinite: bool = False,
    error: type[ValueError] = ConfigurationError,
) -> None:
    """The argument is a finite number, no bool, and greater than `above`; with `infinite` it may be infinite."""
    valid = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (abs(value) <= sys.float_info.max or (infinite and value == math.inf))
        and (above is None or value > above)
    )
    expected = "a finite number" if above is None else f"a number above {above:g}"
    check(valid, name, expected, value, error)


def check_whole(
    name: str,
    value: object,
    *,
    least: int,
    most: int | None = None,
    error: type[ValueError] = ConfigurationError,
) -> None:
    """The argument is an int, no bool, from `least` to `most`."""
    valid = (
        isinstance(value, int)
        and not isinstance(value, bool)
        and value >= least
        and (most is None or value <= most)
    )
    limits = f"of at least {least}" if most is None else f"from {least} to {most}"
    check(valid, name, f"a whole number {limits}", value, error)


def checked_clock(now: Callable[[], float]) -> Callable[[], float]:
    """The caller's wall clock, which cannot stop a client: while it shows no time, the system's is used, and a warning says so once.

    Raises:
        ConfigurationError: it shows no time from the beginning.
    """
    check(callable(now), "now", "a function such as time.time", now)
    if now is time.time:
        return now
    first = now()
    check(_is_time(first), "now", "a function that returns UNIX seconds, such as time.time", first)
    warned = False

    def read() -> float:
        nonlocal warned
        try:
            moment = now()
            if _is_time(moment):
                return moment
            problem: object = f"it returned {shown(moment)}, which is no time in UNIX seconds"
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if not warned:
            warned = True
            log.warning("the function of now= failed, and the system's clock is used instead: %s", problem)
        return time.time()

    return read


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < LATEST  # neither NaN nor infinity
