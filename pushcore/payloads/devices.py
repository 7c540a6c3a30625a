"""The provider of a row's device: from the column `platform`, what getDevicePushTokenAsync returned, or the token's shape."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from ..arguments import json_kind
from ..audience.dialects import meant_token
from ..audience.problems import BadRow, shown
from ..models.tokens import ANDROID_WORDS, IOS_WORDS, TokenKind, recognise

APNS, FCM = "apns", "fcm"
"""The providers' names in the results."""
NAMES: Final[Mapping[str, str]] = {APNS: "APNs", FCM: "FCM"}
APNS_WORDS: Final = frozenset({None, "", "ios", "iOS", "IOS", "apns", "APNs", "APNS"})
FCM_WORDS: Final = frozenset({None, "", "android", "Android", "ANDROID", "fcm", "FCM"})
"""The usual values of the column `platform` in rows of either; other spellings take the slower path."""

_PLATFORMS: Final = {**dict.fromkeys(IOS_WORDS, APNS), **dict.fromkeys(ANDROID_WORDS, FCM)}
_KINDS: Final = {
    TokenKind.APNS: "a device token of APNs",
    TokenKind.FCM: "a registration token of FCM",
    TokenKind.FID: "a Firebase installation id",
}
_HEX: Final = re.compile(r"[0-9A-Fa-f]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Device:
    """`platform`: "apns" or "fcm". `token`: the bare token. `fid`: whether it is a Firebase installation id."""

    platform: str
    token: str
    fid: bool = False


def token_of(row: Mapping[str, object]) -> object:
    """The token of a row with keys, in the column `token`; the row itself if it is what getDevicePushTokenAsync returned."""
    token = row.get("token")
    return row if token is None and "data" in row else token


def find_device(token: object, platform_value: object, only: str = "", keys: Iterable[str] = ()) -> Device:
    """The device of a row.

    Args:
        token: A text, or the object that getDevicePushTokenAsync returns, or its JSON. If it is missing, such an object is
            also accepted in the column `platform`.
        platform_value: The value of the column `platform`; None or empty: not set. If it is an object of
            getDevicePushTokenAsync, its `type` is used.
        only: The provider of a run with a single provider. A token of unknown shape is then sent to this provider, because
            Apple and Google do not specify the shape of tokens.
        keys: The keys of a row that need not have all columns, for a hint if the token has another key.

    Raises:
        BadRow: No push can be sent to this row.
    """
    expected = _platform(platform_value)
    if not token:
        token = _typed(platform_value)
    if not token:
        raise BadRow(f"the row has no token{meant_token(keys)}", platform=expected or only)
    if not isinstance(token, str | Mapping):
        raise BadRow(f"the token is not a text but {json_kind(token)}", platform=expected or only)
    recognised = recognise(token)
    if recognised.kind is TokenKind.EXPO:
        raise BadRow(recognised.reason, platform=expected or only)
    if recognised.kind is TokenKind.UNKNOWN:
        if isinstance(token, Mapping) or token.lstrip()[:1] == "{" or not recognised.token:
            raise BadRow(recognised.reason, platform=expected or only)
        return _of_unknown_shape(token, recognised.reason, expected or only)
    platform = recognised.platform or ""
    if expected == APNS and _HEX.fullmatch(recognised.token):
        platform = APNS  # an installation id can be hexadecimal, too, and Apple does not specify a length
    elif expected and expected != platform:
        hint = "; platform fcm sends through FCM, to iOS as well" if platform == FCM else ""
        raise BadRow(
            f"platform is {shown(platform_value)}, but this is {_KINDS[recognised.kind]}{hint}",
            platform=expected,
        )
    return Device(platform, recognised.token, fid=platform == FCM and recognised.kind is TokenKind.FID)


def text_of(token: object) -> str:
    """The text of an unusable token, for the results."""
    if isinstance(token, Mapping):
        token = token.get("data")
    return token if isinstance(token, str) else ""


def _typed(value: object) -> object:
    """The object of getDevicePushTokenAsync, if a row without a token has it in the column `platform`."""
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        with contextlib.suppress(orjson.JSONDecodeError):
            value = orjson.loads(value)
    return value if isinstance(value, Mapping) and "data" in value else None


def _platform(value: object) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        with contextlib.suppress(orjson.JSONDecodeError):
            value = orjson.loads(value)
    if isinstance(value, Mapping) and "type" in value:
        value = value["type"]
    name = value.strip().lower() if isinstance(value, str) else None
    if name == "":
        return ""
    if name not in _PLATFORMS:
        raise BadRow(f"platform: {shown(value)} is neither ios (or apns) nor android (or fcm)")
    return _PLATFORMS[name]


def _of_unknown_shape(token: str, reason: str, platform: str) -> Device:
    if platform == APNS:
        return Device(APNS, token)  # the client reports the error
    if platform == FCM:
        recognised = recognise({"type": "android", "data": token})
        if not recognised.usable:
            raise BadRow(recognised.reason, platform=FCM)
        return Device(FCM, recognised.token)
    raise BadRow(f"{reason}; expected a column platform with ios or android")
