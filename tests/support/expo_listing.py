"""The message of the listings on Expo's page, the listing for iOS, and how a push is looked into."""

from __future__ import annotations

from typing import Any

import orjson

from pushcore.fcm.request import FcmRequestBuilder, LegacyRequestBuilder
from pushcore.http2.exchange import Exchange
from pushcore.models.fcm import LegacyMessage
from pushcore.requests import build_one

FID = "dPx6Y0k3Qm2Vb1N9zW8aLk"
FCM = f"{FID}:APA91b" + "x" * 134
APNS = "ab" * 32
OWN = {"screen": "chat", "ids": [1, 2], "nested": {"ok": True}}
FULL = {
    "title": "Title",
    "subtitle": "Subtitle",
    "body": "Body",
    "data": OWN,
    "badge": 3,
    "sound": "default",
    "categoryId": "category",
    "channelId": "channel",
    "icon": "icon",
    "link": "https://example.com",
    "collapse_key": "collapse",
    "priority": "high",
    "threadId": "thread",
    "launchImage": "launch.png",
}
EXPERIENCE = "@yourExpoUsername/yourProjectSlug"

# The page's listing for iOS.
IOS = {
    "aps.alert.title": "Title",
    "aps.alert.subtitle": "Subtitle",
    "aps.alert.body": "Body",
    "aps.alert.launch-image": "launch.png",
    "aps.category": "category",
    "aps.badge": 3,
    "aps.sound": "default",
    "aps.thread-id": "thread",
    "body": OWN,
    "experienceId": EXPERIENCE,
}


def take(source: dict[str, Any], path: str) -> Any:
    """Remove and return the value at `path`; objects that become empty are removed too."""
    key, _, subpath = path.partition(".")
    if not subpath:
        return source.pop(key)
    value = take(source[key], subpath)
    if source[key] == {}:
        del source[key]
    return value


def sent(push: Any) -> Any:
    """The JSON that goes to FCM."""
    builder = LegacyRequestBuilder("x") if isinstance(push, LegacyMessage) else FcmRequestBuilder("x", "p")
    exchange = build_one(builder, push, lambda ended: None, 1.0)
    assert isinstance(exchange, Exchange), exchange
    return orjson.loads(exchange.body)
