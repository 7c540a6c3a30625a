"""The SQLite file of a ledger: its tables, how it is opened, and its errors.

Several processes may write a ledger: one collects results, others change the state of the campaign. Each commit is moved from the log into
the file at once, so that it is safe if another program removes or truncates the log.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Final, Literal

from ..journal.database import Database, FileKind, explained

LEDGER: Final = FileKind(
    name="ledger",
    application=0x7075736C,  # "pusl"
    version=1,
    damage=(ValueError, TypeError, LookupError, OverflowError),
)
WAIT: Final = 5.0
"""Seconds to wait for a lock."""

_TABLES: Final = """
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


def create_ledger(path: str, info: bytes) -> Database:
    """Open the file of a ledger; if there is none, or it is empty, make it for the campaign with this description. Raises `JournalError`."""
    return _checked(Database(path, LEDGER, "rwc", wait=WAIT), "rwc", info)


def open_ledger(path: str, mode: Literal["ro", "rw"]) -> Database:
    """Open the file of an existing ledger. Raises `JournalError`."""
    return _checked(Database(path, LEDGER, mode, wait=WAIT), mode)


def _checked(file: Database, mode: str, info: bytes | None = None) -> Database:
    try:
        if info is not None:
            with explained(file.path, LEDGER):
                _lay_out(file.sql, info)
        file.check_kind()
        if mode != "ro":
            with explained(file.path, LEDGER):
                file.use_log("full")
                file.sql.execute("pragma wal_autocheckpoint = 1")
    except BaseException:
        file.close()
        raise
    return file


def _lay_out(sql: sqlite3.Connection, info: bytes) -> None:
    sql.execute("begin immediate")
    (application,) = sql.execute("pragma application_id").fetchone()
    (tables,) = sql.execute("select count(*) from sqlite_master").fetchone()
    if not application and not tables:
        for statement in _TABLES.split(";"):
            sql.execute(statement)
        sql.execute("insert into campaign values (?, ?, 0, 0, 'running', 0, '[]', 0)", (info, time.time()))
        sql.execute(f"pragma application_id = {LEDGER.application}")
        sql.execute(f"pragma user_version = {LEDGER.version}")
    sql.execute("commit")
