"""The bytes of an audience; gzip is recognised by its content, not by the file name, and decompressed."""

from __future__ import annotations

import errno
import gzip
import io
import select
import zlib
from collections.abc import Callable
from typing import IO, Any, Final

BLOCK: Final = 128 * 1024
"""Bytes read from the file at a time."""
MAX_LINE: Final = 16 * 1024 * 1024
"""Bytes of one line after which reading fails: a small gzip file can expand to gigabytes."""
GZIP: Final = b"\x1f\x8b"
"""The first bytes of gzip (RFC 1952, section 2.3.1)."""


class Blocks(io.RawIOBase):
    """The bytes of an unbuffered file or a pipe, as they arrive. `position`: the number of bytes read."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.position = 0
        self.before_waiting: Callable[[], None] | None = None
        """Called before a read that must wait for the writer of a pipe."""
        self._file = file
        self._name = name
        self._head = b""

    def peek(self, count: int) -> bytes:
        """The next `count` bytes without reading them; fewer at the end. Raises `OSError`."""
        while len(self._head) < count and (data := self._read(BLOCK)):
            self._head += data
        return self._head[:count]

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer: Any) -> int:
        data, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        if not data:
            data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _read(self, count: int) -> bytes:
        if self.before_waiting is not None and not select.select([self._file], [], [], 0)[0]:
            self.before_waiting()
        try:
            data = self._file.read(count)
        except OSError as error:
            error.filename = self._name
            raise
        if data is None:  # a non-blocking file without data
            raise BlockingIOError(errno.EAGAIN, "it is non-blocking and has no data", self._name)
        self.position += len(data)
        return data

    def close(self) -> None:
        self._file.close()
        super().close()


class Content(io.RawIOBase):
    """The bytes of `blocks`, decompressed if `packed`; it also searches them for a NUL and quotes, which is cheaper than per row.

    `has_nul`, `has_quote`: whether a NUL or a quote has been read. `at_end`: called with the last byte when the end is
    reached. A read raises `OSError`, also if the gzip is damaged or truncated, or a line is longer than `MAX_LINE`.
    """

    def __init__(
        self,
        blocks: Blocks,
        name: str,
        *,
        packed: bool,
        at_end: Callable[[bytes], None] = lambda last: None,
    ) -> None:
        self.has_nul = False
        self.has_quote = False
        self._at_end = at_end
        self._last = b""
        self._blocks = blocks
        self._name = name
        self._line = 0  # bytes of the line that has not ended
        # Without a buffer around the blocks: it would wait for more bytes than a pipe has.
        self._unpacked = gzip.GzipFile(fileobj=blocks, mode="rb") if packed else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._unpacked is None:
            count = self._blocks.readinto(buffer)
        else:
            try:
                data = self._unpacked.read1(len(buffer))
            except (EOFError, zlib.error, gzip.BadGzipFile):
                raise OSError(errno.EIO, "its gzip data is damaged or truncated", self._name) from None
            count = len(data)
            buffer[:count] = data
        data = bytes(buffer[:count])
        if not data:
            self._at_end(self._last)
        self._last = data[-1:]
        if not self.has_nul and b"\0" in data:
            self.has_nul = True
        if not self.has_quote and b'"' in data:
            self.has_quote = True
        newline = data.rfind(b"\n")
        self._line = count - newline - 1 if newline >= 0 else self._line + count
        if self._line > MAX_LINE:
            raise OSError(errno.EFBIG, f"a line of it is longer than {MAX_LINE} bytes", self._name)
        return count

    def close(self) -> None:
        if self._unpacked is not None:
            self._unpacked.close()
        self._blocks.close()
        super().close()
