"""Payloads of a campaign: templates that make the message of a row for APNs or FCM.

Each has `name`, the file name for error messages, `columns`, the columns of its placeholders, and `notices`, warnings for
the operator before anything is sent.
"""

from __future__ import annotations

import re
import time
from typing import Any, Final

import orjson

from ..audience.problems import BadInput, BadRow, shown
from ..models.apns import ApnsPushType, PushType, push_type_of
from ..models.apns_check import moments_problem
from ..models.expo import AndroidForm, ExpoMessage, message_fields, to_notification
from ..models.expo_message import unknown_keys
from ..models.fcm import TARGETS, Message
from .compiled import Compiled, Marks
from .compiled_pushes import CompiledMessage, CompiledNotification, checked
from .devices import APNS
from .json_template import JsonTemplate
from .notices import apns_notices, expo_notices, fcm_notices, object_at, unknown_key, without_placeholders
from .text_fields import expo_role, fcm_role, in_apns, in_expo, in_fcm
from .values import ANY

_NUMBER: Final = re.compile(r"\{\{[^{}]*:\s*(?:int|float)\s*\}\}")
_NO_STRING: Final = "FCM allows only strings in data"


class ApnsPayload:
    """APNs' own format: the payload as it is sent. `push_type`: the argument, by default the type that the payload needs."""

    def __init__(
        self, content: dict[str, Any], name: str, push_type: ApnsPushType | PushType | None = None
    ) -> None:
        """Raises `BadInput` when a placeholder is malformed, or a time is invalid."""
        self.name = name
        self.push_type = push_type or push_type_of(content)
        self.template = JsonTemplate.from_object(content, name, in_apns)
        self.columns = self.template.columns
        problem = moments_problem(without_placeholders(content))
        if problem:
            raise BadInput(f"{name}: {problem}")
        self.notices = apns_notices(name, content, self.push_type)


class FcmPayload:
    """FCM's own format: a v1 message without a target, alone or in a request.

    `validate_only`: Google checks the messages and delivers nothing. `fcm_forms`: its forms for FCM.
    """

    timed = False

    def __init__(self, content: dict[str, Any], name: str, body: dict[str, Any] | None = None) -> None:
        """`body`: an object that becomes the JSON text `data.body`; it may contain placeholders.

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
        self._has_body = body is not None
        constant, _ = _split(fields, name)
        if body is not None:
            fields["data"] = {**fields["data"], "body": body}
        self.template = template = JsonTemplate.from_object(
            fields,
            name,
            lambda path: ANY if body is not None and path[:2] == ("data", "body") else in_fcm(path),
        )
        self.columns = template.columns
        _check({**constant, "validate_only": self.validate_only}, name)
        self.fcm_forms = Compiled(
            template, [fcm_role(placeholder) for placeholder in template.placeholders], self._form
        )

    def _form(self, fields: dict[str, Any], now: float, marks: Marks | None) -> CompiledMessage:
        if self._has_body:
            fields["data"]["body"] = orjson.dumps(fields["data"]["body"]).decode()
        return CompiledMessage({**fields, "validate_only": self.validate_only}, marks)


class ExpoPayload:
    """Expo's format, for both providers. `android`: the form for Android. `experience_id`, `scope_key`: for Expo Go.

    Keys that Expo's format does not have are left out, with a warning in `notices`. `timed`: whether the pushes depend on the
    time. `apns_forms`, `fcm_forms`: its forms for each provider.
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
        fixed, _ = _split(content, name)
        try:
            ExpoMessage.from_dict(fixed)
        except ValueError as error:
            raise BadInput(f"{name}: {error}; expected a message in Expo's format") from None
        self.template = template = JsonTemplate.from_object(content, name, in_expo)
        self.columns = template.columns
        self.notices = [unknown_key(name, key) for key in unknown]
        self.timed = content.get("ttl") is not None or content.get("expiration") is not None
        roles = [expo_role(placeholder) for placeholder in template.placeholders]
        self.apns_forms = Compiled(template, roles, self._apns_form)
        self.fcm_forms = Compiled(template, roles, self._fcm_form)
        self._source = content

    def check(self, platform: str) -> None:
        """Add the warnings for this provider to `notices`. Raises `BadInput` if the provider would reject every message."""
        self.notices += expo_notices(self.name, self._source, platform, self._android)
        if self.columns:
            return
        try:
            if platform == APNS:
                self.apns_forms.alone((), time.time())
            else:
                _check(self.fcm_forms.alone((), time.time()).fields, self.name)
        except BadRow as error:
            raise BadInput(f"{self.name}: {error}") from None

    def _apns_form(self, content: dict[str, Any], now: float, marks: Marks | None) -> CompiledNotification:
        try:
            message = ExpoMessage.from_dict(content)
            push = to_notification(
                message, "", experience_id=self._experience_id, scope_key=self._scope_key, now=now
            )
        except ValueError as error:
            raise BadRow(str(error)) from None
        noticed = message.subtitle or message.sound or message.badge is not None or message.contentAvailable
        invisible = not message.visible and not noticed
        return CompiledNotification(push, message.lifetime or None, marks, invisible=invisible)

    def _fcm_form(self, content: dict[str, Any], now: float, marks: Marks | None) -> CompiledMessage:
        try:
            message = ExpoMessage.from_dict(content)
            fields = message_fields(
                message,
                android=self._android,
                experience_id=self._experience_id,
                scope_key=self._scope_key,
                now=now,
            )
        except ValueError as error:
            raise BadRow(str(error)) from None
        return CompiledMessage(
            fields,
            marks,
            invisible=not message.visible and not message.contentAvailable,
            expires=message.expires if message.lifetime is None else None,
            now=now,
        )


Payload = ApnsPayload | FcmPayload | ExpoPayload


def _split(fields: dict[str, Any], name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields without placeholders, ready for use, and the fields with placeholders."""
    fixed, templated = {}, {}
    for field, value in fields.items():
        constant = JsonTemplate.from_object({field: value}, name).constant
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
                    f"{name}: {_NO_STRING}, but {path}[{shown(key)}] is {shown(value)}; write it as a string"
                )
            if _NUMBER.fullmatch(value):
                raise BadInput(
                    f"{name}: {_NO_STRING}, but {path}[{shown(key)}] becomes a number; "
                    f"leave out the conversion in {shown(value)}"
                )


def _check(fields: dict[str, Any], name: str) -> None:
    """Raises `BadInput` when Google would reject a message with these fields for every target."""
    try:
        checked(fields)
    except ValueError as error:
        raise BadInput(f"{name}: {error}; expected a message of FCM's v1 API") from None
