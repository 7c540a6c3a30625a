"""A slow server: how many of its streams does a client keep in use?"""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console

from ..harness.clients import h2load, medians, ours
from ..harness.look import Column, TableLayout, plain, share, show, two, whole
from ..harness.providers import PROVIDERS
from ..harness.stage import ClientRun
from ..servers import constant

FORM: Final = TableLayout(
    "A server that answers late",
    (
        Column("case", "case"),
        Column("provider", "provider"),
        Column("target", "target", plain),
        Column("delay_ms", "answers after ms", whole),
        Column("connections", "connections", whole),
        Column("rate", "pushes/s", whole),
        Column("of_ideal", "of the ideal", share),
        Column("of_h2load", "of h2load", two),
    ),
    "ideal: all streams that the provider allows on these connections, each used again at once",
)


def measure(
    console: Console,
    *,
    provider: str,
    count: int,
    runs: int,
    delay_ms: int,
    connections: int,
    kind: str = "bare",
) -> list[dict[str, Any]]:
    """Rates of `send`, `engine` and h2load, and their share of the ideal: all streams / delay."""
    ideal = PROVIDERS[provider].streams * connections / (delay_ms / 1000)
    results: dict[str, list[ClientRun]] = {"h2load": [], "engine": [], "send": []}
    with constant.target(kind, provider, delay_ms=delay_ms) as target:
        for number in range(1, runs + 1):
            with console.status(f"run {number} of {runs}"):
                results["h2load"].append(h2load(target, count=count, connections=connections))
                for case in ("engine", "send"):
                    results[case].append(ours(case, target, count=count, connections=connections))
    base = medians(results["h2load"]).rate
    rows = []
    for case, measured in results.items():
        rate = medians(measured).rate
        row: dict[str, Any] = {"case": case, "provider": provider, "target": target.name}
        row |= {"delay_ms": delay_ms, "connections": connections}
        row |= {"rate": round(rate), "of_ideal": round(rate / ideal, 3), "of_h2load": round(rate / base, 3)}
        rows.append(row)
    show(console, FORM, rows)
    return rows
