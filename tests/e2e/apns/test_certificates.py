"""Certificate authentication against the strict fake, with each kind of file that a certificate may come in."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from fakeservers import ApnsRegistry, Certificates, ClientCertificate, FakeApns
from pushcore import ApnsCertificate, Verdict
from pushcore.errors import CertificateError, TransportError
from tests.e2e.support import ENGINES, client_of, push, raw_client, send_all, using, verdicts

pytestmark = [pytest.mark.usefixtures("clean"), pytest.mark.parametrize("http2", ENGINES)]

APP = "com.example.app"
PASSPHRASE = "correct horse"


def _pem(certificate: ClientCertificate, place: Path) -> ApnsCertificate:
    place.write_bytes(certificate.pem())
    return ApnsCertificate.from_file(place)


def _pem_with_passphrase(certificate: ClientCertificate, place: Path) -> ApnsCertificate:
    key = certificate.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(PASSPHRASE.encode()),
    )
    place.write_bytes(key + certificate.certificate.public_bytes(serialization.Encoding.PEM))
    return ApnsCertificate.from_file(place, password=PASSPHRASE)


def _pem_in_two_files(certificate: ClientCertificate, place: Path) -> ApnsCertificate:
    place.write_bytes(certificate.certificate.public_bytes(serialization.Encoding.PEM))
    key = place.with_suffix(".key")
    key.write_bytes(certificate.pem())
    return ApnsCertificate.from_pem(place, key_file=key)


def _pkcs12(certificate: ClientCertificate, place: Path) -> ApnsCertificate:
    place.write_bytes(certificate.pkcs12(PASSPHRASE.encode()))
    return ApnsCertificate.from_file(place, password=PASSPHRASE)


def _pkcs12_without_passphrase(certificate: ClientCertificate, place: Path) -> ApnsCertificate:
    place.write_bytes(certificate.pkcs12())
    return ApnsCertificate.from_pkcs12(place)


FORMS: list[Callable[[ClientCertificate, Path], ApnsCertificate]] = [
    _pem,
    _pem_with_passphrase,
    _pem_in_two_files,
    _pkcs12,
    _pkcs12_without_passphrase,
]


@pytest.mark.parametrize("load", FORMS, ids=lambda load: load.__name__.strip("_"))
async def test_each_kind_of_file(
    load: Callable[[ClientCertificate, Path], ApnsCertificate],
    http2: str,
    certs: Certificates,
    tmp_path: Path,
) -> None:
    certificate = load(certs.client_certificate(APP), tmp_path / "certificate")
    async with FakeApns(certs=certs) as fake, using(client_of(fake, auth=certificate, http2=http2)) as client:
        results = await send_all(client, [push(number) for number in range(50)])
        assert verdicts(results) == {Verdict.ACCEPTED: 50}
        assert fake.accepted == 1
        assert all("authorization" not in request.headers for request in fake.received)
        assert not fake.tokens_seen
        assert (
            client._dispatcher.pool.links[0].connection.peer_limit == 1000
        )  # at once: no token has to come first


async def test_a_certificate_of_one_topic_implies_it(http2: str, certs: Certificates, tmp_path: Path) -> None:
    certificate = _pem(certs.client_certificate(APP), tmp_path / "certificate")
    async with (
        FakeApns(certs=certs) as fake,
        using(client_of(fake, auth=certificate, topic=None, http2=http2)) as client,
    ):
        assert (await client.send(push())).ok
        assert "apns-topic" not in fake.received[-1].headers


async def test_topics_of_a_certificate(http2: str, certs: Certificates, tmp_path: Path) -> None:
    universal = certs.client_certificate(APP, topics=[f"{APP}.voip", "com.example.other"])
    certificate = _pem(universal, tmp_path / "certificate")
    async with FakeApns(certs=certs) as fake, using(client_of(fake, auth=certificate, http2=http2)) as client:
        assert (await client.send(push(push_type="voip"))).ok
        assert (await client.send(push(topic="com.example.other"))).ok
        refused = await client.send(push(topic="com.example.third"))
        assert (refused.verdict, refused.reason) == (Verdict.MISCONFIGURED, "TopicDisallowed")
        # A certificate cannot send these: found before anything is sent.
        location = await client.send(push(push_type="location"))
        assert (location.verdict, location.attempts) == (Verdict.INVALID, 0)
        assert sum(fake.counts.values()) == 3


@pytest.mark.parametrize("environment", ["sandbox", "production"])
async def test_the_environment_of_a_certificate(
    environment: str, http2: str, certs: Certificates, tmp_path: Path
) -> None:
    certificate = _pem(certs.client_certificate(APP, environments=["sandbox"]), tmp_path / "certificate")
    async with (
        FakeApns(certs=certs, registry=ApnsRegistry(environment=environment)) as fake,
        using(client_of(fake, auth=certificate, http2=http2)) as client,
    ):
        result = await client.send(push())
        if environment == "sandbox":
            assert result.ok
        else:
            assert (result.verdict, result.status) == (Verdict.MISCONFIGURED, 403)
            assert result.reason == "BadCertificateEnvironment"


def _refuse(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Shake hands with whoever comes, until the listener is closed. OpenSSL sends the alert that asyncio does not."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.settimeout(5)
        tls = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with contextlib.suppress(OSError):
            tls.do_handshake()
        with socket.socket(fileno=tls.detach()) as plain, contextlib.suppress(OSError):
            plain.settimeout(5)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(65_536):
                pass


@pytest.mark.parametrize(
    "version",
    [
        pytest.param(ssl.TLSVersion.TLSv1_2, id="TLS 1.2"),
        pytest.param(ssl.TLSVersion.TLSv1_3, id="TLS 1.3"),
    ],
)
async def test_a_certificate_of_another_authority(
    version: ssl.TLSVersion, http2: str, certs: Certificates, tmp_path: Path
) -> None:
    """The server ends TLS with an alert. In TLS 1.3 the client's own handshake is over by then."""
    stranger = Certificates.create(tmp_path / "another")
    certificate = _pem(stranger.client_certificate(APP), tmp_path / "certificate")
    context = certs.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    context.maximum_version = version
    with socket.create_server(("127.0.0.1", 0)) as listener:
        refusing = asyncio.create_task(asyncio.to_thread(_refuse, listener, context))
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        async with using(raw_client(certs, url, auth=certificate, http2=http2, timeout=1.2)) as client:
            results = await send_all(client, [push(number) for number in range(5)])
            error = client._dispatcher.pool.last_error
        listener.shutdown(socket.SHUT_RDWR)
        await refusing
    assert verdicts(results) == {Verdict.UNSENT: 5}
    assert isinstance(error, CertificateError), repr(error)
    for result in results:
        assert isinstance(result.detail, CertificateError)


async def test_a_server_that_hangs_up_on_our_certificate(
    http2: str, certs: Certificates, tmp_path: Path
) -> None:
    """The same without an alert: nobody can know the reason, and the pushes end in time all the same."""
    stranger = Certificates.create(tmp_path / "another")
    certificate = _pem(stranger.client_certificate(APP), tmp_path / "certificate")
    async with (
        FakeApns(certs=certs) as fake,
        using(client_of(fake, auth=certificate, http2=http2, timeout=0.6)) as client,
    ):
        results = await send_all(client, [push(number) for number in range(5)])
        assert verdicts(results) == {Verdict.UNSENT: 5}
        assert all(isinstance(result.detail, TransportError) for result in results)
        assert fake.accepted == 0
