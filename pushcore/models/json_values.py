"""Where a value cannot be JSON: orjson says what it does not take, and not where it stands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import orjson

from ..arguments import kind, shown

MAX_DEPTH: Final = 200
"""Levels of nesting that are looked at; orjson takes 254."""


_TOO_DEEP: Final = "nested too deeply"


def json_problem(value: Any, where: str) -> str:
    """A sentence about the first part of `value` that cannot be JSON, or would become null; empty when there is none.

    `where`: what the value is called.
    """
    problem = _problem(value, where, 0)
    # The path of what is nested too deeply would be as long as it is deep.
    return f"{where} is {problem}" if problem == _TOO_DEEP else problem


def _problem(value: Any, where: str, depth: int) -> str:
    if depth > MAX_DEPTH:
        return _TOO_DEEP
    if isinstance(value, float):
        return (
            ""
            if math.isfinite(value)
            else f"{where} is {value!r}, a number that JSON does not have and that would become null"
        )
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:  # orjson takes no subclass, such as a member of an enum
                return f"the keys of {where} must be strings, not {kind(key)} ({shown(key)})"
            problem = _problem(key, f"the key {shown(key)} of {where}", depth) or _problem(
                item, f"{where}.{key}" if key.isprintable() else f"{where}[{shown(key)}]", depth + 1
            )
            if problem:
                return problem[:400]
        return ""
    if isinstance(value, list | tuple):
        problems = (_problem(item, f"{where}[{at}]", depth + 1) for at, item in enumerate(value))
        return next(filter(None, problems), "")
    if isinstance(value, Mapping):
        return f"{where} must be a dict, not {kind(value)}"
    try:
        orjson.dumps(value)
    except TypeError:
        if isinstance(value, str):
            return f"{where} must be valid Unicode: it has half of a surrogate pair"
        if isinstance(value, int):
            return f"{where} must be a whole number of 64 bits, not {shown(value)}"
        return f"{where} must be a value of JSON, not {kind(value)}"
    return ""
