"""Expo's message format, for direct sending to apps that use expo-notifications.

A message for Expo's push service is converted to what that service would send to the provider: a `Notification` for APNs,
a `Message` for FCM v1, or a `LegacyMessage`. The app must register with `getDevicePushTokenAsync` (see `tokens`).

For Android there are two forms, `AndroidForm`. The default is what Expo's service sends: a notification with data.
If the app is in the foreground, its handler decides what to show; otherwise Android shows the notification. The other form
is a message with data only: expo-notifications itself shows it, without its image; from Expo SDK 59 on only if the app asks
for it.

Sources: "What you need to know about notifications", "Send notifications with FCM and APNs" and "Send notifications with
the Expo Push Service" at docs.expo.dev; RemoteNotificationContent.kt, NotificationData.kt and
NotificationSerializer.java of expo-notifications.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal, get_args, overload

import orjson

from ..arguments import check_number
from .apns import ApnsPriority, Notification
from .expo_message import PRIORITIES, ExpoMessage
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
from .times import unit_problem
from .tokens import TokenKind, recognise
from .warned import warn_once

__all__ = [
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

_APNS_PRIORITY: Final[Mapping[str, ApnsPriority]] = {"normal": 5, "high": 10}
_ANDROID_PRIORITY: Final[Mapping[LegacyPriority, AndroidPriority]] = {"normal": "NORMAL", "high": "HIGH"}

AndroidForm = Literal["notification", "data"]
"""The form of a message for Android: a notification with data, or only data."""

_FORMS: Final = get_args(AndroidForm)
MAX_PARTS: Final = 1024
"""Android's parts that are kept: making one costs as much as the rest of a message, and most messages have the same."""

NO_IMAGE: Final = "Android does not show the richContent.image of a data message"

Source = ExpoMessage | Mapping[str, Any]

# Fields of a message that are the same under another name, in the order in which they are sent.
_ALERT: Final = (
    ("title", "title"),
    ("subtitle", "subtitle"),
    ("body", "body"),
    ("launchImage", "launch-image"),
)
_APS: Final = (
    ("categoryId", "category"),
    ("badge", "badge"),
    ("threadId", "thread-id"),
    ("interruptionLevel", "interruption-level"),
    ("targetContentId", "target-content-id"),
    ("relevanceScore", "relevance-score"),
    ("filterCriteria", "filter-criteria"),
)
_DATA: Final = (
    ("title", "title"),
    ("subtitle", "subtitle"),
    ("body", "message"),
    *((name, name) for name in ("channelId", "categoryId", "icon", "link", "tag", "color")),
)


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
    """The push for one device, by the kind of its token: that of `token`, or the only one in `to`.

    `token` may be what `getDevicePushTokenAsync` returned.

    Args:
        source: the message in Expo's format, a mapping.
        token: in place of the only one in `to`.
        topic: as in `Notification`.
        legacy: for FCM's old API.
        android: what Android gets; None is "notification", and "data" for the old API.
        experience_id: Expo Go's, and needed by it alone.
        scope_key: Expo Go's, and needed by it alone.
        now: UNIX seconds, needed with a `ttl`.

    Returns:
        The push; its class depends on the token.

    Raises:
        ValueError: the message is wrong, or the token is none of APNs or FCM. A token of Expo's own gets the answer
            that the device must register with getDevicePushTokenAsync.
    """
    message = _message(source)
    device = recognise(_only(message) if token is None else token)
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
    return _to(device.token, device.kind, fields)


def to_notification(
    source: Source,
    token: str | None = None,
    *,
    topic: str | None = None,
    experience_id: str | None = None,
    scope_key: str | None = None,
    now: float | None = None,
) -> Notification:
    """The push to APNs.

    Args:
        source: the message in Expo's format, a mapping.
        token: in place of the only one in `to`.
        topic: as in `Notification`.
        experience_id: Expo Go's, and needed by it alone.
        scope_key: Expo Go's, and needed by it alone.
        now: UNIX seconds, needed with a `ttl`.

    Returns:
        The notification.

    Raises:
        ValueError: the message is wrong, has not exactly one recipient, or has a `ttl` and there is no `now`.
    """
    message = _message(source)
    payload = apns_payload(message, experience_id=experience_id, scope_key=scope_key)
    aps = payload["aps"]
    silent = "content-available" in aps and not {"alert", "badge", "sound"} & aps.keys()
    expiration = None
    if message.lifetime is not None:
        expiration = int(_given(now, "ttl") + message.lifetime) if message.lifetime else 0
    elif message.expires is not None:
        expiration = int(message.expires)
    return Notification(
        _only(message) if token is None else token,
        payload,
        topic=topic,
        push_type="background" if silent else "alert",
        priority=None if silent else _APNS_PRIORITY.get(message.priority or ""),
        expiration=expiration,
        collapse_id=message.collapse_key if message.collapseId is None else message.collapseId,
    )


_new: Final = Notification.__new__


def quick_notification(source: object, token: str, topic: str | None) -> Notification | None:
    """What `to_notification` makes of a message that has the most common fields alone, in a fifth of the time.

    Args:
        source: what JSON was parsed to.
        token, topic: as in `to_notification`.

    Returns:
        None for every other message, and for one that is wrong.
    """
    if type(source) is not dict:
        return None
    alert: dict[str, Any] = {}
    aps: dict[str, Any] = {}
    payload: dict[str, Any] = {"aps": aps}
    priority: ApnsPriority | None = None
    for name, value in source.items():
        if name == "title" or name == "body":
            if type(value) is not str:
                return None
            alert[name] = value
        elif name == "data":
            if type(value) is not dict:
                return None
            payload["body"] = value
        elif name == "sound":
            if type(value) is not str:
                return None
            aps[name] = value
        elif name == "badge":
            if type(value) is not int or value < 0:
                return None
            aps[name] = value
        elif name == "priority":
            if value not in PRIORITIES:
                return None
            priority = _APNS_PRIORITY.get(value)
        elif name != "channelId" or type(value) is not str:
            return None
    if alert:
        aps["alert"] = alert
    push = _new(Notification)  # without a call of `__init__`, which would cost as much as all the rest
    push.token = token
    push.payload = payload
    push.topic = topic
    push.push_type = "alert"
    push.priority = priority
    push.expiration = push.collapse_id = push.apns_id = push.environment = None
    return push


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
    message = _message(source)
    target = _only(message) if token is None else token
    fields = message_fields(
        message, android=android, experience_id=experience_id, scope_key=scope_key, now=now
    )
    if android == "data" and message.image is not None:
        warn_once(NO_IMAGE)
    return _to(target, recognise(target).kind, fields)


def _to(target: str, kind: TokenKind, fields: dict[str, Any]) -> Message:
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
    message = _message(source)
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
    """Android's settings besides title, body and picture."""
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
        android: "data" here, for that is Expo's listing in the legacy form.
        experience_id: Expo Go's, and needed by it alone.
        scope_key: Expo Go's, and needed by it alone.
        now: UNIX seconds, needed with a `ttl`.

    Returns:
        The message.

    Raises:
        ValueError: the message is wrong, has no recipient, or has an `expiration` and there is no `now`.
    """
    message = _message(source)
    many = message.recipients if token is None and len(message.recipients) > 1 else None
    lifetime = _lifetime(message, now)
    shown = _checked(android) == "notification" and message.visible
    if android == "data" and message.image is not None:
        warn_once(NO_IMAGE)
    return LegacyMessage(
        to=None if many else _only(message) if token is None else token,
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


def apns_payload(
    source: Source, *, experience_id: str | None = None, scope_key: str | None = None
) -> dict[str, Any]:
    """The payload for APNs, the same for every device: the app's own data stands in `body`, beside `aps`.

    Raises:
        ValueError: the message is wrong.
    """
    message = _message(source)
    given = vars(message)
    alert = {key: given[name] for name, key in _ALERT if name in given}
    aps: dict[str, Any] = {"alert": alert} if alert else {}
    for name, key in _APS:
        if name in given:
            aps[key] = given[name]
    sound = message.sound
    if sound is not None:
        aps["sound"] = sound if type(sound) is str else _apns_sound(sound)
    if message.mutableContent or message.richContent is not None:
        aps["mutable-content"] = 1
    if message.contentAvailable:
        aps["content-available"] = 1
    payload: dict[str, Any] = {"aps": aps}
    _add(payload, body=_own(message), experienceId=experience_id, scopeKey=scope_key)
    return payload


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
    message = _message(source)
    own: Any = _own(message)
    if own is not None and not legacy:
        own = _json(own, "data")
    given = vars(message)
    data: dict[str, Any] = {}
    if experience_id is not None or scope_key is not None:
        _add(data, experienceId=experience_id, scopeKey=scope_key)
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


def _message(source: Source) -> ExpoMessage:
    return source if isinstance(source, ExpoMessage) else ExpoMessage.from_dict(source)


def _checked(android: str) -> str:
    if android not in _FORMS:
        raise ValueError(f"android must be one of {', '.join(_FORMS)}, not {android!r:.60}")
    return android


def _only(message: ExpoMessage) -> str:
    recipients = message.recipients
    if len(recipients) != 1:
        raise ValueError(
            f"to must hold one token here, it holds {len(recipients)}: pass the token separately"
        )
    return recipients[0]


def _own(message: ExpoMessage) -> dict[str, Any] | None:
    """The app's own data, with the rich content where Expo's service puts it and a service extension looks for it."""
    if message.richContent is None:
        return None if message.data is None else dict(message.data)
    return {**(message.data or {}), "_richContent": dict(message.richContent)}


def _sound_name(sound: str | Mapping[str, Any] | None) -> str | None:
    return sound.get("name") if isinstance(sound, Mapping) else sound


def _apns_sound(sound: str | Mapping[str, Any] | None) -> str | dict[str, Any] | None:
    if not isinstance(sound, Mapping):
        return sound
    name = sound.get("name") or "default"
    critical, volume = sound.get("critical"), sound.get("volume")
    if not critical and volume is None:
        return str(name)
    return _present(critical=1 if critical else None, name=name, volume=volume)


def _collapse_key(message: ExpoMessage) -> str | None:
    return message.collapseId if message.collapse_key is None else message.collapse_key


def _priority(message: ExpoMessage) -> LegacyPriority | None:
    return None if message.priority == "default" else message.priority


def _lifetime(message: ExpoMessage, now: float | None) -> float | None:
    """Seconds for which FCM may keep the message, at most its four weeks; None for its default."""
    if message.lifetime is not None:
        name, lifetime = "ttl", message.lifetime
    elif message.expires is not None:
        name, lifetime = "expiration", max(int(message.expires - _given(now, "expiration")), 0)
    else:
        return None
    if lifetime > MAX_TTL:
        warn_once(
            f"the {name} of a message is more than four weeks from now, which FCM does not accept: four weeks are sent"
        )
    return min(lifetime, MAX_TTL)


def _given(now: float | None, name: str) -> float:
    if now is None:
        raise ValueError(f"a message with {name} needs now, the time in UNIX seconds")
    check_number("now", now, error=ValueError)
    if problem := unit_problem(now):
        raise ValueError(f"now {problem}")
    return now


def _flag(value: bool | None) -> str | None:
    return None if value is None else "true" if value else "false"


def _json(value: Any, name: str) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        raise ValueError(f"{name} cannot be JSON: {error}") from None


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _add(target: dict[str, Any], **fields: Any) -> None:
    for name, value in fields.items():
        if value is not None:
            target[name] = value
