"""The options that say who sends where, and the client that they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from ..apns.client import ApnsClient
from ..auth.provider_token import ApnsKey
from ..errors import ConfigurationError
from ..http2.tls import ClientCertificate
from ..models.apns import PUSH_TYPES, Notification
from ..results import Result
from .problems import BadInput, read_small
from .rows import Defaults

Command = TypeVar("Command", bound=Callable[..., Any])

_MAX_PASSWORD_FILE = 4096

_OPTIONS = (
    click.option("--apns-key", metavar="FILE", help="Signing key from Apple, a .p8 file."),
    click.option("--key-id", metavar="ID", help="Its key id, 10 characters."),
    click.option("--team-id", metavar="ID", help="Your team id, 10 characters."),
    click.option(
        "--apns-cert",
        metavar="FILE",
        help="Certificate instead of a key: PEM or PKCS#12, with its private key or with --apns-cert-key.",
    ),
    click.option("--apns-cert-key", metavar="FILE", help="Private key of a PEM certificate."),
    click.option(
        "--apns-cert-password-file", metavar="FILE", help="File with the passphrase of the private key."
    ),
    click.option("--topic", metavar="BUNDLE", help="Bundle id of the app; suffixes of push types are added."),
    click.option(
        "--environment",
        type=click.Choice(["production", "sandbox"]),
        help="Which of Apple's: production unless said otherwise.",
    ),
    click.option("--apns-url", metavar="URL", help="Another server, such as https://127.0.0.1:2197."),
    click.option(
        "--ca-file", metavar="FILE", help="PEM with the only authorities to trust; else the system's."
    ),
    click.option("--push-type", type=click.Choice(list(PUSH_TYPES)), default="alert", show_default=True),
    click.option("--priority", type=int, metavar="N", help="1, 5 or 10; else what suits the push type."),
    click.option(
        "--expiration",
        type=int,
        metavar="S",
        help="UNIX seconds until which APNs may store a push; 0: do not.",
    ),
    click.option("--collapse-id", metavar="ID", help="Pushes with the same id replace each other, 64 bytes."),
    click.option(
        "--max-connections",
        type=click.IntRange(min=1),
        default=8,
        show_default=True,
        metavar="N",
        help="At most.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=10.0,
        show_default=True,
        metavar="S",
        help="Seconds in which a push must have its answer.",
    ),
    click.option("--window", type=click.IntRange(min=1), metavar="N", help="Pushes under way at most."),
    click.option(
        "--http2",
        type=click.Choice(["fast", "reference"]),
        default="fast",
        show_default=True,
        help="Our own HTTP/2, or python-hyper/h2.",
    ),
)


def apns_options(command: Command) -> Command:
    """Adds the options; the command gets them as keyword arguments, for `Apns(**…)`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class Apns:
    """The options' values."""

    apns_key: str | None = None
    key_id: str | None = None
    team_id: str | None = None
    apns_cert: str | None = None
    apns_cert_key: str | None = None
    apns_cert_password_file: str | None = None
    topic: str | None = None
    environment: str | None = None
    apns_url: str | None = None
    ca_file: str | None = None
    push_type: str = "alert"
    priority: int | None = None
    expiration: int | None = None
    collapse_id: str | None = None
    max_connections: int = 8
    timeout: float = 10.0
    window: int | None = None
    http2: str = "fast"

    @property
    def defaults(self) -> Defaults:
        """What holds for every row that says nothing else."""
        return Defaults(self.push_type, self.priority, self.expiration, self.collapse_id)

    def client(self) -> ApnsClient:
        """The client that these options describe, checked as far as can be without a connection.

        Raises:
            BadInput, ConfigurationError: they cannot work.
        """
        if self.environment is not None and self.apns_url is not None:
            raise BadInput("--environment and --apns-url exclude each other; expected one of them")
        client = ApnsClient(
            self._auth(),
            topic=self.topic,
            environment=self.environment or "production",
            url=self.apns_url,
            ca_file=self.ca_file,
            max_connections=self.max_connections,
            timeout=self.timeout,
            http2=self.http2,
        )
        # What every row has in common would be wrong in every row, so it is tried on a push that goes nowhere.
        probe = Notification(
            "00",
            b"{}",
            push_type=self.push_type,
            priority=self.priority,
            expiration=self.expiration,
            collapse_id=self.collapse_id,
        )
        found = client.requests.build(probe, lambda exchange: None, None, 0.0)
        if isinstance(found, Result):
            raise BadInput(f"the options cannot work: {found.detail}")
        return client

    def _auth(self) -> ApnsKey | ClientCertificate:
        if (self.apns_key is None) == (self.apns_cert is None):
            raise BadInput("expected either --apns-key FILE or --apns-cert FILE")
        if self.apns_key is None:
            return self._certificate()
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
        return ApnsKey.from_file(self.apns_key, key_id=self.key_id, team_id=self.team_id)

    def _certificate(self) -> ClientCertificate:
        assert self.apns_cert is not None
        if self.key_id is not None or self.team_id is not None:
            raise BadInput("--key-id and --team-id belong to --apns-key")
        password = None
        if self.apns_cert_password_file is not None:
            found = read_small(self.apns_cert_password_file, "a file with the passphrase", _MAX_PASSWORD_FILE)
            password = found.removesuffix(b"\n").removesuffix(b"\r")
            if not password:
                raise BadInput(
                    f"{self.apns_cert_password_file} is empty; expected a file with the passphrase"
                )
        if self.apns_cert_key is not None:
            return ClientCertificate.from_pem(self.apns_cert, key_file=self.apns_cert_key, password=password)
        try:
            return ClientCertificate.from_file(self.apns_cert, password=password)
        except ConfigurationError as error:
            # The library's words name its own argument.
            text = str(error).replace("as key_file", "as --apns-cert-key")
            raise ConfigurationError(text) from None
