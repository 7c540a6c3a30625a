"""The fake APNs as a child process."""

from __future__ import annotations

import importlib.util
import selectors
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final

import orjson

from .problems import BadInput, printable

READY: Final = 20.0
"""Seconds until it must listen."""
ENDING: Final = 5.0
"""Seconds until it must have ended after SIGTERM."""


def needed_extra() -> str | None:
    """What to install when the fake servers cannot run here; None when they can."""
    if importlib.util.find_spec("ngh2") is None or importlib.util.find_spec("fakeservers") is None:
        return 'the demo needs the fake servers, which are not installed; pip install "pushcore[fakeservers]"'
    return None


class FakeProcess:
    """`python -m fakeservers apns` with the world in `place`/world.json, while its `with` block runs.

    `config`: what it wrote to apns.json. It ends with the block, whatever happens in there.

    Raises:
        BadInput: it did not start.
    """

    def __init__(self, place: Path, *, profile: str = "strict") -> None:
        certs = place / "certs"
        command = [sys.executable, "-m", "fakeservers", "apns", "--port", "0", "--certs", str(certs)]
        command += ["--profile", profile, "--world", str(place / "world.json")]
        self._errors = (place / "fakeservers.log").open("w+b")
        # A session of its own: Ctrl-C is for us, and what is in flight wants its answers.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        try:
            self._wait_until_ready()
            self.config: dict[str, str] = orjson.loads((certs / "apns.json").read_bytes())
        except BaseException:
            self.end()
            raise

    def _wait_until_ready(self) -> None:
        output = self._process.stdout
        assert output is not None
        until = time.monotonic() + READY
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            selector.select(max(0.0, until - time.monotonic()))
            line = output.readline() if selector.select(0) else b""
        if not line.startswith(b"listening on "):
            self._errors.seek(0)
            said = self._errors.read(2000).decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise BadInput(f"the fake APNs did not start: {printable(said or 'it said nothing', 300)}")

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def end(self) -> None:
        """Ask it to end, and wait until it has."""
        try:
            self._process.terminate()
            try:
                self._process.wait(ENDING)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        finally:
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._errors.close()

    def __enter__(self) -> FakeProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
