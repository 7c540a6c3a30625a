"""Runs one measurement after the other, even if some fail. The rows of each are written to disk at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from ..harness.look import read, write
from ..harness.stage import CannotMeasure
from .suite import MEASUREMENTS, Measurement

Row = dict[str, Any]

SAME: Final = ("cpu", "cores", "commit")
"""What must be alike in the descriptions of two machines for their rows to stand in one report."""


@dataclass(slots=True)
class SweepResult:
    """The rows of a sweep. `missing`: what could not be measured, one sentence each."""

    rows: list[Row] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def steps(names: Sequence[str], providers: Sequence[str]) -> list[tuple[Measurement, str]]:
    """The measurements in the suite's order, each with its provider; one without a provider is there once."""
    return [
        (measurement, provider)
        for name, measurement in MEASUREMENTS.items()
        if name in names
        for provider in (providers if measurement.of_provider else providers[:1])
    ]


def sweep(
    console: Console,
    place: Path,
    machine: Row,
    *,
    names: Sequence[str],
    providers: Sequence[str],
    short: bool,
    resume: bool = False,
) -> SweepResult:
    """Run these measurements and keep the rows of each in the directory `place`, which is made if it is missing.

    A failed measurement is in `missing`, and the next ones run. Ctrl-C ends the sweep with the rows so far. `resume`: what
    `place` has from the same command, machine and commit is not measured again.
    """
    place.mkdir(parents=True, exist_ok=True)
    swept = SweepResult()
    todo = steps(names, providers)
    began = time.monotonic()
    for number, (measurement, provider) in enumerate(todo, 1):
        command = measurement.command(provider, short)
        console.rule(f"{number} of {len(todo)} after {minutes(time.monotonic() - began)}: {command}")
        file = place / (
            f"{measurement.name}-{provider}.json" if measurement.of_provider else f"{measurement.name}.json"
        )
        kept = _kept(file, machine, command) if resume else []
        if kept:
            console.print(f"measured before: {file}")
            swept.rows += kept
            continue
        try:
            measured = measurement.run(console, provider, short)
        except KeyboardInterrupt:
            left = ", ".join(f"{each.name} ({of})" for each, of in todo[number - 1 :])
            swept.missing.append(f"interrupted before the end of: {left}")
            break
        except Exception as error:  # a broken one must not lose hours of other measurements
            reason = str(error) if isinstance(error, CannotMeasure) else f"{type(error).__name__}: {error}"
            swept.missing.append(f"{measurement.name} ({provider}): {reason}")
            console.print(swept.missing[-1], markup=False)
            continue
        rows = [{"measurement": measurement.name, "command": command} | row for row in measured]
        write(file, machine, rows)
        swept.rows += rows
    console.rule(f"{len(todo)} measurements in {minutes(time.monotonic() - began)}")
    return swept


def _kept(file: Path, machine: Row, command: str) -> list[Row]:
    """The rows of an earlier sweep; none if they are of another command, machine or commit."""
    try:
        its_machine, rows = read(file)
    except (OSError, ValueError):
        return []
    same = all(machine.get(key) == its_machine.get(key) for key in SAME)
    return rows if same and all(row.get("command") == command for row in rows) else []


def minutes(seconds: float) -> str:
    """A duration as `7 min 05 s`."""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02} s"
