"""A sweep loses nothing to one measurement that fails, and goes on where it was."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.harness.look import Column, TableLayout, read, write
from bench.harness.stage import CannotMeasure
from bench.report.suite import Measurement
from bench.report.sweep import SweepResult, minutes, steps, sweep

MACHINE = {"cpu": "x", "cores": 2, "commit": "abc1234"}
FORM = TableLayout("Title", (Column("rate", "rate"),))


def measurement(name: str, outcome: BaseException | list[str], *, of_provider: bool = True) -> Measurement:
    """One that raises, or that notes its provider in `outcome` and has a row."""

    def run(console: Console, provider: str, short: bool) -> list[dict[str, Any]]:
        if isinstance(outcome, BaseException):
            raise outcome
        outcome.append(provider)
        return [{"provider": provider, "rate": len(outcome)}]

    return Measurement(name, FORM, run, ("", "--short"), of_provider)


def swept(place: Path, **options: Any) -> SweepResult:
    console, names = Console(file=io.StringIO()), ("bad", "good", "long")
    return sweep(console, place, MACHINE, names=names, providers=("apns", "fcm"), short=True, **options)


def suite(monkeypatch: pytest.MonkeyPatch, *measurements: Measurement) -> None:
    monkeypatch.setattr("bench.report.sweep.MEASUREMENTS", {each.name: each for each in measurements})


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CannotMeasure("h2load is missing"), "bad (apns): h2load is missing"),
        (KeyError("rate"), "bad (apns): KeyError: 'rate'"),
    ],
)
def test_one_that_fails_is_said_and_the_others_are_run(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    suite(monkeypatch, measurement("bad", error), measurement("good", seen))
    found = swept(tmp_path)
    assert seen == ["apns", "fcm"]
    assert found.missing[0] == said
    assert [row["measurement"] for row in found.rows] == ["good", "good"]
    assert read(tmp_path / "good-fcm.json") == (MACHINE, [found.rows[1]])


def test_ctrl_c_ends_it_with_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    suite(monkeypatch, measurement("good", seen), measurement("long", KeyboardInterrupt(), of_provider=False))
    found = swept(tmp_path)
    assert len(found.rows) == 2
    assert found.missing == ["interrupted before the end of: long (apns)"]


def test_earlier_measurements_are_reused_with_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    suite(monkeypatch, measurement("good", seen))
    first = swept(tmp_path)
    assert swept(tmp_path, resume=True).rows == first.rows
    assert len(seen) == 2
    write(tmp_path / "good-fcm.json", MACHINE | {"commit": "fff"}, [first.rows[1]])
    (tmp_path / "good-apns.json").write_text("{")
    swept(tmp_path, resume=True)
    assert seen == ["apns", "fcm"] * 2
    swept(tmp_path)
    assert len(seen) == 6


def test_rows_of_another_form_are_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    suite(monkeypatch, measurement("good", seen))
    row = {"measurement": "good", "command": "python -m bench good --provider apns", "rate": 1}
    write(tmp_path / "good-apns.json", MACHINE, [row])
    swept(tmp_path, resume=True)
    assert seen == ["apns", "fcm"]


def test_a_measurement_without_a_provider_runs_once() -> None:
    assert [(each.name, provider) for each, provider in steps(("startup", "fakes"), ("apns", "fcm"))] == [
        ("startup", "apns"),
        ("startup", "fcm"),
        ("fakes", "apns"),
    ]


def test_time_is_told_in_minutes() -> None:
    assert minutes(425.4) == "7 min 05 s"
