"""An `ApnsClient`'s credentials in virtual time: certificates that end, and keys and certificates that replace each other."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from pushcore.errors import ConfigurationError
from pushcore.http2.connection import Connection
from pushcore.http2.exchange import request
from pushcore.http2.streams import Limits
from pushcore.http2.tls import ApnsCertificate
from pushcore.results import Result, Verdict
from tests.support.http2 import TEMPLATE
from tests.support.key_material import materials
from tests.support.virtual import run
from tests.unit.apns.clients import Server, client_of, key, push, refused


def certificate() -> ApnsCertificate:
    """For a day yet."""
    return ApnsCertificate.from_file(materials()["certificate with key"])


def test_a_certificate_that_ends_soon_is_warned_of_every_day_until_the_client_is_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    day = 60.0  # a real one is a hundred thousand turns of the pool's timer
    monkeypatch.setattr("pushcore.apns.dispatcher.DAY", day)
    server = Server(monkeypatch, lambda n: (200, {}, b""))

    def warnings() -> int:
        return sum("Apple Push Services: com.example.app" in text for text in caplog.messages)

    async def send() -> None:
        async with client_of(certificate()) as client:
            assert client.expiries["certificate"] == certificate().expires.timestamp()
            assert (await client.send(push())).ok
            assert warnings() == 1
            await asyncio.sleep(2 * day + 1)
            assert warnings() == 3
            client.use(certificate())
            assert warnings() == 4
            await asyncio.sleep(day + 1)
            assert warnings() == 5
        await asyncio.sleep(2 * day)
        assert warnings() == 5

    run(send())
    assert "authorization" not in server.requests[0]


def test_what_a_certificates_client_is_refused_is_not_about_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, lambda n: refused(403, "ExpiredProviderToken"))

    async def send() -> Result:
        async with client_of(certificate()) as client:
            return await client.send(push())

    result = run(send())
    assert (result.verdict, result.attempts, len(server.requests)) == (Verdict.MISCONFIGURED, 1, 1)


def test_a_push_that_was_refused_for_the_key_before_is_sent_again_with_the_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its response comes after the key was replaced, so it says nothing about the new one."""
    server = Server(monkeypatch, lambda n: refused(403, "InvalidProviderToken") if n == 2 else (200, {}, b""))

    async def send() -> Result:
        async with client_of() as client:
            await client.send(push())
            sending = asyncio.create_task(client.send(push()))
            while len(server.requests) < 2:
                await asyncio.sleep(0.001)
            client.use(key())
            return await sending

    result = run(send())
    assert (result.ok, result.attempts, len(server.requests)) == (True, 2, 3)


def test_no_push_is_sent_again_once_the_client_is_closed() -> None:
    client = client_of()
    exchange = request(TEMPLATE, b"/", b"", (), lambda _: None)
    exchange.connection = Connection(Limits(1.0), 0.0)
    exchange.connection.drain()
    exchange.status, exchange.data = 403, orjson.dumps({"reason": "UnrelatedKeyIdInToken"})
    assert not client._dispatcher.resend(exchange, None)


async def test_only_a_broadcast_is_broadcast() -> None:
    with pytest.raises(TypeError, match="a broadcast is a Broadcast, not Notification"):
        await client_of().broadcast(push())  # type: ignore[type-var]


def test_a_certificate_and_a_key_may_take_each_others_place(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, lambda n: (200, {}, b""))

    async def send() -> None:
        async with client_of() as client:
            for auth in (key(), certificate(), key(), certificate()):
                client.use(auth)
                assert (await client.send(push())).ok
                assert ("certificate" in client.expiries) is isinstance(auth, ApnsCertificate)

    run(send())
    assert ["authorization" in fields for fields in server.requests] == [True, False, True, False]


def test_a_key_needs_a_topic_that_a_certificate_implied() -> None:
    client = client_of(certificate(), topic=None)
    with pytest.raises(ConfigurationError, match="it needs a topic, and the client was made without one"):
        client.use(key())
    client.use(certificate())
