"""Passwords and certificates that do not stand in a queue's URL."""

from __future__ import annotations

import os
from pathlib import Path

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


def test_pem_files_are_checked_before_a_library_opens_them(tmp_path: Path) -> None:
    good = tmp_path / "good.pem"
    good.write_text("-----BEGIN CERTIFICATE-----")
    Access(ca_file=str(good), cert_file=str(good), key_file=str(good)).check()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("nothing")
    for file, problem in (
        (f"{tmp_path}/none", "cannot be read (No such file or directory)"),
        (f"{tmp_path}/pipe", "cannot be read (it is not a regular file)"),
        ("/dev/zero", "cannot be read (it is not a regular file)"),
        (str(tmp_path), "cannot be read (Is a directory)"),
        (f"{tmp_path}/text", "is not PEM"),
    ):
        for name in ("ca_file", "cert_file", "key_file"):
            with pytest.raises(ConfigurationError) as caught:
                Access(**{name: file}).check()
            assert str(caught.value) == f"the queue's {name} {file} {problem}; expected a PEM file"
