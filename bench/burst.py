"""The first second: `pushcore send --start-at`, from the time that was set to the first and to the last response."""

from __future__ import annotations

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

from . import constant
from .command import FEW, LONGEST, PAYLOADS, credentials, write_csv
from .look import Column, TableLayout, plain, show, two, whole
from .stage import CLIENT_CORE, CannotMeasure, Target, fake, on_core

PARTS: Final = ("one", "two")
TOGETHER: Final = 4000
"""Rows for two processes: two cores have no room for two senders and a server at full speed."""
READY: Final = 3.0
"""Times what a whole run over few rows takes, that a sender has at least until the time that it is set to."""
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
FORMS: Final = {"one": ONE, "two": TWO}
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
    """A row for each part; medians of the runs. `lead`: seconds from the start of a run to the time that it is set to, more where
    the machine is slow."""
    results = []
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "payload.json").write_text(PAYLOADS[provider])
        if "one" in parts:
            results.append(_one(console, place, provider, rows, runs, lead, kind))
        if "two" in parts:
            results.append(_two(console, place, provider, runs, lead))
    for row in results:
        show(console, FORMS[row["part"]], [row])
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
    """When the first push came on each connection that had any after this time, in UNIX seconds as the result."""
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


def _send(
    place: Path,
    target: Target,
    audience: str,
    *words: str,
    lead: float = 0.0,
    core: int | None = CLIENT_CORE,
) -> dict[str, Any]:
    """The summary of one `pushcore send`; with a `lead`, of one that was set to so many seconds from now.

    With `start`, when that is in UNIX seconds, and `took`, the process's life in seconds.
    """
    command = [sys.executable, "-m", "pushcore", "send", "--audience", audience, "--payload", "payload.json"]
    command += ["--results", "results.csv", "--json", *words, *credentials(place, target, inside=False)]
    start = datetime.now(UTC) + timedelta(seconds=lead)
    if lead:
        command += ["--start-at", start.isoformat()]
    (place / "results.csv").unlink(missing_ok=True)
    began = time.monotonic()
    root = str(Path(__file__).parents[1])
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
