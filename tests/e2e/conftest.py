"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fakeservers import Certificates
from pushcore import ServiceAccount
from tests.e2e.support import nothing_left


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One CA, server certificate and `.p8` for all fakes of the run."""
    return Certificates.create(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> ServiceAccount:
    """Of a project that only `tests.support.virtual` knows."""
    pem = rsa.generate_private_key(65_537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path: Path = tmp_path_factory.mktemp("account") / "account.json"
    content = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "k",
        "private_key": pem.decode(),
        "client_email": "pusher@p.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.test/token",
    }
    path.write_bytes(orjson.dumps(content))
    return ServiceAccount.from_file(path)


@pytest.fixture
def clean() -> Iterator[None]:
    """Fails a test that leaves a socket or a transport open."""
    with nothing_left():
        yield
