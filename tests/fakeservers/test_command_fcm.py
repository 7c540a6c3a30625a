"""`python -m fakeservers fcm` and `all` as processes, and foreign clients against them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google.auth.exceptions
import google.auth.transport.requests
import pytest
import requests
from google.oauth2 import service_account

from fakeservers.__main__ import main
from fakeservers.fcm.oauth import MESSAGING_SCOPE
from tests.fakeservers.fcm_client import TOKEN

DEADLINE = 60.0
FCM_CONFIG = {"url", "ca_file", "service_account_file", "project_id", "server_key"}


@contextlib.contextmanager
def running(
    service: str, *arguments: str, lines: int = 1
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The command and the lines that it prints until it is ready; killed at the end if it still runs."""
    command = [sys.executable, "-m", "fakeservers", service, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            results = [process.stdout.readline() for _ in range(lines)]
            assert all(item.endswith("\n") for item in results), (
                results,
                process.stderr and process.stderr.read(),
            )
            yield process, results
        finally:
            process.kill()


def url_in(line: str, name: str = "") -> str:
    match = re.fullmatch(rf"{name}listening on (https://\S+:\d+)\n", line)
    assert match, line
    return match[1]


def failure(capsys: pytest.CaptureFixture[str], service: str, *arguments: str) -> str:
    """What the command says on stderr when it cannot start; it must be one line."""
    assert main([service, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


@contextlib.contextmanager
def session(config: dict[str, str]) -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.trust_env = False
        opened.verify = config["ca_file"]
        yield opened


def access_token(config: dict[str, str], using: requests.Session) -> str:
    credentials = service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call]  # google-auth has no types
        config["service_account_file"], scopes=[MESSAGING_SCOPE]
    )
    credentials.refresh(google.auth.transport.requests.Request(using))
    return str(credentials.token)


def send(config: dict[str, str], message: dict[str, Any]) -> requests.Response:
    """With nothing but what the configuration says."""
    with session(config) as using:
        return using.post(
            f"{config['url']}/v1/projects/{config['project_id']}/messages:send",
            headers={"authorization": f"Bearer {access_token(config, using)}"},
            json={"message": message},
            timeout=DEADLINE,
        )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_from_ready_line_to_signal(number: signal.Signals, tmp_path: Path) -> None:
    place = tmp_path / "new" / "certs"
    with running("fcm", "--certs", str(place)) as (process, lines):
        config = json.loads((place / "fcm.json").read_text())
        assert config == {
            "url": url_in(lines[0]),
            "ca_file": str(place / "ca.pem"),
            "service_account_file": str(place / "service-account.json"),
            "project_id": "fake-project",
            "server_key": config["server_key"],
        }
        account = json.loads((place / "service-account.json").read_text())
        assert account["type"] == "service_account"
        assert account["token_uri"] == f"{config['url']}/token"
        assert account["project_id"] == "fake-project"
        modes = {file.name: file.stat().st_mode & 0o777 for file in place.iterdir()}
        assert {"service-account.json", "server.pem", "ca-key.pem"} <= {
            name for name, mode in modes.items() if mode == 0o600
        }
        assert send(config, {"token": TOKEN}).status_code == 200
        with session(config) as using:
            legacy = using.post(
                f"{config['url']}/fcm/send",
                headers={"authorization": f"key={config['server_key']}"},
                json={"to": TOKEN},
                timeout=DEADLINE,
            )
            assert legacy.json()["success"] == 1
        process.send_signal(number)
        rest, errors = process.communicate(timeout=DEADLINE)
        assert (process.returncode, rest, errors) == (0, "", "")


def test_a_restart_keeps_the_account(tmp_path: Path) -> None:
    kept, ports = [], set()
    for _ in range(2):
        with running("fcm", "--certs", str(tmp_path)) as (_, lines):
            account = json.loads((tmp_path / "service-account.json").read_text())
            assert account.pop("token_uri") == url_in(lines[0]) + "/token"
            kept.append((account, (tmp_path / "ca.pem").read_bytes()))
            ports.add(lines[0])
    assert kept[0] == kept[1]


def test_another_project(tmp_path: Path) -> None:
    for project in ("first-project", "second-project"):
        with running("fcm", "--certs", str(tmp_path), "--project-id", project):
            config = json.loads((tmp_path / "fcm.json").read_text())
            assert config["project_id"] == project
            assert send(config, {"token": TOKEN}).json()["name"].startswith(f"projects/{project}/messages/")
    account = json.loads((tmp_path / "service-account.json").read_text())
    for arguments in ([], ["--project-id", "second-project"]):  # that of the file
        with running("fcm", "--certs", str(tmp_path), *arguments):
            assert json.loads((tmp_path / "fcm.json").read_text())["project_id"] == "second-project"
            kept = json.loads((tmp_path / "service-account.json").read_text())
            assert kept["private_key"] == account["private_key"]


def test_both_at_once(tmp_path: Path) -> None:
    with running("all", "--certs", str(tmp_path), "--topic", "com.example.one", lines=4) as (process, lines):
        apns, fcm = url_in(lines[0], "apns "), url_in(lines[2], "fcm ")
        assert lines[1] == f"channels on {json.loads((tmp_path / 'apns.json').read_text())['channels_url']}\n"
        assert lines[3] == "ready\n"
        assert apns != fcm
        apns_config = json.loads((tmp_path / "apns.json").read_text())
        fcm_config = json.loads((tmp_path / "fcm.json").read_text())
        assert (apns_config["url"], apns_config["topic"]) == (apns, "com.example.one")
        assert fcm_config["url"] == fcm
        assert fcm_config.keys() == FCM_CONFIG
        assert apns_config["ca_file"] == fcm_config["ca_file"]
        assert send(fcm_config, {"token": TOKEN}).status_code == 200
        process.terminate()
        rest, errors = process.communicate(timeout=DEADLINE)
        assert (process.returncode, rest, errors) == (0, "", "")


@pytest.mark.parametrize("profile", ["strict", "bare"])
def test_profiles(profile: str, tmp_path: Path) -> None:
    with running("fcm", "--certs", str(tmp_path), "--profile", profile):
        config = json.loads((tmp_path / "fcm.json").read_text())
        assert send(config, {"token": "nonsense"}).status_code == (400 if profile == "strict" else 200)


def test_options_reach_the_fake(tmp_path: Path) -> None:
    arguments = ["--access-token-lifetime", "0", "--server-key", "mine", "--delay-ms", "1"]
    arguments += ["--topic-rate", "1", "--session-timeout", "0", "--max-age", "0", "--max-connections", "5"]
    with running("fcm", "--certs", str(tmp_path), *arguments):
        config = json.loads((tmp_path / "fcm.json").read_text())
        assert config["server_key"] == "mine"
        answer = send(config, {"token": TOKEN})
        assert answer.status_code == 401
        assert answer.json()["error"]["details"][0]["reason"] == "ACCESS_TOKEN_EXPIRED"


@pytest.mark.parametrize("error", ["invalid_grant", "invalid_scope", "invalid_request"])
def test_an_unwilling_token_endpoint(error: str, tmp_path: Path) -> None:
    with running("fcm", "--certs", str(tmp_path), "--oauth-error", error, "--oauth-delay-ms", "1"):
        config = json.loads((tmp_path / "fcm.json").read_text())
        with pytest.raises(google.auth.exceptions.RefreshError, match=error):
            send(config, {"token": TOKEN})


def test_a_token_endpoint_that_is_down(tmp_path: Path) -> None:
    with running("fcm", "--certs", str(tmp_path), "--oauth-error", "unavailable"):
        config = json.loads((tmp_path / "fcm.json").read_text())
        with session(config) as using:
            assert using.post(f"{config['url']}/token", timeout=DEADLINE).status_code == 503


@pytest.mark.parametrize(
    ("service", "option", "value"),
    [
        ("fcm", "--port", "99999"),
        ("fcm", "--delay-ms", "nan"),
        ("fcm", "--profile", "lax"),
        ("fcm", "--access-token-lifetime", "-1"),
        ("fcm", "--access-token-lifetime", "1.5"),
        ("fcm", "--topic-rate", "x"),
        ("fcm", "--project-id", "UPPER"),
        ("fcm", "--project-id", "a/b-project"),
        ("fcm", "--oauth-error", "bad_luck"),
        ("fcm", "--session-timeout", "-1"),
        ("all", "--apns-port", "x"),
        ("all", "--fcm-port", "65536"),
    ],
)
def test_a_value_that_makes_no_sense(
    service: str, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([service, "--certs", "unused", f"{option}={value}"])
    assert ended.value.code == 2
    assert f"argument {option}" in capsys.readouterr().err


def test_an_option_of_the_other_service(capsys: pytest.CaptureFixture[str]) -> None:
    for service, option in (("fcm", "--topic"), ("apns", "--server-key"), ("all", "--port")):
        with pytest.raises(SystemExit) as ended:
            main([service, "--certs", "unused", f"{option}=1"])
        assert ended.value.code == 2
        assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("service", "option"), [("fcm", "--port"), ("all", "--fcm-port"), ("all", "--apns-port")]
)
def test_a_port_in_use(service: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        message = failure(capsys, service, "--certs", str(tmp_path), option, port)
    assert message == f"fakeservers: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def test_credentials_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert "cannot keep credentials" in failure(capsys, "fcm", "--certs", str(tmp_path / "file"))
    for content in ("nonsense", "{}", "[]", '{"private_key": 5}', '{"private_key": "x", "project_id": "y"}'):
        (tmp_path / "service-account.json").write_text(content)
        message = failure(capsys, "fcm", "--certs", str(tmp_path))
        assert message.endswith("service-account.json is not a service account's file\n")
        assert "cannot keep credentials" in message


def test_a_world_that_is_none_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "registry.json").write_text("{")
    place = tmp_path / "certs"
    message = failure(capsys, "all", "--certs", str(place), "--registry", str(tmp_path / "registry.json"))
    assert "is not JSON" in message
    assert not place.exists()


def test_other_machines_are_one_warning(tmp_path: Path) -> None:
    with running("all", "--certs", str(tmp_path), "--host", "0.0.0.0", lines=4) as (process, _):
        process.terminate()
        _, errors = process.communicate(timeout=DEADLINE)
    assert errors == "fakeservers: 0.0.0.0 can be reached from other machines\n"


@pytest.mark.parametrize("service", ["fcm", "all"])
def test_help(service: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([service, "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "listening on https://HOST:PORT" in text
    assert "--access-token-lifetime" in text


def test_a_signal_while_clients_are_connected(tmp_path: Path) -> None:
    """It ends at once, whatever they have open."""
    with running("fcm", "--certs", str(tmp_path)) as (process, _):
        config = json.loads((tmp_path / "fcm.json").read_text())

        async def stay() -> None:
            host, port = config["url"].removeprefix("https://").split(":")
            _, writer = await asyncio.open_connection(host, int(port))  # not even a handshake
            try:
                with session(config) as using:
                    await asyncio.to_thread(access_token, config, using)
                    process.terminate()
                    await asyncio.to_thread(process.wait, DEADLINE)
            finally:
                writer.close()

        asyncio.run(stay())
        assert process.returncode == 0
