"""Expo's messages as pushes to FCM, for Android; see `expo`.

There are two forms, `AndroidForm`. The default is what Expo's service sends: a notification with data.
If the app is in the foreground, its handler decides what to show; otherwise Android shows the notification. The other form
is a message with data only: expo-notifications itself shows it, without its image; from Expo SDK 59 on only if the app asks
for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal, get_args

import orjson

from ..arguments import check_choice
from .expo_message import ExpoMessage, Source, add_present, given_now, message_of, only_recipient, own_data
from .fcm import (
    AndroidConfig,
    AndroidNotification,
    FcmNotification,
    LegacyMessage,
    LegacyNotification,
    LegacyPriority,
    Message,
)
from .fcm_parts import AndroidPriority, seconds
from .fcm_values import MAX_TTL
from .json_values import json_problem
from .tokens import TokenKind, recognise
from .warned import warn_once

_ANDROID_PRIORITY: Final[Mapping[LegacyPriority, AndroidPriority]] = {"normal": "NORMAL", "high": "HIGH"}

AndroidForm = Literal["notification", "data"]
"""The form of a message for Android: a notification with data, or only data."""

FORMS: Final[tuple[str, ...]] = get_args(AndroidForm)
MAX_PARTS: Final = 1024
"""Android's parts that are kept: making one costs as much as the rest of a message, and most messages have the same."""

NO_IMAGE: Final = "Android does not show the richContent.image of a data message"

_DATA: Final = (
    ("title", "title"),
    ("subtitle", "subtitle"),
    ("body", "message"),
    *((name, name) for name in ("channelId", "categoryId", "icon", "link", "tag", "color")),
)


def to_message(
    source: Source,
    token: str | None = None,
    *,
    android: AndroidForm = "notification",
    experience_id: str | None = None,
    scope_key: str | None = None,
    now: float | None = None,
) -> Message:
    """The push to FCM v1. A token that is a Firebase installation id becomes `fid`.

    Args:
        source: the message in Expo's format, a mapping.
        token: in place of the only one in `to`.
        android: "notification", as Expo's service sends it, or "data", Expo's listing for direct sending.
        experience_id: Expo Go's, and needed by it alone.
        scope_key: Expo Go's, and needed by it alone.
        now: UNIX seconds, needed with a `ttl`.

    Returns:
        The message.

    Raises:
        ValueError: as `to_notification`; `now` is needed with an `expiration`.
    """
    message = message_of(source)
    target = only_recipient(message) if token is None else token
    fields = message_fields(
        message, android=android, experience_id=experience_id, scope_key=scope_key, now=now
    )
    if android == "data" and message.image is not None:
        warn_once(NO_IMAGE)
    return message_to(target, recognise(target).kind, fields)


def message_to(target: str, kind: TokenKind, fields: dict[str, Any]) -> Message:
    """The message to a token of that kind; to a Firebase installation id as `fid`."""
    if kind is TokenKind.FID:
        return Message(fid=target, **fields)
    return Message(token=target, **fields)


def message_fields(
    source: Source,
    *,
    android: AndroidForm = "notification",
    experience_id: str | None = None,
    scope_key: str | None = None,
    now: float | None = None,
) -> dict[str, Any]:
    """The fields of a `Message` to FCM without its target, the same for every device: data, android and notification.

    Raises:
        ValueError: as `to_message`.
    """
    message = message_of(source)
    shown = _checked(android) == "notification" and message.visible
    lifetime = _lifetime(message, now)
    priority = _priority(message)
    fields: dict[str, Any] = {}
    if shown:
        fields["notification"] = FcmNotification(message.title, message.body, message.image)
    # Of a notification, too: the app reads it there when the user taps (NotificationSerializer.java).
    fields["data"] = fcm_data(message, experience_id=experience_id, scope_key=scope_key)
    config = (
        _collapse_key(message),
        None if priority is None else _ANDROID_PRIORITY[priority],
        None if lifetime is None else seconds(lifetime),
        _shown_on_android(message) if shown else None,
    )
    if config != _NO_CONFIG:
        fields["android"] = _android_config(*config)
    return fields


_NO_CONFIG: Final = (None,) * 4
_NOTHING_SHOWN: Final = (None,) * 9


def _shown_on_android(message: ExpoMessage) -> tuple[Any, ...] | None:
    """Android's settings besides title, body and image."""
    vibrate = message.vibrate
    shown = (
        message.icon,
        message.color,
        _sound_name(message.sound),
        message.tag,
        message.channelId,
        # Expo's `sticky` is about swiping, for which FCM has no field; FCM's is about the notification after a tap.
        True if message.autoDismiss is False else None,
        True if vibrate is True else None,
        None if vibrate is None or isinstance(vibrate, bool) else tuple(vibrate),
        message.badge or None,  # with 0, Android counts by itself
    )
    return None if shown == _NOTHING_SHOWN else shown


@lru_cache(MAX_PARTS)
def _android_config(
    collapse_key: str | None, priority: AndroidPriority | None, ttl: str | None, shown: tuple[Any, ...] | None
) -> AndroidConfig:
    notification = None
    if shown is not None:
        icon, color, sound, tag, channel_id, sticky, default_vibrate_timings, vibrate, count = shown
        notification = AndroidNotification(
            icon=icon,
            color=color,
            sound=sound,
            tag=tag,
            channel_id=channel_id,
            sticky=sticky,
            default_vibrate_timings=default_vibrate_timings,
            vibrate_timings=None
            if vibrate is None
            else tuple(milliseconds / 1000 for milliseconds in vibrate),
            notification_count=count,
        )
    return AndroidConfig(collapse_key=collapse_key, priority=priority, ttl=ttl, notification=notification)


def to_legacy(
    source: Source,
    token: str | None = None,
    *,
    android: AndroidForm = "data",
    experience_id: str | None = None,
    scope_key: str | None = None,
    now: float | None = None,
) -> LegacyMessage:
    """The push to FCM's legacy API. Several recipients in `to` become `registration_ids`.

    Args:
        source: the message in Expo's format, a mapping.
        token: in place of the only one in `to`.
        android: "data" by default, Expo's listing in the legacy form.
        experience_id: Expo Go's, and needed by it alone.
        scope_key: Expo Go's, and needed by it alone.
        now: UNIX seconds, needed with a `ttl`.

    Returns:
        The message.

    Raises:
        ValueError: the message is wrong, has no recipient, or has an `expiration` and there is no `now`.
    """
    message = message_of(source)
    many = message.recipients if token is None and len(message.recipients) > 1 else None
    lifetime = _lifetime(message, now)
    shown = _checked(android) == "notification" and message.visible
    if android == "data" and message.image is not None:
        warn_once(NO_IMAGE)
    return LegacyMessage(
        to=None if many else only_recipient(message) if token is None else token,
        registration_ids=many,
        collapse_key=_collapse_key(message),
        priority=_priority(message),
        time_to_live=None if lifetime is None else int(lifetime),
        notification=_legacy_notification(message) if shown else None,
        data=fcm_data(message, legacy=True, experience_id=experience_id, scope_key=scope_key),
    )


def _legacy_notification(message: ExpoMessage) -> LegacyNotification:
    return LegacyNotification(
        title=message.title,
        body=message.body,
        sound=_sound_name(message.sound),
        icon=message.icon,
        tag=message.tag,
        color=message.color,
        android_channel_id=message.channelId,
        image=message.image,
    )


def fcm_data(
    source: Source,
    *,
    legacy: bool = False,
    experience_id: str | None = None,
    scope_key: str | None = None,
) -> dict[str, Any]:
    """`data` of the message for FCM, the same for every device: `body` is there as `message`, and the app's own data
    as `body`: JSON in a string, or the object itself for the `legacy` API.

    Raises:
        ValueError: the message is wrong, or the app's data cannot be JSON.
    """
    message = message_of(source)
    own: Any = own_data(message)
    if own is not None and not legacy:
        own = _json(own, "data")
    given = vars(message)
    data: dict[str, Any] = {}
    if experience_id is not None or scope_key is not None:
        add_present(data, experienceId=experience_id, scopeKey=scope_key)
    for name, key in _DATA:
        if name in given:
            data[key] = given[name]
    sound = _sound_name(message.sound)
    if sound is not None and sound != "default":  # to the app, none is the default sound
        data["sound"] = sound
    if message.badge is not None:
        data["badge"] = str(message.badge)
    vibrate = message.vibrate
    if vibrate is not None:
        data["vibrate"] = _flag(vibrate) if isinstance(vibrate, bool) else _json(vibrate, "vibrate")
    for name in ("sticky", "autoDismiss"):
        if name in given:
            data[name] = _flag(given[name])
    if own is not None:
        data["body"] = own
    return data


def _checked(android: str) -> str:
    check_choice("android", android, FORMS, ValueError)
    return android


def _sound_name(sound: str | Mapping[str, Any] | None) -> str | None:
    return sound.get("name") if isinstance(sound, Mapping) else sound


def _collapse_key(message: ExpoMessage) -> str | None:
    return message.collapseId if message.collapse_key is None else message.collapse_key


def _priority(message: ExpoMessage) -> LegacyPriority | None:
    return None if message.priority == "default" else message.priority


def _lifetime(message: ExpoMessage, now: float | None) -> float | None:
    """Seconds for which FCM may keep the message, at most its four weeks; None for its default."""
    if message.lifetime is not None:
        name, lifetime = "ttl", message.lifetime
    elif message.expires is not None:
        name, lifetime = "expiration", max(int(message.expires - given_now(now, "expiration")), 0)
    else:
        return None
    if lifetime > MAX_TTL:
        warn_once(
            f"the {name} of a message is more than four weeks from now, which FCM does not accept: four weeks are sent"
        )
    return min(lifetime, MAX_TTL)


def _flag(value: bool | None) -> str | None:
    return None if value is None else "true" if value else "false"


def _json(value: Any, name: str) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        raise ValueError(json_problem(value, name) or f"{name} cannot be JSON: {error}") from None
