"""Payload files in the format of another service, recognised by their keys, so that an error can name it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..arguments import json_kind

_EXPO: Final = '{"title": "Hi", "body": "…"}'
_ONE_EACH: Final = '{"apns": {"aps": {…}}, "fcm": {"notification": {…}}}'
_ONESIGNAL: Final = f"is a notification of OneSignal's API; expected {_EXPO}"
_BEAMS: Final = f"is a publish request of Pusher Beams; expected {_ONE_EACH}"
_FORMATS: Final[tuple[tuple[frozenset[str], frozenset[str], str], ...]] = (
    (
        frozenset({"app_id"}),
        frozenset({"contents", "headings", "include_player_ids", "include_aliases", "included_segments"}),
        _ONESIGNAL,
    ),
    (
        frozenset({"contents"}),
        frozenset({"headings", "include_player_ids", "include_aliases", "included_segments", "filters"}),
        _ONESIGNAL,
    ),
    (frozenset({"interests"}), frozenset({"apns", "fcm", "web"}), _BEAMS),
    (frozenset({"users"}), frozenset({"apns", "fcm", "web"}), _BEAMS),
    (frozenset({"where", "data"}), frozenset(), f"is a push of Parse; expected {_EXPO}"),
    (frozenset({"platform", "audience"}), frozenset(), f"is a push of JPush; expected {_EXPO}"),
    (
        frozenset({"messages"}),
        frozenset({"broadcast", "external_user_ids", "segment_id", "audience", "campaign_id", "recipients"}),
        f"is a request of Braze or another service; expected {_EXPO}",
    ),
    (
        frozenset({"title", "description"}),
        frozenset({"pass_through", "notify_type", "registration_id", "restricted_package_name"}),
        f"is a message of Xiaomi's Mi Push; expected {_EXPO}",
    ),
    (
        frozenset(),
        frozenset({"MessageConfiguration", "MessageRequest", "APNSMessage", "GCMMessage"}),
        f"is a message of Amazon Pinpoint; expected {_ONE_EACH}",
    ),
    (
        frozenset({"fcmV1Message"}),
        frozenset(),
        'has its message in "fcmV1Message", as Amazon SNS takes it; expected what is in it, {"message": {…}}',
    ),
    (
        frozenset({"endpoint", "keys"}),
        frozenset(),
        f"is a Web Push subscription, the address of a browser; expected a message such as {_EXPO}",
    ),
    (frozenset({"web_push"}), frozenset(), f"is a declarative Web Push message; expected {_EXPO}"),
    (
        frozenset({"Notification"}),
        frozenset(),
        'is a message of firebase-admin with names of Go or C#; expected FCM\'s JSON, {"message": {"notification": {…}}}',
    ),
    (frozenset({"ios", "android"}), frozenset(), f"has parts for ios and android; expected {_ONE_EACH}"),
    (
        frozenset({"notifications"}),
        frozenset(),
        f"is a request of gorush or another service; expected {_EXPO}",
    ),
    (frozenset({"tokens", "platform"}), frozenset(), f"is a notification of gorush; expected {_EXPO}"),
    (
        frozenset({"tokens"}),
        frozenset(),
        "is a MulticastMessage of firebase-admin; expected its other fields, the rows are the targets",
    ),
    (
        frozenset(),
        frozenset({"GCM", "FCM", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "ADM", "BAIDU"}),
        f"is a message of Amazon SNS; expected {_ONE_EACH}, objects and no text",
    ),
    (
        frozenset({"audience", "device_types"}),
        frozenset(),
        f"is a request of Airship's API; expected {_EXPO}",
    ),
)
"""Keys of which all are there, keys of which one is there (any if there are none), and the end of a sentence about the file."""
_OF_APS: Final = frozenset(("alert", "badge", "sound", "content-available", "mutable-content", "category"))
_TARGETS: Final = frozenset({"token", "tokens", "devicetoken", "devicetokens", "registrationid", "to"})


def service_format(content: dict[str, Any]) -> str:
    """The format of another service that a payload is in, as the end of a sentence; empty if it is not recognised."""
    keys = content.keys()
    for every, one, words in _FORMATS:
        if keys >= every and (not one or keys & one):
            return words
    if "title" in keys and "body" not in keys and isinstance(content.get("message"), str):
        return f"is a message of ntfy, Gotify, Pushover or another service; expected {_EXPO}"
    return ""


def foreign_format(content: dict[str, Any]) -> str:
    """The same, and parts of our formats in wrong places."""
    keys = content.keys()
    if service := service_format(content):
        return service
    if "message" in keys and not isinstance(content["message"], dict):
        return f'has a "message" that is {json_kind(content["message"])}; expected an object, FCM\'s message'
    payload = content.get("payload")
    if isinstance(payload, dict) and "aps" in payload:
        return 'has its payload in "payload"; expected what is in it, {"aps": {…}}'
    misplaced = [key for key in keys if key in _OF_APS]
    if misplaced:
        return f'has {" and ".join(misplaced)} at the top; expected them in "aps": {{"aps": {{…}}}}'
    return next((f"has {key}; expected aps" for key in keys if key != "aps" and key.lower() == "aps"), "")


def targets_in(keys: Iterable[str]) -> list[str]:
    """The keys that seem to name a device; the app of every device would get them."""
    return [key for key in keys if key.replace("_", "").lower() in _TARGETS]
