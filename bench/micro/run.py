"""The micro-benchmarks of `bench/micro/`, run by pytest in a process on the client's core."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from ..harness.look import Column, TableLayout, show, two, whole
from ..harness.stage import CLIENT_CORE, ROOT, CannotMeasure, run_on

TIMEOUT: Final = 600
FORM: Final = TableLayout(
    "Single steps, in µs of wall time on a core of their own",
    (
        Column("step", "step"),
        Column("us", "median µs", two),
        Column("least_us", "least µs", two),
        Column("spread", "IQR µs", two),
        Column("rounds", "rounds", whole),
    ),
    "a step that says a thousand does a thousand pushes: divide",
)


def measure(console: Console, *, chosen: str = "", seconds: float = 0.5) -> list[dict[str, Any]]:
    """A row for each benchmark with `chosen` in its name; about `seconds` for each."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "micro.json"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            str(ROOT / "bench" / "micro"),
        ]
        # The project's own options skip benchmarks.
        command += ["-o", "addopts=", "--benchmark-only", f"--benchmark-json={file}"]
        command += [f"--benchmark-max-time={seconds}", "--benchmark-warmup=off", "--benchmark-disable-gc"]
        with console.status("micro-benchmarks"):
            done = run_on(
                CLIENT_CORE,
                [*command, "-k", chosen] if chosen else command,
                cwd=ROOT,
                capture_output=True,
                timeout=TIMEOUT,
            )
        if done.returncode or not file.exists():
            raise CannotMeasure(f"pytest failed:\n{done.stdout[-2000:]}{done.stderr[-500:]}")
        benchmarks = json.loads(file.read_text())["benchmarks"]
    rows = []
    for benchmark in benchmarks:
        stats = benchmark["stats"]
        step = benchmark["name"].removeprefix("test_").replace("_", " ")
        row = {"step": step, "us": round(stats["median"] * 1e6, 3), "least_us": round(stats["min"] * 1e6, 3)}
        rows.append(row | {"spread": round(stats["iqr"] * 1e6, 3), "rounds": stats["rounds"]})
    show(console, FORM, rows)
    return rows
