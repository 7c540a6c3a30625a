"""The file under a ledger: which files are ours, and what SQLite says in one sentence."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pushcore.errors import JournalError
from pushcore.queue.errors import ChunkError
from pushcore.queue.ledger_file import APPLICATION, TABLES, VERSION, check, connect, explain


def test_a_file_of_ours_passes_and_is_written_through(tmp_path: Path) -> None:
    sql = connect(tmp_path / "ledger")
    sql.executescript(f"pragma application_id = {APPLICATION}; pragma user_version = {VERSION}; {TABLES}")
    check(tmp_path / "ledger", sql)
    assert sql.execute("pragma synchronous").fetchone() == (2,)
    assert sql.execute("pragma journal_mode").fetchone() == ("wal",)
    sql.close()


@pytest.mark.parametrize(
    ("application", "version", "words"),
    [(0, 1, "is not a ledger of a campaign"), (APPLICATION, VERSION + 1, "format 2 of another version")],
)
def test_another_file_is_refused(application: int, version: int, words: str, tmp_path: Path) -> None:
    sql = connect(tmp_path / "ledger")
    sql.executescript(f"pragma application_id = {application}; pragma user_version = {version}")
    with pytest.raises(JournalError, match=words):
        check(tmp_path / "ledger", sql)
    sql.close()


def test_a_foreign_file_and_a_missing_one_are_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no database at all" * 100)
    with pytest.raises(JournalError, match="text is not a ledger of a campaign"):
        connect(tmp_path / "text")
    with pytest.raises(JournalError, match="cannot be opened"):
        connect(tmp_path / "no" / "ledger")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_BUSY, "is in use by another process"),
        (sqlite3.SQLITE_FULL, "the disk is full; its content is safe"),
        (sqlite3.SQLITE_READONLY, "cannot be written"),
        (sqlite3.SQLITE_READONLY | 8 << 8, "cannot be written"),  # with an extended code
        (sqlite3.SQLITE_CORRUPT, "is damaged or cannot be used"),
    ],
)
def test_an_error_of_sqlite_is_one_sentence_with_the_file(code: int, words: str) -> None:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    with pytest.raises(JournalError, match=words) as caught, explain("the/ledger"):
        raise error
    assert str(caught.value).startswith("the/ledger ")
    assert caught.value.__cause__ is error


def test_a_value_that_no_ledger_has_is_damage() -> None:
    for error in (ValueError("x"), TypeError("x"), KeyError("x"), OverflowError("x")):
        with pytest.raises(JournalError, match="x is damaged"), explain("x"):
            raise error


def test_other_errors_pass() -> None:
    with pytest.raises(ChunkError), explain("x"):
        raise ChunkError("a chunk")
    with pytest.raises(RuntimeError), explain("x"):
        raise RuntimeError("x")
