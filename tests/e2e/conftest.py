"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakeservers import Certificates
from tests.e2e.support import nothing_left


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One CA, server certificate and `.p8` for all fakes of the run."""
    return Certificates.create(tmp_path_factory.mktemp("certs"))


@pytest.fixture
def clean() -> Iterator[None]:
    """Fails a test that leaves a socket or a transport open."""
    with nothing_left():
        yield
