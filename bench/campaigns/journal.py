"""The cost of a journal: rows per second and CPU per row, its thread included. `python -m bench.campaigns.journal`.

The sender has no network: it takes rows, keeps a window of them in flight, and finishes them in another order. The same loop runs
without a journal; the difference is the journal's cost. The pushes have the same apns-ids in both.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from pushcore import Notification, Result, Verdict
from pushcore.engine.collector import relax_collector
from pushcore.journal.journal import CHUNK_SIZE, Journal, Source, id_prefix

BURST = 64  # pushes between two looks at the answers, as an event loop does it
WINDOW = 2000
CAMPAIGN = "bench"


class NumberedRowPush(Notification):
    """A push that knows its row."""

    __slots__ = ("row",)

    row: int


def measure(console: Console, *, count: int, runs: int, chunk_size: int = CHUNK_SIZE) -> list[dict[str, Any]]:
    """CPU and rows per second, without and with a journal, and with enough work per push to keep one core busy."""
    relax_collector()
    rows = []
    for work in (0.0, 4.0):
        spin = _spin(work)
        bare, kept, size, rate = [], [], 0, []
        for number in range(runs):
            bare.append(_run(count, number, spin, None)[0])
            with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as directory:
                path = Path(directory) / "campaign.db"
                with Journal.create(
                    path, Source("bench"), chunk_size=chunk_size, campaign_id=CAMPAIGN
                ) as journal:
                    cpu, wall = _run(count, number, spin, journal)
                kept.append(cpu)
                rate.append(count / wall)
                size = path.stat().st_size
        added = median(kept) - median(bare)
        rows.append(
            {
                "count": count,
                "chunk_size": chunk_size,
                "work_us": work,
                "bare_us": round(median(bare), 3),
                "journal_us": round(median(kept), 3),
                "added_us": round(added, 3),
                "rate": round(median(rate)),
                "bytes_a_row": round(size / count, 1),
            }
        )
        console.print(
            f"{work:.0f} µs of work for each push: {median(bare):.2f} µs without, {median(kept):.2f} with a journal "
            f"(+{added:.2f}), {median(rate):,.0f} rows/s, {size / count:.0f} bytes a row"
        )
    return rows


def _run(count: int, seed: int, spin: Callable[[], object], journal: Journal | None) -> tuple[float, float]:
    """Microseconds of CPU per row, and the total in seconds."""
    rng = random.Random(seed)
    tokens = [rng.randbytes(32).hex() for _ in range(1000)]
    cpu, wall = time.process_time(), time.perf_counter()
    source: Iterable[NumberedRowPush] = _pushes(count, tokens)
    take: Callable[[Result], object] = deque[Result](maxlen=1).append
    if journal is not None:
        source, take = journal.pending(source), journal.record
    flying: list[NumberedRowPush] = []
    for push in source:
        flying.append(push)
        if len(flying) >= WINDOW:
            _answer(flying, rng, take, spin)
    while flying:
        _answer(flying, rng, take, spin)
    if journal is not None:
        journal.finish()
        journal.close()
    return (time.process_time() - cpu) / count * 1e6, time.perf_counter() - wall


def _pushes(count: int, tokens: list[str]) -> Iterator[NumberedRowPush]:
    prefix, some = id_prefix(CAMPAIGN), len(tokens)
    for row in range(1, count + 1):
        push = NumberedRowPush(tokens[row % some], b"{}", apns_id=f"{prefix}{row:012x}")
        push.row = row
        yield push


def _answer(
    flying: list[NumberedRowPush],
    rng: random.Random,
    take: Callable[[Result], object],
    spin: Callable[[], object],
) -> None:
    """Finish a burst of pushes from the oldest half."""
    at = rng.randrange(max(len(flying) // 2 - BURST, 1))
    burst = flying[at : at + BURST]
    del flying[at : at + BURST]
    for push in burst:
        spin()
        take(Result(push, Verdict.ACCEPTED, 200, 1, push.apns_id))
    time.sleep(0)  # what a read of a socket does: it lets another thread run


def _spin(work: float) -> Callable[[], object]:
    """A function that keeps the CPU busy for about this many microseconds."""
    if not work:
        return lambda: None
    timed, loops = 0.0, 16
    while timed < 2e-3:
        loops *= 2
        begun = time.perf_counter()
        for _ in range(loops):
            pass
        timed = time.perf_counter() - begun
    turns = range(int(loops * work * 1e-6 / timed))

    def spin() -> None:
        for _ in turns:
            pass

    return spin


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    chunk = int(sys.argv[2]) if len(sys.argv) > 2 else CHUNK_SIZE
    measured = measure(Console(stderr=True), count=count, runs=3, chunk_size=chunk)
    print(json.dumps(measured))
