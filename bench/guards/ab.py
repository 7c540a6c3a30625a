"""Two commits against each other, in pairs of runs: whether a change has made a push slower, or allocates more.

Both sides share the server (a process of the running tree), its core, and the client's core.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console

from ..counts import instructions
from ..counts.allocations import COUNTED
from ..harness.checkouts import Checkout
from ..harness.look import MISSING, Column, TableLayout, plain, show, three, two, whole
from ..harness.stage import CLIENT_CORE, SERVER_CORE, CannotMeasure
from ..servers import constant
from . import sides
from .ratios import SAME, SLOWER, Ratio, order, ratio

Row = dict[str, Any]
TIMED: Final = (*sides.CLIENTS, *sides.COMMANDS)
CASES: Final = (*TIMED, "instructions", "allocations")
MORE, FEWER = "more", "fewer"
TRIES: Final = 5
"""Allocations are counted again, so many times at most, until both sides agree: timers fire by the clock, and what they
allocate is part of some counts."""
RULE: Final = (
    "ratio: new to old, the median of the pairs; spread: an interval that contains the true median with at least 95 %; "
    "same: within 3 % of 1, or 1 is within the spread"
)


def change(pair: Sequence[float | None]) -> str:
    """One number if both sides have the same, otherwise both."""
    old, new = (MISSING if count is None else f"{count:g}" for count in pair)
    return old if old == new else f"{old} → {new}"


_RATIO: Final = (
    Column("ratio", "ratio", three),
    Column("low", "spread from", three),
    Column("high", "to", three),
    Column("verdict", "verdict", plain),
)
TIMES: Final = TableLayout(
    "CPU of one notification",
    (
        Column("case", "case"),
        Column("provider", "provider"),
        Column("target", "target"),
        Column("before", "old µs", two),
        Column("after", "new µs", two),
        *_RATIO,
    ),
    RULE,
)
INSTRUCTIONS: Final = TableLayout(
    "Instructions of one notification, without a server",
    (
        Column("case", "case"),
        Column("provider", "provider"),
        Column("before", "old", whole),
        Column("after", "new", whole),
        *_RATIO,
    ),
    "the same rule; those that answer inside the process are counted, too",
)
ALLOCATIONS: Final = TableLayout(
    "Memory of one notification, old → new where they differ",
    (
        Column("case", "case"),
        Column("provider", "provider"),
        *(Column(name, name, change) for name in COUNTED),
        Column("verdict", "verdict", plain),
    ),
    "as `python -m bench allocations` counts; same: some of the counts of both sides are equal, or overlap",
)


def measure(
    console: Console,
    old: Checkout,
    new: Checkout,
    *,
    count: int,
    runs: int,
    providers: Sequence[str],
    cases: Sequence[str] = (),
) -> list[Row]:
    """Compare the sides; the rows, with a key "part".

    Args:
        count: notifications of each run.
        runs: pairs of runs of each case.
        cases: some of `CASES`; none for all that can run here.

    Raises:
        CannotMeasure: a run failed, or a wanted case needs something that is missing.
    """
    check_cores()
    chosen = tuple(case for case in CASES if not cases or case in cases)
    missing = instructions.why_not() if "instructions" in chosen else None
    if missing and cases:
        raise CannotMeasure(missing)
    rows: list[Row] = []
    if "allocations" in chosen:
        rows += _allocations(console, old, new, providers)
    timed = [case for case in chosen if case in TIMED]
    if timed:
        rows += _times(console, old, new, timed, count, runs, providers)
    if missing:
        console.print(f"instructions left out: {missing}", markup=False)
    elif "instructions" in chosen:
        rows += _instructions(console, old, new, providers)
    return [row | {"old": old.name, "new": new.name} for row in rows]


def check_cores() -> None:
    """Raise `CannotMeasure` if processes cannot be pinned to the cores of server and client."""
    if not hasattr(os, "sched_getaffinity"):
        raise CannotMeasure(
            "two commits are compared on one core, and this system cannot keep a process to a core"
        )
    missing = {SERVER_CORE, CLIENT_CORE} - os.sched_getaffinity(0)
    if missing:
        cores = " and ".join(map(str, sorted(missing)))
        raise CannotMeasure(f"core {cores} is missing: the server needs one core, the client another")


def worse(rows: Iterable[Row]) -> list[str]:
    """What is slower or allocates more, one sentence each."""
    told = []
    for row in rows:
        name = f"{row['case']} ({row['provider']})"
        if row["part"] == "allocations" and row["verdict"] == MORE:
            grown = (f"{what} {change(row[what])}" for what in row["grew"])
            told.append(f"{name} allocates more: {', '.join(grown)}")
        elif row["verdict"] == SLOWER:
            what = "instructions" if row["part"] == "instructions" else "CPU"
            told.append(f"{name} is slower: {row['ratio']:.3f} times the {what}")
    return told


def compared(part: str, provider: str, case: str, before: Sequence[float], after: Sequence[float]) -> Row:
    """A row with the ratio of paired figures."""
    measured: Ratio = ratio(before, after)
    row: Row = {"part": part, "case": case, "provider": provider, "runs": len(before)}
    row |= {"before": round(median(before), 3), "after": round(median(after), 3)}
    row |= {"ratio": round(measured.value, 4), "low": round(measured.low, 4), "high": round(measured.high, 4)}
    pairs = [[round(one, 3), round(other, 3)] for one, other in zip(before, after, strict=True)]
    return row | {"verdict": measured.verdict, "pairs": pairs}


def _times(
    console: Console,
    old: Checkout,
    new: Checkout,
    cases: Sequence[str],
    count: int,
    runs: int,
    providers: Sequence[str],
) -> list[Row]:
    keys = [(provider, case) for provider in providers for case in cases]
    figures: dict[tuple[str, str], list[list[float]]] = {key: [[], []] for key in keys}
    with ExitStack() as running:
        targets, places = {}, {}
        for provider in providers:
            targets[provider] = running.enter_context(constant.target("auto", provider))
            places[provider] = Path(running.enter_context(tempfile.TemporaryDirectory()))
            sides.prepare(places[provider], provider, count)
        for number in range(runs):
            if not console.is_terminal:
                console.print(f"pair {number + 1} of {runs}")
            for provider, case in keys:
                for which in order(number):
                    side, name = (old, new)[which], ("old", "new")[which]
                    with console.status(
                        f"pair {number + 1} of {runs}: {case}, {provider}, {name} {side.name}"
                    ):
                        used = sides.cpu_us(side, case, targets[provider], places[provider], count, number)
                    figures[provider, case][which].append(used)
        rows = [
            compared("times", provider, case, *figures[provider, case])
            | {"target": targets[provider].name, "count": count}
            for provider, case in keys
        ]
    show(console, TIMES, rows)
    return rows


def _instructions(console: Console, old: Checkout, new: Checkout, providers: Sequence[str]) -> list[Row]:
    with console.status("counting instructions of both by callgrind: a minute or two"):
        before, after = instructions.count((old, new), providers)
    rows = [
        compared("instructions", provider, case, before[provider, case], after[provider, case])
        for provider, case in before
        if (provider, case) in after
    ]
    show(console, INSTRUCTIONS, rows)
    return rows


def _allocations(console: Console, old: Checkout, new: Checkout, providers: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    for provider in providers:
        before: list[dict[str, Row]] = []
        after: list[dict[str, Row]] = []
        compared_rows: list[Row] = []
        # A real change shows in every try. A timer that has fired meanwhile does not.
        while len(before) < TRIES and (not before or any(row["verdict"] != SAME for row in compared_rows)):
            for side, counted in ((old, before), (new, after)):
                with console.status(f"counting allocations for {provider}, {side.name}"):
                    counted.append({row["case"]: row for row in sides.allocations(side, provider)})
            compared_rows = [
                counts(case, provider, [row[case] for row in before], [row[case] for row in after])
                for case in before[0]
                if case in after[0]
            ]
        rows += compared_rows
    show(console, ALLOCATIONS, rows)
    return rows


def counts(case: str, provider: str, before: Sequence[Row], after: Sequence[Row]) -> Row:
    """The row of a case that both sides have counted several times, with the median of each side.

    A count has grown when the smallest new one is above the largest old one. What a side could not count is not
    compared.
    """
    row: Row = {"part": "allocations", "case": case, "provider": provider, "runs": len(before)}
    grew, fell = [], []
    for name in COUNTED:
        old = [counted[name] for counted in before if counted[name] is not None]
        new = [counted[name] for counted in after if counted[name] is not None]
        row[name] = [round(median(some), 2) if some else None for some in (old, new)]
        if old and new:
            grew += [name] if min(new) > max(old) else []
            fell += [name] if max(new) < min(old) else []
    return row | {"grew": grew, "verdict": MORE if grew else FEWER if fell else SAME}
