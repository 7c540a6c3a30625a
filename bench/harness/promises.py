"""The promised bounds, and whether rows meet them. The bounds do not depend on the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from .look import Column, TableLayout, plain, two

Row = dict[str, Any]

CPU_RATIOS: Final = {
    "apns": {"frames": 1.8, "engine": 0.85, "send": 0.5},
    "fcm": {"frames": 1.6, "engine": 0.55, "send": 0.4},
}
"""CPU of h2load divided by pushcore's. FCM allows a connection 100 streams where APNs allows 1000, so each write carries a tenth."""
RATE_RATIOS: Final = {"apns": {"frames": 1.0, "engine": 0.7}, "fcm": {"frames": 1.0, "engine": 0.5}}
"""Where the server used less than 90 % of its core in h2load's run."""
TIMES: Final = {"aioapns": 60.0, "firebase-admin": 220.0, "@parse/node-apn": 13.0}
"""Multiples of the engine's CPU that these may need per notification; all other clients need more than the engine."""
OF_IDEAL, OF_H2LOAD = 0.9, 0.95
REFUSALS: Final = 2.0
"""Times the CPU that it costs at most when half of the pushes are refused."""
ADDED_BY_WORKER: Final = 3.0
"""Microseconds of CPU for a push, at chunks of 500."""
TWO_WORKERS: Final = 1.7
FULL_CORE: Final = 0.9
"""Of a core: a process that uses so much was the bound."""
FIRST_MS, OF_RATE, GAP_MS = 20.0, 1.2, 50.0
"""After the time that was set: the first; all, times what the rate alone needs; and between two processes."""
FAR_SECONDS: Final = {8: 2.0, 16: 5.0}
"""By the number of connections, at 100 ms round trip."""
DELIVERED: Final = 0.95
"""Of an offered load on a bad day."""
SECOND_ENVIRONMENT: Final = 1.01
"""Times the instructions and allocations of a push without the second client, at most."""

FORM: Final = TableLayout(
    "What must hold",
    (
        Column("measurement", "measured by"),
        Column("provider", "provider"),
        Column("what", "what", plain),
        Column("measured", "is", two),
        Column("bound", "must be", plain),
        Column("holds", "holds", plain),
    ),
    "the bounds are for a quiet machine with two cores and the long form; short runs and busy machines miss some",
)


@dataclass(frozen=True, slots=True)
class Promise:
    """One figure and its bound. `measured`: None if it is not known, and then `why` has the reason."""

    what: str
    measured: float | None
    bound: float
    at_least: bool = True
    why: str = ""

    def row(self, measurement: str, provider: str) -> Row:
        """The promise as a row of the table."""
        if self.measured is None:
            holds = self.why
        else:
            good = self.measured >= self.bound if self.at_least else self.measured <= self.bound
            holds = "yes" if good else "NO"
        row: Row = {"measurement": measurement, "provider": provider, "what": self.what, "holds": holds}
        bound = f"{'at least' if self.at_least else 'at most'} {self.bound:g}"
        return row | {"measured": self.measured, "bound": bound}


def judge(measurement: str, rows: Iterable[Row]) -> list[Row]:
    """A row for each promise about this measurement, for each provider in its rows."""
    rows = list(rows)
    if measurement not in _PROMISES:
        return []
    kept = []
    for provider in dict.fromkeys(row["provider"] for row in rows if row.get("provider")):
        some = [row for row in rows if row.get("provider") == provider]
        kept += [promise.row(measurement, provider) for promise in _PROMISES[measurement](some)]
    return kept


def _throughput(rows: list[Row]) -> Iterator[Promise]:
    bound_by_server = {row["target"]: row["server_bound"] for row in rows if row["case"] == "h2load"}
    for row in rows:
        case, target = row["case"], row["target"]
        cpu_bounds, rate_bounds = CPU_RATIOS[row["provider"]], RATE_RATIOS[row["provider"]]
        if case not in cpu_bounds or target not in ("c", "bare"):
            continue
        yield Promise(f"{case} on {target}: CPU against h2load's", row["cpu_ratio"], cpu_bounds[case])
        if case in rate_bounds:
            what = f"{case} on {target}: rate against h2load's"
            if bound_by_server.get(target):
                yield Promise(what, None, rate_bounds[case], why="cannot be told: the server was the bound")
            else:
                yield Promise(what, row["rate_ratio"], rate_bounds[case])


def _rivals(rows: list[Row]) -> Iterator[Promise]:
    for row in rows:
        if row.get("ours") or row["rival"] == "h2load":
            continue
        what = f"CPU of {row['rival']} ({row['language']}), times our engine's"
        bound = TIMES.get(row["rival"], 1.0)
        if row.get("times"):
            yield Promise(what, row["times"], bound)
        else:
            yield Promise(what, None, bound, why=f"absent: {row.get('absent')}")


def _latency(rows: list[Row]) -> Iterator[Promise]:
    for row in rows:
        if row.get("p99_limit") and row["case"] != "h2load":
            what = f"{row['case']}: p99 in ms at half load, answers after {row['delay_ms']:g} ms"
            why = "cannot be told: too few pushes"
            yield Promise(what, row["p99"], row["p99_limit"], at_least=False, why=why)


def _wan(rows: list[Row]) -> Iterator[Promise]:
    for case in dict.fromkeys(row["case"] for row in rows if row["case"] != "h2load"):
        some = [row for row in rows if row["case"] == case]
        free = [row for row in some if not row["core_bound"]]
        name = f"{case}: rate, times the least that it may be"
        if not free:
            yield Promise(name, None, 1.0, why="cannot be told: a core was the bound everywhere")
            continue
        worst = min(free, key=reached)
        number = worst["connections"]
        where = f"{worst['rtt_ms']:g} ms, {number} connection{'s' if number > 1 else ''}, the worst of {len(some)}"
        yield Promise(f"{name} ({where})", round(reached(worst), 3), 1.0)


def reached(row: Row) -> float:
    """The rate divided by the lower of 90 % of the ideal and 95 % of h2load's rate over the same path."""
    return float(max(row["of_ideal"] / OF_IDEAL, row["of_h2load"] / OF_H2LOAD))


def _errors(rows: list[Row]) -> Iterator[Promise]:
    for row in rows:
        if row["refused"] == 0.5 and row["case"] != "h2load":
            what = f"{row['case']}: CPU with 50 % refused, times that with none"
            yield Promise(
                what, row["of_none"], REFUSALS, at_least=False, why="cannot be told: 0 % was not run"
            )


def _queue(rows: list[Row]) -> Iterator[Promise]:
    for row in rows:
        if row["part"] == "cost" and row["chunk"] >= 500:
            what = f"{row['broker']}: µs of CPU that a worker adds to a push"
            yield Promise(what, row["added_us"], ADDED_BY_WORKER, at_least=False)
        elif row["part"] == "workers":
            yield Promise(
                f"{row['broker']}: rate of two workers, times that of one", row["ratio"], TWO_WORKERS
            )


def _badday(rows: list[Row]) -> Iterator[Promise]:
    for row in rows:
        what = f"{row['day']}: delivered of {row['offered']:,} offered a second".replace(",", " ")
        uses = {"client": row["client_use"], "server": row["server_use"]}
        full = [name for name, used in uses.items() if used >= FULL_CORE]
        measured = None if full and row["delivered"] < DELIVERED else row["delivered"]
        yield Promise(what, measured, DELIVERED, why=f"cannot be told: a core was full ({', '.join(full)})")
        yield Promise(f"{row['day']}: UNSENT", row["unsent"], 0, at_least=False)
        yield Promise(
            f"{row['day']}: UNKNOWN, and not cut", max(row["unknown"] - row["cut"], 0), 0, at_least=False
        )


def _environments(rows: list[Row]) -> Iterator[Promise]:
    for row in rows:
        what = f"{row['what']} of a push with a client for the sandbox, times those without (window {row['window']})"
        yield Promise(what, row["ratio"], SECOND_ENVIRONMENT, at_least=False)


def _burst(rows: list[Row]) -> Iterator[Promise]:
    for row in rows:
        if row["part"] == "far":
            what = f"seconds to {row['connections']} connections at {row['rtt_ms']:g} ms"
            yield Promise(what, row["seconds"], FAR_SECONDS[row["connections"]], at_least=False)
            continue
        name = f"{row['rows']:,} rows set to a time".replace(",", " ")
        if row["part"] == "one":
            yield Promise(f"{name}: ms to the first result", row["first_ms"], FIRST_MS, at_least=False)
            what = f"{name}: time to the last, times what the rate alone needs"
            yield Promise(what, row["ratio"], OF_RATE, at_least=False)
        elif row["part"] == "two":
            what = f"{name}: ms between the beginnings of two processes"
            yield Promise(what, row["gap_ms"], GAP_MS, at_least=False)


_PROMISES: Final[dict[str, Callable[[list[Row]], Iterator[Promise]]]] = {
    "throughput": _throughput,
    "rivals": _rivals,
    "latency": _latency,
    "wan": _wan,
    "errors": _errors,
    "queue": _queue,
    "badday": _badday,
    "environments": _environments,
    "burst": _burst,
}
