"""The clients of a measurement on the client's core: pushcore, each case in its own process, and h2load."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Final

from .providers import PROVIDERS, USUAL, Workload
from .stage import (
    CLIENT_CORE,
    TIMEOUT,
    CannotMeasure,
    ClientRun,
    Target,
    client_core,
    h2load_version,
    start_on,
)

PATHS: Final = 1000
"""How many different paths h2load cycles through, so that it cannot keep one header block for all requests."""

EARLY: Final = 100
"""Streams that h2load opens on a connection before it has read how many the server allows."""


def ours(
    case: str,
    target: Target,
    *,
    count: int,
    streams: int | None = None,
    connections: int = 1,
    work: Workload = USUAL,
    refused: int = 0,
) -> ClientRun:
    """One of the cases of `bench.cases`, in a process of its own on the client's core.

    `streams`: on each connection, None for what the provider allows. `refused`: how many responses must be rejections,
    give or take one for each connection.
    """
    used = target.cpu()
    process = start(case, target, count=count, streams=streams, connections=connections, work=work)
    try:
        measured = finish(process, case)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    measured.server_use = (target.cpu() - used) / (count / measured.rate)
    if abs(measured.ok - (count - refused)) > (connections if refused else 0) or measured.answered != count:
        raise CannotMeasure(f"{case}: {measured.ok} of {count} were answered as they should be")
    return measured


def start(
    case: str,
    target: Target,
    *,
    count: int,
    streams: int | None = None,
    connections: int = 1,
    work: Workload = USUAL,
    number: int = 0,
) -> subprocess.Popen[str]:
    """Start a case on the core of the n-th client; `finish` waits for it."""
    numbers = map(str, (count, streams or PROVIDERS[target.provider].streams, connections))
    command = [
        *target.inside,
        sys.executable,
        "-m",
        "bench.cases",
        case,
        json.dumps(asdict(target)),
        *numbers,
    ]
    return start_on(
        client_core(number),
        [*command, json.dumps(asdict(work))],
        stdout=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[str], case: str) -> ClientRun:
    """The figures of a started case. Raises `CannotMeasure` if it failed or took too long."""
    try:
        text, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise CannotMeasure(f"{case} took longer than {TIMEOUT:.0f} s") from None
    if process.returncode:
        raise CannotMeasure(f"{case} failed; what it said is above")
    return ClientRun(**json.loads(text.splitlines()[-1]))


def h2load(
    target: Target,
    *,
    count: int,
    streams: int | None = None,
    connections: int = 1,
    work: Workload = USUAL,
    headers: Mapping[str, str] | None = None,
) -> ClientRun:
    """The same requests by h2load on the client's core, without the CPU of its start. `headers`: instead of the provider's."""
    h2load_version()
    provider = PROVIDERS[target.provider]
    streams = streams or provider.streams
    with tempfile.TemporaryDirectory() as directory:
        command = [
            *h2load_command(target, Path(directory), work, headers),
            "-c",
            str(connections),
            "-m",
            str(streams),
        ]
        start_up = min(run_h2load([*command, "-n", str(connections)])[1] for _ in range(3))
        used = target.cpu()
        text, cpu = run_h2load([*command, "-n", str(count)])
        used = target.cpu() - used
    # The strict fake of APNs allows one stream at first.
    measured = read_h2load(text, refused=EARLY * connections if target.name == "strict" else 0)
    measured.cpu_us = max(cpu - start_up, 0.0) / count * 1e6
    measured.server_use = used / (count / measured.rate)
    return measured


def h2load_command(
    target: Target, directory: Path, work: Workload = USUAL, headers: Mapping[str, str] | None = None
) -> list[str]:
    """h2load with the provider's requests; its body and paths are files in `directory`."""
    provider = PROVIDERS[target.provider]
    body, paths = directory / "body.json", directory / "paths"
    body.write_bytes(provider.body(work))
    lines = (f"{target.url}{provider.path(target, number, work)}\n" for number in range(PATHS))
    paths.write_text("".join(lines))
    command = [*target.inside, "h2load", "-t", "1", "-i", str(paths), "-d", str(body)]
    for name, value in (headers or provider.headers(target)).items():
        command += ["-H", f"{name}: {value}"]
    return command


def read_h2load(text: str, refused: int = 0) -> ClientRun:
    """Read h2load's output: rate, responses and cipher. `refused`: at most this many streams may have been reset.

    Raises `CannotMeasure` if the output is something else, or if requests got no response.
    """
    match = re.search(r"finished in ([\d.]+)(m?s|us), ([\d.]+) req/s", text)
    done = re.search(
        r"requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", text
    )
    cipher = re.search(r"Cipher: (\S+)", text)
    if not match or not done:
        raise CannotMeasure(f"h2load said something unexpected:\n{text}")
    total, _, succeeded, failed, errored = map(int, done.groups())
    # What errored is counted among what failed.
    if errored > refused or succeeded + failed != total or not float(match.group(3)):
        unanswered = total - succeeded - failed + errored
        raise CannotMeasure(f"h2load: {unanswered} of {total} requests got no answer")
    # nghttpd's 404 counts as failed with h2load, and is an answer for us.
    return ClientRun(
        rate=float(match.group(3)),
        cpu_us=0.0,
        ok=total,
        answered=total - errored,
        cipher=cipher.group(1) if cipher else "",
    )


def run_h2load(command: list[str]) -> tuple[str, float]:
    """h2load's output, and its CPU seconds."""
    process = start_on(CLIENT_CORE, command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return text, usage.ru_utime + usage.ru_stime


def medians(runs: list[ClientRun]) -> ClientRun:
    """The median of each field; the cipher of the first run."""
    return ClientRun(
        rate=median(run.rate for run in runs),
        cpu_us=median(run.cpu_us for run in runs),
        ok=min(run.ok for run in runs),
        answered=min(run.answered for run in runs),
        peak_mb=median(run.peak_mb for run in runs),
        cipher=runs[0].cipher,
        server_use=median(run.server_use for run in runs),
    )
