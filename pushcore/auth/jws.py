"""Signed JSON in its compact form (RFC 7515): Apple's provider tokens and Google's assertions.

`compact` makes a token; a `Signer` signs it, one function per algorithm (`es256`, `rs256`).
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

Signer = Callable[[bytes], bytes]
"""Takes the bytes to sign and returns the signature in the form of JOSE."""

_HALF: Final = 32  # bytes of r and of s on P-256 (RFC 7518, section 3.4)

logger = logging.getLogger(__name__)


def base64url(data: bytes) -> bytes:
    """`data` in the URL-safe alphabet without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def compact(header: Mapping[str, Any], claims: Mapping[str, Any], sign: Signer) -> bytes:
    """The token `header.claims.signature` (RFC 7515, section 7.1).

    Both objects are encoded in the order of their keys and without spaces, so equal arguments and a deterministic
    signer give equal bytes in every process.
    """
    content = base64url(orjson.dumps(header)) + b"." + base64url(orjson.dumps(claims))
    return content + b"." + base64url(sign(content))


def es256(key: ec.EllipticCurvePrivateKey) -> Signer:
    """A signer for ES256 (RFC 7518, section 3.4): r and s, 64 bytes, from a key on P-256.

    Its signatures are deterministic (RFC 6979) with OpenSSL 3.2 or later. Otherwise they are random, so two processes have
    different tokens for the same claims; that is logged once.
    """
    algorithm = _es256_algorithm()

    def sign(content: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(content, algorithm))
        return r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")

    return sign


@cache
def _es256_algorithm() -> ec.ECDSA:
    try:
        return ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    except UnsupportedAlgorithm:
        logger.warning(
            "this OpenSSL cannot sign deterministically (RFC 6979): "
            "each process makes its own provider tokens, one per slot"
        )
        return ec.ECDSA(hashes.SHA256())


def rs256(key: rsa.RSAPrivateKey) -> Signer:
    """A signer for RS256 (RFC 7518, section 3.3): RSASSA-PKCS1-v1_5 with SHA-256. Its signatures are deterministic."""

    def sign(content: bytes) -> bytes:
        return key.sign(content, padding.PKCS1v15(), hashes.SHA256())

    return sign
