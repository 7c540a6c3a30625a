"""What a push allocates and holds. It is the same on every machine, so a test checks it (see `bench.counting`)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console

from ..harness.look import Column, TableLayout, show, two
from ..harness.stage import CLIENT_CORE, CannotMeasure, run_on

TIMEOUT: Final = 120.0
COUNTED: Final = ("allocations", "blocks", "objects", "left")
FORM: Final = TableLayout(
    "Memory of one notification, counted",
    (
        Column("case", "case"),
        Column("provider", "provider"),
        Column("allocations", "allocations in all", two),
        Column("blocks", "blocks in flight", two),
        Column("objects", "objects in flight", two),
        Column("left", "blocks left", two),
    ),
    "the push itself, made by the caller, is not counted; objects: those that the garbage collector knows; left: when it "
    "is over, what only the collector could free included",
)


def measure(console: Console, *, provider: str) -> list[dict[str, Any]]:
    """A row for each case."""
    with console.status(f"counting allocations for {provider}"):
        done = run_on(
            CLIENT_CORE,
            [sys.executable, "-m", "bench.counting", provider],
            stdout=subprocess.PIPE,
            timeout=TIMEOUT,
        )
    if done.returncode:
        raise CannotMeasure("counting failed; what it said is above")
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    show(console, FORM, rows)
    return rows


def crossed(
    rows: Iterable[dict[str, Any]], limits: dict[str, Any], python: tuple[int, int] = sys.version_info[:2]
) -> list[str]:
    """What is above the limits (`allocations` of `thresholds.toml`), one sentence each. What was not counted is skipped."""
    crossed = []
    for row in rows:
        for name in COUNTED:
            limit = limits[row["provider"]][row["case"]][name]
            if name == "allocations":
                limit = of_version(limit, python)
            if row[name] is not None and row[name] > limit:
                crossed.append(
                    f"{row['case']} ({row['provider']}): {row[name]} {name} for each push, at most {limit} are allowed"
                )
    return crossed


def of_version(limits: dict[str, float], python: tuple[int, int]) -> float:
    """The limit for this version of Python, or for the newest version before it."""
    known = {tuple(map(int, version.split("."))): limit for version, limit in limits.items()}
    return known[max(version for version in known if version <= python)]
