"""`gateway.toml`: the apps, the callers and the server. A mistake in it is one sentence with file and line.

`config_file` reads it.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from ..apns.values import TOPIC
from ..audience.problems import BadInput, shown
from ..engine.rate import Rate
from ..errors import ConfigurationError
from ..http2.origin import read_origin
from ..models.expo import AndroidForm
from ..redaction import split_address

Environment = Literal["production", "sandbox"]
NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"
Name = Annotated[str, Meta(pattern=NAME)]
"""What apps and callers are called: it stands in logs and labels of metrics, so nothing has to be escaped."""
Text = Annotated[str, Meta(min_length=1, max_length=4096)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=10)]
ProjectId = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
AppleId = Annotated[str, Meta(pattern=r"^[A-Z0-9]{10}\Z")]
"""Of a key or a team."""
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]

Place = Callable[..., str]
"""Gives the file and line of a path such as ("app", 1, "apns", 0, "key"), for messages."""


def nowhere(*path: str | int) -> str:
    """A `Place` where there is no file."""
    return "the configuration"


class ServerSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[server]`: host and port. `trusted-proxies`: addresses or networks whose `X-Forwarded-*` headers are used."""

    host: Text = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8080
    certificate: Text | None = None
    certificate_key: Text | None = None
    trusted_proxies: tuple[str, ...] = ()
    access_log: bool = True


class LimitsSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[limits]`: limits of one request. `body`: bytes, after decompression. `stream-line`: bytes of a line."""

    body: Annotated[int, Meta(ge=1024, le=1 << 30)] = 8 * 1024 * 1024
    stream_line: Annotated[int, Meta(ge=1024, le=1 << 20)] = 64 * 1024
    connections: Count = 10_000


class ApnsSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[[app.apns]]`: a key or a certificate from Apple. `topics`: the bundle ids; the first is for pushes that name none.

    `key-environment`: the environment of a key that is valid for one only.
    """

    topics: Annotated[tuple[Text, ...], Meta(min_length=1)]
    key: Text | None = None
    key_id: AppleId | None = None
    team_id: AppleId | None = None
    key_environment: Environment | None = None
    certificate: Text | None = None
    certificate_key: Text | None = None
    certificate_password_file: Text | None = None
    environments: Annotated[tuple[Environment, ...], Meta(min_length=1)] = ("production",)
    url: Text | None = None
    ca_file: Text | None = None
    max_connections: Count = 8
    timeout: Seconds = 10.0
    rate: Text | None = None


class FcmSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[app.fcm]`: a service account from Google. `rate`: of the project, such as "600000/min"."""

    service_account: Text
    project: Text | None = None
    url: Text | None = None
    ca_file: Text | None = None
    max_connections: Count = 10
    timeout: Seconds = 10.0
    rate: Text | None = None
    confirm: bool = False


class ExpoSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[app.expo]`: the apps that may request sealed tokens, and the forwarding of pushes to tokens that Expo has issued.

    `project-ids`: the app's ids at Expo. `packages`: its application ids on Android; on iOS they are the topics of APNs.
    `forward`: "expo" forwards pushes to tokens that Expo has issued to Expo's service. `access-token-file`: of the Expo account.
    """

    project_ids: tuple[ProjectId, ...] = ()
    packages: tuple[Text, ...] = ()
    forward: Literal["expo"] | None = None
    access_token_file: Text | None = None
    url: Text | None = None
    ca_file: Text | None = None
    timeout: Seconds = 10.0


class SealingSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[sealing]`: files with the keys of sealed tokens and of receipts, one key per line, the newest first."""

    token_keys: Text | None = None
    receipt_keys: Text | None = None


class WebhookSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[[app.webhook]]`: a receiver of results. `results`: "all", or "dead" for results with a token to drop.

    `secret-file`: with "whsec_…". `private`: whether the URL may be on this machine or in a private network.
    """

    url: Text
    secret_file: Text
    results: Literal["all", "dead"] = "all"
    private: bool = False
    ca_file: Text | None = None


class AppSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[[app]]`: an app with its providers. `android`: the form for Android of a message in Expo's format."""

    id: Name
    apns: tuple[ApnsSection, ...] = ()
    fcm: FcmSection | None = None
    expo: ExpoSection | None = None
    android: AndroidForm = "notification"
    webhook: tuple[WebhookSection, ...] = ()


class CallerSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[[caller]]`: a program that may send. `tokens`: SHA-256 of each of its tokens, in hexadecimal.

    `apps`: ids, none for all. `concurrent`: limit of requests at a time. `rate`: limit of pushes per second, none for no limit.
    """

    name: Name
    tokens: Annotated[tuple[Digest, ...], Meta(min_length=1)]
    apps: tuple[Name, ...] = ()
    concurrent: Count = 64
    rate: Annotated[float, Meta(ge=1e-6, le=1e9)] | None = None


class FleetSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[fleet]`: several instances of one config. `redis`: the server through which they share rates and idempotency keys.

    `instances`: without Redis, their number: each uses its part of every rate.
    """

    redis: Annotated[str, Meta(pattern=r"^(redis|rediss|unix|valkey|valkeys)://")] | None = None
    instances: Annotated[int, Meta(ge=1, le=1000)] = 1


class GatewayConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """The whole file, with resolved paths; its keys are the attributes' names with dashes.

    `source`: its path. `locate`: gives the line of a path in it; None where there is no file.
    """

    server: ServerSection = ServerSection()
    limits: LimitsSection = LimitsSection()
    fleet: FleetSection = FleetSection()
    sealing: SealingSection = SealingSection()
    app: Annotated[tuple[AppSection, ...], Meta(min_length=1)]
    caller: tuple[CallerSection, ...] = ()
    source: str = "the configuration"
    locate: Any = None

    def at(self, *path: str | int) -> str:
        """The position of a path, for messages: "gateway.toml:12" for ("app", 1, "id")."""
        locate: Place | None = self.locate
        return self.source if locate is None else locate(*path)

    def warnings(self) -> list[str]:
        """What is allowed and may be a mistake, one sentence each with its line."""
        networks = [ip_network(network) for network in self.server.trusted_proxies]
        merged: list[IPv4Network | IPv6Network] = [
            *collapse_addresses(one for one in networks if isinstance(one, IPv4Network)),
            *collapse_addresses(one for one in networks if isinstance(one, IPv6Network)),
        ]
        place = self.at("server", "trusted-proxies")
        return [
            f"{place}: trusted-proxies contains all IPv{network.version} addresses, so every client can choose the address "
            "that is logged and that limits are counted for; expected the addresses of your proxies"
            for network in merged
            if network.prefixlen == 0
        ]

    def on_port(self, port: int) -> GatewayConfig:
        """The same on another port."""
        server = msgspec.structs.replace(self.server, port=port)
        return msgspec.structs.replace(self, server=server)

    def check(self) -> None:
        """Check values against each other. Raises `BadInput` if they cannot work."""
        at: Place = self.at
        _unique("app", [app.id for app in self.app], at)
        _unique("caller", [caller.name for caller in self.caller], at)
        apps = {app.id for app in self.app}
        seen: set[str] = set()
        for number, caller in enumerate(self.caller):
            for app in caller.apps:
                if app not in apps:
                    raise BadInput(
                        f"{at('caller', number, 'apps')}: caller {caller.name}: there is no app {app}; expected one of "
                        f"{', '.join(sorted(apps))}"
                    )
            if seen & set(caller.tokens):
                raise BadInput(
                    f"{at('caller', number, 'tokens')}: this token already belongs to another caller"
                )
            seen |= set(caller.tokens)
        for number, app_section in enumerate(self.app):
            if not app_section.apns and app_section.fcm is None:
                raise BadInput(f"{at('app', number)}: app {app_section.id} has neither apns nor fcm")
            seen_topics: set[tuple[str, str]] = set()
            for index, apns in enumerate(app_section.apns):
                path = ("app", number, "apns", index)
                _check_apns(apns, at(*path))
                for topic in apns.topics:
                    if TOPIC.fullmatch(topic) is None:
                        raise BadInput(
                            f"{at(*path, 'topics')}: a topic is a bundle id such as com.example.app, not {shown(topic)}"
                        )
                _check_server(apns, at, *path)
                for pair in itertools.product(dict.fromkeys(apns.environments), dict.fromkeys(apns.topics)):
                    if pair in seen_topics:
                        raise BadInput(
                            f"{at(*path, 'topics')}: {pair[1]} in {pair[0]} already belongs to another key"
                        )
                    seen_topics.add(pair)
            for name in ("fcm", "expo"):
                _check_server(getattr(app_section, name), at, "app", number, name)
        self._check_expo(at)
        for network in self.server.trusted_proxies:
            if not _is(ip_network, network):
                raise BadInput(
                    f"{at('server', 'trusted-proxies')}: {shown(network)} is not an address or network"
                )
        redis = self.fleet.redis
        if redis is not None and (split_address(redis) is None or not is_plain(redis) or "," in redis):
            raise BadInput(
                f"{at('fleet', 'redis')}: redis is not the URL of one server; expected redis://HOST:PORT"
            )
        if (self.server.certificate is None) != (self.server.certificate_key is None):
            raise BadInput(f"{at('server')}: certificate and certificate-key belong together")
        if not self.caller and not is_loopback(self.server.host):
            raise BadInput(
                f"{at('server', 'host')}: {self.server.host} is reachable from other machines, and there is no [[caller]]; "
                "expected a [[caller]], or a loopback host (pushcore gateway --new-token NAME makes a token)"
            )

    def _check_expo(self, at: Place) -> None:
        sealing = self.sealing
        if sealing.token_keys is not None and sealing.token_keys == sealing.receipt_keys:
            raise BadInput(
                f"{at('sealing', 'receipt-keys')}: tokens and receipts need different keys; expected another file"
            )
        projects: set[str] = set()
        for number, app in enumerate(self.app):
            expo = app.expo
            if expo is None:
                continue
            place = at("app", number, "expo", "project-ids")
            if projects & set(expo.project_ids):
                raise BadInput(f"{place}: this project already belongs to another app")
            projects |= set(expo.project_ids)
            if expo.project_ids and sealing.token_keys is None:
                raise BadInput(f"{place}: sealed tokens need keys; expected token-keys in [sealing]")
            if expo.project_ids and app.fcm is not None and not expo.packages:
                raise BadInput(f"{place}: expected packages too, the app's application ids on Android")
            if expo.forward is None and (expo.access_token_file or expo.url or expo.ca_file):
                raise BadInput(
                    f"{at('app', number, 'expo')}: access-token-file, url and ca-file need forward"
                )


@contextlib.contextmanager
def blamed_on(place: str) -> Iterator[None]:
    """Errors of the block are reported with this position in the file."""
    try:
        yield
    except (BadInput, ConfigurationError) as error:
        kind = BadInput if isinstance(error, BadInput) else ConfigurationError
        raise kind(f"{place}: {error}") from None


def _check_server(section: Any, at: Place, *path: str | int) -> None:
    """Checks the url and the rate of a provider's section, where it has them."""
    for name, read in (("url", read_origin), ("rate", Rate.parse)):
        value = getattr(section, name, None)
        if value is not None:
            try:
                read(value)
            except ConfigurationError as error:
                raise BadInput(f"{at(*path, name)}: {error}") from None


def is_plain(url: str) -> bool:
    """Whether a URL has only characters that URLs have: `urlsplit` drops line breaks, and a blank would end the host."""
    return url.isascii() and url.isprintable() and " " not in url


def _check_apns(apns: ApnsSection, place: str) -> None:
    if (apns.key is None) == (apns.certificate is None):
        raise BadInput(f"{place}: expected either key or certificate")
    if apns.key is not None and (apns.key_id is None or apns.team_id is None):
        raise BadInput(f"{place}: key needs key-id and team-id")
    of_other = (
        ("certificate_key", "certificate_password_file")
        if apns.key
        else ("key_id", "team_id", "key_environment")
    )
    for name in of_other:
        if getattr(apns, name) is not None:
            owner = "certificate" if apns.key else "key"
            raise BadInput(f"{place}: {name.replace('_', '-')} can only be used with {owner}")
    if apns.key_environment is not None and set(apns.environments) != {apns.key_environment}:
        wanted = ", ".join(apns.environments)
        raise BadInput(f"{place}: the key is for {apns.key_environment}, and environments are {wanted}")
    if apns.url is not None and len(apns.environments) > 1:
        raise BadInput(f"{place}: url is a single server; expected a single environment")


def _unique(kind: str, names: Iterable[str], at: Place) -> None:
    seen: set[str] = set()
    for number, name in enumerate(names):
        if name in seen:
            key = "id" if kind == "app" else "name"
            raise BadInput(
                f"{at(kind, number, key)}: {kind} {name} is configured twice; expected different names"
            )
        seen.add(name)


def is_name(text: str) -> bool:
    """Whether an app or a caller may have this name."""
    return re.match(NAME, text) is not None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    return host == "localhost" or (_is(ip_address, host) and ip_address(host).is_loopback)


def _is(kind: Any, text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True
