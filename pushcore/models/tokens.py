"""The kinds of tokens: APNs', FCM's registration token, a Firebase installation id, or Expo's.

Shapes: APNs, "Registering your app with APNs" (bytes, sent as hexadecimal, of no fixed length); FCM, as they are
seen; FID, `generateFid` of firebase-js-sdk; Expo, `isExpoPushToken` of expo-server-sdk-node.
"""

from __future__ import annotations

import enum
import re
from binascii import unhexlify
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from .. import arguments
from ..arguments import json_kind
from .token_forms import (
    PREFIX,
    is_base64,
    mistaken_device_token,
    mistaken_form,
    mistaken_registration,
    surroundings,
)

MAX_TOKEN: Final = 4096
"""Characters of a token, at most. No provider documents tokens of this length."""
APNS_LENGTH: Final = 64
"""Characters of an APNs token today. Shorter ones are recognised only with a type."""

EXPO_ADVICE: Final = (
    "this is a token of Expo's push service, to which only Expo can send: "
    "the device must register with getDevicePushTokenAsync"
)

IN_BASE64: Final = "seems to be base64: APNs needs hexadecimal digits"

IOS_WORDS: Final = ("ios", "apns")
"""The names of APNs' platform: Expo's of today, and that of its older versions."""
ANDROID_WORDS: Final = ("android", "fcm")
"""The names of FCM's platform."""

_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+", re.ASCII)
_FID: Final = re.compile(r"[cdef][A-Za-z0-9_-]{21}", re.ASCII)
REGISTRATION: Final = re.compile(
    rf"(?:[A-Za-z0-9_-]{{22}}:|(?!{PREFIX})[A-Za-z0-9_-]{{1,64}}:)"  # an installation id, which today's have, or another
    r"(?:APA91b[A-Za-z0-9_-]+|[A-Za-z0-9_-]{64,})"
    r"|APA91b[A-Za-z0-9_-]{64,}",  # the oldest ones, without
    re.ASCII,
)
"""A registration token, which has the shape of no other token."""
_EXPO: Final = re.compile(r"Expo(?:nent)?PushToken\[[^\]]*\]", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_BASE64_ONLY: Final = frozenset("=+/")


class TokenKind(enum.Enum):
    """The service that has issued a token."""

    APNS = "apns"
    """A device token: `Notification.token`."""
    FCM = "fcm"
    """A registration token: `Message.token`."""
    FID = "fid"
    """A Firebase installation id: `Message.fid`."""
    EXPO = "expo"
    """Expo's: only Expo's service can send to it."""
    UNKNOWN = "unknown"
    """None of these forms, or not a token."""


@dataclass(frozen=True, slots=True)
class DeviceToken:
    """A recognised token.

    Attributes:
        kind: the service that has issued it.
        token: the text without the white space around it; empty if the source has no text.
        reason: why it cannot be used, as a sentence; empty for APNs, FCM and FID.
    """

    kind: TokenKind
    token: str
    reason: str = ""

    @property
    def usable(self) -> bool:
        """Whether a push can be sent to it without Expo's service."""
        return self.kind in (TokenKind.APNS, TokenKind.FCM, TokenKind.FID)

    @property
    def platform(self) -> str | None:
        """ "apns" or "fcm", the client that sends to it; None for the others."""
        if self.kind is TokenKind.APNS:
            return "apns"
        return "fcm" if self.usable else None


def recognise(source: object) -> DeviceToken:
    """Recognise a token: a string, or what `getDevicePushTokenAsync` returns, {"type": "ios", "data": "…"}.

    The object may also be its JSON text. The type ("ios" or "apns", "android" or "fcm") decides, unless the token has the form
    of the other provider. Never raises: anything else is UNKNOWN, and the reason says why.
    """
    kind: object = None
    kind_of = arguments.kind
    if isinstance(source, str) and source.lstrip()[:1] == "{":
        if len(source) > 2 * MAX_TOKEN:
            return _unknown("", f"the token is longer than {MAX_TOKEN} characters")
        text = source
        try:
            source = orjson.loads(text)
        except orjson.JSONDecodeError:
            return _unknown("", f"the token {mistaken_form(text)}")
    if isinstance(source, Mapping):
        if "data" not in source:
            return _unknown("", 'the object has no "data": getDevicePushTokenAsync returns {"type", "data"}')
        kind, source = source.get("type"), source["data"]
        kind_of = json_kind
        if isinstance(source, Mapping):
            return _unknown("", "this is a Web Push subscription: neither APNs nor FCM can send to it")
    if not isinstance(source, str):
        return _unknown("", f"a token is text, not {kind_of(source)}")
    if len(source) > MAX_TOKEN:
        return _unknown("", f"the token is longer than {MAX_TOKEN} characters")
    token = source.strip()
    if not token:
        return _unknown("", "the token is empty")
    device = _by_shape(token)
    if kind is None or device.kind is TokenKind.EXPO:
        return device
    return _with_type(token, kind, device)


def _by_shape(token: str) -> DeviceToken:
    # The usual tokens first: none of these shapes can be another's.
    if len(token) >= APNS_LENGTH:
        try:
            unhexlify(token)  # four times faster than a regular expression
            return DeviceToken(TokenKind.APNS, token)
        except ValueError:
            if REGISTRATION.fullmatch(token):
                return DeviceToken(TokenKind.FCM, token)
    if _EXPO.fullmatch(token) or _UUID.fullmatch(token):
        return DeviceToken(TokenKind.EXPO, token, EXPO_ADVICE)
    if _FID.fullmatch(token):
        return DeviceToken(TokenKind.FID, token)
    if REGISTRATION.fullmatch(token):
        return DeviceToken(TokenKind.FCM, token)
    form = mistaken_form(token) or surroundings(token) or (IN_BASE64 if _is_apns_in_base64(token) else "")
    if form:
        return _unknown(token, f"the token {form}")
    return _unknown(token, "it has neither the form of an APNs token nor of an FCM token")


def _is_apns_in_base64(token: str) -> bool:
    # Firebase's tokens do not have these characters; any text of the others may be a token.
    return not _BASE64_ONLY.isdisjoint(token) and is_base64(token)


def unlike_fcm(token: str) -> str:
    """Why a text cannot be a registration token or installation id, as the rest of a sentence; empty if it may be one.

    Google documents no form, so a text of an unknown form may be a token.
    """
    device = _by_shape(token)
    if device.kind is TokenKind.APNS:
        return "is a device token of APNs, to which FCM cannot send"
    if device.kind is TokenKind.UNKNOWN:
        base64 = _is_apns_in_base64(token) and not mistaken_form(token)
        return IN_BASE64 if base64 else mistaken_registration(token)
    return ""


def unlike_apns(token: str) -> str:
    """What a text that is not hexadecimal is, as the rest of a sentence."""
    stripped = token.strip()
    kind = _by_shape(stripped).kind
    if kind is TokenKind.EXPO:
        return f"is Expo's own. {EXPO_ADVICE}"
    if kind is TokenKind.FCM:
        return "is a registration token of FCM: send it as a Message"
    if kind is TokenKind.FID:
        return "is a Firebase installation id: send it as a Message"
    return mistaken_form(token) or mistaken_device_token(token) or IN_BASE64


def _with_type(token: str, kind: object, by_shape: DeviceToken) -> DeviceToken:
    word = kind.strip().lower() if isinstance(kind, str) else ""
    if word in IOS_WORDS:
        if _HEX.fullmatch(token):
            return DeviceToken(TokenKind.APNS, token)
        form = unlike_apns(token)
        but = f"the token {form}" if form else "an APNs token is hexadecimal"
        return _unknown(token, f'its type is "{word}", but {but}')
    if word in ANDROID_WORDS:
        if by_shape.kind is TokenKind.APNS:
            return _unknown(token, f'its type is "{word}", but it is hexadecimal like an APNs token')
        if by_shape.kind is TokenKind.UNKNOWN:
            form = unlike_fcm(token)
            # Google documents no form.
            return _unknown(token, f"the token {form}") if form else DeviceToken(TokenKind.FCM, token)
        return by_shape
    return _unknown(token, f'its type is neither "ios" nor "android" but {str(kind)[:40]!r}')


def _unknown(token: str, reason: str) -> DeviceToken:
    return DeviceToken(TokenKind.UNKNOWN, token, reason)
