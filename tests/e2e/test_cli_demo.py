"""`pushcore demo` as a process."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pushcore.cli.demo import compare, plant

DEADLINE = 30.0


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "pushcore", "demo", *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE)


def test_everything_comes_back_as_planted(tmp_path: Path) -> None:
    done = demo("--devices", "2000", "--keep", str(tmp_path / "kept"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[-2:] for line in lines[1:6]] == [
        ["1,950", "1,950"],
        ["20", "20"],
        ["6", "6"],
        ["14", "14"],
        ["10", "10"],
    ]
    assert lines[6].startswith("all 2,000 rows came back as planted")
    with (tmp_path / "kept" / "results.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2000
    assert {"audience.csv", "payload.json", "results.csv", "certs"} <= {
        each.name for each in (tmp_path / "kept").iterdir()
    }


def test_a_row_that_is_wrong_missing_or_double_is_found(tmp_path: Path) -> None:
    planted = plant(100, tmp_path)
    head = "row,token,platform,verdict,status,reason,id,timestamp,attempts\n"
    good = [f"{row},aa,apns,ACCEPTED,200,,,,1\n" for row in range(1, 101) if row not in planted]
    path = tmp_path / "results.csv"
    path.write_text(head + "".join(good))
    right, wrong = compare(path, planted, 100)
    assert (right.total(), wrong) == (len(good), len(planted))
    path.write_text(head + "".join(good[:-1]) + good[0])
    assert compare(path, planted, 100)[1] > len(planted)
    path.write_text(head + "".join(good).replace("ACCEPTED", "UNKNOWN", 1))
    assert compare(path, planted, 100)[1] == len(planted) + 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("sending", [False, True])
def test_the_server_never_outlives_it(tmp_path: Path, number: signal.Signals, sending: bool) -> None:
    words = [sys.executable, "-m", "pushcore", "demo", "--devices", "200000", "--keep", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
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


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = demo("--keep", str(tmp_path / "file"))
    assert done.returncode == 2
    assert done.stderr.startswith("pushcore: ")
    assert "Traceback" not in done.stderr
