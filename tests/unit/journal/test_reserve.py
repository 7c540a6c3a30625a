"""The reserve: space, a lock, and a note that is believed only if it is whole and of the same campaign."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pushcore.errors import JournalError
from pushcore.journal.reserve import RESERVE, Reserve, reserve_of


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "j.db")


@pytest.fixture
def killed(path: str) -> Path:
    """What a process has left whose second run had got to row 77."""
    reserve = Reserve(path)
    assert reserve.keep("camp") == (0, 0)
    reserve.note("camp", 1, 70)
    reserve.note("camp", 2, 77)
    copy = Path(reserve_of(path)).read_bytes()
    reserve.close()
    Path(reserve_of(path)).write_bytes(copy)
    return Path(reserve_of(path))


def kept(path: str, campaign_id: str = "camp") -> tuple[int, int]:
    reserve = Reserve(path)
    noted = reserve.keep(campaign_id)
    reserve.close()
    return noted


def test_the_note_of_a_killed_process_is_read_and_stays_until_the_next(path: str, killed: Path) -> None:
    assert killed.stat().st_size == RESERVE
    reserve = Reserve(path)
    assert reserve.keep("camp") == (2, 77)
    again = killed.read_bytes()
    reserve.close()
    assert not killed.exists()
    killed.write_bytes(again)
    assert kept(path) == (2, 77)


def test_a_note_of_another_campaign_is_none(path: str, killed: Path) -> None:
    assert kept(path, "other") == (0, 0)


@pytest.mark.parametrize("change", range(4))
def test_a_damaged_note_is_none(path: str, killed: Path, change: int) -> None:
    note = killed.read_bytes()
    killed.write_bytes((b"", note[:8], note.replace(b"77", b"78"), b"\xff" * 300)[change])
    assert kept(path) == (0, 0)


def test_there_is_one_writer(path: str) -> None:
    first = Reserve(path)
    first.keep("camp")
    with pytest.raises(JournalError, match=r"j\.db is in use by another process"):
        Reserve(path).keep("camp")
    first.close()
    assert kept(path) == (0, 0)


def test_it_is_done_without(path: str) -> None:
    os.mkdir(reserve_of(path))
    reserve = Reserve(path)
    assert reserve.keep("camp") == (0, 0)
    reserve.note("camp", 1, 1)
    reserve.close()


def test_space_that_was_given_up_stays_free(path: str) -> None:
    reserve = Reserve(path)
    reserve.keep("camp")
    reserve.give_up()
    reserve.note("camp", 1, 5)
    assert not os.path.exists(reserve_of(path))
    reserve.close()
