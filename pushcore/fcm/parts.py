"""The parts of a message that most messages of a campaign have in common: checked once, and then found again.

To check a part takes microseconds and its JSON a quarter of one, so what was found right is kept, in two ways: the JSON
of each part by itself, and all parts of a message as they were once the next message has had the same.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from ..models.fcm_check import check_part
from ..models.fcm_parts import PARTS, lasting, plain, to_json
from ..models.fcm_values import FieldError
from ..models.json_values import json_problem
from .shapes import AcceptedShapes, ShapePair, shape_of_part

MAX_KNOWN: Final = 1024
"""Parts that are kept ready after they were found right; when there are more, all are forgotten."""
NAMES: Final = ("android", "android_v2", "apns", "webpush", "fcm_options")
"""The parts, in the order in which they are handed over."""
OPTION: Final = orjson.OPT_PASSTHROUGH_DATACLASS
_SHAPED: Final = frozenset(("android", "android_v2", "apns", "webpush"))

_KEPT: Final = 1024  # bytes of a part that is kept

Given: TypeAlias = "tuple[Any, ...]"
"""The parts of one message, in the order of `NAMES`; None for one that it has not."""


class EncodedPart(NamedTuple):
    """A part that was found right: its JSON, and its shape where that matters."""

    json: orjson.Fragment
    shape: tuple[object, ...] | None


class EncodedParts:
    """What is known of the parts of messages to one project.

    `token_at`: where the token begins in the JSON of a request whose message is `ready` with a token after it.

    `seen`: parts of two messages in a row, as they were when they were checked. Whose parts equal them may use `ready`,
    their JSON by name, and `ready_shapes`; who has others calls `learn`, and has `shapes` after it.
    `accepted`: the shapes of all messages that were made so.
    """

    __slots__ = (
        "_known",
        "_last",
        "_lately",
        "_times",
        "accepted",
        "ready",
        "ready_shapes",
        "seen",
        "shapes",
        "token_at",
    )

    def __init__(self) -> None:
        self.accepted = AcceptedShapes()
        self.seen: Given = (None,) * len(NAMES)
        self.ready: dict[str, Any] = {}
        self.token_at = _token_at(self.ready)
        self.shapes: ShapePair = self.accepted.pair((), apns=False)
        self.ready_shapes = self.shapes
        # Parts that were found right, by their JSON, and for each name the last part that can never change.
        self._known: dict[tuple[str, bytes], EncodedPart] = {}
        self._last: dict[str, tuple[Any, EncodedPart]] = {}
        # The JSON of the last parts that were learnt, and how often in a row.
        self._lately: dict[str, Any] = {}
        self._times = 0

    def learn(self, given: Given) -> dict[str, Any]:
        """The JSON of these parts by name, checked. Do not change it.

        Raises `FieldError` for what Google would refuse, and what orjson raises for what cannot be JSON.
        """
        if given[0] is not None and given[1] is not None:
            raise FieldError("the message has android and android_v2: give one of them")
        found: dict[str, Any] = {}
        shapes: list[tuple[object, ...]] = []
        for name, part in zip(NAMES, given):  # noqa: B905  # both have five
            if part is not None:
                found[name], shape = self._encode(name, part)
                if shape is not None:
                    shapes.append(shape)
        self.shapes = self.accepted.pair(tuple(shapes), apns="apns" in found)
        self._times = self._times + 1 if found == self._lately else 1
        self._lately = found
        if self._times == 2:  # and no more: where it is of no use at the third time, it never is
            self.seen, self.ready = tuple(map(_as_it_is, given)), found
            self.ready_shapes = self.shapes
            self.token_at = _token_at(found)
        return found

    def json(self, name: str, part: Any) -> orjson.Fragment:
        """The JSON of one part, checked. Raises as `learn`."""
        return self._encode(name, part).json

    def _encode(self, name: str, part: Any) -> EncodedPart:
        """What was found right once is found again by its JSON."""
        last = self._last.get(name)
        if last is not None and last[0] is part:
            return last[1]
        raw = orjson.dumps(part, to_json, OPTION)
        encoded = self._known.get((name, raw))
        if encoded is None:
            document = orjson.loads(raw)
            check_part(name, document)
            shape = shape_of_part(name, document) if name in _SHAPED else None
            encoded = EncodedPart(orjson.Fragment(raw), shape)
            if b"null" in raw:
                # That is what orjson makes of NaN, so another part with the same JSON may be wrong.
                problem = json_problem(plain(part), name)
                if problem:
                    raise FieldError(problem)
            elif len(raw) <= _KEPT:
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                self._known[(name, raw)] = encoded
        if type(part) is not dict and lasting(part):  # to see that a dict can change takes 0.4 µs
            self._last[name] = (part, encoded)
        return encoded


def _token_at(ready: dict[str, Any]) -> int:
    return len(orjson.dumps({"message": {**ready, "token": ""}})) - len('"}}')


class _TypedNumber:
    """Equals a number of the same class only: 1, 1.0 and True are three texts in JSON, and one to Python."""

    __slots__ = ("_value",)

    def __init__(self, value: int | float) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self._value) and other == self._value

    __hash__ = None  # type: ignore[assignment]  # it is compared, and never looked up


def _as_it_is(part: Any) -> Any:
    """What equals `part` for as long as it stays as it is; nothing equals what cannot be told so."""
    if part is None or type(part) is str or (isinstance(part, PARTS) and lasting(part)):
        return part
    if type(part) is dict:
        return {key: _as_it_is(value) for key, value in part.items()}
    if type(part) is list:
        return [_as_it_is(value) for value in part]
    if type(part) in (bool, int, float):
        return _TypedNumber(part)
    return object()
