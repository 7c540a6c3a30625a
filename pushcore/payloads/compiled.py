"""A payload is converted once, with marks where values stand, into the JSON that is sent: a form, which rows fill.

Where a value decides what the JSON looks like (an empty text, a badge of 0, a priority), there is a form for each such
value that rows have. What cannot be a form is converted for its row alone: a row that must be refused, a value that is seen
for the first time.
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
"""Forms of one payload that are kept; when there are more, all are forgotten."""
_MAX_DIGITS: Final = 9
"""Digits of a count. One with more may be too large for FCM."""
_EMPTY: Final = (b"", b'""')


class Role(enum.Enum):
    """The role of a placeholder: what its value affects."""

    FREE = "free"
    """Nothing besides itself."""
    TEXT = "text"
    """A text that changes more when it is empty."""
    COUNT = "count"
    """A number from 0 on that changes more when it is 0."""
    FIXED = "fixed"
    """Anything: there is a form for each value."""


class Marks:
    """Stand for the values of placeholders while a payload is converted.

    A mark holds a quotation mark, whose backslashes in the JSON tell how deep it is within texts.
    """

    def __init__(self, source: bytes) -> None:
        """`source`: the payload, which has none of these marks."""
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
        """In place of a value."""
        mark = orjson.dumps(f'<"{self._tag}{number}{"w" if placeholder.whole else "p"}')
        return mark if placeholder.whole else mark[1:-1]

    def count(self, number: int) -> bytes:
        """In place of a number: there is one at most."""
        self._count = number
        return self._digits

    def cut(self, encoded: bytes) -> Pieces:
        """JSON with these marks, cut where they are.

        Raises:
            ValueError: A mark is not where a value could stand.
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
    """What rows fill. `stale`: whether it was made for another time than `now`."""

    def stale(self, now: float) -> bool: ...


F = TypeVar("F", bound=Form)
Convert = Callable[[dict[str, Any], float, Marks | None], F]
"""Makes a form of a payload's content at a time; None for marks: the content is that of one row, and may be invalid."""


class Compiled(Generic[F]):
    """The forms of a payload.

    Args:
        template: The payload.
        roles: Of its placeholders.
        convert: Makes a form. What it raises for marks means that there is none; for one row it raises `BadRow`.
    """

    def __init__(self, template: JsonTemplate, roles: Sequence[Role], convert: Convert[F]) -> None:
        self.template = template
        self._roles = tuple(roles)
        self._convert = convert
        # None: a row has had this key. False: there is no such form.
        self._forms: dict[tuple[object, ...], F | Literal[False] | None] = {}
        self._fixed = Role.FIXED in roles
        self._deciding = [(number, role) for number, role in enumerate(roles) if role is not Role.FREE]
        # Those whose value may be an object or a list.
        self._any = [
            number
            for number, (role, placeholder) in enumerate(zip(roles, template.placeholders, strict=True))
            if role is Role.FREE and placeholder.whole and placeholder.takes != TEXT
        ]

    def form(self, values: Sequence[bytes], now: float) -> F | None:
        """The form of a row with these values; None where there is none, see `alone`."""
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
        """The form of all rows, whatever their values are; None where those decide."""
        return None if self._deciding else self._make((), [b"0"] * len(self._roles), now)

    def uses_all(self, pieces: Pieces) -> bool:
        """Whether every placeholder stands in these pieces. One that the provider does not get must be there in each row, too."""
        return len({hole.placeholder for hole in pieces.holes}) == len(self._roles)

    def bind(
        self, pieces: Pieces, columns: Sequence[str] | None, otherwise: Callable[[Any], bytes]
    ) -> Callable[[Any], bytes]:
        """The function from a row to some JSON of its form. `otherwise`: called for a row that has another form, or none."""
        return pieces.bind(self.template.placeholders, self.template.keys(columns), otherwise, flat=True)

    def alone(self, values: Sequence[bytes], now: float) -> F:
        """The form of one row, without holes. Raises `BadRow`."""
        return self._convert(orjson.loads(self.template.pieces.fill(values)), now, None)

    def _make(self, key: tuple[object, ...], values: Sequence[bytes], now: float) -> F | None:
        if key not in self._forms:
            if len(self._forms) >= MAX_FORMS:
                self._forms.clear()
            if self._fixed:  # a value that no other row has is not worth a form
                self._forms[key] = None
                return None
        marks = Marks(self.template.pieces.fill(values))
        marked = [
            self._marked(marks, number, role, values[number]) for number, role in enumerate(self._roles)
        ]
        try:
            form = self._convert(orjson.loads(self.template.pieces.fill(marked)), now, marks)
        except Exception:  # what is wrong is said of each row with its own values
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
    """What of a value decides about the form."""
    if role is Role.TEXT:
        return value not in _EMPTY
    if role is Role.COUNT and value.isdigit() and len(value) <= _MAX_DIGITS and value != b"0":
        return True
    return value
