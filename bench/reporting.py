"""The commands that are about all measurements: `report`, `readme` and `guard`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from . import guard as guarding
from . import options, promises, readme, report
from .look import show
from .providers import PROVIDERS
from .stage import machine
from .suite import MEASUREMENTS
from .sweep import sweep


@click.command("report")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--from",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Measure nothing: take the rows of these files, which other commands wrote with --json.",
)
@click.option("--short", is_flag=True, help="Fewer and shorter runs: under ten minutes instead of hours.")
@click.option(
    "--resume",
    is_flag=True,
    help="What DIRECTORY has from the same command and commit is not measured again.",
)
@options.several("--only", "names", click.Choice(list(MEASUREMENTS)), "Only these measurements.")
@options.several("--provider", "providers", click.Choice(list(PROVIDERS)), "Only this one; without it both.")
def report_command(
    directory: Path,
    files: tuple[Path, ...],
    short: bool,
    resume: bool,
    names: tuple[str, ...],
    providers: tuple[str, ...],
) -> None:
    """Runs everything, or reads JSON files, and writes JSON, Markdown, HTML and pictures into DIRECTORY.

    What fails is said at the end and does not stop the others. Ctrl-C ends it with a report of what there is.
    """
    console = options.console
    missing: list[str] = []
    if files:
        described, rows = report.collect(files)
        rows = [row for row in rows if not names or row["measurement"] in names]
    else:
        described = machine()
        swept = sweep(
            console,
            directory / "rows",
            described,
            names=names or tuple(MEASUREMENTS),
            providers=providers or tuple(PROVIDERS),
            short=short,
            resume=resume,
        )
        rows, missing = swept.rows, swept.missing
    told = report.promised(rows)
    if told:
        show(console, promises.FORM, told)
    for line in missing:
        console.print(f"not measured: {line}", markup=False)
    for path in report.make(console, directory, described, rows, missing):
        console.print(f"wrote {path}")


@click.command("readme")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
def readme_command(directory: Path) -> None:
    """Puts the figures and pictures of the report in DIRECTORY into README.md and docs/images."""
    for path in readme.update(directory):
        options.console.print(f"wrote {path}")


@click.command("guard")
@options.several("--provider", "providers", click.Choice(list(PROVIDERS)), "Only this one; without it both.")
def guard_command(providers: tuple[str, ...]) -> None:
    """Exit status 1 when a limit of bench/thresholds.toml is crossed: CPU against h2load, allocations, live objects."""
    crossed = guarding.guard(options.console, providers=providers or tuple(PROVIDERS))
    for line in crossed:
        options.console.print(f"crossed: {line}", markup=False)
    sys.exit(1 if crossed else 0)
