"""`DatabaseFiles`: changes by other processes are noticed, and an index that was cut gets its size back."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pushcore.errors import JournalError
from pushcore.journal import files as module
from pushcore.journal.files import DatabaseFiles, identity, sync_directory

MOVED = "j.db was removed or renamed while it was written"
CHANGED = "j.db was truncated or overwritten by another process while it was written"


@pytest.fixture
def files(tmp_path: Path) -> Iterator[DatabaseFiles]:
    path = tmp_path / "j.db"
    path.write_bytes(b"journal" * 10)
    (tmp_path / "j.db-wal").write_bytes(bytes(range(100)))
    (tmp_path / "j.db-shm").write_bytes(b"i" * 50)
    with contextlib.closing(DatabaseFiles(str(path))) as made:
        made.sync()
        made.check()
        made.mend_index()
        yield made


def ending(files: DatabaseFiles, kind: str) -> Path:
    return Path(files.path + kind)


def test_files_that_grow_are_as_they_should_be(files: DatabaseFiles) -> None:
    for kind in ("", "-wal", "-shm"):
        with ending(files, kind).open("ab") as file:
            file.write(b"more")
    files.check()
    assert files.are_there
    assert not files.log_is_cut()
    ending(files, "-wal").write_bytes(b"new header" * 20)
    files.sync()  # after a commit of ours that began the log again
    files.check()


def test_a_log_that_cannot_be_read_is_named(files: DatabaseFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(at: int, size: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files, "_read_log", fail)
    with pytest.raises(JournalError, match=r"j\.db-wal cannot be read \(Input/output error\)$"):
        files.check()


def replaced(path: Path) -> None:
    (path.parent / "other").write_bytes(path.read_bytes())
    os.replace(path.parent / "other", path)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("", Path.unlink, MOVED),
        ("", replaced, MOVED),
        ("-wal", Path.unlink, MOVED),
        ("", emptied, CHANGED),
        ("-wal", emptied, CHANGED),
        ("-wal", overwritten, CHANGED),
    ],
)
def test_a_change_by_another_process_is_named(
    files: DatabaseFiles, kind: str, change: Callable[[Path], object], words: str
) -> None:
    change(ending(files, kind))
    with pytest.raises(JournalError, match=words):
        files.check()
    assert files.log_is_cut() == (kind == "-wal" and words == CHANGED)


@pytest.mark.parametrize("kept", [0, 40])
def test_a_log_that_was_cut_just_before_a_commit_has_a_hole(files: DatabaseFiles, kept: int) -> None:
    log = ending(files, "-wal")
    log.write_bytes(b"page" * 3000)
    files.sync()
    os.truncate(log, kept)
    with log.open("r+b") as file:  # as SQLite, which does not know
        file.seek(12_000)
        file.write(b"page" * 1000)
    with pytest.raises(JournalError, match=CHANGED):
        files.sync()
    assert files.log_is_cut()


@pytest.mark.parametrize("size", [0, 20])
def test_an_index_that_was_cut_gets_its_size_back_and_is_none(files: DatabaseFiles, size: int) -> None:
    """Its beginning says whether it can be used, so nothing may be left of it."""
    index = ending(files, "-shm")
    os.truncate(index, size)
    files.mend_index()
    assert index.read_bytes() == bytes(50)
    index.unlink()
    files.mend_index()
    files.clear_index()
    assert not index.exists()


def test_the_log_of_another_journal_is_not_removed(files: DatabaseFiles) -> None:
    replaced(ending(files, "-wal"))
    files.remove_log()
    assert ending(files, "-wal").exists()
    assert ending(files, "-shm").exists()


def test_the_own_log_is_removed_with_its_index(files: DatabaseFiles) -> None:
    files.remove_log()
    assert os.listdir(Path(files.path).parent) == ["j.db"]


def test_a_disk_that_fails_is_an_error_of_the_journal(
    files: DatabaseFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(number: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module, "_sync", fail)
    with pytest.raises(JournalError, match=r"j\.db cannot be written \(Input/output error\)"):
        files.sync()


def test_before_the_first_commit_there_is_no_log(tmp_path: Path) -> None:
    path = str(tmp_path / "j.db")
    files = DatabaseFiles(path)
    assert identity(path) is None
    assert not files.log_is_cut()
    files.remove_log()
    files.close()
    with pytest.raises(JournalError, match="cannot be written"):
        files.sync()
    sync_directory(str(tmp_path / "nowhere" / "j.db"))
