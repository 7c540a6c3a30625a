"""The cost of rejections: some responses have an error status and a body that must be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console

from ..harness.look import Column, TableLayout, plain, share, show, two, whole
from ..harness.providers import Workload
from ..servers import constant
from .throughput import compare

PERCENTS: Final = (0, 2, 10, 50)
CASES: Final = ("engine", "send")
FORM: Final = TableLayout(
    "Refusals with a body",
    (
        Column("refused", "refused", share),
        Column("case", "case"),
        Column("provider", "provider"),
        Column("target", "target", plain),
        Column("rate", "pushes/s", whole),
        Column("cpu_us", "CPU µs", two),
        Column("of_none", "CPU of none refused", two),
        Column("cpu_ratio", "CPU ratio", two),
        Column("server_use", "server", share),
    ),
    "three of four refusals say that the device is gone, the fourth blames its token; CPU of none refused: times what "
    "the same client needs without refusals",
)


def measure(
    console: Console,
    *,
    provider: str,
    count: int,
    runs: int,
    percents: Sequence[int] = PERCENTS,
    kind: str = "auto",
    cases: Sequence[str] = CASES,
) -> list[dict[str, Any]]:
    """A row for each client and share of rejections."""
    rows: list[dict[str, Any]] = []
    base: dict[str, float] = {}
    for percent in percents:
        with constant.target(kind, provider, refuse=percent) as target:
            # The C target counts on each connection, where one push was accepted before; the fake goes by the tokens.
            work = Workload(fated=percent if target.name == "strict" else 0)
            if target.name == "strict":
                refused = sum(work.refused(number) for number in range(count))
            else:
                refused = (count + 1) * percent // 100
            label = f"{percent} % refused"
            measured = compare(console, target, cases, count, runs, work=work, refused=refused, label=label)
        for row in measured:
            if percent == 0:
                base[row["case"]] = row["cpu_us"]
            first = base.get(row["case"])
            ratio = row["cpu_us"] / first if first else None
            rows.append(
                {"refused": percent / 100, "of_none": None if ratio is None else round(ratio, 3)} | row
            )
    show(console, FORM, rows)
    return rows
