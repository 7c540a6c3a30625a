"""The cost of columns in a payload for `pushcore send`: each format against a static payload, in the same run."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console

from ..harness.look import Column, TableLayout, plain, show, two, whole
from ..harness.stage import Target
from .command import EXPO, FEW, MIXED, PAYLOADS, send, write_csv, write_ndjson

FORM: Final = TableLayout(
    "CPU of a row through `pushcore send`, without and with columns in the payload",
    (
        Column("provider", "devices"),
        Column("form", "audience", plain),
        Column("journal", "journal", plain),
        Column("rows", "rows", whole),
        Column("static_us", "static µs", two),
        Column("own_us", "own format µs", two),
        Column("own_ratio", "ratio", two),
        Column("expo_us", "Expo's µs", two),
        Column("expo_ratio", "ratio", two),
    ),
    "CPU of the process, its threads included, without what starting and ending cost; medians of interleaved runs; ratios to "
    "the static payload of the same round",
)
AUDIENCES: Final = {"csv": write_csv, "ndjson": write_ndjson}
WAYS: Final = {"no": ("--results", "results.csv"), "yes": ("--journal", "campaign.db")}
_NAME, _ORDER = "Ada 1", "1000001"  # in place of the columns


def payloads(provider: str) -> dict[str, str]:
    """The payload files by kind. For devices of both providers there is only Expo's format."""
    own = EXPO if provider == MIXED else PAYLOADS[provider]
    static = own.replace("{{name}}", _NAME).replace("{{order}}", _ORDER)
    return {"static": static, "expo": EXPO, **({} if provider == MIXED else {"own": own})}


def measure(
    console: Console,
    targets: Sequence[Target],
    *,
    rows: int,
    runs: int,
    forms: Sequence[str] = tuple(AUDIENCES),
    journals: Sequence[str] = tuple(WAYS),
) -> list[dict[str, Any]]:
    """A row for each form of audience, without and with a journal.

    Args:
        targets: One provider's, or both: then the audience has devices of both.
    """
    provider = targets[0].provider if len(targets) == 1 else MIXED
    kinds = payloads(provider)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        for kind, content in kinds.items():
            (place / f"{kind}.json").write_text(content)
        for form in forms:
            for name, count in (("devices", rows), ("few", FEW)):
                AUDIENCES[form](place / f"{name}.{form}", count, provider)
            for journal in journals:
                costs: dict[str, list[float]] = {kind: [] for kind in kinds}
                for number in range(1, runs + 1):
                    with console.status(f"columns, {provider}, {form}, run {number} of {runs}"):
                        for kind in kinds:
                            costs[kind].append(_cost(place, targets, kind, form, rows, WAYS[journal]))
                results.append(_row(provider, form, journal, rows, costs))
    show(console, FORM, results)
    return results


def _cost(
    place: Path, targets: Sequence[Target], kind: str, form: str, rows: int, words: Sequence[str]
) -> float:
    """Microseconds of CPU for one row."""
    few, many = (
        send(place, targets, f"{name}.{form}", *words, payload=f"{kind}.json").cpu
        for name in ("few", "devices")
    )
    return (many - few) / (rows - FEW) * 1e6


def _row(provider: str, form: str, journal: str, rows: int, costs: dict[str, list[float]]) -> dict[str, Any]:
    row: dict[str, Any] = {"part": "personalised", "provider": provider, "form": form, "journal": journal}
    row |= {"rows": rows, "runs": len(costs["static"])}
    for kind in ("static", "own", "expo"):
        row[f"{kind}_us"] = round(median(costs[kind]), 3) if kind in costs else None
        if kind != "static":
            pairs = zip(costs["static"], costs.get(kind, ()), strict=False)
            ratios = [cost / static for static, cost in pairs]
            row[f"{kind}_ratio"] = round(median(ratios), 3) if ratios else None
    return row


def too_dear(rows: Sequence[dict[str, Any]], wanted: dict[str, float]) -> list[str]:
    """The ratios above their limit, one sentence each. `wanted`: the limits by kind."""
    return [
        f"a row in {name} ({row['provider']}, {row['form']}) takes {row[f'{kind}_ratio']} times the CPU of a static one, "
        f"at most {limit} is allowed"
        for row in rows
        for kind, limit in wanted.items()
        if (row[f"{kind}_ratio"] or 0.0) > limit
        for name in ("Expo's format" if kind == "expo" else "the provider's format",)
    ]
