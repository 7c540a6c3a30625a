"""`pushcore` in this process, and what it said as text that is the same on every machine and in every run."""

from __future__ import annotations

import gc
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from pushcore.cli.main import main

WIDTH: Final = "100"
DEADLINE: Final = 100.0
_VARYING: Final = (
    (r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b", "<uuid>"),
    (r"(?<=/messages/)[^\s\",]+", "<id>"),
    (r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z", "<time>"),
    (r"\b[\d,.]+ s\b(?: \([\d,.]+/s\))?", "<seconds>"),
    (r"[\d,.]+ a second", "<rate> a second"),
    (r"\buntil 20\d\d-\d\d-\d\d \d\d:\d\d UTC \(\d+ h \d\d min\)", "until <time> (<time left>)"),
    (r'"rate": [\d.]+', '"rate": <rate>'),
)
"""Patterns of what differs from run to run, and what stands for them."""


class CommandLine:
    """Runs commands in a directory, which is the current one meanwhile, and writes down a session of them.

    `replaced`: further texts that vary, such as a campaign's id, and what stands for them.
    """

    def __init__(self, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.place = place
        self.replaced: dict[str, str] = {str(place.resolve()): "<dir>", str(place): "<dir>"}
        self._capfd = capfd
        self._lines: list[str] = []

    def run(
        self, *words: str, hidden: Sequence[str] = (), rows: bool = False, apart: bool = False
    ) -> tuple[str, str]:
        """Run one command; its standard output and error.

        `hidden`: options that are given before all others and shown as "…". `rows`: the output is CSV in no particular
        order. `apart`: in a process of its own, for what forks: the fakes have threads in this one.
        """
        first = next((at for at, word in enumerate(words) if word.startswith("--")), len(words))
        given = [*words[:first], *hidden, *words[first:]]
        if apart:
            program = [sys.executable, "-m", "pushcore", *given]
            done = subprocess.run(program, capture_output=True, text=True, timeout=DEADLINE)
            status, out, err = done.returncode, done.stdout, done.stderr
        else:
            self._capfd.readouterr()
            status = main(given)
            out, err = self._capfd.readouterr()
        self._lines.append(f"$ {shlex.join(['pushcore', *words])}{' …' if hidden else ''}")
        self._put(f"exit status {status}")
        for name, text in (("stdout", in_order(out) if rows else out), ("stderr", err)):
            if text:
                self._put(f"--- {name}", *text.removesuffix("\n").split("\n"))
        self._put("")
        return out, err

    def show(self, name: str, *, rows: bool = False) -> None:
        """A file that a command has written."""
        text = (self.place / name).read_text(encoding="utf-8")
        self._lines.append(f"$ cat {name}")
        self._put(*(in_order(text) if rows else text).removesuffix("\n").split("\n"), "")

    @property
    def text(self) -> str:
        """All so far, as it was said."""
        return "\n".join(self._lines)

    @property
    def session(self) -> str:
        """All so far, without what varies."""
        text = self.text
        for found, instead in self.replaced.items():
            text = text.replace(found, instead)
        for pattern, instead in _VARYING:
            text = re.sub(pattern, instead, text)
        return text

    def _put(self, *lines: str) -> None:
        self._lines += [line.rstrip() for line in lines]


def in_order(text: str) -> str:
    """Lines of CSV by the number that they begin with, the header first."""
    head, *rows = re.split(r"\n(?=\d+,)", text.removesuffix("\n"))  # a value may have lines
    return "\n".join([head, *sorted(rows, key=lambda row: int(row.partition(",")[0]))]) + "\n"


@contextmanager
def plain_surroundings(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A current directory, a width, no colour and none of our variables; the garbage collector afterwards as before."""
    for name in list(os.environ):
        if name.startswith("PUSHCORE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", WIDTH)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.chdir(place)
    threshold = gc.get_threshold()
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()
