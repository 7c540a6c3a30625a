"""`python -m bench COMMAND`: the measurements behind every figure in README and docs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from . import (
    campaign,
    constant,
    delay,
    distance,
    errors,
    fakes,
    flat,
    latency,
    look,
    memory,
    micro_run,
    report,
    scaling,
    startup,
    throughput,
    wan,
)
from .providers import PROVIDERS
from .rivals import run as rivals
from .stage import CannotMeasure, machine
from .suite import MEASUREMENTS

console = Console(stderr=True, width=None if sys.stderr.isatty() else 200)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measures pushcore on this machine, server on one core and client on the other.

    Figures are ratios to h2load in the same run, because absolute ones belong to one machine and one minute. What each
    command measures, how to read it and what spoils it is in bench/README.md.
    """


def _keep(name: str, rows: list[dict[str, Any]], file: Path | None) -> None:
    if file is not None:
        words = iter(sys.argv[1:])
        # Where the rows went is of no use to others.
        told = [word for word in words if not (word == "--json" and next(words, None) is not None)]
        command = " ".join(["python -m bench", *(word for word in told if not word.startswith("--json="))])
        look.write(file, machine(), [{"measurement": name, "command": command} | row for row in rows])


def _count(default: int, help: str = "Notifications in each run.") -> Callable[[Any], Any]:
    return click.option("--count", default=default, type=click.IntRange(1), show_default=True, help=help)


def _runs(default: int, help: str = "Runs of each; medians are shown.") -> Callable[[Any], Any]:
    return click.option("--runs", default=default, type=click.IntRange(1, 100), show_default=True, help=help)


def _seconds(default: float, help: str) -> Callable[[Any], Any]:
    return click.option(
        "--seconds", default=default, type=click.FloatRange(0.01, 600), show_default=True, help=help
    )


_json = click.option(
    "--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="Also write the rows here."
)
_provider = click.option(
    "--provider", type=click.Choice(list(PROVIDERS)), default="apns", show_default=True, help="Whose server."
)
_target = click.option(
    "--target",
    "kind",
    type=click.Choice(["auto", "c", "bare"]),
    default="auto",
    show_default=True,
    help="The server: the constant-answer one in C (auto: where it can be built), or our bare fake.",
)


def _several(name: str, destination: str, kind: Any, help: str) -> Callable[[Any], Any]:
    return click.option(name, destination, multiple=True, type=kind, help=help)


@main.command("throughput")
@_provider
@_count(200_000)
@_several("--case", "cases", click.Choice(throughput.CASES), "Only these.")
@_several(
    "--target",
    "targets",
    click.Choice(constant.KINDS),
    "Only this server, may be repeated: auto (c where it can be built), c, bare (our fake), nghttpd.",
)
@_runs(3)
@_json
def _throughput(
    provider: str, count: int, cases: tuple[str, ...], targets: tuple[str, ...], runs: int, file: Path | None
) -> None:
    """Notifications/s and CPU for each, against h2load on the same server."""
    chosen = cases or throughput.CASES
    rows = throughput.measure(
        console, provider=provider, count=count, runs=runs, cases=chosen, targets=targets
    )
    _keep("throughput", rows, file)


@main.command("latency")
@_provider
@_target
@_several("--case", "cases", click.Choice(latency.CASES), "Only these.")
@_several("--load", "loads", click.IntRange(1, 150), "Per cent of the maximum; without it 10 to 95.")
@_seconds(10.0, "How long each load lasts.")
@click.option(
    "--delay-ms", default=20.0, type=click.FloatRange(0, 5000), show_default=True, help="The server's time."
)
@click.option(
    "--connections", default=1, type=click.IntRange(1, 64), show_default=True, help="Of each client."
)
@_json
def _latency(
    provider: str,
    kind: str,
    cases: tuple[str, ...],
    loads: tuple[int, ...],
    seconds: float,
    delay_ms: float,
    connections: int,
    file: Path | None,
) -> None:
    """Latency percentiles under an offered load, free of coordinated omission."""
    rows = latency.measure(
        console,
        provider=provider,
        cases=cases or latency.CASES,
        loads=loads or latency.LOADS,
        seconds=seconds,
        delay_ms=delay_ms,
        connections=connections,
        kind=kind,
    )
    _keep("latency", rows, file)


@main.command("wan")
@_provider
@_target
@_several("--rtt-ms", "round_trips", click.FloatRange(0.1, 2000), "Only these round trips.")
@_several("--connections", "connections", click.IntRange(1, 64), "Only these numbers of connections.")
@_several("--case", "cases", click.Choice(throughput.CASES), "Which of our clients; without it `engine`.")
@click.option(
    "--way",
    type=click.Choice(distance.WAYS),
    default="auto",
    show_default=True,
    help="netem in a network namespace (root, iproute2, a kernel that has it), or a relay.",
)
@click.option(
    "--updates",
    type=click.Choice(["half", "each"]),
    default="half",
    show_default=True,
    help="The C target tells of free window by halves, as Apple does, or after each read.",
)
@_seconds(5.0, "About how long each run lasts.")
@_runs(1)
@_json
def _wan(
    provider: str,
    kind: str,
    round_trips: tuple[float, ...],
    connections: tuple[int, ...],
    cases: tuple[str, ...],
    way: str,
    updates: str,
    seconds: float,
    runs: int,
    file: Path | None,
) -> None:
    """A server that is far away, with Apple's window: ours against the ideal and against h2load."""
    rows = wan.measure(
        console,
        provider=provider,
        runs=runs,
        seconds=seconds,
        round_trips=round_trips or wan.ROUND_TRIPS,
        connections=connections or wan.CONNECTIONS,
        way=way,
        updates=updates,
        kind=kind,
        cases=cases or ("engine",),
    )
    _keep("wan", rows, file)


@main.command("scaling")
@_provider
@_target
@_several("--what", "dimensions", click.Choice(scaling.DIMENSIONS), "Only these.")
@_several(
    "--case", "cases", click.Choice(throughput.CASES), "Which of our clients; without it frames and engine."
)
@click.option("--few", is_flag=True, help="Only the smallest and the largest of each.")
@_count(200_000)
@_runs(3)
@_json
def _scaling(
    provider: str,
    kind: str,
    dimensions: tuple[str, ...],
    cases: tuple[str, ...],
    few: bool,
    count: int,
    runs: int,
    file: Path | None,
) -> None:
    """More connections, processes, streams in flight, or larger bodies: one changed at a time."""
    rows = scaling.measure(
        console,
        provider=provider,
        count=count,
        runs=runs,
        dimensions=dimensions or scaling.DIMENSIONS,
        kind=kind,
        cases=cases or scaling.CASES,
        few=few,
    )
    _keep("scaling", rows, file)


@main.command("errors")
@_provider
@click.option(
    "--target",
    "kind",
    type=click.Choice(["auto", "c"]),
    default="auto",
    show_default=True,
    help="The constant-answer server in C, or (auto) the strict fake with fated tokens where it cannot be built.",
)
@_several(
    "--percent", "percents", click.IntRange(0, 99), "Only these shares of refusals; without it 0, 2, 10, 50."
)
@_count(200_000)
@_runs(3)
@_json
def _errors(
    provider: str, kind: str, percents: tuple[int, ...], count: int, runs: int, file: Path | None
) -> None:
    """What refusals with a body cost."""
    rows = errors.measure(
        console, provider=provider, count=count, runs=runs, percents=percents or errors.PERCENTS, kind=kind
    )
    _keep("errors", rows, file)


@main.command("delay")
@_count(100_000)
@click.option("--delay-ms", default=50, show_default=True, help="How long the server takes to answer.")
@click.option("--connections", default=1, show_default=True, help="Each with all streams of the provider.")
@_provider
@click.option(
    "--target",
    "kind",
    type=click.Choice(["auto", "c", "bare"]),
    default="bare",
    show_default=True,
    help="Our bare fake, or the constant-answer server in C (auto: where it can be built).",
)
@_runs(3)
@_json
def _delay(
    provider: str, kind: str, count: int, delay_ms: int, connections: int, runs: int, file: Path | None
) -> None:
    """How much of a distant server's streams is used: 1000 on a connection with APNs, 100 with FCM."""
    rows = delay.measure(
        console,
        provider=provider,
        count=count,
        runs=runs,
        delay_ms=delay_ms,
        connections=connections,
        kind=kind,
    )
    _keep("delay", rows, file)


@main.command("flat")
@_provider
@_count(200_000)
@_runs(3)
@_json
def _flat(provider: str, count: int, runs: int, file: Path | None) -> None:
    """Whether a notification costs more when more are in flight: a tenth and all of the streams, one and eight connections."""
    _keep("flat", flat.measure(console, provider=provider, count=count, runs=runs), file)


@main.command("memory")
@_provider
@_count(5_000_000, "Notifications from a generator.")
@_json
def _memory(provider: str, count: int, file: Path | None) -> None:
    """Resident memory while a long campaign runs."""
    _keep("memory", memory.measure(console, provider=provider, count=count), file)


@main.command("campaign")
@click.option("--rows", default=200_000, type=click.IntRange(1000), show_default=True, help="Of each run.")
@click.option(
    "--memory-rows", default=2_000_000, type=click.IntRange(1000), show_default=True, help="For the memory."
)
@_several("--part", "parts", click.Choice(campaign.PARTS), "Only these.")
@_runs(5)
@_json
def _campaign(rows: int, memory_rows: int, parts: tuple[str, ...], runs: int, file: Path | None) -> None:
    """`pushcore send` itself: what a journal costs, memory of two million rows, two processes against one."""
    measured = campaign.measure(
        console, rows=rows, memory_rows=memory_rows, runs=runs, parts=parts or campaign.PARTS
    )
    _keep("campaign", measured, file)


@main.command("startup")
@_provider
@_target
@_runs(11)
@_json
def _startup(provider: str, kind: str, runs: int, file: Path | None) -> None:
    """How long the import takes, and the first push of a new process."""
    _keep("startup", startup.measure(console, provider=provider, runs=runs, kind=kind), file)


@main.command("fakes")
@_count(300_000, "Requests in each run.")
@_runs(3)
@_json
def _fakes(count: int, runs: int, file: Path | None) -> None:
    """What each profile of the fake APNs and the fake FCM can take, by h2load."""
    _keep("fakes", fakes.measure(console, count=count, runs=runs), file)


@main.command("rivals")
@_several("--provider", "providers", click.Choice(list(PROVIDERS)), "Only this one; without it both.")
@_target
@_several("--rival", "names", str, "Only these, by name or by the driver's file name without its suffix.")
@_seconds(3.0, "About how long each run lasts.")
@_runs(1)
@_json
def _rivals(
    providers: tuple[str, ...],
    kind: str,
    names: tuple[str, ...],
    seconds: float,
    runs: int,
    file: Path | None,
) -> None:
    """Other libraries at the same work. Each is installed under .bench/ when it is first asked for."""
    rows = rivals.measure(
        console, providers=providers or tuple(PROVIDERS), runs=runs, seconds=seconds, names=names, kind=kind
    )
    _keep("rivals", rows, file)


@main.command("micro")
@click.option("--only", default="", help="Those whose name has this in it.")
@_seconds(0.5, "About how long each is repeated.")
@_json
def _micro(only: str, seconds: float, file: Path | None) -> None:
    """Single steps of a push: frames, header blocks, answers, tokens, payloads, verdicts."""
    _keep("micro", micro_run.measure(console, chosen=only, seconds=seconds), file)


@main.command("report")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--from",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Measure nothing: take the rows of these files, which other commands wrote with --json.",
)
@click.option("--short", is_flag=True, help="Fewer and shorter runs: under ten minutes instead of hours.")
@_several("--only", "names", click.Choice(list(MEASUREMENTS)), "Only these measurements.")
@_several("--provider", "providers", click.Choice(list(PROVIDERS)), "Only this one; without it both.")
def _report(
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
            console, names=chosen, providers=providers or tuple(PROVIDERS), short=short
        )
        described = machine()
    for path in report.make(console, directory, described, rows, missing):
        console.print(f"wrote {path}")


if __name__ == "__main__":
    try:
        main(standalone_mode=True)
    except CannotMeasure as error:
        sys.exit(f"bench: {error}")
