"""The fields of a payload: which accept only text, so that a number of the audience is converted, and what a value affects.

`in_expo`, `in_apns` and `in_fcm` take the path of a field, such as `("data", "order")`, and return `TEXT`, `TEXT_OR_OBJECT`
or `ANY`. `expo_role` and `fcm_role` return whether the value of a placeholder affects other fields.
Sources: "REST Resource: projects.messages", "Generating a remote notification", and `ExpoMessage`.
"""

from __future__ import annotations

from typing import Final

from ..models.expo_message import TEXTS
from ..models.fcm import camel
from .compiled import Role
from .json_template import Path, Placeholder
from .values import ANY, TEXT, TEXT_OR_OBJECT

_APS: Final = frozenset(
    ("thread-id", "category", "target-content-id", "interruption-level", "filter-criteria", "event")
) | {"attributes-type", "input-push-channel"}
_EXPO: Final = frozenset((*TEXTS, "_category", "priority", "interruptionLevel"))
_NOT_TEXT: Final = frozenset(
    spelling
    for name in (
        *("sticky", "local_only", "default_sound", "default_vibrate_timings", "default_light_settings"),
        *("notification_count", "id", "red", "green", "blue", "alpha"),
        *("direct_boot_ok", "bandwidth_constrained_ok", "restricted_satellite_ok"),
        *("mutable_content", "use_as_v1_data_message", "background_sync"),
    )
    for spelling in (name, camel(name))
)
"""Fields of FCM's android and android_v2 that are numbers, booleans or objects."""


def in_expo(path: Path) -> str:
    """For a message in Expo's format. Its `data` goes to the app unchanged."""
    if len(path) == 1:
        return TEXT if path[0] in _EXPO else TEXT_OR_OBJECT if path[0] == "sound" else ANY
    return TEXT if path in (("richContent", "image"), ("sound", "name")) else ANY


def in_apns(path: Path) -> str:
    """For a payload of APNs. Keys beside `aps`, and the states of Live Activities, go to the app unchanged."""
    if path[0] != "aps" or len(path) == 1:
        return ANY
    if path[1] in ("alert", "sound"):
        if len(path) == 2:
            return TEXT_OR_OBJECT
        if path[1] == "sound":
            return TEXT if path[2] == "name" else ANY
        if path[2] in ("title", "body") and len(path) == 3:
            return TEXT_OR_OBJECT  # an object for a Live Activity
        return ANY if path[2] == "summary-arg-count" else TEXT
    return TEXT if len(path) == 2 and path[1] in _APS else ANY


def in_fcm(path: Path) -> str:
    """For a message of FCM's v1 API."""
    field, *subpath = path
    if field in ("data", "notification", "fcm_options", "fcmOptions"):
        return TEXT if subpath else ANY
    if not subpath:
        return ANY
    if field == "apns":
        if subpath[0] == "payload":
            return in_apns(path[2:]) if len(path) > 2 else ANY
        return TEXT if len(subpath) > 1 or subpath[0] in ("live_activity_token", "liveActivityToken") else ANY
    if field == "webpush":
        return TEXT if subpath[0] != "notification" and len(subpath) > 1 else ANY
    if subpath[0] == "data":
        return TEXT if len(subpath) > 1 else ANY
    leaf = next(key for key in reversed(path) if isinstance(key, str))
    return ANY if leaf in _NOT_TEXT else TEXT


# --- what a value affects ---------------------------------------------------------------------------------------------

_EXPO_FREE: Final = frozenset((*TEXTS, "_category")) - {"color"}
"""Texts of a message in Expo's format that are passed on as they are. FCM checks a colour."""
_EXPO_SHOWN: Final = (("title",), ("subtitle",), ("body",), ("richContent", "image"))
_FCM_FREE: Final = frozenset(
    spelling
    for name in (
        *("title", "body", "icon", "sound", "tag", "click_action", "channel_id", "ticker", "body_loc_key"),
        *("title_loc_key", "image", "body_loc_args", "title_loc_args"),
    )
    for spelling in (name, camel(name))
)
"""Texts of FCM's notifications with any content, and lists of such texts."""
_FCM_NOTIFICATIONS: Final = (
    ("notification",),
    ("android", "notification"),
    *(("android_v2", remote, "notification") for remote in ("remote_notification", "remoteNotification")),
)
_APS_CHECKED: Final = ("badge", "timestamp", "stale-date", "dismissal-date")


def expo_role(placeholder: Placeholder) -> Role:
    """For a message in Expo's format."""
    path = placeholder.path
    if path in _EXPO_SHOWN:
        return Role.FREE if placeholder.padded else Role.TEXT
    if path == ("badge",) and placeholder.whole:
        return Role.COUNT
    free = path[0] in _EXPO_FREE if len(path) == 1 else path[0] in ("data", "richContent")
    return Role.FREE if free else Role.FIXED


def fcm_role(placeholder: Placeholder) -> Role:
    """For a message of FCM's v1 API."""
    return Role.FREE if _free_in_fcm(placeholder.path) else Role.FIXED


def _free_in_fcm(path: Path) -> bool:
    if path[0] == "data" or path[:2] in (("android", "data"), ("android_v2", "data"), ("webpush", "data")):
        return len(path) > 1 + (path[0] != "data")
    if path[:2] == ("webpush", "notification"):
        return len(path) > 2
    if path[:2] == ("apns", "payload"):
        return len(path) > 2 and (path[2] != "aps" or (len(path) > 3 and path[3] not in _APS_CHECKED))
    return any(
        path[: len(notification)] == notification
        and len(path) > len(notification)
        and path[len(notification)] in _FCM_FREE
        for notification in _FCM_NOTIFICATIONS
    )
