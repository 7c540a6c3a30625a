"""Reading credentials again while a command runs: `pushcore worker` does so on SIGHUP."""

from __future__ import annotations

import contextlib
import hashlib
from typing import Final

from ...apns.client import ApnsClient
from ...audience.problems import BadInput, printable
from ...errors import ConfigurationError
from ...key_material import MAX_FILE, read_bounded
from ...payloads.devices import APNS, FCM, NAMES
from ...redaction import describe_secret
from .client_options import ClientOptions, Clients

_CREDENTIALS: Final = {
    APNS: (
        "apns_sandbox_key",
        "sandbox_key_id",
        "apns_key",
        "key_id",
        "team_id",
        "apns_cert",
        "apns_cert_key",
        "apns_cert_password_file",
        "ca_file",
    ),
    FCM: ("fcm_service_account", "ca_file"),
}
"""The options for the credentials of each platform."""


class Renewal:
    """The credentials of running clients. `options`: those from which the clients were made."""

    def __init__(self, options: ClientOptions, clients: Clients) -> None:
        self._clients = clients
        self._team = options.team_id
        self._digests = {platform: _digest(options, platform) for platform in clients}

    def renew(self, options: ClientOptions) -> list[str]:
        """Make the clients use the credentials of these options, if they have changed.

        If a key, certificate or account cannot be used, its client keeps the old one.

        Returns:
            A sentence for each client.
        """
        return [f"{NAMES[platform]}: {self._renew(platform, options)}" for platform in self._clients]

    def _renew(self, platform: str, options: ClientOptions) -> str:
        digest = _digest(options, platform)
        if digest == self._digests[platform]:
            return "the credentials have not changed"
        client = self._clients[platform]
        try:
            if isinstance(client, ApnsClient):
                team = options.team_id or self._team  # a certificate has no team id
                if self._team is not None and team != self._team:
                    raise BadInput("--team-id cannot change while the command runs")
                auth, sandbox = options.apns_auth(), self._clients.sandbox
                sandbox_auth = options.sandbox_auth() if sandbox is not None else None
                client.use(auth)
                if sandbox is not None and sandbox_auth is not None:
                    sandbox.use(sandbox_auth)
                self._team = team
            else:
                client.use(options.fcm_account())
        except (BadInput, ConfigurationError) as error:
            return f"the new credentials cannot be used, so the old ones are kept: {printable(str(error))}"
        self._digests[platform] = digest
        return "new credentials are in use"


def _digest(options: ClientOptions, platform: str) -> bytes:
    """A hash of the options for a platform's credentials, and of the files that they name; it differs after a change."""
    digest = hashlib.sha256()
    for name in _CREDENTIALS[platform]:
        value = getattr(options, name)
        content = b""
        if isinstance(value, str) and describe_secret(value) is None and not name.endswith("_id"):
            with contextlib.suppress(OSError, ValueError):
                # A pipe has been read by now.
                content = read_bounded(value, MAX_FILE, regular=True)
        for part in (repr(value).encode(), content):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
