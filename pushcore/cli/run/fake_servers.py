"""The fake servers as a child process."""

from __future__ import annotations

import importlib.util
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import orjson

from ...audience.problems import BadInput, printable

READY: Final = 20.0
"""Seconds that it has to start."""
ENDING: Final = 5.0
"""Seconds that it has to end after SIGTERM."""

_EXTRA: Final = ("fakeservers", "ngh2", "h11", "starlette", "uvicorn")

# The line that a service prints when it is ready.
_LAST_LINE: Final = {"apns": b"listening on ", "fcm": b"listening on ", "all": b"ready"}
_CONTROL: Final = "control on "
_FILES: Final = {"apns": ("apns",), "fcm": ("fcm",), "all": ("apns", "fcm")}


def needed_extra() -> str | None:
    """The missing package of the fake servers; None if they can run."""
    if all(map(importlib.util.find_spec, _EXTRA)):
        return None
    return 'the demo needs the fake servers, which are not installed; pip install "pushcore[fakeservers]"'


class FakeProcess:
    """`python -m fakeservers SERVICE` with its files in `place`, while the `with` block runs.

    `service`: "apns", "fcm" or "all". `arguments`: further options. `apns`, `fcm`: the content of its apns.json and fcm.json,
    empty for a service that is not started. `control`: the URL of its live page, if `arguments` request one. The process ends
    with the block, also after an error, and with this process, also if that is killed.

    Raises:
        BadInput: it did not start.
    """

    def __init__(self, place: Path, service: str = "apns", *arguments: str) -> None:
        certs = place / "certs"
        command: Sequence[str] = [
            sys.executable,
            "-m",
            "fakeservers",
            service,
            "--certs",
            str(certs),
            "--stop-at-eof",
            *arguments,
        ]
        self._errors = (place / "fakeservers.log").open("w+b")
        # In a new session: Ctrl-C must not end the servers while requests are in flight. The system closes the pipe of their
        # standard input when this process ends, also after kill -9.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        try:
            self._wait_until_ready(_LAST_LINE[service])
            services: dict[str, dict[str, str]] = {
                name: orjson.loads((certs / f"{name}.json").read_bytes()) for name in _FILES[service]
            }
        except BaseException:
            self.end()
            raise
        self.apns = services.get("apns", {})
        self.fcm = services.get("fcm", {})

    control = ""

    def _wait_until_ready(self, wanted: bytes) -> None:
        output = self._process.stdout
        assert output is not None
        until = time.monotonic() + READY
        said = b""
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while not any(line.startswith(wanted) for line in said.split(b"\n")[:-1]):
                if not selector.select(max(0.0, until - time.monotonic())):
                    break
                data = os.read(output.fileno(), 4096)
                if not data:
                    break
                said += data
            else:
                lines = said.decode("utf-8", "replace").splitlines()
                self.control = next(
                    (line[len(_CONTROL) :] for line in lines if line.startswith(_CONTROL)), ""
                )
                return
        self._errors.seek(0)
        words = self._errors.read(2000).decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise BadInput(f"the fake servers did not start: {printable(words or 'no output', 300)}")

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def end(self) -> None:
        """End it with SIGTERM, and wait for its end."""
        try:
            self._process.terminate()
            try:
                self._process.wait(ENDING)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        finally:
            for stream in (self._process.stdin, self._process.stdout, self._errors):
                if stream is not None:
                    stream.close()

    def __enter__(self) -> FakeProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
