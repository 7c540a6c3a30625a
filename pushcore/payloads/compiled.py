"""A payload is converted once to the JSON that is sent, with markers in place of values. The result is a form; rows fill it.

If a value affects other parts of the JSON (an empty text, a badge of 0, a priority), there is one form for each such value.
Some rows are converted alone: a row that must be rejected, a value that occurs for the first time.
"""

from __future__ import annotations

import enum
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

import orjson

from .json_template import Hole, JsonTemplate, Pieces, Placeholder
from .values import TEXT, is_deep

MAX_FORMS: Final = 1024
"""Forms of one payload that are kept, at most; when there are more, all are dropped."""
_MAX_DIGITS: Final = 9
"""Digits of a count, at most: a longer one may be too large for FCM."""
_EMPTY: Final = (b"", b'""')


class Role(enum.Enum):
    """The role of a placeholder: what its value affects."""

    FREE = "free"
    """Only its own field."""
    TEXT = "text"
    """A text; an empty one affects other fields."""
    COUNT = "count"
    """A number of 0 or more; 0 affects other fields."""
    FIXED = "fixed"
    """Every value affects other fields: there is a form for each value."""


class Marks:
    """Markers in place of the values of placeholders while a payload is converted.

    A marker contains a quotation mark. The number of backslashes before it in the JSON shows how deeply it is nested in texts.
    """

    def __init__(self, source: bytes) -> None:
        """`source`: the payload, which must not contain a marker."""
        tag, digits = secrets.token_hex(4), f"{secrets.randbelow(9 * 10**8) + 10**8}"
        while tag.encode() in source:
            tag = secrets.token_hex(4)
        while digits.encode() in source:
            digits = f"{secrets.randbelow(9 * 10**8) + 10**8}"
        self._tag, self._digits, self._count = tag, digits.encode(), -1
        self._pattern = re.compile(
            rf'"<\\"{tag}(\d+)w"|\\"<\\\\\\"{tag}(\d+)w\\"|<\\"{tag}(\d+)p|<\\\\\\"{tag}(\d+)p'
            rf"|(?<![0-9.])({digits})(?![0-9.])".encode()
        )

    def text(self, number: int, placeholder: Placeholder) -> bytes:
        """The marker for a value."""
        mark = orjson.dumps(f'<"{self._tag}{number}{"w" if placeholder.whole else "p"}')
        return mark if placeholder.whole else mark[1:-1]

    def count(self, number: int) -> bytes:
        """The marker for a number; a payload has at most one."""
        self._count = number
        return self._digits

    def cut(self, encoded: bytes) -> Pieces:
        """Divide JSON at its markers.

        Raises:
            ValueError: A marker is at a place where no value can be inserted.
        """
        segments, holes, position = [], [], 0
        for match in self._pattern.finditer(encoded):
            segments.append(encoded[position : match.start()])
            position = match.end()
            kind = match.lastindex or 0
            number = self._count if match[5] else int(match[kind])
            holes.append(Hole(number, kind in (2, 4)))
        segments.append(encoded[position:])
        if any(self._tag.encode() in segment for segment in segments):
            raise ValueError("a marker is left in the JSON")
        return Pieces(segments, holes)


class Form(Protocol):
    """A converted payload that rows fill. `stale`: whether it was made for another time than `now`."""

    def stale(self, now: float) -> bool: ...


F = TypeVar("F", bound=Form)
Convert = Callable[[dict[str, Any], float, Marks | None], F]
"""Makes a form from content, time and markers. Without markers (None) the content is that of one row, and may be invalid."""


class Compiled(Generic[F]):
    """The forms of a payload.

    Args:
        template: The payload.
        roles: The roles of its placeholders.
        convert: Makes a form. With markers, any exception means that there is no form; for one row it raises `BadRow`.
    """

    def __init__(self, template: JsonTemplate, roles: Sequence[Role], convert: Convert[F]) -> None:
        self.template = template
        self._roles = tuple(roles)
        self._convert = convert
        # None: one row had this key so far. False: there is no form for it.
        self._forms: dict[tuple[object, ...], F | Literal[False] | None] = {}
        self._fixed = Role.FIXED in roles
        self._deciding = [(number, role) for number, role in enumerate(roles) if role is not Role.FREE]
        # Placeholders with values that may be objects or lists.
        self._any = [
            number
            for number, (role, placeholder) in enumerate(zip(roles, template.placeholders, strict=True))
            if role is Role.FREE and placeholder.whole and placeholder.takes != TEXT
        ]

    def form(self, values: Sequence[bytes], now: float) -> F | None:
        """The form for a row with these values; None if there is none, see `alone`."""
        for number in self._any:
            value = values[number]
            if is_deep(value):
                return None
        key = tuple([_key(role, values[number]) for number, role in self._deciding])
        form = self._forms.get(key)
        if not form:
            return None if form is False else self._make(key, values, now)
        return self._make(key, values, now) if form.stale(now) else form

    def sole(self, now: float) -> F | None:
        """The form for all rows, if there is only one; None otherwise."""
        return None if self._deciding else self._make((), [b"0"] * len(self._roles), now)

    def uses_all(self, pieces: Pieces) -> bool:
        """Whether the pieces contain every placeholder. Rows must have the values of the others, too."""
        return len({hole.placeholder for hole in pieces.holes}) == len(self._roles)

    def bind(
        self, pieces: Pieces, columns: Sequence[str] | None, otherwise: Callable[[Any], bytes]
    ) -> Callable[[Any], bytes]:
        """The function from a row to JSON by this form. `otherwise`: called for a row that needs another form or has none."""
        return pieces.bind(self.template.placeholders, self.template.keys(columns), otherwise, flat=True)

    def alone(self, values: Sequence[bytes], now: float) -> F:
        """The form for one row alone, with its values. Raises `BadRow`."""
        return self._convert(orjson.loads(self.template.pieces.fill(values)), now, None)

    def _make(self, key: tuple[object, ...], values: Sequence[bytes], now: float) -> F | None:
        if key not in self._forms:
            if len(self._forms) >= MAX_FORMS:
                self._forms.clear()
            if self._fixed:  # a form is made when a second row has the same value
                self._forms[key] = None
                return None
        marks = Marks(self.template.pieces.fill(values))
        marked = [
            self._marked(marks, number, role, values[number]) for number, role in enumerate(self._roles)
        ]
        try:
            form = self._convert(orjson.loads(self.template.pieces.fill(marked)), now, marks)
        except Exception:  # the rows are then converted alone, which reports the error with their values
            self._forms[key] = False
            return None
        self._forms[key] = form
        return form

    def _marked(self, marks: Marks, number: int, role: Role, value: bytes) -> bytes:
        if role is Role.FIXED or (role is Role.TEXT and value in _EMPTY):
            return value
        if role is Role.COUNT:
            return marks.count(number) if _key(role, value) is True else value
        return marks.text(number, self.template.placeholders[number])


def _key(role: Role, value: bytes) -> object:
    """The part of a value on which the form depends."""
    if role is Role.TEXT:
        return value not in _EMPTY
    if role is Role.COUNT and value.isdigit() and len(value) <= _MAX_DIGITS and value != b"0":
        return True
    return value
