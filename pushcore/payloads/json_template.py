"""The payload template: a JSON object with `{{column}}` in its strings.

It is encoded once, with holes. For each row the holes are filled with encoded values. So no value can change the structure of
the payload, and a push costs one `orjson.dumps` of a short string per placeholder.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import orjson

from ..audience.dialects import NOT_UTF8, is_utf8, meant_column, wide_problem
from ..audience.problems import MAX_SHOWN, BadInput, BadRow, printable, read_small, shown
from ..models.json_values import json_problem
from .values import ANY, CONVERSIONS, TEXT, VALUE_ERRORS, Render, nested, nesting, render_of
from .values import flat as only_flat

MAX_FILE: Final = 1024 * 1024
"""Bytes of a payload file, at most; a payload of APNs has at most 5 120."""

_EXPECTED: Final = 'a JSON object such as {"aps": {"alert": "Hi"}}'
_PLACEHOLDER: Final = re.compile(r"\\?\{\{(.*?)\}\}", re.DOTALL)
_BOM: Final = b"\xef\xbb\xbf"

_dumps = orjson.dumps

WHOLE, WITHIN, NESTED, OTHERWISE = 0, 1, 2, 4
"""How a text is inserted: as a JSON string, within one, within JSON that is itself the text of a JSON string, or by a function."""

Path = tuple[str | int, ...]
"""The path of a field: keys of objects, and indices of lists."""
Takes = Callable[[Path], str]
"""Returns the values that the field at a path accepts."""


class Placeholder:
    """One `{{column}}` or `{{column:kind}}`.

    `path`: of its field. `whole`: the placeholder is the entire string, so the value keeps its type, unless `takes` says that
    the field needs text. `padded`: the string has text besides placeholders, so it is never empty.
    """

    __slots__ = ("column", "kind", "padded", "path", "takes", "whole")

    def __init__(
        self,
        column: str,
        kind: str,
        path: Path = (),
        *,
        whole: bool,
        padded: bool = False,
        takes: str = ANY,
    ) -> None:
        self.column = column
        self.kind = kind
        self.path = path
        self.whole = whole
        self.padded = padded
        self.takes = takes

    def render(self) -> Render:
        """The function from the value of a row to the bytes that fill the hole."""
        return render_of(self.kind, self.takes, whole=self.whole)

    @property
    def inserts(self) -> int:
        """How a text is inserted: `WHOLE`, `WITHIN` a string, or `OTHERWISE`, by `render`."""
        if self.kind not in ("", "text"):
            return OTHERWISE
        return WHOLE if self.whole else WITHIN


class Hole(NamedTuple):
    """A place for a placeholder's value. `nested`: within JSON that is the text of a string in JSON."""

    placeholder: int
    nested: bool = False


class Pieces:
    """JSON divided at the holes for values. `constant`: the whole JSON if there is no hole, None otherwise."""

    __slots__ = ("_buffer", "constant", "holes")

    def __init__(self, segments: Sequence[bytes], holes: Sequence[Hole]) -> None:
        """`segments`: the bytes around the holes, one more than there are holes."""
        self.holes = tuple(holes)
        self.constant = segments[0] if not holes else None
        # Segments and holes alternate. Every row overwrites all holes, so one list is enough.
        self._buffer = [b""] * (2 * len(segments) - 1)
        self._buffer[::2] = segments

    def fill(self, values: Sequence[bytes]) -> bytes:
        """The JSON with the values of a row, see `JsonTemplate.values`."""
        buffer, index = self._buffer, 1
        for placeholder, is_nested in self.holes:
            buffer[index] = nested(values[placeholder]) if is_nested else values[placeholder]
            index += 2
        return b"".join(buffer)

    def bind(
        self,
        placeholders: Sequence[Placeholder],
        keys: Sequence[Any],
        otherwise: Callable[[Any], bytes],
        *,
        flat: bool = False,
    ) -> Callable[[Any], bytes]:
        """The function from a row to the JSON.

        Args:
            placeholders: All placeholders of the template.
            keys: For each placeholder, the key or index of its value in a row.
            otherwise: Called for a row with a value that cannot be inserted.
            flat: Whether to treat a value that may be nested too deeply as one that cannot be inserted.
        """
        constant = self.constant
        if constant is not None:
            return lambda row: constant
        fills: list[tuple[int, Any, int, Render]] = []
        for index, (number, is_nested) in enumerate(self.holes):
            placeholder = placeholders[number]
            render, inserts = placeholder.render(), placeholder.inserts
            if flat and placeholder.whole and placeholder.takes != TEXT:
                render = only_flat(render)
            if is_nested:
                render, inserts = nesting(render), inserts | NESTED
            fills.append((2 * index + 1, keys[number], inserts, render))
        buffer = self._buffer
        # Most values are texts in a string, whole or a part of it. They have a loop of their own, which asks less.
        texts = [(index, key, bool(inserts)) for index, key, inserts, _ in fills]

        def fill_texts(row: Any) -> bytes:
            try:
                for index, key, within in texts:
                    value = row[key]
                    if type(value) is not str:
                        return fill(row)
                    data = _dumps(value)
                    buffer[index] = data[1:-1] if within else data
            except VALUE_ERRORS:
                return otherwise(row)
            return b"".join(buffer)

        def fill(row: Any) -> bytes:
            try:
                for index, key, inserts, render in fills:
                    value = row[key]
                    if type(value) is str and inserts < OTHERWISE:
                        data = _dumps(value)
                        if inserts:
                            if inserts & WITHIN:
                                data = data[1:-1]
                            if inserts & NESTED:
                                data = _dumps(data.decode())[1:-1]
                        buffer[index] = data
                    else:
                        buffer[index] = render(value)
            except VALUE_ERRORS:
                return otherwise(row)
            return b"".join(buffer)

        return fill_texts if all(inserts in (WHOLE, WITHIN) for _, _, inserts, _ in fills) else fill


class JsonTemplate:
    """A payload with placeholders. `columns`: their columns, in order of appearance. `name`: the name of the payload in errors."""

    def __init__(self, segments: list[bytes], placeholders: list[Placeholder], name: str) -> None:
        """`segments`: the bytes around the holes, one more than there are placeholders."""
        self.name = name
        self.pieces = Pieces(segments, [Hole(number) for number in range(len(placeholders))])
        self.constant = self.pieces.constant
        """The payload of every row when there is no placeholder."""
        self.columns = tuple(dict.fromkeys(placeholder.column for placeholder in placeholders))
        self.placeholders = tuple(placeholders)

    @classmethod
    def from_json(cls, data: bytes, name: str) -> JsonTemplate:
        """The template in `data`; its name in errors is `name`.

        Raises:
            BadInput: `data` is not a JSON object, or a placeholder is malformed.
        """
        return cls.from_object(json_object(data, name), name)

    @classmethod
    def from_object(cls, content: dict[str, Any], name: str, takes: Takes = lambda path: ANY) -> JsonTemplate:
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
        return cls(_cut(encoded, marker.encode()), placeholders, name)

    def keys(self, columns: Sequence[str] | None) -> list[Any]:
        """For each placeholder, the index of its value in a row; the key, if `columns` is None and a row is a dict."""
        names = [placeholder.column for placeholder in self.placeholders]
        return list(names) if columns is None else [columns.index(name) for name in names]

    def values(self, columns: Sequence[str] | None) -> Callable[[Any], list[bytes]]:
        """The function from a row to the encoded values of its placeholders.

        The function raises `BadRow` when a value cannot be inserted.
        """
        keys = self.keys(columns)
        renders = [placeholder.render() for placeholder in self.placeholders]
        pairs = list(zip(keys, renders, strict=True))

        def values(row: Any) -> list[bytes]:
            encoded: list[bytes] = []
            try:
                for key, render in pairs:
                    encoded.append(render(row[key]))  # their number shows the failed placeholder
            except VALUE_ERRORS as error:
                number = len(encoded)
                raise _bad_row(self.placeholders[number], self.name, row, keys[number], error) from None
            return encoded

        return values

    def bind(self, columns: Sequence[str] | None) -> Callable[[Any], bytes]:
        """The function from a row to its payload. A row is a list in the order of `columns`, or a dict if that is None.

        The function raises `BadRow` when a value cannot be inserted.
        """
        values = self.values(columns)

        def say(row: Any) -> bytes:
            return self.pieces.fill(values(row))  # raises

        return self.pieces.bind(self.placeholders, self.keys(columns), say)


def read_object(path: str) -> dict[str, Any]:
    """The JSON object in a payload file. Raises `BadInput` if the file has another content."""
    if not path.strip():
        raise BadInput(f"the path of the payload is empty; expected a file with {_EXPECTED}")
    return json_object(read_small(path, _EXPECTED, MAX_FILE), path)


def json_object(data: bytes, name: str) -> dict[str, Any]:
    """The JSON object in `data`; its name in errors is `name`. Raises `BadInput` if `data` has another content."""
    if problem := wide_problem(data):
        raise BadInput(f"{name} {problem}")
    try:
        content = orjson.loads(data.removeprefix(_BOM))
    except orjson.JSONDecodeError as error:
        if not is_utf8(data.decode("utf-8", "surrogateescape")):
            raise BadInput(f"{name} is {NOT_UTF8}") from None
        raise BadInput(f"{name} is not JSON ({printable(str(error))}); expected {_EXPECTED}") from None
    if not isinstance(content, dict):
        hint = ": one message, the rows are the recipients" if isinstance(content, list) else ""
        raise BadInput(f"{name} is not a JSON object; expected {_EXPECTED}{hint}")
    return content


def _bad_row(placeholder: Placeholder, name: str, row: Any, key: Any, error: Exception) -> BadRow:
    file = name.rpartition("/")[2]  # short, because it is in the results of every such row
    column, where = shown(placeholder.column), f"({place(placeholder.path)} of {file})"
    if isinstance(error, KeyError):
        return BadRow(f"there is no key {column} {where}{meant_column(placeholder.column, row)}")
    if isinstance(row[key], str) and not is_utf8(row[key]):
        return BadRow(f"the value of {column} cannot be JSON: it is {NOT_UTF8} {where}")
    if isinstance(error, TypeError):  # from orjson, for a surrogate or a number of more than 64 bits
        return BadRow(
            f"the value of {column} cannot be JSON: {json_problem(row[key], 'it') or error} {where}"
        )
    return BadRow(f"{column}: {error} {where}")


def place(path: Path) -> str:
    """The path of a field for a sentence, such as aps.alert.loc-args[0]."""
    words = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return printable("".join(words).removeprefix("."), MAX_SHOWN)


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
                    f"{marking.name}: the key {shown(key)}{' in ' + place(path) if path else ''} holds a placeholder; "
                    "expected placeholders in values only"
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
    position, first, padded = 0, len(placeholders), False
    for match in _PLACEHOLDER.finditer(text):
        literal = _literal(text[position : match.start()], path, name)
        position = match.end()
        if match[0].startswith("\\"):
            padded = True
            yield literal + match[0][1:]
            continue
        whole = match[0] == text
        placeholder = _placeholder(match[1].strip(), path, whole, takes(path) if whole else ANY, name)
        placeholders.append(placeholder)
        padded = padded or literal != ""
        yield f"{literal}<{marker}{'w' if whole else 'p'}>"
    literal = _literal(text[position:], path, name)
    for placeholder in placeholders[first:]:
        placeholder.padded = padded or literal != ""
    yield literal


def _literal(text: str, path: Path, name: str) -> str:
    if "{{" in text:
        raise BadInput(
            f"{name}: {shown(text)} in {place(path)} opens a placeholder and does not close it; expected }}}}"
        )
    return text


def _placeholder(content: str, path: Path, whole: bool, takes: str, name: str) -> Placeholder:
    column, colon, kind = content.rpartition(":")
    if not colon:
        column, kind = content, ""
    column, kind = column.strip(), kind.strip()
    if not column or (colon and kind not in CONVERSIONS):
        known = ", ".join(f":{conversion}" for conversion in CONVERSIONS)
        raise BadInput(
            f"{name}: the placeholder {shown('{{' + content + '}}')} in {place(path)} is malformed; "
            f"expected {{{{column}}}}, or after the column one of {known}"
        )
    return Placeholder(column, kind, path, whole=whole, takes=takes)


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
