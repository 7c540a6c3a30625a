"""The providers' host names, and which fake stands for each: for senders that can be pointed at no other host."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping

from fakeservers.serving.redirecting_proxy import Address, Route

HOSTS = {
    "api.push.apple.com": "apns",
    "api.sandbox.push.apple.com": "apns",
    "api.development.push.apple.com": "apns",
    "api-broadcast.push.apple.com": "apns",
    "api-broadcast.sandbox.push.apple.com": "apns",
    "api-manage-broadcast.push.apple.com": "channels",
    "api-manage-broadcast.sandbox.push.apple.com": "channels",
    "fcm.googleapis.com": "fcm",
    "oauth2.googleapis.com": "fcm",
    "iid.googleapis.com": "fcm",
}
"""Host to what answers for it: the fake APNs, the port on which it manages channels, or the fake FCM."""

SERVICES = {"apns": ("apns", "channels"), "fcm": ("fcm",)}
"""A service to what answers for its hosts."""
_DOMAINS = {".apple.com": "apns", ".googleapis.com": "fcm", ".google.com": "fcm"}


def hosts_of(services: Iterable[str]) -> tuple[str, ...]:
    """All hosts that these services can be taken for."""
    answering = {part for service in services for part in SERVICES[service]}
    return tuple(host for host, part in HOSTS.items() if part in answering)


def route_to(urls: Mapping[str, str]) -> Route:
    """Where a proxy is to take CONNECTs: by the host to the fake that stands for it, otherwise by a fake's own port."""
    addresses = {name: _address(url) for name, url in urls.items()}
    by_port = {port: (host, port) for host, port in addresses.values()}
    return lambda host, port: addresses.get(_answering(host)) or by_port.get(port)


def _answering(host: str) -> str:
    """What answers for a host: `apns`, `channels` or `fcm`; empty for a host that is no provider's."""
    host = host.lower().rstrip(".")
    if host in HOSTS:
        return HOSTS[host]
    return next((part for domain, part in _DOMAINS.items() if host.endswith(domain)), "")


def _address(url: str) -> Address:
    host, _, port = url.removeprefix("https://").rpartition(":")
    return host.strip("[]"), int(port)


def impersonated(text: str) -> tuple[str, ...]:
    """The hosts that an option names: services, `all`, or hosts, with commas between.

    Raises:
        argparse.ArgumentTypeError: one of them is none of these.
    """
    hosts: dict[str, None] = {}
    for name in (part.strip() for part in text.split(",")):
        if name == "all":
            hosts.update(dict.fromkeys(HOSTS))
        elif name in SERVICES:
            hosts.update(dict.fromkeys(hosts_of((name,))))
        elif name.lower() in HOSTS:
            hosts[name.lower()] = None
        else:
            known = ", ".join((*SERVICES, "all", *HOSTS))
            raise argparse.ArgumentTypeError(
                f"{name[:80]!r} may not be impersonated, expected some of {known}"
            )
    return tuple(hosts)
