"""The conversion of a row's value to JSON that is inserted into a payload."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final

import orjson

from ..audience.problems import BadRow, shown
from ..models.json_values import json_problem

ANY, TEXT, TEXT_OR_OBJECT = "", "text", "text or object"
"""The values that a field accepts."""

Render = Callable[[Any], bytes]
"""From a row's value to the bytes that are inserted. It raises `BadRow`, or a TypeError of orjson."""


class NoForm(Exception):
    """The usual form is not right for a row: `Compiled` must find another one."""


def no_form(row: object) -> bytes:
    """Raise `NoForm`."""
    raise NoForm


VALUE_ERRORS: Final = (BadRow, KeyError, TypeError, ValueError)
"""The exceptions for a value that cannot be inserted."""
MAX_NESTED: Final = 64

_TOO_LARGE: Final = 2.0**64
_NO_TEXT: Final = {b"n": "null", b"{": "an object or a list", b"[": "an object or a list"}
"""Values that are not text, by the first byte of their JSON."""
_WHOLE: Final = re.compile(r"-?[0-9]+", re.ASCII)

_dumps = orjson.dumps


def render_of(kind: str, takes: str, *, whole: bool) -> Render:
    """The function for one placeholder: see `json_template.Placeholder`."""
    if whole and takes == TEXT and kind in ("", "text"):
        return _whole_text
    if whole and takes != ANY:
        convert, suit = CONVERSIONS.get(kind, _same), _SUITING[takes]
        return lambda value: _dumps(suit(convert(value)))
    if kind == "int":
        return _int
    if whole:
        return _value if not kind else _value_after(CONVERSIONS[kind])
    if not kind:
        return _text
    convert = CONVERSIONS[kind]
    return lambda value: _text(convert(value))


def nested(value: bytes) -> bytes:
    """Encode a JSON value for insertion into JSON that is itself the text of a string."""
    return _dumps(value.decode())[1:-1]


def is_deep(value: bytes) -> bool:
    """Whether a value may be nested too deeply: it has more objects and lists than a payload may have levels."""
    return value[:1] in (b"{", b"[") and value.count(b"{") + value.count(b"[") > MAX_NESTED


def flat(render: Render) -> Render:
    """The same function, which raises `ValueError` for a value that may be nested too deeply."""

    def checked(value: Any) -> bytes:
        data = render(value)
        if is_deep(data):
            raise ValueError("nested too deeply")
        return data

    return checked


def nesting(render: Render) -> Render:
    """The same function, with its result encoded as by `nested`."""
    return lambda value: nested(render(value))


def _value(value: Any) -> bytes:
    """A value as JSON, with its own type."""
    data = _dumps(value)
    if b"null" in data and value is not None:  # orjson encodes NaN and infinity as null
        if data == b"null":
            raise BadRow(f"{value} is not a number that JSON has")
        problem = json_problem(value, "it")
        if problem:
            raise BadRow(problem)
    return data


def _exact(value: Any) -> bytes:
    """The same for a text, which would show that a whole number of more than 64 bits has become a float."""
    data = _value(value)
    if isinstance(value, float) and abs(value) >= _TOO_LARGE:
        raise BadRow(f"{value} is a number of more than 64 bits, which has lost digits; write it as a text")
    return data


def _value_after(convert: Callable[[Any], Any]) -> Render:
    return lambda value: _value(convert(value))


def _text(value: Any) -> bytes:
    """A value within a text: the inside of a JSON string."""
    if type(value) is str:
        return _dumps(value)[1:-1]
    data = _exact(value)  # a number, true or false, as JSON writes it
    first = data[:1]
    if first == b'"':  # a subclass of str, a date, a UUID, a member of an enum
        return data[1:-1]
    if first in _NO_TEXT:
        raise BadRow(f"{_NO_TEXT[first]} cannot be part of a text")
    return data


def _whole_text(value: Any) -> bytes:
    return _dumps(value if type(value) is str else _to_text(value))


def _to_text(value: Any) -> str:
    """A value as the text of a whole field."""
    if type(value) is str:
        return value
    data = _exact(value)
    first = data[:1]
    if first == b'"':
        text: str = orjson.loads(data)
        return text
    if first in _NO_TEXT:
        raise BadRow(f"{_NO_TEXT[first]} cannot replace a text")
    return data.decode()


def _to_text_or_object(value: Any) -> Any:
    return value if isinstance(value, dict) else _to_text(value)


def _same(value: Any) -> Any:
    return value


def _int(value: Any) -> bytes:
    """A whole number; its JSON is the same as a value and within a text."""
    if type(value) is str and value.isdecimal() and value.isascii() and len(value) < 19:
        return b"%d" % int(value)
    return _dumps(_to_int(value))


def _to_int(value: Any) -> int:
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise BadRow(f"{shown(value)} is not a whole number")


def _to_float(value: Any) -> float | int:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    try:
        # Python reads underscores and booleans as numbers, too.
        number = math.nan if isinstance(value, bool) or "_" in str(value) else float(value)
    except (ValueError, TypeError):
        number = math.nan
    if not math.isfinite(number):
        raise BadRow(f"{shown(value)} is not a number")
    return number


def _to_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        raise BadRow(f"{shown(value)} is not JSON") from None


CONVERSIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "int": _to_int,
    "float": _to_float,
    "json": _to_json,
    "text": _to_text,
}
_SUITING: Final = {TEXT: _to_text, TEXT_OR_OBJECT: _to_text_or_object}
"""Converts a value to what a field accepts."""
