"""Credentials for a queue that are not in its URL: passwords and certificates."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from ..errors import ConfigurationError
from ..key_material import MAX_FILE, PEM_MARK, checked_path, read_bounded
from ..redaction import shown_name

_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
"""redis-py's options for PEM files."""
_NO_TLS: Final = "certificates need TLS; expected a URL such as rediss://HOST:PORT or tls://HOST:PORT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Credentials for a queue: secrets, and paths of PEM files for TLS.

    Attributes:
        password: of the user in the URL, or of the server if the URL has no user.
        sentinel_password: the password of Redis Sentinel.
        ca_file: the only certificate authorities to trust.
        cert_file: the client certificate.
        key_file: the key of the client certificate.
    """

    password: str | None = None
    sentinel_password: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def __repr__(self) -> str:
        return "<Access>"

    @property
    def files(self) -> tuple[str | None, str | None, str | None]:
        """`ca_file`, `cert_file` and `key_file`."""
        return self.ca_file, self.cert_file, self.key_file

    def check(self) -> None:
        """Check the PEM files: the brokers' libraries open them at each connection, and do not say which is wrong.

        Raises:
            ConfigurationError: one cannot be read, or is not PEM.
        """
        for name, path in zip(("ca_file", "cert_file", "key_file"), self.files, strict=True):
            if path is None:
                continue
            _check_pem(path, name, f"the queue's {name} ")

    def tls(self, wanted: bool) -> dict[str, Any]:
        """redis-py's options for a connection with or without TLS.

        Raises:
            ConfigurationError: there are certificates, and `wanted` is false.
        """
        named = zip(_FILES, self.files, strict=True)
        given = {name: path for name, path in named if path is not None}
        if given and not wanted:
            raise ConfigurationError(_NO_TLS)
        return given


def check_url_files(url: str) -> None:
    """Check the files and certificates in the query of a URL of one Redis server, such as `rediss://h?ssl_ca_certs=ca.pem`.

    Args:
        url: as redis-py reads it.

    Raises:
        ConfigurationError: a file cannot be read, or is not PEM, or the URL is without TLS.
    """
    query = parse_qs(urlsplit(url).query)
    given = {name: query[name][0] for name in (*_FILES, "ssl_ca_path", "ssl_ca_data") if name in query}
    if given and not url.lower().startswith(("rediss:", "valkeys:")):
        raise ConfigurationError(_NO_TLS)
    for name, value in given.items():
        where = f"{name} in the URL of Redis"
        if name in _FILES:
            _check_pem(value, where, f"{where}: ")
        elif name == "ssl_ca_path":
            if not os.path.isdir(checked_path(value, where)):
                raise ConfigurationError(
                    f"{where}: {shown_name(value)} is not a directory; expected one with CA certificates"
                )
        elif PEM_MARK not in value.encode("utf-8", "replace"):
            raise ConfigurationError(f"{where} is not PEM; expected the text of CA certificates")


def _check_pem(path: str, name: str, start: str) -> None:
    """Raises `ConfigurationError` if a file cannot be read, or is not PEM.

    Args:
        path: of the file.
        name: of the option, for a path that is none.
        start: of the sentence about the file, before its path.
    """
    shown = f"{start}{shown_name(checked_path(path, name))}"
    try:
        content = read_bounded(path, MAX_FILE, regular=True)
        problem = None if PEM_MARK in content else "is not PEM"
    except OSError as error:
        problem = f"cannot be read ({error.strerror or type(error).__name__})"
    except ValueError:
        problem = "cannot be read (it contains a character that is not allowed in a path)"
    if problem is not None:  # outside the handler: its exception contains the path, which may be a secret
        raise ConfigurationError(f"{shown} {problem}; expected a PEM file")
