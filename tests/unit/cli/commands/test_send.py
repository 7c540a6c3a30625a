"""`pushcore send`: which job its options make. What is wrong with them is in tests/unit/cli/test_bad_input.py."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pushcore.cli.commands import send as command
from pushcore.cli.run.job import Job
from pushcore.cli.run.sending import SendingOptions

from .conftest import Run


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that are run, none of which does anything; the status of each is 3."""
    made: list[Job] = []

    def keep(self: Job) -> int:
        made.append(self)
        return 3

    monkeypatch.setattr(Job, "run", keep)
    return made


@pytest.fixture
def arguments(tmp_path: Path, credentials: list[str], payload: str) -> list[str]:
    (tmp_path / "devices.csv").write_text("token\naa\n")
    return ["send", "--audience", str(tmp_path / "devices.csv"), "--payload", payload, *credentials]


def test_the_options_become_a_job_and_its_status_is_the_commands(
    jobs: list[Job], run: Run, arguments: list[str], tmp_path: Path
) -> None:
    results = str(tmp_path / "r.csv")
    more = ["--results", results, "--rate", "5/s", "--window", "7", "--timeout", "3", "--push-type", "alert"]
    assert run(*arguments, *more) == (3, "", "")
    (job,) = jobs
    assert (job.results, job.plan, job.processes, job.quiet) == (results, None, 1, False)
    assert job.audience == str(tmp_path / "devices.csv")
    assert job.sending == SendingOptions(rate="5/s", window=7)
    assert (job.sender.topic, job.sender.timeout, job.sender.push_type) == ("com.example.app", 3.0, "alert")


def test_with_a_journal_a_campaign_is_planned_for_every_process(
    jobs: list[Job], run: Run, arguments: list[str], tmp_path: Path
) -> None:
    journal = str(tmp_path / "c.db")
    run(*arguments, "--journal", journal, "--processes", "3", "--quiet")
    (job,) = jobs
    assert job.plan is not None
    assert (job.plan.path, job.plan.parts, job.plan.fresh) == (journal, 3, True)
    assert job.plan.options == {"audience": str(tmp_path / "devices.csv")}
    assert (job.results, job.processes, job.quiet) == (None, 3, True)


def test_unique_is_remembered_by_the_journal(
    jobs: list[Job], run: Run, arguments: list[str], tmp_path: Path
) -> None:
    run(*arguments, "--journal", str(tmp_path / "c.db"), "--unique")
    (job,) = jobs
    assert job.plan is not None
    assert (job.unique, job.plan.options["unique"]) == (True, True)


def test_a_campaign_that_is_there_already_is_not_begun(
    jobs: list[Job], run: Run, arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "c.db").write_text("")
    status, _, error = run(*arguments, "--journal", str(tmp_path / "c.db"))
    assert (status, "exists already; `pushcore resume" in error) == (2, True)
    assert jobs == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], '--results FILE is missing, or --journal FILE; "-" is the standard output'),
        (["--results", "-", "--processes", "0"], "Invalid value for '--processes'"),
        (["--results", "-", "--processes", "65"], "Invalid value for '--processes'"),
        (["--results", "-", "--rate", "fast"], "--rate: a rate looks like 5000/s"),
        (["--results", "-", "--timeout", "0"], "Invalid value for '--timeout'"),
        (["--results", "-", "--metrics-port", "65536"], "Invalid value for '--metrics-port'"),
        (["--dry-run", "--journal", "c.db"], "--dry-run and --journal exclude each other"),
        (["--results", "-", "--nonsense"], "--nonsense"),
        (["--results", "-", "more"], "unexpected extra argument"),
    ],
)
def test_options_that_cannot_be_are_one_sentence_and_no_job(
    jobs: list[Job], run: Run, arguments: list[str], more: list[str], words: str
) -> None:
    status, out, error = run(*arguments, *more)
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert words in error
    assert jobs == []


def test_several_processes_need_a_system_that_can_fork(
    jobs: list[Job], run: Run, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "fork")
    status, _, error = run(*arguments, "--results", "-", "--processes", "2")
    assert (status, "--processes needs a system that can fork; expected 1" in error) == (2, True)
    assert run(*arguments, "--results", "-")[0] == 3
    assert len(jobs) == 1


def test_a_dry_run_is_no_job_and_never_writes_over_what_it_reads(
    jobs: list[Job], run: Run, arguments: list[str], payload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Any] = []

    def keep(*given: Any) -> int:
        tried.append(given)
        return 0

    monkeypatch.setattr(command, "try_all", keep)
    audience = arguments[arguments.index("--audience") + 1]
    for path, words in ((audience, "is the audience"), (payload, "is an input")):
        status, _, error = run(*arguments, "--dry-run", "--results", path)
        assert (status, words in error) == (2, True)
    assert tried == []
    assert run(*arguments, "--dry-run")[0] == 0
    ((clients, rows, report),) = tried
    assert list(clients) == ["apns"]
    assert rows.on_bad == report.bad_row
    assert report.name == os.devnull
    report.close()
    assert jobs == []


@pytest.mark.parametrize("more", [["--results", "-"], ["--dry-run"]])
def test_a_summary_as_json_needs_the_standard_output(
    jobs: list[Job], run: Run, tmp_path: Path, arguments: list[str], more: list[str]
) -> None:
    status, _, error = run(*arguments, *more, "--json")
    assert (status, jobs) == (2, [])
    assert "--json writes to the standard output" in error
    status, _, error = run(*arguments, "--results", str(tmp_path / "r.csv"), "--json")
    assert (status, [job.as_json for job in jobs]) == (3, [True]), error


@pytest.mark.parametrize("more", [["--quiet"], ["--results", "-"]])
def test_a_dry_run_accepts_neither_quiet_nor_results_on_stdout(
    jobs: list[Job], run: Run, arguments: list[str], more: list[str]
) -> None:
    words = "--dry-run writes to the standard output; expected neither --quiet nor --results - with it"
    assert run(*arguments, "--dry-run", *more) == (2, "", f"pushcore: {words}\n")
    assert jobs == []


def test_a_dry_run_says_what_is_odd_about_the_payload(
    run: Run, arguments: list[str], payload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(clients: Any, rows: Any, report: Any) -> int:
        report.close()
        return 0

    monkeypatch.setattr(command, "try_all", nothing)
    Path(payload).write_text('{"aps":{}}')
    status, _, error = run(*arguments, "--dry-run")
    assert (status, error.count(payload)) == (0, 1)
