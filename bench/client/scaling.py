"""The effect of more connections, processes or streams in flight, and of larger bodies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any, Final

from rich.console import Console

from ..harness.clients import finish, start
from ..harness.look import Column, TableLayout, plain, share, show, two, whole
from ..harness.providers import PROVIDERS, Workload
from ..harness.stage import CannotMeasure, ClientRun
from ..servers import constant
from .throughput import compare

DIMENSIONS: Final = ("connections", "streams", "size", "processes")
CONNECTIONS: Final = (1, 2, 4, 8, 16)
CASES: Final = ("frames", "engine")
ROUNDS: Final = 20_000
"""Answers that a stream waits for at most, when the number of streams changes."""
FORM: Final = TableLayout(
    "One thing changed at a time, the rest as in `throughput`",
    (
        Column("dimension", "what"),
        Column("value", "how many", whole),
        Column("case", "case"),
        Column("provider", "provider"),
        Column("target", "target", plain),
        Column("rate", "pushes/s", whole),
        Column("cpu_us", "CPU µs", two),
        Column("rate_ratio", "rate ratio", two),
        Column("cpu_ratio", "CPU ratio", two),
        Column("server_use", "server", share),
        Column("cores", "client cores", whole),
    ),
    "size: bytes of a body; ratios are to h2load with the same change. Processes share a core where there are fewer "
    "client cores than processes; each has a server of its own, and all servers share one core",
)


def measure(
    console: Console,
    *,
    provider: str,
    count: int,
    runs: int,
    dimensions: Sequence[str] = DIMENSIONS,
    kind: str = "auto",
    cases: Sequence[str] = CASES,
    few: bool = False,
) -> list[dict[str, Any]]:
    """A row for each client and value. `few`: only the smallest and the largest value of each."""
    rows: list[dict[str, Any]] = []
    single = [dimension for dimension in dimensions if dimension != "processes"]
    if single:
        with constant.target(kind, provider) as target:
            for dimension in single:
                for value in _some(_values(provider, dimension), few):
                    options: dict[str, Any] = {dimension: value}
                    pushes = count
                    if dimension == "size":
                        options = {"work": Workload(size=value)}
                    elif dimension == "streams":
                        pushes = min(count, value * ROUNDS)  # one at a time is slow
                    label = f"{dimension} {value}"
                    measured = compare(console, target, cases, pushes, runs, label=label, **options)
                    rows += [
                        {"dimension": dimension, "value": value} | row | {"cores": 1} for row in measured
                    ]
    if "processes" in dimensions:
        for value in _some(_values(provider, "processes"), few):
            rows.append(_together(console, provider, kind, value, count, runs))
    show(console, FORM, rows)
    return rows


def _values(provider: str, dimension: str) -> tuple[int, ...]:
    if dimension == "connections":
        return CONNECTIONS
    if dimension == "streams":
        most = PROVIDERS[provider].streams
        return tuple(value for value in (1, 10, 100, 1000) if value <= most)
    if dimension == "size":
        return PROVIDERS[provider].sizes
    cores = max((os.cpu_count() or 2) - 1, 1)
    return tuple(sorted({1, 2, *(2**power for power in range(6) if 2**power <= cores)}))


def _some(values: Sequence[int], few: bool) -> Sequence[int]:
    return (values[0], values[-1]) if few and len(values) > 2 else values


def _together(
    console: Console, provider: str, kind: str, processes: int, count: int, runs: int
) -> dict[str, Any]:
    """Several processes of the case `engine` at the same time, each with its own server."""
    rates, cpus, uses = [], [], []
    name = ""
    with ExitStack() as running:
        targets = [running.enter_context(constant.target(kind, provider)) for _ in range(processes)]
        name = targets[0].name
        for run in range(1, runs + 1):
            with console.status(f"{processes} processes, run {run} of {runs}"):
                used = sum(target.cpu() for target in targets)
                started = [
                    start("engine", target, count=count, number=number)
                    for number, target in enumerate(targets)
                ]
                try:
                    measured: list[ClientRun] = [finish(process, "engine") for process in started]
                finally:
                    for process in started:
                        if process.poll() is None:
                            process.kill()
                            process.wait()
                used = sum(target.cpu() for target in targets) - used
            if any(run.ok != count for run in measured):
                raise CannotMeasure("engine: not all were accepted")
            # They start within milliseconds of each other; the slowest tells how long all took.
            rates.append(processes * min(run.rate for run in measured))
            cpus.append(median(run.cpu_us for run in measured))
            uses.append(used / (count / min(run.rate for run in measured)))
    row: dict[str, Any] = {"dimension": "processes", "value": processes, "case": "engine"}
    row |= {"provider": provider, "target": name, "rate": round(median(rates))}
    row |= {"cpu_us": round(median(cpus), 3), "server_use": round(median(uses), 3)}
    return row | {"cores": min(processes, max((os.cpu_count() or 2) - 1, 1))}
