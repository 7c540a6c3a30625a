"""Installs a sender, and runs its trial in a network of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from bench.rivals.install import install
from tests.senders import hosts
from tests.senders.catalogue import Sender

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = "senders"
"""The part of `.bench` that they are kept in."""


def trial(sender: Sender, *, count: int, times: int = 1, connection: bool = True) -> dict[str, Any]:
    """The report of `tests.senders.trial`.

    Args:
        sender: the program.
        count: pushes of the calm day.
        times: how often the calm day is begun anew, with a new process of the sender.
        connection: whether it meets the fates of connections, too, which takes long with some senders.

    Raises:
        RivalUnavailable: it cannot be installed here.
        RuntimeError: the trial itself failed.
    """
    command = install(sender, FOLDER)
    job = {"program": sender.file.name, "command": command, "count": count, "times": times}
    job |= {"connection": connection}
    done = subprocess.run(
        [*hosts.command(), sys.executable, "-m", "tests.senders.trial"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if done.returncode:
        raise RuntimeError(f"the trial failed: {done.stderr.strip()[-2000:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def problems(report: dict[str, Any]) -> list[str]:
    """What a trial shows that must not be: pushes that were lost, and counts that do not agree."""
    results = []
    for day in report["calm"]:
        numbers = {day[name] for name in ("count", "ok", "accepted", "devices")}
        if len(numbers) > 1 or day["ending"]:
            results.append(f"calm day: {day}")
    for row in report["responses"]:
        # A fate of a connection is another matter: there a sender may well not know what was accepted.
        told, accepted = row["outcome"] == "ok", row["accepted"] == 1
        if not row["requests"] or told != accepted:
            results.append(f"counts do not agree: {row}")
    return results
