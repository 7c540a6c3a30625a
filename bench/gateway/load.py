"""How long single pushes take in the gateway at an offered load: alone, beside slow and hostile clients, and beside a caller with a million."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from pushcore.gateway.callers import new_token

from ..harness import look, options
from ..harness.stage import SERVER_CORE, CannotMeasure, end, first_line, run_on, start_on
from ..servers import constant
from .cpu import gateway

CASES: Final = ("alone", "hostile", "million")
"""`hostile`: with one slow and one hostile client for each hundred pushes. `million`: while another caller streams pushes as fast as they
are taken."""

FORM: Final = look.TableLayout(
    "The gateway under an offered load",
    (
        look.Column("case", "case", look.plain),
        look.Column("rate", "pushes/s", look.whole),
        look.Column("offered", "offered", look.whole),
        look.Column("delay_ms", "provider ms", look.whole),
        look.Column("p50", "p50 ms", look.two),
        look.Column("p99", "p99 ms", look.two),
        look.Column("of_alone", "p99 \N{DIVISION SIGN} alone", look.two),
        look.Column("p99_9", "p99.9 ms", look.two),
        look.Column("max", "max ms", look.two),
        look.Column("cpu_us", "CPU µs a push", look.two),
        look.Column("accepted", "accepted", look.share),
        look.Column("beside", "the million's pushes/s", look.whole),
        look.Column("target", "server", look.plain),
    ),
    "one process of the gateway on one core, the load and the provider on the other; latencies from the moment when a push was due; "
    "where `offered` is less than pushes/s, the load itself was too slow; CPU of a push is not shown beside a million, whose pushes it "
    "would count",
)


def measure(
    console: Console, *, rate: int, seconds: float, delay_ms: float, cases: tuple[str, ...] = CASES
) -> list[dict[str, Any]]:
    """A row for each case. `of_alone`: its p99 divided by the p99 of the case "alone", if the same call measured it."""
    rows: list[dict[str, Any]] = []
    token, other = new_token(), new_token()
    for case in cases:
        with (
            tempfile.TemporaryDirectory() as folder,
            constant.target("auto", "apns", delay_ms=delay_ms) as target,
            gateway(Path(folder), target, token, other) as (url, process),
            console.status(case),
        ):
            command = [sys.executable, "-m", "bench.gateway.single", url, token, str(rate), str(seconds)]
            if case == "hostile":
                command.append("--hostile")
            others: contextlib.AbstractContextManager[list[float]] = (
                million(url, other) if case == "million" else contextlib.nullcontext([])
            )
            with others as beside:
                before = sum(process.cpu_times()[:2])
                ran = run_on(SERVER_CORE, command, stdout=subprocess.PIPE)
                used = sum(process.cpu_times()[:2]) - before
            if ran.returncode:
                raise CannotMeasure("the load did not end as it should; what it said is above")
            counted = json.loads(ran.stdout.splitlines()[-1])
            row = {"case": case, "rate": rate, "offered": counted["offered"], "delay_ms": delay_ms}
            row |= counted["latencies"]
            alone = next((earlier for earlier in (*rows, row) if earlier["case"] == "alone"), None)
            row["of_alone"] = alone and row["p99"] / alone["p99"]
            row["cpu_us"] = None if beside else used / counted["planned"] * 1e6
            row["accepted"] = counted["verdicts"].get("ACCEPTED", 0) / counted["planned"]
            row["beside"] = beside[0] if beside else None
            rows.append(row | {"target": target.name})
    look.show(console, FORM, rows)
    return rows


@contextlib.contextmanager
def million(url: str, token: str) -> Iterator[list[float]]:
    """An endless stream of another caller; at the end the list holds its accepted pushes per second."""
    rate: list[float] = []
    command = [sys.executable, "-m", "bench.gateway.million", url, token]
    process = start_on(SERVER_CORE, command, stdout=subprocess.PIPE)
    try:
        if first_line(process) != "flowing\n":
            raise CannotMeasure("the other caller's stream did not begin; what it said is above")
        begun = time.perf_counter()
        yield rate
        if process.poll() is not None:
            raise CannotMeasure("the other caller's stream ended before the load; what it said is above")
        process.terminate()
        rate.append(int(first_line(process)) / (time.perf_counter() - begun))
    finally:
        end(process)


@click.command("gateway-load")
@click.option(
    "--rate", default=2000, type=click.IntRange(50, 20_000), show_default=True, help="Pushes a second."
)
@options.seconds(20.0, "How long pushes are due.")
@click.option(
    "--delay-ms", default=200.0, type=click.FloatRange(0, 400), show_default=True, help="The provider's time."
)
@options.several("--case", "cases", click.Choice(CASES), "Only these.")
@options.json_file
def gateway_load_command(
    rate: int, seconds: float, delay_ms: float, cases: tuple[str, ...], file: Path | None
) -> None:
    """Latency of single pushes to the gateway under load. Alone, beside slow and hostile clients, and beside a caller with a
    million."""
    rows = measure(options.console, rate=rate, seconds=seconds, delay_ms=delay_ms, cases=cases or CASES)
    options.keep("gateway-load", rows, file)
