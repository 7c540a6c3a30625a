"""`pushcore check`, and proxies on the command line: processes against fakes and a proxy of ours."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fakeservers import Certificates, FakeApns
from fakeservers.apns.registry import ApnsRegistry
from fakeservers.fcm.server import FakeFcm
from tests.support.proxy import ConnectProxy

DEADLINE = 90.0
FCM = "dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b" + "x" * 134
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")


def options_of(apns: FakeApns | None, fcm: FakeFcm | None, **changes: str | None) -> list[str]:
    """The words for both fakes, or for one of them."""
    options: dict[str, Any] = {}
    if apns is not None:
        options |= {"apns_key": apns.key_file, "key_id": apns.key_id, "team_id": apns.team_id}
        options |= {"topic": apns.topic, "apns_url": apns.url, "ca_file": apns.ca_file}
    if fcm is not None:
        options |= {
            "fcm_service_account": fcm.service_account_file,
            "fcm_url": fcm.url,
            "ca_file": fcm.ca_file,
        }
    words = []
    for name, value in {**options, **changes}.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


async def run(command: str, *words: str, **variables: str) -> tuple[int | None, str, str]:
    """The exit status and what the process said; the environment has no proxies but those of `variables`."""
    environment = {name: value for name, value in os.environ.items() if name not in PROXIES}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pushcore", command, *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**environment, **variables},
    )
    async with asyncio.timeout(DEADLINE):
        out, errors = await process.communicate()
    assert b"Traceback" not in errors
    return process.returncode, out.decode(), errors.decode()


async def test_all_is_right(certs: Certificates) -> None:
    async with (
        FakeApns(certs=certs, registry=ApnsRegistry(known_only=True)) as apns,
        FakeFcm(certs=certs) as fcm,
    ):
        status, out, errors = await run("check", *options_of(apns, fcm))
        assert (status, errors) == (0, "")
        lines = [line.rsplit("; ", 1) for line in out.splitlines()]
        assert [ends.split(" until ")[0] for _, ends in lines] == ["provider token", "access token"]
        assert [text for text, _ in lines] == [
            "APNs  ok      network, key or certificate, team and topic are accepted (the response to a push to "
            "a token without a device was BadDeviceToken)",
            "FCM   ok      network, service account, permission and project are accepted (a message with validate_only "
            "was accepted)",
        ]
        (push,) = apns.received
        assert (push.token, push.status) == ("00" * 32, 400)
        (message,) = [request for request in fcm.received if request.path.endswith("messages:send")]
        assert json.loads(message.body)["validate_only"] is True


@pytest.mark.parametrize(
    ("changes", "wrong", "expected"),
    [
        ({"key_id": "WRONGKEY01"}, "APNs", "InvalidProviderToken: Check key file, key id and team id"),
        ({"topic": "com.example.unknown"}, "APNs", "TopicDisallowed: Correct the topic"),
        ({"fcm_project": "other-project"}, "FCM", ""),
        ({"apns_url": "https://127.0.0.1:1"}, "APNs", "it could not be tested: "),
        ({"fcm_url": "https://127.0.0.1:1"}, "FCM", "it could not be tested: "),
    ],
)
async def test_one_is_wrong(certs: Certificates, changes: dict[str, str], wrong: str, expected: str) -> None:
    async with (
        FakeApns(certs=certs, registry=ApnsRegistry(known_only=True)) as apns,
        FakeFcm(certs=certs) as fcm,
    ):
        status, out, _ = await run("check", *options_of(apns, fcm, **changes, timeout="2"))
    assert status == 3
    lines = {line.split()[0]: line.split(maxsplit=2)[1:] for line in out.splitlines()}
    assert lines[wrong][0] == "failed"
    assert lines[wrong][1].startswith(expected)
    assert [name for name, found in lines.items() if found[0] == "ok"] == [
        name for name in ("APNs", "FCM") if name != wrong
    ]


async def test_both_environments_are_tried(certs: Certificates, tmp_path: Path) -> None:
    """The key is for production alone, and the line of the sandbox says so."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.p8").write_bytes(pem)
    registries = [ApnsRegistry(known_only=True, environment=name) for name in ("production", "sandbox")]
    async with (
        FakeApns(certs=certs, registry=registries[0]) as first,
        FakeApns(certs=certs, registry=registries[1]) as second,
    ):
        changes = {"environment": "auto", "apns_sandbox_url": second.url}
        words = options_of(first, None, **changes)
        status, out, errors = await run("check", *words)
        assert (status, errors) == (0, "")
        assert [line.split(" network")[0] for line in out.splitlines()] == [
            "APNs  ok      production:",
            "APNs  ok      sandbox:",
        ]
        assert len(first.received) == len(second.received) == 1

        for registry in registries:
            registry.add_key("PRODUCT001", first.team_id, pem, environment="production")
        changes |= {"apns_key": str(tmp_path / "key.p8"), "key_id": "PRODUCT001"}
        words = options_of(first, None, **changes)
        status, out, errors = await run("check", *words)
        assert (status, errors) == (3, "")
        production, sandbox = out.splitlines()
        assert production.startswith("APNs  ok      production: network, ")
        assert sandbox.startswith("APNs  failed  sandbox: BadEnvironmentKeyInToken: ")
        status, out, _ = await run("check", "--json", *words)
        providers = json.loads(out)["providers"]
        assert [(each["platform"], each["environment"], each["ok"]) for each in providers] == [
            ("apns", "production", True),
            ("apns", "sandbox", False),
        ]


async def test_an_account_that_google_does_not_know(certs: Certificates, tmp_path: Path) -> None:
    async with FakeFcm(certs=certs) as fcm:
        content = json.loads(Path(fcm.service_account_file).read_text())
        content["client_email"] = "nobody@fake-project.iam.gserviceaccount.com"
        (tmp_path / "account.json").write_text(json.dumps(content))
        words = options_of(None, fcm, fcm_service_account=str(tmp_path / "account.json"))
        status, out, errors = await run("check", *words)
    assert status == 3
    assert out.startswith("FCM   failed  invalid_grant: ")
    assert "PRIVATE KEY" not in out + errors


async def test_a_certificate_that_is_not_trusted(certs: Certificates, tmp_path: Path) -> None:
    other = Certificates.create(tmp_path / "other")
    async with FakeApns(certs=certs) as apns:
        status, out, _ = await run("check", *options_of(apns, None, ca_file=str(other.ca_file)))
    assert status == 3
    assert "certificate was not accepted" in out


# --- proxies ----------------------------------------------------------------------------------------------------------


def targets(*fakes: FakeApns | FakeFcm) -> set[str]:
    return {fake.url.removeprefix("https://") for fake in fakes}


async def test_every_connection_goes_through_the_proxy(certs: Certificates, tmp_path: Path) -> None:
    """APNs', FCM's, and that for the access token, which has an address of its own here."""
    (tmp_path / "password").write_text("p:w\n")
    (tmp_path / "devices.csv").write_text(f"token\n{'ab' * 32}\n{FCM}\n")
    (tmp_path / "payload.json").write_text('{"title":"Hi"}')
    async with (
        FakeApns(certs=certs) as apns,
        FakeFcm(certs=certs) as fcm,
        FakeFcm(certs=certs, account=fcm.account) as tokens,
        ConnectProxy(credentials="me:p:w") as proxy,
    ):
        fcm._state.oauth = tokens.oauth
        content = json.loads(Path(fcm.service_account_file).read_text())
        content["token_uri"] = f"{tokens.url}/token"
        (tmp_path / "account.json").write_text(json.dumps(content))
        words = [
            *options_of(apns, fcm, fcm_service_account=str(tmp_path / "account.json")),
            *("--proxy", proxy.url("me"), "--proxy-password-file", str(tmp_path / "password")),
            *("--audience", str(tmp_path / "devices.csv"), "--payload", str(tmp_path / "payload.json")),
            *("--results", str(tmp_path / "results.csv"), "--retry", "none"),
        ]
        status, _, errors = await run("send", *words, NO_PROXY="127.0.0.1")
        assert status == 0, errors
        assert set(proxy.targets) == targets(apns, fcm, tokens)
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = [(row["platform"], row["verdict"]) for row in csv.DictReader(file)]
    assert sorted(rows) == [("apns", "ACCEPTED"), ("fcm", "ACCEPTED")]


async def test_the_environments_proxy(certs: Certificates) -> None:
    async with FakeApns(certs=certs) as apns, FakeFcm(certs=certs) as fcm, ConnectProxy() as proxy:
        words = options_of(apns, fcm)
        status, _, _ = await run("check", *words, HTTPS_PROXY=proxy.url())
        assert status == 0
        assert set(proxy.targets) == targets(apns, fcm)
        proxy.targets.clear()
        for more, variables in (
            ([], {"HTTPS_PROXY": proxy.url(), "NO_PROXY": "127.0.0.1"}),
            (["--proxy", "none"], {"HTTPS_PROXY": proxy.url()}),
        ):
            status, _, _ = await run("check", *words, *more, **variables)
            assert status == 0
        assert proxy.targets == []
        status, _, _ = await run("check", *words, PUSHCORE_PROXY=proxy.url())
        assert status == 0
        assert proxy.targets != []


async def test_a_proxy_that_wants_another_password(certs: Certificates) -> None:
    async with FakeApns(certs=certs) as apns, ConnectProxy(credentials="me:right") as proxy:
        url = proxy.url("me:s3cret")
        status, out, errors = await run("check", *options_of(apns, None, proxy=url, timeout="2"))
        assert status == 3
        assert "the proxy does not accept its name and password" in out
        assert "s3cret" not in out + errors
        status, out, errors = await run("check", *options_of(apns, None), HTTPS_PROXY="socks5://me:s3cret@x")
        assert status == 2
        assert errors.startswith("pushcore: HTTPS_PROXY: only http and https proxies are known")
        assert "s3cret" not in out + errors


@pytest.mark.parametrize("provider", ["APNs", "FCM"])
@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 403 Forbidden\r\n\r\n<html>"], ids=["407", "403"])
async def test_a_proxy_that_refuses_ends_a_campaign(
    certs: Certificates, tmp_path: Path, provider: str, answer: bytes | None
) -> None:
    """It would refuse each repeat, and may lock the account: nothing is retried, and the exit status says it."""
    (tmp_path / "devices.csv").write_text(f"token\n{'ab' * 32 if provider == 'APNs' else FCM}\n")
    (tmp_path / "payload.json").write_text('{"title":"Hi"}')
    async with (
        FakeApns(certs=certs) as apns,
        FakeFcm(certs=certs) as fcm,
        ConnectProxy(credentials="me:right", answer=answer) as proxy,
    ):
        fakes = (apns, None) if provider == "APNs" else (None, fcm)
        words = [
            *options_of(*fakes, proxy=proxy.url("me:s3cret")),
            *("--audience", str(tmp_path / "devices.csv"), "--payload", str(tmp_path / "payload.json")),
            *("--results", str(tmp_path / "results.csv")),
        ]
        status, out, errors = await run("send", *words)
        assert status == 3
        assert "Correct the proxy's address, its name and password, or its rules" in errors
        assert proxy.accepted <= 2
        status, checked, _ = await run("check", *options_of(*fakes, proxy=proxy.url("me:s3cret")))
        assert status == 3
        assert "Correct the proxy's address" in checked
        assert "s3cret" not in out + errors + checked
    assert "UNSENT" in (tmp_path / "results.csv").read_text()
