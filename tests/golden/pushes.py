"""Pushes for the golden conversations, each with the request that it has to be by Apple's and Google's pages.

What a request must say is written down here from the values that the push is made of, never read from the code that
makes requests.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pushcore import (
    Alert,
    AndroidConfig,
    AndroidNotification,
    ApnsConfig,
    Aps,
    FcmNotification,
    LegacyMessage,
    LegacyNotification,
    Message,
    Notification,
)

T = TypeVar("T")

APNS_HOST: Final = "api.push.apple.com"
FCM_HOST: Final = "fcm.googleapis.com"
PROJECT: Final = "my-project"
TOPICS: Final = ("com.example.app", "com.example.app.beta", "org.example.news")
CLIENT_TOPIC: Final = "com.example.client"

_SUFFIXES: Final = {
    "alert": "",
    "background": "",
    "voip": ".voip",
    "liveactivity": ".push-type.liveactivity",
    "location": ".location-query",
    "complication": ".complication",
    "widgets": ".push-type.widgets",
}
"""What follows the bundle id in apns-topic ("Sending notification requests to APNs")."""


@dataclass(frozen=True, slots=True)
class Case:
    """A push and its request. `fields` None: it cannot be sent. `body`: a JSON value, or bytes to be sent as they are."""

    push: Any
    fields: dict[str, str] | None
    body: Any = None


class Dice:
    """Seeded choices by `random()` alone, whose sequence no version of Python changes."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def number(self, below: int) -> int:
        """From 0 on."""
        return int(self._random() * below)

    def choose(self, values: Sequence[T]) -> T:
        return values[self.number(len(values))]

    def digits(self, count: int) -> str:
        """Hexadecimal."""
        return "".join("0123456789abcdef"[self.number(16)] for _ in range(count))


# --- APNs -------------------------------------------------------------------------------------------------------------


def apns_cases(seed: int, count: int, topics: Sequence[str] = TOPICS) -> list[Case]:
    """So many pushes to APNs; about one in 20 cannot be sent."""
    dice = Dice(seed)
    return [_wrong_apns(dice) if dice.number(20) == 0 else _apns(dice, topics) for _ in range(count)]


def plain_apns_cases(seed: int, count: int) -> list[Case]:
    """Pushes that differ in token and id alone, as a campaign's do."""
    dice = Dice(seed)
    return [
        _apns_case(dice.digits(64), b'{"aps":{"alert":"Hi"}}', b'{"aps":{"alert":"Hi"}}', apns_id=_uuid(dice))
        for _ in range(count)
    ]


def topics_cases(count: int) -> list[Case]:
    """One push to each of so many topics, then the same once more."""
    dice = Dice(3)
    topics = [f"com.example.app-number-{number:03}" for number in range(count)]
    return [
        _apns_case(dice.digits(64), {"n": n}, {"n": n}, topic=topic) for n, topic in enumerate(topics * 2)
    ]


def large_case(seed: int, size: int) -> Case:
    """A push whose payload has so many bytes."""
    body = b'{"aps":{"alert":"%b"}}' % (b"x" * (size - 20))
    assert len(body) == size
    return _apns_case(Dice(seed).digits(64), body, body)


def _apns(dice: Dice, topics: Sequence[str]) -> Case:
    payload, body = _payload(dice)
    options: dict[str, Any] = {}
    if dice.number(4):
        options["topic"] = dice.choose(topics)
    if not dice.number(3):
        options["push_type"] = dice.choose(tuple(_SUFFIXES))
        if isinstance(payload, Aps) and options["push_type"] in ("background", "liveactivity", "widgets"):
            payload = payload.to_dict()  # the typed alert would be refused, for it does nothing there
    if not dice.number(3):
        options["priority"] = 5
    if not dice.number(3):
        options["expiration"] = dice.choose((0, 1_800_000_000))
    if not dice.number(3):
        options["collapse_id"] = dice.choose(("news", "match 17", "~" * 64))
    if dice.number(2):
        options["apns_id"] = _uuid(dice)
    return _apns_case(dice.digits(dice.choose((64, 64, 64, 64, 160))), payload, body, **options)


def _apns_case(token: str, payload: Any, body: Any, **options: Any) -> Case:
    push_type = options.get("push_type", "alert")
    topic = options.get("topic", CLIENT_TOPIC) + _SUFFIXES[push_type]
    fields = {
        ":method": "POST",
        ":scheme": "https",
        ":authority": APNS_HOST,
        ":path": f"/3/device/{token}",
        "apns-topic": topic,
        "apns-push-type": push_type,
    }
    priority = options.get(
        "priority", 5 if push_type == "background" else None
    )  # a background push has to say it
    for name, value in (
        ("apns-priority", priority),
        ("apns-expiration", options.get("expiration")),
        ("apns-collapse-id", options.get("collapse_id")),
        ("apns-id", options.get("apns_id")),
    ):
        if value is not None:
            fields[name] = str(value)
    return Case(Notification(token, payload, **options), fields, body)


def _payload(dice: Dice) -> tuple[Any, Any]:
    """A payload in one of the forms that a caller may give, and what must be sent."""
    number = dice.number(1000)
    form = dice.number(4)
    if form == 0:
        raw = b'{"aps" : {"alert" : "ready-made"}, "n" : %d}' % number
        return raw, raw
    if form == 1:
        aps = Aps(Alert(title="Grüße", body="日本語"), badge=number, sound="default", custom={"n": number})
        alert = {"title": "Grüße", "body": "日本語"}
        return aps, {"aps": {"alert": alert, "badge": number, "sound": "default"}, "n": number}
    plain = (
        {"aps": {"alert": f"Number {number}"}, "list": [1, 2.5, None, True]} if form == 2 else {"n": number}
    )
    return plain, plain


def _wrong_apns(dice: Dice) -> Case:
    token = dice.digits(64)
    return Case(
        dice.choose(
            (
                Notification("no hexadecimal digits", {}),
                Notification(token, {}, collapse_id="x" * 65),
                Notification(token, {"aps": {"alert": "x" * 4096}}),
                Notification(token, {}, push_type="background", priority=10),
                Notification(token, {}, apns_id="no uuid"),
            )
        ),
        None,
    )


def _uuid(dice: Dice) -> str:
    digits = dice.digits(32)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


# --- FCM --------------------------------------------------------------------------------------------------------------


def fcm_cases(seed: int, count: int, quota_project: str | None = None) -> list[Case]:
    """So many messages to FCM's HTTP v1 API; about one in 20 cannot be sent."""
    dice = Dice(seed)
    fields = _google_fields(f"/v1/projects/{PROJECT}/messages:send")
    if quota_project is not None:
        fields["x-goog-user-project"] = quota_project
    cases = []
    for _ in range(count):
        if dice.number(20) == 0:
            cases.append(Case(Message(token="x", topic="two targets"), None))
            continue
        given: dict[str, Any] = {}
        sent: dict[str, Any] = {}
        for name, value, shown in _parts(dice):
            given[name] = value
            sent[name] = shown
        validate_only = dice.number(8) == 0
        body = {"message": sent, **({"validate_only": True} if validate_only else {})}
        cases.append(Case(Message(**given, validate_only=validate_only), fields, body))
    return cases


def _parts(dice: Dice) -> Iterator[tuple[str, Any, Any]]:
    """Names of a message's fields, with what the caller gives and what must be sent."""
    target = dice.number(5)
    if target == 0:
        yield "topic", "news", "news"
    elif target == 1:
        condition = "'news' in topics && !('de' in topics)"
        yield "condition", condition, condition
    else:
        token = f"dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b{dice.digits(134)}"
        yield "token", token, token
    if dice.number(2):
        data = {"screen": "inbox", "n": str(dice.number(1000))}
        yield "data", data, data
    if dice.number(2):
        title = f"Grüße {dice.number(3)}"
        shown = {"title": title, "body": "日本語"}
        yield "notification", FcmNotification(title, "日本語") if dice.number(2) else shown, shown
    form = dice.number(6)
    if form == 0:
        android = AndroidConfig(
            priority="HIGH",
            ttl=3.5,
            collapse_key="news",
            notification=AndroidNotification(title="A", channel_id="c", notification_count=3),
        )
        notification = {"title": "A", "channel_id": "c", "notification_count": 3}
        shown_android = {
            "priority": "HIGH",
            "ttl": "3.5s",
            "collapse_key": "news",
            "notification": notification,
        }
        yield "android", android, shown_android
    elif form == 1:
        plain = {"priority": "NORMAL", "ttl": "86400s"}
        yield "android", plain, plain
    if dice.number(6) == 0:
        headers = {"apns-priority": "10", "apns-collapse-id": "news"}
        yield (
            "apns",
            ApnsConfig(headers=headers, payload=Aps("Hi", badge=1, custom={"n": 1})),
            {"headers": headers, "payload": {"aps": {"alert": "Hi", "badge": 1}, "n": 1}},
        )


def legacy_cases(seed: int, count: int) -> list[Case]:
    """So many messages to the legacy API."""
    dice = Dice(seed)
    fields = _google_fields("/fcm/send")
    cases = []
    for _ in range(count):
        tokens = [f"dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b{dice.digits(134)}" for _ in range(2)]
        body: dict[str, Any] = {"to": tokens[0]} if dice.number(2) else {"registration_ids": tokens}
        body |= {"priority": "high", "time_to_live": dice.number(2_000_000), "data": {"n": {"nested": 1}}}
        shown = {"title": "Grüße", "body": "日本語"}
        notification = LegacyNotification(**shown) if dice.number(2) else shown
        cases.append(
            Case(LegacyMessage(notification=notification, **body), fields, body | {"notification": shown})
        )
    cases.append(Case(LegacyMessage(), None))
    return cases


def _google_fields(path: str) -> dict[str, str]:
    return {
        ":method": "POST",
        ":scheme": "https",
        ":authority": FCM_HOST,
        ":path": path,
        "content-type": "application/json",
        "x-goog-api-format-version": "2",
    }
