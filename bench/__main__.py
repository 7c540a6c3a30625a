"""`python -m bench COMMAND`: the measurements behind every figure in README and docs."""

from __future__ import annotations

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Ctrl-C during the imports below ends the command without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from pathlib import Path

import click

from . import programs, reporting
from .client import delay, errors, flat, latency, memory, scaling, startup, throughput, wan
from .counts import allocations, environments
from .gateway import cpu as gateway
from .gateway import load as gateway_load
from .harness import options
from .harness.providers import PROVIDERS
from .harness.stage import CannotMeasure
from .micro import run as micro_run
from .rivals import run as rivals
from .servers import constant, distance


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measures pushcore on this machine: the server on one core, the client on the other.

    \b
      python -m bench throughput --provider apns --count 100000

    Compare the ratios to h2load, which runs in the same run: absolute figures depend on the machine. bench/README.md says what each
    command measures, how to read it, and what distorts it.
    """


@main.command("throughput")
@options.provider
@options.count(200_000)
@options.several("--case", "cases", click.Choice(throughput.CASES), "Only these.")
@options.several(
    "--target",
    "targets",
    click.Choice(constant.KINDS),
    "Only this server, may be repeated: auto (c where it can be built), c, bare (our fake), nghttpd.",
)
@options.runs(3)
@options.json_file
def _throughput(
    provider: str, count: int, cases: tuple[str, ...], targets: tuple[str, ...], runs: int, file: Path | None
) -> None:
    """Pushes per second and CPU, compared with h2load.

    Both use the same server.
    """
    chosen = cases or throughput.CASES
    rows = throughput.measure(
        options.console, provider=provider, count=count, runs=runs, cases=chosen, targets=targets
    )
    options.keep("throughput", rows, file)


@main.command("latency")
@options.provider
@options.target
@options.several("--case", "cases", click.Choice(latency.CASES), "Only these.")
@options.several("--load", "loads", click.IntRange(1, 150), "Per cent of the maximum; without it 10 to 95.")
@options.seconds(10.0, "How long each load lasts.")
@click.option(
    "--delay-ms", default=20.0, type=click.FloatRange(0, 5000), show_default=True, help="The server's time."
)
@click.option(
    "--connections", default=1, type=click.IntRange(1, 64), show_default=True, help="Of each client."
)
@options.json_file
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
    """Latency percentiles at a given rate.

    A push that starts late counts from the time at which it should have started (no coordinated omission).
    """
    rows = latency.measure(
        options.console,
        provider=provider,
        cases=cases or latency.CASES,
        loads=loads or latency.LOADS,
        seconds=seconds,
        delay_ms=delay_ms,
        connections=connections,
        kind=kind,
    )
    options.keep("latency", rows, file)


@main.command("wan")
@options.provider
@options.target
@options.several("--rtt-ms", "round_trips", click.FloatRange(0.1, 2000), "Only these round trips.")
@options.several("--connections", "connections", click.IntRange(1, 64), "Only these numbers of connections.")
@options.several(
    "--case", "cases", click.Choice(throughput.CASES), "Which of our clients; without it `engine`."
)
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
@options.seconds(5.0, "About how long each run lasts.")
@options.runs(1)
@options.json_file
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
    """A distant server with Apple's window. Compares pushcore with the ideal and with h2load."""
    rows = wan.measure(
        options.console,
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
    options.keep("wan", rows, file)


@main.command("scaling")
@options.provider
@options.target
@options.several("--what", "dimensions", click.Choice(scaling.DIMENSIONS), "Only these.")
@options.several(
    "--case", "cases", click.Choice(throughput.CASES), "Which of our clients; without it frames and engine."
)
@click.option("--few", is_flag=True, help="Only the smallest and the largest of each.")
@options.count(200_000)
@options.runs(3)
@options.json_file
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
    """The effect of connections, processes, streams, sizes.

    One of them is changed at a time.
    """
    rows = scaling.measure(
        options.console,
        provider=provider,
        count=count,
        runs=runs,
        dimensions=dimensions or scaling.DIMENSIONS,
        kind=kind,
        cases=cases or scaling.CASES,
        few=few,
    )
    options.keep("scaling", rows, file)


@main.command("errors")
@options.provider
@click.option(
    "--target",
    "kind",
    type=click.Choice(["auto", "c"]),
    default="auto",
    show_default=True,
    help="The constant-answer server in C, or (auto) the strict fake with fated tokens where it cannot be built.",
)
@options.several(
    "--percent", "percents", click.IntRange(0, 99), "Only these shares of refusals; without it 0, 2, 10, 50."
)
@options.count(200_000)
@options.runs(3)
@options.json_file
def _errors(
    provider: str, kind: str, percents: tuple[int, ...], count: int, runs: int, file: Path | None
) -> None:
    """The cost of rejections with a body."""
    rows = errors.measure(
        options.console,
        provider=provider,
        count=count,
        runs=runs,
        percents=percents or errors.PERCENTS,
        kind=kind,
    )
    options.keep("errors", rows, file)


@main.command("delay")
@options.count(100_000)
@click.option("--delay-ms", default=50, show_default=True, help="How long the server takes to answer.")
@click.option("--connections", default=1, show_default=True, help="Each with all streams of the provider.")
@options.provider
@click.option(
    "--target",
    "kind",
    type=click.Choice(["auto", "c", "bare"]),
    default="bare",
    show_default=True,
    help="Our bare fake, or the constant-answer server in C (auto: where it can be built).",
)
@options.runs(3)
@options.json_file
def _delay(
    provider: str, kind: str, count: int, delay_ms: int, connections: int, runs: int, file: Path | None
) -> None:
    """How many of a slow server's streams are used. APNs allows 1000 on a connection, FCM 100."""
    rows = delay.measure(
        options.console,
        provider=provider,
        count=count,
        runs=runs,
        delay_ms=delay_ms,
        connections=connections,
        kind=kind,
    )
    options.keep("delay", rows, file)


@main.command("flat")
@options.provider
@options.count(200_000)
@options.runs(3)
@options.json_file
def _flat(provider: str, count: int, runs: int, file: Path | None) -> None:
    """Whether a push costs more with more in flight. Compares a tenth and all of the streams, on one and eight connections."""
    options.keep("flat", flat.measure(options.console, provider=provider, count=count, runs=runs), file)


@main.command("memory")
@options.provider
@options.count(5_000_000, "Notifications from a generator.")
@options.json_file
def _memory(provider: str, count: int, file: Path | None) -> None:
    """Resident memory during a long campaign."""
    options.keep("memory", memory.measure(options.console, provider=provider, count=count), file)


@main.command("allocations")
@options.provider
@options.json_file
def _allocations(provider: str, file: Path | None) -> None:
    """Allocations of a push, and its memory in flight. Counts are the same on every machine."""
    options.keep("allocations", allocations.measure(options.console, provider=provider), file)


@main.command("environments")
@options.json_file
def _environments(file: Path | None) -> None:
    """The cost of --environment auto. Counts instructions and allocations of pushes to the first environment; they are the same on
    every machine."""
    options.keep("environments", environments.measure(options.console), file)


@main.command("startup")
@options.provider
@options.target
@options.runs(11)
@options.json_file
def _startup(provider: str, kind: str, runs: int, file: Path | None) -> None:
    """Time of the import and of a process's first push."""
    options.keep("startup", startup.measure(options.console, provider=provider, runs=runs, kind=kind), file)


@main.command("rivals")
@options.several("--provider", "providers", click.Choice(list(PROVIDERS)), "Only this one; without it both.")
@options.target
@options.several(
    "--rival", "names", str, "Only these, by name or by the driver's file name without its suffix."
)
@options.seconds(3.0, "About how long each run lasts.")
@options.runs(1)
@options.json_file
def _rivals(
    providers: tuple[str, ...],
    kind: str,
    names: tuple[str, ...],
    seconds: float,
    runs: int,
    file: Path | None,
) -> None:
    """Other libraries at the same work. Each is installed under .bench/ at its first use."""
    rows = rivals.measure(
        options.console,
        providers=providers or tuple(PROVIDERS),
        runs=runs,
        seconds=seconds,
        names=names,
        kind=kind,
    )
    options.keep("rivals", rows, file)


@main.command("micro")
@click.option("--only", default="", help="Those whose name has this in it.")
@options.seconds(0.5, "About how long each is repeated.")
@options.json_file
def _micro(only: str, seconds: float, file: Path | None) -> None:
    """Single steps of a push. Frames, header blocks, responses, tokens, payloads, verdicts."""
    options.keep("micro", micro_run.measure(options.console, chosen=only, seconds=seconds), file)


for command in (
    gateway.gateway_command,
    gateway_load.gateway_load_command,
    programs.badday_command,
    programs.burst_command,
    programs.campaign_command,
    programs.queue_command,
    programs.fakes_command,
    programs.watched_command,
    reporting.report_command,
    reporting.readme_command,
    reporting.guard_command,
    reporting.ab_command,
):
    main.add_command(command)


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main(standalone_mode=True)
    except CannotMeasure as error:
        sys.exit(f"bench: {error}")
