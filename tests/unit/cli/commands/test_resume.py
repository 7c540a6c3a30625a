"""`pushcore resume`: what it takes from the journal, and what the options say instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from pushcore.cli.run.job import Job
from pushcore.cli.run.journals import RowJournal
from pushcore.journal.journal import Source

from .conftest import Run


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that are run, none of which does anything."""
    made: list[Job] = []

    def keep(self: Job) -> int:
        made.append(self)
        return 0

    monkeypatch.setattr(Job, "run", keep)
    return made


def begin(place: Path, options: dict[str, Any], shards: int = 1) -> str:
    """The journals of a campaign that has begun."""
    for shard in range(shards):
        name = place / ("c.db" if shard == 0 else f"c.db.{shard}")
        RowJournal.create(
            name, Source("a"), campaign_id="c", shard=shard, shards=shards, options=options
        ).close()
    return str(place / "c.db")


def test_audience_results_and_processes_are_the_journals(jobs: list[Job], run: Run, tmp_path: Path) -> None:
    path = begin(tmp_path, {"audience": "/a/devices.csv", "results": "/a/r.csv"}, 3)
    assert run("resume", path, "--topic", "com.example.app", "--rate", "5/s") == (0, "", "")
    (job,) = jobs
    assert (job.audience, job.results, job.processes, job.quiet) == ("/a/devices.csv", "/a/r.csv", 3, False)
    assert job.plan is not None
    assert (job.plan.campaign_id, job.plan.fresh, job.plan.force) == ("c", False, False)
    assert (job.sender.topic, job.sending.rate) == ("com.example.app", "5/s")


def test_a_campaign_that_leaves_out_duplicates_goes_on_so(jobs: list[Job], run: Run, tmp_path: Path) -> None:
    run("resume", begin(tmp_path, {"audience": "/a/devices.csv", "unique": True}))
    (tmp_path / "other").mkdir()
    run("resume", begin(tmp_path / "other", {"audience": "/a/devices.csv"}))
    assert [job.unique for job in jobs] == [True, False]


def test_the_command_line_goes_before_the_journal(jobs: list[Job], run: Run, tmp_path: Path) -> None:
    path = begin(tmp_path, {"audience": "/a/devices.csv", "results": "/a/r.csv"})
    run("resume", path, "--audience", "/b/devices.csv", "--results", "/b/r.csv", "--force", "--quiet")
    (job,) = jobs
    assert (job.audience, job.results, job.quiet) == ("/b/devices.csv", "/b/r.csv", True)
    assert job.plan is not None
    assert job.plan.force
    run("resume", path, "--results", "")
    assert jobs[1].results == ""  # a name that is none is the job's to refuse


@pytest.mark.parametrize(
    ("retry", "unknown"), [("none", "report"), ("report", "report"), ("resend", "resend")]
)
def test_rows_in_doubt_are_sent_again_only_with_resend(
    jobs: list[Job], run: Run, tmp_path: Path, retry: str, unknown: str
) -> None:
    run("resume", begin(tmp_path, {"audience": "/a/devices.csv"}), "--retry", retry)
    (job,) = jobs
    assert job.plan is not None
    assert job.plan.unknown == unknown
    assert job.results is None


@pytest.mark.parametrize("options", [{}, {"audience": 5}])
def test_a_journal_that_does_not_know_its_audience_needs_the_option(
    jobs: list[Job], run: Run, tmp_path: Path, options: dict[str, Any]
) -> None:
    path = begin(tmp_path, options)
    assert run("resume", path) == (
        2,
        "",
        f"pushcore: {path} does not name its audience; expected --audience FILE\n",
    )
    assert jobs == []
    assert run("resume", path, "--audience", "/b/devices.csv")[0] == 0


def test_a_missing_journal_is_one_sentence(jobs: list[Job], run: Run, tmp_path: Path) -> None:
    assert run("resume", str(tmp_path / "none")) == (
        2,
        "",
        f"pushcore: there is no journal {tmp_path}/none\n",
    )
    status, _, error = run("resume")
    assert (status, "Missing argument 'JOURNAL'" in error) == (2, True)
    assert jobs == []


def test_a_summary_as_json_needs_the_standard_output(jobs: list[Job], run: Run, tmp_path: Path) -> None:
    path = begin(tmp_path, {"audience": "/a/devices.csv", "results": "-"})
    words = "--json writes to the standard output; expected no --results - with it"
    status, out, err = run("resume", path, "--json")
    assert (status, orjson.loads(out)["message"], err) == (2, words, f"pushcore: {words}\n")
    assert jobs == []
    assert run("resume", path, "--json", "--results", "/b/r.csv")[0] == 0
    assert [job.as_json for job in jobs] == [True]
