"""The file beside an open journal: space for the end of a run, the lock of its writer, and a note of how far it has got.

The note is for a journal whose log is truncated or lost together with a kill: what was sent is then in no commit that is left.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from typing import Final

from ..errors import JournalError

RESERVE: Final = 1 << 20
"""Bytes on the disk that a run keeps free for its end, should the disk be full: the outcomes of a window and a chunk."""
_NOTE: Final = 256
"""Bytes of the note at most: id of the campaign, row, checksum."""


class Reserve:
    """The file beside the journal at `path`; `keep` makes it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._name = reserve_of(path)
        self._file: int | None = None

    def keep(self, campaign_id: str) -> tuple[int, int]:
        """Make the file, or take over what a killed process left.

        Returns:
            The number of that process's run, and the row up to which it may have sent, according to its note; zeros without one.

        Raises:
            JournalError: another process writes the journal.
        """
        try:
            self._file = file = os.open(self._name, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666)
        except OSError:
            return 0, 0  # then it has to do without
        if not _lock(file):
            os.close(file)
            self._file = None
            raise JournalError(f"{self._path} is in use by another process")
        run = row = 0
        try:
            note = os.pread(file, _NOTE, 0)
            with contextlib.suppress(ValueError):
                _, *numbers, _ = note.split()
                run, row = map(int, numbers)
            if note != _note(campaign_id, run, row):
                run = row = 0
            os.ftruncate(file, 0)
            with open(file, "wb", closefd=False) as opened:
                opened.write(_note(campaign_id, run, row).ljust(RESERVE, b"\0"))
        except OSError:
            self.give_up()
        return run, row

    def note(self, campaign_id: str, run: int, row: int) -> None:
        """Note that this run may send rows up to this one from now on."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.pwrite(self._file, _note(campaign_id, run, row), 0)

    def give_up(self) -> None:
        """After a failed write: free the space, in case the disk is full, so that the next attempt has it."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)  # it stays open, and keeps its lock
        with contextlib.suppress(OSError):
            os.unlink(self._name)

    def close(self) -> None:
        """Remove the file and the lock."""
        self.give_up()
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _note(campaign_id: str, run: int, row: int) -> bytes:
    text = f"{campaign_id} {run} {row}".encode()
    return b"%s %08x" % (text, zlib.crc32(text)) + bytes(max(_NOTE - len(text) - 9, 0))


def _lock(file: int) -> bool:
    """Take the lock of an open file; False when another process has it. Where there are no such locks, it is taken."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return True
    return True


def reserve_of(path: str) -> str:
    """The name of the file beside the journal at `path`."""
    return f"{path}-reserve"
