"""Payload files for FCM's legacy API: the example in Expo's documentation is converted to v1, all others are rejected."""

from __future__ import annotations

from typing import Any, Final

from ..audience.problems import BadInput
from ..models.fcm import LegacyMessage
from ..models.tokens import TokenKind, recognise

_TARGETS: Final = ("token", "to", "registration_ids")
_LISTING: Final = frozenset({*_TARGETS, "collapse_key", "priority", "data"})
_SHOWN: Final = ("title", "message")  # the keys of `data` that expo-notifications displays
_LEGACY_ONLY: Final = frozenset(LegacyMessage.__slots__) - {"condition", "data", "notification"}
_V1_NAMES: Final = {
    "collapse_key": "android.collapse_key",
    "priority": "android.priority",
    "time_to_live": "android.ttl",
    "restricted_package_name": "android.restricted_package_name",
    "content_available": "apns.payload.aps.content-available",
    "mutable_content": "apns.payload.aps.mutable-content",
    "dry_run": "validate_only, beside the message",
}


def is_listing(content: dict[str, Any]) -> bool:
    """Whether it is the message for Android of "Sending Notifications with APNs & FCM" at docs.expo.dev.

    That is {"collapse_key", "priority", "data"} with title, message and the like in `data`; in a message of Expo's own
    format, `data` belongs to the app.
    """
    data = content.get("data")
    if _is_topic(content.get("to")):
        return False
    return content.keys() <= _LISTING and isinstance(data, dict) and any(key in data for key in _SHOWN)


def from_listing(content: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The message for FCM v1, and the object in its `data.body`, which must be JSON text in v1."""
    android = {key: content[key] for key in ("collapse_key", "priority") if content.get(key) is not None}
    if android.get("priority") in ("normal", "high"):
        android["priority"] = android["priority"].upper()
    data = dict(content["data"])
    body = data.pop("body") if isinstance(data.get("body"), dict) else None
    return {"data": data, **({"android": android} if android else {})}, body


def is_legacy(content: dict[str, Any]) -> bool:
    """Whether it is a message of the legacy API: this combination of keys exists neither in v1 nor in Expo's format."""
    keys, target = content.keys(), content.get("to")
    if _is_topic(target) or (isinstance(target, str) and recognise(target).kind is TokenKind.FCM):
        return True
    if "registration_ids" in keys or ("notification" in keys and keys & _LEGACY_ONLY):
        return True
    expo = {"to", "data", "priority", "collapse_key"}
    return bool(keys & _LEGACY_ONLY - expo) and keys <= set(LegacyMessage.__slots__)


def _is_topic(target: object) -> bool:
    """Whether it is a topic as the legacy API names one; Expo knows none."""
    return isinstance(target, str) and target.startswith("/topics/")


def refuse_legacy(content: dict[str, Any], name: str) -> None:
    """Raise `BadInput` with the names of the keys if `content` has keys of the legacy API that v1 does not have."""
    message = content.get("message")
    message = message if isinstance(message, dict) else content
    if is_listing(message) and message is content:
        for target in _TARGETS:
            if message.get(target) is not None:
                raise BadInput(f"{name}: the message has a {target}; expected none, the rows are the targets")
        return
    legacy_keys = sorted(message.keys() & _LEGACY_ONLY)
    if legacy_keys:
        hints = [f"{key} is {_V1_NAMES[key]} there" for key in legacy_keys if key in _V1_NAMES]
        if any(key in legacy_keys for key in _TARGETS):
            topic = _is_topic(message.get("to"))
            hints.insert(0, "a topic needs no audience" if topic else "the rows are the targets")
        raise BadInput(
            f"{name} is a message of FCM's legacy API, which Google has shut down (it has {', '.join(legacy_keys)}); "
            f'expected one of its v1 API, {{"message": {{...}}}}: {", ".join(hints)}'
        )
