"""`pushcore send` as a whole: the cost of journal and columns, the memory of two million rows, the gain of a second process."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console

from ..harness.look import Column, TableLayout, plain, show, two, whole
from ..harness.stage import CannotMeasure, Target, fake
from . import personalised
from .command import FEW, PAYLOADS, send, write_csv, write_parquet

DELAY_MS: Final = 100
JOURNAL: Final = TableLayout(
    "CPU of a push through `pushcore send` with results, without and with a journal",
    (
        Column("provider", "provider"),
        Column("rows", "rows", whole),
        Column("plain_us", "µs without", two),
        Column("kept_us", "µs with only a journal", two),
        Column("journal_us", "µs with journal and results", two),
        Column("ratio", "ratio", two),
        Column("plain_rate", "rows/s without", whole),
        Column("journal_rate", "rows/s with", whole),
    ),
    "CPU of the process, its threads included, without what starting and ending cost; medians of interleaved runs",
)
MEMORY: Final = TableLayout(
    "Resident memory of `pushcore send --journal`",
    (
        Column("provider", "provider"),
        Column("form", "audience", plain),
        Column("rows", "rows", whole),
        Column("rate", "rows/s", whole),
        Column("peak_mb", "peak MB", two),
        Column("early_mb", "after a quarter MB", two),
        Column("late_mb", "after three MB", two),
        Column("slope_mb", "MB more per million", two),
    ),
    "the slope is taken between the two, half of the rows; near 0 it is the window that needs the memory, not the campaign",
)
PROCESSES: Final = TableLayout(
    "Two processes against one",
    (
        Column("provider", "provider"),
        Column("transport", "transport", plain),
        Column("journal", "journal", plain),
        Column("rows", "rows", whole),
        Column("one_rate", "rows/s, one", whole),
        Column("two_rate", "rows/s, two", whole),
        Column("ratio", "ratio", two),
        Column("others", "cores other programs used", two),
    ),
    "inside: answered in the process; wire: the bare fake on core 0, one connection a process, each answer after 100 ms. "
    "CPU that other programs used was missing for the two processes: with two cores it must be near 0 for `inside` to be meaningful",
)
FORMS: Final = {
    "journal": JOURNAL,
    "personalised": personalised.FORM,
    "memory": MEMORY,
    "processes": PROCESSES,
}
"""By part."""
PARTS: Final = tuple(FORMS)


def measure(
    console: Console,
    *,
    provider: str = "apns",
    rows: int,
    memory_rows: int,
    runs: int,
    parts: Sequence[str] = PARTS,
) -> list[dict[str, Any]]:
    """The rows of each of `parts`, with a key "part"."""
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        write_csv(place / "devices.csv", rows, provider)
        write_csv(place / "few.csv", FEW, provider)
        (place / "payload.json").write_text(PAYLOADS[provider])
        with fake(provider, "bare") as target:
            if "journal" in parts:
                results += _journal(console, place, target, rows, runs)
            if "personalised" in parts:
                results += personalised.measure(console, [target], rows=rows, runs=runs)
            if "memory" in parts:
                results += _memory(console, place, target, memory_rows)
            if "processes" in parts:
                results += _inside(console, place, target, rows, runs)
        if "personalised" in parts and provider == "fcm":  # once, after the provider's own
            with fake("apns", "bare") as apns, fake("fcm", "bare") as fcm:
                results += personalised.measure(console, [apns, fcm], rows=rows, runs=runs)
        if "processes" in parts:
            with fake(provider, "bare", "--delay-ms", str(DELAY_MS)) as target:
                results += _wire(console, place, target, rows, runs)
    return results


# --- what a journal costs ---------------------------------------------------------------------------------------------


def _journal(console: Console, place: Path, target: Target, rows: int, runs: int) -> list[dict[str, Any]]:
    ways = {
        "plain": ("--results", "results.csv"),
        "kept": ("--journal", "campaign.db"),
        "journal": ("--journal", "campaign.db", "--results", "results.csv"),
    }
    costs: dict[str, list[float]] = {name: [] for name in ways}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(1, runs + 1):
        with console.status(f"journal, run {number} of {runs}"):
            for name, words in ways.items():
                start = send(place, target, "few.csv", *words)
                sent = send(place, target, "devices.csv", *words)
                costs[name].append((sent.cpu - start.cpu) / (rows - FEW) * 1e6)
                rates[name].append(sent.rate)
    plain_us, kept_us, journal_us = (median(each) for each in costs.values())
    row: dict[str, Any] = {"part": "journal", "provider": target.provider, "rows": rows, "runs": runs}
    row |= {"plain_us": round(plain_us, 3), "kept_us": round(kept_us, 3), "journal_us": round(journal_us, 3)}
    row["ratio"] = round(
        median(more / less for less, more in zip(costs["plain"], costs["journal"], strict=True)), 3
    )
    row |= {"plain_rate": round(median(rates["plain"])), "journal_rate": round(median(rates["journal"]))}
    show(console, JOURNAL, [row])
    return [row]


# --- memory -----------------------------------------------------------------------------------------------------------


def _memory(console: Console, place: Path, target: Target, rows: int) -> list[dict[str, Any]]:
    results = []
    for form, make in (("csv", write_csv), ("parquet", write_parquet)):
        path = place / f"many.{form}"
        with console.status(f"{rows:,} rows of {form}"):
            make(path, rows, target.provider)
            sent = send(place, target, path.name, "--journal", "campaign.db", "--results", "results.csv")
            path.unlink()
        # The last one may have been taken while it ended.
        samples = sent.samples[:-1]
        if len(samples) < 8:
            raise CannotMeasure(f"{rows:,} rows are over too soon to look at the memory; expected more")
        # The last eighth or so is for the results, which need some memory of their own.
        quarter = len(samples) // 4
        early, late = median(samples[quarter:][:3]), median(samples[3 * quarter :][:3])
        row: dict[str, Any] = {
            "part": "memory",
            "provider": target.provider,
            "form": form,
            "rows": rows,
            "rate": round(sent.rate),
        }
        row |= {"peak_mb": round(max(samples), 1), "early_mb": round(early, 1), "late_mb": round(late, 1)}
        row |= {
            "slope_mb": round((late - early) / (rows / 2e6), 2),
            "samples": [round(each, 1) for each in samples],
        }
        results.append(row)
    show(console, MEMORY, results)
    return results


# --- processes --------------------------------------------------------------------------------------------------------


def _inside(console: Console, place: Path, target: Target, rows: int, runs: int) -> list[dict[str, Any]]:
    """A target whose responses are made in the client's process; only its key is used."""
    results = [
        # So many that what starting costs does not count.
        _compare(console, place, target, 5 * rows, runs, "inside", *words)
        for words in (("--results", "results.csv"), ("--journal", "campaign.db"))
    ]
    show(console, PROCESSES, results)
    return results


def _wire(console: Console, place: Path, target: Target, rows: int, runs: int) -> list[dict[str, Any]]:
    words = ("--max-connections", "1", "--journal", "campaign.db")
    results = [_compare(console, place, target, rows // 2, runs, "wire", *words)]
    show(console, PROCESSES, results)
    return results


def _compare(
    console: Console, place: Path, target: Target, rows: int, runs: int, transport: str, *words: str
) -> dict[str, Any]:
    audience = f"{rows}.csv"
    write_csv(place / audience, rows, target.provider)
    rates: dict[int, list[float]] = {1: [], 2: []}
    others = []
    module = "bench.inprocess" if transport == "inside" else "pushcore"
    for number in range(1, runs + 1):
        with console.status(f"processes, {transport}, run {number} of {runs}"):
            for processes, seen in rates.items():
                more = (*words, "--processes", str(processes))
                sent = send(place, target, audience, *more, module=module, core=None)
                seen.append(sent.rate)
            others.append(sent.others)
    one, both = median(rates[1]), median(rates[2])
    row: dict[str, Any] = {
        "part": "processes",
        "provider": target.provider,
        "transport": transport,
        "rows": rows,
        "runs": runs,
    }
    row |= {"journal": "yes" if "--journal" in words else "no"}
    row |= {"one_rate": round(one), "two_rate": round(both), "others": round(median(others), 2)}
    row["ratio"] = round(median(two / one for one, two in zip(rates[1], rates[2], strict=True)), 2)
    return row
