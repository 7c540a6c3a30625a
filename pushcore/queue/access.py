"""Credentials for a queue that are not in its URL: passwords and certificates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import ConfigurationError
from ..key_material import MAX_FILE, PEM_MARK, checked_path, read_bounded
from ..redaction import shown_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Credentials for a queue: secrets, and paths of PEM files for TLS.

    `password`: the password of the user in the URL, or of the server if the URL has no user. `sentinel_password`: the password
    of Redis Sentinel. `ca_file`: the only certificate authorities to trust. `cert_file`, `key_file`: the client certificate
    and its key.
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
            shown = f"the queue's {name} {shown_name(checked_path(path, name))}"
            try:
                content = read_bounded(path, MAX_FILE, regular=True)
                problem = None if PEM_MARK in content else "is not PEM"
            except OSError as error:
                problem = f"cannot be read ({error.strerror or type(error).__name__})"
            if problem is not None:
                raise ConfigurationError(f"{shown} {problem}; expected a PEM file")

    def tls(self, wanted: bool) -> dict[str, Any]:
        """redis-py's options for a connection with or without TLS. Raises `ConfigurationError`."""
        named = zip(("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"), self.files, strict=True)
        given = {name: path for name, path in named if path is not None}
        if given and not wanted:
            raise ConfigurationError(
                "certificates need TLS; expected a URL such as rediss://HOST:PORT or tls://HOST:PORT"
            )
        return given
