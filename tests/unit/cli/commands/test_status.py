"""What `pushcore status` says of journals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pushcore.cli.commands.status import describe, summary
from pushcore.cli.report.tally import ResultCounts
from pushcore.cli.run.journals import CampaignProgress, RowJournal
from pushcore.errors import JournalError
from pushcore.journal.journal import Journal, Source
from pushcore.results import Verdict

from .conftest import Run


def test_two_journals_are_one_campaign(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    now = [1_700_000_000.0]
    for number, done in ((0, 3), (1, 1)):
        name = path if number == 0 else f"{path}.{number}"
        with RowJournal.create(
            name,
            Source("devices.csv"),
            rows=6,
            chunk_size=3,
            campaign_id="mine",
            shard=number,
            shards=2,
            options={"audience": "/a/devices\x1b.csv"},
            clock=lambda: now[0],
        ) as journal:
            for row in range(1 + 3 * number, 1 + 3 * number + done):
                journal.note(row, "aa", "apns", "BadDeviceToken", Verdict.INVALID)
            now[0] += 2
    progress = CampaignProgress.of(str(path))
    assert (progress.rows, progress.done, progress.complete, progress.running) == (6, 4, False, False)
    found = summary(progress, now[0])
    assert describe(found) == [
        "campaign  mine",
        r"audience  /a/devices\x1b.csv",
        "state     stopped",
        "rows      6",
        "started   4",
        "done      4 (66.7%)",
        "  INVALID                  4",
        "repeats   0",
        "runs      1; 2 processes",
        "rate      1 a second in the last run",
        "began     2023-11-14T22:13:20Z",
        "updated   2023-11-14T22:13:24Z",
    ]
    (advice,) = ResultCounts.of_journal(progress.tally).advice()
    assert advice.startswith("suspect: 4 tokens (BadDeviceToken 4)")
    assert found == {
        "campaign": "mine",
        "audience": "/a/devices\x1b.csv",
        "state": "stopped",
        "why": None,
        "rows": 6,
        "started": 4,
        "done": 4,
        "verdicts": {"INVALID": 4},
        "reasons": [{"platform": "apns", "verdict": "INVALID", "reason": "BadDeviceToken", "rows": 4}],
        "repeats": 0,
        "runs": 1,
        "cut_short": 0,
        "processes": 2,
        "rate": 1.0,
        "began": "2023-11-14T22:13:20Z",
        "updated": "2023-11-14T22:13:24Z",
    }


def look(path: Path) -> tuple[str, str | None, int]:
    found = summary(CampaignProgress.of(str(path)), 0.0)
    lines = dict(line.split(maxsplit=1) for line in describe(found))
    assert lines["state"] == found["state"]
    assert lines.get("why") == found["why"]
    return found["state"], found["why"], found["cut_short"]


def test_it_says_why_a_run_ended_if_that_is_known(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    journal = Journal.create(path, Source("devices.csv"), rows=1)
    assert look(path) == ("running", None, 0)
    killed = tmp_path / "killed.db"
    for ending in ("", "-wal"):
        shutil.copyfile(f"{path}{ending}", f"{killed}{ending}")
    assert look(killed) == ("cut short", None, 1)
    journal.close("it was stopped by a signal or another process")
    assert look(path) == ("stopped", "it was stopped by a signal or another process", 0)

    def fail(error: Exception) -> None:
        with Journal.open(path):
            raise error

    for error, words in ((JournalError("no room"), "no room"), (ValueError("a secret"), "ValueError")):
        with pytest.raises(type(error)):
            fail(error)
        assert look(path) == ("stopped", words, 0)
    with Journal.open(killed):
        assert look(killed) == ("running", None, 1)
    assert look(killed) == ("stopped", None, 1)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """The journal of a campaign that goes on: one of three rows has an outcome."""
    name = tmp_path / "c.db"
    with RowJournal.create(name, Source("a"), rows=3, campaign_id="mine") as journal:
        journal.note(1, "aa", "apns", "odd \udcff", Verdict.INVALID)
    return str(name)


def test_the_command_writes_lines(path: str, run: Run) -> None:
    status, out, error = run("status", path)
    assert (status, error) == (0, "")
    assert out.splitlines()[:4] == [
        "campaign  mine",
        "audience  unknown",
        "state     stopped",
        "rows      3",
    ]


def test_the_command_writes_one_object_of_json_on_request(path: str, run: Run) -> None:
    status, out, error = run("status", path, "--json")
    assert (status, error) == (0, "")
    values = json.loads(out)
    assert (values["campaign"], values["rows"], values["done"]) == ("mine", 3, 1)
    assert values["reasons"] == [{"platform": "apns", "verdict": "INVALID", "reason": "odd ?", "rows": 1}]


def test_a_campaign_is_running_while_its_journal_is_open_and_complete_when_all_is_done(
    tmp_path: Path,
) -> None:
    name = tmp_path / "c.db"
    with RowJournal.create(name, Source("a"), rows=1) as journal:
        assert look(name)[0] == "running"
        journal.note(1, "aa", "apns", "odd", Verdict.INVALID)
    assert look(name)[0] == "complete"


def test_a_missing_journal_is_one_sentence(tmp_path: Path, run: Run) -> None:
    assert run("status", str(tmp_path / "none")) == (
        2,
        "",
        f"pushcore: there is no journal {tmp_path}/none\n",
    )
