"""Provider tokens (JWT, ES256) as Apple checks them: form, key, issuer and signature, each token verified once."""

from __future__ import annotations

import math
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from fakeservers.apns.registry import ApnsRegistry, SigningKey

MAX_TOKENS = 1024
"""Verified tokens that are remembered; a sender uses one or two at a time."""

_ES256 = ec.ECDSA(hashes.SHA256())
_HALF = 32  # bytes of r and of s in a JOSE signature, RFC 7518, 3.4
_STANDARD = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token with a valid signature; the caller checks its age."""

    text: bytes
    key: SigningKey
    issued: float
    """`iat`, seconds."""


class ProviderTokens:
    """Reads `authorization` headers against the keys of a registry."""

    def __init__(self, registry: ApnsRegistry) -> None:
        self._registry = registry
        self._verified: dict[bytes, VerifiedToken] = {}
        self.seen: dict[str, float] = {}
        """The newest `MAX_TOKENS` tokens with a valid signature, and their `iat`."""

    def read(self, authorization: bytes) -> VerifiedToken | None:
        """The token of a header `bearer <jwt>` (the scheme in any case), or None when it is not valid.

        Raises:
            LookupError: the header holds no token at all.
        """
        scheme, _, text = authorization.strip().partition(b" ")
        text = text.strip()
        if not text:
            raise LookupError("no provider token")
        if scheme.lower() != b"bearer":
            return None
        token = self._verified.get(text)
        # New, or its key was replaced.
        if token is None or self._registry.key(token.key.key_id) is not token.key:
            self._verified.pop(text, None)
            token = self._verify(text)
            if token is not None:
                self._remember(token)
        return token

    def forget(self) -> None:
        """Forget all tokens: each is verified again."""
        self._verified.clear()
        self.seen.clear()

    def _remember(self, token: VerifiedToken) -> None:
        while len(self._verified) >= MAX_TOKENS:
            del self._verified[next(iter(self._verified))]
        while len(self.seen) >= MAX_TOKENS:
            del self.seen[next(iter(self.seen))]
        self._verified[token.text] = token
        self.seen[token.text.decode()] = token.issued

    def _verify(self, text: bytes) -> VerifiedToken | None:
        try:
            head, claims, signature = text.split(b".")
            header = _json(head)
            body = _json(claims)
            raw = _base64(signature)
            # Some clients send it as a number with a fraction or as a string, and Apple accepts both.
            issued = float(body["iat"])
        except (ValueError, KeyError, TypeError):
            return None
        key = self._registry.key(str(header.get("kid")))
        if header.get("alg") != "ES256" or key is None or body.get("iss") != key.team_id:
            return None
        if not math.isfinite(issued):
            return None
        if len(raw) == 2 * _HALF:
            r, s = int.from_bytes(raw[:_HALF], "big"), int.from_bytes(raw[_HALF:], "big")
            raw = encode_dss_signature(r, s)
        try:  # otherwise DER, which openssl and Java produce and Apple accepts
            key.public.verify(raw, head + b"." + claims, _ES256)
        except InvalidSignature:
            return None
        return VerifiedToken(text, key, issued)


def _base64(part: bytes) -> bytes:
    """Decode base64 of either alphabet, padded or not, as Apple does; a ValueError when it is none."""
    plain = part.rstrip(b"=").translate(_STANDARD)
    return b64decode(plain + b"=" * (-len(plain) % 4), validate=True)


def _json(part: bytes) -> dict[str, Any]:
    value = orjson.loads(_base64(part))
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value
