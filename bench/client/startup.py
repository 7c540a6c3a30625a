"""Start-up times: the import, the first push of a new process, and a fake in a fixture."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict
from statistics import median
from typing import Any, Final

from rich.console import Console

from ..harness.look import Column, TableLayout, plain, show, two
from ..harness.stage import CLIENT_CORE, CannotMeasure, Target, run_on
from ..servers import constant

IMPORTS: Final = ("pushcore", "pushcore.cli.main")
TIMEOUT: Final = 60.0
FORM: Final = TableLayout(
    "Start-up in ms",
    (
        Column("what", "what", plain),
        Column("provider", "provider"),
        Column("ms", "ms", two),
        Column("python_ms", "Python alone", two),
    ),
    "from the start of the process, medians; Python alone is an interpreter that does nothing",
)
FIRST: Final = """
import asyncio, json, sys, time
from bench.harness.providers import PROVIDERS, USUAL
from bench.harness.stage import Target
target = Target(**json.loads(sys.argv[1]))
provider = PROVIDERS[target.provider]
async def main():
    begun = time.perf_counter()
    async with provider.client(target, 1) as client:
        first, second = list(provider.pushes(2, USUAL))
        (await client.send(first)).raise_for_verdict()
        connected = time.perf_counter()
        (await client.send(second)).raise_for_verdict()
        print(json.dumps([(connected - begun) * 1e3, (time.perf_counter() - connected) * 1e3]))
asyncio.run(main())
"""
FIXTURE: Final = """
import json, sys, time
begun = time.perf_counter()
import fakeservers
took = []
for _ in range(2):
    with fakeservers.InThread(getattr(fakeservers, sys.argv[1])):
        took.append((time.perf_counter() - begun) * 1e3)
    begun = time.perf_counter()
print(json.dumps(took))
"""
"""What the pytest fixtures do; the process is not a part of it, the import is."""
FAKES: Final = {"apns": "FakeApns", "fcm": "FakeFcm"}


def measure(console: Console, *, provider: str, runs: int, kind: str = "auto") -> list[dict[str, Any]]:
    """Rows for imports, for the first push of a new client (connecting included), for the second, and for a fake in a fixture."""
    nothing = _elapsed("pass", runs)
    rows = []
    for name in IMPORTS:
        with console.status(f"import {name}"):
            took = _elapsed(f"import {name}", runs)
        rows.append(_row(f"import {name}", None, took, nothing))
    with constant.target(kind, provider) as target, console.status("the first push"):
        whole, first, second = [], [], []
        for _ in range(runs):
            begun = time.perf_counter()
            text = _run(FIRST, target)
            whole.append((time.perf_counter() - begun) * 1e3)
            one, two_ = json.loads(text)
            first.append(one)
            second.append(two_)
    rows.append(_row("process that sends two pushes", provider, median(whole), nothing))
    rows.append(_row("first push: connect, TLS, token, answer", provider, median(first), None))
    rows.append(_row("second push", provider, median(second), None))
    with console.status("a fake in a fixture"):
        starts = [json.loads(_run(FIXTURE, None, FAKES[provider])) for _ in range(runs)]
    rows.append(
        _row("fake in a fixture: import and start", provider, median(first for first, _ in starts), None)
    )
    rows.append(_row("fake in a fixture: the next one", provider, median(later for _, later in starts), None))
    show(console, FORM, rows)
    return rows


def _row(what: str, provider: str | None, ms: float, python_ms: float | None) -> dict[str, Any]:
    row: dict[str, Any] = {"what": what, "provider": provider, "ms": round(ms, 3)}
    return row | {"python_ms": None if python_ms is None else round(python_ms, 3)}


def _elapsed(code: str, runs: int) -> float:
    """Milliseconds of a new interpreter. One extra run warms the disk's cache."""
    seen = []
    for _ in range(runs + 1):
        begun = time.perf_counter()
        _run(code, None)
        seen.append((time.perf_counter() - begun) * 1e3)
    return median(seen[1:])


def _run(code: str, target: Target | None, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    if target is not None:
        command = [*target.inside, *command, json.dumps(asdict(target))]
    done = run_on(
        CLIENT_CORE,
        command,
        stdout=subprocess.PIPE,
        timeout=TIMEOUT,
    )
    if done.returncode:
        raise CannotMeasure("a new process failed; what it said is above")
    return done.stdout
