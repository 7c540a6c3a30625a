"""The fake servers as a child: it is waited for, its files are read, and it never stays. The child is a small script."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pushcore.audience.problems import BadInput
from pushcore.cli.run import fake_servers
from pushcore.cli.run.fake_servers import FakeProcess, needed_extra

Script = Callable[[str], list[list[str]]]
LISTENING = "echo listening on 1; exec sleep 60"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Has the shell run a text in place of Python; the commands that were meant."""

    def stand_in(text: str) -> list[list[str]]:
        meant: list[list[str]] = []
        popen = subprocess.Popen

        def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
            meant.append(command)
            return popen(["/bin/sh", "-c", text], **options)

        monkeypatch.setattr(subprocess, "Popen", start)
        return meant

    return stand_in


def write_files(place: Path, *names: str) -> None:
    (place / "certs").mkdir()
    for name in names:
        (place / "certs" / f"{name}.json").write_text(f'{{"url": "https://{name}"}}')


def test_the_files_for_clients_exist_when_it_listens(tmp_path: Path, script: Script) -> None:
    write_files(tmp_path, "apns", "fcm")
    meant = script(LISTENING)
    with FakeProcess(tmp_path, "apns", "--port", "0") as fake:
        assert (fake.apns, fake.fcm) == ({"url": "https://apns"}, {})
        assert fake._process.poll() is None
    assert fake._process.returncode == -15
    assert meant == [
        [
            sys.executable,
            "-m",
            "fakeservers",
            "apns",
            "--certs",
            str(tmp_path / "certs"),
            "--stop-at-eof",
            "--port",
            "0",
        ]
    ]


def test_of_all_services_both_files_are_read_once_all_are_ready(tmp_path: Path, script: Script) -> None:
    write_files(tmp_path, "apns", "fcm")
    script("echo listening on 1; printf rea; echo dy; exec sleep 60")
    with FakeProcess(tmp_path, "all") as fake:
        assert (fake.apns, fake.fcm) == ({"url": "https://apns"}, {"url": "https://fcm"})


def test_the_line_must_begin_so(tmp_path: Path, script: Script) -> None:
    write_files(tmp_path, "apns")
    script("echo not listening on 1")
    with pytest.raises(BadInput, match="the fake servers did not start: no output"):
        FakeProcess(tmp_path)


def test_a_child_that_ends_early_is_told_with_its_last_words(tmp_path: Path, script: Script) -> None:
    script(r"echo a traceback >&2; printf 'port 9 is taken\033[31m' >&2; exit 1")
    with pytest.raises(BadInput, match=r"did not start: port 9 is taken\\x1b\[31m$"):
        FakeProcess(tmp_path)


def test_a_child_that_does_not_listen_in_time_is_ended(
    tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_servers, "READY", 0.0)
    children: list[FakeProcess] = []
    end = FakeProcess.end

    def watch(self: FakeProcess) -> None:
        end(self)
        children.append(self)

    monkeypatch.setattr(FakeProcess, "end", watch)
    script("exec sleep 60")
    with pytest.raises(BadInput, match="did not start"):
        FakeProcess(tmp_path)
    assert [child._process.returncode for child in children] == [-15]


def test_a_child_whose_files_are_missing_is_ended(tmp_path: Path, script: Script) -> None:
    script(LISTENING)
    with pytest.raises(FileNotFoundError):
        FakeProcess(tmp_path)


def test_it_ends_with_its_block_whatever_happens_there(tmp_path: Path, script: Script) -> None:
    write_files(tmp_path, "apns")
    script(LISTENING)
    with pytest.raises(KeyError), FakeProcess(tmp_path) as fake:
        raise KeyError
    assert fake._process.returncode == -15
    assert fake._errors.closed


def test_a_child_that_does_not_mind_being_asked_is_killed(
    tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_servers, "ENDING", 0.01)
    write_files(tmp_path, "apns")
    script("trap '' TERM; echo listening on 1; while :; do sleep 0.01; done")
    with FakeProcess(tmp_path) as fake:
        pass
    assert fake._process.returncode == -9


def test_it_can_be_killed_at_once(tmp_path: Path, script: Script) -> None:
    write_files(tmp_path, "apns")
    script(LISTENING)
    with FakeProcess(tmp_path) as fake:
        fake.kill()
        assert fake._process.wait(20) == -9


@pytest.mark.parametrize("missing", ["ngh2", "fakeservers"])
def test_without_the_fakes_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else object())
    assert 'pip install "pushcore[fakeservers]"' in (needed_extra() or "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert needed_extra() is None
