"""Passwords and certificates that do not stand in a queue's URL."""

from __future__ import annotations

import pytest

from pushcore.errors import ConfigurationError
from pushcore.queue.access import Access


def test_certificates_are_for_tls_alone() -> None:
    access = Access(ca_file="ca.pem", cert_file="own.pem")
    assert access.tls(True) == {"ssl_ca_certs": "ca.pem", "ssl_certfile": "own.pem"}
    with pytest.raises(ConfigurationError, match="certificates need TLS"):
        access.tls(False)
    assert Access(password="secret").tls(False) == {}


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Access(password="secret", sentinel_password="secret"))
