"""The file under a ledger: which files are ours, and how it is written."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from pushcore.errors import JournalError
from pushcore.queue.ledger_file import LEDGER, create_ledger, open_ledger


def test_a_file_of_ours_is_written_through(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger")
    with contextlib.closing(create_ledger(path, b"info")) as file:
        assert file.sql.execute("pragma synchronous").fetchone() == (2,)
        assert file.sql.execute("pragma journal_mode").fetchone() == ("wal",)
    with contextlib.closing(create_ledger(path, b"other")) as file:  # which exists
        assert file.sql.execute("select info, state from campaign").fetchall() == [(b"info", "running")]


def test_what_is_committed_is_in_the_file_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger")
    with contextlib.closing(create_ledger(path, b"info")) as file:
        file.sql.execute("update campaign set state = 'paused'")
        alone = Path(f"{path}.alone")
        alone.write_bytes(Path(path).read_bytes())  # without the log
    with contextlib.closing(open_ledger(str(alone), "rw")) as file:
        assert file.sql.execute("select state from campaign").fetchone() == ("paused",)


def test_a_file_that_is_only_read_is_not_changed(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger")
    with contextlib.closing(create_ledger(path, b"info")) as file:
        file.put_away()
    before = Path(path).read_bytes()
    with contextlib.closing(open_ledger(path, "ro")) as file:
        assert file.sql.execute("select info from campaign").fetchone() == (b"info",)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            file.sql.execute("update campaign set complete = 1")
    assert Path(path).read_bytes() == before
    assert os.listdir(tmp_path) == ["ledger"]


def test_another_file_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as sql:
        sql.execute("create table t (x)")
    before = path.read_bytes()
    with pytest.raises(JournalError, match="is not a ledger of pushcore"):
        create_ledger(str(path), b"info")
    with pytest.raises(JournalError, match="is not a ledger of pushcore"):
        open_ledger(str(path), "rw")
    assert path.read_bytes() == before
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(JournalError, match=r"other\.db is not a ledger, or its header is damaged"):
        open_ledger(str(path), "rw")
    with pytest.raises(JournalError, match="there is no ledger"):
        open_ledger(str(tmp_path / "none"), "rw")


def test_an_empty_file_is_none_until_it_is_made_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.touch()
    with pytest.raises(JournalError, match="ledger is empty"):
        open_ledger(str(path), "rw")
    create_ledger(str(path), b"info").close()
    open_ledger(str(path), "rw").close()


def test_another_version_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger")
    with contextlib.closing(create_ledger(path, b"info")) as file:
        file.sql.execute(f"pragma user_version = {LEDGER.version + 1}")
    with pytest.raises(JournalError, match=f"its format is {LEDGER.version + 1}, this version reads"):
        open_ledger(path, "rw")
