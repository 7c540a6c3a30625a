"""The fields of a payload that accept only text: there a number of the audience is converted to text.

Each function takes the path of a field, such as `("data", "order")`, and returns `TEXT`, `TEXT_OR_OBJECT` or `ANY`.
Sources: "REST Resource: projects.messages", "Generating a remote notification", and `ExpoMessage`.
"""

from __future__ import annotations

from typing import Final

from ..models.expo_message import TEXTS
from ..models.fcm import camel
from .template import ANY, TEXT, TEXT_OR_OBJECT, Path

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
