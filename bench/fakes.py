"""What the fake servers can take on one core, by h2load, which is not ours."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from .stage import fake_apns, h2load, medians


def measure(console: Console, *, count: int, runs: int) -> list[dict[str, Any]]:
    """Requests/s of each profile and the CPU that the server spent on each."""
    rows = []
    for profile in ("strict", "bare"):
        with fake_apns(profile) as target:
            measured, server = [], []
            for number in range(1, runs + 1):
                with console.status(f"{profile}, run {number} of {runs}"):
                    used = target.cpu()
                    measured.append(h2load(target, count=count))
                    server.append((target.cpu() - used) / count * 1e6)
        middle = medians(measured)
        cpu = sorted(server)[len(server) // 2]
        rows.append({"profile": profile, "rate": round(middle.rate), "server_cpu_us": round(cpu, 2)})
        console.print(f"{profile:8} {middle.rate:10,.0f}/s  {cpu:.2f} µs of the server's CPU each")
    return rows
