"""A part of a campaign: its rows, its journal, and what stays of it when nothing was sent."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest

from pushcore.audience.audience import Audience
from pushcore.audience.problems import BadInput
from pushcore.audience.shards import CHUNK_ROWS, Shard
from pushcore.cli.report.results_file import ResultCounter
from pushcore.cli.run.exit_report import ExitReport
from pushcore.cli.run.journals import CampaignProgress, JournalPlan
from pushcore.cli.run.run_plan import RunPlan, nowhere
from pushcore.cli.run.sending import SendingOptions
from pushcore.payloads.template import Template

from .scripted import APNS, ScriptedEngine, audience_of, report_at, template

Engine = type[ScriptedEngine]


def plan_of(
    audience: str, journals: JournalPlan | None = None, processes: int = 1, **changes: Any
) -> RunPlan:
    values: dict[str, Any] = {"clients": APNS, "template": template(), "sending": SendingOptions()}
    return RunPlan(
        audience=audience, journals=journals, processes=processes, quiet=True, **{**values, **changes}
    )


def send(plan: RunPlan, report: Any, number: int = 0, **options: Any) -> ExitReport:
    with Audience(plan.audience) as source:
        return plan.send(source, report, number, **options)


def test_without_a_journal_each_process_sends_its_own_chunks(engine: Engine, tmp_path: Path) -> None:
    plan = plan_of(audience_of(tmp_path, CHUNK_ROWS + 7), processes=2)
    endings = []
    for number, rows in ((0, range(1, CHUNK_ROWS + 1)), (1, range(CHUNK_ROWS + 1, CHUNK_ROWS + 8))):
        endings.append(send(plan, report_at(tmp_path), number))
        with (tmp_path / "results.csv").open(newline="") as file:
            assert [int(row["row"]) for row in csv.DictReader(file)] == list(rows)
    assert [ending.rows for ending in endings] == [CHUNK_ROWS, 7]


def test_with_journals_their_chunks_say_which_rows_are_a_parts(engine: Engine, tmp_path: Path) -> None:
    audience = audience_of(tmp_path, 7)
    journals = JournalPlan(
        path=str(tmp_path / "c.db"), campaign_id="c", fresh=True, parts=2, chunk=2, options={"a": 1}
    )
    plan = plan_of(audience, journals, processes=2)
    totals = [ResultCounter("j"), ResultCounter("j")]
    for number, total in enumerate(totals):
        send(plan, total, number)
    assert [total.counts.total for total in totals] == [4, 3]
    found = CampaignProgress.of(journals.path)
    assert (found.done, found.complete, found.options) == (7, True, {"a": 1})


def test_the_last_moment_before_the_sending_is_told(engine: Engine, tmp_path: Path) -> None:
    told: list[int] = []
    journals = JournalPlan.begin(str(tmp_path / "c.db"), 1, "devices.csv", None)
    plan = plan_of(audience_of(tmp_path, 1), journals)

    def ready() -> None:
        told.append(len(engine.made))
        assert os.path.exists(journals.path)  # nothing can go wrong with it any more

    send(plan, ResultCounter("j"), ready=ready)
    assert told == [0]
    assert len(engine.made) == 1


@pytest.mark.parametrize("error", [BadInput("no"), KeyboardInterrupt(), OSError("no")])
def test_a_new_journal_does_not_stay_when_nothing_was_sent(
    engine: Engine, tmp_path: Path, error: BaseException
) -> None:
    plan = plan_of(
        audience_of(tmp_path, 1), JournalPlan.begin(str(tmp_path / "c.db"), 1, "devices.csv", None)
    )

    def refuse() -> None:
        raise error

    with pytest.raises(type(error)):
        send(plan, ResultCounter("j"), ready=refuse)
    assert [each.name for each in tmp_path.iterdir()] == ["devices.csv"]
    assert engine.made == []


def test_the_journal_of_a_campaign_that_goes_on_stays_when_nothing_was_sent(
    engine: Engine, tmp_path: Path
) -> None:
    audience = audience_of(tmp_path, 1)
    plan = plan_of(audience, JournalPlan.begin(str(tmp_path / "c.db"), 1, audience, None))
    send(plan, ResultCounter("j"))
    again = plan_of(audience, JournalPlan.resume(str(tmp_path / "c.db"), "report", force=False))

    def refuse() -> None:
        raise BadInput("no")

    with pytest.raises(BadInput, match="no"):
        send(again, ResultCounter("j"), ready=refuse)
    assert CampaignProgress.of(str(tmp_path / "c.db")).done == 1
    assert not os.path.exists(tmp_path / "c.db-wal")  # it was closed


def test_columns_that_cannot_be_used_are_told_before_there_is_a_journal(tmp_path: Path) -> None:
    named = Template({"aps": {"alert": "{{name}}"}}, name="p.json")
    journals = JournalPlan.begin(str(tmp_path / "c.db"), 1, "devices.csv", None)
    plan = plan_of(audience_of(tmp_path, 1), journals, template=named)
    with pytest.raises(BadInput, match=r"p\.json: the placeholder"):
        send(plan, ResultCounter("j"))
    assert not os.path.exists(journals.path)


def test_rows_before_there_is_a_report_are_an_error_of_ours(tmp_path: Path) -> None:
    plan = plan_of(audience_of(tmp_path, 0, "bad,row"))
    with Audience(plan.audience) as source, pytest.raises(AssertionError, match="before there is a report"):
        list(plan.rows(source, Shard()))
    with pytest.raises(AssertionError):
        nowhere(1, "token", "reason")


@pytest.mark.parametrize("journaled", [False, True])
def test_an_audience_that_changed_before_the_run_is_not_sent(
    engine: Engine, tmp_path: Path, journaled: bool
) -> None:
    """Processes open it one after the other, and must all read the same rows."""
    audience = audience_of(tmp_path, 3)
    with Audience(audience) as source:
        state = source.state
    os.utime(audience, ns=(0, 0))
    journals = JournalPlan.begin(str(tmp_path / "c.db"), 1, audience, None) if journaled else None
    with pytest.raises(BadInput, match="was changed while the processes started"):
        send(plan_of(audience, journals, audience_state=state), ResultCounter("x"))
    assert not list(tmp_path.glob("c.db*"))


def test_an_audience_that_was_replaced_before_its_journal_began_is_not_sent(
    engine: Engine, tmp_path: Path
) -> None:
    audience = audience_of(tmp_path, 3)
    plan = plan_of(audience, JournalPlan.begin(str(tmp_path / "c.db"), 1, audience, None))
    with Audience(audience) as source:
        os.replace(audience, tmp_path / "old")
        audience_of(tmp_path, 4)
        with pytest.raises(BadInput, match="has been replaced by another file"):
            plan.send(source, ResultCounter("x"))
    assert not list(tmp_path.glob("c.db*"))
