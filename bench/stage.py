"""The stage that every measurement plays on: a server on one core, a client on the other, and h2load as the yardstick.

Everything is on loopback, bounded in count and time, and ended by the one who started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from pushcore import ApnsKey

SERVER_CORE, CLIENT_CORE = 0, 1
TIMEOUT = 300.0  # seconds for any one process
PATHS = 1000
"""How many different paths h2load cycles through, so that it cannot keep one header block for all requests."""


class CannotMeasure(Exception):
    """Something that the measurement needs is missing; the message names it."""


@dataclass
class Target:
    """A server that is listening, and what a client needs to know of it."""

    name: str
    url: str
    ca_file: str
    key_file: str
    key_id: str
    team_id: str
    topic: str
    pid: int

    def cpu(self) -> float:
        """CPU seconds that the server has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Measured:
    """One run of one client. `cpu_us` is the client's CPU for one notification."""

    rate: float
    cpu_us: float
    ok: int = 0
    peak_mb: float = 0.0
    cipher: str = ""
    server_use: float = 0.0


def machine() -> dict[str, Any]:
    """What the figures were measured on and with."""
    model = "unknown"
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        model = found.group(1) if found else model
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "uvloop": version("uvloop"),
        "pushcore": version("pushcore"),
        "commit": commit.stdout.strip() or "unknown",
        "h2load": h2load_version(),
    }


def h2load_version() -> str:
    """What `h2load --version` says. Raises `CannotMeasure` when there is none."""
    if shutil.which("h2load") is None:
        raise CannotMeasure("h2load is missing: it is in Debian's package nghttp2-client")
    return subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=True).stdout.strip()


def pinned(core: int) -> Callable[[], None] | None:
    """A `preexec_fn` that binds the child to a core, where that is possible."""
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2:
        return None
    return lambda: os.sched_setaffinity(0, {core})


@contextlib.contextmanager
def fake_apns(profile: str, *options: str) -> Iterator[Target]:
    """`python -m fakeservers apns` on the server's core."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "fakeservers", "apns", "--port", "0", "--certs", directory]
        process = subprocess.Popen(
            [*command, "--profile", profile, *options],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=pinned(SERVER_CORE),
        )
        try:
            assert process.stdout is not None
            if not process.stdout.readline().startswith("listening on"):
                raise CannotMeasure("the fake APNs did not start; is the extra `fakeservers` installed?")
            settings = json.loads((Path(directory) / "apns.json").read_text())
            fields = {name: settings[name] for name in Target.__dataclass_fields__ if name in settings}
            yield Target(name=profile, pid=process.pid, **fields)
        finally:
            _end(process)


@contextlib.contextmanager
def nghttpd(like: Target) -> Iterator[Target]:
    """nghttpd on the server's core, with its own certificate and the credentials of another target."""
    if shutil.which("nghttpd") is None:
        raise CannotMeasure("nghttpd is missing: it is in Debian's package nghttp2-server")
    with tempfile.TemporaryDirectory() as directory:
        key, certificate = f"{directory}/key.pem", f"{directory}/ca.pem"
        subprocess.run(
            [
                *(
                    "openssl",
                    "req",
                    "-x509",
                    "-newkey",
                    "rsa:2048",
                    "-nodes",
                    "-days",
                    "2",
                    "-subj",
                    "/CN=localhost",
                ),
                *(
                    "-addext",
                    "subjectAltName=IP:127.0.0.1,DNS:localhost",
                    "-keyout",
                    key,
                    "-out",
                    certificate,
                ),
            ],
            check=True,
            capture_output=True,
        )
        port = free_port()
        process = subprocess.Popen(
            ["nghttpd", "-a", "127.0.0.1", "-m", "1000", "-W", "24", "-w", "20", str(port), key, certificate],
            stdout=subprocess.DEVNULL,
            preexec_fn=pinned(SERVER_CORE),
        )
        try:
            wait_for_port(port)
            fields = asdict(like) | {"name": "nghttpd", "pid": process.pid, "ca_file": certificate}
            yield Target(**(fields | {"url": f"https://127.0.0.1:{port}"}))
        finally:
            _end(process)


def free_port() -> int:
    """A port on loopback that was free a moment ago, for servers that cannot choose one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, timeout: float = 10.0) -> None:
    """Return when somebody listens there. Raises `CannotMeasure` after the timeout."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise CannotMeasure(f"nobody listens on port {port}")


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# --- clients ----------------------------------------------------------------------------------------------------------


def payload(number: int) -> dict[str, Any]:
    """The payload that every case sends: 194 bytes as JSON, whatever the number."""
    return {
        "aps": {
            "alert": {
                "title": "Order shipped",
                "body": "Your order is on its way and arrives on Tuesday between 9 and 12.",
            },
            "sound": "default",
            "badge": 3,
        },
        "order": 1_000_000 + number % 8_000_000,
        "link": "https://example.com/orders",
    }


def ours(case: str, target: Target, *, count: int, streams: int = 1000, connections: int = 1) -> Measured:
    """One of the cases of `bench.cases`, in a process of its own on the client's core."""
    used, started = target.cpu(), time.monotonic()
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "bench.cases",
            case,
            json.dumps(asdict(target)),
            *map(str, (count, streams, connections)),
        ],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=pinned(CLIENT_CORE),
        timeout=TIMEOUT,
        check=True,
    )
    measured = Measured(**json.loads(process.stdout.splitlines()[-1]))
    measured.server_use = (target.cpu() - used) / (time.monotonic() - started)
    if measured.ok != count:
        raise CannotMeasure(f"{case}: {measured.ok} of {count} were answered as they should be")
    return measured


def h2load(target: Target, *, count: int, streams: int = 1000, connections: int = 1) -> Measured:
    """The same requests by h2load on the client's core, its start-up CPU taken off."""
    with tempfile.TemporaryDirectory() as directory:
        key = ApnsKey.from_file(target.key_file, key_id=target.key_id, team_id=target.team_id)
        body, paths = Path(directory) / "body.json", Path(directory) / "paths"
        body.write_bytes(orjson.dumps(payload(0)))
        paths.write_text("".join(f"{target.url}/3/device/{number:064x}\n" for number in range(PATHS)))
        command = [
            "h2load",
            "-c",
            str(connections),
            "-m",
            str(streams),
            "-t",
            "1",
            "-i",
            str(paths),
            "-d",
            str(body),
        ]
        for header in (
            f"authorization: {key.token(time.time()).value.decode()}",
            f"apns-topic: {target.topic}",
            "apns-push-type: alert",
        ):
            command += ["-H", header]
        start_up = min(_run_h2load([*command, "-n", str(connections)], target)[1] for _ in range(3))
        text, cpu, use = _run_h2load([*command, "-n", str(count)], target)
    found = re.search(r"finished in ([\d.]+)(m?s|us), ([\d.]+) req/s", text)
    done = re.search(r"requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed", text)
    cipher = re.search(r"Cipher: (\S+)", text)
    if not found or not done:
        raise CannotMeasure(f"h2load said something unexpected:\n{text}")
    # nghttpd's 404 counts as failed with h2load, and is an answer for us.
    answered = int(done.group(1)) + int(done.group(2))
    return Measured(
        rate=float(found.group(3)),
        cpu_us=(cpu - start_up) / count * 1e6,
        ok=answered,
        cipher=cipher.group(1) if cipher else "",
        server_use=use,
    )


def _run_h2load(command: list[str], target: Target) -> tuple[str, float, float]:
    """What it printed, its CPU seconds, and the share of its core that the server used meanwhile."""
    used, started = target.cpu(), time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(CLIENT_CORE))
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    elapsed = time.monotonic() - started
    return text, usage.ru_utime + usage.ru_stime, (target.cpu() - used) / max(elapsed, 1e-9)


def medians(runs: list[Measured]) -> Measured:
    """Field by field; the cipher of the first."""
    return Measured(
        rate=median(run.rate for run in runs),
        cpu_us=median(run.cpu_us for run in runs),
        ok=min(run.ok for run in runs),
        peak_mb=median(run.peak_mb for run in runs),
        cipher=runs[0].cipher,
        server_use=median(run.server_use for run in runs),
    )
