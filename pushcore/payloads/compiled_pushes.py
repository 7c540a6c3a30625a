"""The forms of a payload for APNs and for FCM, see `compiled`: pushes that differ only in their values."""

from __future__ import annotations

from typing import Any, Final

import orjson

from ..fcm.request import FcmRequestBuilder
from ..fcm.shapes import shapes_of
from ..models.apns import Notification
from ..models.fcm import Message
from ..models.rendered import MessageForm
from ..requests import build_one
from ..results import Result
from .compiled import Marks
from .json_template import Pieces

_ANY_TOKEN: Final = "cFakeInstallation-0000:APA91b" + "0" * 134  # for messages that are only checked


class CompiledNotification:
    """Pushes to APNs that differ only in their values.

    `push`: has their common header fields. `payload`, `collapse_id`: their JSON; None if that of `push` is used. `lifetime`:
    seconds for which APNs may keep them; None if `push` has the expiration. `invisible`: whether they display nothing.
    """

    __slots__ = ("collapse_id", "invisible", "lifetime", "payload", "push")

    def __init__(
        self, push: Notification, lifetime: float | None, marks: Marks | None, *, invisible: bool
    ) -> None:
        """`marks`: the markers in `push`; None for the push of a single row.

        Raises:
            ValueError: A marker is at a place where no value can be inserted.
        """
        self.push, self.lifetime, self.invisible = push, lifetime, invisible
        self.payload: Pieces | None = None
        self.collapse_id: Pieces | None = None
        if marks is not None:
            self.payload = marks.cut(orjson.dumps(push.payload))
            collapse_id = marks.cut(orjson.dumps(push.collapse_id))
            if collapse_id.holes:
                self.collapse_id = collapse_id

    def stale(self, now: float) -> bool:
        """Always False: the expiration is not in the JSON."""
        return False


class CompiledMessage:
    """Messages to FCM that differ only in their values.

    `form`: None for the message of a single row, which has not been checked; then `fields` is that message. `token`, `fid`: the
    JSON of requests to a registration token and to an installation id, as in `RenderedMessage`. `invisible`: whether they
    display nothing.
    """

    __slots__ = ("_expires", "_left", "fid", "fields", "form", "invisible", "token")

    def __init__(
        self,
        fields: dict[str, Any],
        marks: Marks | None,
        *,
        invisible: bool = False,
        expires: float | None = None,
        now: float = 0.0,
    ) -> None:
        """`fields`: of a `Message`. `expires`: UNIX seconds, if the message has an expiry; its fields then depend on `now`.

        Raises:
            ValueError: Google would reject the message, or a marker is at a place where no value can be inserted.
        """
        self.fields, self.invisible = fields, invisible
        self._expires = expires
        self._left = None if expires is None else int(expires - now)
        self.form: MessageForm | None = None
        if marks is None:
            return
        request = orjson.loads(checked(fields))
        message = request.pop("message")
        del message["token"]
        start = orjson.dumps({**request, "message": message})[: -len("}}")] + b"," * bool(message)
        self.form = MessageForm(
            shapes_of(message), apns="apns" in message, alerting="notification" in message
        )
        self.token, self.fid = marks.cut(start + b'"token":'), marks.cut(start + b'"fid":')

    def stale(self, now: float) -> bool:
        """Whether their time to live, in whole seconds, has changed since they were compiled."""
        return self._expires is not None and int(self._expires - now) != self._left


def checked(fields: dict[str, Any]) -> bytes:
    """The JSON of a request with these fields of a `Message`. Raises `ValueError` when Google would reject it."""
    requests = FcmRequestBuilder("fcm.googleapis.com", "project")
    built = build_one(requests, Message(token=_ANY_TOKEN, **fields), lambda exchange: None, 0.0)
    if isinstance(built, Result):
        raise ValueError(built.detail)
    return built.body
