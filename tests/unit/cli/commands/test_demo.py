"""`pushcore demo` with fake servers that are scripted: what it compares, where its files are, and how it ends."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pushcore.cli.commands import demo as command
from pushcore.cli.run.demo_audience import DemoDevice, kinds, write_demo_audience

from .conftest import Run

pytest.importorskip("fakeservers")
COLUMNS = ("row", "platform", "verdict", "status", "reason", "timestamp")


class Fakes:
    """Stands in for the servers' process."""

    made: ClassVar[list[Fakes]] = []
    apns: ClassVar[dict[str, str]] = {"url": "https://127.0.0.1:1"}
    fcm: ClassVar[dict[str, str]] = {"url": "https://127.0.0.1:2"}

    def __init__(self, place: Path, service: str) -> None:
        self.place, self.service = place, service
        self.ended = self.killed = False
        self.made.append(self)

    def __enter__(self) -> Fakes:
        return self

    def __exit__(self, *_: object) -> None:
        self.ended = True

    def kill(self) -> None:
        self.killed = True


class Sending:
    """Stands in for the campaign: writes results as planted but for the rows in `lost`."""

    def __init__(self) -> None:
        self.planted: list[DemoDevice] = []
        self.lost: set[int] = set()
        self.status = 0
        self.aborts: list[Any] = []

    def write_demo_audience(self, devices: int, place: Path) -> list[DemoDevice]:
        self.planted = write_demo_audience(devices, place)
        return self.planted

    def send(self, place: Path, fake: Fakes, abort: Any) -> tuple[int, float]:
        assert not fake.ended
        self.aborts.append(abort)
        with (place / "results.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for row, kind in enumerate(self.planted, 1):
                if row not in self.lost:
                    moment = "then" if kind.status == "410" else ""
                    writer.writerow((row, kind.platform, kind.verdict, kind.status, kind.reason, moment))
        return self.status, 2.0


@pytest.fixture
def sending(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sending]:
    made = Sending()
    monkeypatch.setattr(Fakes, "made", [])
    monkeypatch.setattr(command, "FakeProcess", Fakes)
    monkeypatch.setattr(command, "write_demo_audience", made.write_demo_audience)
    monkeypatch.setattr(command, "_send", made.send)
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield made
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_when_every_row_came_back_as_planted_it_says_so_and_leaves_nothing(
    sending: Sending, run: Run
) -> None:
    status, out, error = run("demo", "--devices", "200")
    assert status == 0
    lines = out.splitlines()
    assert lines[0].split() == ["device", "verdict", "rows", "as", "expected"]
    assert len(lines) == len(kinds()) + 2
    assert "<--" not in out
    assert lines[-1].startswith("all 200 rows have the expected result (")
    assert lines[-1].endswith("), 100 a second")
    assert error.startswith(
        "writing 200 fake devices, starting a fake APNs and a fake FCM\n"
        "fake APNs at https://127.0.0.1:1, fake FCM at https://127.0.0.1:2, 200 devices written"
    )
    (fakes,) = Fakes.made
    assert (fakes.service, fakes.ended, fakes.place.exists()) == ("all", True, False)


def test_a_row_that_did_not_come_back_is_marked_and_counted(sending: Sending, run: Run) -> None:
    sending.lost = {7}
    status, out, error = run("demo", "--devices", "200")
    assert status == 1
    (marked,) = [line for line in out.splitlines() if line.endswith("<--")]
    assert marked.startswith(sending.planted[6].name)
    assert error.endswith("pushcore: 1 rows have an unexpected result; --keep DIR keeps the results\n")


def test_a_run_that_did_not_end_well_is_not_compared(sending: Sending, run: Run) -> None:
    sending.status = 3
    assert run("demo", "--devices", "200")[:2] == (3, "")


def test_its_files_stay_where_they_were_asked_for(sending: Sending, run: Run, tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    assert run("demo", "--devices", "150", "--keep", str(place))[0] == 0
    assert {each.name for each in place.iterdir()} == {"audience.csv", "payload.json", "results.csv"}


@pytest.mark.parametrize("keep", [False, True])
def test_an_abort_kills_the_servers_and_leaves_only_what_was_asked_for(
    sending: Sending, run: Run, tmp_path: Path, keep: bool
) -> None:
    run("demo", "--devices", "150", *(("--keep", str(tmp_path / "demo")) if keep else ()))
    (fakes,) = Fakes.made
    fakes.place.mkdir(exist_ok=True)
    sending.aborts[0]()
    assert fakes.killed
    assert fakes.place.exists() is keep


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_as_ctrl_c_does(
    sending: Sending, run: Run, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def interrupted(place: Path, fake: Fakes, abort: Any) -> tuple[int, float]:
        os.kill(os.getpid(), number)
        raise AssertionError

    monkeypatch.setattr(command, "_send", interrupted)
    status, _, error = run("demo", "--devices", "150")
    assert (status, error.endswith("pushcore: interrupted\n")) == (1, True)
    (fakes,) = Fakes.made
    assert (fakes.ended, fakes.place.exists()) == (True, False)


def test_wrong_options_start_no_server(
    sending: Sending, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for options, words in (
        (["--devices", "99"], "Invalid value for '--devices'"),
        (["--keep", str(tmp_path / "file" / "demo")], "cannot be created as a directory (Not a directory)"),
    ):
        status, out, error = run("demo", *options)
        assert (status, out) == (2, "")
        assert words in error
    monkeypatch.setattr(command, "needed_extra", lambda: "the demo needs the fake servers")
    assert run("demo") == (2, "", "pushcore: the demo needs the fake servers\n")
    assert Fakes.made == []
