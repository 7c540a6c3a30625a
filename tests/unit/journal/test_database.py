"""`Database`: which files are of a kind, what SQLite says in one sentence, and a file that another program removes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pushcore.errors import JournalError
from pushcore.journal.database import SAVED, Database, FileKind, explained
from pushcore.journal.rows import DamagedError
from pushcore.queue.errors import ChunkError

KIND = FileKind(name="list", application=77, version=3, damage=(DamagedError, ValueError))


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Database]:
    """A file of the kind with one row."""
    file = Database(str(tmp_path / "x.db"), KIND, "rwc", wait=1.0)
    file.sql.executescript("pragma application_id = 77; pragma user_version = 3; create table t (x)")
    file.use_log("full")
    file.sql.execute("insert into t values (1)")
    yield file
    file.close()


def rows(path: str) -> list[int]:
    with contextlib.closing(Database(path, KIND, "ro", wait=1.0)) as file:
        file.check_kind()
        return [row for (row,) in file.sql.execute("select x from t")]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_BUSY, "x.db is in use by another process"),
        (sqlite3.SQLITE_FULL, "the disk is full: x.db cannot be written; what it contains is safe"),
        (sqlite3.SQLITE_NOTADB, "x.db is not a list, or its header is damaged"),
        (sqlite3.SQLITE_READONLY, "x.db cannot be opened for this (odd)"),
        (sqlite3.SQLITE_READONLY | 8 << 8, "x.db cannot be opened for this (odd)"),  # with an extended code
        (sqlite3.SQLITE_IOERR_WRITE, "x.db cannot be read or written (odd, SQLITE_IOERR_WRITE)"),
        (sqlite3.SQLITE_CORRUPT, "x.db is damaged (odd)"),
    ],
)
def test_an_error_of_sqlite_is_one_sentence(code: int, words: str) -> None:
    error = sqlite3.OperationalError("odd")
    error.sqlite_errorcode, error.sqlite_errorname = code, "SQLITE_IOERR_WRITE"
    with pytest.raises(JournalError) as raised, explained("x.db", KIND):
        raise error
    assert str(raised.value) == words
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    ("error", "words"),
    [(DamagedError("a row"), "a row"), (UnicodeDecodeError("utf-8", b"", 0, 1, ""), "UnicodeDecodeError")],
)
def test_a_value_that_no_such_file_has_is_damage(error: Exception, words: str) -> None:
    with pytest.raises(JournalError) as raised, explained("x.db", KIND):
        raise error
    assert str(raised.value) == f"x.db is damaged ({words})"


@pytest.mark.parametrize("error", [ChunkError("a chunk"), JournalError("a journal"), KeyError("x")])
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, explained("x.db", KIND):
        raise error
    assert raised.value is error


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, mode, words in (
        ("none", "rw", f"there is no list {tmp_path}/none"),
        ("pipe", "rwc", "pipe is not a list: it is a directory, a pipe or a device"),
        ("", "ro", "is not a list: it is a directory, a pipe or a device"),
    ):
        with pytest.raises(JournalError, match=words):
            Database(str(tmp_path / name), KIND, mode, wait=1.0)  # type: ignore[arg-type]  # a mode
    with pytest.raises(JournalError, match="is not a list: it is a directory, a pipe or a device"):
        Database("/dev/full", KIND, "rwc", wait=1.0)
    with pytest.raises(JournalError, match="cannot be opened for this"):
        Database(str(tmp_path / "no" / "x.db"), KIND, "rwc", wait=1.0)


def test_names_that_mean_something_else_to_sqlite_are_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (":memory:", "file:x?mode=memory", "x?mode=memory#y"):
        with contextlib.closing(Database(name, KIND, "rwc", wait=1.0)) as file:
            file.sql.execute("create table t (x)")
        assert os.path.getsize(name)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("", "x.db is empty: the process that created it was ended before it sent anything"),
        ("create table t (x)", "x.db is not a list of pushcore"),
        ("pragma application_id = 77; pragma user_version = 4", "its format is 4, this version reads 3"),
    ],
)
def test_a_file_of_another_kind_or_version_is_refused(script: str, words: str, tmp_path: Path) -> None:
    with contextlib.closing(Database(str(tmp_path / "x.db"), KIND, "rwc", wait=1.0)) as file:
        file.sql.executescript(script)
        with pytest.raises(JournalError, match=words):
            file.check_kind()


def test_a_file_system_without_shared_memory_is_named(
    made: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There SQLite stays with the old kind of log."""
    answer = SimpleNamespace(fetchone=lambda: ("delete",))
    monkeypatch.setattr(made, "sql", SimpleNamespace(execute=lambda words: answer))
    with pytest.raises(JournalError, match="on a file system without shared memory, which a list needs"):
        made.use_log("full")
    monkeypatch.undo()


def test_a_removed_file_is_written_again(made: Database) -> None:
    made.check_there()
    os.unlink(made.path)
    with pytest.raises(
        JournalError, match=r"x\.db was removed or renamed while it was written, and was written again"
    ):
        made.check_there()
    made.check_there()
    assert rows(made.path) == [1]


def test_a_replaced_file_is_written_under_another_name(made: Database) -> None:
    Path(f"{made.path}.other").write_bytes(b"token\n" * 1000)
    path = made.path
    os.replace(f"{path}.other", path)
    with pytest.raises(
        JournalError, match=r"was replaced by another file .* its content is in .*x\.db\.saved"
    ):
        made.check_there()
    assert rows(path + SAVED) == [1]
    assert Path(path).read_bytes() == b"token\n" * 1000


def test_a_file_that_is_put_away_has_no_log(made: Database, tmp_path: Path) -> None:
    assert os.path.exists(f"{made.path}-wal")
    made.put_away()
    assert os.listdir(tmp_path) == ["x.db"]
    assert rows(made.path) == [1]
