"""The payload template: a JSON object whose string values may hold `{{column}}`.

It is encoded once, with holes; for a row the holes are filled with encoded values. So a value can never change the
payload's structure, whatever it holds, and a push costs one `orjson.dumps` of a short string per placeholder.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import orjson

from ..audience.dialects import NOT_UTF8, is_utf8
from ..audience.problems import BadInput, BadRow, printable, read_small, shown

MAX_FILE: Final = 1024 * 1024
"""Bytes of a payload file; APNs takes 5 120 of a payload."""

_EXPECTED: Final = 'a JSON object such as {"aps": {"alert": "Hi"}}'
_PLACEHOLDER: Final = re.compile(r"\\?\{\{(.*?)\}\}", re.DOTALL)
_WHOLE: Final = re.compile(r"-?[0-9]+", re.ASCII)
_BOM: Final = b"\xef\xbb\xbf"

_dumps = orjson.dumps

ANY, TEXT, TEXT_OR_OBJECT = "", "text", "text or object"
"""What a field takes."""

Path = tuple[str | int, ...]
"""Where a field stands: keys, and indices of lists."""
Takes = Callable[[Path], str]
"""What the field at a path takes."""
Render = Callable[[Any], bytes]


class Placeholder:
    """One `{{column}}` or `{{column:kind}}`.

    `whole`: it is the entire string, so the value keeps its type, unless the field `takes` something else.
    """

    __slots__ = ("column", "kind", "takes", "whole")

    def __init__(self, column: str, kind: str, *, whole: bool, takes: str = ANY) -> None:
        self.column = column
        self.kind = kind
        self.whole = whole
        self.takes = takes

    def render(self) -> Render:
        """What turns a row's value into the bytes that fill the hole."""
        if self.whole and self.takes == TEXT and self.kind in ("", "text"):
            return _whole_text
        if self.whole and self.takes != ANY:
            convert, suit = _CONVERSIONS.get(self.kind, _same), _SUITING[self.takes]
            return lambda value: _dumps(suit(convert(value)))
        if self.kind == "int":
            return _int
        if self.whole:
            return _value if not self.kind else _value_after(_CONVERSIONS[self.kind])
        if not self.kind:
            return _text
        convert = _CONVERSIONS[self.kind]
        return lambda value: _text(convert(value))


class Template:
    """A compiled payload. `columns`: the names that its placeholders need, in order of appearance."""

    def __init__(self, segments: list[bytes], placeholders: list[Placeholder]) -> None:
        """`segments` are what stands around the holes: one more than there are placeholders."""
        self.constant = segments[0] if not placeholders else None
        """The payload of every row when there is no placeholder."""
        self.columns = tuple(dict.fromkeys(each.column for each in placeholders))
        self._placeholders = placeholders
        # Holes and what stands around them, in turns.
        self._pieces = [b""] * (2 * len(segments) - 1)
        self._pieces[::2] = segments

    @classmethod
    def from_json(cls, data: bytes, name: str) -> Template:
        """The template in `data`; `name` stands for it in errors.

        Raises:
            BadInput: it is not a JSON object, or a placeholder is malformed.
        """
        return cls.from_object(json_object(data, name), name)

    @classmethod
    def from_object(cls, found: dict[str, Any], name: str, takes: Takes = lambda path: ANY) -> Template:
        """The same of an object of JSON. `takes`: what each of its fields takes.

        Raises:
            BadInput: a placeholder is malformed, or it is nested too deeply.
        """
        marker = secrets.token_hex(16)
        placeholders: list[Placeholder] = []
        try:
            marked = _mark(found, (), _Marking(marker, placeholders, name, takes))
            encoded = _dumps(marked)
        except (RecursionError, TypeError):
            raise BadInput(f"{name} is nested too deeply; expected {_EXPECTED}") from None
        return cls(_cut(encoded, marker.encode()), placeholders)

    def bind(self, columns: Sequence[str] | None) -> Callable[[Any], bytes]:
        """The function from a row to its payload. A row is a list in the order of `columns`, or with None a dict.

        The function raises `BadRow` when the row has no payload.
        """
        constant = self.constant
        if constant is not None:
            return lambda row: constant
        names = [each.column for each in self._placeholders]
        where = names if columns is None else [columns.index(name) for name in names]
        renders = [each.render() for each in self._placeholders]
        holes = list(zip(range(1, len(self._pieces), 2), where, renders, strict=True))
        pieces = self._pieces

        def fill(row: Any) -> bytes:
            place = 1
            try:
                # Each row overwrites the holes of the one before, so one list serves them all.
                for place, column, render in holes:
                    pieces[place] = render(row[column])
            except (BadRow, KeyError, TypeError) as error:
                raise _blame(names[place // 2], row, where[place // 2], error) from None
            return b"".join(pieces)

        return fill


def read_object(path: str) -> dict[str, Any]:
    """The JSON object in a payload file. Raises `BadInput` when there is none."""
    return json_object(read_small(path, _EXPECTED, MAX_FILE), path)


def json_object(data: bytes, name: str) -> dict[str, Any]:
    """The JSON object in `data`; `name` stands for it in errors. Raises `BadInput` when it is something else."""
    try:
        found = orjson.loads(data.removeprefix(_BOM))
    except orjson.JSONDecodeError as error:
        if not is_utf8(data.decode("utf-8", "surrogateescape")):
            raise BadInput(f"{name} is {NOT_UTF8}") from None
        raise BadInput(f"{name} is not JSON ({printable(str(error))}); expected {_EXPECTED}") from None
    if not isinstance(found, dict):
        raise BadInput(f"{name} is not a JSON object; expected {_EXPECTED}")
    return found


def _blame(column: str, row: Any, place: Any, error: Exception) -> BadRow:
    if isinstance(error, KeyError):
        return BadRow(f"there is no key {shown(column)}")
    if isinstance(row[place], str) and not is_utf8(row[place]):
        return BadRow(f"the value of {shown(column)} cannot be JSON: it is {NOT_UTF8}")
    if isinstance(error, TypeError):  # orjson's, for half a surrogate pair or a number of more than 64 bits
        return BadRow(f"the value of {shown(column)} cannot be JSON: {error}")
    return BadRow(f"{shown(column)}: {error}")


class _Marking(NamedTuple):
    """What is needed on the way through a payload. `placeholders`: those that were found."""

    marker: str
    placeholders: list[Placeholder]
    name: str
    takes: Takes


def _mark(found: Any, path: Path, marking: _Marking) -> Any:
    """The same JSON with every placeholder replaced by a marker that nobody can have written, and noted."""
    if isinstance(found, dict):
        marked = {}
        for key, value in found.items():
            if _PLACEHOLDER.search(key):
                raise BadInput(
                    f"{marking.name}: the key {shown(key)} holds a placeholder; expected them in values only"
                )
            marked[key] = _mark(value, (*path, key), marking)
        return marked
    if isinstance(found, list):
        return [_mark(value, (*path, index), marking) for index, value in enumerate(found)]
    if isinstance(found, str):
        return "".join(_mark_text(found, path, marking))
    return found


def _mark_text(text: str, path: Path, marking: _Marking) -> Iterator[str]:
    marker, placeholders, name, takes = marking
    at = 0
    for match in _PLACEHOLDER.finditer(text):
        yield _literal(text[at : match.start()], name)
        at = match.end()
        if match[0].startswith("\\"):
            yield match[0][1:]
            continue
        whole = match[0] == text
        placeholders.append(_placeholder(match[1].strip(), whole, takes(path) if whole else ANY, name))
        yield f"<{marker}{'w' if whole else 'p'}>"
    yield _literal(text[at:], name)


def _literal(text: str, name: str) -> str:
    if "{{" in text:
        raise BadInput(f"{name}: {shown(text)} opens a placeholder and does not close it; expected }}}}")
    return text


def _placeholder(content: str, whole: bool, takes: str, name: str) -> Placeholder:
    column, colon, kind = content.rpartition(":")
    if not colon:
        column, kind = content, ""
    column, kind = column.strip(), kind.strip()
    if not column or (colon and kind not in _CONVERSIONS):
        known = ", ".join(f":{each}" for each in _CONVERSIONS)
        raise BadInput(
            f"{name}: the placeholder {shown('{{' + content + '}}')} is malformed; "
            f"expected {{{{column}}}}, or after the column one of {known}"
        )
    return Placeholder(column, kind, whole=whole, takes=takes)


def _cut(encoded: bytes, marker: bytes) -> list[bytes]:
    """What stands around the holes; the quotes around a hole that is a whole value go with it."""
    segments: list[bytes] = []
    drop_quote = False
    pieces = re.split(rb"<%b([wp])>" % marker, encoded)
    for index in range(0, len(pieces), 2):
        segment = pieces[index]
        if drop_quote:
            segment = segment[1:]
        drop_quote = index + 1 < len(pieces) and pieces[index + 1] == b"w"
        segments.append(segment[:-1] if drop_quote else segment)
    return segments


# --- values -----------------------------------------------------------------------------------------------------------


def _value(value: Any) -> bytes:
    """A value as it is."""
    data = _dumps(value)
    if data == b"null" and value is not None:  # what orjson makes of it; JSON has no such number
        raise BadRow(f"{value} is not a number that JSON has")
    return data


def _value_after(convert: Callable[[Any], Any]) -> Render:
    return lambda value: _value(convert(value))


def _text(value: Any) -> bytes:
    """A value within a text: the inside of a JSON string."""
    if type(value) is str:
        return _dumps(value)[1:-1]
    if value is None or isinstance(value, dict | list):
        raise BadRow(f"{'null' if value is None else 'an object or a list'} cannot stand within a text")
    return _value(value)  # a number, true or false, as JSON writes it


def _whole_text(value: Any) -> bytes:
    return _dumps(value if type(value) is str else _to_text(value))


def _to_text(value: Any) -> str:
    """A value as the text of a whole field."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, dict | list):
        raise BadRow(f"{'null' if value is None else 'an object or a list'} cannot stand for a text")
    return _value(value).decode()


def _to_text_or_object(value: Any) -> Any:
    return value if isinstance(value, dict) else _to_text(value)


def _same(value: Any) -> Any:
    return value


def _int(value: Any) -> bytes:
    """A whole number, which looks the same as a value and within a text."""
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
        number = float(value)
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


_CONVERSIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "int": _to_int,
    "float": _to_float,
    "json": _to_json,
    "text": _to_text,
}
_SUITING: Final = {TEXT: _to_text, TEXT_OR_OBJECT: _to_text_or_object}
"""What makes a value suit a field."""
