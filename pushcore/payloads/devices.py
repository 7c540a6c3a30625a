"""Whose device a row is: by its column `platform`, by what getDevicePushTokenAsync returned, by the token's shape."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from ..audience.problems import BadRow, shown
from ..models.tokens import ANDROID_WORDS, IOS_WORDS, TokenKind, recognise

APNS, FCM = "apns", "fcm"
"""The providers, as the results name them."""
NAMES: Final[Mapping[str, str]] = {APNS: "APNs", FCM: "FCM"}
APNS_WORDS: Final = frozenset({None, "", "ios", "iOS", "IOS", "apns", "APNs", "APNS"})
"""What a row of APNs mostly has in its column `platform`: what is written otherwise takes the longer way."""

_PLATFORMS: Final = {**dict.fromkeys(IOS_WORDS, APNS), **dict.fromkeys(ANDROID_WORDS, FCM)}
_KINDS: Final = {
    TokenKind.APNS: "a device token of APNs",
    TokenKind.FCM: "a registration token of FCM",
    TokenKind.FID: "a Firebase installation id",
}
_HEX: Final = re.compile(r"[0-9A-Fa-f]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Device:
    """`platform`: "apns" or "fcm". `token`: without what stood around it. `fid`: it is a Firebase installation id."""

    platform: str
    token: str
    fid: bool = False


def find_device(token: object, said: object, only: str = "") -> Device:
    """The device of a row with this `token` and `said` in the column `platform` (None or empty: nothing).

    `token` is a text, or what getDevicePushTokenAsync returns, as an object or as its JSON; of that in the column
    `platform` the type counts. `only`: the provider of a
    run that has one, which a token of unknown shape is believed to be of; Apple and Google promise no shape.

    Raises:
        BadRow: nothing can be sent to it.
    """
    expected = _platform(said)
    if not token or not isinstance(token, str | Mapping):
        raise BadRow("the row has no token", platform=expected or only)
    found = recognise(token)
    if found.kind is TokenKind.EXPO:
        raise BadRow(found.reason, platform=expected or only)
    if found.kind is TokenKind.UNKNOWN:
        if isinstance(token, Mapping) or token.lstrip()[:1] == "{" or not found.token:
            raise BadRow(found.reason, platform=expected or only)
        return _of_unknown_shape(token, found.reason, expected or only)
    platform = found.platform or ""
    if expected == APNS and _HEX.fullmatch(found.token):
        platform = APNS  # an installation id can be hexadecimal too, and APNs promises no length
    elif expected and expected != platform:
        hint = "; platform fcm sends through FCM, to iOS as well" if platform == FCM else ""
        raise BadRow(f"platform is {shown(said)}, but this is {_KINDS[found.kind]}{hint}", platform=expected)
    return Device(platform, found.token, fid=platform == FCM and found.kind is TokenKind.FID)


def text_of(token: object) -> str:
    """A token that cannot be sent to, for the results."""
    if isinstance(token, Mapping):
        token = token.get("data")
    return token if isinstance(token, str) else ""


def _platform(said: object) -> str:
    if said is None or said == "":
        return ""
    if isinstance(said, str) and said.lstrip()[:1] == "{":
        with contextlib.suppress(orjson.JSONDecodeError):
            said = orjson.loads(said)
    if isinstance(said, Mapping) and "type" in said:
        said = said["type"]
    word = said.strip().lower() if isinstance(said, str) else None
    if word == "":
        return ""
    if word not in _PLATFORMS:
        raise BadRow(f"platform: {shown(said)} is neither ios (or apns) nor android (or fcm)")
    return _PLATFORMS[word]


def _of_unknown_shape(token: str, reason: str, platform: str) -> Device:
    if platform == APNS:
        return Device(APNS, token)  # the client says what is wrong with it
    if platform == FCM:
        found = recognise({"type": "android", "data": token})
        if not found.usable:
            raise BadRow(found.reason, platform=FCM)
        return Device(FCM, found.token)
    raise BadRow(f"{reason}; a column platform with ios or android says whose it is")
