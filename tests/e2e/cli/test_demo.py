"""`pushcore demo` as a process."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pushcore.cli.run.demo_audience import compare, write_demo_audience

DEADLINE = 90.0
DIED = "2025-11-05T08:30:00.250Z"


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "pushcore", "demo", *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE)


def test_everything_comes_back_as_planted(tmp_path: Path) -> None:
    done = demo("--devices", "2000", "--keep", str(tmp_path / "kept"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("writing 2,000 fake devices, starting a fake APNs and a fake FCM\n")
    assert "--rate" not in done.stderr  # which nobody has given
    lines = done.stdout.splitlines()
    assert [line.split()[-2:] for line in lines[1:-1]] == [
        [f"{count:,}"] * 2 for count in (1170, 12, 4, 8, 6, 500, 100, 120, 53, 8, 4, 3, 6, 6)
    ]
    assert {line.split()[-3] for line in lines[1:-1]} == {
        "ACCEPTED",
        "UNREGISTERED",
        "INVALID",
        "MISCONFIGURED",
    }
    assert lines[-1].startswith("all 2,000 rows have the expected result (1,200 APNs, 794 FCM, 6 neither), ")
    with (tmp_path / "kept" / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(int(row["row"]) for row in rows) == list(range(1, 2001))
    assert Counter(row["platform"] for row in rows) == {"apns": 1200, "fcm": 794, "": 6}
    assert {"audience.csv", "payload.json", "results.csv", "certs"} <= {
        file.name for file in (tmp_path / "kept").iterdir()
    }


def test_a_row_that_is_wrong_missing_or_double_is_found(tmp_path: Path) -> None:
    planted = write_demo_audience(200, tmp_path)
    expected = Counter(kind.name for kind in planted)
    head = "row,token,platform,verdict,status,reason,id,timestamp,attempts\n"
    rows = []
    for row, kind in enumerate(planted, 1):
        time = DIED if kind.status == "410" else ""
        rows.append(f'{row},aa,{kind.platform},{kind.verdict},{kind.status},"{kind.reason}",,{time},1\n')
    path = tmp_path / "results.csv"
    path.write_text(head + "".join(rows))
    assert compare(path, planted) == expected
    odd = next(row for row, kind in enumerate(planted) if kind.name == "iOS, unregistered")
    for changed in (
        rows[:odd] + rows[odd + 1 :],  # missing
        [*rows, rows[odd]],  # double
        [*rows, rows[odd], rows[odd]],
        [*rows[:odd], rows[odd].replace("apns", "fcm"), *rows[odd + 1 :]],
        [*rows[:odd], rows[odd].replace("UNREGISTERED", "INVALID"), *rows[odd + 1 :]],
        [*rows[:odd], rows[odd].replace(DIED, ""), *rows[odd + 1 :]],
    ):
        path.write_text(head + "".join(changed))
        differences = compare(path, planted)
        assert differences.total() == 199
        assert differences["iOS, unregistered"] == expected["iOS, unregistered"] - 1


@pytest.mark.parametrize(
    ("number", "sending"),
    [
        (signal.SIGINT, False),
        (signal.SIGINT, True),
        (signal.SIGTERM, False),
        (signal.SIGTERM, True),
        (signal.SIGHUP, False),
    ],
)
def test_the_server_never_outlives_it(tmp_path: Path, number: signal.Signals, sending: bool) -> None:
    words = [sys.executable, "-m", "pushcore", "demo", "--devices", "200000", "--keep", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("writing 200,000 fake devices")
            assert process.stderr.readline().startswith("fake APNs at ")
            servers = children(process.pid)
            results = tmp_path / "results.csv"
            while sending and not (results.exists() and results.stat().st_size):
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(number)
            process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
    assert process.returncode == 1
    assert len(servers) == 1
    assert not os.path.exists(f"/proc/{servers[0]}")


def test_the_server_does_not_outlive_a_kill(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pushcore", "demo", "--devices", "200000", "--keep", str(tmp_path)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            while not process.stderr.readline().startswith("fake APNs at "):
                assert process.poll() is None
            (server,) = children(process.pid)
        finally:
            process.kill()
    deadline = time.monotonic() + DEADLINE
    while is_running(server):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether there is such a process. One that has ended and is not waited for does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = demo("--keep", str(tmp_path / "file"))
    assert done.returncode == 2
    assert done.stderr.startswith("pushcore: ")
    assert "Traceback" not in done.stderr
