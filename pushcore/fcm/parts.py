"""The parts of a message that most messages of a campaign have in common: checked once, and then reused.

To check a part takes microseconds and its JSON a quarter of one, so valid parts are kept, in two ways: the JSON of each
part by itself, and all parts of a message as they were once the next message has had the same.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from ..models.apns_check import mistyped_parts
from ..models.fcm_check import check_part
from ..models.fcm_parts import PARTS, lasting, plain, to_json
from ..models.fcm_values import FieldError
from ..models.json_values import json_problem
from ..models.warned import warn_once
from .shapes import SHAPED, AcceptedShapes, ShapePair, shape_of_part

MAX_KNOWN: Final = 1024
"""The number of valid parts that are kept; when it is reached, all are removed."""
NAMES: Final = ("android", "android_v2", "apns", "webpush", "fcm_options")
"""The parts, in the order of `PartValues`."""
OPTION: Final = orjson.OPT_PASSTHROUGH_DATACLASS
TOKEN: Final = b'"token":"'
"""The end of the beginning of a body with a token; replaced for another target."""

_MAX_KEPT: Final = 1024  # bytes of a part that is kept

PartValues: TypeAlias = "tuple[Any, ...]"
"""The parts of one message, in the order of `NAMES`; None for an absent one."""


class EncodedPart(NamedTuple):
    """A valid part: its JSON, and its shape where that matters."""

    json: orjson.Fragment
    shape: tuple[object, ...] | None


class EncodedParts:
    """The valid parts of messages to one project.

    `seen`: parts of two messages in a row, as they were when they were checked. The body of a message with equal parts begins
    with `start`, and its shapes are `ready_shapes`. For any other message call `learn`, after which `shapes` are those of its
    parts. `accepted`: the shapes of all these messages.
    """

    __slots__ = (
        "_known",
        "_last",
        "_last_learned",
        "_repeats",
        "accepted",
        "ready_shapes",
        "seen",
        "shapes",
        "start",
    )

    def __init__(self) -> None:
        self.accepted = AcceptedShapes()
        self.seen: PartValues = (None,) * len(NAMES)
        self.start = start_of({})
        self.shapes: ShapePair = self.accepted.pair((), apns=False)
        self.ready_shapes = tuple(self.shapes)
        # Valid parts by their JSON; and for each name the last part that cannot change.
        self._known: dict[tuple[str, bytes], EncodedPart] = {}
        self._last: dict[str, tuple[Any, EncodedPart]] = {}
        # The JSON of the parts of the last call of `learn`, and the number of such calls in a row.
        self._last_learned: dict[str, Any] = {}
        self._repeats = 0

    def learn(self, values: PartValues) -> dict[str, Any]:
        """The JSON of these parts by name, checked. Do not change it.

        Raises `FieldError` for what Google would reject, and the error of orjson for what cannot be JSON.
        """
        if values[0] is not None and values[1] is not None:
            raise FieldError("the message has android and android_v2; expected one of them")
        fragments: dict[str, Any] = {}
        shapes: list[tuple[object, ...]] = []
        for name, part in zip(NAMES, values):  # noqa: B905  # both have five
            if part is not None:
                fragments[name], shape = self._encode(name, part)
                if shape is not None:
                    shapes.append(shape)
        self.shapes = self.accepted.pair(tuple(shapes), apns="apns" in fragments)
        self._repeats = self._repeats + 1 if fragments == self._last_learned else 1
        self._last_learned = fragments
        if self._repeats == 2:  # not later: if it had no effect twice, it never has one
            self.seen, self.ready_shapes = tuple(map(_snapshot, values)), tuple(self.shapes)
            self.start = start_of(fragments)
        return fragments

    def json(self, name: str, part: Any) -> orjson.Fragment:
        """The JSON of one part, checked. Raises as `learn`."""
        return self._encode(name, part).json

    def _encode(self, name: str, part: Any) -> EncodedPart:
        """The JSON and the shape of one part. A valid part is checked once, and recognised by its JSON."""
        last = self._last.get(name)
        if last is not None and last[0] is part:
            return last[1]
        raw = orjson.dumps(part, to_json, OPTION)
        encoded = self._known.get((name, raw))
        if encoded is None:
            document = orjson.loads(raw)
            check_part(name, document)
            if name == "apns":
                for text in mistyped_parts(document.get("payload") or {}):
                    warn_once(f"apns.payload of a message for FCM: {text}")
            shape = shape_of_part(name, document) if name in SHAPED else None
            encoded = EncodedPart(orjson.Fragment(raw), shape)
            if b"null" in raw:
                # orjson makes null of NaN, so another part with the same JSON may be wrong.
                problem = json_problem(plain(part), name)
                if problem:
                    raise FieldError(problem)
            elif len(raw) <= _MAX_KEPT:
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                self._known[(name, raw)] = encoded
        if type(part) is not dict and lasting(part):  # the check whether a dict can change takes 0.4 µs
            self._last[name] = (part, encoded)
        return encoded


def start_of(parts: dict[str, Any]) -> bytes:
    """The beginning of a body up to the text of the token, with the JSON of the message's parts by name."""
    return b'{"message":%b,"token":"' % orjson.dumps(parts)[:-1] if parts else b'{"message":{"token":"'


class _TypedNumber:
    """Equals only a number of the same class: for Python 1, 1.0 and True are equal, but their JSON differs."""

    __slots__ = ("_value",)

    def __init__(self, value: int | float) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self._value) and other == self._value

    __hash__ = None  # type: ignore[assignment]  # it is compared, and never looked up


def _snapshot(part: Any) -> Any:
    """A value that equals `part` as long as `part` is not changed, or a value that equals nothing."""
    if part is None or type(part) is str or (isinstance(part, PARTS) and lasting(part)):
        return part
    if type(part) is dict:
        return {key: _snapshot(value) for key, value in part.items()}
    if type(part) is list:
        return [_snapshot(value) for value in part]
    if type(part) in (bool, int, float):
        return _TypedNumber(part)
    return object()
