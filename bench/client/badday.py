"""A bad day: servers that send each connection away after 100 to 200 requests, under an offered load.

`python -m bench.client.badday TARGET RATE SECONDS CONNECTIONS` is the client: it prints one JSON line, with the fields of
`stage.ClientRun`, the number of each verdict, the number of dialled connections, and the latencies.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import uvloop
from rich.console import Console

from pushcore import PushEngine
from pushcore.engine.collector import relax_collector

from ..cases import NO_RATE, Stopwatch
from ..harness.look import Column, TableLayout, plain, share, show, two, whole
from ..harness.providers import PROVIDERS, USUAL
from ..harness.schedule import summary
from ..harness.stage import CLIENT_CORE, TIMEOUT, CannotMeasure, Target, fake, run_on
from .openloop import Load

DAYS: Final = ("calm", "goaway-storm", "hundred")
"""Nothing goes wrong; the fakes' plan of that name; each connection takes 100 requests, as nginx's `keepalive_requests`."""
CONNECTIONS: Final = {"apns": 8, "fcm": 10}
"""What the clients open at most, unless configured."""
HUNDRED: Final = """
[[faults]]
id = "hundred"
when = { provider = ["apns", "fcm"], every = 100, per_connection = true }
what = { kind = "goaway", last = 199 }
"""
FORM: Final = TableLayout(
    "A bad day",
    (
        Column("day", "day", plain),
        Column("provider", "provider"),
        Column("offered", "offered/s", whole),
        Column("rate", "accepted/s", whole),
        Column("delivered", "delivered", share),
        Column("unsent", "UNSENT", whole),
        Column("unknown", "UNKNOWN", whole),
        Column("cut", "cut by the server", whole),
        Column("dials", "connections", whole),
        Column("cpu_us", "CPU µs", two),
        Column("client_use", "client", share),
        Column("server_use", "server", share),
        Column("p50", "p50 ms", two),
        Column("p99", "p99 ms", two),
    ),
    "delivered: of the rate that was offered; client and server: how much of a core each used, with which the strict fake "
    "and the client must get along. goaway-storm: 150 to 200 requests a connection and fewer, hundred: 100",
)


def measure(
    console: Console, *, provider: str, rate: float, seconds: float, days: Sequence[str] = DAYS
) -> list[dict[str, Any]]:
    """A row for each day."""
    rows = []
    for day in days:
        with console.status(f"{provider}: {day}"):
            rows.append(_day(provider, day, rate, seconds))
    show(console, FORM, rows)
    return rows


def _day(provider: str, day: str, rate: float, seconds: float) -> dict[str, Any]:
    with _plan(day) as options, fake(provider, "strict", *options, "--control-port", "0") as target:
        used = target.cpu()
        command = [
            sys.executable,
            "-m",
            "bench.client.badday",
            json.dumps(asdict(target)),
            str(rate),
            str(seconds),
        ]
        done = run_on(
            CLIENT_CORE, [*command, str(CONNECTIONS[provider])], stdout=subprocess.PIPE, timeout=TIMEOUT
        )
        if done.returncode:
            raise CannotMeasure("the client failed; what it said is above")
        told = json.loads(done.stdout.splitlines()[-1])
        used = target.cpu() - used
        cut = _counters(target, provider)["cut"]
    verdicts, took = told["verdicts"], told["planned"] / told["rate"]
    row = {"day": day, "provider": provider, "offered": rate, "rate": round(told["ok"] / took)}
    row |= {"delivered": round(told["ok"] / took / rate, 3)}
    row |= {"unsent": verdicts.get("UNSENT", 0), "unknown": verdicts.get("UNKNOWN", 0), "cut": cut}
    row |= {"dials": told["dials"], "cpu_us": round(told["cpu_us"], 3)}
    row |= {"client_use": round(told["cpu_us"] * 1e-6 * told["rate"], 3), "server_use": round(used / took, 3)}
    return row | {name: told["latencies"][name] for name in ("p50", "p99")}


@contextmanager
def _plan(day: str) -> Iterator[tuple[str, ...]]:
    """The fake's options for a day."""
    if day == "calm":
        yield ()
    elif day == "hundred":
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "hundred.toml"
            file.write_text(HUNDRED)
            yield ("--faults", str(file), "--seed", "7")
    else:
        yield ("--faults", day, "--seed", "7")


def _counters(target: Target, provider: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{target.settings['control']}/v1/counters", timeout=10) as response:
        counters: dict[str, Any] = json.load(response)["services"][provider]
    return counters


# --- the client -------------------------------------------------------------------------------------------------------


async def send(target: Target, load: Load, connections: int) -> dict[str, Any]:
    """`send_many` over a source that yields each push when it is due."""
    provider = PROVIDERS[target.provider]
    verdicts: Counter[str] = Counter()

    async def source() -> AsyncIterator[list[Any]]:
        async for burst in load.bursts():
            yield burst

    async with (
        provider.client(target, connections) as client,
        PushEngine(client, rate=NO_RATE) as engine,
    ):
        (await client.send(next(provider.pushes(1, USUAL)))).raise_for_verdict()  # the token is not measured
        meter = Stopwatch()
        meter.start()
        async for result in engine.send_many(source()):
            load.ended(result.push, result.ok)
            verdicts[result.verdict.name] += 1
        measured = meter.stop(max(len(load.latencies), 1), load.ok, len(load.latencies))
        return measured | {"verdicts": dict(verdicts), "dials": client._dispatcher.pool.dialled}


def main() -> None:
    """Run one load and print what was measured."""
    target, rate, seconds, connections = sys.argv[1:5]
    relax_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        where = Target(**json.loads(target))
        load = Load(where, float(rate), float(seconds))
        measured = runner.run(send(where, load, int(connections)))
    planned = len(load.latencies)
    print(json.dumps(measured | {"planned": planned, "latencies": summary(load.latencies)}))


if __name__ == "__main__":
    main()
