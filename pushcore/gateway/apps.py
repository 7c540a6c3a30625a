"""`App`: an app of the configuration with its clients, and the choice of the client for a push."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ..apns.client import ApnsClient
from ..audience.problems import BadInput, read_small
from ..auth.google_credentials import read_credentials
from ..auth.provider_token import ApnsKey
from ..fcm.client import FcmClient
from ..http2.proxy import ENVIRONMENT
from ..http2.tls import ApnsCertificate, client_context
from ..key_material import MAX_FILE, password_in
from ..models.apns import PUSH_TYPES
from ..payloads.devices import APNS, FCM
from ..redaction import describe_secret, shown_name
from .config import ApnsSection, AppSection, ExpoSection, FcmSection, FleetSection, Place, blamed_on, nowhere
from .expo.forward import URL as EXPO_URL
from .expo.forward import ExpoService
from .fleets import Instances
from .problems import GatewayProblem
from .senders import AppSender
from .webhooks import Webhook

_SUFFIXES: Final = tuple(sorted({kind.suffix for kind in PUSH_TYPES.values() if kind.suffix}))


class App:
    """See the module.

    Attributes:
        section: its part of the configuration.
        senders: one for each provider and environment, and for each key of Apple's.
        expo: forwards pushes to tokens that Expo has issued; None if they are not forwarded.
        fingerprint: of its configuration and of the files that it names; it is equal if nothing has changed.

    Raises:
        BadInput, ConfigurationError: a key or certificate cannot be used.
    """

    def __init__(
        self,
        section: AppSection,
        count_webhook: Callable[[str, int], None] = lambda outcome, results: None,
        instances: Instances | None = None,
        at: Place = nowhere,
    ) -> None:
        self.section = section
        self.id = section.id
        instances = instances or Instances(FleetSection())
        self.fingerprint = fingerprint(section, at)
        self.senders: list[AppSender] = []
        self._apns: dict[str, dict[str, AppSender]] = {}
        """By environment, by topic, the first is the default's."""
        self.fcm: AppSender | None = None
        self.default_topic = section.apns[0].topics[0] if section.apns else None
        self.first: AppSender | None = None
        """To APNs for pushes that name neither environment nor topic, which are most."""
        for number, apns in enumerate(section.apns):
            for environment in apns.environments:
                auth = apns_auth(apns, partial(at, "apns", number))
                sender = AppSender(
                    section.id,
                    APNS,
                    environment,
                    make_apns(apns, auth, environment, partial(at, "apns", number)),
                    rate=instances.rate(apns.rate, quota=False),
                    fleet=None if apns.rate is None else instances.fleet(f"apns {section.id} {environment}"),
                )
                self.senders.append(sender)
                topics = self._apns.setdefault(environment, {})
                for topic in apns.topics:
                    topics.setdefault(topic, sender)
        if self.senders:
            self.first = self.senders[0]
        if section.fcm is not None:
            client_of_fcm = make_fcm(section.fcm, partial(at, "fcm"))
            self.fcm = AppSender(
                section.id,
                FCM,
                "",
                client_of_fcm,
                rate=instances.rate(section.fcm.rate, quota=True),
                fleet=instances.fleet(f"fcm {client_of_fcm.project_id}"),
            )
            self.senders.append(self.fcm)
        self.expo = (
            make_expo(section.expo, partial(at, "expo"))
            if section.expo is not None and section.expo.forward
            else None
        )
        self._webhooks = [
            Webhook(section.id, hook, count_webhook, at=partial(at, "webhook", number))
            for number, hook in enumerate(section.webhook)
        ]
        for sender in self.senders:
            sender.webhooks = self._webhooks

    def apns(self, environment: str | None = None, topic: str | None = None) -> AppSender:
        """The sender to APNs.

        Args:
            environment: "production" or "sandbox"; None for the only or first one.
            topic: of the push, perhaps with the suffix of a push type; None for the app's own.

        Raises:
            GatewayProblem: the app has no such environment or topic.
        """
        if not self._apns:
            raise GatewayProblem(422, "no-provider", f"app {self.id} has no key or certificate for APNs")
        topics = self._apns.get(environment) if environment else next(iter(self._apns.values()))
        if topics is None:
            known = " or ".join(self._apns)
            raise GatewayProblem(422, "no-environment", f"app {self.id} sends to APNs in {known} only")
        if topic is None:
            return next(iter(topics.values()))
        sender = topics.get(topic) or topics.get(base_topic(topic))
        if sender is None:
            known = ", ".join(topics)
            raise GatewayProblem(
                422,
                "no-topic",
                f"app {self.id} has no key or certificate for this topic; its topics are {known}",
            )
        return sender

    def to_fcm(self) -> AppSender:
        """The sender to FCM. Raises `GatewayProblem` if the app has none."""
        if self.fcm is None:
            raise GatewayProblem(422, "no-provider", f"app {self.id} has no service account for FCM")
        return self.fcm

    async def open(self) -> None:
        """Get ready to send."""
        for webhook in self._webhooks:
            webhook.open()
        for sender in self.senders:
            await sender.open()
        if self.expo is not None:
            await self.expo.open()

    async def close(self) -> None:
        """Finish and close."""
        for sender in self.senders:
            await sender.close()
        if self.expo is not None:
            await self.expo.close()
        for webhook in self._webhooks:
            await webhook.close()

    async def close_when_idle(self) -> None:
        """Finish and close as soon as no request uses it."""
        for sender in self.senders:
            await sender.close_when_idle()
        if self.expo is not None:
            await self.expo.close_when_idle()
        for webhook in self._webhooks:
            await webhook.close()


def base_topic(topic: str) -> str:
    """The bundle id of a topic with a suffix, such as "com.example.app.voip"."""
    for suffix in _SUFFIXES:
        if topic.endswith(suffix):
            return topic.removesuffix(suffix)
    return topic


def apns_auth(section: ApnsSection, at: Place = nowhere) -> ApnsKey | ApnsCertificate:
    """The key or certificate of a section. Raises `BadInput` or `ConfigurationError`."""
    if section.key is None:
        return _certificate(section, at)
    assert section.key_id is not None
    assert section.team_id is not None
    with blamed_on(at("key")):
        return ApnsKey.from_file(section.key, key_id=section.key_id, team_id=section.team_id)


def make_apns(
    section: ApnsSection, auth: ApnsKey | ApnsCertificate, environment: str, at: Place = nowhere
) -> ApnsClient:
    """The client of a section. Raises `ConfigurationError`."""
    _check_authorities(section.ca_file, at)
    with blamed_on(at("topics" if section.key is not None else "certificate")):
        return ApnsClient(
            auth,
            topic=section.topics[0],
            environment="sandbox" if environment == "sandbox" else "production",
            url=section.url,
            ca_file=section.ca_file,
            max_connections=section.max_connections,
            timeout=section.timeout,
            proxy=ENVIRONMENT if section.url is None else None,
        )


def _check_authorities(ca_file: str | None, at: Place = nowhere) -> None:
    if ca_file is not None:
        with blamed_on(at("ca-file")):
            client_context(ca_file=ca_file)


def _certificate(section: ApnsSection, at: Place = nowhere) -> ApnsCertificate:
    assert section.certificate is not None
    password = None
    if section.certificate_password_file is not None:
        with blamed_on(at("certificate-password-file")):
            content = read_small(section.certificate_password_file, "a file with the passphrase", 4096)
            password = password_in(content)
    with blamed_on(at("certificate")):
        if section.certificate_key is not None:
            return ApnsCertificate.from_pem(
                section.certificate, key_file=section.certificate_key, password=password
            )
        return ApnsCertificate.from_file(section.certificate, password=password)


def make_fcm(section: FcmSection, at: Place = nowhere) -> FcmClient:
    """The client of an account. Raises `BadInput` or `ConfigurationError`."""
    _check_authorities(section.ca_file, at)
    with blamed_on(at("service-account")):
        credentials = read_credentials(section.service_account)
    with blamed_on(at("project" if section.project is not None else "service-account")):
        return FcmClient(
            credentials,
            project_id=section.project,
            url=section.url,
            ca_file=section.ca_file,
            max_connections=section.max_connections,
            timeout=section.timeout,
            proxy=ENVIRONMENT if section.url is None else None,
            confirm="validate_only" if section.confirm else None,
        )


def make_expo(section: ExpoSection, at: Place = nowhere) -> ExpoService:
    """Expo's service. Raises `BadInput` or `ConfigurationError`."""
    token = None
    if section.access_token_file is not None:
        with blamed_on(at("access-token-file")):
            token = read_line(section.access_token_file, "a file with an access token of Expo's")
    _check_authorities(section.ca_file, at)
    with blamed_on(at("forward")):
        return ExpoService(
            token,
            url=section.url or EXPO_URL,
            ca_file=section.ca_file,
            proxy=ENVIRONMENT if section.url is None else None,
            timeout=section.timeout,
        )


def read_line(path: str, what: str) -> str:
    """The only line of a file. Raises `BadInput` if there are more or none, or if it is not printable ASCII."""
    text = read_small(path, what, 4096).decode("ascii", "replace").strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise BadInput(f"{shown_name(path)} is not {what}; expected one line of printable ASCII")
    return text


def fingerprint(section: AppSection, at: Place = nowhere) -> bytes:
    """A digest of an app's configuration and of the files that it names, which changes with a new key under an old name.

    They are read more than once, so none can be a pipe.

    Raises `BadInput` for a file that cannot be read; `at` gives its place in the configuration.
    """
    digest = hashlib.sha256(repr(section).encode())
    parts: list[tuple[tuple[str | int, ...], Any]] = [
        *((("apns", number), apns) for number, apns in enumerate(section.apns)),
        (("fcm",), section.fcm),
        (("expo",), section.expo),
        *((("webhook", number), hook) for number, hook in enumerate(section.webhook)),
    ]
    for path, part in parts:
        for name in (
            "key",
            "certificate",
            "certificate_key",
            "certificate_password_file",
            "ca_file",
            "service_account",
            "access_token_file",
            "secret_file",
        ):
            file: Any = getattr(part, name, None)
            if file is not None and describe_secret(file) is None:
                with blamed_on(at(*path, name.replace("_", "-"))):
                    content = read_small(file, "a file of credentials", MAX_FILE, regular=True)
                digest.update(hashlib.sha256(content).digest())
    return digest.digest()
