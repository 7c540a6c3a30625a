"""Compact JWS: form by RFC 7515, signature verified by `cryptography` and by what RFC 6979 fixes."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from pushcore.auth import jws

# The private key of RFC 6979, A.2.5 (P-256), and its signature of "sample" with SHA-256.
RFC6979_KEY = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
RFC6979_R = 0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716
RFC6979_S = 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8


@pytest.fixture
def key() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(RFC6979_KEY, ec.SECP256R1())


@pytest.fixture
def without_rfc6979(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An OpenSSL before 3.2."""
    genuine = ec.ECDSA

    def ecdsa(algorithm: Any, deterministic_signing: bool = False) -> ec.ECDSA:
        if deterministic_signing:
            raise UnsupportedAlgorithm("no RFC 6979")
        return genuine(algorithm)

    jws._es256_algorithm.cache_clear()
    monkeypatch.setattr(ec, "ECDSA", ecdsa)
    yield
    monkeypatch.undo()
    jws._es256_algorithm.cache_clear()


@given(st.binary())
def test_base64url_is_url_safe_unpadded_and_reversible(data: bytes) -> None:
    text = jws.base64url(data)
    assert not set(text) & set(b"=+/")
    assert base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4)) == data


def test_es256_signs_as_rfc_6979_says(key: ec.EllipticCurvePrivateKey) -> None:
    assert jws.es256(key)(b"sample") == RFC6979_R.to_bytes(32, "big") + RFC6979_S.to_bytes(32, "big")


def test_signatures_are_64_bytes_also_when_r_or_s_is_small(key: ec.EllipticCurvePrivateKey) -> None:
    sign = jws.es256(key)
    signatures = [sign(b"%d" % number) for number in range(600)]
    assert any(signature[0] == 0 or signature[32] == 0 for signature in signatures)
    assert {len(signature) for signature in signatures} == {64}


def test_a_token_has_three_parts_and_keeps_the_order_of_keys(key: ec.EllipticCurvePrivateKey) -> None:
    token = jws.compact({"alg": "ES256", "kid": "A"}, {"iss": "B", "iat": 1}, jws.es256(key))
    head, claims, signature = (base64.urlsafe_b64decode(part + b"==") for part in token.split(b"."))
    assert head == b'{"alg":"ES256","kid":"A"}'
    assert claims == orjson.dumps({"iss": "B", "iat": 1})
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    key.public_key().verify(der, token.rpartition(b".")[0], ec.ECDSA(hashes.SHA256()))


def test_any_other_signer_will_do() -> None:
    assert jws.compact({}, {}, lambda content: content) == b"e30.e30." + jws.base64url(b"e30.e30")


@pytest.mark.usefixtures("without_rfc6979")
def test_without_rfc_6979_signatures_are_random_and_that_is_logged_once(
    key: ec.EllipticCurvePrivateKey, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        first, second = jws.es256(key), jws.es256(key)
    assert first(b"sample") != second(b"sample")
    assert len(first(b"sample")) == 64
    assert [record.name for record in caplog.records] == ["pushcore.auth.jws"]


def test_rs256_is_pkcs1_with_sha256_and_deterministic() -> None:
    key = rsa.generate_private_key(65537, 2048)
    sign = jws.rs256(key)
    assert sign(b"content") == sign(b"content")
    key.public_key().verify(sign(b"content"), b"content", padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(InvalidSignature):
        key.public_key().verify(sign(b"content"), b"other", padding.PKCS1v15(), hashes.SHA256())
