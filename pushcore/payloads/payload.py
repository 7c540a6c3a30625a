"""Payloads of a campaign: templates that make the message of a row for APNs or FCM.

Each has `name`, the file name for error messages, `columns`, the columns of its placeholders, and `notices`, warnings for
the operator before anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from ..audience.problems import BadInput, BadRow, shown
from ..fcm.request import FcmRequestBuilder
from ..models.apns import ApnsPushType, Notification, PushType, push_type_of
from ..models.apns_check import moments_problem
from ..models.expo import AndroidForm, ExpoMessage, message_fields, to_notification
from ..models.expo_message import unknown_keys
from ..models.fcm import TARGETS, Message
from ..requests import build_one
from ..results import Result
from .devices import APNS
from .notices import apns_notices, expo_notices, fcm_notices, object_at, unknown_key, without_placeholders
from .template import Template
from .text_fields import in_apns, in_expo, in_fcm

_ANY_TOKEN: Final = "cFakeInstallation-0000:APA91b" + "0" * 134  # for messages that are only checked
_NUMBER: Final = re.compile(r"\{\{[^{}]*:\s*(?:int|float)\s*\}\}")
_NO_STRING: Final = "FCM takes nothing but strings in data"


class ApnsPayload:
    """APNs' own format: the payload as it is sent. `push_type`: the argument, or by default what the payload needs."""

    def __init__(
        self, content: dict[str, Any], name: str, push_type: ApnsPushType | PushType | None = None
    ) -> None:
        """Raises `BadInput` when a placeholder is malformed, or a time is invalid."""
        self.name = name
        self.push_type = push_type or push_type_of(content)
        self.template = Template.from_object(content, name, in_apns)
        self.columns = self.template.columns
        problem = moments_problem(without_placeholders(content))
        if problem:
            raise BadInput(f"{name}: {problem}")
        self.notices = apns_notices(name, content, self.push_type)


class FcmPayload:
    """FCM's own format: a v1 message without a target, in a request or by itself.

    `validate_only`: Google checks the messages and delivers nothing.
    """

    def __init__(self, content: dict[str, Any], name: str, body: dict[str, Any] | None = None) -> None:
        """`body`: an object that becomes the JSON text `data.body`; it may hold placeholders.

        Raises `BadInput` when FCM would reject the message for every row.
        """
        self.name = name
        try:
            message = Message.from_dict(content)
        except ValueError as error:
            raise BadInput(f"{name}: {error}; expected a message of FCM's v1 API") from None
        fields: dict[str, Any] = {}
        for field in Message.__slots__:
            value = getattr(message, field)
            if value is None or field == "validate_only":
                continue
            if field in TARGETS:
                raise BadInput(f"{name}: the message has a {field}; expected none, the rows are the targets")
            fields[field] = value
        self.validate_only = message.validate_only
        _refuse_numbers(fields, name)
        self.notices = fcm_notices(name, fields)
        problem = moments_problem(without_placeholders(object_at(fields, "apns", "payload")))
        if problem:
            raise BadInput(f"{name}: apns.payload.aps.{problem}")
        self._constant, templated = _split(fields, name)
        self._template = Template.from_object(templated, name, in_fcm) if templated else None
        self._body = None if body is None else Template.from_object(body, name)
        self.columns = tuple(dict.fromkeys(_columns(self._template) + _columns(self._body)))
        if self._body is not None and not self.columns:
            self._constant = _with_body(self._constant, self._body.bind(None)(()))
        _check(Message(token=_ANY_TOKEN, validate_only=self.validate_only, **self._constant), name)

    def bind(self, columns: Sequence[str] | None) -> Callable[[Any], dict[str, Any]]:
        """The function from a row to the fields of its `Message`. It raises `BadRow` when the row has no message."""
        constant = self._constant
        if not self.columns:
            return lambda row: constant
        loads = orjson.loads
        fill = self._template.bind(columns) if self._template else lambda row: b"{}"
        if self._body is None:
            return lambda row: {**constant, **loads(fill(row))}
        fill_body = self._body.bind(columns)
        return lambda row: _with_body({**constant, **loads(fill(row))}, fill_body(row))


def _columns(template: Template | None) -> tuple[str, ...]:
    return () if template is None else template.columns


def _with_body(fields: dict[str, Any], body: bytes) -> dict[str, Any]:
    return {**fields, "data": {**fields["data"], "body": body.decode()}}


class ExpoPayload:
    """Expo's format, for both providers. `android`: the form for Android. `experience_id`, `scope_key`: Expo Go's.

    `constant`: the message of every row when there is no placeholder. Keys that are unknown in Expo's format are left
    out, with a warning in `notices`. `invisible`: the number of messages so far that display nothing.
    """

    def __init__(
        self,
        content: dict[str, Any],
        name: str,
        *,
        android: AndroidForm = "notification",
        experience_id: str | None = None,
        scope_key: str | None = None,
    ) -> None:
        """Raises `BadInput` when the message is invalid for both providers."""
        self.name = name
        self._android: AndroidForm = android
        self._experience_id = experience_id
        self._scope_key = scope_key
        if content.get("to") is not None:
            raise BadInput(f'{name}: the message has a "to"; expected none, the rows are the recipients')
        unknown = unknown_keys(content)
        content = {key: value for key, value in content.items() if key not in unknown}
        fixed, templated = _split(content, name)
        try:
            fixed_message = ExpoMessage.from_dict(fixed)
        except ValueError as error:
            raise BadInput(f"{name}: {error}; expected a message in Expo's format") from None
        self._template = Template.from_object(content, name, in_expo)
        self.columns = self._template.columns
        self.constant = None if templated else fixed_message
        self.notices = [unknown_key(name, key) for key in unknown]
        self.invisible = 0
        self._source = content
        self._platform = ""

    def check(self, platform: str) -> None:
        """Add the warnings for this provider to `notices`. Raises `BadInput` when it would reject every message."""
        self._platform = platform
        self.notices += expo_notices(self.name, self._source, platform, self._android)
        if self.constant is None:
            return
        try:
            if platform == APNS:
                self.to_notification(self.constant, "", 0.0)
            else:
                _check(Message(token=_ANY_TOKEN, **self.to_fcm(self.constant, 0.0)), self.name)
        except BadRow as error:
            raise BadInput(f"{self.name}: {error}") from None

    def to_notification(self, message: ExpoMessage, token: str, now: float) -> Notification:
        """The push to APNs at `now`, UNIX seconds. Raises `BadRow` when it cannot be sent."""
        try:
            return to_notification(
                message, token, experience_id=self._experience_id, scope_key=self._scope_key, now=now
            )
        except ValueError as error:
            raise BadRow(str(error)) from None

    def to_fcm(self, message: ExpoMessage, now: float) -> dict[str, Any]:
        """The fields of the push to FCM at `now`. Raises `BadRow` when it cannot be sent."""
        try:
            return message_fields(
                message,
                android=self._android,
                experience_id=self._experience_id,
                scope_key=self._scope_key,
                now=now,
            )
        except ValueError as error:
            raise BadRow(str(error)) from None

    def bind(self, columns: Sequence[str] | None) -> Callable[[Any], ExpoMessage]:
        """The function from a row to its message. It raises `BadRow` when the row has no message."""
        constant = self.constant
        if constant is not None:
            return lambda row: constant
        fill = self._template.bind(columns)

        def make(row: Any) -> ExpoMessage:
            filled = orjson.loads(fill(row))
            try:
                parsed = ExpoMessage.from_dict(filled)
            except ValueError as error:
                raise BadRow(str(error)) from None
            if not parsed.visible and not self._noticed(parsed):
                self.invisible += 1
            return parsed

        return make

    def _noticed(self, message: ExpoMessage) -> bool:
        """Whether a message without title and body still has an effect on the device, or is a silent push."""
        on_ios = message.subtitle or message.sound or message.badge is not None
        return bool(message.contentAvailable or (self._platform == APNS and on_ios))


Payload = ApnsPayload | FcmPayload | ExpoPayload


def _split(fields: dict[str, Any], name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields without placeholders, ready for use, and the fields with placeholders."""
    fixed, templated = {}, {}
    for field, value in fields.items():
        constant = Template.from_object({field: value}, name).constant
        if constant is None:
            templated[field] = value
        else:
            fixed.update(orjson.loads(constant))
    return fixed, templated


def _refuse_numbers(fields: dict[str, Any], name: str) -> None:
    """Raises `BadInput` when a value of `data` is not a string, or becomes a number in every row."""
    parts = {"data": fields.get("data")}
    for part in ("android", "android_v2", "webpush"):
        if isinstance(fields.get(part), dict):
            parts[f"{part}.data"] = fields[part].get("data")
    for path, data in parts.items():
        for key, value in data.items() if isinstance(data, dict) else ():
            if not isinstance(value, str):
                raise BadInput(
                    f"{name}: {_NO_STRING}, but {path}[{shown(key)}] is {shown(value)}; write it as a text"
                )
            if _NUMBER.fullmatch(value):
                raise BadInput(
                    f"{name}: {_NO_STRING}, but {path}[{shown(key)}] becomes a number; "
                    f"leave out the conversion in {shown(value)}"
                )


def _check(message: Message, name: str) -> None:
    """Raises `BadInput` when Google would reject this message for every target."""
    requests = FcmRequestBuilder("fcm.googleapis.com", "project")
    built = build_one(requests, message, lambda exchange: None, 0.0)
    if isinstance(built, Result):
        raise BadInput(f"{name}: {built.detail}; expected a message of FCM's v1 API")
