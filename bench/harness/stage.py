"""What every measurement uses: a server on one core, a client on the other, and h2load as the reference.

Everything is on loopback and bounded in count and time. A process that is started here is ended here.
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
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
SCRATCH: Final = ROOT / ".bench"
"""What is built and installed for measurements; git ignores it, and it may be deleted at any time."""
SERVER_CORE, CLIENT_CORE = 0, 1
TIMEOUT = 300.0  # seconds for any one process


class CannotMeasure(Exception):
    """The measurement is not possible here; the message says why."""


@dataclass
class Target:
    """A listening server, and what a client needs to know of it."""

    name: str
    provider: str
    url: str
    ca_file: str
    pid: int
    settings: dict[str, str]
    """What the fake wrote for its clients: credentials, topic, project."""
    inside: list[str] = field(default_factory=list)
    """What a client's command must begin with to reach it, such as `ip netns exec NAME`."""
    relay: int | None = None
    """The process in between, on the server's core."""

    def cpu(self) -> float:
        """CPU seconds that the server, and a relay before it, have used so far."""
        ticks = 0
        for pid in filter(None, (self.pid, self.relay)):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@dataclass
class ClientRun:
    """One run of one client. `cpu_us` is the client's CPU for one notification.

    `ok`: pushes with the expected response. `answered`: pushes with any response; 0 if not counted.
    """

    rate: float
    cpu_us: float
    ok: int = 0
    answered: int = 0
    peak_mb: float = 0.0
    cipher: str = ""
    server_use: float = 0.0


def machine() -> dict[str, Any]:
    """What the figures were measured on and with."""
    model = "unknown"
    with contextlib.suppress(OSError):
        match = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        model = match.group(1) if match else model
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": interpreter(),
        "openssl": ssl.OPENSSL_VERSION,
        "uvloop": version("uvloop"),
        "pushcore": version("pushcore"),
        "commit": commit.stdout.strip() or "unknown",
        "h2load": h2load_version() if shutil.which("h2load") else None,
    }


def interpreter() -> str:
    """The version of this interpreter, and how it was built."""
    return f"{platform.python_version()} ({interpreter_build()})"


def interpreter_build(configured: Mapping[str, Any] | None = None) -> str:
    """How the interpreter was built. An optimised build needs a fifth less CPU for the same push.

    Args:
        configured: the build's variables, as `sysconfig.get_config_vars` has them; None for those of this interpreter.
    """
    variables = sysconfig.get_config_vars() if configured is None else configured
    arguments, flags = str(variables.get("CONFIG_ARGS", "")), str(variables.get("PY_CORE_CFLAGS", ""))
    pgo = "--enable-optimizations" in arguments or "-fprofile-use" in flags
    lto = "--with-lto" in arguments or "-flto" in flags
    if variables.get("PGO_PROF_USE_FLAG") == "" and not (pgo or lto):
        # Debian and Ubuntu build with both, and remove the flags from what is installed.
        build = ["a distribution's build, PGO and LTO unknown"]
    else:
        build = ["PGO" if pgo else "no PGO", "LTO" if lto else "no LTO"]
    if variables.get("Py_GIL_DISABLED"):
        build.append("free-threaded")
    if variables.get("Py_DEBUG"):
        build.append("debug")
    return ", ".join(build)


def h2load_version() -> str:
    """The output of `h2load --version`. Raises `CannotMeasure` if h2load is missing."""
    if shutil.which("h2load") is None:
        raise CannotMeasure("h2load is missing: it is in Debian's package nghttp2-client")
    return subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=True).stdout.strip()


def client_core(number: int = 0) -> int:
    """The core of the n-th client: any but the server's."""
    return CLIENT_CORE + number % max((os.cpu_count() or 2) - 1, 1)


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes that are started in the block run on that core for good, where that is possible."""
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2:
        yield
        return
    before = os.sched_getaffinity(0)  # of this thread, which children inherit
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def start_on(core: int, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
    """`subprocess.Popen` for text on this core."""
    with on_core(core):
        return subprocess.Popen(command, text=True, **options)


def run_on(core: int, command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """`subprocess.run` for text on this core; the waiting parent is on it too, asleep."""
    with on_core(core):
        return subprocess.run(command, text=True, check=False, **options)


@contextlib.contextmanager
def fake(provider: str, profile: str, *options: str, inside: Sequence[str] = ()) -> Iterator[Target]:
    """`python -m fakeservers PROVIDER` on the server's core; `inside` as in `Target`."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "fakeservers", provider, "--port", "0", "--certs", directory]
        process = start_on(
            SERVER_CORE,
            [*inside, *command, "--profile", profile, "--stop-at-eof", *options],
            stdin=subprocess.PIPE,  # ends with this process, also after kill -9
            stdout=subprocess.PIPE,
        )
        try:
            while not (line := first_line(process)).startswith("listening on"):
                if not line:
                    raise CannotMeasure("the fake did not start; is the extra `fakeservers` installed?")
            settings = json.loads((Path(directory) / f"{provider}.json").read_text())
            control = Path(directory) / "control.json"
            if control.exists():
                settings["control"] = json.loads(control.read_text())["url"]
            url, ca_file = settings["url"], settings["ca_file"]
            yield Target(profile, provider, url, ca_file, process.pid, settings, list(inside))
        finally:
            end(process)


@contextlib.contextmanager
def nghttpd(like: Target) -> Iterator[Target]:
    """nghttpd on the server's core, with its own certificate and the credentials of another target."""
    if shutil.which("nghttpd") is None:
        raise CannotMeasure("nghttpd is missing: it is in Debian's package nghttp2-server")
    with tempfile.TemporaryDirectory() as directory:
        key, certificate = f"{directory}/key.pem", f"{directory}/ca.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
                *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
                *("-keyout", key, "-out", certificate),
            ],
            check=True,
            capture_output=True,
        )
        port = free_port()
        process = start_on(
            SERVER_CORE,
            ["nghttpd", "-a", "127.0.0.1", "-m", "1000", "-W", "24", "-w", "20", str(port), key, certificate],
            stdout=subprocess.DEVNULL,
        )
        try:
            wait_for_port(port)
            url = f"https://127.0.0.1:{port}"
            yield Target("nghttpd", like.provider, url, certificate, process.pid, like.settings)
        finally:
            end(process)


def free_port() -> int:
    """A port on loopback that was free a moment ago, for servers that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, timeout: float = 10.0) -> None:
    """Return when a server listens on the port. Raises `CannotMeasure` after the timeout."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise CannotMeasure(f"no server listens on port {port}")


def first_line(process: subprocess.Popen[str]) -> str:
    """The first line of a new server's output; "" if it ended instead."""
    assert process.stdout is not None
    return process.stdout.readline()


def end(process: subprocess.Popen[Any]) -> None:
    """Ask a process to end, and kill it if it does not."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
