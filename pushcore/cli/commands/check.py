"""`pushcore check`: are key, team, topic, service account, project and network right?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import click
import orjson

from ...apns.client import ApnsClient
from ...audience.problems import printable
from ...auth.expiry import expiry_text, expiry_warning
from ...engine.breaker import advice_on, blames_configuration
from ...errors import TransportError
from ...fcm.client import FcmClient
from ...models.apns import Notification
from ...models.fcm import Message
from ...payloads.devices import APNS, NAMES
from ...results import Result, Verdict
from ..options import credential_options
from ..profiles import settings_options
from ..run.client_options import CampaignClient, ClientOptions, Clients
from ..sections import command, option
from ..statuses import OK, STOPPED, exit_statuses

HELP = """Test key, team, topic, service account, project and network. No device gets a push.

\b
  pushcore check --apns-key AuthKey_ABC123DEFG.p8 --key-id ABC123DEFG \\
      --team-id TEAM123456 --topic com.example.app \\
      --fcm-service-account service-account.json

FCM gets one message with validate_only, which Google checks and does not deliver. APNs gets one push to a token of 64 zeros:
the reason BadDeviceToken shows that network, key, team and topic are accepted. With --environment auto, each environment gets
one. Only a push to a real device shows that the environment is right. It also prints until when certificate or token is valid.
The options are those of `pushcore send`.

\f
""" + exit_statuses("check")

NOBODY: Final = "00" * 32
"""A device token that Apple gives to no device."""
TOPIC: Final = "pushcore-check"

_APNS_PUSH: Final = {"aps": {"content-available": 1}}
_RIGHT: Final = {
    "apns": "network, key or certificate, team and topic are accepted",
    "fcm": "network, service account, permission and project are accepted",
}


@command(help=HELP, short_help="Test keys, topic, account and network.")
@credential_options
@settings_options
@option("--json", is_flag=True, help="One JSON object instead of lines.")
def check(json: bool, **options: Any) -> int:
    """Runs the command; the exit status."""
    targets = _targets(ClientOptions.of(options).clients())
    results = asyncio.run(_try_all(targets))
    checks = [
        (target, result, *judge(target.platform, result))
        for target, result in zip(targets, results, strict=True)
    ]
    status = OK if all(good for _, _, good, _ in checks) else STOPPED
    now = time.time()
    if json:
        providers = [
            {
                "platform": target.platform,
                "environment": target.environment,
                "ok": good,
                "message": printable(text, 600),
                "verdict": result.verdict.value,
                "status": result.status,
                "reason": printable(result.reason or "", 200) or None,
                "expires": dict(target.client.expiries),
            }
            for target, result, good, text in checks
        ]
        values = {"ok": status == OK, "providers": providers}
        click.echo(orjson.dumps(values, option=orjson.OPT_INDENT_2).decode())
        return status
    for target, _, good, text in checks:
        where = f"{target.environment}: " if target.one_of_two else ""
        text = "; ".join([printable(text, 600), *_until(target.client, now)])
        click.echo(f"{NAMES[target.platform]:<5} {'ok    ' if good else 'failed'}  {where}{text}")
    return status


@dataclass(frozen=True, slots=True)
class _Target:
    """A client to test. `one_of_two`: whether there is another one for the other environment of APNs."""

    platform: str
    client: CampaignClient
    one_of_two: bool = False

    @property
    def environment(self) -> str | None:
        """The environment of APNs, if it is known."""
        return getattr(self.client, "environment", None)


def _targets(clients: Clients) -> list[_Target]:
    targets = []
    for platform, client in clients.items():
        other = clients.sandbox if platform == APNS else None
        targets.append(_Target(platform, client, other is not None))
        if other is not None:
            targets.append(_Target(platform, other, True))
    return targets


def _until(client: CampaignClient, now: float) -> Iterator[str]:
    """Sentences on the expiry of the client's credentials."""
    for credential, expires in client.expiries.items():
        name = credential.replace("_", " ")
        warning = expiry_warning(f"the {name}", expires, now) if credential == "certificate" else None
        yield warning or f"{name} {expiry_text(expires, now)}"


async def _try_all(targets: list[_Target]) -> list[Result]:
    return await asyncio.gather(*(_try(target.client) for target in targets))


async def _try(client: CampaignClient) -> Result:
    async with client:
        if isinstance(client, ApnsClient):
            return await client.send(Notification(NOBODY, _APNS_PUSH, push_type="background", priority=5))
        assert isinstance(client, FcmClient)
        return await client.send(Message(topic=TOPIC, data={"pushcore": "check"}, validate_only=True))


def judge(platform: str, result: Result) -> tuple[bool, str]:
    """Whether the configuration is right, and a sentence for the user."""
    reason, row = result.reason or "", result.row
    if platform == APNS and row.unknown_token:
        return True, f"{_RIGHT[APNS]} (the response to a push to a token without a device was {row.name})"
    if platform == APNS and result.verdict in (Verdict.ACCEPTED, Verdict.UNREGISTERED):
        answer = reason or "200"
        return (
            True,
            f"{_RIGHT[APNS]} (the response to a push to a token without a device was {answer}, unlike Apple's)",
        )
    if result.verdict is Verdict.ACCEPTED:
        return True, f"{_RIGHT[platform]} (a message with validate_only was accepted)"
    words = [
        "it could not be tested" if _not_tried(result) else "",
        reason,
        "" if result.detail is None else str(result.detail),
        row.advice if row.name else advice_on(result) if blames_configuration(result.detail) else "",
    ]
    said = [word.removesuffix(".") for word in dict.fromkeys(words) if word]
    return False, ": ".join(said) or str(result)


def _not_tried(result: Result) -> bool:
    """Whether the response shows nothing about the configuration."""
    later = result.verdict in (Verdict.THROTTLED, Verdict.UNAVAILABLE, Verdict.UNKNOWN)
    return later or (result.verdict is Verdict.UNSENT and isinstance(result.detail, TransportError))
