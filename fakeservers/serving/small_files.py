"""Small files: credentials, plans, registries. Reading one needs bounded memory and bounded time."""

from __future__ import annotations

import os
import select
import stat
import time
from pathlib import Path

MAX_FILE = 16 * 1024 * 1024
"""Bytes, at most: a registry of 100 000 devices has half of it."""
UNOPENED = 0.5
"""Seconds to wait for a process that writes to a named pipe."""
UNFINISHED = 60.0
"""Seconds that such a process may take."""


def read_small(path: str | os.PathLike[str]) -> bytes:
    """The content of a file, or of a pipe such as `<(command)` and `/dev/stdin`.

    Raises:
        OSError: it cannot be read; `strerror` says why.
        ValueError: it has more than `MAX_FILE` bytes, or the path contains a character that is not allowed there.
    """
    # Opening a pipe without a writer would block, and reading one that is silent, too.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    data = bytearray()
    with open(os.open(path, flags), "rb", buffering=0) as file:
        pipe = stat.S_ISFIFO(os.fstat(file.fileno()).st_mode)
        waited = False
        ends = time.monotonic() + UNFINISHED
        while len(data) <= MAX_FILE:
            part = file.read(MAX_FILE + 1 - len(data))
            if part:
                data += part
            elif part is None:
                if not _ready(file.fileno(), ends - time.monotonic()):
                    raise TimeoutError(0, f"its end did not come within {UNFINISHED:g} s")
            elif data or not pipe or _ready(file.fileno(), 0):
                return bytes(data)
            elif waited:
                raise TimeoutError(0, "it is a pipe that no process writes to")
            else:  # opened by nobody else yet
                _ready(file.fileno(), UNOPENED)
                waited = True
    raise ValueError(f"{Path(path).name} has more than {MAX_FILE} bytes")


def _ready(descriptor: int, seconds: float) -> bool:
    """Whether there is something to read, or the writer has gone, within this time."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(seconds, 0) * 1000))
