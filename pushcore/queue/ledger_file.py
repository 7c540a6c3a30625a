"""The SQLite file of a ledger: its tables, how it is opened, and its errors."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ..errors import JournalError, PushcoreError

APPLICATION: Final = 0x7075736C  # "pusl": the application id in the header of the SQLite file
VERSION: Final = 1
WAIT: Final = 5.0
"""Seconds to wait for a lock."""

TABLES: Final = """
create table campaign (info blob not null, began real not null, complete integer not null, epoch integer not null,
    state text not null, repeats integer not null, tally text not null, strays integer not null);
create table chunk (number integer primary key, first integer not null, rows integer not null, data blob,
    bits blob not null, done integer not null, state integer not null, reason text);
create index open_chunks on chunk (number) where state = 0;
create table part (id integer primary key, number integer not null, block integer not null, bits blob not null,
    blob blob not null);
create index parts_of_chunk on part (number, id);
create table seen (number integer not null, nonce text not null, primary key (number, nonce)) without rowid;
"""


def connect(path: str | os.PathLike[str]) -> sqlite3.Connection:
    """Open the file; it is created if it does not exist."""
    with explain(path):
        sql = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
        try:
            sql.execute("pragma journal_mode = wal")
            sql.execute("pragma synchronous = full")
        except BaseException:
            sql.close()
            raise
    return sql


def check(path: str | os.PathLike[str], sql: sqlite3.Connection) -> None:
    """Raise `JournalError` unless this is a ledger of this version."""
    with explain(path):
        (application,) = sql.execute("pragma application_id").fetchone()
        (version,) = sql.execute("pragma user_version").fetchone()
    if application != APPLICATION:
        raise JournalError(f"{os.fspath(path)} is not a ledger of a campaign")
    if version != VERSION:
        raise JournalError(
            f"{os.fspath(path)} has the format {version} of another version of pushcore, this version reads {VERSION}"
        )


@contextmanager
def explain(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise errors of SQLite, and of decoding its values, as a `JournalError` with one sentence."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        words = {
            sqlite3.SQLITE_BUSY: "is in use by another process",
            sqlite3.SQLITE_FULL: "cannot be written, because the disk is full; its content is safe",
            sqlite3.SQLITE_NOTADB: "is not a ledger of a campaign",
            sqlite3.SQLITE_CANTOPEN: "cannot be opened",
            sqlite3.SQLITE_READONLY: "cannot be written",
        }.get(code, f"is damaged or cannot be used ({error})")
        raise JournalError(f"{os.fspath(path)} {words}") from error
    except PushcoreError:
        raise
    except (ValueError, TypeError, LookupError, OverflowError) as error:  # an invalid value
        raise JournalError(f"{os.fspath(path)} is damaged ({type(error).__name__})") from error
