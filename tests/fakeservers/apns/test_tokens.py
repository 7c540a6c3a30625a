"""Provider tokens: what Apple says of their signature, age and change, on an injected clock."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fakeservers import ApnsRegistry, FakeApns
from tests.fakeservers.client import Client, headers_for, provider_token

START = 1_700_000_000.0
Encoding: TypeAlias = Callable[[bytes], bytes]


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.mark.parametrize(
    ("header", "claims", "reason"),
    [
        ({}, {}, ""),
        ({"typ": "JWT"}, {}, ""),
        ({"alg": "HS256"}, {}, "InvalidProviderToken"),
        ({"alg": "none"}, {}, "InvalidProviderToken"),
        ({"kid": "OTHERKEY01"}, {}, "InvalidProviderToken"),
        ({"kid": None}, {}, "InvalidProviderToken"),
        ({}, {"iss": "OTHERTEAM1"}, "InvalidProviderToken"),
        ({}, {"iat": "soon"}, "InvalidProviderToken"),
        ({}, {"iat": None}, "InvalidProviderToken"),
        ({}, {"iat": 1e400}, "InvalidProviderToken"),
        ({}, {"iat": START + 59}, ""),
        ({}, {"iat": START + 61}, "InvalidProviderToken"),
        ({}, {"iat": START - 3600}, ""),
        ({}, {"iat": START - 3601}, "ExpiredProviderToken"),
        ({}, {"iat": str(int(START))}, ""),
    ],
)
async def test_claims(header: dict[str, Any], claims: dict[str, Any], reason: str) -> None:
    async with FakeApns(now=Clock()) as fake, await Client.connect(fake) as client:
        token = provider_token(fake, issued=START, header=header, claims=claims)
        reply = await client.push(headers_for(fake, token))
        assert (reply.status, reply.reason) == (403 if reason else 200, reason)
        assert len(fake.tokens_seen) == (
            reason in ("", "ExpiredProviderToken") or claims.get("iat") == START + 61
        )


def urlsafe(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def standard(raw: bytes) -> bytes:
    return base64.b64encode(raw).rstrip(b"=")


FORMS = [
    (der, encode)
    for der in (False, True)
    for encode in (urlsafe, standard, base64.urlsafe_b64encode, base64.b64encode)
]


@pytest.mark.parametrize(("der", "encode"), FORMS)
async def test_signatures_and_base64_in_the_forms_that_apple_takes(der: bool, encode: Encoding) -> None:
    # A claim whose base64 needs both characters that the alphabets differ in, and padding.
    odd = {"x": "\u00fb\u00ef\u00be>>>???"}
    async with FakeApns() as fake, await Client.connect(fake) as client:
        token = provider_token(fake, claims=odd, der=der, encode=encode)
        assert (await client.push(headers_for(fake, token))).status == 200
        # The same text is verified once, whatever its form; another signature is another text.
        known = fake._state.tokens.read(f"bearer {token}".encode())
        assert fake._state.tokens.read(f"bearer {token}".encode()) is known is not None
        stranger = ec.generate_private_key(ec.SECP256R1())
        foreign = provider_token(fake, key=stranger, der=der, encode=encode)
        assert (await client.push(headers_for(fake, foreign))).reason == "InvalidProviderToken"


@pytest.mark.parametrize("signature", ["", "MAA", "MEUCIQ", "=", "!!!!", "AAAA" * 40])
async def test_what_is_no_signature(signature: str) -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        token = provider_token(fake).rpartition(".")[0] + "." + signature
        assert (await client.push(headers_for(fake, token))).reason == "InvalidProviderToken"


async def test_a_foreign_signature_is_refused() -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        token = provider_token(fake, key=ec.generate_private_key(ec.SECP256R1()))
        assert (await client.push(headers_for(fake, token))).reason == "InvalidProviderToken"
        assert client.streams == 1


async def test_the_scheme_is_read_in_any_case() -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        reply = await client.push(headers_for(fake, authorization=f"Bearer {provider_token(fake)}"))
        assert reply.status == 200


async def test_a_token_in_use_expires() -> None:
    clock = Clock()
    async with FakeApns(now=clock, token_max_age=100) as fake, await Client.connect(fake) as client:
        headers = headers_for(fake, provider_token(fake, issued=START))
        assert (await client.push(headers)).status == 200
        clock.now += 100
        assert (await client.push(headers)).status == 200
        clock.now += 1
        assert (await client.push(headers)).reason == "ExpiredProviderToken"


async def test_a_connection_keeps_its_token_for_twenty_minutes() -> None:
    clock = Clock()
    async with FakeApns(now=clock) as fake, await Client.connect(fake) as client:
        old = headers_for(fake, provider_token(fake, issued=START))
        new = headers_for(fake, provider_token(fake, issued=START + 1))
        assert (await client.push(old)).status == 200
        clock.now += 1199
        reply = await client.push(new)
        assert (reply.status, reply.reason) == (429, "TooManyProviderTokenUpdates")
        assert (await client.push(old)).status == 200
        async with await Client.connect(fake) as second:
            assert (await second.push(new)).status == 200
        clock.now += 1
        assert (await client.push(new)).status == 200
        assert (await client.push(old)).reason == "TooManyProviderTokenUpdates"
        assert len(fake.tokens_seen) == 2


async def test_another_team_needs_another_connection() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    registry = ApnsRegistry()
    registry.add_key("SECONDKEY1", "SECONDTEAM", public_pem(key))
    registry.allow("SECONDTEAM", "com.example.app")
    async with FakeApns(registry=registry) as fake, await Client.connect(fake) as client:
        other = provider_token(fake, header={"kid": "SECONDKEY1"}, claims={"iss": "SECONDTEAM"}, key=key)
        assert (await client.push(headers_for(fake, provider_token(fake)))).status == 200
        assert (await client.push(headers_for(fake, other))).reason == "UnrelatedKeyIdInToken"
        async with await Client.connect(fake) as second:
            assert (await second.push(headers_for(fake, other))).status == 200


async def test_keys_of_one_topic_and_one_environment() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    registry = ApnsRegistry(environment="production")
    registry.add_key("TOPICKEY01", "FAKETEAM01", public_pem(key), topics=["com.example.watch"])
    registry.add_key("SANDBOXKEY", "FAKETEAM01", public_pem(key), environment="sandbox")
    async with FakeApns(registry=registry) as fake:
        topic_token = provider_token(fake, header={"kid": "TOPICKEY01"}, key=key)
        sandbox_token = provider_token(fake, header={"kid": "SANDBOXKEY"}, key=key)
        async with await Client.connect(fake) as client:
            assert (await client.push(headers_for(fake, topic_token))).reason == "TopicDisallowed"
            reply = await client.push(headers_for(fake, topic_token, apns_topic="com.example.watch"))
            assert reply.status == 200
            reply = await client.push(headers_for(fake, provider_token(fake)))
            assert reply.reason == "UnrelatedKeyIdInToken"
        async with await Client.connect(fake) as client:
            reply = await client.push(headers_for(fake, sandbox_token))
            assert reply.reason == "BadEnvironmentKeyInToken"


async def test_a_revoked_key_is_refused_at_once_and_a_late_topic_on_new_connections_only() -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        token = provider_token(fake)
        late = headers_for(fake, token, apns_topic="com.example.late")
        assert (await client.push(headers_for(fake, token))).status == 200
        fake.registry.allow(fake.team_id, "com.example.late")
        assert (await client.push(late)).reason == "TopicDisallowed"
        async with await Client.connect(fake) as second:
            assert (await second.push(late)).status == 200
        fake.registry.revoke_key(fake.key_id)
        assert (await client.push(headers_for(fake, token))).reason == "InvalidProviderToken"
