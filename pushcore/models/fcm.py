"""Pushes to FCM: `Message` for the HTTP v1 API, `LegacyMessage` for the previous one.

The typed parts of a message are in `fcm_parts` and exported from here as well. Facts: "REST Resource:
projects.messages" and "Firebase Cloud Messaging HTTP protocol" at firebase.google.com/docs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Final, Literal, Self

import orjson

from ..arguments import json_kind, shown
from .fcm_parts import (
    AndroidConfig,
    AndroidConfigV2,
    AndroidNotification,
    AndroidNotificationV2,
    ApnsConfig,
    ApnsFcmOptions,
    Color,
    Duration,
    FcmNotification,
    FcmOptions,
    Json,
    LightSettings,
    RemoteNotification,
    WebpushConfig,
    WebpushFcmOptions,
    plain,
)
from .push_model import PushModel
from .times import lifetime_seconds

__all__ = [
    "MAX_REGISTRATION_IDS",
    "AndroidConfig",
    "AndroidConfigV2",
    "AndroidNotification",
    "AndroidNotificationV2",
    "ApnsConfig",
    "ApnsFcmOptions",
    "Color",
    "Duration",
    "FcmNotification",
    "FcmOptions",
    "LegacyMessage",
    "LegacyNotification",
    "LightSettings",
    "Message",
    "RemoteNotification",
    "WebpushConfig",
    "WebpushFcmOptions",
    "camel",
]

MAX_REGISTRATION_IDS: Final = 1000
"""Devices that one legacy message may be addressed to."""

LegacyPriority = Literal["normal", "high"]
"""What `priority` of a legacy message may be."""

TARGETS: Final = ("token", "fid", "topic", "condition")
LEGACY_TARGETS: Final = ("to", "registration_ids", "condition")
LEGACY_ARGUMENTS: Final = ("body_loc_args", "title_loc_args")


def camel(name: str) -> str:
    """The lowerCamelCase name of a field in Google's JSON: `collapse_key` is `collapseKey`."""
    head, *rest = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


class Message(PushModel):
    """One push through FCM's HTTP v1 API. It has exactly one target: `token`, `fid`, `topic` or `condition`.

    Nothing is checked here, because there may be millions. If a push is wrong, its `Result` says so.

    Args:
        token: a registration token. Google also accepts a Firebase installation id here, for now.
        fid: a Firebase installation id.
        topic: the topic's name, without "/topics/".
        condition: up to five topics, as in "'news' in topics && !('de' in topics)".
        notification: an `FcmNotification`, or a dict in Google's JSON, whose keys may be in snake_case or in
            lowerCamelCase.
        data: strings for the app.
        android: an `AndroidConfig`, or a dict.
        android_v2: an `AndroidConfigV2`, or a dict, in place of `android`.
        webpush: a `WebpushConfig`, or a dict.
        apns: an `ApnsConfig`, or a dict.
        fcm_options: an `FcmOptions`, or a dict.
        validate_only: Google checks the message and delivers nothing.
    """

    __slots__ = (
        "android",
        "android_v2",
        "apns",
        "condition",
        "data",
        "fcm_options",
        "fid",
        "notification",
        "token",
        "topic",
        "validate_only",
        "webpush",
    )

    identifiers: ClassVar[tuple[str, ...]] = TARGETS

    def __init__(
        self,
        *,
        token: str | None = None,
        fid: str | None = None,
        topic: str | None = None,
        condition: str | None = None,
        notification: FcmNotification | Json | None = None,
        data: Mapping[str, str] | None = None,
        android: AndroidConfig | Json | None = None,
        android_v2: AndroidConfigV2 | Json | None = None,
        webpush: WebpushConfig | Json | None = None,
        apns: ApnsConfig | Json | None = None,
        fcm_options: FcmOptions | Json | None = None,
        validate_only: bool = False,
    ) -> None:
        self.token = token
        self.fid = fid
        self.topic = topic
        self.condition = condition
        self.notification = notification
        self.data = data
        self.android = android
        self.android_v2 = android_v2
        self.webpush = webpush
        self.apns = apns
        self.fcm_options = fcm_options
        self.validate_only = validate_only

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> Self:
        """The message in Google's JSON: a Message, or a whole SendMessageRequest with `message` in it.

        Keys may be in snake_case or in lowerCamelCase. The values of the fields are checked when it is sent.

        Raises:
            ValueError: it is no object, has a key that Google does not know, or one twice.
        """
        if not isinstance(source, Mapping):
            raise ValueError(f"a message is a JSON object, not {json_kind(source)}")
        validate: Any = False
        if "message" in source:
            envelope = _renamed(source, _ENVELOPE, "the request")
            validate = envelope.get("validate_only", False)
            source = envelope["message"]
            if not isinstance(source, Mapping):
                raise ValueError(f'"message" is a JSON object, not {json_kind(source)}')
        fields = _renamed(source, _MESSAGE, "the message")
        fields.pop("name", None)  # Google's own, in answers only
        return cls(**fields, validate_only=False if validate is None else validate)

    def to_dict(self) -> dict[str, Any]:
        """Google's JSON: the SendMessageRequest, with `message` in it, and `validate_only` if it is set."""
        message = {
            name: plain(value)
            for name in _FIELDS
            if (value := getattr(self, name)) is not None and name != "validate_only"
        }
        return (
            {"validate_only": self.validate_only, "message": message}
            if self.validate_only
            else {"message": message}
        )

    def __repr__(self) -> str:
        return f"<Message {_described(self, TARGETS)}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyNotification:
    """The `notification` of a legacy message. `subtitle` and `badge` are for iOS, `badge` a string.

    The legacy API takes the `*_loc_args` as JSON in a string; give them as a sequence, they are encoded.
    """

    title: str | None = None
    body: str | None = None
    sound: str | None = None
    badge: str | None = None
    icon: str | None = None
    tag: str | None = None
    color: str | None = None
    click_action: str | None = None
    android_channel_id: str | None = None
    subtitle: str | None = None
    body_loc_key: str | None = None
    body_loc_args: Sequence[str] | None = None
    title_loc_key: str | None = None
    title_loc_args: Sequence[str] | None = None
    image: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The legacy API's JSON."""
        fields = {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}
        for name in LEGACY_ARGUMENTS:
            value = fields.get(name)
            if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
                fields[name] = orjson.dumps(list(value)).decode()
        return fields


class LegacyMessage(PushModel):
    """One push through the legacy API, `/fcm/send`. Google has shut it down; gateways and private servers still have
    it.

    Exactly one target: `to` (a registration token, "/topics/name" or the key of a device group),
    `registration_ids` or `condition`.

    Nothing is checked here. If a push is wrong, its `Result` says so.

    Args:
        to: one target: a registration token, "/topics/name" or the key of a device group.
        registration_ids: 1 to 1000 tokens, in place of `to`.
        condition: of topics, in place of `to`.
        notification: a `LegacyNotification` or a dict in the API's JSON.
        data: values for the app; may be nested, unlike in v1.
        priority: "normal" or "high".
        time_to_live: seconds or a timedelta, at most 2 419 200 seconds.
        collapse_key: a later message with the same key replaces this one.
        content_available: wakes an app on iOS.
        mutable_content: starts the service extension of an app on iOS.
        restricted_package_name: only to the app of this name.
        dry_run: nothing is delivered.
    """

    __slots__ = (
        "collapse_key",
        "condition",
        "content_available",
        "data",
        "dry_run",
        "mutable_content",
        "notification",
        "priority",
        "registration_ids",
        "restricted_package_name",
        "time_to_live",
        "to",
    )

    identifiers: ClassVar[tuple[str, ...]] = LEGACY_TARGETS

    def __init__(
        self,
        *,
        to: str | None = None,
        registration_ids: Sequence[str] | None = None,
        condition: str | None = None,
        notification: LegacyNotification | Json | None = None,
        data: Mapping[str, Any] | None = None,
        priority: LegacyPriority | None = None,
        time_to_live: int | timedelta | None = None,
        collapse_key: str | None = None,
        content_available: bool = False,
        mutable_content: bool = False,
        restricted_package_name: str | None = None,
        dry_run: bool = False,
    ) -> None:
        self.to = to
        self.registration_ids = registration_ids
        self.condition = condition
        self.notification = notification
        self.data = data
        self.priority = priority
        self.time_to_live = time_to_live
        self.collapse_key = collapse_key
        self.content_available = content_available
        self.mutable_content = mutable_content
        self.restricted_package_name = restricted_package_name
        self.dry_run = dry_run

    @property
    def token(self) -> str | None:
        """The same as `to`, under the name that other pushes use."""
        return self.to

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> Self:
        """The message in the legacy API's JSON. The values of the fields are checked when it is sent.

        Raises:
            ValueError: it is no object, or has a key that the API does not know.
        """
        if not isinstance(source, Mapping):
            raise ValueError(f"a message is a JSON object, not {json_kind(source)}")
        for key in source:
            if key not in LegacyMessage.__slots__:
                raise ValueError(f"unknown key {shown(str(key))} in the message")
        return cls(**{key: value for key, value in source.items() if value is not None})

    def to_dict(self) -> dict[str, Any]:
        """The legacy API's JSON."""
        fields = {}
        for name in LegacyMessage.__slots__:
            value = getattr(self, name)
            if value is None or value is False:
                continue
            if isinstance(value, LegacyNotification):
                value = value.to_dict()
            elif isinstance(value, timedelta):
                value = lifetime_seconds(value)
            fields[name] = plain(value)
        return fields

    def __repr__(self) -> str:
        words = _described(self, ("to", "condition"))
        if self.registration_ids is not None:
            ids: object = self.registration_ids
            number = len(ids) if isinstance(ids, Sequence) else type(ids).__name__
            words = f"{words} registration_ids={number}".strip()
        return f"<LegacyMessage {words}>"


_FIELDS: Final = Message.__slots__
_MESSAGE: Final = {
    key: name for name in (*_FIELDS, "name") if name != "validate_only" for key in (name, camel(name))
}
_ENVELOPE: Final = {key: name for name in ("message", "validate_only") for key in (name, camel(name))}


def _renamed(source: Mapping[str, Any], names: Mapping[str, str], where: str) -> dict[str, Any]:
    """`source` under the names of our fields."""
    fields: dict[str, Any] = {}
    for key, value in source.items():
        name = names.get(key)
        if name is None:
            raise ValueError(f"unknown key {shown(str(key))} in {where}")
        if name in fields:
            raise ValueError(f"{name} occurs twice in {where}, as {name} and as {camel(name)}")
        fields[name] = value
    return fields


def _described(push: Any, names: Sequence[str]) -> str:
    words = []
    for name in names:
        value = getattr(push, name)
        if value is not None:
            text = str(value)
            words.append(f"{name}={text if len(text) <= 8 else text[:8] + '…'}")
    return " ".join(words)
