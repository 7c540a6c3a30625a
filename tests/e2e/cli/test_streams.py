"""A campaign whose standard error is closed, broken or full: signals are obeyed, children end, results are written."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakeservers import FakeApns
from fakeservers.in_thread import InThread
from tests.e2e.cli.journal_cli import DEADLINE, JOURNAL, credentials, inside, results, status, write_inputs
from tests.e2e.cli.test_kill import config_of, received
from tests.e2e.cli.test_processes import nobody_left, wait_for
from tests.support import nats

ROWS = 40_000
SLOW = ("--rate", "4000/s", "--window", "200")

pytestmark = pytest.mark.slow


@pytest.fixture
def fake() -> Iterator[InThread[FakeApns]]:
    with InThread(lambda: FakeApns(keep=100_000)) as running:
        yield running


class BadStream:
    """A standard error of a kind, and how to give it to a process."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.numbers: list[int] = []

    def start(self, place: Path, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pushcore", *words]
        options: dict[str, Any] = {"cwd": place, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        if self.kind == "closed":
            return subprocess.Popen(
                ["sh", "-c", 'exec "$@" 2>&-', "sh", *command], start_new_session=True, **options
            )
        reads, writes = os.openpty() if self.kind == "terminal" else os.pipe()
        if self.kind == "full":
            os.set_blocking(writes, False)
            try:
                while True:
                    os.write(writes, b"x" * 4096)
            except BlockingIOError:
                os.set_blocking(writes, True)
        process = subprocess.Popen(command, stderr=writes, start_new_session=True, **options)
        os.close(writes)
        self.numbers.append(reads)
        return process

    def spoil(self) -> None:
        """From now on nobody reads; of a terminal, it is gone."""
        if self.kind in ("broken", "terminal"):
            os.close(self.numbers.pop())

    def close(self) -> None:
        for number in self.numbers:
            os.close(number)


@pytest.fixture(params=["closed", "broken", "terminal", "full"])
def stream(request: pytest.FixtureRequest) -> Iterator[BadStream]:
    made = BadStream(request.param)
    yield made
    made.close()


@pytest.mark.parametrize("journal", [False, True])
@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_drains_whatever_the_standard_error_is(
    fake: InThread[FakeApns], tmp_path: Path, stream: BadStream, processes: str, journal: bool, number: int
) -> None:
    write_inputs(tmp_path, ROWS)
    words = ["send", "--audience", "devices.csv", "--results", "results.csv", "--processes", processes]
    if journal:
        words += ["--journal", JOURNAL]
    process = stream.start(tmp_path, *words, *credentials(config_of(fake)), *SLOW)
    try:
        wait_for(lambda: received(fake).total() > 200)
        assert process.poll() is None
        stream.spoil()
        process.send_signal(number)
        assert process.wait(DEADLINE) == 1
    finally:
        process.kill()
    wait_for(lambda: nobody_left(process.pid))
    with (tmp_path / "results.csv").open(newline="") as file:
        verdicts = [row["verdict"] for row in csv.DictReader(file)]
    sent = received(fake)
    assert verdicts.count("ACCEPTED") == len(sent) == sent.total() < ROWS
    if journal:
        assert status(tmp_path)["state"] == "stopped"
        assert len(results(tmp_path)) == len(verdicts)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_it_ends_as_it_should_without_a_signal(
    fake: InThread[FakeApns], tmp_path: Path, stream: BadStream, processes: str
) -> None:
    write_inputs(tmp_path, 3000)
    words = ["send", "--audience", "devices.csv", "--results", "results.csv", "--processes", processes]
    process = stream.start(tmp_path, *words, *credentials(config_of(fake)))
    try:
        stream.spoil()
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
    assert (tmp_path / "results.csv").read_text().count("ACCEPTED") == 3000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_drains_whatever_its_standard_error_is(
    fake: InThread[FakeApns], tmp_path: Path, stream: BadStream, number: int
) -> None:
    """What it had taken has its outcome on the queue, and nothing of it is lost."""
    if nats.BINARY is None:
        pytest.skip(nats.MISSING)
    server = nats.NatsServer(tmp_path / "queue")
    write_inputs(tmp_path, 3000)
    queue = ["--queue", server.url]
    at = [*queue, "--ledger", str(tmp_path / "ledger")]
    words = ["worker", *queue, "--campaign", "autumn", *credentials(config_of(fake))]
    server.start()
    try:
        inside(tmp_path, "campaign", "create", *at, "--name", "autumn", "--audience", "devices.csv")
        process = stream.start(tmp_path, *words, "--rate", "500/s", "--window", "100")
        try:
            wait_for(lambda: received(fake).total() > 100)
            stream.spoil()
            process.send_signal(number)
            assert process.wait(DEADLINE) == 0
        finally:
            process.kill()
        told = inside(tmp_path, "campaign", "status", *at)
        assert "are with workers" in told.stdout
        assert ", 0 are with workers," in told.stdout
        assert received(fake).total() == len(received(fake)) < 3000
    finally:
        server.stop()
