"""What the fake servers can take on one core, by h2load, which is not ours."""

from __future__ import annotations

from statistics import median
from typing import Any, Final

from rich.console import Console

from .clients import h2load, medians
from .look import Column, Form, show, two, whole
from .providers import PROVIDERS
from .stage import fake

FORM: Final = Form(
    "What the fake servers can take",
    (
        Column("provider", "provider"),
        Column("profile", "profile"),
        Column("rate", "requests/s", whole),
        Column("server_cpu_us", "server CPU µs", two),
    ),
)


def measure(console: Console, *, count: int, runs: int) -> list[dict[str, Any]]:
    """Requests/s of each profile and the CPU that the server spent on each."""
    rows = []
    for provider in PROVIDERS:
        for profile in ("strict", "bare"):
            with fake(provider, profile) as target:
                measured, server = [], []
                for number in range(1, runs + 1):
                    with console.status(f"{provider} {profile}, run {number} of {runs}"):
                        used = target.cpu()
                        measured.append(h2load(target, count=count))
                        server.append((target.cpu() - used) / count * 1e6)
            rate, cpu = medians(measured).rate, median(server)
            row = {"provider": provider, "profile": profile}
            rows.append(row | {"rate": round(rate), "server_cpu_us": round(cpu, 2)})
    show(console, FORM, rows)
    return rows
