"""Credentials for a queue, apart from its URL: passwords and certificates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Credentials: secrets, and paths of PEM files for TLS.

    `password`: of the servers, for the user in the URL if it names one. `sentinel_password`: of the sentinels.
    `ca_file`: the only authorities to trust. `cert_file`, `key_file`: our own certificate and its key.
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
        """The settings for TLS."""
        return self.ca_file, self.cert_file, self.key_file

    def tls(self, wanted: bool) -> dict[str, Any]:
        """The settings of redis-py for a connection with or without TLS. Raises `ConfigurationError`."""
        named = zip(("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"), self.files, strict=True)
        given = {name: path for name, path in named if path is not None}
        if given and not wanted:
            raise ConfigurationError(
                "certificates need TLS; expected a URL such as rediss://HOST:PORT or tls://HOST:PORT"
            )
        return given
