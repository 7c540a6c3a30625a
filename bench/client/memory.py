"""Resident memory of a long campaign from a generator. It must depend on the window, not on the count."""

from __future__ import annotations

import subprocess
from typing import Any, Final

import psutil
from rich.console import Console

from ..harness.clients import finish, start
from ..harness.look import Column, TableLayout, show, two, whole
from ..harness.stage import CannotMeasure, fake

SECONDS: Final = 1.0  # between samples
LONGEST: Final = 1800  # seconds for the whole campaign
FORM: Final = TableLayout(
    "Resident memory of a campaign",
    (
        Column("provider", "provider"),
        Column("count", "notifications", whole),
        Column("rate", "pushes/s", whole),
        Column("peak_mb", "peak MB", two),
        Column("half_mb", "at half MB", two),
        Column("last_mb", "at the end MB", two),
        Column("slope_mb", "MB more per million", two),
    ),
    "the slope is taken over the second half; near 0 it is the window that needs the memory, not the campaign",
)


def measure(console: Console, *, count: int, provider: str = "apns") -> list[dict[str, Any]]:
    """Peak and growth of a process that runs the case `engine`, sampled from outside."""
    with fake(provider, "bare") as target:
        process = start("engine", target, count=count)
        try:
            watched = psutil.Process(process.pid)
            samples: list[float] = []
            with console.status(f"{count:,} notifications"):
                while process.poll() is None and len(samples) * SECONDS < LONGEST:
                    try:
                        process.wait(SECONDS)
                    except subprocess.TimeoutExpired:
                        resident = watched.memory_info().rss
                        samples += [resident / 2**20] if resident else []  # it has just ended
            measured = finish(process, "engine")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if measured.ok != count:
            raise CannotMeasure(f"{measured.ok} of {count} were accepted")
    half = samples[len(samples) // 2] if samples else measured.peak_mb
    last = samples[-1] if samples else measured.peak_mb
    row: dict[str, Any] = {
        "provider": provider,
        "count": count,
        "peak_mb": round(measured.peak_mb, 1),
        "half_mb": round(half, 1),
        "last_mb": round(last, 1),
        "slope_mb": round((last - half) / (count / 2e6), 3),
    }
    row |= {"rate": round(measured.rate), "samples": [round(sample, 1) for sample in samples]}
    show(console, FORM, [row])
    return [row]
