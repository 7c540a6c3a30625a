"""What `pushcore check` makes of an answer."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from pushcore.apns.client import ApnsClient
from pushcore.cli.commands import check as command
from pushcore.cli.commands.check import judge
from pushcore.cli.main import main
from pushcore.cli.run.client_options import ClientOptions, Clients
from pushcore.errors import AccessTokenError, CertificateError, ConnectError, ResponseTimeout
from pushcore.fcm.client import FcmClient
from pushcore.results import Result, Verdict


@pytest.mark.parametrize(
    ("platform", "result", "good", "expected"),
    [
        (
            "apns",
            Result(None, Verdict.INVALID, 400, 1, reason="BadDeviceToken"),
            True,
            "was BadDeviceToken)",
        ),
        (
            "apns",
            Result(None, Verdict.INVALID, 400, 1, reason="DeviceTokenNotForTopic"),
            False,
            "DeviceTokenNotForTopic: Check the topic first",
        ),
        ("apns", Result(None, Verdict.INVALID, 400, 1, reason="BadPriority"), False, "BadPriority"),
        ("apns", Result(None, Verdict.ACCEPTED, 200, 1), True, "was 200, unlike Apple's)"),
        ("fcm", Result(None, Verdict.ACCEPTED, 200, 1), True, "a message with validate_only was accepted"),
        (
            "apns",
            Result(None, Verdict.MISCONFIGURED, 403, 1, reason="InvalidProviderToken"),
            False,
            "InvalidProviderToken: Check key file, key id and team id",
        ),
        (
            "fcm",
            Result(
                None, Verdict.MISCONFIGURED, detail=AccessTokenError("no key", permanent=True, reason="x")
            ),
            False,
            "no key",
        ),
        ("fcm", Result(None, Verdict.INVALID, 400, 1, reason="BadDeviceToken"), False, "BadDeviceToken"),
        (
            "fcm",
            Result(None, Verdict.UNAVAILABLE, 503, 1, reason="UNAVAILABLE"),
            False,
            "it could not be tested: UNAVAILABLE",
        ),
        (
            "apns",
            Result(None, Verdict.UNSENT, detail=ConnectError("nobody listens")),
            False,
            "it could not be tested: nobody listens",
        ),
        (
            "apns",
            Result(None, Verdict.UNKNOWN, detail=ResponseTimeout("no answer")),
            False,
            "it could not be tested: no answer",
        ),
        (
            "apns",
            Result(
                None, Verdict.UNSENT, detail=CertificateError("the server's certificate was not accepted")
            ),
            False,
            "the server's certificate was not accepted",
        ),
    ],
)
def test_judgements(platform: str, result: Result, good: bool, expected: str) -> None:
    found, text = judge(platform, result)
    assert found is good
    assert expected in text


@pytest.mark.parametrize(("reason", "status"), [("BadDeviceToken", 0), ("InvalidProviderToken", 3)])
def test_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reason: str, status: int
) -> None:
    verdict = Verdict.MISCONFIGURED if status else Verdict.INVALID

    async def answers(targets: object) -> list[Result]:
        return [
            Result(None, verdict, 403, 1, reason=reason),
            Result(None, Verdict.ACCEPTED, 200, 1),
        ]

    monkeypatch.setattr(command, "_try_all", answers)
    apns_client: Any = SimpleNamespace(expiries={"provider_token": 1.0}, environment="production")
    fcm_client: Any = SimpleNamespace(expiries={})
    clients = Clients(apns=apns_client, fcm=fcm_client)
    monkeypatch.setattr(ClientOptions, "clients", lambda self: clients)
    assert main(["check", "--json"]) == status
    values = json.loads(capsys.readouterr().out)
    assert values["ok"] is not bool(status)
    assert [each["platform"] for each in values["providers"]] == ["apns", "fcm"]
    apns, fcm = values["providers"]
    assert (apns["ok"], apns["verdict"], apns["status"], apns["reason"]) == (
        not status,
        verdict.value,
        403,
        reason,
    )
    assert (fcm["ok"], fcm["reason"]) == (True, None)
    assert (apns["environment"], fcm["environment"]) == ("production", None)
    assert reason in apns["message"]
    assert (apns["expires"], fcm["expires"]) == ({"provider_token": 1.0}, {})


def test_a_certificate_that_ends_soon_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answers(targets: object) -> list[Result]:
        return [Result(None, Verdict.INVALID, 400, 1, reason="BadDeviceToken")]

    ends = {"certificate": time.time() + 12.5 * 86_400}
    monkeypatch.setattr(command, "_try_all", answers)
    client: Any = SimpleNamespace(expiries=ends)
    clients = Clients(apns=client)
    monkeypatch.setattr(ClientOptions, "clients", lambda self: clients)
    assert main(["check"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("APNs  ok ")
    assert "; the certificate is valid until 20" in line
    assert line.endswith("(12 days): renew it")


async def test_each_provider_is_sent_a_push_without_a_recipient(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    events: list[str] = []

    async def send(self: Any, push: Any) -> Result:
        sent.append(push)
        return Result(push, Verdict.ACCEPTED, 200, 1)

    async def enter(self: Any) -> Any:
        events.append("open")
        return self

    async def leave(self: Any, *_: object) -> None:
        events.append("closed")

    for kind in (ApnsClient, FcmClient):
        monkeypatch.setattr(kind, "send", send)
        monkeypatch.setattr(kind, "__aenter__", enter)
        monkeypatch.setattr(kind, "__aexit__", leave)
    clients = Clients(apns=ApnsClient.__new__(ApnsClient), fcm=FcmClient.__new__(FcmClient))
    results = await command._try_all(command._targets(clients))
    assert [result.verdict for result in results] == [Verdict.ACCEPTED, Verdict.ACCEPTED]
    notification, message = sent
    assert (notification.token, notification.push_type, notification.priority) == ("00" * 32, "background", 5)
    assert (message.topic, message.validate_only) == ("pushcore-check", True)
    assert sorted(events) == ["closed", "closed", "open", "open"]
