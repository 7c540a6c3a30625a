"""`JournalView`: outcomes in the order of rows whatever order they came in, and counts of one journal of several."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pushcore.errors import JournalError
from pushcore.journal.campaign import CampaignRecord, RunRecord
from pushcore.journal.format import BLOCK, UniformOutcomes, pack
from pushcore.journal.outcome import OutcomeEntry, UncommonOutcome, id_prefix
from pushcore.journal.store import JournalStore
from pushcore.journal.view import JournalView, Status
from pushcore.results import Verdict

from .support import CAMPAIGN, SOURCE

PREFIX = id_prefix(CAMPAIGN)
GONE = UncommonOutcome(("apns", "UNREGISTERED", 410, "Unregistered", 1), 12.5)


def entries(*rows: int, odd: UncommonOutcome | None = None) -> list[OutcomeEntry]:
    return [(row, f"{row:064x}", f"{PREFIX}{row:012x}", 0 if odd is None else odd) for row in rows]


def written(
    tmp_path: Path,
    *parts: list[OutcomeEntry],
    runs: tuple[RunRecord, ...] = (),
    shards: int = 1,
    rows: int | None = None,
) -> JournalView:
    """A journal with these parts, each of one block, and these runs."""
    runs = runs or (RunRecord(1, 10.0, 20.0),)
    campaign = CampaignRecord(CAMPAIGN, 10.0, 10, shards - 1, shards, SOURCE, {"topic": "x"}, rows)
    path = str(tmp_path / "j.db")
    with contextlib.closing(JournalStore.create(path, campaign, replace(runs[0]))) as store:
        store.write(runs[0], [((part[0][0] - 1) // BLOCK, pack(part, PREFIX, {})) for part in parts])
        for run in runs[1:]:
            store.begin(run)
    return JournalView(path)


def test_parts_of_one_kind_become_one_batch_in_the_order_of_rows(tmp_path: Path) -> None:
    with written(tmp_path, entries(2, 5), entries(1, 9), entries(BLOCK + 3)) as view:
        first, second = view.batches()
        assert isinstance(first, UniformOutcomes)
        assert [row for row, _, _ in first.entries] == [1, 2, 5, 9]
        assert isinstance(second, UniformOutcomes)
        assert [row for row, _, _ in second.entries] == [BLOCK + 3]


def test_parts_of_several_kinds_are_merged_in_the_order_of_rows(tmp_path: Path) -> None:
    with written(tmp_path, entries(2, 5), entries(1, 9, odd=GONE)) as view:
        found = list(view.results())
    assert [(each.row, each.verdict) for each in found] == [
        (1, Verdict.UNREGISTERED),
        (2, Verdict.ACCEPTED),
        (5, Verdict.ACCEPTED),
        (9, Verdict.UNREGISTERED),
    ]
    assert (found[0].timestamp, found[1].timestamp) == (12.5, None)
    assert found[3].id == f"{PREFIX}{9:012x}"


def test_one_verdict_leaves_out_all_others(tmp_path: Path) -> None:
    with written(tmp_path, entries(2, 5), entries(1, 9, odd=GONE)) as view:
        assert [each.row for each in view.results(Verdict.UNREGISTERED)] == [1, 9]
        assert [each.row for each in view.results(Verdict.ACCEPTED)] == [2, 5]
        assert list(view.results(Verdict.INVALID)) == []


def test_blocks_without_outcomes_are_passed_over(tmp_path: Path) -> None:
    far = 1000 * BLOCK + 1
    with written(tmp_path, entries(far), entries(1)) as view:
        assert [each.row for each in view.results()] == [1, far]


def test_the_status_is_of_all_runs_and_the_rates_part_of_the_last(tmp_path: Path) -> None:
    tally = Counter({("apns", "ACCEPTED", ""): 6, ("apns", "INVALID", "x"): 1, ("fcm", "INVALID", "y"): 2})
    runs = (
        RunRecord(1, 10.0, 20.0, None, 30, tally=Counter({("apns", "ACCEPTED", ""): 4})),
        RunRecord(2, 40.0, 41.0, 42.0, 25, tally=tally),
        RunRecord(
            3,
            50.0,
            51.0,
            None,
            12,
            repeats=3,
            tally=tally + Counter({("apns", "ACCEPTED", ""): 1}),
            problem="why",
        ),
    )
    with written(tmp_path, runs=runs, rows=20) as view:
        status = view.status()
        assert (view.campaign_id, view.options) == (CAMPAIGN, {"topic": "x"})
        assert not view.running
    assert (status.rows, status.started, status.done, status.complete) == (20, 20, 10, False)
    assert status.verdicts == {"ACCEPTED": 7, "INVALID": 3}
    assert (status.runs, status.cut_short, status.repeats, status.problem) == (3, 1, 3, "why")
    assert (status.began, status.updated, status.ended) == (10.0, 51.0, None)
    assert (status.run_began, status.run_done) == (50.0, 9)


def test_a_journal_of_several_counts_its_own_rows(tmp_path: Path) -> None:
    with written(tmp_path, runs=(RunRecord(1, 10.0, 20.0, upto=37),), shards=2, rows=35) as view:
        status = view.status()
    assert (status.rows, status.started) == (15, 15)


def test_until_the_number_of_rows_is_known_it_is_not_complete(tmp_path: Path) -> None:
    with written(tmp_path, runs=(RunRecord(1, 10.0, 20.0, upto=7),)) as view:
        status = view.status()
    assert (status.rows, status.started, status.complete, status.run_done) == (None, 7, False, 0)


@pytest.mark.parametrize(
    ("rows", "done", "complete"), [(None, 5, False), (5, 4, False), (5, 5, True), (0, 0, True)]
)
def test_it_is_complete_when_every_row_has_an_outcome(rows: int | None, done: int, complete: bool) -> None:
    nothing = (0.0, 0.0, None, None, 0.0, 0)
    assert Status("c", rows, 0, done, Counter(), 0, 0, 1, *nothing).complete is complete


def test_a_damaged_journal_is_reported_at_once(tmp_path: Path) -> None:
    with written(tmp_path):
        pass
    with contextlib.closing(JournalStore.open(str(tmp_path / "j.db"))) as store:
        store._file.sql.execute("delete from campaign")
        store._file.sql.execute("commit")
    with pytest.raises(JournalError, match="is damaged"):
        JournalView(tmp_path / "j.db")
