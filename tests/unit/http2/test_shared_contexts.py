"""Contexts that clients share, and those that they do not."""

from __future__ import annotations

import gc
import os
import ssl
import weakref
from pathlib import Path

import pytest

from fakeservers.certs import Certificates
from pushcore.http2.tls import client_context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.create(tmp_path_factory.mktemp("certificates"))


def test_clients_with_the_same_authorities_share_a_context(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "authorities.pem"
    bundle.write_bytes(certificates.ca_file.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    first = client_context()
    assert client_context() is first
    named = client_context(ca_file=bundle)
    assert client_context(ca_file=bundle.read_bytes()) is named is not first

    assert client_context(ca_file=bundle, alpn="http/1.1") is not named
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    assert client_context(ca_file=bundle) is not named


def test_authorities_that_were_replaced_are_read_again(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "authorities.pem"
    bundle.write_bytes(certificates.ca_file.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    system, named = client_context(), client_context(ca_file=bundle)
    other = Certificates.create(tmp_path / "others")
    bundle.write_bytes(other.ca_file.read_bytes())
    os.utime(bundle, ns=(1, 1))  # another time, however coarse the clock of the file system is

    assert client_context() is not system
    assert client_context(ca_file=bundle) is not named


class NoCertificate:
    def load_into(self, context: ssl.SSLContext) -> None: ...


def test_a_context_with_a_certificate_is_never_shared() -> None:
    contexts = [client_context(certificate=NoCertificate()) for _ in range(2)] + [client_context()]

    assert len(set(map(id, contexts))) == 3


def test_a_context_lasts_as_long_as_it_is_used(certificates: Certificates) -> None:
    context = weakref.ref(client_context(ca_file=certificates.ca_file))
    gc.collect()

    assert context() is None
