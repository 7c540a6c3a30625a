"""Does a notification cost more when more of them are in flight? It must not."""

from __future__ import annotations

from statistics import median
from typing import Any

from rich.console import Console

from .stage import fake_apns, ours


def measure(console: Console, *, count: int, runs: int) -> list[dict[str, Any]]:
    """CPU for each at 100 and at 1000 streams, on one connection and on eight; the ratio of each round's pair."""
    rows = []
    with fake_apns("bare") as target:
        for connections in (1, 8):
            few, many = [], []
            for number in range(1, runs + 1):
                with console.status(f"{connections} connections, run {number} of {runs}"):
                    few.append(
                        ours("frames", target, count=count, streams=100, connections=connections).cpu_us
                    )
                    many.append(
                        ours("frames", target, count=count, streams=1000, connections=connections).cpu_us
                    )
            ratio = median(more / less for less, more in zip(few, many, strict=True))
            rows.append(
                {
                    "connections": connections,
                    "cpu_us_100": round(median(few), 3),
                    "cpu_us_1000": round(median(many), 3),
                    "ratio": round(ratio, 3),
                }
            )
            console.print(
                f"{connections} connections: {median(few):.2f} µs at 100 streams, {median(many):.2f} µs at 1000, "
                f"ratio {ratio:.2f}"
            )
    return rows
