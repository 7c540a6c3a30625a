"""The standard streams of a command: errors of the standard output name it, and the standard error never blocks a run.

A command must obey signals, end its children and write its results, whatever happens to its terminal. A write to a closed
pipe fails. A write to a full one (Ctrl-S, or `2>&1 | tee` with a reader that does not read) blocks, perhaps forever, in the
thread of the event loop. So the standard error is written only while it accepts bytes.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO, cast

MAX_PENDING: Final = 64 * 1024
"""Bytes that are buffered while the standard error accepts nothing; further bytes are dropped."""
PATIENCE: Final = 1.0
"""Seconds that a command waits at its end until the standard error has accepted the last bytes."""
_AT_ONCE: Final = 512
"""Bytes of one write: the minimum of POSIX's PIPE_BUF, which a ready pipe accepts without blocking."""
_CLOSED: Final = ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY))


class StandardError(io.RawIOBase):
    """A file descriptor with writes that never block and never fail. Bytes that it does not accept now are written later."""

    def __init__(self, number: int) -> None:
        self.pending = bytearray()
        self._number = number
        self._poll = select.poll()
        self._poll.register(number, select.POLLOUT)
        self._broken = False

    def writable(self) -> bool:
        """True."""
        return True

    def fileno(self) -> int:
        """The descriptor."""
        return self._number

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._number)

    def write(self, data: Any) -> int:
        """Buffer and write `data`; bytes beyond the buffer are dropped."""
        size = len(data)
        self.pending += bytes(data)[: MAX_PENDING - len(self.pending)]
        self._write_ready(0.0)
        return size

    def flush(self) -> None:
        """Write as much as the descriptor accepts now."""
        if not self.closed:
            self._write_ready(0.0)

    def drain(self, seconds: float) -> None:
        """Wait until everything is written, at most `seconds`."""
        deadline = time.monotonic() + seconds
        while self.pending and time.monotonic() < deadline:
            self._write_ready(max(deadline - time.monotonic(), 0.0))

    def _write_ready(self, seconds: float) -> None:
        while self.pending and not self._broken:
            if not self._poll.poll(seconds * 1000):
                return
            try:
                del self.pending[: os.write(self._number, self.pending[:_AT_ONCE])]
            except BlockingIOError:
                return
            except OSError:
                self._broken = True
        if self._broken:
            self.pending.clear()


class NamedFile(io.FileIO):
    """A file for writing with errors that contain its name. To close it is an error if its content is lost with that."""

    def __init__(self, file: str | int, shown: str, *, closefd: bool = True) -> None:
        self._shown = shown
        self._had_name = False
        super().__init__(file, "wb", closefd=closefd)
        self._had_name = closefd and _links(self.fileno()) > 0

    def write(self, data: Any) -> int:
        """Write; an `OSError` contains the name of the file."""
        with self._named():
            return super().write(data)

    def truncate(self, size: int | None = None) -> int:
        """Truncate, in the same way."""
        with self._named():
            return super().truncate(size)

    def close(self) -> None:
        """Close, in the same way; an `OSError` also if the file was removed or replaced meanwhile."""
        with self._named():
            lost = self._had_name and not self.closed and not _links(self.fileno())
            super().close()
            if lost:
                raise FileNotFoundError(errno.ENOENT, "it was removed while it was written")

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = self._shown
            raise


def _links(number: int) -> int:
    """How many names an open file has; 1 if that cannot be known."""
    try:
        return os.fstat(number).st_nlink
    except OSError:  # closing it may say more
        return 1


@contextmanager
def standard_streams() -> Iterator[None]:
    """Prepare the standard streams for a command; at the end wait a moment until its last messages are written."""
    _occupy_closed()
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        sys.stdout = _text(io.BufferedWriter(NamedFile(1, "the standard output", closefd=False)), sys.stdout)
    last_words: StandardError | None = None
    if hasattr(select, "poll"):  # Windows has none
        last_words = StandardError(2)
        sys.stderr = _text(last_words, sys.stderr, write_through=True)
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except OSError:  # the error was reported; Python must not try again
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if last_words is not None:
            last_words.drain(PATIENCE)


def is_blocked() -> bool:
    """Whether the standard error accepts nothing at present, so that progress should not be drawn."""
    raw = getattr(sys.stderr, "buffer", None)
    return isinstance(raw, StandardError) and bool(raw.pending)


def _occupy_closed() -> None:
    """Occupy the numbers of closed standard streams, so that no other file gets the number and the output of the stream.

    Reading the standard input and writing the standard output still fail; writes to the standard error are ignored.
    """
    for number, flags in _CLOSED:
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, flags)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)


def _text(raw: Any, before: TextIO | None, *, write_through: bool = False) -> TextIO:
    encoding = "utf-8" if before is None else before.encoding
    return io.TextIOWrapper(
        cast(Any, raw),
        encoding,
        errors="backslashreplace" if write_through or before is None else before.errors,
        line_buffering=True,
        write_through=write_through,
    )
