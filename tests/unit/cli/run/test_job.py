"""A job as `send` and `resume` have it: what is refused before anything is written, and what is written in the end."""

from __future__ import annotations

import csv
import io
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from pushcore.audience.problems import BadInput
from pushcore.cli.run import job, processes
from pushcore.cli.run.client_options import ClientOptions
from pushcore.cli.run.exit_report import ExitReport
from pushcore.cli.run.job import Job, write_results
from pushcore.cli.run.journals import CampaignProgress, JournalPlan
from pushcore.cli.run.sending import SendingOptions
from pushcore.errors import ConfigurationError, JournalError
from pushcore.results import Result, Verdict

from ..credentials import AUTHORITY, KEY
from .scripted import ScriptedEngine, accepted, audience_of

Engine = type[ScriptedEngine]


@pytest.fixture(autouse=True)
def collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """The garbage collector stays as it is."""
    monkeypatch.setattr(job, "relax_collector", lambda: None)


@pytest.fixture
def sender(tmp_path: Path) -> ClientOptions:
    """Options with which APNs could be sent to."""
    (tmp_path / "key.p8").write_bytes(KEY)
    (tmp_path / "authority.pem").write_bytes(AUTHORITY)
    (tmp_path / "payload.json").write_text('{"aps":{"alert":"Hi"}}')
    return ClientOptions(
        apns_key=str(tmp_path / "key.p8"),
        key_id="ABC123DEFG",
        team_id="TEAM123456",
        topic="com.example.app",
        payload=str(tmp_path / "payload.json"),
        ca_file=str(tmp_path / "authority.pem"),
        proxy="none",
    )


def job_of(sender: ClientOptions, audience: str, **changes: Any) -> Job:
    values: dict[str, Any] = {"results": None, "plan": None, "quiet": True}
    return Job(sender=sender, sending=SendingOptions(), audience=audience, **{**values, **changes})


def rows(path: Path) -> list[tuple[str, str]]:
    with path.open(newline="") as file:
        return [(row["row"], row["verdict"]) for row in csv.DictReader(file)]


def begin(place: Path, audience: str, parts: int = 1) -> JournalPlan:
    return JournalPlan.begin(str(place / "c.db"), parts, audience, None)


# --- without a journal ------------------------------------------------------------------------------------------------


def test_every_row_has_its_result_and_the_summary_is_said(
    engine: Engine, tmp_path: Path, sender: ClientOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.csv"
    audience = audience_of(tmp_path, 2, "bad,row")
    assert job_of(sender, audience, results=str(results), quiet=False).run() == 0
    assert rows(results) == [("1", "ACCEPTED"), ("2", "ACCEPTED"), ("3", "INVALID")]
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("3 rows in ")
    assert job_of(sender, audience, results=str(results)).run() == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("unique", [False, True])
def test_tokens_that_come_again_are_said_and_left_out_if_so_wanted(
    engine: Engine, tmp_path: Path, sender: ClientOptions, capsys: pytest.CaptureFixture[str], unique: bool
) -> None:
    results = tmp_path / "results.csv"
    audience = audience_of(tmp_path, 2, f"{1:064x}", f"{1:064x}")
    job = job_of(sender, audience, results=str(results), quiet=False, unique=unique)
    assert job.run() == 0
    again = "INVALID" if unique else "ACCEPTED"
    assert rows(results) == [("1", "ACCEPTED"), ("2", "ACCEPTED"), ("3", again), ("4", again)]
    end = "left out" if unique else "--unique sends to each device once"
    assert capsys.readouterr().err.endswith(
        f"  duplicate                2  the token of an earlier row; {end}\n"
    )


def test_rows_whose_message_shows_nothing_are_said(
    engine: Engine, tmp_path: Path, sender: ClientOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "payload.json").write_text('{"title":"{{name}}"}')
    (tmp_path / "devices.csv").write_text(f"token,name\n{1:064x},Ada\n{2:064x},\n")
    job = job_of(sender, str(tmp_path / "devices.csv"), results=str(tmp_path / "r.csv"), quiet=False)
    assert job.run() == 0
    assert capsys.readouterr().err.endswith("1  the row's message has no visible part (APNs)\n")


def test_an_audience_that_cannot_be_read_twice_cannot_be_unique(
    engine: Engine, tmp_path: Path, sender: ClientOptions
) -> None:
    os.mkfifo(tmp_path / "pipe")
    feeder = threading.Thread(target=(tmp_path / "pipe").write_text, args=("token\naa\n",))
    feeder.start()
    with pytest.raises(BadInput, match="cannot be read twice; with --unique expected the path of a file"):
        job_of(sender, str(tmp_path / "pipe"), results=str(tmp_path / "r.csv"), unique=True).run()
    feeder.join()
    assert not (tmp_path / "r.csv").exists()


def test_the_apns_ids_of_two_runs_differ(engine: Engine, tmp_path: Path, sender: ClientOptions) -> None:
    seen = []
    for _ in range(2):
        assert job_of(sender, audience_of(tmp_path, 1), results=str(tmp_path / "r.csv")).run() == 0
        seen.append((tmp_path / "r.csv").read_text().splitlines()[1].split(",")[6])
    assert len(set(seen)) == 2


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quiet", [False, True])
def test_invisible_parts_of_a_payload_are_reported_before_anything_is_sent(
    engine: Engine, tmp_path: Path, sender: ClientOptions, capsys: pytest.CaptureFixture[str], quiet: bool
) -> None:
    (tmp_path / "payload.json").write_text('{"data":{"n":1},"priority":"high"}')
    audience = audience_of(tmp_path, 1)
    assert job_of(sender, audience, results=str(tmp_path / "r.csv"), quiet=quiet).run() == 0
    said = capsys.readouterr().err
    assert (
        said.startswith(f"pushcore: {tmp_path / 'payload.json'}: no part of it is visible on iOS")
        is not quiet
    )


def test_results_never_replace_what_is_read(engine: Engine, tmp_path: Path, sender: ClientOptions) -> None:
    audience = audience_of(tmp_path, 1)
    plan = begin(tmp_path, audience, 2)
    for path, words in (
        (audience, "is the audience"),
        (str(tmp_path / "key.p8"), "is an input"),
        (str(tmp_path / "payload.json"), "is an input"),
        (f"{plan.path}.1-wal", "is an input"),
    ):
        with pytest.raises(BadInput, match=words):
            job_of(sender, audience, results=path, plan=plan, processes=2).run()
    assert engine.made == []
    assert not os.path.exists(plan.path)


@pytest.mark.parametrize("several", [False, True])
def test_an_audience_that_cannot_be_read_twice_needs_one_process_and_no_journal(
    engine: Engine, tmp_path: Path, sender: ClientOptions, several: bool
) -> None:
    pytest.importorskip("fsspec")
    (tmp_path / "devices.csv").write_text("token\naa\n")
    url = f"file://{tmp_path}/devices.csv"
    options: dict[str, Any] = {"processes": 2} if several else {"plan": begin(tmp_path, url)}
    with pytest.raises(
        BadInput, match=r"is a URL; with --journal or --processes expected the path of a file"
    ):
        job_of(sender, url, results=str(tmp_path / "r.csv"), **options).run()
    reading, writing = os.pipe()
    os.write(writing, b"token\naa\n")
    os.close(writing)
    with pytest.raises(BadInput, match="cannot be read twice; with --journal or --processes"):
        job_of(sender, f"/dev/fd/{reading}", results=str(tmp_path / "r.csv"), **options).run()
    os.close(reading)
    assert engine.made == []
    assert not (tmp_path / "r.csv").exists()


def test_a_column_that_is_missing_is_told_before_old_results_are_touched(
    engine: Engine, tmp_path: Path, sender: ClientOptions
) -> None:
    (tmp_path / "payload.json").write_text('{"aps":{"alert":"{{name}}"}}')
    (tmp_path / "r.csv").write_text("old")
    audience = audience_of(tmp_path, 1)
    for plan in (None, begin(tmp_path, audience)):
        with pytest.raises(BadInput, match="names no column of"):
            job_of(sender, audience, results=str(tmp_path / "r.csv"), plan=plan).run()
    assert (tmp_path / "r.csv").read_text() == "old"


def test_wrong_credentials_are_told_before_the_audience_is_opened(
    tmp_path: Path, sender: ClientOptions
) -> None:
    (tmp_path / "key.p8").write_bytes(b"no key")
    with pytest.raises(ConfigurationError, match=r"key\.p8"):
        job_of(sender, str(tmp_path / "none.csv"), results=str(tmp_path / "r.csv")).run()


# --- with a journal ---------------------------------------------------------------------------------------------------


def test_results_come_out_of_the_journal_in_the_order_of_rows(
    engine: Engine, tmp_path: Path, sender: ClientOptions
) -> None:
    results = tmp_path / "results.csv"
    results.write_text("old results that are longer than the new ones\n" * 100)
    audience = audience_of(tmp_path, 2, "bad,row", f"{4:064x}")
    assert job_of(sender, audience, results=str(results), plan=begin(tmp_path, audience)).run() == 0
    assert rows(results) == [("1", "ACCEPTED"), ("2", "ACCEPTED"), ("3", "INVALID"), ("4", "ACCEPTED")]
    assert CampaignProgress.of(str(tmp_path / "c.db")).complete


def test_without_results_the_journal_has_them_alone(
    engine: Engine, tmp_path: Path, sender: ClientOptions
) -> None:
    audience = audience_of(tmp_path, 2)
    plan = begin(tmp_path, audience)
    assert job_of(sender, audience, plan=plan).run() == 0
    assert CampaignProgress.of(plan.path).done == 2
    read = {"devices.csv", "key.p8", "authority.pem", "payload.json"}
    assert {each.name for each in tmp_path.iterdir()} == {*read, "c.db"}


def test_old_results_are_gone_once_a_campaign_is_begun_though_it_breaks(
    engine: Engine, tmp_path: Path, sender: ClientOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results.csv"
    results.write_text("old")
    at_first: list[str] = []

    def answer(push: Any) -> Result:
        at_first.append(results.read_text())
        if push.row == 2:
            raise OSError(5, "Input/output error")
        return accepted(push)

    monkeypatch.setattr(engine, "answer", staticmethod(answer))
    audience = audience_of(tmp_path, 3)
    assert job_of(sender, audience, results=str(results), plan=begin(tmp_path, audience)).run() == 1
    assert at_first[0] == ""
    assert rows(results) == [("1", "ACCEPTED")]  # what there is, all the same


def test_a_campaign_goes_on_and_its_results_are_those_of_both_runs(
    engine: Engine, tmp_path: Path, sender: ClientOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(push: Any) -> Result:
        if push.row == 3:
            raise OSError(5, "Input/output error")
        return accepted(push)

    audience, results = audience_of(tmp_path, 4), tmp_path / "results.csv"
    plan = begin(tmp_path, audience)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "answer", staticmethod(answer))
        assert job_of(sender, audience, plan=plan).run() == 1
    sent: list[int] = []

    def remember(push: Any) -> Result:
        sent.append(push.row)
        return accepted(push)

    monkeypatch.setattr(engine, "answer", staticmethod(remember))
    again = JournalPlan.resume(plan.path, "report", force=False)
    assert job_of(sender, audience, results=str(results), plan=again).run() == 0
    assert sent == [4]
    assert rows(results) == [("1", "ACCEPTED"), ("2", "ACCEPTED"), ("3", "UNKNOWN"), ("4", "ACCEPTED")]


def test_results_that_cannot_be_written_are_told_once_and_can_be_written_later(
    engine: Engine,
    tmp_path: Path,
    sender: ClientOptions,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    opened = io.BufferedWriter(Full(tmp_path / "r.csv", "w"))
    monkeypatch.setattr(job, "open_unchanged", lambda path, what: (opened, "r.csv"))
    audience = audience_of(tmp_path, 2)
    plan = begin(tmp_path, audience)
    assert job_of(sender, audience, results=str(tmp_path / "r.csv"), plan=plan).run() == 1
    assert opened.closed
    assert capsys.readouterr().err == (
        f"pushcore: r.csv cannot be written (No space left on device); run `pushcore results {plan.path}`\n"
    )
    with (tmp_path / "later.csv").open("wb") as file:
        assert write_results(plan.path, file, "later.csv") == 0
    assert rows(tmp_path / "later.csv") == [("1", "ACCEPTED"), ("2", "ACCEPTED")]


def test_results_that_cannot_be_closed_are_told(
    engine: Engine, tmp_path: Path, sender: ClientOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    """A share tells only then that it has no room."""

    class Share(io.FileIO):
        def close(self) -> None:
            if not self.closed:
                super().close()
                raise OSError(122, "Disk quota exceeded")

    audience = audience_of(tmp_path, 2)
    plan = begin(tmp_path, audience)
    assert job_of(sender, audience, plan=plan).run() == 0
    capsys.readouterr()
    file = io.BufferedWriter(Share(tmp_path / "r.csv", "w"))
    assert write_results(plan.path, file, "r.csv") == 1
    assert "pushcore: r.csv cannot be written (Disk quota exceeded); run `pushcore results" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("journal", [False, True])
def test_results_that_were_removed_during_the_run_are_told(
    engine: Engine,
    tmp_path: Path,
    sender: ClientOptions,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    journal: bool,
) -> None:
    """What was written is lost with them."""

    def answer(push: Any) -> Result:
        (tmp_path / "r.csv").unlink(missing_ok=True)
        return accepted(push)

    monkeypatch.setattr(engine, "answer", staticmethod(answer))
    audience = audience_of(tmp_path, 2)
    plan = begin(tmp_path, audience) if journal else None
    assert job_of(sender, audience, results=str(tmp_path / "r.csv"), plan=plan).run() == 1
    assert "r.csv cannot be written (it was removed while it was written)" in capsys.readouterr().err


def test_results_may_go_to_a_device_which_has_nothing_to_be_cut_off(
    engine: Engine, tmp_path: Path, sender: ClientOptions
) -> None:
    audience = audience_of(tmp_path, 2)
    plan = begin(tmp_path, audience)
    assert job_of(sender, audience, results=os.devnull, plan=plan).run() == 0
    assert CampaignProgress.of(plan.path).done == 2


def test_a_journal_that_cannot_be_read_back_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "r.csv").open("wb") as file:
        assert write_results(str(tmp_path / "none.db"), file, "r.csv") == 1
    assert "r.csv cannot be written (there is no journal" in capsys.readouterr().err


# --- by several processes ---------------------------------------------------------------------------------------------


class Crew:
    """Stands in for the processes: `ending` is how they end, and they write `text` to the results."""

    ending = ExitReport(rows=2, upto=2, ended=True)

    def __init__(self, work: Any, output: int | None = None) -> None:
        self.work, self.output = work, output

    def run(self, total: Any, ready: Any = lambda: None) -> ExitReport:
        assert self.work.processes == 2
        ready()
        if self.output is not None:
            os.write(self.output, b"1,aa,apns,ACCEPTED,200,,,,1,\n2,bb,apns,INVALID,,,,,0,\n")
        total.tallies["apns"].accepted = 1
        total.tallies["apns"].count(Verdict.INVALID, "odd")
        return self.ending


def test_processes_without_a_journal_write_behind_one_header(
    tmp_path: Path, sender: ClientOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "ChildProcesses", Crew)
    results = tmp_path / "results.csv"
    assert job_of(sender, audience_of(tmp_path, 2), results=str(results), processes=2).run() == 0
    assert rows(results) == [("1", "ACCEPTED"), ("2", "INVALID")]


def test_processes_with_journals_write_no_results_themselves(
    tmp_path: Path, sender: ClientOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    crews: list[Crew] = []

    class Journaling(Crew):
        def run(self, total: Any, ready: Any = lambda: None) -> ExitReport:
            crews.append(self)
            raise JournalError("no child can begin")

    monkeypatch.setattr(processes, "ChildProcesses", Journaling)
    (tmp_path / "r.csv").write_text("old")
    audience = audience_of(tmp_path, 2)
    plan = begin(tmp_path, audience, 2)
    with pytest.raises(JournalError, match="no child can begin"):
        job_of(sender, audience, results=str(tmp_path / "r.csv"), plan=plan, processes=2).run()
    assert [crew.output for crew in crews] == [None]
    assert (tmp_path / "r.csv").read_text() == "old"
