"""`pushcore gateway` as a process: the demo, a token, a wrong config, signals."""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakeservers import FakeServiceAccount
from pushcore.cli.main import main
from pushcore.gateway.expo.sealed import read_key


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a process; killed at the end if it has not ended."""
    command = [sys.executable, "-m", "pushcore", "gateway", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if match := re.search(pattern, said):
            return match
    raise AssertionError(said)


def test_the_demo_takes_one_command_and_one_curl() -> None:
    with running("--demo", "--port", "0") as process:
        curl = shlex.split(read_until(process, r"(?m)^  (curl .*)$")[1])
        assert curl[2] == "-d"
        answer: dict[str, Any] = httpx.post(curl[1], content=curl[3]).json()
        assert answer["verdict"] == "ACCEPTED"
        found = read_until(process, r"(ExponentPushToken\S+)\n  EXPO_BASE_URL=(\S+)")
        ticket = httpx.post(f"{found[2]}/--/api/v2/push/send", json={"to": found[1], "title": "Hi"}).json()
        assert ticket["data"]["status"] == "ok"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_new_sealing_key_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["gateway", "--new-sealing-key"]) == 0
    first, second = capsys.readouterr().out.split()
    assert first != second
    assert len(read_key(first)) == 64


def test_a_new_token_is_shown_with_its_caller(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gateway", "--new-token", "web"]) == 0
    shown = capsys.readouterr()
    assert re.fullmatch(r'\[\[caller\]\]\nname = "web"\ntokens = \["[0-9a-f]{64}"\]\n', shown.out)
    assert re.search(r"pcg_[\w-]{32}$", shown.err)
    assert main(["gateway", "--new-token", 'a"b']) == 2


def test_a_wrong_configuration_is_one_sentence_before_anything_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text('[[app]]\nid = "a"\nfcm = {service-account = "gone.json"}\n')
    assert main(["gateway", "--config", str(config)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "gone.json" in line
    config.write_text('[[app]]\nid = "a"\ncolour = "red"\n')
    assert main(["gateway", "--config", str(config), "--check"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"pushcore: {config}:3: unknown key 'colour' in [app]"
    assert main(["gateway"]) == 2
    assert "expected one of" in capsys.readouterr().err


def test_a_port_in_use_and_a_redis_that_is_not_there_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], account_file: Path
) -> None:
    config = tmp_path / "gateway.toml"
    app = f'[[app]]\nid = "a"\n[app.fcm]\nservice-account = "{account_file}"\nurl = "https://127.0.0.1:1"\n'
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config.write_text(app)
        assert main(["gateway", "--config", str(config), "--port", str(port)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert f"cannot listen on 127.0.0.1 port {port}" in line
    config.write_text(f'[fleet]\nredis = "redis://:secret@127.0.0.1:{port}"\n{app}')
    assert main(["gateway", "--config", str(config), "--port", "0"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pushcore: {config}:2: ")
    assert "secret" not in line


@pytest.fixture
def account_file(tmp_path: Path) -> Path:
    path = tmp_path / "account.json"
    FakeServiceAccount.create().write(path, "https://127.0.0.1:1/token")
    return path
