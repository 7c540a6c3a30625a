"""Expo's message format, for direct sending to apps that use expo-notifications.

A message for Expo's push service is converted to what that service would send to the provider: a `Notification` for APNs,
a `Message` for FCM v1, or a `LegacyMessage`. The app must register with `getDevicePushTokenAsync` (see `tokens`).

`expo_apns` is the half for APNs, `expo_android` that for FCM, `expo_message` the format itself.

Sources: "What you need to know about notifications", "Send notifications with FCM and APNs" and "Send notifications with
the Expo Push Service" at docs.expo.dev; RemoteNotificationContent.kt, NotificationData.kt and
NotificationSerializer.java of expo-notifications.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, overload

from ..arguments import check_choice
from .apns import Notification
from .expo_android import (
    FORMS,
    NO_IMAGE,
    AndroidForm,
    fcm_data,
    message_fields,
    message_to,
    to_legacy,
    to_message,
)
from .expo_apns import apns_payload, to_notification
from .expo_message import ExpoMessage, Source, message_of, only_recipient
from .fcm import LegacyMessage, Message
from .tokens import TokenKind, recognise
from .warned import warn_once

__all__ = [
    "FORMS",
    "NO_IMAGE",
    "AndroidForm",
    "ExpoMessage",
    "Source",
    "apns_payload",
    "fcm_data",
    "message_fields",
    "to_legacy",
    "to_message",
    "to_notification",
    "to_push",
]


@overload
def to_push(
    source: Source,
    token: str | Mapping[str, Any] | None = None,
    *,
    topic: str | None = None,
    legacy: Literal[False] = False,
    android: AndroidForm | None = None,
    experience_id: str | None = None,
    scope_key: str | None = None,
    now: float | None = None,
) -> Notification | Message: ...
@overload
def to_push(
    source: Source,
    token: str | Mapping[str, Any] | None = None,
    *,
    topic: str | None = None,
    legacy: bool,
    android: AndroidForm | None = None,
    experience_id: str | None = None,
    scope_key: str | None = None,
    now: float | None = None,
) -> Notification | Message | LegacyMessage: ...
def to_push(
    source: Source,
    token: str | Mapping[str, Any] | None = None,
    *,
    topic: str | None = None,
    legacy: bool = False,
    android: AndroidForm | None = None,
    experience_id: str | None = None,
    scope_key: str | None = None,
    now: float | None = None,
) -> Notification | Message | LegacyMessage:
    """The push to one device, for the provider of its token: `token`, or the only one in `to`.

    `token` may be what `getDevicePushTokenAsync` returned.

    Args:
        source: the message in Expo's format, a mapping.
        token: in place of the only one in `to`.
        topic: as in `Notification`.
        legacy: whether a push to FCM is for the legacy API.
        android: the form for Android; None is "notification", for the legacy API "data".
        experience_id: Expo Go's, and needed by it alone.
        scope_key: Expo Go's, and needed by it alone.
        now: UNIX seconds, needed with a `ttl`.

    Returns:
        The push; its class depends on the token.

    Raises:
        ValueError: the message is wrong, or the token is neither APNs' nor FCM's. For one of Expo's tokens the message says
            that the device must register with getDevicePushTokenAsync.
    """
    if android is not None:
        check_choice("android", android, FORMS, ValueError)
    message = message_of(source)
    device = recognise(only_recipient(message) if token is None else token)
    if not device.usable:
        raise ValueError(device.reason)
    if device.kind is TokenKind.APNS:
        return to_notification(
            message, device.token, topic=topic, experience_id=experience_id, scope_key=scope_key, now=now
        )
    form: AndroidForm = android or ("data" if legacy else "notification")
    if legacy:
        return to_legacy(
            message, device.token, android=form, experience_id=experience_id, scope_key=scope_key, now=now
        )
    fields = message_fields(message, android=form, experience_id=experience_id, scope_key=scope_key, now=now)
    if form == "data" and message.image is not None:
        warn_once(NO_IMAGE)
    return message_to(device.token, device.kind, fields)
