"""CPU of the gateway for a push: single requests, batches and a stream, against the C target, with h2load as the client."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import psutil
from rich.console import Console

from pushcore.gateway.callers import digest_of
from pushcore.gateway.expo.sealed import AppDevice, Seal, SealedTokens, new_key, read_key
from pushcore.models.tokens import TokenKind

from ..harness import look, options
from ..harness.clients import ours, read_h2load
from ..harness.providers import payload
from ..harness.stage import CLIENT_CORE, SERVER_CORE, CannotMeasure, Target, h2load_version, run_on, start_on
from ..servers import constant

APP: Final = "bench"
KEY: Final = new_key(os.urandom)
KEY_FILE: Final = "sealing.keys"
BATCH: Final = 100
STREAM_LINES: Final = 20_000
CLIENTS: Final = 32
"""Connections that post at the same time."""
_CALLER: Final = '[[caller]]\nname = "{0}"\ntokens = ["{1}"]\nconcurrent = 100_000\n'
_READY: Final = "the gateway listens on "

FORM: Final = look.TableLayout(
    "The gateway",
    (
        look.Column("case", "case", look.plain),
        look.Column("pushes", "pushes", look.whole),
        look.Column("cpu_us", "CPU µs a push", look.two),
        look.Column("times", "times the engine's", look.two),
        look.Column("rate", "pushes/s", look.whole),
        look.Column("target", "server", look.plain),
    ),
    "one process of the gateway on one core; its CPU alone; the client and the provider are on the other; the engine: the same "
    "pushes by `PushEngine.send_many`, without a gateway, in the same run",
)


def measure(console: Console, *, count: int, runs: int, cases: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """A row for each case, and one for the engine alone: the best of `runs`, of `count` pushes each."""
    h2load_version()
    with tempfile.TemporaryDirectory() as folder, constant.target("auto", "apns") as target:
        place = Path(folder)
        engine = min((ours("engine", target, count=count) for _ in range(runs)), key=lambda run: run.cpu_us)
        rows: list[dict[str, Any]] = [
            {"case": "engine alone", "pushes": count, "cpu_us": engine.cpu_us, "rate": engine.rate}
        ]
        with gateway(place, target) as (url, process):
            for case in cases or tuple(CASES):
                with console.status(case):
                    rows.append({"case": case, **_best(case, place, url, process, count, runs)})
    for row in rows:
        row |= {"times": row["cpu_us"] / engine.cpu_us, "target": target.name}
    look.show(console, FORM, rows)
    return rows


def _best(case: str, place: Path, url: str, process: psutil.Process, count: int, runs: int) -> dict[str, Any]:
    """The run with the least CPU, after one to warm up."""
    path, body, pushes = CASES[case](place)
    requests = max(count // pushes, 1)
    _post(url + path, body, max(requests // 10, 1))
    best: dict[str, Any] = {}
    for _ in range(runs):
        before = sum(process.cpu_times()[:2])
        rate = _post(url + path, body, requests)
        used = sum(process.cpu_times()[:2]) - before
        cpu_us = used / (requests * pushes) * 1e6
        if not best or cpu_us < best["cpu_us"]:
            best = {"pushes": requests * pushes, "cpu_us": cpu_us, "rate": rate * pushes}
    return best


def _post(url: str, body: Path, requests: int) -> float:
    """Requests a second."""
    clients = min(CLIENTS, requests)
    command = ["h2load", "--h1", "-t", "1", "-c", str(clients), "-n", str(requests), "-d", str(body)]
    command += ["-H", "content-type: application/json", url]
    text = run_on(SERVER_CORE, command, stdout=subprocess.PIPE).stdout
    read = read_h2load(text)
    if f"status codes: {requests} 2xx" not in text:
        raise CannotMeasure(f"the gateway did not accept all requests:\n{text}")
    return read.rate


@contextlib.contextmanager
def gateway(place: Path, target: Target, *tokens: str) -> Iterator[tuple[str, psutil.Process]]:
    """The gateway as a process on the client's core: its URL, and the process.

    `tokens`: one for each caller, without a limit of concurrent requests; none for a gateway without callers.
    """
    settings = target.settings
    config = place / "gateway.toml"
    (place / KEY_FILE).write_text(KEY)
    config.write_text(
        f"""
[server]
port = 0
access-log = false
[sealing]
token-keys = "{KEY_FILE}"
[[app]]
id = "{APP}"
[[app.apns]]
key = {json.dumps(settings["key_file"])}
key-id = {json.dumps(settings["key_id"])}
team-id = {json.dumps(settings["team_id"])}
topics = [{json.dumps(settings["topic"])}]
url = {json.dumps(target.url)}
ca-file = {json.dumps(target.ca_file)}
{"".join(_CALLER.format(f"caller{number}", digest_of(token)) for number, token in enumerate(tokens, 1))}"""
    )
    command = [sys.executable, "-m", "pushcore", "gateway", "--config", str(config)]
    process = start_on(CLIENT_CORE, command, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        if _READY not in line:
            raise CannotMeasure(f"the gateway did not start: {line}")
        yield f"http://{line.partition(_READY)[2].strip()}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _push(number: int) -> dict[str, Any]:
    return {"to": f"{number:064x}", "payload": payload(number)}


def _single(place: Path) -> tuple[str, Path, int]:
    return _case(place, "/v1/push", json.dumps(_push(1)), 1)


def _batch(place: Path) -> tuple[str, Path, int]:
    return _case(
        place, "/v1/push/batch", json.dumps({"pushes": [_push(number) for number in range(BATCH)]}), BATCH
    )


def _stream(place: Path) -> tuple[str, Path, int]:
    lines = "".join(json.dumps(_push(number)) + "\n" for number in range(STREAM_LINES))
    return _case(place, "/v1/push/stream", lines, STREAM_LINES)


def _expo(place: Path, *, sealed: bool) -> tuple[str, Path, int]:
    # Each message is another one, as most applications' are.
    topic = tomllib.loads((place / "gateway.toml").read_text())["app"][0]["apns"][0]["topics"][0]
    tokens = SealedTokens(Seal([read_key(KEY)]), [(APP, topic)])
    messages = []
    for number in range(BATCH):
        token = f"{number:064x}"
        if sealed:
            token = tokens.seal(AppDevice(APP, TokenKind.APNS, token, topic, "production"))
        body = f"You have {number} new messages"
        messages.append(
            {"to": token, "title": "Hello", "body": body, "data": {"n": number}, "sound": "default"}
        )
    path, body_file, pushes = _case(place, "/--/api/v2/push/send", json.dumps(messages), BATCH)
    return path, body_file, pushes


def _case(place: Path, path: str, content: str, pushes: int) -> tuple[str, Path, int]:
    body = place / (path.replace("/", "-") + ".json")
    body.write_text(content)
    return path, body, pushes


CASES: Final[dict[str, Callable[[Path], tuple[str, Path, int]]]] = {
    "single": _single,
    "batch of 100": _batch,
    "stream": _stream,
    "Expo, native tokens": partial(_expo, sealed=False),
    "Expo, sealed tokens": partial(_expo, sealed=True),
}
"""Each gives a path, the file with a body, and the pushes in it."""


@click.command("gateway")
@options.count(50_000, "Pushes in each run.")
@options.several("--case", "cases", click.Choice(list(CASES)), "Only these.")
@options.runs(3, "Runs of each; the one with the least CPU is shown.")
@options.json_file
def gateway_command(count: int, cases: tuple[str, ...], runs: int, file: Path | None) -> None:
    """CPU of the gateway per push. Single requests, batches of 100 and a stream, beside the engine alone."""
    options.keep("gateway", measure(options.console, count=count, runs=runs, cases=cases), file)
