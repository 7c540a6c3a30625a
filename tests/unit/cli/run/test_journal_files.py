"""A campaign of several processes continues without the journal of one of them, and nothing is sent twice without a word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pushcore.audience.audience import Audience
from pushcore.audience.shards import CHUNK_ROWS
from pushcore.cli.run.journal_files import count_rows, files, is_lost, shard_path
from pushcore.cli.run.journals import CampaignProgress, JournalPlan, views
from pushcore.errors import JournalError
from pushcore.journal.journal import JournalView
from pushcore.results import Verdict

from .scripted import audience_of
from .test_journals import begin, note_all

ROWS = 3 * CHUNK_ROWS + 5
"""Of two processes the first one has two chunks, and the second one has one and the rest."""


def test_the_first_journal_has_the_campaigns_name_and_the_others_a_number() -> None:
    assert [shard_path("c.db", number) for number in range(3)] == ["c.db", "c.db.1", "c.db.2"]
    assert files("c.db", 1) == ("c.db.1", "c.db.1-wal", "c.db.1-shm", "c.db.1-reserve")


def test_a_journal_without_content_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    assert is_lost(str(path))
    path.touch()
    assert is_lost(str(path))
    path.write_bytes(b"something")
    assert not is_lost(str(path))


def test_rows_are_counted_whether_they_are_valid_or_not(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("token\n" + "a" * 64 + "\nonly,too,many\n\n" + "b" * 64 + "\n")
    assert count_rows(str(path)) == 3


@pytest.fixture
def plan(tmp_path: Path) -> JournalPlan:
    """A campaign of two processes that was stopped before its end."""
    audience = audience_of(tmp_path, ROWS)
    made = begin(tmp_path, 2, audience)
    note_all(made, audience, ROWS, upto=CHUNK_ROWS + 3)
    return made


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("empty", [False, True])
def test_a_lost_journal_is_named_and_made_again_only_with_force(
    plan: JournalPlan, number: int, empty: bool
) -> None:
    name = shard_path(plan.path, number)
    os.unlink(name)
    if empty:
        Path(name).touch()
    for look in (CampaignProgress.of, lambda path: JournalPlan.resume(path, "report", force=False)):
        with pytest.raises(JournalError, match=rf"{name} is missing or empty: .*resume .*c\.db --force"):
            look(plan.path)
    again = JournalPlan.resume(plan.path, "report", force=True)
    assert again.parts == 2
    audience = str(plan.options["audience"])
    with Audience(audience) as source, again.open(number, source, audience) as journal:
        assert list(journal.pending(_Numbered(row) for row in range(1, ROWS + 1))) == []
        journal.finish()
    with JournalView(name) as view:
        doubtful = [outcome.row for outcome in view.results(Verdict.UNKNOWN)]
        assert view.campaign.shard == number
        assert view.status().complete
    chunks = (range(1, CHUNK_ROWS + 1), range(2 * CHUNK_ROWS + 1, 3 * CHUNK_ROWS + 1))
    own = [row for chunk in chunks for row in chunk]
    assert doubtful == (own if number == 0 else [row for row in range(1, ROWS + 1) if row not in own])


class _Numbered:
    platform = "apns"

    def __init__(self, row: int) -> None:
        self.row = row
        self.token = f"t{row}"


def test_of_a_lost_journal_every_row_is_sent_again_if_that_is_wanted(plan: JournalPlan) -> None:
    os.unlink(shard_path(plan.path, 1))
    again = JournalPlan.resume(plan.path, "resend", force=True, audience=str(plan.options["audience"]))
    audience = str(plan.options["audience"])
    with Audience(audience) as source, again.open(1, source, audience) as journal:
        rows = [push.row for push in journal.pending(_Numbered(row) for row in range(1, ROWS + 1))]
    assert len(rows) == CHUNK_ROWS + 5


def test_nothing_is_made_where_all_are_lost_or_none(plan: JournalPlan) -> None:
    before = [Path(name).read_bytes() for name in plan.paths]
    JournalPlan.resume(plan.path, "report", force=True)
    assert [Path(name).read_bytes() for name in plan.paths] == before
    for name in plan.paths:
        os.unlink(name)
    with pytest.raises(JournalError, match="there is no journal"), views(plan.path):
        pass
    with pytest.raises(JournalError, match="there is no journal"):
        JournalPlan.resume(plan.path, "report", force=True)
