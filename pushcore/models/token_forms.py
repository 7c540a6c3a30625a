"""What is given in the place of a device token by mistake: how a program describes it, or the token with something around it.

The forms are those of public bug reports: `NSData.description` before and since iOS 13, base64, tokens out of JSON, CSV and URLs.
"""

from __future__ import annotations

import base64
import re
import string
from typing import Final

APNS_BYTES: Final = 32
"""Bytes of an APNs token today."""

PREFIX: Final = (
    r"(?i:ios|apns|apple|iphone|ipad|android|fcm|gcm|firebase|google|expo|web|push|bearer|authorization|key"
    r"|(?:(?:device|registration|push|user|ios|android|apns|fcm|gcm|firebase)[_ -]?)?(?:token|f?id)|device|none|null|undefined)\s*[:=|]+"
)
"""What programs write in front of a token. The part of Google's tokens before the colon is random, and longer."""

_BEFORE_SEPARATORS: Final = (
    (
        r"\{\s*length\s*=\s*[0-9]+\s*,\s*bytes\s*=.*",
        "is the description of a token by iOS 13 or later, which is incomplete: the app must convert all bytes to hexadecimal",
    ),
    (r"<[0-9a-f\s]*>", "is the description of an NSData object: leave out the angle brackets and the spaces"),
    (r"b(['\"]).*\1", "is the text of Python's bytes: decode them"),
    (r"[\[{].*", "begins like JSON; expected the token alone"),
    (r"[\"'`\u2018\u201c\u00ab].*|.*[\"'`\u2019\u201d\u00bb]", "has a quotation mark around it"),
    (r"<.*>", "has angle brackets around it"),
    (r"[,;].*|.*[,;]", "has a comma or semicolon at an end"),
    (r".*(?:\.\.\.|\u2026).*", "is cut short"),
    (r"0x[0-9a-f]+", 'begins with "0x"'),
    (r"[a-z_ -]*token\s*[=:].+", "has the name of a field in front of it"),
    (
        r"(?:(?:proxy-)?authorization\s*[:=].*|(?:bearer|basic|key)[\s:=]+.+)",
        "begins like an Authorization header: leave that out",
    ),
    (rf"{PREFIX}.+", "has the name of a platform or a field in front of it: leave that out"),
    (r"/topics/.*", "is the name of a topic"),
    (r":[\w-]{64,}", "begins with a colon: the part before it is missing"),
    (r"[a-z][a-z0-9+.-]*://.*", "is a URL"),
    (r"[^%]*%[0-9a-f]{2}.*", "is percent-encoded, as in a URL"),
    (r"expo(?:nent)?pushtoken.*", "begins like a token of Expo's, and its brackets are missing"),
    (r"eyj[\w-]+\.[\w-]+\.[\w-]*", "is a JWT"),
    (
        r"[0-9]+(?:[.,][0-9]+)?e\+[0-9]+",
        "is a number in scientific notation: a spreadsheet has changed it, so import the column as text",
    ),
    (r"(?:[a-z]+[_ -]?)?tokens?", "is the name of a column, as in a second header row"),
    (
        r"\(?(?:null|none|nil|undefined|nan|true|false|blacklisted|#?n/?a|unknown|empty|missing|deleted|0|-+)\)?",
        "is a word that programs write instead of a missing token",
    ),
    (r"(?:[0-9a-f]{2,16}[\s:-]+){3,}[0-9a-f]{1,16}", "has separators between its hexadecimal digits"),
)
FCM_CHARACTERS: Final = (string.ascii_letters + string.digits + "_-:").encode()
"""What FCM's registration tokens are made of: base64url, and one colon. A text of these alone needs no further look."""

OTHER_CHARACTERS: Final = bytes(code if code in FCM_CHARACTERS else (code + 1) % 256 for code in range(256))
"""A table for `bytes.translate` that changes every byte that no token has; what it does not change is returned as it is."""

_FORMS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), form) for pattern, form in _BEFORE_SEPARATORS
)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{42,}={0,2}", re.ASCII)
_BAD_CHARACTER: Final = re.compile(r"[^!-~]|[\"'`<>{},;%\\]")
_NOT_FCM: Final = re.compile(r"[^A-Za-z0-9_:.~+/=-]|=(?!=*$)")
"""A character of neither base64 nor a URL's path, or padding before the end: Google's tokens have travelled in paths."""
_USUAL: Final = re.compile(rf"(?!{PREFIX})[\w-]{{11,64}}:[\w-]{{64,}}", re.ASCII)
_DEVICE_TOKEN: Final = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{64,}(?![0-9A-Fa-f])", re.ASCII)
_NO_DIGIT: Final = re.compile(r"[^0-9A-Fa-f]", re.ASCII)
_REGISTRATION: Final = re.compile(r"(?<![\w-])[\w-]{11,64}:APA91b[\w-]{64,}(?![\w-])", re.ASCII)


def mistaken_form(text: str) -> str:
    """What a text is that cannot be a token, as the rest of a sentence; empty when it may be one."""
    if not text:
        return "is empty"
    bad = _BAD_CHARACTER.search(text)
    stripped = text.strip()
    for pattern, form in _FORMS:
        if pattern.fullmatch(stripped):
            return form
    if bad is None:
        return ""
    if text != stripped:
        return "has white space around it" if stripped else "consists of white space"
    if any(map(str.isspace, text)):
        return "has white space in it"
    unprintable = next((character for character in text if not character.isprintable()), "")
    if unprintable:
        return (
            "has a control character in it" if unprintable.isascii() else "has an invisible character in it"
        )
    return "has a character in it that is not ASCII" if not text.isascii() else f"has {bad[0]!r} in it"


def mistaken_registration(text: str) -> str:
    """What a text is that can be no registration token of FCM, as the rest of a sentence; empty when it may be one.

    Google promises no shape: only what no token has, and a whole token with something around it, is told.
    """
    if _USUAL.fullmatch(text):  # its first part is random, and may end in "token"
        return ""
    form = mistaken_form(text)
    if form:
        return form
    around = _around(_REGISTRATION, text)
    if around:
        return around
    other = _NOT_FCM.search(text)
    return f"has {other[0]!r} in it" if other is not None else ""


def mistaken_device_token(text: str) -> str:
    """What a text is that is not hexadecimal and has none of the usual forms, as the rest of a sentence.

    Of one that may be base64, only a whole token with something around it is told.
    """
    around = _around(_DEVICE_TOKEN, text)
    if around:
        return around
    other = _NO_DIGIT.search(text)
    if other is None:
        return "has an odd number of hexadecimal digits: one is missing"
    return "" if is_base64(text) else f"has {other[0]!r} in it"


def surroundings(text: str) -> str:
    """What stands around a whole token of APNs or FCM in a text, as the rest of a sentence; empty without one."""
    return _around(_REGISTRATION, text) or _around(_DEVICE_TOKEN, text)


def _around(token: re.Pattern[str], text: str) -> str:
    """What stands around a whole token in a text, as the rest of a sentence; empty without one."""
    inside = token.search(text)
    if inside is None:
        return ""
    if token.search(text, inside.end()):
        return "is more than one token"
    if inside.start():
        return f"has {text[inside.start() - 1]!r} before it"
    return f"has {text[inside.end()]!r} after it" if inside.end() < len(text) else ""


def may_be_registration(text: str) -> bool:
    """Whether a text has the characters of a registration token, and nothing else. It costs little."""
    raw = text.encode()
    return raw.translate(OTHER_CHARACTERS) is raw and text.count(":") == 1


def is_base64(text: str) -> bool:
    """Whether it can be the bytes of an APNs token, today's or a longer one, in base64."""
    if not _BASE64.fullmatch(text):
        return False
    digits = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return len(base64.b64decode(digits + "=" * (-len(digits) % 4))) >= APNS_BYTES
    except ValueError:
        return False
