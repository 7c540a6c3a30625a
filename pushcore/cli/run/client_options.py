"""The options for credentials and payloads, and the clients and pushes that are made from them."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote, urlsplit

from ...apns.client import ApnsClient
from ...audience.problems import BadInput, read_small
from ...auth.google_credentials import read_credentials
from ...auth.provider_token import ApnsKey, Environment
from ...auth.service_account import ServiceAccount
from ...engine.rules import dispatcher_of
from ...errors import ConfigurationError
from ...fcm.client import FcmClient
from ...fcm.confirmation import Confirm
from ...http2.protocol import Http2
from ...http2.proxy import ENVIRONMENT, Proxy
from ...http2.streams import KEEPALIVE, KeepAlive
from ...http2.tls import ApnsCertificate
from ...key_material import password_in
from ...models.apns import ApnsPriority, ApnsPushType, PushType
from ...models.expo import AndroidForm
from ...payloads.apns_rows import ApnsRow, RowDefaults
from ...payloads.devices import APNS, FCM
from ...payloads.formats import AUTO, PayloadFiles
from ...payloads.template import Template
from ...redaction import describe_secret, shown_name
from ...requests import build_one
from ...results import Result

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

CampaignClient = ApnsClient | FcmClient

NO_PROXY: Final = "none"
"""The value of --proxy for no proxy, whatever the environment variables say."""

_MAX_PASSWORD_FILE: Final = 4096
_CONNECTIONS: Final = {APNS: 8, FCM: 10}


class Clients(dict[str, CampaignClient]):
    """The clients of a command by platform. With --environment auto, `sandbox` is the second client for APNs."""

    sandbox: ApnsClient | None = None

    @property
    def all(self) -> tuple[CampaignClient, ...]:
        """All clients, for an engine."""
        return (*self.values(), *((self.sandbox,) if self.sandbox is not None else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """The values of the options for credentials, servers, network and payload.

    `apns_key`, `apns_cert`, `apns_cert_key`, `fcm_service_account` and `ca_file` are paths, or the content of such a file.
    """

    apns_key: str | None = None
    key_id: str | None = None
    team_id: str | None = None
    apns_cert: str | None = None
    apns_cert_key: str | None = None
    apns_cert_password_file: str | None = None
    topic: str | None = None
    environment: Environment | Literal["auto"] | None = None
    apns_url: str | None = None
    apns_sandbox_url: str | None = None
    apns_sandbox_key: str | None = None
    sandbox_key_id: str | None = None
    push_type: ApnsPushType | PushType | None = None
    priority: ApnsPriority | None = None
    expiration: int | None = None
    collapse_id: str | None = None
    fcm_service_account: str | None = None
    fcm_project: str | None = None
    fcm_url: str | None = None
    fcm_confirm: Confirm | None = None
    ca_file: str | None = None
    payload: str | None = None
    apns_payload: str | None = None
    fcm_payload: str | None = None
    payload_format: str = AUTO
    android: AndroidForm = "notification"
    experience_id: str | None = None
    scope_key: str | None = None
    max_connections: int | None = None
    timeout: float = 10.0
    http2: Http2 = "fast"
    proxy: str = ENVIRONMENT
    proxy_password_file: str | None = None
    idle_ping: float | None = 3600.0
    keepalive: KeepAlive | None = KEEPALIVE

    @classmethod
    def of(cls, options: dict[str, Any]) -> ClientOptions:
        """From a command's options; the values are removed from `options`."""
        return cls(
            **{option.name: options.pop(option.name) for option in fields(cls) if option.name in options}
        )

    def __repr__(self) -> str:
        """The names of the given options, without their values, which may be keys or the password of a proxy."""
        names = (option.name for option in fields(self) if getattr(self, option.name) != option.default)
        return f"<ClientOptions {', '.join(names)}>"

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of all files that are read, except the audience."""
        sources = (
            *(
                self.apns_key,
                self.apns_sandbox_key,
                self.apns_cert,
                self.apns_cert_key,
                self.apns_cert_password_file,
            ),
            *(self.fcm_service_account, self.ca_file, self.payload, self.apns_payload, self.fcm_payload),
            self.proxy_password_file,
        )
        return tuple(source for source in sources if source is not None and describe_secret(source) is None)

    def clients(self) -> Clients:
        """The clients for these options, checked as far as possible without a connection.

        Raises:
            BadInput, ConfigurationError: an option is wrong or missing.
        """
        clients = Clients()
        if self.environment != "auto":
            for name in ("apns_sandbox_url", "apns_sandbox_key", "sandbox_key_id"):
                if getattr(self, name) is not None:
                    raise BadInput(f"--{name.replace('_', '-')} needs --environment auto")
        if self.apns_key is not None or self.apns_cert is not None:
            clients[APNS] = self._apns()
            if self.environment == "auto":
                clients.sandbox = self._apns_sandbox()
        else:
            self._refuse_without(_OF_APNS, "either --apns-key FILE or --apns-cert FILE")
        if self.fcm_service_account is not None:
            clients[FCM] = self._fcm()
        else:
            self._refuse_without(_OF_FCM, "--fcm-service-account FILE")
        if not clients:
            raise BadInput(
                "no provider: expected either --apns-key FILE or --apns-cert FILE, or --fcm-service-account FILE, "
                "or one for each provider"
            )
        return clients

    def template(self, clients: Collection[str], id_prefix: str | None = None) -> Template:
        """The template that makes the pushes for `clients`.

        `id_prefix`: the beginning of the apns-ids of the rows; random by default.

        Raises:
            BadInput: a payload is invalid, or one of the clients has none.
        """
        payloads = PayloadFiles(
            common=self.payload,
            apns=self.apns_payload,
            fcm=self.fcm_payload,
            form=self.payload_format,
            push_type=self.push_type,
            android=self.android,
            experience_id=self.experience_id,
            scope_key=self.scope_key,
        ).load(list(clients))
        defaults = RowDefaults(self.push_type, self.priority, self.expiration, self.collapse_id)
        return Template.of_payloads(payloads, defaults, id_prefix)

    def _refuse_without(self, names: tuple[str, ...], needed: str) -> None:
        for name in names:
            if getattr(self, name) is not None:
                raise BadInput(f"--{name.replace('_', '-')} needs {needed}")

    def find_proxy(self) -> Proxy | str | None:
        """The proxy of the clients.

        Raises:
            BadInput: it is not the address of a proxy, or a password is given without a user name or without a proxy.
        """
        if self.proxy in (ENVIRONMENT, NO_PROXY):
            if self.proxy_password_file is not None:
                raise BadInput("--proxy-password-file needs --proxy URL")
            return ENVIRONMENT if self.proxy == ENVIRONMENT else None
        try:
            if self.proxy_password_file is None:
                return Proxy.parse(self.proxy)
            Proxy.parse(self.proxy)  # its errors come first
            name, given = _name_in(self.proxy)
            if name is None or given:
                problem = "already contains a password" if given else "names no user"
                raise BadInput(
                    f"--proxy {problem}; with --proxy-password-file expected http://NAME@HOST:PORT"
                )
            password = read_password(
                self.proxy_password_file, "--proxy-password-file", "the proxy's password"
            )
            return Proxy.parse(self.proxy, username=name, password=password.decode())
        except (ConfigurationError, UnicodeDecodeError) as error:
            text = "the password is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            raise BadInput(f"--proxy: {text}") from None

    # --- FCM ----------------------------------------------------------------------------------------------------------

    def fcm_account(self) -> ServiceAccount | Credentials:
        """The account for FCM, read from its file.

        Raises:
            BadInput, ConfigurationError: the file cannot be read or used.
        """
        source = self.fcm_service_account
        if source is None:
            raise BadInput("--fcm-service-account is missing")
        name = _name_of("--fcm-service-account", source)
        credentials = read_credentials(source, name=name)
        if self.fcm_project is None and getattr(credentials, "project_id", None) is None:
            raise BadInput(f"{name or source} contains no project; expected --fcm-project ID")
        return credentials

    def _fcm(self) -> FcmClient:
        return FcmClient(
            self.fcm_account(),
            project_id=self.fcm_project,
            url=self.fcm_url,
            ca_file=self.ca_file,
            max_connections=self.max_connections or _CONNECTIONS[FCM],
            timeout=self.timeout,
            http2=self.http2,
            proxy=self.find_proxy(),
            confirm=self.fcm_confirm,
            keepalive=self.keepalive,
        )

    # --- APNs ---------------------------------------------------------------------------------------------------------

    def _apns(self) -> ApnsClient:
        if self.environment == "auto":
            if (self.apns_url is None) != (self.apns_sandbox_url is None):
                raise BadInput("--apns-url and --apns-sandbox-url go together; expected both or neither")
            return self._apns_client(self.apns_auth(), "production", self.apns_url)
        if self.environment is not None and self.apns_url is not None:
            raise BadInput("--environment and --apns-url exclude each other; expected one of them")
        return self._apns_client(self.apns_auth(), self.environment, self.apns_url)

    def _apns_sandbox(self) -> ApnsClient:
        return self._apns_client(self.sandbox_auth(), "sandbox", self.apns_sandbox_url)

    def _apns_client(
        self, auth: ApnsKey | ApnsCertificate, environment: Environment | None, url: str | None
    ) -> ApnsClient:
        client = ApnsClient(
            auth,
            topic=self.topic,
            environment=environment,
            url=url,
            ca_file=self.ca_file,
            max_connections=self.max_connections or _CONNECTIONS[APNS],
            timeout=self.timeout,
            http2=self.http2,
            proxy=self.find_proxy(),
            idle_ping=self.idle_ping,
            keepalive=self.keepalive,
        )
        # An option that is wrong would be wrong for every row, so it is checked with a push that is not sent.
        probe = ApnsRow(
            *(0, "00", b"{}", None, self.push_type or "alert"),
            *(self.priority, self.expiration, self.collapse_id, str(uuid.UUID(int=0))),
        )
        exchange = build_one(dispatcher_of(client).requests, probe, lambda exchange: None, 0.0)
        if isinstance(exchange, Result):
            raise BadInput(f"the options cannot work: {exchange.detail}")
        return client

    def apns_auth(self) -> ApnsKey | ApnsCertificate:
        """The key or certificate for APNs, read from its files.

        Raises:
            BadInput, ConfigurationError: an option is missing, or a file cannot be read or used.
        """
        if self.apns_key is not None and self.apns_cert is not None:
            raise BadInput("expected either --apns-key FILE or --apns-cert FILE")
        if self.apns_key is None:
            if self.apns_cert is None:
                raise BadInput("expected either --apns-key FILE or --apns-cert FILE")
            return self._certificate(self.apns_cert)
        for option, value in (
            ("--key-id", self.key_id),
            ("--team-id", self.team_id),
            ("--topic", self.topic),
        ):
            if value is None:
                raise BadInput(f"{option} is missing; --apns-key needs it")
        if self.apns_cert_key is not None or self.apns_cert_password_file is not None:
            raise BadInput("--apns-cert-key and --apns-cert-password-file belong to --apns-cert")
        assert self.key_id is not None
        assert self.team_id is not None
        return ApnsKey.from_file(
            self.apns_key,
            key_id=self.key_id,
            team_id=self.team_id,
            name=_name_of("--apns-key", self.apns_key),
        )

    def sandbox_auth(self) -> ApnsKey | ApnsCertificate:
        """The key or certificate for the sandbox of --environment auto, read from its files.

        Raises:
            BadInput, ConfigurationError: an option is missing, or a file cannot be read or used.
        """
        if (self.apns_sandbox_key is None) != (self.sandbox_key_id is None):
            raise BadInput("--apns-sandbox-key and --sandbox-key-id go together; expected both or neither")
        if self.apns_sandbox_key is None or self.sandbox_key_id is None:
            return self.apns_auth()
        if self.team_id is None:
            raise BadInput("--team-id is missing; --apns-sandbox-key needs it")
        return ApnsKey.from_file(
            self.apns_sandbox_key,
            key_id=self.sandbox_key_id,
            team_id=self.team_id,
            name=_name_of("--apns-sandbox-key", self.apns_sandbox_key),
        )

    def _certificate(self, source: str) -> ApnsCertificate:
        if self.key_id is not None or self.team_id is not None:
            raise BadInput("--key-id and --team-id belong to --apns-key")
        password = None
        if self.apns_cert_password_file is not None:
            password = read_password(
                self.apns_cert_password_file, "--apns-cert-password-file", "the passphrase"
            )
        name = _name_of("--apns-cert", source)
        if self.apns_cert_key is not None:
            return ApnsCertificate.from_pem(
                source,
                key_file=self.apns_cert_key,
                password=password,
                name=name,
                key_name=_name_of("--apns-cert-key", self.apns_cert_key),
            )
        try:
            return ApnsCertificate.from_file(source, password=password, name=name)
        except ConfigurationError as error:
            # The message of the library names its argument.
            text = str(error).replace("as key_file", "as --apns-cert-key")
            raise ConfigurationError(text) from None


_OF_APNS: Final = (
    *("key_id", "team_id", "apns_cert_key", "apns_cert_password_file", "topic", "environment", "apns_url"),
    *("push_type", "priority", "expiration", "collapse_id"),
    *("apns_sandbox_url", "apns_sandbox_key", "sandbox_key_id"),
)
_OF_FCM: Final = ("fcm_project", "fcm_url", "fcm_confirm")


def read_password(path: str, option: str, description: str) -> bytes:
    """The password in a file: its first and only line.

    Args:
        path: of the file. Messages do not contain it: it may be the password, given here by mistake.
        option: the option with the path, for messages.
        description: of the password, for messages.

    Raises:
        BadInput: the file cannot be read, is empty, or is too large for a password.
    """
    content = read_small(path, f"a file with {description}", _MAX_PASSWORD_FILE, name=f"the file of {option}")
    password = password_in(content)
    if not password:
        raise BadInput(f"the file of {option} is empty; expected a file with {description}")
    return password


def _name_of(option: str, source: str) -> str | None:
    """The name in messages for a value that is, or may be, a key or a certificate itself; None for the path of a file."""
    return None if describe_secret(source) is None and shown_name(source) == source else option


def _name_in(url: str) -> tuple[str | None, bool]:
    """The user in the address of a proxy, and whether the address has a password."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    return None if parts.username is None else unquote(parts.username), parts.password is not None
