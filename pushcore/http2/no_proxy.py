"""NO_PROXY: the hosts that need no proxy."""

from __future__ import annotations

import ipaddress
import re


def bypasses(no_proxy: str, host: str, port: int) -> bool:
    """Whether this value of NO_PROXY excludes `host` from the proxy.

    Entries are separated by commas or spaces. "*" is every host. "example.com", ".example.com" and "*.example.com" are
    that host and its subdomains. "10.1.2.3", "::1" and "10.0.0.0/8" match only hosts that are given as addresses: names are
    not resolved. An entry with ":8443" is valid for that port alone.
    """
    host = host.strip("[]").rstrip(".").lower()
    address = _address(host)
    for entry in re.split(r"[\s,]+", no_proxy.lower()):
        name, wanted = _split_port(entry)
        if not name or (wanted is not None and wanted != port):
            continue
        if name == "*":
            return True
        network = _network(name)
        if network is not None:
            if address is not None and address.version == network.version and address in network:
                return True
            continue
        name = name.removeprefix("*").strip(".")
        if name and address is None and (host == name or host.endswith(f".{name}")):
            return True
    return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _network(name: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(name, strict=False)
    except ValueError:
        return None


def _split_port(entry: str) -> tuple[str, int | None]:
    """An entry of NO_PROXY and its port, if it has one; a bare IPv6 address has colons and no port."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, int(rest[1:]) if rest[1:].isdecimal() else None
    name, _, port = entry.partition(":")
    if port.isdecimal():
        return name, int(port)
    return entry, None
