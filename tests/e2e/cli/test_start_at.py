"""`pushcore send --start-at`: everything is ready before, and nothing leaves before."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fakeservers import FakeApns
from fakeservers.in_thread import InThread
from pushcore.cli.main import main
from tests.e2e.cli.test_send import DEADLINE, PAYLOAD

ROWS = 400
PYTHON = [sys.executable, "-m", "pushcore"]


def words(fake: FakeApns, place: Path, start: str, *extra: str) -> list[str]:
    (place / "payload.json").write_text(PAYLOAD)
    (place / "devices.csv").write_text(
        "token,name\n" + "".join(f"{row:064x},Ada\n" for row in range(1, ROWS + 1))
    )
    credentials = ["--apns-key", str(fake.key_file), "--key-id", fake.key_id, "--team-id", fake.team_id]
    server = ["--topic", fake.topic, "--apns-url", fake.url, "--ca-file", str(fake.ca_file)]
    files = ["--audience", str(place / "devices.csv"), "--payload", str(place / "payload.json")]
    return ["send", *credentials, *server, *files, "--start-at", start, "--max-connections", "2", *extra]


@pytest.mark.parametrize("extra", [(), ("--processes", "2")], ids=["one", "two processes"])
@pytest.mark.parametrize("sink", ["--results", "--journal"])
def test_nothing_leaves_before_the_time(tmp_path: Path, sink: str, extra: tuple[str, ...]) -> None:
    with InThread(lambda: FakeApns(keep=2 * ROWS)) as running:
        fake = running.fake
        for seconds in (3.5, 10.0, 20.0):
            start = datetime.now(UTC) + timedelta(seconds=seconds)
            command = words(fake, tmp_path, start.isoformat(), sink, str(tmp_path / "out"), "--json", *extra)
            done = subprocess.run([*PYTHON, *command], capture_output=True, text=True, timeout=DEADLINE)
            if "is in the past" not in done.stderr:  # a busy machine takes longer to start a process
                break
        assert done.returncode == 0, done.stderr
        times = [request.time for request in fake.received]
        assert len(times) == ROWS
        assert min(times) >= start.timestamp()
        summary = json.loads(done.stdout)
        assert 0 < summary["first_result"] <= summary["last_result"]


def test_a_signal_while_it_waits_ends_it(tmp_path: Path) -> None:
    with InThread(FakeApns) as running:
        start = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        process = subprocess.Popen(
            [*PYTHON, *words(running.fake, tmp_path, start, "--results", str(tmp_path / "out.csv"))],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        line = process.stderr.readline()
        assert f"waiting until {start}" in line
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=DEADLINE)
        assert process.returncode == 1, said
        assert not running.fake.received


def test_a_signal_before_the_loop_takes_signals_is_not_waited_over(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from pushcore.cli.main import main
from pushcore.cli.run import campaign

relax = campaign.relax_collector

def signalled():
    relax()
    os.kill(os.getpid(), signal.SIGTERM)

campaign.relax_collector = signalled
sys.exit(main(sys.argv[1:]))
"""
    with InThread(FakeApns) as running:
        start = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        command = words(running.fake, tmp_path, start, "--results", str(tmp_path / "out.csv"))
        done = subprocess.run(
            [sys.executable, "-c", program, *command], capture_output=True, text=True, timeout=DEADLINE
        )
        assert done.returncode == 1, done.stderr
        assert not running.fake.received


@pytest.mark.parametrize(
    ("start", "words_said"),
    [
        ("2020-01-01T00:00:00Z", "in the past"),
        ("2999-01-01T00:00:00", "has no time zone"),
        ("tomorrow", "is not a time; expected one such as"),
    ],
)
def test_a_time_that_cannot_be_is_refused(
    start: str, words_said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["send", "--start-at", start, "--audience", str(tmp_path / "a.csv")]) == 2
    said = capsys.readouterr().err
    assert words_said in said
    assert "--start-at" in said
