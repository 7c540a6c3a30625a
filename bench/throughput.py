"""Throughput and CPU against h2load: the same requests, the same server, the same core, one connection."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from .stage import CannotMeasure, Measured, Target, fake_apns, h2load, medians, nghttpd, ours

CASES = ("frames", "engine", "send")
SERVER_BOUND = 0.9
"""Above this share of its core the server, not the client, decides the rate; ratios of rates then say nothing."""


def measure(console: Console, *, count: int, runs: int, cases: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of the report: each case on the bare fake, and `frames` on nghttpd."""
    rows: list[dict[str, Any]] = []
    with fake_apns("bare") as bare:
        rows += _on(console, bare, cases, count, runs)
        if "frames" in cases:
            try:
                with nghttpd(bare) as other:
                    rows += _on(console, other, ("frames",), count, runs)
            except CannotMeasure as error:
                console.print(f"nghttpd left out: {error}")
    _show(console, rows)
    return rows


def _on(
    console: Console, target: Target, cases: Sequence[str], count: int, runs: int
) -> list[dict[str, Any]]:
    """Runs take turns, so that a change of the machine's speed meets all of them."""
    yardstick: list[Measured] = []
    results: dict[str, list[Measured]] = {case: [] for case in cases}
    for number in range(1, runs + 1):
        with console.status(f"{target.name}, run {number} of {runs}: h2load"):
            yardstick.append(h2load(target, count=count))
        for case in cases:
            with console.status(f"{target.name}, run {number} of {runs}: {case}"):
                results[case].append(ours(case, target, count=count))
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
    case: str, target: Target, measured: Measured, rate_ratio: float, cpu_ratio: float, base: Measured
) -> dict[str, Any]:
    return {
        "case": case,
        "target": target.name,
        "rate": round(measured.rate),
        "cpu_us": round(measured.cpu_us, 3),
        "rate_ratio": round(rate_ratio, 3),
        "cpu_ratio": round(cpu_ratio, 3),
        "server_use": round(measured.server_use, 3),
        "server_bound": base.server_use >= SERVER_BOUND,
    }


def _show(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table(title="Ratios to h2load in the same run, bigger is better for us")
    for name in (
        "case",
        "target",
        "notifications/s",
        "CPU µs each",
        "rate ratio",
        "CPU ratio",
        "server's core",
    ):
        table.add_column(name, justify="left" if name in ("case", "target") else "right")
    for row in rows:
        rate_ratio = "server-bound" if row["server_bound"] else f"{row['rate_ratio']:.2f}"
        table.add_row(
            row["case"],
            row["target"],
            f"{row['rate']:,}".replace(",", " "),
            f"{row['cpu_us']:.2f}",
            rate_ratio,
            f"{row['cpu_ratio']:.2f}",
            f"{row['server_use']:.0%}",
        )
    console.print(table)
