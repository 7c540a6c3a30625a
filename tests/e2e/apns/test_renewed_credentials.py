"""Keys, certificates and accounts that are replaced while a client sends: nothing is lost, repeated or rejected."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fakeservers import ApnsRegistry, Certificates, FakeApns, FakeFcm, FakeServiceAccount
from pushcore import ApnsCertificate, ApnsKey, Metrics, PushEngine, ServiceAccount, Verdict
from pushcore.errors import ConfigurationError
from tests.e2e.fcm_support import fcm_of, message
from tests.e2e.fcm_support import using as fcm_using
from tests.e2e.support import ENGINES, client_of, push, send_all, soon, using, verdicts

pytestmark = [pytest.mark.usefixtures("clean"), pytest.mark.parametrize("http2", ENGINES)]

TEAM = "FAKETEAM01"
APP = "com.example.app"
DEVICES = int(os.environ.get("PUSHCORE_RENEWALS_DEVICES", "6000"))
"""Pushes of the test under load; the figure of the documents is for 200 000."""


def new_key(registry: ApnsRegistry, key_id: str, **scope: Any) -> ApnsKey:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    registry.add_key(key_id, TEAM, pem, **scope)
    return ApnsKey.from_pem(pem, key_id=key_id, team_id=TEAM, **scope)


async def test_ten_keys_under_load(http2: str, certs: Certificates) -> None:
    registry = ApnsRegistry()
    keys = [new_key(registry, f"RENEWED{number:03}") for number in range(11)]
    devices = DEVICES if http2 == "fast" else 1500
    async with FakeApns(certs=certs, registry=registry, keep=devices + 100, delay=0.005) as fake:
        client = client_of(fake, http2=http2, auth=keys[0], max_connections=8)

        results = []
        async with PushEngine(client, window=devices // 15) as engine:
            async for result in engine.send_many(push(number) for number in range(devices)):
                results.append(result)
                renewals, rest = divmod(len(results), devices // 11)
                if not rest and renewals <= 10:
                    client.use(keys[renewals])
        assert verdicts(results) == {Verdict.ACCEPTED: devices}
        assert fake.counts == {(200, ""): devices}  # no 403, and none twice
        assert {request.token for request in fake.received} == {push(n).token for n in range(devices)}
        used = Counter(request.headers["authorization"] for request in fake.received)
        assert len(used) == 11
        by_connection = {(request.connection, request.headers["authorization"]) for request in fake.received}
        assert len(by_connection) == len({connection for connection, _ in by_connection})


async def test_a_rejection_of_the_old_key_is_no_result(http2: str, certs: Certificates) -> None:
    """The old key is revoked, with requests in flight, at the moment in which the new one is given."""
    registry = ApnsRegistry()
    first, second = new_key(registry, "RENEWED001"), new_key(registry, "RENEWED002")
    async with FakeApns(certs=certs, registry=registry) as fake:
        async with using(client_of(fake, http2=http2, auth=first)) as client:
            assert (await client.send(push())).ok
            sending = [asyncio.create_task(client.send(push(number))) for number in range(200)]
            await asyncio.sleep(0)  # they are submitted
            registry.revoke_key("RENEWED001")
            while not any(link.connection.streams for link in client._dispatcher.pool.links):
                await asyncio.sleep(0)
            client.use(second)
            assert verdicts(await asyncio.gather(*sending)) == {Verdict.ACCEPTED: 200}
        assert fake.counts[200, ""] == 201


async def test_another_certificate(http2: str, certs: Certificates, tmp_path: Path) -> None:
    old, new = (certs.client_certificate(APP) for _ in range(2))
    loaded = []
    for number, certificate in enumerate((old, new)):
        (tmp_path / f"{number}.pem").write_bytes(certificate.pem())
        loaded.append(ApnsCertificate.from_file(tmp_path / f"{number}.pem"))
    metrics = Metrics()
    async with (
        FakeApns(certs=certs) as fake,
        using(client_of(fake, http2=http2, auth=loaded[0])) as client,
    ):
        client.watch(metrics)
        sending = [asyncio.create_task(client.send(push(number))) for number in range(300)]
        while not fake.accepted:
            await asyncio.sleep(0.001)
        client.use(loaded[1])
        assert verdicts(await asyncio.gather(*sending)) == {Verdict.ACCEPTED: 300}
        assert verdicts(await send_all(client, [push(1)])) == {Verdict.ACCEPTED: 1}
        assert fake.counts == {(200, ""): 301}
        assert fake.accepted >= 2
        [[provider, credential, expires]] = metrics.snapshot()["expiries"]
        assert (provider, credential, expires) == ("apns", "certificate", loaded[1].expires.timestamp())


async def test_a_key_and_a_certificate_take_turns_under_load(
    http2: str, certs: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pushcore.apns")
    (tmp_path / "certificate.pem").write_bytes(certs.client_certificate(APP).pem())
    certificate = ApnsCertificate.from_file(tmp_path / "certificate.pem")
    registry = ApnsRegistry()
    first, second = new_key(registry, "RENEWED001"), new_key(registry, "RENEWED002")
    auths: list[ApnsKey | ApnsCertificate] = [first, certificate, second, certificate]
    devices = 1000
    async with FakeApns(certs=certs, registry=registry, keep=2 * devices, delay=0.005) as fake:
        client = client_of(fake, http2=http2, auth=auths[0], max_connections=4)
        results = []
        async with PushEngine(client, window=100) as engine:
            async for result in engine.send_many(push(number) for number in range(devices)):
                results.append(result)
                renewals, rest = divmod(len(results), 250)
                if not rest and renewals < 4:
                    client.use(auths[renewals])
                    assert list(client.expiries) == (["certificate"] if renewals % 2 else [])
        assert verdicts(results) == {Verdict.ACCEPTED: devices}
        assert fake.counts == {(200, ""): devices}
        used = Counter(request.headers.get("authorization", "certificate") for request in fake.received)
        assert len(used) == 3
        assert used["certificate"] > 200
        by_connection = {
            (request.connection, "authorization" in request.headers) for request in fake.received
        }
        assert len(by_connection) == len({connection for connection, _ in by_connection})
    told = [record.getMessage() for record in caplog.records if "replaced" in record.getMessage()]
    key, other = "the key was replaced by a certificate", "the certificate was replaced by a key"
    assert told == [key, other, key]


async def test_a_key_for_a_client_without_a_topic_is_refused(
    http2: str, certs: Certificates, tmp_path: Path
) -> None:
    """A push that waits may have no topic: its certificate implied it."""
    (tmp_path / "certificate.pem").write_bytes(certs.client_certificate(APP).pem())
    certificate = ApnsCertificate.from_file(tmp_path / "certificate.pem")
    registry = ApnsRegistry()
    async with (
        FakeApns(certs=certs, registry=registry) as fake,
        using(client_of(fake, http2=http2, auth=certificate, topic=None)) as client,
    ):
        with pytest.raises(ConfigurationError, match="needs a topic, and the client was made without"):
            client.use(new_key(registry, "RENEWED001"))
        assert (await client.send(push())).ok


async def test_a_certificate_in_a_keys_place_sends_no_location_pushes(
    http2: str, certs: Certificates, tmp_path: Path
) -> None:
    (tmp_path / "certificate.pem").write_bytes(certs.client_certificate(APP).pem())
    async with FakeApns(certs=certs) as fake, using(client_of(fake, http2=http2)) as client:
        location = push(1, {}, push_type="location")
        assert (await client.send(location)).ok
        client.use(ApnsCertificate.from_file(tmp_path / "certificate.pem"))
        result = await client.send(location)
        assert (result.verdict, result.attempts) == (Verdict.INVALID, 0)
        assert result.detail == "location needs a key; a certificate cannot send it"


async def test_unusable_credentials_change_nothing(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, using(client_of(fake, http2=http2)) as client:
        with pytest.raises(ConfigurationError, match="auth must be an ApnsKey"):
            client.use(object())  # type: ignore[arg-type]
        assert (await client.send(push())).ok
        token = client.expiries["provider_token"]
        assert 0 < token - time.time() <= 3600
        scoped = new_key(ApnsRegistry(), "RENEWED003", environment="sandbox")
        with pytest.raises(ConfigurationError, match="the key is for sandbox, and the environment is prod"):
            client_of(fake, url=None).use(scoped)


async def test_another_service_account(http2: str, certs: Certificates, tmp_path: Path) -> None:
    async with FakeFcm(certs=certs) as fake, fcm_using(fcm_of(fake, http2=http2)) as client:
        assert (await client.send(message(0))).ok
        fake.oauth.account = FakeServiceAccount.create(fake.project_id, name="second")  # the first is gone
        fake.oauth.account.write(tmp_path / "second.json", fake.oauth.token_uri)
        client.use(ServiceAccount.from_file(tmp_path / "second.json"))
        sending = [asyncio.create_task(client.send(message(number))) for number in range(200)]
        assert verdicts(await asyncio.gather(*sending)) == {Verdict.ACCEPTED: 200}
        await soon(lambda: client._dispatcher._tokens.minted == 2)
        assert (await client.send(message(1))).ok
        assert {status for status, _ in fake.counts} == {200}
        assert 0 < client.expiries["access_token"] - time.time() <= 3600
