"""Warnings about a payload that is valid but probably not what the operator wants.

Each function checks a payload file once, before placeholders are filled in: a text with a placeholder is a text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..audience.problems import shown
from ..models.apns import PushType, push_type_of
from ..models.apns_check import INVISIBLE, NUMBERS, idle_parts, is_set, mistyped_parts, shown_parts
from ..models.expo import NO_IMAGE, AndroidForm
from ..models.fcm import camel
from ..models.fcm_values import MAX_TTL
from .devices import APNS, FCM
from .foreign import targets_in
from .json_template import WHOLE, WITHIN, Placeholder, place

_PLACEHOLDER: Final = "{{"
_ON: Final = {APNS: "on iOS", FCM: "on Android"}
_EXPO_SHOWN: Final = {APNS: ("title", "subtitle", "body", "badge", "sound"), FCM: ("title", "body")}
_FCM_SHOWN: Final = tuple(
    spelling for key in ("title", "body", "title_loc_key", "body_loc_key") for spelling in (key, camel(key))
)


def expo_notices(name: str, message: dict[str, Any], platform: str, android: AndroidForm) -> list[str]:
    """Warnings about a message in Expo's format for this provider."""
    notices = []
    visible_keys = ("contentAvailable", "_contentAvailable", *_EXPO_SHOWN[platform])
    if not any(is_set(message.get(key)) for key in visible_keys):
        expected = 'expected a "title" or a "body", or "contentAvailable" for a silent push'
        notices.append(f"{name}: {INVISIBLE} {_ON[platform]}; {expected}")
    image = message.get("richContent")
    if platform == FCM and android == "data" and isinstance(image, dict) and image.get("image"):
        notices.append(f"{name}: {NO_IMAGE}")
    ttl = message.get("ttl")
    if isinstance(ttl, int | float) and ttl > MAX_TTL:
        notices.append(f"{name}: the ttl is longer than four weeks; it is in seconds, not in milliseconds")
    return notices


def unknown_key(name: str, key: str) -> str:
    """The warning about an unknown key of a message in Expo's format."""
    return f"{name}: the key {shown(key)} is unknown in Expo's format and is left out"


def apns_notices(name: str, payload: dict[str, Any], push_type: str | PushType) -> list[str]:
    """Warnings about a payload of APNs that is sent with this push type."""
    aps = payload.get("aps")
    if isinstance(aps, dict) and _PLACEHOLDER in str(aps.get("event")):
        payload = {**payload, "aps": {**aps, "event": "end"}}  # the event with the fewest requirements
    targets = [
        f"every device gets the {key} beside aps; the rows are the targets" for key in targets_in(payload)
    ]
    return [
        f"{name}: {notice}"
        for notice in (
            *mistyped_parts(without_placeholders(payload)),
            *idle_parts(payload, push_type),
            *targets,
        )
    ]


def csv_notices(name: str, placeholders: Iterable[Placeholder]) -> list[str]:
    """Warnings about a payload of APNs whose rows are CSV, in which every value is a text."""
    return [
        f"{name}: {place(placeholder.path)} is a text in every row of CSV, which devices ignore; "
        f"expected {{{{{placeholder.column}:int}}}}"
        for placeholder in placeholders
        if placeholder.path[:1] == ("aps",)
        and placeholder.path[1:] in {(key,) for key in NUMBERS}
        and placeholder.inserts in (WHOLE, WITHIN)
    ]


def without_placeholders(payload: dict[str, Any]) -> dict[str, Any]:
    """A payload of APNs without the values of `aps` that contain placeholders."""
    aps = payload.get("aps")
    if not isinstance(aps, dict):
        return payload
    fixed = {key: value for key, value in aps.items() if _PLACEHOLDER not in str(value)}
    return {**payload, "aps": fixed}


def fcm_notices(name: str, message: dict[str, Any]) -> list[str]:
    """Warnings about a message of FCM v1, with the field names of Google's JSON."""
    return _invisible(name, message) + _of_apns_part(name, message)


def _of_apns_part(name: str, message: dict[str, Any]) -> list[str]:
    """Mistakes that Google rejects with INVALID_ARGUMENT, as if the token were wrong, or that do nothing on iOS."""
    headers, payload = object_at(message, "apns", "headers"), object_at(message, "apns", "payload")
    if headers and not object_at(payload, "aps"):
        return [f"{name}: apns has headers and no payload.aps, which Google rejects"]
    values = {key.lower(): value for key, value in headers.items()}
    push_type = values.get("apns-push-type")
    if push_type is None:
        notices = [f"{name}: apns.payload: {text}" for text in mistyped_parts(without_placeholders(payload))]
    else:
        notices = apns_notices(f"{name}: apns.payload", payload, push_type)
    # FCM adds the displayed fields to the payload, so they may be missing here.
    notices = [notice for notice in notices if not notice.endswith(INVISIBLE)]
    if push_type_of(payload) == "background" and str(values.get("apns-priority", "5")) == "10":
        notices.append(
            f"{name}: apns is a silent push with apns-priority 10, which Google rejects; expected 5"
        )
    return notices


def _invisible(name: str, message: dict[str, Any]) -> list[str]:
    android, v2 = object_at(message, "android"), object_at(message, "android_v2")
    remote = object_at(v2, "remote_notification")
    notifications = [object_at(parent, "notification") for parent in (message, android, remote)]
    # As in the example of Expo's documentation, which expo-notifications displays.
    data_parts = [object_at(parent, "data") for parent in (message, android, v2)]
    aps = object_at(message, "apns", "payload", "aps")
    if (
        any(is_set(notification.get(key)) for notification in notifications for key in _FCM_SHOWN)
        or any(is_set(data.get(key)) for data in data_parts for key in ("title", "message"))
        or shown_parts(aps)
        or is_set(aps.get("content-available"))
        or is_set(aps.get("event"))  # of a Live Activity
        or object_at(message, "webpush", "notification")
        or {"background_sync", "backgroundSync"} & v2.keys()
    ):
        return []
    data_only = " but data, which the app must show itself" if any(data_parts) else ""
    return [f'{name}: {INVISIBLE}{data_only}; expected a "notification" if the system should show it']


def object_at(source: dict[str, Any], *path: str) -> dict[str, Any]:
    """The object at `path` of Google's JSON, in either spelling of its keys; empty when there is none."""
    value: Any = source
    for key in path:
        value = value.get(key, value.get(camel(key))) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
