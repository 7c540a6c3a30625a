"""`python -m bench COMMAND`: the measurements behind every figure in README and docs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from . import delay, fakes, flat, memory, throughput
from .stage import CannotMeasure, machine

console = Console(stderr=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measures pushcore on this machine, server on one core and client on the other.

    Figures are ratios to h2load in the same run, because absolute ones belong to one machine and one minute.
    """


def _report(rows: list[dict[str, Any]], file: Path | None) -> None:
    if file is not None:
        file.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")


def _options(command: Any) -> Any:
    command = click.option(
        "--json", "file", type=click.Path(path_type=Path), help="Also write the rows here."
    )(command)
    return click.option("--runs", default=3, show_default=True, help="Runs of each; medians are shown.")(
        command
    )


@main.command("throughput")
@click.option("--count", default=200_000, show_default=True, help="Notifications in each run.")
@click.option("--case", "cases", multiple=True, type=click.Choice(throughput.CASES), help="Only these.")
@_options
def _throughput(count: int, cases: tuple[str, ...], runs: int, file: Path | None) -> None:
    """Notifications/s and CPU for each, against h2load on the same server."""
    _report(throughput.measure(console, count=count, runs=runs, cases=cases or throughput.CASES), file)


@main.command("delay")
@click.option("--count", default=100_000, show_default=True, help="Notifications in each run.")
@click.option("--delay-ms", default=50, show_default=True, help="How long the server takes to answer.")
@_options
def _delay(count: int, delay_ms: int, runs: int, file: Path | None) -> None:
    """How much of a distant server's streams is used: 1000 streams, one connection."""
    _report(delay.measure(console, count=count, runs=runs, delay_ms=delay_ms), file)


@main.command("flat")
@click.option("--count", default=200_000, show_default=True, help="Notifications in each run.")
@_options
def _flat(count: int, runs: int, file: Path | None) -> None:
    """Whether a notification costs more when more are in flight: 100 and 1000 streams, one and eight connections."""
    _report(flat.measure(console, count=count, runs=runs), file)


@main.command("memory")
@click.option("--count", default=5_000_000, show_default=True, help="Notifications from a generator.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Also write the rows here.")
def _memory(count: int, file: Path | None) -> None:
    """Resident memory while a long campaign runs."""
    _report(memory.measure(console, count=count), file)


@main.command("fakes")
@click.option("--count", default=300_000, show_default=True, help="Requests in each run.")
@_options
def _fakes(count: int, runs: int, file: Path | None) -> None:
    """What each profile of the fake APNs can take, by h2load."""
    _report(fakes.measure(console, count=count, runs=runs), file)


if __name__ == "__main__":
    try:
        main(standalone_mode=True)
    except CannotMeasure as error:
        sys.exit(f"bench: {error}")
