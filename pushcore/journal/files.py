"""The files of an open journal or ledger: whether other processes have changed them, and when their content is on the disk.

    campaign.db       the journal; SQLite writes it now and then
    campaign.db-wal   the log with the newest commits
    campaign.db-shm   the index of the log, which SQLite has mapped into memory

An access to a part of the index that was cut off ends the process by SIGBUS, and a zero where a number should be makes SQLite write
wrong pages. So it uses the index for some 0.1 ms per commit, after a look at it. The wait for the disk, 1 to 10 ms, comes after the
commit.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

from ..errors import JournalError

_HEAD: Final = 32
"""Bytes of the header of a log: random, and changed only by a commit that begins the log again."""
_FRAME: Final = 24 + 4096
"""Bytes of a page with its header, which is never all zeros."""
_sync = getattr(os, "fdatasync", os.fsync)  # macOS and Windows have none


class DatabaseFiles:
    """The files of the journal at `path`.

    Only the log is opened: the system drops SQLite's locks when this process closes one of the others.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = identity(path)
        self._size = self._index_size = self._log_size = 0  # bytes
        self._log: int | None = None
        self._log_file: tuple[int, int] | None = None
        self._log_head = b""
        self._cut = False

    def sync(self) -> None:
        """Wait until all commits are on the disk. Raises `JournalError`."""
        try:
            if self._log is None:
                self._log = os.open(f"{self.path}-wal", os.O_RDWR)
                sync_directory(self.path)  # or a power failure could take the names of both files with it
            _sync(self._log)
            if self._log_size and not self._read_log(self._log_size - _FRAME, _FRAME).strip(b"\0"):
                self._cut = True  # just before the commit, which has left a hole
                raise JournalError(self.cut_words)
            self._log_size, self._log_head = os.fstat(self._log).st_size, self._read_log(0, _HEAD)
        except OSError as error:
            raise JournalError(f"{self.path} cannot be written ({error.strerror})") from error

    def _read_log(self, at: int, size: int) -> bytes:
        assert self._log is not None
        os.lseek(self._log, max(at, 0), os.SEEK_SET)
        return os.read(self._log, size)

    def check(self) -> None:
        """Check names and sizes of journal and log, and where the log begins.

        Raises:
            JournalError: another process has changed one of them, so that no run could continue after a kill.
        """
        self.check_file()
        if not os.path.exists(f"{self.path}-wal"):
            raise JournalError(self._removed_words)
        if self.log_is_cut():
            raise JournalError(self.cut_words)

    def check_file(self) -> None:
        """Check name and size of the file alone: other processes may write the log, too. Raises `JournalError`."""
        size = self._size_now()
        if size is None:
            raise JournalError(self._removed_words)
        if size < self._size:
            raise JournalError(self.cut_words)
        self._size = size
        self._log_file = identity(f"{self.path}-wal")

    @property
    def _removed_words(self) -> str:
        return f"{self.path} was removed or renamed while it was written"

    @property
    def cut_words(self) -> str:
        """The sentence about a log or a journal that another process has changed."""
        return (
            f"{self.path} was truncated or overwritten by another process while it was written; rows whose outcomes were lost with that "
            "may have been sent"
        )

    def _size_now(self) -> int | None:
        """The size of the journal; None if the file of that name is another one, or there is none."""
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_size if _identity(status) == self._file else None

    @property
    def are_there(self) -> bool:
        """Whether the journal still has its name."""
        return self._size_now() is not None

    def log_is_cut(self) -> bool:
        """Whether another process has changed the log. Raises `JournalError`."""
        if self._log is None:
            return False
        try:
            shorter = os.fstat(self._log).st_size < self._log_size
            return self._cut or shorter or self._read_log(0, _HEAD) != self._log_head
        except OSError as error:
            raise JournalError(f"{self.path}-wal cannot be read ({error.strerror})") from error

    def mend_index(self) -> None:
        """Before each use: give the index its size back if another process truncated it. What was in it is in the log.

        To be followed by a new transaction: SQLite then makes the index again from the log if it does not begin as it should.
        """
        with contextlib.suppress(OSError):  # it was removed, which does no harm to what is mapped
            size = os.stat(f"{self.path}-shm").st_size
            if size < self._index_size:
                self.clear_index()
            else:
                self._index_size = size

    def clear_index(self) -> None:
        """Fill the index with zeros."""
        index = f"{self.path}-shm"
        with contextlib.suppress(OSError):
            for size in (0, max(self._index_size, os.path.getsize(index))):
                os.truncate(index, size)

    def begin_again(self) -> None:
        """Make SQLite read what is left of the log."""
        self.clear_index()
        self._log_size, self._log_head, self._cut = 0, self._read_log(0, _HEAD), False

    def remove_log(self) -> None:
        """Remove log and index: SQLite would use them for the other journal that has the name now."""
        log = f"{self.path}-wal"
        ours = self._log_file if self._log is None else _identity(os.fstat(self._log))
        if ours is not None and identity(log) == ours:
            for name in (log, f"{self.path}-shm"):
                with contextlib.suppress(OSError):
                    os.unlink(name)

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            os.close(self._log)
            self._log = None


def identity(path: str) -> tuple[int, int] | None:
    """The identity of the file of that name; None if there is none."""
    try:
        return _identity(os.stat(path))
    except OSError:
        return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def sync_directory(path: str) -> None:
    """Bring the name of a file to the disk, where the system can do that."""
    with contextlib.suppress(OSError, AttributeError):  # Windows has no such thing
        directory = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
