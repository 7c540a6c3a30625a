"""A limit of open files that is too low is one sentence, where uvloop would abort the process."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pushcore.audience.problems import BadInput
from pushcore.cli.process.open_files import LEAST, check_open_files

resource = pytest.importorskip("resource")
SENTENCE = "Too many open files"


def run(place: Path, limit: str, *words: str) -> tuple[int, str]:
    """Status and standard error of a command under `ulimit`."""
    run = subprocess.run(
        ["sh", "-c", f'ulimit -c 0; ulimit {limit}; exec "$@"', "sh", sys.executable, "-m", *words],
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    return run.returncode, run.stderr


COMMANDS = [
    ("send", "--audience", "devices.csv", "--results", "results.csv"),
    ("check",),
    ("worker", "--queue", "redis://127.0.0.1:1", "--campaign", "autumn"),
    ("campaign", "status", "--queue", "redis://127.0.0.1:1", "--ledger", "autumn.ledger"),
    ("channels", "list"),
    ("gateway", "--demo"),
    ("demo",),
]


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_command_with_connections_says_so(tmp_path: Path, words: tuple[str, ...]) -> None:
    status, said = run(tmp_path, "-n 12", "pushcore", *words)
    assert status == 2
    assert said.count("\n") == 1
    assert f"at least {LEAST} more files must be opened than now" in said
    assert SENTENCE in said
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
@pytest.mark.parametrize("extra", [(), ("--processes", "2")], ids=len)
def test_the_fakes_say_so(tmp_path: Path, extra: tuple[str, ...]) -> None:
    status, said = run(tmp_path, "-n 12", "fakeservers", "apns", "--certs", ".", *extra)
    assert status == 2
    assert said.count("\n") == 1
    assert "only 12 files may be open, and at least 64 are needed" in said


@pytest.mark.slow
def test_a_command_without_connections_works(tmp_path: Path) -> None:
    (tmp_path / "devices.csv").write_text("token\naa\n")
    assert run(tmp_path, "-n 12", "pushcore", "tokens", "devices.csv") == (0, "")


@pytest.mark.slow
def test_a_soft_limit_is_raised(tmp_path: Path) -> None:
    _, said = run(tmp_path, "-S -n 12", "pushcore", "check")
    assert "no provider" in said


def test_a_limit_of_the_system_counts_and_nothing_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    closed: list[int] = []

    def open_some(path: str, flags: int) -> int:
        if len(opened) == 5:
            raise OSError(errno.ENFILE, "Too many open files in system")
        opened.append(1000 + len(opened))
        return opened[-1]

    monkeypatch.setattr(os, "open", open_some)
    monkeypatch.setattr(os, "close", closed.append)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 1024))
    with pytest.raises(BadInput, match="Too many open files in system"):
        check_open_files()
    assert sorted(closed) == opened


def test_it_says_nothing_as_a_rule() -> None:
    check_open_files()


class Limits:
    """Stands for the system: `soft` files may be open at a time, and the limit may be raised to `hard`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> None:
        self.soft, self.hard = soft, hard
        monkeypatch.setattr(resource, "getrlimit", lambda _: (self.soft, self.hard))
        monkeypatch.setattr(resource, "setrlimit", self.set)
        monkeypatch.setattr(os, "open", self.open)
        monkeypatch.setattr(os, "close", self.close)
        self.opened = 0

    def set(self, _: int, limits: tuple[int, int]) -> None:
        self.soft, self.hard = limits

    def open(self, *_: object) -> int:
        if self.opened >= self.soft:
            raise OSError(errno.EMFILE, SENTENCE)
        self.opened += 1
        return self.opened

    def close(self, _: int) -> None:
        self.opened -= 1


@pytest.mark.parametrize(
    ("soft", "hard", "raised"), [(12, 500, 500), (12, 4096, 1024), (12, resource.RLIM_INFINITY, 1024)]
)
def test_a_low_limit_is_raised(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int) -> None:
    limits = Limits(monkeypatch, soft, hard)
    check_open_files()
    assert (limits.soft, limits.hard, limits.opened) == (raised, hard, 0)


def test_a_limit_that_cannot_be_raised_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(monkeypatch, 12, 12)
    with pytest.raises(BadInput, match=SENTENCE):
        check_open_files()
    assert limits.opened == 0


def test_where_no_limit_can_be_raised_it_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    Limits(monkeypatch, 12, 500)
    monkeypatch.setitem(sys.modules, "resource", None)
    with pytest.raises(BadInput, match=SENTENCE):
        check_open_files()
