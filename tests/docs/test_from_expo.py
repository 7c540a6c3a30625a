"""docs/guides/from-expo.md does what it says it does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

import pushcore
from fakeservers import FakeApns, fated_token
from fakeservers.fcm.fates import fated_registration
from fakeservers.fcm.server import FakeFcm
from pushcore import Verdict
from pushcore.apns.reasons import REASONS as APNS_REASONS
from pushcore.fcm.errors import REASONS as FCM_REASONS
from pushcore.fcm.request import FcmRequestBuilder
from pushcore.gateway.config_file import read_config
from pushcore.gateway.expo import registrations
from pushcore.gateway.expo.forward import RATE
from pushcore.gateway.expo.tickets import ERRORS
from pushcore.http2.exchange import Exchange
from pushcore.models.expo import to_message, to_notification
from pushcore.requests import build_one
from tests.docs.commands import run

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "from-expo.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_gateways_configuration_can_be_read(tmp_path: Path) -> None:
    (content,) = blocks("toml")
    file = tmp_path / "gateway.toml"
    file.write_text(content)
    config = read_config(file)
    (app,) = config.app
    assert app.expo is not None
    assert app.expo.forward == "expo"
    assert config.sealing.token_keys == str(tmp_path / "token.keys")


def test_the_php_is_the_script_that_is_tested() -> None:
    (script,) = blocks("php")
    assert script == (Path(__file__).parents[1] / "expo" / "programs" / "push.php").read_text()


def test_every_error_of_a_ticket_is_explained() -> None:
    named = re.findall(r"^\| ([A-Z]\w+) \| ", PAGE[PAGE.index("| error in a ticket |") :], re.MULTILINE)
    assert sorted(named) == sorted(ERRORS)


def test_the_limits_are_those_of_the_code() -> None:
    assert f"{registrations.NETWORK_RATE:g} a second for\nan IPv4 address" in PAGE
    assert f"{registrations.APP_RATE:g} a second for an app" in PAGE
    assert f"at most {RATE:g} a second" in PAGE


def test_the_payloads_are_what_the_message_becomes() -> None:
    message, ios, android = (json.loads(block) for block in blocks("json")[:3])
    notification = to_notification(message, "aa")
    assert notification.payload == ios
    assert (notification.priority, notification.collapse_id) == (10, "collapse")
    push = to_message(message, "bk3RNwTe3H0:CI2k_HHwgIpoDKCIZvvDMExUdFQ3P1")
    exchange = build_one(FcmRequestBuilder("x", "p"), push, lambda finished: None, 1.0)
    assert isinstance(exchange, Exchange)
    assert orjson.loads(exchange.body) == android


def test_the_errors_have_the_verdicts_shown() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([A-Z]+)\S* ?[^|]*\| ([^|]*) \| ([^|]*) \|$", PAGE, re.MULTILINE)
    assert [expo for expo, *_ in rows] == [
        "DeviceNotRegistered",
        "MessageTooBig",
        "MessageRateExceeded",
        "MismatchSenderId",
        "InvalidCredentials",
        "ProviderError",
        "DeveloperError",
    ]
    known: dict[str, Any] = {**APNS_REASONS, **FCM_REASONS}
    looked_up = 0
    for _, verdict, *reasons in rows:
        for reason in re.findall(r"`(\w+)`", " ".join(reasons)):
            # Google's ambiguous word is read with its details, and OAuth's and IAM's are not in its table.
            if reason in known and reason != "INVALID_ARGUMENT":
                assert known[reason].verdict is Verdict[verdict], reason
                looked_up += 1
    assert looked_up == 13


async def test_the_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = blocks("python")
    async with FakeApns() as apns, FakeFcm(certs=apns.certs) as fcm:
        _redirect(monkeypatch, apns, fcm)
        names: dict[str, Any] = {}
        exec(example, names)
        gone = fated_registration("Unregistered")
        await names["main"](
            [
                {"type": "ios", "data": "ab" * 32},
                {"type": "ios", "data": fated_token("BadDeviceToken")},
                {"type": "android", "data": "dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b" + "x" * 134},
                {"type": "android", "data": gone},
                {"type": "expo", "data": "ExponentPushToken[x]"},
            ]
        )
        assert apns.counts == {(200, ""): 1, (400, "BadDeviceToken"): 1}
        sent = [orjson.loads(each.body) for each in fcm.received if each.path.endswith("messages:send")]
        assert len(sent) == 2
        assert all(each["message"]["notification"]["title"] == "Hello" for each in sent)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert f"forget {gone}" in lines
    assert "INVALID 400 BadDeviceToken" in lines
    assert any("ExponentPushToken[x]" in line and "getDevicePushTokenAsync" in line for line in lines)


def _redirect(monkeypatch: pytest.MonkeyPatch, apns: FakeApns, fcm: FakeFcm) -> None:
    """The example's names, with the fakes behind them."""
    apns_client, key = pushcore.ApnsClient, pushcore.ApnsKey
    fcm_client, account = pushcore.FcmClient, pushcore.ServiceAccount

    class LocalKey:
        @staticmethod
        def from_file(path: str, **options: Any) -> pushcore.ApnsKey:
            return key.from_file(apns.key_file, key_id=apns.key_id, team_id=apns.team_id)

    class LocalAccount:
        @staticmethod
        def from_file(path: str) -> pushcore.ServiceAccount:
            return account.from_file(fcm.service_account_file)

    def local_apns(auth: Any, **options: Any) -> pushcore.ApnsClient:
        return apns_client(auth, topic=apns.topic, url=apns.url, ca_file=apns.ca_file)

    def local_fcm(auth: Any) -> pushcore.FcmClient:
        return fcm_client(auth, url=fcm.url, ca_file=fcm.ca_file)

    monkeypatch.setattr(pushcore, "ApnsClient", local_apns)
    monkeypatch.setattr(pushcore, "ApnsKey", LocalKey)
    monkeypatch.setattr(pushcore, "FcmClient", local_fcm)
    monkeypatch.setattr(pushcore, "ServiceAccount", LocalAccount)


async def test_the_command_runs(tmp_path: Path) -> None:
    *_, devices, payload = blocks("json")
    (command,) = blocks("sh")
    (tmp_path / "devices.ndjson").write_text(devices)
    (tmp_path / "payload.json").write_text(payload)
    async with FakeApns() as apns, FakeFcm(certs=apns.certs) as fcm:
        found = await run(command, tmp_path, apns, fcm)
        assert [json.loads(each.body)["aps"]["alert"]["title"] for each in apns.received] == ["Hello Ada"]
    assert [found[row]["verdict"] for row in (1, 2, 3)] == ["ACCEPTED", "ACCEPTED", "INVALID"]
    assert "must register with getDevicePushTokenAsync" in found[3]["reason"]
