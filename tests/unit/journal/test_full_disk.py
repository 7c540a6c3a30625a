"""A journal on a full disk, or whose file may not grow: a sentence, and what was sent is written all the same."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pushcore.errors import JournalError
from pushcore.journal import store as journal_store
from pushcore.journal.format import BLOCK
from pushcore.journal.journal import Journal, JournalView

from .support import SOURCE, accepted, create, killed, pushes, run_python

FILL = """
import resource, sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal
sys.path.insert(0, sys.argv[2])
from tests.unit.journal.support import accepted, create, pushes
from pushcore.errors import JournalError

journal = create(Path(sys.argv[1]), chunk_size=100)
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
taken = recorded = 0
try:
    for push in journal.pending(pushes(100_000)):
        taken += 1
        journal.record(accepted(push))
        recorded += 1
except JournalError as error:
    print(error)
if sys.argv[3] == "room":
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
try:
    journal.close()
    print("closed")
except JournalError as error:
    print(error)
print(taken)
"""


@pytest.mark.slow
@pytest.mark.parametrize("room", ["room", "none"])
def test_a_file_that_may_not_grow(tmp_path: Path, room: str) -> None:
    path = tmp_path / "j.db"
    process = run_python(FILL, path, Path(__file__).parents[3], room)
    words, closed, taken, *_ = process.communicate(timeout=60)[0].splitlines()
    assert process.returncode == 0
    assert "cannot be read or written" in words or "the disk is full" in words
    with JournalView(path) as view:
        assert view.status().problem == words
    with Journal.open(path, SOURCE) as journal:
        done = [each.row for each in journal.results()]
        if room == "room":  # what the thread could not write, the end could
            assert closed == "closed"
            assert done == list(range(1, int(taken) + 1))
        else:
            assert closed == words
            assert done == list(range(1, len(done) + 1))
            assert int(taken) - len(done) <= 400
        rest = [push.row for push in journal.pending(pushes(int(taken) + 300))]
        assert rest[-1] == int(taken) + 300
        assert len(rest) >= 300 - 200


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a file system of so many KB, where one can be mounted."""
    where = tmp_path / "disk"
    where.mkdir()

    def mount(size: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(where)]
        if (
            os.name != "posix"
            or os.geteuid() != 0
            or subprocess.run(command, capture_output=True, check=False).returncode
        ):
            pytest.skip("a file system can only be mounted by root")
        return where

    yield mount
    if os.path.ismount(where):
        subprocess.run(["umount", str(where)], check=True)


def fill(journal: Journal, taken: list[int]) -> None:
    for push in journal.pending(pushes(100_000)):
        taken.append(push.row)
        journal.record(accepted(push))


def test_a_full_disk(disk: Callable[[int], Path]) -> None:
    """What was answered is written all the same: there is a reserve for that."""
    place = disk(2048)
    path = place / "j.db"
    journal = create(path, chunk_size=100)
    assert sorted(os.listdir(place)) == ["j.db", "j.db-reserve", "j.db-shm", "j.db-wal"]
    taken: list[int] = []
    with pytest.raises(
        JournalError, match=r"the disk is full: .* cannot be written; what it contains is safe"
    ) as error:
        fill(journal, taken)
    journal.close()
    with JournalView(path) as view:
        status = view.status()
        assert [each.row for each in view.results()] == taken
    assert status.ended is not None
    assert status.problem == str(error.value)
    assert os.listdir(place) == ["j.db"]


def test_a_disk_that_was_full_from_the_beginning(disk: Callable[[int], Path], tmp_path: Path) -> None:
    """No reserve: what could not be written is in doubt, and whether the end could be, is chance."""
    path = disk(1024) / "j.db"
    journal = create(path, chunk_size=100)
    assert not os.path.exists(f"{path}-reserve")
    taken: list[int] = []
    with pytest.raises(JournalError, match="the disk is full"):
        fill(journal, taken)
    with pytest.raises(JournalError, match="the disk is full"):
        journal.close()
    with JournalView(path) as view:
        done = [each.row for each in view.results()]
        status = view.status()
    assert (status.ended is None) == (status.problem is None)
    assert done == list(range(1, len(done) + 1))
    assert 0 <= len(taken) - len(done) <= 400
    moved = tmp_path / "moved.db"
    for ending in ("", "-wal"):
        if os.path.exists(f"{path}{ending}"):
            shutil.copyfile(f"{path}{ending}", f"{moved}{ending}")
    with Journal.open(moved, unknown="resend") as journal:
        for push in journal.pending(pushes(BLOCK)):
            journal.record(accepted(push))
    with JournalView(moved) as view:
        assert [each.row for each in view.results()] == list(range(1, BLOCK + 1))


@pytest.mark.slow
def test_the_reserve_is_the_writers(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with create(path) as journal:
        with JournalView(path) as view:
            assert view.running
        with pytest.raises(JournalError, match="in use"):
            Journal.open(path)
        assert os.path.getsize(f"{path}-reserve") >= 1 << 20
        left = killed(journal, tmp_path / "killed.db")
    assert not os.path.exists(f"{path}-reserve")
    with Journal.open(left):
        assert os.path.exists(f"{left}-reserve")
    assert not os.path.exists(f"{left}-reserve")


def test_a_disk_where_no_journal_can_be_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_store, "_TABLES", "create table campaign (id text not null);")
    with pytest.raises(JournalError):
        create(tmp_path / "j.db")
    assert os.listdir(tmp_path) == []
