"""The commands that measure whole programs: `pushcore send`, its workers, and the fakes."""

from __future__ import annotations

from pathlib import Path

import click

from .campaigns import brokers, burst, campaign, queues
from .client import badday
from .harness import options
from .servers import fakes


@click.command("burst")
@options.provider
@options.target
@click.option(
    "--rows", default=1_000_000, type=click.IntRange(1000), show_default=True, help="For one process."
)
@options.several("--part", "parts", click.Choice(burst.PARTS), "Only one process, or only two.")
@click.option(
    "--lead",
    default=6.0,
    type=click.FloatRange(1, 60),
    show_default=True,
    help="Seconds that a sender has until the time that it is set to.",
)
@options.runs(3)
@options.json_file
def burst_command(
    provider: str, kind: str, rows: int, parts: tuple[str, ...], lead: float, runs: int, file: Path | None
) -> None:
    """The delay of `pushcore send --start-at`. From the set time to the first and the last response."""
    measured = burst.measure(
        options.console,
        provider=provider,
        rows=rows,
        runs=runs,
        lead=lead,
        kind=kind,
        parts=parts or burst.PARTS,
    )
    options.keep("burst", measured, file)


@click.command("campaign")
@options.provider
@click.option("--rows", default=200_000, type=click.IntRange(1000), show_default=True, help="Of each run.")
@click.option(
    "--memory-rows", default=2_000_000, type=click.IntRange(1000), show_default=True, help="For the memory."
)
@options.several("--part", "parts", click.Choice(campaign.PARTS), "Only these.")
@options.runs(5)
@options.json_file
def campaign_command(
    provider: str, rows: int, memory_rows: int, parts: tuple[str, ...], runs: int, file: Path | None
) -> None:
    """`pushcore send` as a whole. The cost of a journal, the memory of two million rows, two processes against one."""
    measured = campaign.measure(
        options.console,
        provider=provider,
        rows=rows,
        memory_rows=memory_rows,
        runs=runs,
        parts=parts or campaign.PARTS,
    )
    options.keep("campaign", measured, file)


@click.command("queue")
@click.option("--rows", default=200_000, type=click.IntRange(1000), show_default=True, help="Of each run.")
@click.option(
    "--chunk", default=500, type=click.IntRange(1, 10_000), show_default=True, help="Rows of a chunk."
)
@options.several(
    "--broker", "names", click.Choice(brokers.BROKERS), "Only these; without it all that there are."
)
@options.several("--part", "parts", click.Choice(queues.PARTS), "Only these.")
@options.runs(5)
@options.json_file
def queue_command(
    rows: int, chunk: int, names: tuple[str, ...], parts: tuple[str, ...], runs: int, file: Path | None
) -> None:
    """Campaigns over a queue. The CPU that a worker adds to a push, and two workers against one."""
    measured = queues.measure(
        options.console, rows=rows, chunk=chunk, runs=runs, names=names, parts=parts or queues.PARTS
    )
    options.keep("queue", measured, file)


@click.command("badday")
@options.provider
@options.several("--day", "days", click.Choice(badday.DAYS), "Only these.")
@click.option(
    "--rate", default=20_000, type=click.IntRange(10), show_default=True, help="Pushes offered a second."
)
@options.seconds(5.0, "How long each day lasts.")
@options.json_file
def badday_command(
    provider: str, days: tuple[str, ...], rate: int, seconds: float, file: Path | None
) -> None:
    """Servers that close each connection early. The delivered part of an offered load, at 100 to 200 requests per connection."""
    measured = badday.measure(
        options.console, provider=provider, rate=rate, seconds=seconds, days=days or badday.DAYS
    )
    options.keep("badday", measured, file)


@click.command("fakes")
@options.count(300_000, "Requests in each run.")
@options.runs(3)
@options.json_file
def fakes_command(count: int, runs: int, file: Path | None) -> None:
    """The load that the fakes can take, by h2load."""
    options.keep("fakes", fakes.measure(options.console, count=count, runs=runs), file)


@click.command("watched")
@options.count(100_000, "Requests in each run.")
@options.runs(9)
@options.json_file
def watched_command(count: int, runs: int, file: Path | None) -> None:
    """The cost of an open control page for the fakes. By h2load, with a plan of 1 % errors."""
    options.keep("watched", fakes.measure_watched(options.console, count=count, runs=runs), file)
