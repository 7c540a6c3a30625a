"""Resident memory of a long campaign from a generator: it must depend on the window, not on the count."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import psutil
from rich.console import Console

from .stage import CLIENT_CORE, CannotMeasure, fake_apns, pinned

SECONDS = 1.0  # between samples


def measure(console: Console, *, count: int) -> list[dict[str, Any]]:
    """Peak and growth of the process that runs the case `engine`, sampled from outside."""
    with fake_apns("bare") as target:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "bench.cases",
                "engine",
                json.dumps(asdict(target)),
                str(count),
                "1000",
                "1",
            ],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=pinned(CLIENT_CORE),
        )
        watched = psutil.Process(process.pid)
        samples: list[float] = []
        with console.status(f"{count:,} notifications"):
            while True:
                try:
                    process.wait(SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    samples.append(watched.memory_info().rss / 2**20)
        assert process.stdout is not None
        measured = json.loads(process.stdout.read())
        if process.returncode or measured["ok"] != count:
            raise CannotMeasure(f"{measured['ok']} of {count} were accepted")
    half = samples[len(samples) // 2] if samples else measured["peak_mb"]
    last = samples[-1] if samples else measured["peak_mb"]
    row = {
        "count": count,
        "peak_mb": round(measured["peak_mb"], 1),
        "half_mb": round(half, 1),
        "last_mb": round(last, 1),
    }
    row |= {"rate": round(measured["rate"]), "samples": [round(sample, 1) for sample in samples]}
    console.print(
        f"peak {row['peak_mb']} MB; {row['half_mb']} MB at half, {row['last_mb']} MB at the end; {row['rate']:,}/s"
    )
    return [row]
