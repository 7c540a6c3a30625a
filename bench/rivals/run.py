"""The rivals, pushcore and h2load: the same notifications to the same server from the same core, one client after the other."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any, Final

import orjson
from rich.console import Console

from ..harness.clients import h2load, ours
from ..harness.look import Column, TableLayout, plain, show, two, whole
from ..harness.providers import PROVIDERS, message, payload
from ..harness.stage import CLIENT_CORE, CannotMeasure, ClientRun, Target, run_on
from ..servers import constant
from .catalogue import Rival, rivals
from .install import RivalUnavailable, install

FEW: Final = 300
"""Notifications of the run that finds out how many fit into the wanted time."""
MOST: Final = 300_000
LONGEST: Final = 120.0  # seconds for one run
INSTALLERS: Final = 4
OURS: Final = ("engine", "send")
FORM: Final = TableLayout(
    "The same notifications by other libraries, on one core",
    (
        Column("rival", "client"),
        Column("language", "in", plain),
        Column("version", "version", plain),
        Column("provider", "provider"),
        Column("target", "target", plain),
        Column("streams", "in flight", whole),
        Column("rate", "pushes/s", whole),
        Column("cpu_us", "CPU µs", two),
        Column("per_cpu_second", "pushes per CPU second", whole),
        Column("times", "times our engine's CPU", two),
        Column("absent", "absent because", plain),
    ),
    "successes only; in flight: requests at a time; times our engine's CPU: how often our `engine` sends for the CPU of one",
)


def measure(
    console: Console,
    *,
    providers: Sequence[str],
    runs: int,
    seconds: float,
    names: Sequence[str] = (),
    kind: str = "auto",
) -> list[dict[str, Any]]:
    """A row for each client, absent ones included; the most notifications per CPU second first.

    `seconds`: the approximate length of each run. `names`: only these rivals.
    """
    chosen = [rival for rival in rivals() if not names or rival.name in names or rival.file.stem in names]
    chosen = [rival for rival in chosen if rival.provider in providers]
    with console.status(f"installing {len(chosen)} rivals, where they are not yet"):
        commands = install_all(chosen)
    rows: list[dict[str, Any]] = []
    for provider in providers:
        figures: list[dict[str, Any]] = []
        with constant.target(kind, provider) as target:
            figures += _yardsticks(console, target, runs, seconds)
            for rival, command in zip(chosen, commands, strict=True):
                if rival.provider == provider:
                    figures.append(_one(console, rival, command, target, runs, seconds))
        engine = next(row["cpu_us"] for row in figures if row["rival"] == "pushcore engine")
        for row in figures:
            if engine and row.get("cpu_us"):
                row["times"] = round(row["cpu_us"] / engine, 2)
        rows += sorted(figures, key=lambda row: -(row.get("per_cpu_second") or 0))
    show(console, FORM, rows)
    return rows


def _yardsticks(console: Console, target: Target, runs: int, seconds: float) -> list[dict[str, Any]]:
    count = int(min(max(100_000 * seconds, FEW), MOST))
    from pushcore import __version__ as version

    rows = []
    jobs: list[tuple[str, str, str, Callable[[], ClientRun]]] = [
        (f"pushcore {case}", "Python", version, lambda case=case: ours(case, target, count=count))  # type: ignore[misc]  # bound now, for the loop goes on
        for case in OURS
    ]
    jobs.append(("h2load", "C", "", lambda: h2load(target, count=count)))
    for name, language, number, run in jobs:
        try:
            with console.status(f"{target.provider}: {name}"):
                seen = [run() for _ in range(runs)]
        except CannotMeasure as error:
            rows.append(_absent(name, language, target, str(error)))
            continue
        row: dict[str, Any] = {"rival": name, "language": language, "version": number or None}
        row |= {"provider": target.provider, "target": target.name, "ours": name.startswith("pushcore")}
        row |= {"streams": PROVIDERS[target.provider].streams}
        rows.append(row | _figures([(run.rate, run.cpu_us) for run in seen]))
    return rows


def _figures(seen: Sequence[tuple[float, float]]) -> dict[str, Any]:
    cpu_us = median(cpu for _, cpu in seen)
    figures: dict[str, Any] = {"rate": round(median(rate for rate, _ in seen)), "cpu_us": round(cpu_us, 3)}
    return figures | {"per_cpu_second": round(1e6 / cpu_us) if cpu_us else None}


def _absent(name: str, language: str, target: Target, reason: str) -> dict[str, Any]:
    row: dict[str, Any] = {"rival": name, "language": language, "version": None, "provider": target.provider}
    return row | {"target": None, "streams": None, "rate": None, "cpu_us": None, "absent": reason}


def install_all(chosen: Sequence[Rival]) -> list[list[str] | RivalUnavailable]:
    """The command of each driver, or why there is none. A few at a time, because most of it is waiting for the network."""

    def one(rival: Rival) -> list[str] | RivalUnavailable:
        try:
            return install(rival)
        except RivalUnavailable as error:
            return error

    with ThreadPoolExecutor(INSTALLERS) as pool:
        return list(pool.map(one, chosen))


def _one(
    console: Console,
    rival: Rival,
    command: list[str] | RivalUnavailable,
    target: Target,
    runs: int,
    seconds: float,
) -> dict[str, Any]:
    try:
        if isinstance(command, RivalUnavailable):
            raise command
        with console.status(f"{rival.name}: how fast is it?"):
            rate = _run(rival, command, target, FEW)["rate"]
            # What compiles itself while it runs is several times faster in a longer run.
            rate = _run(rival, command, target, int(min(max(rate * seconds / 2, FEW), MOST)))["rate"]
        count = int(min(max(rate * seconds, FEW), MOST))
        seen = []
        for number in range(1, runs + 1):
            with console.status(f"{rival.name}, run {number} of {runs}: {count:,} notifications"):
                seen.append(_run(rival, command, target, count))
    except RivalUnavailable as error:
        return _absent(rival.name, rival.language, target, str(error))
    row: dict[str, Any] = {"rival": rival.name, "language": rival.language, "version": seen[0]["version"]}
    row |= {"provider": target.provider, "target": target.name, "ours": False, "streams": rival.streams}
    return row | _figures([(run["rate"], run["cpu_us"]) for run in seen])


def _run(rival: Rival, command: list[str], target: Target, count: int) -> dict[str, Any]:
    """One run of a driver. Raises `RivalUnavailable` if it fails, or if not all of its notifications were accepted."""
    try:
        done = run_on(
            CLIENT_CORE,
            [*target.inside, *command],
            env=os.environ | work(rival, target, count),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LONGEST,
        )
    except subprocess.TimeoutExpired:
        raise RivalUnavailable(f"{count} notifications took longer than {LONGEST:.0f} s") from None
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RivalUnavailable(f"its driver failed: {said[-1][:200] if said else 'it said nothing'}")
    figures: dict[str, Any] = json.loads(lines[-1])
    if figures["ok"] != count:
        raise RivalUnavailable(f"{figures['ok']} of {count} were accepted")
    return figures


def work(rival: Rival, target: Target, count: int) -> dict[str, str]:
    """The environment variables of a driver; `drivers/measure.py` describes them."""
    host, _, port = target.url.removeprefix("https://").partition(":")
    settings = target.settings
    given = {"url": target.url, "host": host, "port": port, "ca_file": target.ca_file}
    given |= {"address": f"{host}:{port}", "count": str(count), "streams": str(rival.streams)}
    if target.provider == "apns":
        given |= {name: settings[name] for name in ("topic", "key_file", "key_id", "team_id")}
        given["payload"] = orjson.dumps(payload(0)).decode()
    else:
        given |= {name: settings[name] for name in ("service_account_file", "project_id")}
        push = message(0)
        parts = {name: getattr(push, name) for name in ("notification", "data", "android")}
        given["payload"] = orjson.dumps(parts).decode()
    given["authorization"] = PROVIDERS[target.provider].headers(target)["authorization"]
    environment = {f"RIVAL_{name.upper()}": value for name, value in given.items()}
    # For libraries that have no option for whom to trust.
    trust = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE")
    return (
        environment
        | dict.fromkeys(trust, target.ca_file)
        | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    )
