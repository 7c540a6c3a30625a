"""`RenderedMessage`: a message for FCM whose JSON a template has made."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from .fcm import Message

TAIL: Final = b"}}"
"""What follows the target in the JSON of a request."""
_TARGETS: Final = ("token", "fid")
FIELDS: Final = tuple(name for name in Message.__slots__ if name not in _TARGETS)


class MessageForm(NamedTuple):
    """The common part of the rendered messages of one form."""

    shapes: tuple[object, ...]
    """What `fcm.shapes.shapes_of` gave for them."""
    apns: bool
    """Whether they have an `apns` part."""
    alerting: bool
    """Whether they have a `notification`."""


class RenderedMessage(Message):
    """A message to one device, of which all but the target is JSON that has been checked.

    `json`: the JSON of the request up to the value of the target, which is `token` or `fid`. `form`: None for a message
    that has not been checked; it is `plain`. The fields besides the target are read-only: they are decoded when they are
    asked for.
    """

    __slots__ = ("form", "json", "plain")

    form: MessageForm | None
    json: bytes
    plain: dict[str, Any]

    def message(self) -> Message:
        """The same as a plain message, which can be changed."""
        if self.form is None:
            return Message(token=self.token, fid=self.fid, **self.plain)
        message = Message.from_dict(orjson.loads(self.json + b'""' + TAIL))
        message.token, message.fid = self.token, self.fid
        return message

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: what is set, which the read-only fields are not."""
        names = [name for owner in type(self).__mro__ for name in owner.__dict__.get("__slots__", ())]
        return {name: getattr(self, name) for name in names if name not in FIELDS and hasattr(self, name)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


def _read_only(name: str) -> property:
    return property(lambda push: getattr(push.message(), name))


for _name in FIELDS:
    setattr(RenderedMessage, _name, _read_only(_name))
