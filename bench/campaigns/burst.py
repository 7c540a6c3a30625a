"""The first second of `pushcore send --start-at`: from the set time to the first and to the last response."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console

from pushcore import PushEngine

from ..cases import NO_RATE
from ..harness.look import Column, TableLayout, plain, show, two, whole
from ..harness.providers import PROVIDERS, USUAL
from ..harness.stage import CLIENT_CORE, ROOT, CannotMeasure, Target, fake, on_core
from ..servers import constant
from ..servers.distance import relay
from .command import FEW, LONGEST, PAYLOADS, credentials, write_csv

PARTS: Final = ("one", "two", "far")
TOGETHER: Final = 4000
"""Rows for two processes: two cores have no room for two senders and a server at full speed."""
READY: Final = 3.0
"""Times what a whole run over few rows takes, that a sender has at least until the time that it is set to."""
MOST: Final = 2_000_000
"""Pushes that are there for the connections at most."""
PAGE: Final = 1000
"""Requests of one answer of the control port."""
ONE: Final = TableLayout(
    "A burst at a time that was set, one process",
    (
        Column("provider", "provider"),
        Column("target", "target", plain),
        Column("rows", "rows", whole),
        Column("first_ms", "first result after ms", two),
        Column("last_s", "last after s", two),
        Column("alone_s", "the rate alone needs s", two),
        Column("ratio", "ratio", two),
    ),
    "`pushcore send --start-at` by its own summary; the rate alone: the same rows at once, without what starting takes",
)
TWO: Final = TableLayout(
    "A burst at a time that was set, two processes",
    (
        Column("provider", "provider"),
        Column("rows", "rows", whole),
        Column("first_ms", "first request after ms", two),
        Column("gap_ms", "second process later by ms", two),
    ),
    "when the strict fake received the first request of each process",
)
FAR: Final = TableLayout(
    "Connections to a server that is far away",
    (
        Column("provider", "provider"),
        Column("rtt_ms", "round trip ms", whole),
        Column("connections", "connections", whole),
        Column("seconds", "open after s", two),
    ),
    "from the first push until so many connections have had a response, while more waits; the strict fake behind a relay",
)
CONNECTIONS: Final = (8, 16)
RTT_MS: Final = 100.0
FORMS: Final = {"one": ONE, "two": TWO, "far": FAR}
"""By part."""


def measure(
    console: Console,
    *,
    provider: str,
    rows: int,
    runs: int,
    lead: float,
    kind: str = "auto",
    parts: Sequence[str] = PARTS,
) -> list[dict[str, Any]]:
    """A row for each part, for `far` one for each number of connections; medians of the runs.

    `lead`: seconds from a run's start to its set time; more on a slow machine."""
    results = []
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "payload.json").write_text(PAYLOADS[provider])
        if "one" in parts:
            results.append(_one(console, place, provider, rows, runs, lead, kind))
        if "two" in parts:
            results.append(_two(console, place, provider, runs, lead))
        if "far" in parts:
            results += [_far(console, provider, connections, runs) for connections in CONNECTIONS]
    for part in PARTS:
        if some := [row for row in results if row["part"] == part]:
            show(console, FORMS[part], some)
    return results


def _one(
    console: Console, place: Path, provider: str, rows: int, runs: int, lead: float, kind: str
) -> dict[str, Any]:
    write_csv(place / "few.csv", FEW, provider)
    write_csv(place / "rows.csv", rows, provider)
    firsts, lasts, alone = [], [], []
    with constant.target(kind, provider) as target:
        for run in range(1, runs + 1):
            with console.status(f"{rows:,} rows, run {run} of {runs}"):
                few = _send(place, target, "few.csv")
                alone.append(_send(place, target, "rows.csv")["seconds"] - few["seconds"])
                said = _send(place, target, "rows.csv", lead=max(lead, READY * few["took"]))
                firsts.append(said["first_result"] * 1000)
                lasts.append(said["last_result"])
    row = {"part": "one", "provider": provider, "target": target.name, "rows": rows, "runs": runs}
    ratio = median(last / least for last, least in zip(lasts, alone, strict=True))
    row |= {"first_ms": round(median(firsts), 1), "last_s": round(median(lasts), 3)}
    return row | {"alone_s": round(median(alone), 3), "ratio": round(ratio, 3)}


def _two(console: Console, place: Path, provider: str, runs: int, lead: float) -> dict[str, Any]:
    write_csv(place / "together.csv", TOGETHER, provider)
    firsts, gaps = [], []
    for run in range(1, runs + 1):
        keep = ("--keep", str(4 * TOGETHER), "--control-port", "0")
        with (
            console.status(f"two processes, run {run} of {runs}"),
            fake(provider, "strict", *keep) as target,
        ):
            options = ("--processes", "2", "--max-connections", "1")
            took = _send(place, target, "together.csv", *options, core=None)["took"]
            said = _send(place, target, "together.csv", *options, lead=max(lead, READY * took), core=None)
            begun = _first_by_connection(target, said["start"])
        if len(begun) != 2:
            raise CannotMeasure(f"{len(begun)} connections carried the pushes of two processes")
        firsts.append((min(begun) - said["start"]) * 1000)
        gaps.append((max(begun) - min(begun)) * 1000)
    row = {"part": "two", "provider": provider, "rows": TOGETHER, "runs": runs}
    return row | {"first_ms": round(median(firsts), 1), "gap_ms": round(median(gaps), 1)}


def _first_by_connection(target: Target, after: float) -> list[float]:
    """The time of the first push on each connection that got one after `after`, in UNIX seconds."""
    begun: dict[int, float] = {}
    page = f"/v1/received?limit={PAGE}"
    while page:
        with urllib.request.urlopen(f"{target.settings['control']}{page}", timeout=10) as response:
            told = json.load(response)
        for request in told["received"]:
            if request["token"] and request["time"] >= after:  # a request for an access token has none
                begun[request["connection"]] = min(
                    request["time"], begun.get(request["connection"], float("inf"))
                )
        page = told.get("next", "")
    return list(begun.values())


def _far(console: Console, provider: str, connections: int, runs: int) -> dict[str, Any]:
    seconds = []
    with fake(provider, "strict") as near, relay(near, RTT_MS) as target, on_core(CLIENT_CORE):
        for run in range(1, runs + 1):
            with console.status(f"{connections} connections at {RTT_MS:g} ms, run {run} of {runs}"):
                seconds.append(asyncio.run(_until_open(target, connections)))
    row = {"part": "far", "provider": provider, "rtt_ms": RTT_MS, "connections": connections, "runs": runs}
    return row | {"seconds": round(median(seconds), 2)}


async def _until_open(target: Target, connections: int) -> float:
    """Seconds from the first push until all connections of a client have had a response."""
    provider = PROVIDERS[target.provider]
    loop = asyncio.get_running_loop()
    async with (
        asyncio.timeout(LONGEST),
        provider.client(target, connections) as client,
        PushEngine(client, rate=NO_RATE, window=connections * provider.streams) as engine,
    ):
        links = client._dispatcher.pool.links
        begun = loop.time()
        # Its results come at least once a round trip.
        async with engine.stream(provider.pushes(MOST, USUAL)) as results:
            async for _ in results:
                if sum(link.connection.answered for link in links) == connections:
                    return loop.time() - begun
    raise CannotMeasure(f"there were never {connections} connections")


def _send(
    place: Path,
    target: Target,
    audience: str,
    *words: str,
    lead: float = 0.0,
    core: int | None = CLIENT_CORE,
) -> dict[str, Any]:
    """The summary of one `pushcore send`. With a `lead`, it is told to start that many seconds from now.

    `start` is added (the set time, in UNIX seconds), and `took` (the process's life in seconds).
    """
    command = [sys.executable, "-m", "pushcore", "send", "--audience", audience, "--payload", "payload.json"]
    command += ["--results", "results.csv", "--json", *words, *credentials(place, target, inside=False)]
    start = datetime.now(UTC) + timedelta(seconds=lead)
    if lead:
        command += ["--start-at", start.isoformat()]
    (place / "results.csv").unlink(missing_ok=True)
    began = time.monotonic()
    root = str(ROOT)
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with on_core(core) if core is not None else contextlib.nullcontext():
        done = subprocess.run(
            command,
            cwd=place,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
    if done.returncode:
        raise CannotMeasure(f"pushcore send failed: {done.stderr.strip()[-500:]}")
    summary: dict[str, Any] = json.loads(done.stdout)
    if lead and "first_result" not in summary:
        raise CannotMeasure("no result came after the time that was set")
    return summary | {"start": start.timestamp(), "took": time.monotonic() - began}
