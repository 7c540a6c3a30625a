"""Which fields of a payload take nothing but text: there a number of the audience becomes its text.

Each function says it of the path of a field, such as `("data", "order")`: `TEXT`, `TEXT_OR_OBJECT`, or `ANY`.
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
    each
    for name in (
        *("sticky", "local_only", "default_sound", "default_vibrate_timings", "default_light_settings"),
        *("notification_count", "id", "red", "green", "blue", "alpha"),
        *("direct_boot_ok", "bandwidth_constrained_ok", "restricted_satellite_ok"),
        *("mutable_content", "use_as_v1_data_message", "background_sync"),
    )
    for each in (name, camel(name))
)
"""Fields of FCM's android and android_v2 that are numbers, true or false, or objects."""


def in_expo(path: Path) -> str:
    """Of a message in Expo's format; what is in its `data` goes to the app as it is."""
    if len(path) == 1:
        return TEXT if path[0] in _EXPO else TEXT_OR_OBJECT if path[0] == "sound" else ANY
    return TEXT if path in (("richContent", "image"), ("sound", "name")) else ANY


def in_apns(path: Path) -> str:
    """Of a payload of APNs; keys beside `aps`, and the states of Live Activities, go to the app as they are."""
    if path[0] != "aps" or len(path) == 1:
        return ANY
    if path[1] in ("alert", "sound"):
        if len(path) == 2:
            return TEXT_OR_OBJECT
        if path[1] == "sound":
            return TEXT if path[2] == "name" else ANY
        if path[2] in ("title", "body") and len(path) == 3:
            return TEXT_OR_OBJECT  # of a Live Activity
        return ANY if path[2] == "summary-arg-count" else TEXT
    return TEXT if len(path) == 2 and path[1] in _APS else ANY


def in_fcm(path: Path) -> str:
    """Of a message of FCM's v1 API."""
    part, *rest = path
    if part in ("data", "notification", "fcm_options", "fcmOptions"):
        return TEXT if rest else ANY
    if not rest:
        return ANY
    if part == "apns":
        if rest[0] == "payload":
            return in_apns(path[2:]) if len(path) > 2 else ANY
        return TEXT if len(rest) > 1 or rest[0] in ("live_activity_token", "liveActivityToken") else ANY
    if part == "webpush":
        return TEXT if rest[0] != "notification" and len(rest) > 1 else ANY
    if rest[0] == "data":
        return TEXT if len(rest) > 1 else ANY
    leaf = next(each for each in reversed(path) if isinstance(each, str))
    return ANY if leaf in _NOT_TEXT else TEXT
