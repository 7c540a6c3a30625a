"""Whether a change costs more CPU or memory than `thresholds.toml` allows: `python -m bench guard`.

A ratio is CPU to h2load's CPU in the same round, or CPU of `pushcore send` with columns to CPU without columns. Limits are well
below the usual values, and the best of a few attempts counts: other load makes an attempt worse, hardly ever better. So a
failure here means that the code has become slower.
"""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console

from ..campaigns import personalised
from ..client.throughput import CASES, FORM, compare
from ..counts import allocations
from ..harness.look import show
from ..harness.stage import ROOT, CannotMeasure, fake, h2load_version
from ..servers import constant

THRESHOLDS: Final = ROOT / "bench" / "thresholds.toml"
TRIES: Final = 3
COUNT, RUNS = 40_000, 3
ROWS: Final = 60_000
"""Of each run of `pushcore send`."""


def thresholds() -> dict[str, Any]:
    """The limits in `thresholds.toml`."""
    return tomllib.loads(THRESHOLDS.read_text())


def guard(console: Console, *, providers: Sequence[str], tries: int = TRIES, count: int = COUNT) -> list[str]:
    """The crossed limits, one sentence each. Without h2load only counts are checked."""
    limits = thresholds()
    crossed = []
    for provider in providers:
        crossed += allocations.crossed(allocations.measure(console, provider=provider), limits["allocations"])
    audiences = [[provider] for provider in providers]
    if len(providers) > 1:
        audiences.append(list(providers))
    for served in audiences:
        crossed += columns_too_dear(console, served, limits["personalised"], tries)
    try:
        h2load_version()
    except CannotMeasure as error:
        console.print(f"ratios are not judged: {error}")
        return crossed
    for provider in providers:
        wanted = limits["ratios"][provider]
        crossed += too_slow(provider, best_ratios(console, provider, wanted, tries, count), wanted)
    return crossed


def columns_too_dear(
    console: Console, providers: Sequence[str], limits: Mapping[str, Any], tries: int, rows: int = ROWS
) -> list[str]:
    """The limits that columns in a payload cross in the best attempt, one sentence each. `providers`: one, or both at once."""
    crossed: list[str] = []
    with contextlib.ExitStack() as running:
        targets = [running.enter_context(fake(provider, "bare")) for provider in providers]
        for _ in range(tries):
            measured = personalised.measure(
                console, targets, rows=rows, runs=RUNS, forms=("csv",), journals=("no",)
            )
            crossed = personalised.too_dear(measured, limits[measured[0]["provider"]])
            if not crossed:
                break
    return crossed


def best_ratios(
    console: Console, provider: str, wanted: Mapping[str, float], tries: int, count: int
) -> dict[str, float]:
    """Each case's CPU ratio to h2load in the best attempt. Attempts stop when all are good enough."""
    best = dict.fromkeys(CASES, 0.0)
    with constant.target("auto", provider) as target:
        for _ in range(tries):
            slow = [case for case in CASES if best[case] < wanted[case]]
            if slow:
                rows = compare(console, target, slow, count, RUNS)
                show(console, FORM, rows)
                best |= {
                    row["case"]: max(row["cpu_ratio"], best[row["case"]])
                    for row in rows
                    if row["case"] in CASES
                }
    return best


def too_slow(provider: str, best: Mapping[str, float], wanted: Mapping[str, float]) -> list[str]:
    """The cases with a best ratio below the limit."""
    return [
        f"{case} ({provider}): h2load's CPU is {ratio} times pushcore's; at least {wanted[case]} is required"
        for case, ratio in best.items()
        if ratio < wanted[case]
    ]
