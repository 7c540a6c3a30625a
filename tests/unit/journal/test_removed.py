"""A journal that is removed, renamed or replaced while it is written: the campaign ends, and it is written anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pushcore.errors import JournalError
from pushcore.journal.journal import Journal, JournalView

from .support import accepted, create, pushes


def interrupted(path: Path, change: Callable[[Path], object]) -> tuple[Journal, int]:
    """A journal whose file `change` takes away in the middle of a campaign, and how many rows were recorded until then."""
    journal = create(path, chunk_size=100)
    recorded: list[int] = []

    def send() -> None:
        for push in journal.pending(pushes(100_000)):
            recorded.append(push.row)
            journal.record(accepted(push))
            if push.row == 500:
                journal.flush()
                change(path)

    with pytest.raises(JournalError, match="was removed or renamed while it was written"):
        send()
    return journal, len(recorded)


def rename(path: Path) -> None:
    path.rename(path.with_name("other.db"))


@pytest.mark.parametrize("change", [Path.unlink, rename])
def test_one_that_is_removed_ends_the_campaign_and_is_written_anew(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    path = tmp_path / "j.db"
    journal, recorded = interrupted(path, change)
    assert recorded < 100_000
    with pytest.raises(JournalError, match=r"j\.db was removed or renamed .*, and was written again"):
        journal.close()
    with JournalView(path) as view:
        assert [outcome.row for outcome in view.results()] == list(range(1, recorded + 1))
        assert "was removed or renamed" in (view.status().problem or "")
        assert not view.running
    with Journal.open(path) as again:
        assert next(iter(again.pending(pushes(100_000)))).row == recorded + 1


def test_a_log_that_is_removed_ends_the_campaign_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal, recorded = interrupted(path, lambda path: os.unlink(f"{path}-wal"))
    journal.close()
    with JournalView(path) as view:
        assert [outcome.row for outcome in view.results()] == list(range(1, recorded + 1))


def test_one_that_is_removed_after_the_last_row_is_told_and_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = create(path)
    for push in journal.pending(pushes(5)):
        journal.record(accepted(push))
    journal.flush()
    journal.finish()
    journal.flush()
    path.unlink()
    with pytest.raises(JournalError, match="was written again"):
        journal.close()
    with JournalView(path) as view:
        assert view.status().complete


def test_one_that_was_replaced_is_kept_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "j.db"

    def replace(path: Path) -> None:
        rename(path)
        path.write_text("mine")

    journal, recorded = interrupted(path, replace)
    with pytest.raises(JournalError, match=r"replaced by another file .* its content is in .*j\.db\.saved"):
        journal.close()
    assert path.read_text() == "mine"
    with JournalView(f"{path}.saved") as view:
        assert len(list(view.results())) == recorded


def test_one_whose_directory_is_gone_is_written_anew_in_another(tmp_path: Path) -> None:
    path = tmp_path / "place" / "j.db"
    path.parent.mkdir()
    journal, recorded = interrupted(path, lambda path: shutil.rmtree(path.parent))
    with pytest.raises(JournalError, match=r"j\.db was removed or renamed .*, and was written again"):
        journal.close()
    with JournalView(path) as view:
        assert len(list(view.results())) == recorded


def test_one_whose_directory_has_become_a_file_is_told(tmp_path: Path) -> None:
    def replace(path: Path) -> None:
        shutil.rmtree(path.parent)
        path.parent.write_bytes(b"")

    (tmp_path / "place").mkdir()
    journal, _ = interrupted(tmp_path / "place" / "j.db", replace)
    with pytest.raises(JournalError, match=r"j\.db cannot be opened"):
        journal.close()
