"""Throughput and CPU against h2load: the same requests, the same server, the same core, one connection."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any, Final

from rich.console import Console

from ..harness.clients import h2load, medians, ours
from ..harness.look import Column, TableLayout, plain, share, show, two, whole
from ..harness.providers import USUAL, Workload
from ..harness.stage import CannotMeasure, ClientRun, Target
from ..servers import constant

CASES: Final = ("frames", "engine", "send")
SERVER_BOUND: Final = 0.9
"""Above this share of its core the server, not the client, decides the rate; ratios of rates then say nothing."""
FORM: Final = TableLayout(
    "Ratios to h2load in the same run, bigger is better for us",
    (
        Column("case", "case"),
        Column("target", "target"),
        Column("rate", "pushes/s", whole),
        Column("cpu_us", "CPU µs", two),
        Column("rate_ratio", "rate ratio", two),
        Column("cpu_ratio", "CPU ratio", two),
        Column("server_use", "server", share),
        Column("bound", "bound by", plain),
    ),
    "server: share of its core that it used; near 100 % the rates are its own, and only the CPU says something",
)


def measure(
    console: Console,
    *,
    provider: str,
    count: int,
    runs: int,
    cases: Sequence[str],
    targets: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """The rows: each case on each target.

    Default targets: the C target if it can be built, the provider's bare fake, and nghttpd for `frames` of APNs. A missing
    one is left out, and a line says so.
    """
    rows: list[dict[str, Any]] = []
    for kind in targets or ("c", "bare", "nghttpd"):
        # nghttpd says 404 to everything, which is an answer to `frames` alone.
        some = tuple(case for case in cases if case == "frames") if kind == "nghttpd" else tuple(cases)
        if not some or (kind == "nghttpd" and provider != "apns"):
            if targets:
                raise CannotMeasure("nghttpd answers 404, so it is for `--case frames` and APNs only")
            continue
        with ExitStack() as running:
            try:
                target = running.enter_context(constant.target(kind, provider))
            except CannotMeasure as error:
                if targets:
                    raise
                console.print(f"{kind} left out: {error}")
                continue
            rows += compare(console, target, some, count, runs)
    show(console, FORM, rows)
    return rows


def compare(
    console: Console,
    target: Target,
    cases: Sequence[str],
    count: int,
    runs: int,
    *,
    streams: int | None = None,
    connections: int = 1,
    work: Workload = USUAL,
    refused: int = 0,
    label: str = "",
) -> list[dict[str, Any]]:
    """A row for h2load and one for each case. Runs take turns, so that a change of the machine's speed affects all.

    `refused`: how many responses of a run must be rejections. `label`: the name in the progress.
    """
    yardstick: list[ClientRun] = []
    results: dict[str, list[ClientRun]] = {case: [] for case in cases}
    name = " ".join(filter(None, (target.provider, target.name, label)))
    for number in range(1, runs + 1):
        with console.status(f"{name}, run {number} of {runs}: h2load"):
            yardstick.append(h2load(target, count=count, streams=streams, connections=connections, work=work))
        for case in cases:
            with console.status(f"{name}, run {number} of {runs}: {case}"):
                run = ours(
                    case,
                    target,
                    count=count,
                    streams=streams,
                    connections=connections,
                    work=work,
                    refused=refused,
                )
                results[case].append(run)
    for run in results.get("frames", []):
        if run.cipher != yardstick[0].cipher:
            raise CannotMeasure(f"h2load uses the cipher {yardstick[0].cipher}, we use {run.cipher}")
    base = medians(yardstick)
    rows = [_row("h2load", target, base, 1.0, 1.0, base)]
    for case, measured in results.items():
        # Ratios within each round, then their median.
        rates = median(own.rate / other.rate for own, other in zip(measured, yardstick, strict=True))
        cpus = median(other.cpu_us / own.cpu_us for own, other in zip(measured, yardstick, strict=True))
        rows.append(_row(case, target, medians(measured), rates, cpus, base))
    return rows


def _row(
    case: str, target: Target, measured: ClientRun, rate_ratio: float, cpu_ratio: float, base: ClientRun
) -> dict[str, Any]:
    server_bound = base.server_use >= SERVER_BOUND
    return {
        "case": case,
        "provider": target.provider,
        "target": target.name,
        "rate": round(measured.rate),
        "cpu_us": round(measured.cpu_us, 3),
        "rate_ratio": round(rate_ratio, 3),
        "cpu_ratio": round(cpu_ratio, 3),
        "server_use": round(measured.server_use, 3),
        "server_bound": server_bound,
        "bound": "server" if measured.server_use >= SERVER_BOUND or server_bound else "client",
    }
