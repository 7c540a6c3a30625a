"""The cost of `--environment auto` for devices of the first environment: an engine with two clients against one with one.

Both send the same pushes. These name no environment and are all accepted, as pushes to production devices are. Nothing here
depends on the machine's speed: callgrind counts instructions and memray counts allocations, each in a process without a
server. `python -m bench.counts.environments instructions|allocations one|auto` is that process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console

from pushcore import ApnsClient, ApnsKey, PushEngine

from .. import counting, inprocess
from ..cases import NO_RATE
from ..harness.look import Column, TableLayout, show, three, two
from ..harness.providers import PROVIDERS, TIMEOUT, USUAL
from ..harness.stage import CLIENT_CORE, ROOT, CannotMeasure, run_on
from . import instructed, instructions

WINDOWS: Final = (2000, 100)
"""Pushes between source and caller. Bursts are at most so large, and what a burst costs weighs more in small ones."""
CLIENTS: Final = {"one": ("production",), "auto": ("production", "sandbox")}
SHORT, LONG = 2000, 12_000
"""Pushes whose allocations are counted: what a run allocates whatever its length is not in their difference."""
LONGEST: Final = 300.0  # seconds
FORM: Final = TableLayout(
    "What a client for the sandbox costs a push to a production device",
    (
        Column("what", "counted"),
        Column("window", "window"),
        Column("one", "production alone", two),
        Column("auto", "production and sandbox", two),
        Column("ratio", "ratio", three),
    ),
    "of one push, all of them accepted by the first environment; ratio: both clients to one",
)


@asynccontextmanager
async def engine(which: str, window: int) -> AsyncIterator[counting.CountedCase]:
    """`PushEngine.send_many` with a client for each environment; results are not kept."""
    key = ApnsKey(ec.generate_private_key(ec.SECP256R1()), key_id="ABC123DEFG", team_id="TEAM123456")
    clients = [
        ApnsClient(
            key,
            topic="com.example.app",
            url=inprocess.APNS_URL,
            environment=environment,  # type: ignore[arg-type]
            max_connections=1,
            timeout=TIMEOUT,
        )
        for environment in CLIENTS[which]
    ]
    async with PushEngine(*clients, rate=NO_RATE, window=window) as push_engine:

        async def send(pushes: list[Any]) -> None:
            ok = 0
            async for result in push_engine.send_many(pushes):
                ok += result.ok
            if ok != len(pushes):
                raise CannotMeasure(f"{ok} of {len(pushes)} were accepted")

        yield counting.CountedCase(
            lambda many: list(PROVIDERS["apns"].pushes(many, USUAL)), send, clients[0]._dispatcher.pool.links
        )


def measure(console: Console) -> list[dict[str, Any]]:
    """A row for each count and window; instructions are left out where valgrind is missing.

    Raises:
        CannotMeasure: a process failed, or both valgrind and memray are missing.
    """
    rows: list[dict[str, Any]] = []
    missing = instructions.why_not()
    if missing is not None:
        console.print(f"instructions left out: {missing}", markup=False)
    else:
        with console.status("counting instructions of both by callgrind: a minute or two"):
            programs = [
                instructions.CountedProgram(which, _words("instructions", which), ROOT, _environment())
                for which in CLIENTS
            ]
            one, auto = (
                {case: median(some) for (_, case), some in counts.items()}
                for counts in instructions.count_programs(programs)
            )
        rows += [_row("instructions", window, one[str(window)], auto[str(window)]) for window in WINDOWS]
    with console.status("counting allocations of both"):
        allocations = [_allocations_of(which) for which in CLIENTS]
    if None in allocations[0]:
        console.print("allocations left out: memray is missing, which the extra `bench` has", markup=False)
    else:
        rows += [
            _row("allocations", window, *pair) for window, *pair in zip(WINDOWS, *allocations, strict=True)
        ]
    if not rows:
        raise CannotMeasure("nothing can be counted here: both valgrind and memray are missing")
    show(console, FORM, rows)
    return rows


def _row(what: str, window: int, one: float, auto: float) -> dict[str, Any]:
    ratio = round(auto / one, 4)
    return {"provider": "apns", "what": what, "window": window, "one": one, "auto": auto, "ratio": ratio}


def _words(what: str, which: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "bench.counts.environments", what, which)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}


def _allocations_of(which: str) -> list[Any]:
    """Allocations of a push for each window."""
    done = run_on(
        CLIENT_CORE,
        list(_words("allocations", which)),
        stdout=subprocess.PIPE,
        timeout=LONGEST,
        cwd=ROOT,
        env=_environment(),
    )
    if done.returncode:
        raise CannotMeasure("counting allocations failed; what it said is above")
    found: list[Any] = json.loads(done.stdout)
    return found


# --- the process that is counted --------------------------------------------------------------------------------------


async def _count_instructions(which: str) -> None:
    for window in WINDOWS:
        await instructed.in_phases(engine(which, window))
        print("apns", window)


async def _count_allocations(which: str) -> None:
    counted: list[float | None] = []
    for window in WINDOWS:
        async with engine(which, window) as sender:
            await sender.send(sender.make(counting.WARM))
            gc.collect()
            gc.disable()
            short, long = [await counting.allocations_of(sender, many) for many in (SHORT, LONG)]
            gc.enable()
        counted.append(None if short is None or long is None else round((long - short) / (LONG - SHORT), 3))
    print(json.dumps(counted))


if __name__ == "__main__":
    inprocess.install()
    what, which = sys.argv[1:]
    asyncio.run((_count_instructions if what == "instructions" else _count_allocations)(which))
