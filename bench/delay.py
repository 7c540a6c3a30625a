"""A server that takes its time: how many of the streams that it allows does a client keep in use?"""

from __future__ import annotations

from typing import Any

from rich.console import Console

from .stage import Measured, fake_apns, h2load, medians, ours

STREAMS = 1000


def measure(console: Console, *, count: int, runs: int, delay_ms: int) -> list[dict[str, Any]]:
    """Rates of `send`, `engine` and h2load, and their share of the ideal: streams / delay."""
    ideal = STREAMS / (delay_ms / 1000)
    results: dict[str, list[Measured]] = {"h2load": [], "engine": [], "send": []}
    with fake_apns("bare", "--delay-ms", str(delay_ms)) as target:
        for number in range(1, runs + 1):
            with console.status(f"run {number} of {runs}"):
                results["h2load"].append(h2load(target, count=count, streams=STREAMS))
                for case in ("engine", "send"):
                    results[case].append(ours(case, target, count=count, streams=STREAMS))
    base = medians(results["h2load"]).rate
    rows = []
    for case, measured in results.items():
        rate = medians(measured).rate
        row = {"case": case, "delay_ms": delay_ms, "rate": round(rate)}
        row |= {"of_ideal": round(rate / ideal, 3), "of_h2load": round(rate / base, 3)}
        rows.append(row)
        console.print(
            f"{case:8} {rate:10,.0f}/s  {rate / ideal:.1%} of the ideal  {rate / base:.3f} of h2load"
        )
    return rows
