"""Whether a 400 that blames the token can be believed: the shapes of messages that FCM has accepted lately.

Google's INVALID_ARGUMENT blames the token also for a part of the message that it dislikes: an `apns` part with headers and
without `payload.aps`, a silent push of priority 10, the push type background with an alert. It "signals an invalid token
only if the payload is completely valid" ("FCM error codes"). That other messages of the same shape were accepted is the
proof; that of one to a topic, or of a dry run, is none, for no device was looked at. A dropped token does not come back, so without proof the token is suspect, and is kept.

A shape is what Google looks at in the parts for the platforms, and not what differs from device to device: which of
`android`, `android_v2`, `apns` and `webpush` there are, the keys of each, of its headers, its notification and `aps`, the
push type, the priority and the topic for APNs, and beside an `apns` part whether there is a `notification`, which becomes its alert.

**Exact, and nearly free.** Each exchange has the shape of its message as one object, which the request builder knows: it
compares the parts of consecutive messages anyway (`EncodedParts`), and computes a shape only where it checks a new part.
Equal shapes are one object, so an accepted response costs one comparison of identities, and only the first after one of
another shape costs an entry in a dict. Nothing is computed again from a push, which the caller may have changed since.
Responses are counted by the batch; those that came together count as simultaneous.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

WINDOW: Final = 10_000
"""A message of the same shape must have been accepted among this number of last responses."""
MAX_SHAPES: Final = 1024
"""The number of known shapes, at most; when it is reached, all are removed, and prove nothing any more."""

SHAPED: Final = ("android", "android_v2", "apns", "webpush")
"""The parts that have a shape."""
_VALUES: Final = ("apns-push-type", "apns-priority", "apns-topic")
"""Headers whose value is a part of the shape; values of other headers differ from device to device."""


class MessageShape:
    """The shape of a message. Equal ones are the same object."""

    __slots__ = ()


UNPROVING: Final = MessageShape()
"""For messages whose acceptance proves nothing about messages to a device: those to a topic or a condition, and dry runs."""


class ShapePair(NamedTuple):
    """The shapes of messages with the same parts."""

    silent: MessageShape
    """Without a `notification`."""
    alerting: MessageShape
    """With one; the same object without an `apns` part, where it makes no difference."""


class AcceptedShapes:
    """The shapes of the messages of one client, and when a message of each shape was last accepted.

    `responses`: how many there have been. `current`: the shape that was accepted last, and `current_at`: how many
    responses there had been then. `accepted_at`: the same of other shapes.
    """

    __slots__ = ("_pairs", "accepted_at", "current", "current_at", "responses")

    def __init__(self) -> None:
        self.responses = 0
        self.accepted_at: dict[MessageShape | None, int] = {}
        self.current: MessageShape | None = None
        self.current_at = 0
        self._pairs: dict[tuple[object, ...], ShapePair] = {}

    def pair(self, parts: tuple[object, ...], *, apns: bool) -> ShapePair:
        """The shapes of messages with parts of these shapes.

        Args:
            parts: what `shape_of_part` gave for each part, with its name.
            apns: whether one of them is the `apns` part.
        """
        pair = self._pairs.get(parts)
        if pair is None:
            if len(self._pairs) >= MAX_SHAPES:
                self._pairs.clear()
                self.accepted_at.clear()
            silent = MessageShape()
            pair = self._pairs[parts] = ShapePair(silent, MessageShape() if apns else silent)
        return pair

    def add(self, shape: MessageShape) -> None:
        """A message of this shape has been accepted. `FcmDispatcher.accept` does the same for many at a time."""
        self.accepted_at[self.current] = self.current_at
        self.current, self.current_at = shape, self.responses

    def accepted_lately(self, shape: MessageShape) -> bool:
        """Whether one of this shape was accepted among the last `WINDOW` responses."""
        if shape is UNPROVING:
            return False
        at = self.current_at if shape is self.current else self.accepted_at.get(shape)
        return at is not None and self.responses - at < WINDOW


def shapes_of(message: Mapping[str, Any]) -> tuple[tuple[object, ...], ...]:
    """The shapes of a message's parts, as `AcceptedShapes.pair` takes them. `message`: its JSON, in snake_case."""
    return tuple(shape_of_part(name, message[name]) for name in SHAPED if name in message)


def shape_of_part(name: str, part: Mapping[str, Any]) -> tuple[object, ...]:
    """The shape of one part of a message, in values that can be compared and hashed.

    Args:
        name: "android", "android_v2", "apns" or "webpush".
        part: its JSON.
    """
    shape: list[object] = [name, frozenset(part)]
    headers = part.get("headers")
    if isinstance(headers, dict):
        lower = {key.lower(): value for key, value in headers.items()}
        shape += (frozenset(lower), *map(lower.get, _VALUES))
    inner = part.get("payload") if name == "apns" else part.get("remote_notification", part)
    if isinstance(inner, dict):
        shown = inner.get("aps") if name == "apns" else inner.get("notification")
        shape += (frozenset(inner), frozenset(shown) if isinstance(shown, dict) else None)
    return tuple(shape)
