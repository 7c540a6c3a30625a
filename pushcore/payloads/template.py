"""The payload template: a JSON object whose string values may hold `{{column}}`.

It is encoded once, with holes; for each row the holes are filled with encoded values. So no value can change the
payload's structure, and a push costs one `orjson.dumps` of a short string per placeholder.
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
"""Bytes of a payload file, at most; a payload of APNs has at most 5 120."""

_EXPECTED: Final = 'a JSON object such as {"aps": {"alert": "Hi"}}'
_PLACEHOLDER: Final = re.compile(r"\\?\{\{(.*?)\}\}", re.DOTALL)
_WHOLE: Final = re.compile(r"-?[0-9]+", re.ASCII)
_BOM: Final = b"\xef\xbb\xbf"

_dumps = orjson.dumps

ANY, TEXT, TEXT_OR_OBJECT = "", "text", "text or object"
"""The values that a field accepts."""

Path = tuple[str | int, ...]
"""The path of a field: keys of objects, and indices of lists."""
Takes = Callable[[Path], str]
"""Returns the values that the field at a path accepts."""
Render = Callable[[Any], bytes]


class Placeholder:
    """One `{{column}}` or `{{column:kind}}`.

    `whole`: it is the entire string, so the value keeps its type, unless `takes` says that the field needs text.
    """

    __slots__ = ("column", "kind", "takes", "whole")

    def __init__(self, column: str, kind: str, *, whole: bool, takes: str = ANY) -> None:
        self.column = column
        self.kind = kind
        self.whole = whole
        self.takes = takes

    def render(self) -> Render:
        """The function from a row's value to the bytes that fill the hole."""
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
    """A compiled payload. `columns`: the columns of its placeholders, in order of appearance."""

    def __init__(self, segments: list[bytes], placeholders: list[Placeholder]) -> None:
        """`segments`: the bytes around the holes, one more than there are placeholders."""
        self.constant = segments[0] if not placeholders else None
        """The payload of every row when there is no placeholder."""
        self.columns = tuple(dict.fromkeys(placeholder.column for placeholder in placeholders))
        self._placeholders = placeholders
        # Segments and holes alternate; even indices are segments.
        self._pieces = [b""] * (2 * len(segments) - 1)
        self._pieces[::2] = segments

    @classmethod
    def from_json(cls, data: bytes, name: str) -> Template:
        """The template in `data`, which errors call `name`.

        Raises:
            BadInput: `data` is not a JSON object, or a placeholder is malformed.
        """
        return cls.from_object(json_object(data, name), name)

    @classmethod
    def from_object(cls, content: dict[str, Any], name: str, takes: Takes = lambda path: ANY) -> Template:
        """The template in a JSON object. `takes`: the values that its fields accept.

        Raises:
            BadInput: A placeholder is malformed, or `content` is nested too deeply.
        """
        marker = secrets.token_hex(16)
        placeholders: list[Placeholder] = []
        try:
            marked = _mark(content, (), _Marking(marker, placeholders, name, takes))
            encoded = _dumps(marked)
        except (RecursionError, TypeError):
            raise BadInput(f"{name} is nested too deeply; expected {_EXPECTED}") from None
        return cls(_cut(encoded, marker.encode()), placeholders)

    def bind(self, columns: Sequence[str] | None) -> Callable[[Any], bytes]:
        """The function from a row to its payload. A row is a list in the order of `columns`, or a dict if that is None.

        The function raises `BadRow` when a value cannot fill its hole.
        """
        constant = self.constant
        if constant is not None:
            return lambda row: constant
        names = [placeholder.column for placeholder in self._placeholders]
        keys = names if columns is None else [columns.index(name) for name in names]
        renders = [placeholder.render() for placeholder in self._placeholders]
        holes = list(zip(range(1, len(self._pieces), 2), keys, renders, strict=True))
        pieces = self._pieces

        def fill(row: Any) -> bytes:
            index = 1
            try:
                # Every row overwrites all holes, so one list is enough.
                for index, key, render in holes:
                    pieces[index] = render(row[key])
            except (BadRow, KeyError, TypeError) as error:
                raise _bad_row(names[index // 2], row, keys[index // 2], error) from None
            return b"".join(pieces)

        return fill


def read_object(path: str) -> dict[str, Any]:
    """The JSON object in a payload file. Raises `BadInput` when the file holds something else."""
    return json_object(read_small(path, _EXPECTED, MAX_FILE), path)


def json_object(data: bytes, name: str) -> dict[str, Any]:
    """The JSON object in `data`, which errors call `name`. Raises `BadInput` when it is something else."""
    try:
        content = orjson.loads(data.removeprefix(_BOM))
    except orjson.JSONDecodeError as error:
        if not is_utf8(data.decode("utf-8", "surrogateescape")):
            raise BadInput(f"{name} is {NOT_UTF8}") from None
        raise BadInput(f"{name} is not JSON ({printable(str(error))}); expected {_EXPECTED}") from None
    if not isinstance(content, dict):
        raise BadInput(f"{name} is not a JSON object; expected {_EXPECTED}")
    return content


def _bad_row(column: str, row: Any, key: Any, error: Exception) -> BadRow:
    if isinstance(error, KeyError):
        return BadRow(f"there is no key {shown(column)}")
    if isinstance(row[key], str) and not is_utf8(row[key]):
        return BadRow(f"the value of {shown(column)} cannot be JSON: it is {NOT_UTF8}")
    if isinstance(error, TypeError):  # orjson's, for half a surrogate pair or a number of more than 64 bits
        return BadRow(f"the value of {shown(column)} cannot be JSON: {error}")
    return BadRow(f"{shown(column)}: {error}")


class _Marking(NamedTuple):
    """The state of a walk through a payload. `placeholders`: the placeholders so far."""

    marker: str
    placeholders: list[Placeholder]
    name: str
    takes: Takes


def _mark(node: Any, path: Path, marking: _Marking) -> Any:
    """The JSON with every placeholder replaced by an unguessable marker, and added to `marking.placeholders`."""
    if isinstance(node, dict):
        marked = {}
        for key, value in node.items():
            if _PLACEHOLDER.search(key):
                raise BadInput(
                    f"{marking.name}: the key {shown(key)} holds a placeholder; expected them in values only"
                )
            marked[key] = _mark(value, (*path, key), marking)
        return marked
    if isinstance(node, list):
        return [_mark(value, (*path, index), marking) for index, value in enumerate(node)]
    if isinstance(node, str):
        return "".join(_mark_text(node, path, marking))
    return node


def _mark_text(text: str, path: Path, marking: _Marking) -> Iterator[str]:
    marker, placeholders, name, takes = marking
    position = 0
    for match in _PLACEHOLDER.finditer(text):
        yield _literal(text[position : match.start()], name)
        position = match.end()
        if match[0].startswith("\\"):
            yield match[0][1:]
            continue
        whole = match[0] == text
        placeholders.append(_placeholder(match[1].strip(), whole, takes(path) if whole else ANY, name))
        yield f"<{marker}{'w' if whole else 'p'}>"
    yield _literal(text[position:], name)


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
        known = ", ".join(f":{conversion}" for conversion in _CONVERSIONS)
        raise BadInput(
            f"{name}: the placeholder {shown('{{' + content + '}}')} is malformed; "
            f"expected {{{{column}}}}, or after the column one of {known}"
        )
    return Placeholder(column, kind, whole=whole, takes=takes)


def _cut(encoded: bytes, marker: bytes) -> list[bytes]:
    """The bytes around the holes, without the quotes around a hole that is a whole value."""
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
    """A value as JSON, with its own type."""
    data = _dumps(value)
    if data == b"null" and value is not None:  # orjson encodes NaN and infinity as null
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
"""Converts a value to what a field accepts."""
