"""A distant server with Apple's flow control: how much of its streams and window is used?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from rich.console import Console

from ..harness.clients import h2load, ours
from ..harness.look import Column, TableLayout, plain, share, show, two, whole
from ..harness.providers import PROVIDERS, USUAL
from ..harness.stage import CannotMeasure, ClientRun
from ..servers.distance import distant, why_no_netem

ROUND_TRIPS: Final = (1, 20, 40, 100)
CONNECTIONS: Final = (1, 2, 4, 8, 16)
WINDOW: Final = 65_535
"""Bytes of bodies that Apple's servers let a connection send before they say more, the protocol's default. FCM's streams
run out long before its window does."""
CORE_BOUND: Final = 0.9
LEAST: Final = 2000  # notifications of a run, so that its first round trips do not count too much
FORM: Final = TableLayout(
    "Throughput over a distance; with APNs, 65 535 bytes of window on each connection",
    (
        Column("case", "case"),
        Column("provider", "provider"),
        Column("way", "way", plain),
        Column("rtt_ms", "round trip ms", two),
        Column("connections", "connections", whole),
        Column("rate", "pushes/s", whole),
        Column("ideal", "ideal/s", whole),
        Column("of_ideal", "of the ideal", share),
        Column("of_h2load", "of h2load", two),
        Column("core_use", "core", share),
        Column("far_use", "far core", share),
        Column("limit", "ideal's limit", plain),
    ),
    "ideal: min(streams, window / body) / round trip, for each connection; core: share of the client's core in use; "
    "far core: of the server's and the relay's in h2load's run; near 100 % it is a core and not the distance that limits. "
    "APNs updates its window by halves, so that no client "
    "reaches an ideal that the window sets: then h2load over the same path is the measure",
)


def ideal(streams: int, window: float, body: int, rtt_ms: float, connections: int) -> tuple[float, str]:
    """Notifications per second of a perfect client, and its limit: `streams` or `window`."""
    fit = window / body
    return min(streams, fit) / (rtt_ms / 1000) * connections, "streams" if streams <= fit else "window"


def measure(
    console: Console,
    *,
    provider: str,
    runs: int,
    seconds: float,
    round_trips: Sequence[float] = ROUND_TRIPS,
    connections: Sequence[int] = CONNECTIONS,
    way: str = "auto",
    updates: str = "half",
    kind: str = "auto",
    cases: Sequence[str] = ("engine",),
    most: int = 2_000_000,
) -> list[dict[str, Any]]:
    """A row for each client, round trip and number of connections. A run lasts about `seconds`."""
    if way in ("auto", "netem"):
        reason = why_no_netem()
        if way == "netem" and reason is not None:
            raise CannotMeasure(reason)
        if reason is not None:
            console.print(f"through a relay: {reason}")
        way = "relay" if reason is not None else "netem"
    body = len(PROVIDERS[provider].body(USUAL))
    streams = PROVIDERS[provider].streams
    kind_of_window, window = ("apple", float(WINDOW)) if provider == "apns" else ("large", math.inf)
    rows: list[dict[str, Any]] = []
    for rtt_ms in round_trips:
        far = distant(kind, provider, rtt_ms=rtt_ms, way=way, updates=updates, window=kind_of_window)
        with far as target:
            for number in connections:
                best, limit = ideal(streams, window, body, rtt_ms, number)
                # A core does about 300 000 a second, whatever the ideal is.
                count = int(min(max(min(best, 300_000) * seconds, LEAST * number), most))
                runs_of: dict[str, list[ClientRun]] = {"h2load": [], **{case: [] for case in cases}}
                for run in range(1, runs + 1):
                    for case, seen in runs_of.items():
                        with console.status(
                            f"{rtt_ms} ms, {number} connections, run {run} of {runs}: {case}"
                        ):
                            if case == "h2load":
                                seen.append(h2load(target, count=count, connections=number))
                            else:
                                seen.append(ours(case, target, count=count, connections=number))
                base = median(run.rate for run in runs_of["h2load"])
                far_use = median(run.server_use for run in runs_of["h2load"])
                for case, seen in runs_of.items():
                    rate = median(run.rate for run in seen)
                    row: dict[str, Any] = {"case": case, "provider": provider, "target": target.name}
                    row |= {"way": way, "updates": updates, "rtt_ms": rtt_ms, "connections": number}
                    row |= {"rate": round(rate), "ideal": round(best), "limit": limit}
                    row |= {"of_ideal": round(rate / best, 3), "of_h2load": round(rate / base, 3)}
                    use = median(run.cpu_us * run.rate for run in seen) / 1e6
                    row |= {"core_use": round(use, 3), "far_use": round(far_use, 3)}
                    row |= {"core_bound": max(use, far_use) >= CORE_BOUND}
                    rows.append(row)
    show(console, FORM, rows)
    return rows
