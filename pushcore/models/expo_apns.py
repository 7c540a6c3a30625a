"""Expo's messages as pushes to APNs; see `expo`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .apns import ApnsPriority, Notification
from .expo_message import PRIORITIES, Source, add_present, given_now, message_of, only_recipient, own_data

_APNS_PRIORITY: Final[Mapping[str, ApnsPriority]] = {"normal": 5, "high": 10}
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
    message = message_of(source)
    payload = apns_payload(message, experience_id=experience_id, scope_key=scope_key)
    aps = payload["aps"]
    silent = "content-available" in aps and not {"alert", "badge", "sound"} & aps.keys()
    expiration = None
    if message.lifetime is not None:
        expiration = int(given_now(now, "ttl") + message.lifetime) if message.lifetime else 0
    elif message.expires is not None:
        expiration = int(message.expires)
    return Notification(
        only_recipient(message) if token is None else token,
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


def apns_payload(
    source: Source, *, experience_id: str | None = None, scope_key: str | None = None
) -> dict[str, Any]:
    """The payload for APNs, the same for every device: the app's own data stands in `body`, beside `aps`.

    Raises:
        ValueError: the message is wrong.
    """
    message = message_of(source)
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
    add_present(payload, body=own_data(message), experienceId=experience_id, scopeKey=scope_key)
    return payload


def _apns_sound(sound: str | Mapping[str, Any] | None) -> str | dict[str, Any] | None:
    if not isinstance(sound, Mapping):
        return sound
    name = sound.get("name") or "default"
    critical, volume = sound.get("critical"), sound.get("volume")
    if not critical and volume is None:
        return str(name)
    return _present(critical=1 if critical else None, name=name, volume=volume)


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
