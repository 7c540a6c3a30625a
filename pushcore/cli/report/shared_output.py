"""One results file for several processes, each of which writes whole rows."""

from __future__ import annotations

import fcntl
import io
import os
from typing import Any, Final

TOGETHER: Final = 128 * 1024
"""Bytes that are written at a time: few enough to stay in the processor's cache until they are copied."""


class SharedOutput(io.BufferedIOBase):
    """The buffer of a file that several processes write to. `lock`: a file that all of them have open.

    The bytes of one `write` stay together. So does the text of one `write` to a `TextIOWrapper` over it, which joins several
    texts and never divides one.
    """

    def __init__(self, number: int, lock: int) -> None:
        self._number, self._lock = number, lock
        self._kept: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, data: Any) -> int:
        """Raises `OSError`."""
        self._kept.append(bytes(data))
        self._size += len(data)
        if self._size >= TOGETHER:
            self.flush()
        return len(data)

    def flush(self) -> None:
        """Raises `OSError`."""
        if not self._kept:
            return
        data = memoryview(b"".join(self._kept))
        self._kept.clear()
        self._size = 0
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            while data:
                data = data[os.write(self._number, data) :]
        except OSError as error:
            error.filename = "the results"
            raise
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)
