"""One run of `pushcore send`: its files, its options, and the time and memory that it took."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from .. import inprocess
from ..harness.providers import registration
from ..harness.stage import CLIENT_CORE, ROOT, CannotMeasure, Target, on_core

EVERY: Final = 0.25  # seconds between two looks at the memory
LONGEST: Final = 900.0  # seconds for one run
FEW: Final = 100  # rows of a run that shows what starting costs
PAYLOADS: Final = {
    "apns": '{"aps":{"alert":"Hello {{name}}"},"order":"{{order}}"}',
    "fcm": '{"notification":{"title":"Hello {{name}}"},"data":{"order":"{{order}}"}}',
}
EXPO: Final = (
    '{"title":"Hello {{name}}","body":"You have new messages","data":{"screen":"inbox","order":"{{order}}"}}'
)
"""A message in Expo's format, for both providers."""
MIXED: Final = "mixed"
"""Devices of both providers in turns."""


@dataclass
class Sent:
    """One run: seconds of CPU (children included), rows per second as it reports them, and samples of its memory.

    `others`: cores that the rest of the machine kept busy meanwhile.
    """

    cpu: float
    others: float
    rate: float
    samples: list[float]


def device(number: int, provider: str) -> str:
    """A token. `provider`: "apns", "fcm", or `MIXED`."""
    of_apns = provider == "apns" or (provider == MIXED and number % 2 == 0)
    return f"{number:064x}" if of_apns else registration(number)


def write_csv(path: Path, rows: int, provider: str) -> None:
    """Write an audience of this many devices as CSV."""
    with path.open("w") as file:
        file.write("token,name,order\n")
        for number in range(rows):
            file.write(f"{device(number, provider)},Ada {number % 1000},{1_000_000 + number}\n")


def write_ndjson(path: Path, rows: int, provider: str) -> None:
    """Write the same audience as NDJSON."""
    with path.open("w") as file:
        for number in range(rows):
            row = {
                "token": device(number, provider),
                "name": f"Ada {number % 1000}",
                "order": 1_000_000 + number,
            }
            file.write(json.dumps(row) + "\n")


def write_parquet(path: Path, rows: int, provider: str) -> None:
    """Write the same audience as Parquet."""
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise CannotMeasure('Parquet needs pip install "pushcore[parquet]"') from None
    schema = arrow.schema([("token", arrow.string()), ("name", arrow.string()), ("order", arrow.int64())])
    with parquet.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, 100_000):
            numbers = range(first, min(first + 100_000, rows))
            columns = [
                [device(number, provider) for number in numbers],
                [f"Ada {number % 1000}" for number in numbers],
                [1_000_000 + number for number in numbers],
            ]
            writer.write_table(arrow.table(columns, schema=schema))


def send(
    place: Path,
    targets: Target | Sequence[Target],
    audience: str,
    *words: str,
    payload: str = "payload.json",
    module: str = "pushcore",
    core: int | None = CLIENT_CORE,
) -> Sent:
    """Run one `pushcore send` in the directory `place`, to one provider or both. `core` None: on any core."""
    for old in (*place.glob("campaign.db*"), *place.glob("results.csv")):
        old.unlink()
    command = [
        sys.executable,
        "-m",
        module,
        "send",
        "--audience",
        audience,
        "--payload",
        payload,
        *words,
    ]
    targets = [targets] if isinstance(targets, Target) else targets
    command += credentials(place, *targets, inside=module != "pushcore")
    root = str(ROOT)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
    }
    with tempfile.TemporaryFile("w+") as said:
        with on_core(core) if core is not None else contextlib.nullcontext():
            process = subprocess.Popen(command, cwd=place, stderr=said, env=environment)
        began, busy = time.monotonic(), _busy()
        samples, usage = _watch(process)
        others = max(_busy() - busy - usage, 0.0) / (time.monotonic() - began)
        said.seek(0)
        text = said.read()
    if process.returncode:
        raise CannotMeasure(f"pushcore send failed: {text.strip()[-500:]}")
    match = re.search(r"^([\d,]+) rows in ([\d.]+) s(?:, ([\d,]+) a second)?", text, re.MULTILINE)
    if match is None:
        raise CannotMeasure(f"pushcore send said something unexpected: {text[:500]}")
    return Sent(usage, others, float((match[3] or "0").replace(",", "")), samples)


def credentials(place: Path, *targets: Target, inside: bool) -> list[str]:
    """The options for servers and credentials. `inside`: for `bench.inprocess`."""
    authorities = place / "authorities.pem"
    authorities.write_text("".join(Path(target.ca_file).read_text() for target in targets))
    words = ["--ca-file", authorities.name, "--proxy", "none"]
    for target in targets:
        settings = target.settings
        if target.provider == "apns":
            words += ["--apns-url", inprocess.APNS_URL if inside else target.url]
            words += ["--topic", settings["topic"], "--apns-key", settings["key_file"]]
            words += ["--key-id", settings["key_id"], "--team-id", settings["team_id"]]
            continue
        account = json.loads(Path(settings["service_account_file"]).read_text())
        if inside:
            account["token_uri"] = inprocess.OAUTH_URL
        (place / "account.json").write_text(json.dumps(account))
        words += ["--fcm-url", inprocess.FCM_URL if inside else target.url]
        words += ["--fcm-service-account", "account.json", "--rate", "none"]
    return words


def _busy() -> float:
    """CPU seconds that the whole machine has used so far."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _watch(process: subprocess.Popen[Any]) -> tuple[list[float], float]:
    """Wait for the process to end; samples of its memory, and the CPU of the process and its children."""
    samples: list[float] = []
    deadline = time.monotonic() + LONGEST
    watched = psutil.Process(process.pid)
    next_look = time.monotonic()
    try:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                return samples, usage.ru_utime + usage.ru_stime
            if time.monotonic() > deadline:
                raise CannotMeasure(f"pushcore send took longer than {LONGEST:.0f} s")
            if time.monotonic() >= next_look:
                next_look += EVERY
                resident = watched.memory_info().rss / 2**20
                samples += [resident] if resident else []  # it has just ended
            time.sleep(0.01)
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
