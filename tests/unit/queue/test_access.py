"""Passwords and certificates that do not stand in a queue's URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pushcore.errors import ConfigurationError
from pushcore.queue.access import Access, check_url_files
from tests.support.key_material import materials


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


FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def complaint(url: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        check_url_files(url)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value)


def test_files_in_a_url_are_checked_before_a_library_opens_them(tmp_path: Path) -> None:
    good = tmp_path / "good one.pem"
    good.write_text("-----BEGIN CERTIFICATE-----")
    (tmp_path / "text").write_text("nothing")
    os.mkfifo(tmp_path / "pipe")
    options = "&".join(f"{name}={quote(str(good))}" for name in FILES)
    for scheme in ("rediss", "valkeys", "REDISS"):
        check_url_files(f"{scheme}://h:1/0?db=1&{options}&ssl_ca_path={tmp_path}&ssl_ca_data=-----BEGIN ")
    check_url_files("redis://h?db=1")
    for file, problem in (
        (f"{tmp_path}/none", "cannot be read (No such file or directory)"),
        (f"{tmp_path}/pipe", "cannot be read (it is not a regular file)"),
        (str(tmp_path), "cannot be read (Is a directory)"),
        (f"{tmp_path}/text", "is not PEM"),
    ):
        for name in FILES:
            for url in (f"rediss://h?{name}={quote(file)}", f"rediss://:secret@h/1?db=1&{name}={file}"):
                said = complaint(url)
                assert said == f"{name} in the URL of Redis: {file} {problem}; expected a PEM file"
    assert "is not a directory" in complaint(f"rediss://h?ssl_ca_path={tmp_path}/none")
    assert "ssl_ca_data in the URL of Redis is not PEM" in complaint("rediss://h?ssl_ca_data=secret")


def test_files_in_a_url_are_for_tls_alone() -> None:
    for scheme in ("redis", "unix", "valkey"):
        for name in (*FILES, "ssl_ca_path", "ssl_ca_data"):
            assert complaint(f"{scheme}://h?{name}=secret").startswith("certificates need TLS; expected")


@pytest.mark.parametrize("kind", sorted(materials()))
@pytest.mark.parametrize(
    "write", [quote, str, lambda text: text.replace("\n", "%0A")], ids=["quoted", "raw", "lines"]
)
def test_a_key_in_the_place_of_a_path_is_not_repeated(kind: str, write: Any) -> None:
    content = materials()[kind]
    for name in FILES:
        said = complaint(f"rediss://h?{name}={write(content)}")
        assert said.startswith(f"{name} in the URL of Redis")
        lines = [line for line in content.splitlines() if len(line) > 16 and "-----BEGIN" not in line]
        assert not any(line[:16] in said for line in lines)
