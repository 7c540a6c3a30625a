"""Whether a notification costs more when more are in flight. It must not."""

from __future__ import annotations

from statistics import median
from typing import Any, Final

from rich.console import Console

from ..harness.clients import ours
from ..harness.look import Column, TableLayout, show, two, whole
from ..harness.providers import PROVIDERS
from ..harness.stage import fake

FORM: Final = TableLayout(
    "CPU µs for each notification, by streams in flight on each connection",
    (
        Column("provider", "provider"),
        Column("connections", "connections", whole),
        Column("cpu_us_100", "a tenth of the streams", two),
        Column("cpu_us_1000", "all streams", two),
        Column("ratio", "ratio", two),
    ),
)


def measure(console: Console, *, count: int, runs: int, provider: str = "apns") -> list[dict[str, Any]]:
    """CPU per notification at 100 and at 1000 streams (FCM: 10 and 100), on one connection and on eight, and their ratio.

    The ratio is the median of the rounds' ratios.
    """
    rows = []
    most = PROVIDERS[provider].streams
    with fake(provider, "bare") as target:
        for connections in (1, 8):
            few: list[float] = []
            many: list[float] = []
            for number in range(1, runs + 1):
                with console.status(f"{connections} connections, run {number} of {runs}"):
                    for streams, seen in ((most // 10, few), (most, many)):
                        run = ours("frames", target, count=count, streams=streams, connections=connections)
                        seen.append(run.cpu_us)
            ratio = median(more / less for less, more in zip(few, many, strict=True))
            rows.append(
                {
                    "provider": provider,
                    "connections": connections,
                    "cpu_us_100": round(median(few), 3),
                    "cpu_us_1000": round(median(many), 3),
                    "ratio": round(ratio, 3),
                }
            )
    show(console, FORM, rows)
    return rows
