"""All measurements by name: the options of the short and of the full run, and the layout of the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console

from ..campaigns import burst, campaign, queues
from ..client import badday, delay, errors, flat, latency, memory, scaling, startup, throughput, wan
from ..counts import allocations
from ..harness.look import TableLayout
from ..harness.providers import PROVIDERS
from ..micro import run as micro_run
from ..rivals import run as rivals
from ..servers import fakes

Rows = list[dict[str, Any]]
Run = Callable[[Console, str, bool], Rows]
"""Console, provider, and whether it must be short."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement.

    `form`: the layout of its rows, or one for each part if its rows have a key "part". `options`: those of the full run, and
    those of the short one. `of_provider`: whether it runs once for each provider."""

    name: str
    form: TableLayout | Mapping[str, TableLayout]
    run: Run
    options: tuple[str, str]
    of_provider: bool = True

    def tables(self, rows: Rows) -> list[tuple[TableLayout, Rows]]:
        """The rows by their form."""
        if isinstance(self.form, TableLayout):
            return [(self.form, rows)]
        parts = [(form, [row for row in rows if row.get("part") == part]) for part, form in self.form.items()]
        return [(form, some) for form, some in parts if some]

    def command(self, provider: str, short: bool) -> str:
        """The command that repeats it."""
        words = ["python -m bench", self.name, self.options[short]]
        if self.of_provider:
            words.append(f"--provider {provider}")
        return " ".join(filter(None, words))


def _throughput(console: Console, provider: str, short: bool) -> Rows:
    count, runs = (100_000, 3) if short else (400_000, 5)
    return throughput.measure(
        console, provider=provider, count=count, runs=runs, cases=throughput.CASES, targets=()
    )


def _latency(console: Console, provider: str, short: bool) -> Rows:
    loads = (10, 50, 90) if short else latency.LOADS
    seconds = 3.0 if short else 20.0
    cases = ("engine",) if short else latency.CASES
    return latency.measure(
        console, provider=provider, cases=cases, loads=loads, seconds=seconds, delay_ms=20.0
    )


def _wan(console: Console, provider: str, short: bool) -> Rows:
    trips = (20.0, 100.0) if short else wan.ROUND_TRIPS
    connections = (1, 4) if short else wan.CONNECTIONS
    runs, seconds = (1, 2.0) if short else (3, 3.0)
    return wan.measure(
        console, provider=provider, runs=runs, seconds=seconds, round_trips=trips, connections=connections
    )


def _scaling(console: Console, provider: str, short: bool) -> Rows:
    count, runs = (20_000, 1) if short else (200_000, 3)
    return scaling.measure(console, provider=provider, count=count, runs=runs, few=short)


def _errors(console: Console, provider: str, short: bool) -> Rows:
    count, runs = (50_000, 1) if short else (200_000, 5)
    percents = (0, 50) if short else errors.PERCENTS
    return errors.measure(console, provider=provider, count=count, runs=runs, percents=percents)


def _delay(console: Console, provider: str, short: bool) -> Rows:
    count = PROVIDERS[provider].streams * (40 if short else 100)
    return delay.measure(
        console, provider=provider, count=count, runs=1 if short else 3, delay_ms=50, connections=1
    )


def _flat(console: Console, provider: str, short: bool) -> Rows:
    return flat.measure(
        console, provider=provider, count=50_000 if short else 200_000, runs=1 if short else 3
    )


def _memory(console: Console, provider: str, short: bool) -> Rows:
    return memory.measure(console, provider=provider, count=500_000 if short else 5_000_000)


def _allocations(console: Console, provider: str, short: bool) -> Rows:
    return allocations.measure(console, provider=provider)


def _campaign(console: Console, provider: str, short: bool) -> Rows:
    rows, memory_rows, runs = (20_000, 400_000, 1) if short else (200_000, 2_000_000, 5)
    return campaign.measure(console, provider=provider, rows=rows, memory_rows=memory_rows, runs=runs)


def _queue(console: Console, provider: str, short: bool) -> Rows:
    return queues.measure(console, rows=50_000 if short else 200_000, chunk=500, runs=1 if short else 5)


def _badday(console: Console, provider: str, short: bool) -> Rows:
    return badday.measure(console, provider=provider, rate=20_000, seconds=2.0 if short else 10.0)


def _burst(console: Console, provider: str, short: bool) -> Rows:
    rows, runs = (200_000, 1) if short else (1_000_000, 3)
    return burst.measure(console, provider=provider, rows=rows, runs=runs, lead=6.0)


def _startup(console: Console, provider: str, short: bool) -> Rows:
    return startup.measure(console, provider=provider, runs=3 if short else 11)


def _fakes(console: Console, provider: str, short: bool) -> Rows:
    return fakes.measure(console, count=50_000 if short else 300_000, runs=1 if short else 3)


def _rivals(console: Console, provider: str, short: bool) -> Rows:
    return rivals.measure(
        console, providers=(provider,), runs=1 if short else 3, seconds=1.0 if short else 5.0
    )


def _micro(console: Console, provider: str, short: bool) -> Rows:
    return micro_run.measure(console, seconds=0.1 if short else 1.0)


MEASUREMENTS: Final = {
    measurement.name: measurement
    for measurement in (
        Measurement(
            "throughput", throughput.FORM, _throughput, ("--count 400000 --runs 5", "--count 100000")
        ),
        Measurement("rivals", rivals.FORM, _rivals, ("--runs 3 --seconds 5", "--seconds 1")),
        Measurement(
            "latency",
            latency.FORM,
            _latency,
            ("--seconds 20", "--seconds 3 --case engine --load 10 --load 50 --load 90"),
        ),
        Measurement(
            "wan",
            wan.FORM,
            _wan,
            ("--runs 3 --seconds 3", "--seconds 2 --rtt-ms 20 --rtt-ms 100 --connections 1 --connections 4"),
        ),
        Measurement("delay", delay.FORM, _delay, ("--runs 3", "--runs 1")),
        Measurement("scaling", scaling.FORM, _scaling, ("", "--count 20000 --runs 1 --few")),
        Measurement(
            "errors",
            errors.FORM,
            _errors,
            ("--runs 5", "--count 50000 --runs 1 --percent 0 --percent 50"),
        ),
        Measurement("flat", flat.FORM, _flat, ("", "--count 50000 --runs 1")),
        Measurement("memory", memory.FORM, _memory, ("", "--count 500000")),
        Measurement("allocations", allocations.FORM, _allocations, ("", "")),
        Measurement(
            "campaign",
            campaign.FORMS,
            _campaign,
            ("", "--rows 20000 --memory-rows 400000 --runs 1"),
        ),
        Measurement("queue", queues.FORMS, _queue, ("", "--rows 50000 --runs 1"), of_provider=False),
        Measurement("badday", badday.FORM, _badday, ("--seconds 10", "--seconds 2")),
        Measurement("burst", burst.FORMS, _burst, ("", "--rows 200000 --runs 1")),
        Measurement("startup", startup.FORM, _startup, ("--runs 11", "--runs 3")),
        Measurement("fakes", fakes.FORM, _fakes, ("", "--count 50000 --runs 1"), of_provider=False),
        Measurement("micro", micro_run.FORM, _micro, ("--seconds 1", "--seconds 0.1"), of_provider=False),
    )
}
