"""An open SQLite file of pushcore, a journal or a ledger: what it must be, its errors as sentences, and its rescue if another program
removes, renames or replaces it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from ..errors import JournalError, PushcoreError
from .files import DatabaseFiles
from .rows import DamagedError

SAVED: Final = ".saved"
"""Behind the name of a file that was written again while another file had its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """A kind of file.

    `name`: in messages. `application`: in the header of the file. `version`: of its format. `damage`: exceptions that values of a
    damaged file cause.
    """

    name: str
    application: int
    version: int
    damage: tuple[type[Exception], ...]


@contextlib.contextmanager
def explained(path: str, kind: FileKind) -> Iterator[None]:
    """Raise errors of SQLite, and of decoding its values, as a `JournalError` with one sentence."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            words = f"{path} is in use by another process"
        elif code == sqlite3.SQLITE_FULL:
            words = f"the disk is full: {path} cannot be written; what it contains is safe"
        elif code == sqlite3.SQLITE_NOTADB:
            words = f"{path} is not a {kind.name}, or its header is damaged"
        elif code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            words = f"{path} cannot be opened for this ({error})"
        elif code == sqlite3.SQLITE_IOERR:
            words = f"{path} cannot be read or written ({error}, {error.sqlite_errorname})"
        else:
            words = f"{path} is damaged ({error})"
        raise JournalError(words) from error
    except PushcoreError:
        raise
    except kind.damage as error:
        why = str(error) if isinstance(error, DamagedError) else type(error).__name__
        raise JournalError(f"{path} is damaged ({why})") from error


class Database:
    """An open file of one kind. Every method raises `JournalError`.

    Args:
        path: of the file.
        kind: what it must be.
        mode: SQLite's: "ro" to read it, "rw" to write it, "rwc" to create it if there is none.
        wait: seconds to wait for a lock.
    """

    def __init__(self, path: str, kind: FileKind, mode: Literal["ro", "rw", "rwc"], *, wait: float) -> None:
        if not os.path.isfile(path):
            if os.path.exists(path):
                raise JournalError(f"{path} is not a {kind.name}: it is a directory, a pipe or a device")
            if mode != "rwc":
                raise JournalError(f"there is no {kind.name} {path}")
        self.path = path
        self.kind = kind
        uri = f"file:{urllib.parse.quote(os.fsencode(os.path.abspath(path)))}?mode={mode}"
        with explained(path, kind):
            # The thread that writes, or collects, is not the one that opens it; they never use it at the same time.
            self.sql = sqlite3.connect(
                uri, timeout=wait, isolation_level=None, check_same_thread=False, uri=True
            )
        self.files = DatabaseFiles(path)

    def check_kind(self) -> None:
        """Raise an error unless it is of its kind and of this version."""
        kind = self.kind
        with explained(self.path, kind):
            (application,) = self.sql.execute("pragma application_id").fetchone()
            (version,) = self.sql.execute("pragma user_version").fetchone()
            (tables,) = self.sql.execute("select count(*) from sqlite_master").fetchone()
        if not application and not tables:
            raise JournalError(
                f"{self.path} is empty: the process that created it was ended before it sent anything, or its content was removed later. "
                "If nothing was sent, delete it and start the campaign again"
            )
        if application != kind.application:
            raise JournalError(f"{self.path} is not a {kind.name} of pushcore")
        if version != kind.version:
            raise JournalError(
                f"{self.path} was written by another version of pushcore: its format is {version}, this version reads {kind.version}"
            )

    def verify(self) -> None:
        """Read all of it, and raise an error if it is damaged."""
        with explained(self.path, self.kind):
            (answer,) = self.sql.execute("pragma quick_check(1)").fetchone()
        if answer != "ok":
            raise JournalError(f"{self.path} is damaged ({' '.join(answer.split())})")

    def use_log(self, synchronous: Literal["normal", "full"]) -> None:
        """Write through a log, so that other processes can read meanwhile. "full": a commit is on the disk when it returns."""
        (mode,) = self.sql.execute("pragma journal_mode = wal").fetchone()
        if mode != "wal":
            raise JournalError(
                f"{self.path} is on a file system without shared memory, which a {self.kind.name} needs"
            )
        self.sql.execute(f"pragma synchronous = {synchronous}")

    def check_there(self) -> None:
        """Raise an error if the file was truncated, or if it was removed, renamed or replaced: then it is written again."""
        if not self.files.are_there:
            raise JournalError(self.write_again())
        self.files.check_file()

    def write_again(self) -> str:
        """Write a file that was removed, renamed or replaced, and is still open, again.

        If another file has its name, the new one has the same name and `SAVED`. A directory that is gone is made again.

        Returns:
            What happened, in words.
        """
        replaced = os.path.lexists(self.path)
        path = self.path + SAVED if replaced else self.path
        with explained(self.path, self.kind):
            if self.sql.in_transaction:
                self.sql.execute("rollback")
            with contextlib.suppress(OSError):  # then the next line says so
                os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            copy = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self.sql.backup(copy)
            except BaseException:
                copy.close()
                raise
            self.sql.close()
            if replaced:
                self.files.remove_log()
            self.files.close()
            self.sql, self.files = copy, DatabaseFiles(path)
        before, self.path = self.path, path
        if replaced:
            return f"{before} was replaced by another file while it was written; its content is in {path}"
        return f"{path} was removed or renamed while it was written, and was written again"

    def put_away(self) -> None:
        """If no other process has it open, move the content of the log into the file, and delete the log: then it can be read from a
        directory that cannot be written."""
        with contextlib.suppress(sqlite3.Error):
            if self.sql.in_transaction:
                self.sql.execute("rollback")
            self.files.close()  # Windows does not delete an open file
            self.sql.execute("pragma synchronous = full")
            self.sql.execute("pragma busy_timeout = 0")
            self.sql.execute("pragma journal_mode = delete")

    def close(self) -> None:
        """Close it as it is."""
        self.sql.close()
        self.files.close()
