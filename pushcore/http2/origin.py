"""The origin of requests: host, port, and their form in `:authority`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from ..redaction import shown_address, split_address

HTTPS: Final = 443
_PORT: Final = re.compile(r"https://[^/?#@]+:([0-9]{1,5})/?")
"""An address, for its port. What is longer may be a password."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One server."""

    host: str
    port: int = HTTPS

    @property
    def authority(self) -> str:
        """The value of `:authority` (RFC 9113, section 8.3.1): without the port if that is the default of https."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTPS else f"{host}:{self.port}"


def read_origin(url: str, name: str = "url") -> Origin:
    """The server of an https address without a path; errors call the address `name`.

    Raises:
        ConfigurationError: `url` is not such an address.
    """
    parts = split_address(url)
    if (
        parts is None
        or not url.isprintable()
        or parts.scheme != "https"
        or not parts.hostname
        or not is_host(parts.hostname)
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
        or parts.username is not None
    ):
        port = _PORT.fullmatch(url) if isinstance(url, str) else None
        if port is not None and not 1 <= int(port[1]) <= 65_535:
            raise ConfigurationError(f"{name} has port {int(port[1])}; expected one from 1 to 65535")
        raise ConfigurationError(f"{name} must look like https://127.0.0.1:8443, not {shown_address(url)}")
    return Origin(parts.hostname, parts.port or HTTPS)


def is_host(name: str) -> bool:
    """Whether the host of a URL is an address or a plain name; `split_address` has checked the lengths of its labels."""
    return ":" in name or (name.isascii() and " " not in name)


def split_uri(uri: str) -> tuple[Origin, bytes]:
    """The server of an https address that has been checked before, and the path with its query."""
    parts = urlsplit(uri)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Origin(parts.hostname or "", parts.port or HTTPS), path.encode("ascii")
