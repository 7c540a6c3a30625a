"""The pages of docs/start do what they say: their commands and programs are run, with ports of their own."""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakeservers.pytest_plugin import FcmFixture

START = Path(__file__).parents[2] / "docs" / "start"
DEADLINE = 100.0


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (START / page).read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def commands(tmp_path: Path) -> dict[str, str]:
    """An environment in which `python` and `pushcore` are these ones."""
    place = tmp_path / "bin"
    place.mkdir()
    for name, module in (("python", ""), ("pushcore", " -m pushcore")):
        (place / name).write_text(f'#!/bin/sh\nexec {sys.executable}{module} "$@"\n')
        (place / name).chmod(0o755)
    return {**os.environ, "PATH": f"{place}:{os.environ['PATH']}"}


@pytest.fixture
def fake(tmp_path: Path, commands: dict[str, str]) -> Iterator[str]:
    """The page's fake APNs, on a free port; its URL."""
    (command,) = blocks("first-push.md", "sh")[0].splitlines()
    words = shlex.split(command.replace("2197", "0"))
    with subprocess.Popen(words, cwd=tmp_path, env=commands, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().removeprefix("listening on ").strip()
        finally:
            process.kill()


def sh(script: str, place: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def test_the_first_push(fake: str, tmp_path: Path, commands: dict[str, str]) -> None:
    (program,) = blocks("first-push.md", "python")
    _, run_it, from_shell = blocks("first-push.md", "sh")
    (tmp_path / "first.py").write_text(program)
    accepted, dead = sh(run_it, tmp_path, commands).splitlines()
    assert "ACCEPTED" in accepted
    assert "UNREGISTERED" in dead
    assert dead.endswith("True")
    sh(from_shell.replace("https://127.0.0.1:2197", fake), tmp_path, commands)
    with (tmp_path / "results.csv").open(newline="") as file:
        assert [row["verdict"] for row in csv.DictReader(file)] == ["ACCEPTED"]


def test_the_credentials_are_checked(
    fake: str, fake_fcm: FcmFixture, tmp_path: Path, commands: dict[str, str]
) -> None:
    apns, fcm = blocks("credentials.md", "sh")[0].splitlines()
    shutil.copy(tmp_path / "certs" / "AuthKey_FAKEKEY001.p8", tmp_path)
    apns = apns.replace("ABC123DEFG", "FAKEKEY001").replace("TEAM123456", "FAKETEAM01")
    shutil.copy(fake_fcm.service_account_file, tmp_path / "service-account.json")
    authority = tmp_path / "certs" / "ca.pem"
    assert "APNs" in sh(f"{apns} --apns-url {fake} --ca-file {authority}", tmp_path, commands)
    assert "FCM" in sh(f"{fcm} --fcm-url {fake_fcm.url} --ca-file {fake_fcm.ca_file}", tmp_path, commands)


def test_the_installation_is_checked(tmp_path: Path, commands: dict[str, str]) -> None:
    version, demo = blocks("install.md", "sh")[-1].splitlines()
    assert sh(version, tmp_path, commands).startswith("pushcore")
    assert "all 1,000 rows have the expected result" in sh(demo, tmp_path, commands)
