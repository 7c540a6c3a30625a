"""The journals of a campaign: one for each process, begun, gone on with, discarded, and looked at together."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest

from pushcore.audience.audience import Audience
from pushcore.audience.problems import BadInput
from pushcore.audience.shards import CHUNK_ROWS, Shard
from pushcore.cli.report.tally import REGISTERED_SINCE
from pushcore.cli.run import journals
from pushcore.cli.run.journal_files import files, shard_path
from pushcore.cli.run.journals import CampaignProgress, JournalPlan, RowJournal, views
from pushcore.errors import JournalError
from pushcore.journal.journal import Journal, JournalView, Source, Status, id_prefix
from pushcore.payloads.apns_rows import ApnsRow
from pushcore.queue.pushes import NumberedNotification
from pushcore.results import Result, Verdict

from .scripted import audience_of


def begin(place: Path, parts: int = 1, audience: str = "devices.csv") -> JournalPlan:
    return JournalPlan.begin(str(place / "c.db"), parts, audience, None)


def note_all(plan: JournalPlan, audience: str, rows: int, *, upto: int | None = None) -> None:
    """A run of every part that gives the first `upto` rows an outcome, and reads to the end when that is all."""
    for number in range(plan.parts):
        with Audience(audience) as source, plan.open(number, source, audience) as journal:
            for row in range(1, (rows if upto is None else upto) + 1):
                journal.note(row, f"t{row}", "apns", "odd")
            if upto is None:
                journal.finish()


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_plan_names_all_its_journals_and_files(tmp_path: Path) -> None:
    plan = begin(tmp_path, 2)
    assert plan.paths == [plan.path, f"{plan.path}.1"]
    assert plan.files == [*files(plan.path, 0), *files(plan.path, 1)]
    assert [plan.shard(number) for number in range(2)] == [Shard(0, 2), Shard(1, 2)]
    assert plan.id_prefix == id_prefix(plan.campaign_id)


# --- a new campaign ---------------------------------------------------------------------------------------------------


def test_a_new_campaign_remembers_audience_and_results_by_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = JournalPlan.begin("c.db", 2, "devices.csv", "results.csv")
    assert plan.options == {
        "audience": str(tmp_path / "devices.csv"),
        "results": str(tmp_path / "results.csv"),
    }
    assert (plan.fresh, plan.parts, plan.chunk, plan.before) == (True, 2, CHUNK_ROWS, 0)
    for nowhere in (None, "-"):
        assert "results" not in JournalPlan.begin("c.db", 1, "devices.csv", nowhere).options
    assert len({JournalPlan.begin("c.db", 1, "d", None).campaign_id for _ in range(9)}) == 9


@pytest.mark.parametrize("name", ["c.db", "c.db.1"])
def test_a_name_that_is_taken_is_refused_whichever_part_it_is_of(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(tmp_path / "nowhere")  # which the journal's file would follow
    with pytest.raises(BadInput, match=rf"{name} exists already; `pushcore resume .*c\.db` continues"):
        begin(tmp_path, 2)


def test_a_new_campaigns_journals_know_their_part_and_source(tmp_path: Path) -> None:
    audience = audience_of(tmp_path, 3)
    plan = begin(tmp_path, 2, audience)
    note_all(plan, audience, 3)
    with views(plan.path) as found:
        assert [view.campaign.shard for view in found] == [0, 1]
        assert {view.campaign.shards for view in found} == {2}
        assert {view.campaign_id for view in found} == {plan.campaign_id}
        assert {view.campaign.source for view in found} == {Source.of_file(audience)}
        assert found[1].options == {"audience": audience}


def test_an_audience_that_is_gone_begins_nothing(tmp_path: Path) -> None:
    audience = audience_of(tmp_path, 1)
    plan = begin(tmp_path)
    with Audience(audience) as source:
        os.unlink(audience)
        with pytest.raises(
            BadInput, match=r"cannot be read \(No such file or directory\); expected an audience"
        ):
            plan.open(0, source, audience)
    assert not os.path.exists(plan.path)


def test_only_a_new_journal_is_discarded(tmp_path: Path) -> None:
    audience = audience_of(tmp_path, 1)
    plan = begin(tmp_path, 1, audience)
    with Audience(audience) as source:
        plan.open(0, source, audience).close()
        plan.discard(0)
        assert [each.name for each in tmp_path.iterdir()] == ["devices.csv"]
        plan.discard(0)  # there is nothing any more
        plan.open(0, source, audience).close()
        again = JournalPlan.resume(plan.path, "report", force=False)
        again.discard(0)
    assert os.path.exists(plan.path)


@pytest.mark.parametrize("replaced", [[0], [1], [0, 1]])
def test_journals_that_were_saved_under_other_names_come_together(
    tmp_path: Path, replaced: list[int]
) -> None:
    audience = audience_of(tmp_path, 3)
    plan = begin(tmp_path, 2, audience)
    note_all(plan, audience, 3)
    assert plan.gather() == plan.path
    for number in replaced:
        name = shard_path(plan.path, number)
        os.rename(name, f"{name}.saved")
        Path(name).write_text("another file")
    saved = f"{plan.path}.saved"
    assert plan.gather() == saved
    assert CampaignProgress.of(saved).complete
    assert [Path(shard_path(plan.path, number)).read_text() for number in replaced] == ["another file"] * len(
        replaced
    )


def test_journals_stay_where_they_are_if_one_was_not_saved(tmp_path: Path) -> None:
    audience = audience_of(tmp_path, 3)
    plan = begin(tmp_path, 2, audience)
    note_all(plan, audience, 3)
    Path(shard_path(plan.path, 1)).write_text("another file")
    assert plan.gather() == plan.path
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.db", "c.db.1", "devices.csv"]


def test_a_journal_that_cannot_be_moved_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audience = audience_of(tmp_path, 3)
    plan = begin(tmp_path, 2, audience)
    note_all(plan, audience, 3)
    os.rename(plan.path, f"{plan.path}.saved")

    def refuse(*names: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(
        JournalError, match=r"c\.db\.1 cannot be renamed to .*c\.db\.saved\.1 \(Operation not"
    ):
        plan.gather()


@pytest.mark.parametrize("changed", [False, True])
def test_parquet_is_complete_only_when_it_was_read_to_its_end_unchanged(
    tmp_path: Path, changed: bool
) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    audience = tmp_path / "d.parquet"
    parquet.write_table(arrow.table({"token": [f"{row:064x}" for row in range(3)]}), audience)
    plan = begin(tmp_path, 1, str(audience))
    with (
        Audience(str(audience)) as source,
        plan.open(0, source, str(audience)) as journal,
        contextlib.suppress(OSError),
    ):
        for row, _ in source.records(lambda *bad: None):
            journal.note(row, f"t{row}", "apns", "odd")
            if changed:
                os.utime(audience, ns=(row, row))
        journal.finish()
    with views(plan.path) as found:
        status = found[0].status()
    assert (status.done, status.complete, status.rows) == (3, not changed, None if changed else 3)
    progress = CampaignProgress.of(plan.path)
    assert (progress.complete, progress.rows) == (not changed, None if changed else 3)


@pytest.mark.parametrize("parts", [1, 2])
def test_the_rows_of_parquet_are_known_while_they_are_read(tmp_path: Path, parts: int) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    audience = tmp_path / "d.parquet"
    parquet.write_table(arrow.table({"token": [f"{row:064x}" for row in range(30)]}), audience)
    plan = begin(tmp_path, parts, str(audience))
    with Audience(str(audience)) as source, contextlib.ExitStack() as stack:
        journals = [stack.enter_context(plan.open(number, source, str(audience))) for number in range(parts)]
        for row in range(1, 6):
            journals[0].note(row, f"t{row}", "apns", "odd")
    progress = CampaignProgress.of(plan.path)
    assert (progress.rows, progress.done, progress.complete) == (30, 5, False)
    assert progress.started <= 30


# --- one that goes on -------------------------------------------------------------------------------------------------


def test_a_campaign_goes_on_with_what_its_journals_say(tmp_path: Path) -> None:
    rows = 2 * CHUNK_ROWS
    audience = audience_of(tmp_path, rows)
    first = begin(tmp_path, 2, audience)
    note_all(first, audience, rows, upto=CHUNK_ROWS + 5)
    plan = JournalPlan.resume(first.path, "resend", force=True)
    assert (plan.campaign_id, plan.options) == (first.campaign_id, first.options)
    assert (plan.fresh, plan.parts, plan.chunk, plan.before) == (False, 2, CHUNK_ROWS, CHUNK_ROWS + 5)
    assert (plan.unknown, plan.force) == ("resend", True)
    with Audience(audience) as source, plan.open(1, source, audience) as journal:
        assert journal.campaign.shard == 1
        assert journal.status().runs == 2


@pytest.mark.parametrize("force", [False, True])
def test_a_changed_audience_goes_on_only_by_force(tmp_path: Path, force: bool) -> None:
    audience = audience_of(tmp_path, 3)
    note_all(begin(tmp_path, 1, audience), audience, 3, upto=1)
    audience_of(tmp_path, 4)
    plan = JournalPlan.resume(str(tmp_path / "c.db"), "report", force=force)
    with Audience(audience) as source:
        if force:
            plan.open(0, source, audience).close()
        else:
            with pytest.raises(JournalError, match=r"had \d+ bytes when the campaign began"):
                plan.open(0, source, audience)


# --- looking ----------------------------------------------------------------------------------------------------------


def test_a_part_that_is_not_the_first_names_the_first(tmp_path: Path) -> None:
    audience = audience_of(tmp_path, 3)
    note_all(begin(tmp_path, 2, audience), audience, 3)
    with (
        pytest.raises(JournalError, match=r"is part 2 of the 2 of a campaign; expected the first"),
        views(str(tmp_path / "c.db.1")),
    ):
        pass


def test_a_missing_part_and_one_of_another_campaign_are_told(tmp_path: Path) -> None:
    audience = audience_of(tmp_path, 3)
    note_all(begin(tmp_path, 2, audience), audience, 3)
    first, second = str(tmp_path / "c.db"), str(tmp_path / "c.db.1")
    os.rename(second, tmp_path / "away")
    with pytest.raises(JournalError, match=r"c\.db\.1 is missing or empty"), views(first):
        pass
    RowJournal.create(second, Source("a"), campaign_id="other", shard=1, shards=2).close()
    with pytest.raises(JournalError, match=r"c\.db\.1 is not of the same campaign as"), views(first):
        pass
    os.rename(tmp_path / "away", second)
    with views(first) as found:
        assert len(found) == 2


def status(**changes: Any) -> Status:
    values: dict[str, Any] = {
        **{"campaign_id": "c", "rows": 10, "started": 5, "done": 4, "tally": Counter(), "repeats": 1},
        **{"cut_short": 0, "runs": 1, "began": 0.0, "updated": 1.0, "ended": 2.0, "problem": None},
        **{"run_began": 0.0, "run_done": 0},
    }
    return Status(**{**values, **changes})


def of(*statuses: Status, running: bool = False) -> CampaignProgress:
    return CampaignProgress("c.db", "c", {}, statuses, running)


def test_the_figures_of_all_parts_are_added_up() -> None:
    tally = Counter({("apns", "ACCEPTED", ""): 3})
    found = of(status(tally=tally), status(done=10, tally=tally + Counter({("fcm", "INVALID", "x"): 1})))
    assert (found.rows, found.started, found.done, found.repeats) == (20, 10, 14, 2)
    assert found.tally == {("apns", "ACCEPTED", ""): 6, ("fcm", "INVALID", "x"): 1}
    assert not found.complete
    assert of(status(done=10), status(done=10)).complete


def test_the_number_of_rows_is_known_when_every_part_knows_its_own() -> None:
    assert of(status(), status(rows=None)).rows is None
    assert of(status(), status(rows=0)).rows == 10


@pytest.mark.parametrize(
    ("ended", "running", "cut_short"), [(2.0, False, False), (None, False, True), (None, True, False)]
)
def test_a_run_that_did_not_say_how_it_ended_was_cut_short(
    ended: float | None, running: bool, cut_short: bool
) -> None:
    assert of(status(), status(ended=ended), running=running).cut_short is cut_short


def test_each_reason_to_end_early_is_told_once_and_none_while_it_runs() -> None:
    parts = status(problem="full"), status(), status(problem="full"), status(problem="told to stop")
    assert of(*parts).problems == ["full", "told to stop"]
    assert of(*parts, running=True).problems == []


def test_progress_is_read_from_the_disk_also_while_it_runs(tmp_path: Path) -> None:
    audience = audience_of(tmp_path, 3)
    plan = begin(tmp_path, 1, audience)
    with Audience(audience) as source, plan.open(0, source, audience) as journal:
        journal.note(1, "t", "apns", "odd")
        journal.flush()
        found = CampaignProgress.of(plan.path)
        assert (found.running, found.done, found.rows, found.campaign_id) == (True, 1, None, plan.campaign_id)
    found = CampaignProgress.of(plan.path)
    assert (found.running, found.cut_short, found.options) == (False, False, {"audience": audience})


def test_a_run_between_two_commits_is_not_taken_for_one_that_was_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audience = audience_of(tmp_path, 3)
    note_all(begin(tmp_path, 1, audience), audience, 3)
    looks = [False, False, True]
    pauses: list[float] = []

    class View(JournalView):
        running = cast(bool, property(lambda self: looks.pop(0)))

        def status(self) -> Status:
            return status(ended=None)

    monkeypatch.setattr(journals, "JournalView", View)
    monkeypatch.setattr(time, "sleep", pauses.append)
    assert CampaignProgress.of(str(tmp_path / "c.db")).running
    assert pauses == [journals.INSTANT] * 2


# --- rows that say when their devices were registered -----------------------------------------------------------------


def test_a_dead_token_that_was_registered_since_is_recorded_as_one_to_keep(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with RowJournal.create(path, Source("a")) as journal:
        for row, since in ((1, 1_700_000_001), (2, 1_699_999_999)):
            push = ApnsRow(row, "aa", b"{}", None, "alert", None, None, None, "id")
            push.registered_at = since
            assert journal.admit(push)
            gone = Result(
                push, Verdict.UNREGISTERED, 410, 1, "id", reason="Unregistered", timestamp=1_700_000_000.0
            )
            journal.record(gone)
    with Journal.read(path) as view:
        assert [each.reason for each in view.results()] == [REGISTERED_SINCE, "Unregistered"]


@pytest.mark.parametrize("rows", [1, 999, 1000, 1001, 1750])
@pytest.mark.parametrize("shards", [1, 2])
def test_a_campaign_that_was_killed_has_no_more_rows_than_its_audience(
    tmp_path: Path, rows: int, shards: int
) -> None:
    """Rows are leased before they are read."""
    audience = tmp_path / "devices.csv"
    audience.write_text("token\n" + "".join(f"{row:064x}\n" for row in range(1, rows)) + '"bad"row\n')
    source = Source.of_file(audience)
    (tmp_path / "killed").mkdir()
    path = str(tmp_path / "killed" / "c.db")
    for number in range(shards):
        name = f"c.db.{number}" if number else "c.db"
        journal = RowJournal.create(
            tmp_path / name, source, campaign_id="c", chunk_size=1000, shard=number, shards=shards
        )
        own = [row for row in range(1, rows) if journal.campaign.owns(row)]
        for push in journal.pending(NumberedNotification(row, f"{row:064x}", b"{}") for row in own):
            journal.record(Result(push, Verdict.ACCEPTED, 200, 1))
        journal.flush()
        for ending in ("", "-wal"):
            shutil.copyfile(tmp_path / f"{name}{ending}", tmp_path / "killed" / f"{name}{ending}")
        with JournalView(tmp_path / "killed" / name) as view:
            assert view.status().rows is None
        journal.close()
    progress = CampaignProgress.of(path)
    assert (progress.rows, progress.cut_short, progress.complete) == (rows, True, False)
    assert progress.done == rows - 1
    assert progress.done <= progress.started <= rows
    audience.write_text("token\n00\n")  # another one now, which tells nothing
    assert CampaignProgress.of(path).rows is None
