"""One run of one side of `python -m bench ab`: a command of the commit's own checkout, on the client's core.

Old commits must understand these commands too, so there are few: `python -m bench.cases CASE TARGET COUNT STREAMS
CONNECTIONS`, `python -m bench.counting PROVIDER`, and `pushcore send` with options that README names.
"""

from __future__ import annotations

import json
import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ..campaigns import command as sending
from ..harness.checkouts import Checkout
from ..harness.providers import PROVIDERS
from ..harness.stage import TIMEOUT, CannotMeasure, Target, client_core, run_on

FEW: Final = 100  # rows of a run that shows what starting costs
CLIENTS: Final = ("frames", "engine", "send")
"""Cases of `bench.cases`."""
COMMANDS: Final = {
    "cli-static": ("static.json", "--results", "results.csv"),
    "cli-personalised": ("personalised.json", "--results", "results.csv"),
    "cli-expo": ("expo.json", "--results", "results.csv"),
    "cli-journal": ("static.json", "--journal", "campaign.db"),
}
"""Cases of `pushcore send`: the payload's file, and more words."""


def prepare(place: Path, provider: str, count: int) -> None:
    """Write the files that `pushcore send` needs into a folder that both sides use."""
    sending.write_csv(place / "devices.csv", count + FEW, provider)
    sending.write_csv(place / "few.csv", FEW, provider)
    personalised = sending.PAYLOADS[provider]
    (place / "personalised.json").write_text(personalised)
    static = personalised.replace("{{name}}", "Ada 1").replace("{{order}}", "1000001")
    (place / "static.json").write_text(static)
    (place / "expo.json").write_text(sending.EXPO)


def cpu_us(side: Checkout, case: str, target: Target, place: Path, count: int, seed: int) -> float:
    """Microseconds of CPU, user and system, per notification in a new process of this side.

    Args:
        case: one of `CLIENTS` or `COMMANDS`.
        place: a folder that `prepare` has filled for `count` notifications.
        seed: of the hashes of strings; the same for both sides of a pair.

    Raises:
        CannotMeasure: the process failed, or not every notification was accepted.
    """
    if case in CLIENTS:
        return _client(side, case, target, count, seed)
    begun = command_cpu(side, case, target, place, "few.csv", seed)
    used = command_cpu(side, case, target, place, "devices.csv", seed)
    if used <= begun:
        raise CannotMeasure(
            f"{case}: {count} notifications take no more CPU than starting; a larger --count is needed"
        )
    return (used - begun) / count * 1e6


def command_cpu(side: Checkout, case: str, target: Target, place: Path, audience: str, seed: int) -> float:
    """Seconds of CPU of one whole `pushcore send` of `COMMANDS`, its start included."""
    for old in (*place.glob("campaign.db*"), *place.glob("results.csv")):
        old.unlink()
    payload, *more = COMMANDS[case]
    command = [*side.pushcore, "send", "--audience", audience, "--payload", payload, *more]
    command += ["--max-connections", "1", *sending.credentials(place, target, inside=False)]
    return _run(side, command, place, seed, case)[1]


def allocations(side: Checkout, provider: str) -> list[dict[str, Any]]:
    """The rows of `bench.counting`."""
    text, _ = _run(
        side, [side.python, "-m", "bench.counting", provider], side.root, 0, "counting allocations"
    )
    rows: list[dict[str, Any]] = json.loads(text)
    return rows


def _client(side: Checkout, case: str, target: Target, count: int, seed: int) -> float:
    # Only what every commit's `Target` has.
    told = {name: getattr(target, name) for name in ("name", "provider", "url", "ca_file", "pid", "settings")}
    numbers = map(str, (count, PROVIDERS[target.provider].streams, 1))
    command = [side.python, "-m", "bench.cases", case, json.dumps(told), *numbers]
    text, _ = _run(side, command, side.root, seed, case)
    measured = json.loads(text.splitlines()[-1])
    if measured["ok"] != count:
        raise CannotMeasure(f"{case} of {side.name}: {measured['ok']} of {count} were accepted")
    return float(measured["cpu_us"])


def _run(side: Checkout, command: Sequence[str], directory: Path, seed: int, what: str) -> tuple[str, float]:
    """A command's output, and its seconds of CPU. Raises `CannotMeasure` if it failed or took too long."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = run_on(
            client_core(),
            command,
            cwd=directory,
            env=side.environment(seed),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise CannotMeasure(f"{what} of {side.name} took longer than {TIMEOUT:.0f} s") from None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise CannotMeasure(f"{what} of {side.name} failed: {done.stderr.strip()[-500:]}")
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
