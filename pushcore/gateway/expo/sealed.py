"""Sealed tokens and receipts: the text itself contains, encrypted, what the gateway would otherwise keep in a database.

A sealed token looks like Expo's, and contains the app, the environment and the device's native token. A receipt id contains the time,
the app and the caller of an accepted push. Both are AES-SIV (RFC 5297): the same input gives the same text, because an app requests its
token at each start; a text with a changed bit is rejected.

A text is base64url of the key's id, three bytes, then the ciphertext. It is padded before encryption so that it needs no "=" and
no bit of its last character is unused: each text has one spelling. The receipts of a request have one sealed text, and behind it the
number of each in four hexadecimal digits.
"""

from __future__ import annotations

import binascii
import functools
import hashlib
import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from ...arguments import check
from ...audience.problems import BadInput, read_small
from ...errors import ConfigurationError
from ...models.tokens import TokenKind
from ..config import Environment, GatewayConfig, blamed_on

KEY_BYTES: Final = 64
"""Bytes of a key: two of AES-256."""
MAX_NATIVE: Final = 512
"""Characters of a native token that is sealed. One of FCM has 163 today, one of APNs 64."""
RECEIPT_LIFE: Final = 86_400.0
"""Seconds for which a receipt id is known, as at Expo."""

PREFIX, SUFFIX = "ExponentPushToken[", "]"
"""What is around a sealed token: Expo's SDK for Python takes no other form."""

_MAX_KEY_FILE: Final = 65_536
_KEY_ID: Final = 3
_DIGEST: Final = 8
_KINDS: Final = (TokenKind.APNS, TokenKind.FCM, TokenKind.FID)
_ENVIRONMENTS: Final[tuple[Environment, Environment]] = ("production", "sandbox")
_SANDBOX: Final = 0x04
_FORM_SHIFT: Final = 3
_RAW, _HEX, _BASE64 = range(3)
_FROM_URL_SAFE: Final = bytes.maketrans(b"-_+/=", b"+/!!!")  # "!" is no base64: one spelling for each text
_TO_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_LOWER_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+", re.ASCII)
_PACKABLE: Final = re.compile(r"[A-Za-z0-9_-]+(?::[A-Za-z0-9_-]+)?", re.ASCII)
_NUMBER: Final = 4
"""Characters behind a sealed receipt: which one of its request it is."""
_NUMBER_TEXT: Final = re.compile(r"[0-9a-f]{4}", re.ASCII)
_KEY_TEXT: Final = re.compile(r"[A-Za-z0-9_-]{86}", re.ASCII)

_a2b, _b2a = binascii.a2b_base64, binascii.b2a_base64


def new_key(randomness: Callable[[int], bytes]) -> str:
    """A key as text for a configuration; `randomness`: such as `os.urandom`."""
    return _encode(randomness(KEY_BYTES) + bytes(2)).decode()[:86]


def read_key(text: str, name: str = "a sealing key") -> bytes:
    """The key that `new_key` wrote.

    Raises:
        ConfigurationError: it is none; the text is not repeated.
    """
    if not isinstance(text, str) or not _KEY_TEXT.fullmatch(text):
        raise ConfigurationError(
            f"{name} must be {KEY_BYTES} random bytes in base64url, 86 characters; pushcore gateway --new-sealing-key makes it"
        )
    return _a2b(text.encode().translate(_FROM_URL_SAFE) + b"==")


@functools.lru_cache(maxsize=4096)
def digest(name: str) -> bytes:
    """A short digest of the name of an app or of a caller, for sealed texts."""
    return hashlib.sha256(name.encode()).digest()[:_DIGEST]


class Seal:
    """Encrypts with the first of its keys, and decrypts with any.

    Args:
        keys: `KEY_BYTES` bytes each, the newest first.

    Raises:
        ConfigurationError: there is none, one of another length, or one twice.
    """

    __slots__ = ("_ciphers", "_first", "_id")

    def __init__(self, keys: Sequence[bytes]) -> None:
        check(bool(keys), "keys", "one key at least", keys)
        self._ciphers: dict[bytes, AESSIV] = {}
        for key in keys:
            if not isinstance(key, bytes) or len(key) != KEY_BYTES:
                raise ConfigurationError(f"a sealing key must have {KEY_BYTES} bytes")
            key_id = hashlib.sha256(b"pushcore sealing key" + key).digest()[:_KEY_ID]
            if key_id in self._ciphers:
                raise ConfigurationError("the same sealing key is listed twice")
            self._ciphers[key_id] = AESSIV(key)
        self._id, self._first = next(iter(self._ciphers.items()))

    def seal(self, content: bytes) -> str:
        """The text; `content` must have 2 bytes more than a multiple of 3, so that base64 has no rest."""
        return _encode(self._id + self._first.encrypt(content, None)).decode()

    def open(self, text: str) -> bytes | None:
        """The content; None if it was not sealed with one of these keys."""
        try:
            data = _a2b(text.encode("ascii").translate(_FROM_URL_SAFE), strict_mode=True)
            return self._ciphers[data[:_KEY_ID]].decrypt(data[_KEY_ID:], None)
        except (KeyError, InvalidTag, ValueError):  # UnicodeEncodeError and binascii.Error are ValueErrors
            return None

    def __repr__(self) -> str:
        return f"<Seal of {len(self._ciphers)} keys>"


class AppDevice(NamedTuple):
    """The target of a push: an app and one of its devices.

    `app`: its id in the configuration. `kind`: APNS, FCM or FID. `token`: the native one; of APNs in lower case. `topic`: of APNs,
    "" for FCM. `environment`: of APNs; None where it is not known, and for FCM.
    """

    app: str
    kind: TokenKind
    token: str
    topic: str = ""
    environment: Environment | None = None


class SealedTokens:
    """Makes and reads sealed tokens.

    Args:
        seal: of the tokens' own keys.
        apps: each app's id in the configuration, with each of its topics, and with "" for FCM.

    Raises:
        ConfigurationError: two apps cannot be told apart.
    """

    __slots__ = ("_apps", "_seal")

    def __init__(self, seal: Seal, apps: Iterable[tuple[str, str]]) -> None:
        self._seal = seal
        self._apps: dict[bytes, tuple[str, str]] = {}
        for app, topic in apps:
            if self._apps.setdefault(_app_digest(app, topic), (app, topic)) != (app, topic):
                raise ConfigurationError(
                    f"the app {app} cannot be told from another app in sealed tokens; expected another id"
                )

    def seal(self, device: AppDevice) -> str:
        """The token for one device. It is the same for the same device until the first key changes.

        Raises:
            ValueError: the native token is empty, longer than `MAX_NATIVE`, or not ASCII.
        """
        token = device.token
        if not token or len(token) > MAX_NATIVE or not token.isascii():
            raise ValueError(f"a native token has 1 to {MAX_NATIVE} ASCII characters")
        form, colon, spare, body = _pack(token)
        flags = _KINDS.index(device.kind) | form << _FORM_SHIFT
        if device.environment == "sandbox":
            flags |= _SANDBOX
        # With its three bytes, the content has 2 more than a multiple of 3.
        padding = -(10 + _DIGEST + len(body)) % 3
        head = bytes((flags, spare << 2 | padding, colon))
        return f"{PREFIX}{self._seal.seal(head + _app_digest(device.app, device.topic) + body + bytes(padding))}{SUFFIX}"

    def open(self, token: str) -> AppDevice | None:
        """The device of a sealed token; None if this gateway did not seal it, or no longer has its app or topic."""
        if token[:18] != PREFIX or token[-1:] != SUFFIX:
            return None
        content = self._seal.open(token[18:-1])
        if content is None:
            return None
        app = self._apps.get(content[3:11])
        if app is None:
            return None
        flags, lengths, colon = content[:3]
        padding = lengths & 3
        body = content[11:-padding] if padding else content[11:]
        form = flags >> _FORM_SHIFT
        if form == _BASE64:
            text = _encode(body).decode()
            spare = lengths >> 2
            if spare:
                text = text[:-spare]
            native = f"{text[:colon]}:{text[colon:]}" if colon else text
        else:
            native = body.hex() if form == _HEX else body.decode("ascii")
        kind = _KINDS[flags & 3]
        environment = _ENVIRONMENTS[(flags & _SANDBOX) >> 2] if kind is TokenKind.APNS else None
        return new_device((app[0], kind, native, app[1], environment))


new_device: Final[Callable[[tuple[str, TokenKind, str, str, Environment | None]], AppDevice]] = (
    functools.partial(tuple.__new__, AppDevice)
)
"""An `AppDevice` of all its fields, in half the time."""


def _app_digest(app: str, topic: str) -> bytes:
    return digest(f"{app}\n{topic}")


def _pack(token: str) -> tuple[int, int, int, bytes]:
    """A native token in few bytes: its form, where its colon is (0: it has none), characters that fill up the base64, bytes."""
    if _LOWER_HEX.fullmatch(token):
        return _HEX, 0, 0, bytes.fromhex(token)
    colon = max(token.find(":"), 0)
    if colon < 256 and _PACKABLE.fullmatch(token):
        letters = token.replace(":", "")
        spare = -len(letters) % 4
        filled = (letters + "A" * spare).encode().translate(_FROM_URL_SAFE)
        return _BASE64, colon, spare, _a2b(filled)
    return _RAW, 0, 0, token.encode("ascii")


class Receipts:
    """Makes receipt ids for accepted pushes, and recognises them.

    Args:
        seal: of the receipts' own keys.
    """

    __slots__ = ("_seal",)

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def new(
        self, count: int, app: str, caller: str, now: float, randomness: Callable[[int], bytes]
    ) -> list[str]:
        """Different ids for the pushes of one request.

        Args:
            count: how many, at most 65 536.
            app: whose pushes they are.
            caller: who may ask for them.
            now: UNIX seconds.
            randomness: such as `os.urandom`; it makes the ids of two requests differ.
        """
        if not count:
            return []
        # One encryption for all: it holds how many there are, so that a number which was not given is refused.
        common = int(now).to_bytes(5, "big") + digest(app) + digest(caller) + randomness(6)
        sealed = self._seal.seal(common + (count - 1).to_bytes(2, "big"))
        return [f"{sealed}{number:04x}" for number in range(count)]

    def made(self, receipt: str) -> bool:
        """Whether this gateway made the id, for any caller and at any time."""
        return self._open(receipt) is not None

    def ok(self, receipt: str, caller: str, apps: Collection[str], now: float) -> bool:
        """Whether this is the id of this caller's push to one of these apps, accepted less than 24 hours ago."""
        content = self._open(receipt)
        if content is None:
            return False
        age = now - int.from_bytes(content[:5], "big")
        return (
            math.floor(age) <= RECEIPT_LIFE
            and content[13:21] == digest(caller)
            and content[5:13] in map(digest, apps)
        )

    def _open(self, receipt: str) -> bytes | None:
        sealed, number = receipt[:-_NUMBER], receipt[-_NUMBER:]
        content = self._seal.open(sealed)
        if content is None or len(content) != 5 + 2 * _DIGEST + 8 or not _NUMBER_TEXT.fullmatch(number):
            return None
        return content if int(number, 16) <= int.from_bytes(content[-2:], "big") else None


class Sealing:
    """The keys for sealing of a configuration.

    `tokens`: None without keys for them. `receipts`: without keys for them this process makes a key, so other instances do not know
    its receipts, and they are lost at a restart.
    """

    __slots__ = ("_own", "receipts", "tokens")

    def __init__(self, tokens: SealedTokens | None, receipts: Seal, own: bool) -> None:
        self.tokens = tokens
        self.receipts = Receipts(receipts)
        self._own = receipts if own else None

    @classmethod
    def of(cls, config: GatewayConfig, before: Sealing | None = None) -> Self:
        """Reads the keys.

        Args:
            config: the configuration.
            before: the keys that it replaces.

        Raises:
            BadInput, ConfigurationError: a file cannot be read, has something else than keys, or one that the other has, too.
        """
        section, again = config.sealing, before is not None
        with blamed_on(config.at("sealing", "token-keys")):
            token_keys = read_keys(section.token_keys, again) if section.token_keys is not None else []
            tokens = SealedTokens(Seal(token_keys), _apps_of(config)) if token_keys else None
        place = config.at("sealing", "receipt-keys")
        with blamed_on(place):
            receipt_keys = read_keys(section.receipt_keys, again) if section.receipt_keys is not None else []
            receipts = Seal(receipt_keys) if receipt_keys else None
        if set(token_keys) & set(receipt_keys):
            raise BadInput(
                f"{place}: {section.receipt_keys} and {section.token_keys} contain the same key; expected different keys"
            )
        if receipts is not None:
            return cls(tokens, receipts, False)
        own = before._own if before is not None else None
        return cls(tokens, own or Seal([os.urandom(KEY_BYTES)]), True)


def read_keys(path: str, again: bool = False) -> list[bytes]:
    """The keys in a file: one in a line, the newest first. Raises `BadInput` or `ConfigurationError`.

    `again`: whether the gateway serves already; then it must not be a pipe, because requests would wait for it.
    """
    content = read_small(path, "a file of sealing keys", _MAX_KEY_FILE, regular=again)
    lines = content.decode("ascii", "replace").splitlines()
    keys = [
        read_key(line.strip(), f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()
    ]
    if not keys:
        raise BadInput(
            f"{path} is empty; expected a sealing key (pushcore gateway --new-sealing-key makes one)"
        )
    return keys


def _apps_of(config: GatewayConfig) -> Iterator[tuple[str, str]]:
    for app in config.app:
        for apns in app.apns:
            for topic in apns.topics:
                yield app.id, topic
        if app.fcm is not None:
            yield app.id, ""


def _encode(data: bytes) -> bytes:
    return _b2a(data, newline=False).translate(_TO_URL_SAFE)
