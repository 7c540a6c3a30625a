"""The audience of `pushcore demo`: devices of both providers, with known shares of each kind of failure."""

from __future__ import annotations

import csv
import random
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from ...models.tokens import EXPO_ADVICE
from ...payloads.devices import APNS, FCM

NAMES: Final = ("Ada", "Bob", "Chloë", "Дима", "李雷", 'Eve "E"')
PAYLOAD: Final = {
    "title": "Hello {{name}}",
    "body": "You have {{badge}} new messages",
    "badge": "{{badge:int}}",
    "data": {"screen": "inbox", "for": "{{name}}"},
}
"""In Expo's format, which is for both providers."""


@dataclass(frozen=True, slots=True)
class DemoDevice:
    """One kind of device, and the expected result of a push to it.

    `share`: of the audience; 0: all remaining rows. `token`: makes a token from a number and a text that all tokens of a run
    share. `said`: the value of the column `platform`, which may be empty.
    """

    name: str
    share: float
    platform: str
    verdict: str
    status: str
    reason: str
    token: Callable[[int, str], str]
    said: str = ""


def kinds() -> tuple[DemoDevice, ...]:
    """All kinds. Some tokens contain the response of the fake server, see docs/reference/fakeservers.md."""
    from fakeservers.apns.fates import fated_token
    from fakeservers.fcm.fates import fated_fid, fated_registration

    return (
        DemoDevice("iOS, registered", 0, APNS, "ACCEPTED", "200", "", _apns),
        *(
            DemoDevice(
                f"iOS, {name}", share, APNS, verdict, status, reason, _fated(fated_token, reason), "ios"
            )
            for name, share, verdict, status, reason in (
                ("unregistered", 0.006, "UNREGISTERED", "410", "Unregistered"),
                ("wrong environment", 0.002, "INVALID", "400", "BadDeviceToken"),
                ("other topic", 0.004, "INVALID", "400", "DeviceTokenNotForTopic"),
            )
        ),
        DemoDevice(
            "iOS, malformed",
            0.003,
            APNS,
            "INVALID",
            "",
            "the device token is not hexadecimal: it has '.' in it",
            lambda number, run: f"{_apns(number, run)[:-1]}.",
            "iOS",
        ),
        DemoDevice("Android, registered", 0.25, FCM, "ACCEPTED", "200", "", _registration),
        DemoDevice("Android, with platform", 0.05, FCM, "ACCEPTED", "200", "", _registration, "android"),
        DemoDevice("Android, installation id", 0.06, FCM, "ACCEPTED", "200", "", _fid),
        DemoDevice("Android, token object", 0.0265, FCM, "ACCEPTED", "200", "", _object),
        DemoDevice(
            "Android, unregistered",
            0.004,
            FCM,
            "UNREGISTERED",
            "404",
            "UNREGISTERED",
            _fated(fated_registration, "Unregistered"),
        ),
        DemoDevice(
            "Android, unregistered id",
            0.002,
            FCM,
            "UNREGISTERED",
            "404",
            "UNREGISTERED",
            _fated(fated_fid, "Unregistered"),
        ),
        DemoDevice(
            "Android, no such token",
            0.0015,
            FCM,
            "UNREGISTERED",
            "400",
            "INVALID_ARGUMENT",
            _fated(fated_registration, "InvalidToken"),
        ),
        DemoDevice(
            "Android, other sender",
            0.003,
            FCM,
            "MISCONFIGURED",
            "403",
            "SENDER_ID_MISMATCH",
            _fated(fated_registration, "SenderIdMismatch"),
        ),
        DemoDevice(
            "Expo's own token",
            0.003,
            "",
            "INVALID",
            "",
            EXPO_ADVICE,
            lambda number, run: f"ExponentPushToken[{run[:8]}{number:014x}]",
        ),
    )


def _fated(make: Callable[[str, int], str], fate: str) -> Callable[[int, str], str]:
    return lambda number, run: make(fate, number)


def _apns(number: int, run: str) -> str:
    return f"{run}{number:024x}"


def _fid(number: int, run: str) -> str:
    return f"c{run[:13]}{number:08x}"


def _registration(number: int, run: str) -> str:
    return f"{_fid(number, run)}:APA91b{number:0134x}"


def _object(number: int, run: str) -> str:
    return orjson.dumps({"type": "android", "data": _registration(number, run)}).decode()


def write_demo_audience(devices: int, place: Path) -> list[DemoDevice]:
    """Write audience.csv and payload.json to `place`; returns the kind of each row, from 0 on."""
    rest, *others = kinds()
    expected = [device for device in others for _ in range(max(1, round(devices * device.share)))]
    if len(expected) > devices:
        raise ValueError(f"{devices} devices are fewer than the kinds of devices")
    expected += [rest] * (devices - len(expected))
    random.shuffle(expected)
    run = secrets.token_hex(20)
    with (place / "audience.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("token", "platform", "name", "badge"))
        for number, kind in enumerate(expected):
            writer.writerow((kind.token(number, run), kind.said, NAMES[number % len(NAMES)], number % 100))
    (place / "payload.json").write_bytes(orjson.dumps(PAYLOAD, option=orjson.OPT_INDENT_2))
    return expected


def compare(results: Path, expected: list[DemoDevice]) -> Counter[str]:
    """The number of rows of each kind with the expected result. A row with two results counts as wrong."""
    right: Counter[str] = Counter()
    seen = bytearray(len(expected))
    with results.open(encoding="utf-8", newline="") as file:
        for values in csv.DictReader(file):
            row = int(values["row"]) - 1
            kind = expected[row]
            outcome = values["platform"], values["verdict"], values["status"], values["reason"]
            # Only APNs reports since when a token is unregistered.
            right_time = bool(values["timestamp"]) == (kind.status == "410")
            wanted = kind.platform, kind.verdict, kind.status, kind.reason
            if not seen[row] and outcome == wanted and right_time:
                right[kind.name] += 1
                seen[row] = 1
            else:
                right[kind.name] -= seen[row] == 1
                seen[row] = 2
    return right
