"""Latency under an offered load, from a tenth of the highest rate to nearly all of it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from ..harness.clients import h2load, h2load_command, read_h2load, run_h2load
from ..harness.look import Column, TableLayout, plain, share, show, two, whole
from ..harness.providers import PROVIDERS
from ..harness.schedule import summary
from ..harness.stage import CLIENT_CORE, TIMEOUT, CannotMeasure, Target, run_on
from ..servers import constant

LOADS: Final = (10, 25, 50, 75, 90, 95)
"""Per cent of the maximum."""
CASES: Final = ("engine", "send")
FORM: Final = TableLayout(
    "Latency in ms from the moment when a push was due",
    (
        Column("case", "case"),
        Column("provider", "provider"),
        Column("target", "target", plain),
        Column("delay_ms", "answers after ms", two),
        Column("load", "load", share),
        Column("offered", "offered/s", whole),
        Column("rate", "pushes/s", whole),
        Column("p50", "p50", two),
        Column("p90", "p90", two),
        Column("p99", "p99", two),
        Column("p99_9", "p99.9", two),
        Column("p99_99", "p99.99", two),
        Column("max", "max", two),
        Column("p99_limit", "p99 may be", two),
        Column("cpu_us", "CPU µs", two),
    ),
    "pushes are due in bursts, one each millisecond; load: of the most that this case managed just before. h2load's "
    "times run from its own start of a request, so a stall that keeps it from starting is not in them",
)


def measure(
    console: Console,
    *,
    provider: str,
    cases: Sequence[str] = CASES,
    loads: Sequence[int] = LOADS,
    seconds: float,
    delay_ms: float,
    connections: int = 1,
    kind: str = "auto",
    with_h2load: bool = True,
) -> list[dict[str, Any]]:
    """A row for each case and load; a percentile is None if there were too few pushes for it."""
    rows: list[dict[str, Any]] = []
    with constant.target(kind, provider, delay_ms=delay_ms) as target:
        for case in cases:
            with console.status(f"{provider} {case}: the most that goes"):
                most = offer(case, target, 0, seconds, connections)["rate"]
            for load in loads:
                with console.status(f"{provider} {case} at {load} % of {most:,.0f}/s"):
                    figures = offer(case, target, most * load / 100, seconds, connections)
                row = _row(case, target, delay_ms, load, most * load / 100, figures["rate"])
                rows.append(
                    row | {"cpu_us": round(figures["cpu_us"], 3), "ok": figures["ok"]} | figures["latencies"]
                )
        if with_h2load:
            try:
                rows += _h2load_rows(console, target, loads, seconds, delay_ms, connections)
            except CannotMeasure as error:
                console.print(f"h2load left out: {error}")
    show(console, FORM, rows)
    return rows


def _row(
    case: str, target: Target, delay_ms: float, load: int, offered: float, rate: float
) -> dict[str, Any]:
    row: dict[str, Any] = {"case": case, "provider": target.provider, "target": target.name}
    row |= {"delay_ms": delay_ms, "load": load / 100, "offered": round(offered), "rate": round(rate)}
    # The promise: at half load p99 within 1.5 times the server's own time and 5 ms.
    return row | {"p99_limit": 1.5 * delay_ms + 5 if load == 50 else None}


def offer(case: str, target: Target, rate: float, seconds: float, connections: int) -> dict[str, Any]:
    """One run of `bench.client.openloop` on the client's core; rate 0 is the highest that is possible."""
    command = [
        *target.inside,
        sys.executable,
        "-m",
        "bench.client.openloop",
        case,
        json.dumps(asdict(target)),
    ]
    done = run_on(
        CLIENT_CORE,
        [*command, str(rate), str(seconds), str(connections)],
        stdout=subprocess.PIPE,
        timeout=TIMEOUT,
    )
    if done.returncode:
        raise CannotMeasure(f"{case} failed; what it said is above")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if figures["ok"] != figures["answered"] or not figures["answered"]:
        raise CannotMeasure(f"{case}: {figures['ok']} of {figures['answered']} pushes were accepted")
    return figures


def _h2load_rows(
    console: Console,
    target: Target,
    loads: Sequence[int],
    seconds: float,
    delay_ms: float,
    connections: int,
) -> list[dict[str, Any]]:
    rows = []
    most = h2load(target, count=20_000 * connections, connections=connections).rate
    streams = PROVIDERS[target.provider].streams
    with tempfile.TemporaryDirectory() as directory:
        command = h2load_command(target, Path(directory))
        command += ["-c", str(connections), "-m", str(streams), "--log-file", f"{directory}/log"]
        for load in loads:
            per_connection = max(round(most * load / 100 / connections), 1)
            count = max(round(per_connection * connections * seconds), connections)
            Path(directory, "log").unlink(missing_ok=True)
            with console.status(f"{target.provider} h2load at {load} % of {most:,.0f}/s"):
                text, cpu = run_h2load([*command, "--rps", str(per_connection), "-n", str(count)])
            figures = read_h2load(text)
            latencies = read_log(Path(directory, "log").read_text())
            row = _row("h2load", target, delay_ms, load, per_connection * connections, figures.rate)
            rows.append(row | {"cpu_us": round(cpu / count * 1e6, 3), "ok": figures.ok} | summary(latencies))
    return rows


def read_log(text: str) -> list[float]:
    """The duration of each request in seconds, from h2load's `--log-file`: start in µs, status, duration in µs."""
    return [int(line.split("\t")[2]) / 1e6 for line in text.splitlines() if line.count("\t") >= 2]
