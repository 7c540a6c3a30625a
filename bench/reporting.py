"""The commands for all measurements: `report`, `readme`, `guard` and `ab`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .guards import ab
from .guards import guard as guarding
from .guards.ratios import FEWEST
from .harness import checkouts, options, promises
from .harness.look import show
from .harness.providers import PROVIDERS
from .harness.stage import machine
from .report import readme, report
from .report.suite import MEASUREMENTS
from .report.sweep import sweep


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
    """Measures everything and writes a report. DIRECTORY gets JSON, Markdown, HTML and pictures.

    Failures are printed at the end and do not stop further measurements. Ctrl-C ends the run with a report of the finished ones.
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
@click.argument("source", metavar="REPORT", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--beside",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A report of `throughput` with another interpreter on the same machine: its figures are shown, too.",
)
def readme_command(source: Path, beside: Path | None) -> None:
    """Writes the figures of README and docs.

    REPORT: the directory of a report, for README.md, docs/inside/benchmarks.md and docs/images; or the file of `gateway --json`, for the
    gateway's guide.
    """
    for path in readme.update(source, beside=beside) if source.is_dir() else [readme.update_guide(source)]:
        options.console.print(f"wrote {path}")


@click.command("guard")
@options.several("--provider", "providers", click.Choice(list(PROVIDERS)), "Only this one; without it both.")
def guard_command(providers: tuple[str, ...]) -> None:
    """Checks the limits of bench/thresholds.toml. CPU against h2load, allocations, live objects; exit status 1 if one is crossed."""
    crossed = guarding.guard(options.console, providers=providers or tuple(PROVIDERS))
    options.say_interpreter()
    for line in crossed:
        options.console.print(f"crossed: {line}", markup=False)
    sys.exit(1 if crossed else 0)


@click.command("ab")
@click.argument("old", metavar="REV")
@click.argument("new", metavar="[REV]", default="HEAD")
@options.several("--only", "cases", click.Choice(ab.CASES), "Only this case, may be repeated.")
@options.several("--provider", "providers", click.Choice(list(PROVIDERS)), "Only this one; without it both.")
@options.count(100_000)
@click.option(
    "--runs",
    default=7,
    type=click.IntRange(FEWEST, 100),
    show_default=True,
    help="Pairs of runs of each case.",
)
@options.json_file
def ab_command(
    old: str,
    new: str,
    cases: tuple[str, ...],
    providers: tuple[str, ...],
    count: int,
    runs: int,
    file: Path | None,
) -> None:
    """Compares two commits. CPU, instructions and allocations of a push, on an old commit and on a new one (HEAD).

    Each commit is checked out and installed under .bench/ab/ at its first use. Runs alternate between them, against
    the same server on the same cores. A ratio is "same" within 3 % of 1, or if 1 is within its spread.

    Exit status 0: nothing is slower and nothing allocates more. 1: something is slower or allocates more, or cannot be measured.
    """
    console = options.console
    commits = [checkouts.resolve(revision) for revision in (old, new)]
    if checkouts.has_uncommitted_changes():
        console.print("uncommitted changes are not measured: both sides are commits")
    before, after = (checkouts.checkout(console, commit) for commit in commits)
    rows = ab.measure(
        console, before, after, count=count, runs=runs, providers=providers or tuple(PROVIDERS), cases=cases
    )
    options.keep("ab", rows, file)
    told = ab.worse(rows)
    for line in told:
        console.print(line, markup=False)
    sys.exit(1 if told else 0)
