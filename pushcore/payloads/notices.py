"""What the operator should know of a payload before it is sent: it is taken all the same.

Each function looks at a payload file once, placeholders included: a text that has one is a text.
"""

from __future__ import annotations

from typing import Any, Final

from ..audience.problems import shown
from ..models.apns import PushType, push_type_of
from ..models.apns_check import INVISIBLE, SHOWN, given, idle_parts
from ..models.expo import NO_IMAGE, AndroidForm
from ..models.fcm import camel
from ..models.fcm_values import MAX_TTL
from .devices import APNS, FCM

_PLACEHOLDER: Final = "{{"
_ON: Final = {APNS: "on iOS", FCM: "on Android"}
_EXPO_SHOWN: Final = {APNS: ("title", "subtitle", "body", "badge", "sound"), FCM: ("title", "body")}
_FCM_SHOWN: Final = tuple(
    each for key in ("title", "body", "title_loc_key", "body_loc_key") for each in (key, camel(key))
)


def expo_notices(name: str, message: dict[str, Any], platform: str, android: AndroidForm) -> list[str]:
    """Of a message in Expo's format that goes to this provider."""
    found = []
    seen = ("contentAvailable", "_contentAvailable", *_EXPO_SHOWN[platform])
    if not any(given(message.get(key)) for key in seen):
        expected = 'expected a "title" or a "body", or "contentAvailable" for a silent push'
        found.append(f"{name}: {INVISIBLE} {_ON[platform]}; {expected}")
    image = message.get("richContent")
    if platform == FCM and android == "data" and isinstance(image, dict) and image.get("image"):
        found.append(f"{name}: {NO_IMAGE}")
    ttl = message.get("ttl")
    if isinstance(ttl, int | float) and ttl > MAX_TTL:
        found.append(f"{name}: the ttl is longer than four weeks; it is in seconds, not in milliseconds")
    return found


def unknown_key(name: str, key: str) -> str:
    """Of a message in Expo's format."""
    return f"{name}: the key {shown(key)} is unknown in Expo's format and is left out"


def apns_notices(name: str, payload: dict[str, Any], push_type: str | PushType) -> list[str]:
    """Of a payload of APNs, which is sent as this push type."""
    aps = payload.get("aps")
    if isinstance(aps, dict) and _PLACEHOLDER in str(aps.get("event")):
        payload = {**payload, "aps": {**aps, "event": "end"}}  # which needs least
    return [f"{name}: {each}" for each in idle_parts(payload, push_type)]


def without_placeholders(payload: dict[str, Any]) -> dict[str, Any]:
    """A payload of APNs without those values of `aps` that come from a row."""
    aps = payload.get("aps")
    if not isinstance(aps, dict):
        return payload
    fixed = {key: value for key, value in aps.items() if _PLACEHOLDER not in str(value)}
    return {**payload, "aps": fixed}


def fcm_notices(name: str, message: dict[str, Any]) -> list[str]:
    """Of a message to FCM v1, by the names that Google's JSON has for its fields."""
    return _invisible(name, message) + _of_apns_part(name, message)


def _of_apns_part(name: str, message: dict[str, Any]) -> list[str]:
    """What Google answers with INVALID_ARGUMENT, as if the token were at fault, or what does nothing on iOS."""
    headers, payload = at(message, "apns", "headers"), at(message, "apns", "payload")
    if headers and not at(payload, "aps"):
        return [f"{name}: apns has headers and no payload.aps, which Google refuses"]
    values = {key.lower(): value for key, value in headers.items()}
    push_type = values.get("apns-push-type")
    found = [] if push_type is None else apns_notices(f"{name}: apns.payload", payload, push_type)
    # What FCM shows is not in the payload itself.
    found = [each for each in found if not each.endswith(INVISIBLE)]
    if push_type_of(payload) == "background" and str(values.get("apns-priority", "5")) == "10":
        found.append(f"{name}: apns is a silent push with apns-priority 10, which Google refuses; expected 5")
    return found


def _invisible(name: str, message: dict[str, Any]) -> list[str]:
    android, v2 = at(message, "android"), at(message, "android_v2")
    notifications = [at(each, "notification") for each in (message, android, at(v2, "remote_notification"))]
    # Expo's listing: expo-notifications shows it.
    data = [at(each, "data") for each in (message, android, v2)]
    aps = at(message, "apns", "payload", "aps")
    if (
        any(given(each.get(key)) for each in notifications for key in _FCM_SHOWN)
        or any(given(each.get(key)) for each in data for key in ("title", "message"))
        or any(given(aps.get(key)) for key in (*SHOWN, "content-available"))
        or at(message, "webpush", "notification")
        or {"background_sync", "backgroundSync"} & v2.keys()
    ):
        return []
    rest = " but data, which the app must show by itself" if any(data) else ""
    return [f'{name}: {INVISIBLE}{rest}; expected a "notification" where the system is to show one']


def at(source: dict[str, Any], *path: str) -> dict[str, Any]:
    """The object at this path of Google's JSON, an empty one where there is none."""
    found: Any = source
    for key in path:
        found = found.get(key, found.get(camel(key))) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
