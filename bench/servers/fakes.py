"""The load that the fake servers can take on one core, by h2load, and the cost of watching them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from rich.console import Console

from ..harness.clients import h2load, medians
from ..harness.look import Column, TableLayout, share, show, two, whole
from ..harness.providers import PROVIDERS
from ..harness.stage import CLIENT_CORE, ClientRun, Target, end, fake, first_line, start_on


def der(token: str) -> str:
    """A JWT with its ES256 signature in DER form, as openssl and Java make it."""
    claims, _, signature = token.rpartition(".")
    raw = urlsafe_b64decode(f"{signature}==")
    half = len(raw) // 2
    encoded = encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
    return f"{claims}.{urlsafe_b64encode(encoded).decode().rstrip('=')}"


def padded(token: str) -> str:
    """A JWT with its signature in padded base64; the signed part cannot be changed."""
    return token + "=" * (-len(token.rpartition(".")[2]) % 4)


FORM: Final = TableLayout(
    "What the fake servers can take",
    (
        Column("provider", "provider"),
        Column("profile", "profile"),
        Column("token", "token"),
        Column("rate", "requests/s", whole),
        Column("server_cpu_us", "server CPU µs", two),
    ),
    "token: the form of the provider token's signature; a token is verified once, so each form costs the same",
)

FORMS: Final[dict[str, Callable[[str], str]]] = {"JOSE": str, "DER": der, "padded": padded}
"""Forms of a provider token, each made of what our client sends."""

WATCHED: Final = TableLayout(
    "What the control port and an open page take from the strict fakes",
    (
        Column("provider", "provider"),
        Column("rate", "requests/s", whole),
        Column("watched_rate", "watched", whole),
        Column("server_cpu_us", "server CPU µs", two),
        Column("watched_cpu_us", "watched", two),
        Column("cost", "cost", share),
    ),
    "Both with a plan of 1 % errors, in turns. The cost is of the server's CPU for a request, the median of the turns.",
)

ONE_PER_CENT: Final = {
    "faults": [
        {"when": {"provider": ["apns", "fcm"], "share": 0.01}, "what": {"kind": "answer", "status": 503}}
    ]
}

READER: Final = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1] + "/v1/events") as events:
    print(events.readline(), flush=True)
    while events.readline():
        pass
"""


def measure(console: Console, *, count: int, runs: int) -> list[dict[str, Any]]:
    """Requests per second of each profile, and the server's CPU per request."""
    rows = []
    for provider in PROVIDERS:
        for profile in ("strict", "bare"):
            forms = list(FORMS) if (provider, profile) == ("apns", "strict") else [""]
            with fake(provider, profile) as target:
                measured: dict[str, list[ClientRun]] = {form: [] for form in forms}
                server: dict[str, list[float]] = {form: [] for form in forms}
                for number in range(1, runs + 1):
                    for form in forms:  # in turns, so that what else the machine does falls on all of them
                        with console.status(f"{provider} {profile} {form}, run {number} of {runs}"):
                            run, used = _run(target, count, _headers(target, form))
                            measured[form].append(run)
                            server[form].append(used)
            for form in forms:
                rows.append(
                    {
                        "provider": provider,
                        "profile": profile,
                        "token": form,
                        "rate": round(medians(measured[form]).rate),
                        "server_cpu_us": round(median(server[form]), 2),
                    }
                )
    show(console, FORM, rows)
    return rows


def measure_watched(console: Console, *, count: int, runs: int) -> list[dict[str, Any]]:
    """The strict fakes with a plan of 1 % errors, alone and with a control port that a page watches.

    Two servers share a core, and only one works at a time: runs alternate, so that other load affects both.
    Each run starts new processes: the memory layout of a process changes its speed by some per cent.
    """
    rows = []
    for provider in PROVIDERS:
        turns = []
        for number in range(1, runs + 1):
            with console.status(f"{provider}, run {number} of {runs}"), _pair(provider) as pair:
                order = pair if number % 2 else pair[::-1]
                run_of = {process.pid: _run(process, count) for process in order}
                turns.append([run_of[process.pid] for process in pair])
        # CPU is measured in hundredths of a second: a short run may seem to have used none.
        costs = [turn[1][1] / turn[0][1] - 1 for turn in turns if turn[0][1]]
        rates = [median(turn[which][0].rate for turn in turns) for which in (0, 1)]
        cpu = [median(turn[which][1] for turn in turns) for which in (0, 1)]
        rows.append(
            {
                "provider": provider,
                "rate": round(rates[0]),
                "watched_rate": round(rates[1]),
                "server_cpu_us": round(cpu[0], 2),
                "watched_cpu_us": round(cpu[1], 2),
                "cost": round(median(costs), 3) if costs else None,
            }
        )
    show(console, WATCHED, rows)
    return rows


def _headers(target: Target, form: str) -> dict[str, str]:
    """The provider's headers, with the token in another form."""
    headers = PROVIDERS[target.provider].headers(target)
    if form:
        scheme, _, token = headers["authorization"].partition(" ")
        headers["authorization"] = f"{scheme} {FORMS[form](token)}"
    return headers


def _run(target: Target, count: int, headers: Mapping[str, str] | None = None) -> tuple[ClientRun, float]:
    """A run of h2load, and the server's CPU µs per request."""
    used = target.cpu()
    measured = h2load(target, count=count, headers=headers)
    return measured, (target.cpu() - used) / count * 1e6


@contextlib.contextmanager
def _pair(provider: str) -> Iterator[tuple[Target, Target]]:
    """The same fake alone, and watched."""
    with tempfile.TemporaryDirectory() as directory:
        plan = Path(directory) / "plan.json"
        plan.write_text(json.dumps(ONE_PER_CENT))
        options = ("--faults", str(plan))
        with (
            fake(provider, "strict", *options) as alone,
            fake(provider, "strict", *options, "--control-port", "0") as watched,
            _page(watched),
        ):
            yield alone, watched


@contextlib.contextmanager
def _page(target: Target) -> Iterator[None]:
    """An observer: reads the stream of events, as the page does."""
    command = [sys.executable, "-c", READER, target.settings["control"]]
    reader = start_on(CLIENT_CORE, command, stdout=subprocess.PIPE)
    try:
        first_line(reader)
        yield
    finally:
        end(reader)
