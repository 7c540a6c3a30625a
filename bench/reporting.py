"""The commands that are about all measurements: `report`."""

from __future__ import annotations

from pathlib import Path

import click

from . import options, report
from .providers import PROVIDERS
from .stage import machine
from .suite import MEASUREMENTS


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
@options.several("--only", "names", click.Choice(list(MEASUREMENTS)), "Only these measurements.")
@options.several("--provider", "providers", click.Choice(list(PROVIDERS)), "Only this one; without it both.")
def report_command(
    directory: Path, files: tuple[Path, ...], short: bool, names: tuple[str, ...], providers: tuple[str, ...]
) -> None:
    """Runs everything, or reads JSON files, and writes JSON, Markdown, HTML and pictures into DIRECTORY."""
    missing: list[str] = []
    if files:
        described, rows = report.collect(files)
        rows = [row for row in rows if not names or row["measurement"] in names]
    else:
        chosen = [name for name in MEASUREMENTS if not names or name in names]
        rows, missing = report.run(
            options.console, names=chosen, providers=providers or tuple(PROVIDERS), short=short
        )
        described = machine()
    for path in report.make(options.console, directory, described, rows, missing):
        options.console.print(f"wrote {path}")
