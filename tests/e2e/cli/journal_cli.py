"""`pushcore send --journal`, `resume`, `status` and `results` as processes: what their tests have in common."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pushcore.cli.main import main

DEADLINE = 90.0
JOURNAL = "campaign.db"


def token(row: int) -> str:
    return f"{row:064x}"


def write_inputs(place: Path, rows: int) -> None:
    lines = ["token,name", *(f"{token(row)},n{row}" for row in range(1, rows + 1))]
    (place / "devices.csv").write_text("\n".join(lines))
    (place / "payload.json").write_text('{"aps":{"alert":"Hi {{name}}"}}')


def credentials(config: Mapping[str, str]) -> list[str]:
    """What is given again with `resume`, for a fake that wrote this."""
    words = ["--payload", "payload.json", "--apns-key", config["key_file"], "--apns-url", config["url"]]
    words += ["--key-id", config["key_id"], "--team-id", config["team_id"], "--topic", config["topic"]]
    return [*words, "--ca-file", config["ca_file"]]


def start(place: Path, *words: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pushcore", *words],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def kill(process: subprocess.Popen[str]) -> None:
    """As `kill -9` of all its processes. They are gone when this returns: none of them holds the pipes any more."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=DEADLINE)


def run(place: Path, *words: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
    """Run it to its end; with what it said when the exit status is another.

    What is refused at once (2) is so in this process, as in `look`.
    """
    if expected == 2:
        done = inside(place, *words)
        assert done.returncode == 2, (words, done.stderr)
        return done
    with start(place, *words) as process:
        try:
            out, stderr = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
    assert process.returncode == expected, (words, stderr)
    assert "Traceback" not in stderr
    return subprocess.CompletedProcess(words, expected, out, stderr)


def look(place: Path, *words: str) -> str:
    """What a command says that looks only at files: in this process, which saves the start of another."""
    done = inside(place, *words)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def inside(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What `main` makes of it in that directory."""
    out, stderr = io.StringIO(), io.StringIO()
    with contextlib.chdir(place), contextlib.redirect_stdout(out), contextlib.redirect_stderr(stderr):
        status = main(words)
    return subprocess.CompletedProcess(words, status, out.getvalue(), stderr.getvalue())


def send(
    place: Path, config: Mapping[str, str], *more: str, expected: int = 0
) -> subprocess.CompletedProcess[str]:
    words = ("send", "--audience", "devices.csv", "--journal", JOURNAL, *credentials(config), *more)
    return run(place, *words, expected=expected)


def resume(
    place: Path, config: Mapping[str, str], *more: str, expected: int = 0
) -> subprocess.CompletedProcess[str]:
    return run(place, "resume", JOURNAL, *credentials(config), *more, expected=expected)


def results(place: Path, *more: str) -> dict[int, dict[str, str]]:
    """What `pushcore results` gives, by row; every row must be there once, and in order."""
    look(place, "results", JOURNAL, "--output", "seen.csv", *more)
    text = (place / "seen.csv").read_text()
    (place / "seen.csv").unlink()
    return by_row(text)


def by_row(text: str) -> dict[int, dict[str, str]]:
    rows = {int(row["row"]): row for row in csv.DictReader(io.StringIO(text, newline=""))}
    assert len(rows) == text.count("\n") - 1
    assert sorted(rows) == list(rows)
    return rows


def status(place: Path) -> dict[str, str]:
    """The lines of `pushcore status` by their first word."""
    lines = look(place, "status", JOURNAL).splitlines()
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}


def number(text: str) -> int:
    """The first one in a text."""
    match = re.search(r"[\d,]+", text)
    assert match is not None, text
    return int(match[0].replace(",", ""))
