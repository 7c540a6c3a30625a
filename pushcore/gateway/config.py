"""`gateway.toml`: what the gateway serves, to whom, and how. A mistake in it is one sentence with file and line.

Read by msgspec, as all JSON of the gateway is: one library checks both, in a third of the time that pydantic takes for a push.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from ..audience.problems import BadInput, printable, read_small, shown
from ..models.expo import AndroidForm

MAX_FILE: Final = 4 * 1024 * 1024
"""Bytes of a config file: some thousands of callers."""

Environment = Literal["production", "sandbox"]
NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"
Name = Annotated[str, Meta(pattern=NAME)]
"""What apps and callers are called: it stands in logs and labels of metrics, so nothing has to be escaped."""
Text = Annotated[str, Meta(min_length=1, max_length=4096)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=10)]
ProjectId = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]

Place = Callable[..., str]
"""Gives the file and line of a path such as ("app", 1, "apns", 0, "key"), for messages."""


class ServerSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[server]`: where it listens. `trusted-proxies`: addresses or networks whose `X-Forwarded-*` are believed."""

    host: Text = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8080
    certificate: Text | None = None
    certificate_key: Text | None = None
    trusted_proxies: tuple[str, ...] = ()
    access_log: bool = True


class LimitsSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[limits]`: what one request may cost. `body`: bytes, after decompression. `stream-line`: bytes of a line."""

    body: Annotated[int, Meta(ge=1024, le=1 << 30)] = 8 * 1024 * 1024
    stream_line: Annotated[int, Meta(ge=1024, le=1 << 20)] = 64 * 1024
    connections: Count = 10_000


class ApnsSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[[app.apns]]`: a key or a certificate of Apple's. `topics`: the bundle ids; the first is that of pushes that name none.

    `key-environment`: of a key that Apple has made for one environment alone.
    """

    topics: Annotated[tuple[Text, ...], Meta(min_length=1)]
    key: Text | None = None
    key_id: Text | None = None
    team_id: Text | None = None
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
    """`[app.fcm]`: an account of Google's. `rate`: of the project, such as "600000/min"."""

    service_account: Text
    project: Text | None = None
    url: Text | None = None
    ca_file: Text | None = None
    max_connections: Count = 10
    timeout: Seconds = 10.0
    rate: Text | None = None
    confirm: bool = False


class ExpoSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[app.expo]`: who may ask for sealed tokens of the app, and where tokens that Expo has issued go.

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
    """`[sealing]`: files with the keys of sealed tokens and of receipts, one key in a line, the newest first."""

    token_keys: Text | None = None
    receipt_keys: Text | None = None


class WebhookSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[[app.webhook]]`: who gets results. `results`: "all", or "dead" for those that say to drop the token.

    `secret-file`: with "whsec_…". `private`: whether the URL may be of this machine or a private network.
    """

    url: Text
    secret_file: Text
    results: Literal["all", "dead"] = "all"
    private: bool = False
    ca_file: Text | None = None


class AppSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[[app]]`: an app with its providers. `android`: the form in which Android gets a message of Expo's."""

    id: Name
    apns: tuple[ApnsSection, ...] = ()
    fcm: FcmSection | None = None
    expo: ExpoSection | None = None
    android: AndroidForm = "notification"
    webhook: tuple[WebhookSection, ...] = ()


class CallerSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[[caller]]`: a program that may send. `tokens`: SHA-256 of each of its tokens, in hexadecimal.

    `apps`: ids, none for all. `concurrent`: requests at a time. `rate`: pushes a second, none for no limit.
    """

    name: Name
    tokens: Annotated[tuple[Digest, ...], Meta(min_length=1)]
    apps: tuple[Name, ...] = ()
    concurrent: Count = 64
    rate: Annotated[float, Meta(gt=0, le=1e9)] | None = None


class FleetSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """`[fleet]`: several instances of one config. `redis`: where they share rates and idempotency keys.

    `instances`: without Redis, how many there are: each keeps its share of every rate.
    """

    redis: Annotated[str, Meta(pattern=r"^(redis|rediss|unix|valkey|valkeys)://")] | None = None
    instances: Annotated[int, Meta(ge=1, le=1000)] = 1


class GatewayConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """The whole file, with paths as they are opened; the keys are the attributes' names with dashes. `source`: its path."""

    server: ServerSection = ServerSection()
    limits: LimitsSection = LimitsSection()
    fleet: FleetSection = FleetSection()
    sealing: SealingSection = SealingSection()
    app: Annotated[tuple[AppSection, ...], Meta(min_length=1)]
    caller: tuple[CallerSection, ...] = ()
    source: str = "the configuration"

    def on_port(self, port: int) -> GatewayConfig:
        """The same on another port."""
        server = msgspec.structs.replace(self.server, port=port)
        return msgspec.structs.replace(self, server=server)

    def check(self, locate: Place | None = None) -> None:
        """Checks what no single value shows.

        Args:
            locate: gives the place of a path in the file, for messages.

        Raises:
            BadInput: it cannot work.
        """
        at: Place = locate or (lambda *path: self.source)
        _unique("app", [app.id for app in self.app], at)
        _unique("caller", [caller.name for caller in self.caller], at)
        apps = {app.id for app in self.app}
        seen: set[str] = set()
        for number, caller in enumerate(self.caller):
            for app in caller.apps:
                if app not in apps:
                    raise BadInput(
                        f"{at('caller', number, 'apps')}: caller {caller.name}: there is no app {app}; expected of "
                        f"{', '.join(sorted(apps))}"
                    )
            if seen & set(caller.tokens):
                raise BadInput(f"{at('caller', number, 'tokens')}: this token is another caller's too")
            seen |= set(caller.tokens)
        for number, app_section in enumerate(self.app):
            if not app_section.apns and app_section.fcm is None:
                raise BadInput(f"{at('app', number)}: app {app_section.id} has neither apns nor fcm")
            for index, apns in enumerate(app_section.apns):
                _check_apns(apns, at("app", number, "apns", index))
        self._check_expo(at)
        for network in self.server.trusted_proxies:
            if not _is(ip_network, network):
                raise BadInput(
                    f"{at('server', 'trusted-proxies')}: {shown(network)} is no address or network"
                )
        if (self.server.certificate is None) != (self.server.certificate_key is None):
            raise BadInput(f"{at('server')}: certificate and certificate-key belong together")
        if not self.caller and not is_loopback(self.server.host):
            raise BadInput(
                f"{at('server', 'host')}: {self.server.host} can be reached by others, and there is no [[caller]]; "
                "expected one, or a host of this machine alone (pushcore gateway --new-token NAME makes a token)"
            )

    def _check_expo(self, at: Place) -> None:
        sealing = self.sealing
        if sealing.token_keys is not None and sealing.token_keys == sealing.receipt_keys:
            raise BadInput(
                f"{at('sealing', 'receipt-keys')}: tokens and receipts need keys of their own; expected another file"
            )
        projects: set[str] = set()
        for number, app in enumerate(self.app):
            expo = app.expo
            if expo is None:
                continue
            place = at("app", number, "expo", "project-ids")
            if projects & set(expo.project_ids):
                raise BadInput(f"{place}: this project is another app's too")
            projects |= set(expo.project_ids)
            if expo.project_ids and sealing.token_keys is None:
                raise BadInput(f"{place}: sealed tokens need keys; expected token-keys in [sealing]")
            if expo.project_ids and app.fcm is not None and not expo.packages:
                raise BadInput(f"{place}: expected packages beside it, the app's application ids on Android")
            if expo.forward is None and (expo.access_token_file or expo.url or expo.ca_file):
                raise BadInput(
                    f"{at('app', number, 'expo')}: access-token-file, url and ca-file need forward"
                )


def _check_apns(apns: ApnsSection, place: str) -> None:
    if (apns.key is None) == (apns.certificate is None):
        raise BadInput(f"{place}: expected either key or certificate")
    if apns.key is not None and (apns.key_id is None or apns.team_id is None):
        raise BadInput(f"{place}: key needs key-id and team-id")
    if apns.key_environment is not None and set(apns.environments) != {apns.key_environment}:
        wanted = ", ".join(apns.environments)
        raise BadInput(f"{place}: the key is for {apns.key_environment}, and environments are {wanted}")
    if apns.url is not None and len(apns.environments) > 1:
        raise BadInput(f"{place}: url is one server; expected one environment beside it")


def _unique(kind: str, names: Iterable[str], at: Place) -> None:
    seen: set[str] = set()
    for number, name in enumerate(names):
        if name in seen:
            key = "id" if kind == "app" else "name"
            raise BadInput(
                f"{at(kind, number, key)}: there are two of {kind} {name}; expected different names"
            )
        seen.add(name)


def is_name(text: str) -> bool:
    """Whether an app or a caller may be called so."""
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


# --- reading --------------------------------------------------------------------------------------------------------

PATHS: Final = frozenset(
    (
        *("key", "certificate", "certificate-key", "certificate-password-file", "ca-file", "service-account"),
        *("token-keys", "receipt-keys", "access-token-file", "secret-file"),
    )
)
"""Keys whose values are paths, from the file's directory on."""


def read_config(path: str | os.PathLike[str]) -> GatewayConfig:
    """The configuration in a TOML file; relative paths in it are from its directory on.

    Raises:
        BadInput: the file cannot be read or has a mistake; one sentence with its line.
    """
    name = printable(os.fspath(path))
    text = _decode(read_small(os.fspath(path), "a TOML file", MAX_FILE), name)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at line (\d+), .*\)$", str(error))
        line = f"{name}:{where[1]}" if where else name
        raise BadInput(f"{line}: {str(error).partition(' (at ')[0]}") from None
    if "source" in content:
        raise BadInput(f"{Locate(name, text)('source')}: there is no key source")
    return make_config(content, name, Locate(name, text), Path(path).absolute().parent)


def make_config(content: dict[str, Any], name: str, locate: Locate, directory: Path) -> GatewayConfig:
    """The configuration in what a TOML file holds. Raises as `read_config`."""
    try:
        config = msgspec.convert({**_absolute(content, directory), "source": name}, GatewayConfig)
    except msgspec.ValidationError as error:
        sentence, path = _explain(str(error))
        raise BadInput(f"{locate(*path)}: {sentence}") from None
    config.check(locate)
    return config


def _absolute(value: Any, directory: Path) -> Any:
    if isinstance(value, list):
        return [_absolute(item, directory) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: str(directory / item)
        if key in PATHS and isinstance(item, str) and item and "\n" not in item
        else _absolute(item, directory)
        for key, item in value.items()
    }


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadInput(f"{name} is not UTF-8; expected a TOML file") from None


_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*?)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(.*?)`", re.DOTALL)
_PART: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def _explain(text: str) -> tuple[str, tuple[str | int, ...]]:
    """msgspec's sentence in our words, and the path of what it is about."""
    sentence, _, path_text = text.partition(" - at `$")
    path = tuple(
        int(index) if index.isdigit() else key for key, index in _PART.findall(path_text.rstrip("`"))
    )
    table = "[" + ".".join(str(part) for part in path if isinstance(part, str)) + "]"
    if unknown := _UNKNOWN.match(sentence):
        return f"unknown key {shown(unknown[1])} in {table}", (*path, unknown[1])
    if missing := _MISSING.match(sentence):
        return f"{table} has no {missing[1]}", path
    key = next((part for part in reversed(path) if isinstance(part, str) and part), "")
    return f"{key}: {sentence[:1].lower()}{sentence[1:]}", path


class Locate:
    """Finds the line of a path in a TOML file: `locate("app", 1, "apns", 0, "key")` is "gateway.toml:12".

    Tables are found by their headers, so what stands in inline tables has the line of its key.
    """

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._lines: dict[tuple[str | int, ...], int] = {}
        table: tuple[str | int, ...] = ()
        counts: dict[tuple[str | int, ...], int] = {}
        for number, line in enumerate(text.splitlines(), 1):
            header = _HEADER.match(line)
            if header:
                table = self._resolve(header[2], counts)
                if header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    table = (*table, counts[table])
                self._lines.setdefault(table, number)
            elif key := _KEY.match(line):
                self._lines.setdefault((*table, *_parts(key[1])), number)

    @staticmethod
    def _resolve(dotted: str, counts: dict[tuple[str | int, ...], int]) -> tuple[str | int, ...]:
        path: tuple[str | int, ...] = ()
        parts = _parts(dotted)
        for part in parts[:-1]:
            path = (*path, part)
            if path in counts:
                path = (*path, counts[path])
        return (*path, *parts[-1:])

    def __call__(self, *path: str | int) -> str:
        """The file with the line of `path`, or of the nearest table around it."""
        while path and path not in self._lines:
            path = path[:-1]
        return f"{self._name}:{self._lines[path]}" if path else self._name


_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\[\]#]+?)\s*\]")
_KEY: Final = re.compile(r"\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*=")


def _parts(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]
