"""Payload files in the format of another service, recognised by their keys, so that an error can name it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..arguments import json_kind

_EXPO: Final = '{"title": "Hi", "body": "…"}'
_ONE_EACH: Final = '{"apns": {"aps": {…}}, "fcm": {"notification": {…}}}'
_FORMATS: Final[tuple[tuple[frozenset[str], frozenset[str], str], ...]] = (
    (
        frozenset({"app_id"}),
        frozenset({"contents", "headings", "include_player_ids", "include_aliases", "included_segments"}),
        f"is a notification of OneSignal's API; expected {_EXPO}",
    ),
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


def foreign_format(content: dict[str, Any]) -> str:
    """The format of a payload that is in none of ours, as the end of a sentence; empty if it is not recognised."""
    keys = content.keys()
    for every, one, words in _FORMATS:
        if keys >= every and (not one or keys & one):
            return words
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
