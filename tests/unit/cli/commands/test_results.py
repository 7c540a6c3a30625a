"""`pushcore results`: which rows it writes where, and what it says of those that have no outcome."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from pushcore.cli.commands import results as command
from pushcore.cli.main import main
from pushcore.cli.run.journals import RowJournal
from pushcore.journal.journal import Source
from pushcore.results import Verdict

from .conftest import Run

VERDICTS = (Verdict.INVALID, Verdict.UNREGISTERED, Verdict.UNSENT)


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two journals of a campaign of 9 rows, of which 8 have an outcome."""
    monkeypatch.setattr(command, "relax_collector", lambda: None)
    for shard in range(2):
        name = tmp_path / ("c.db" if shard == 0 else f"c.db.{shard}")
        with RowJournal.create(
            name, Source("a"), rows=9, chunk_size=2, campaign_id="c", shard=shard, shards=2
        ) as made:
            for row in range(1, 9):
                made.note(row, f"t{row}", "apns", "odd", VERDICTS[row % 3])
    return str(tmp_path / "c.db")


def rows(text: str) -> list[tuple[str, str]]:
    return [(row["row"], row["verdict"]) for row in csv.DictReader(text.splitlines())]


def test_every_outcome_goes_to_the_standard_output_in_the_order_of_rows(
    journal: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["results", journal]) == 0
    said = capfd.readouterr()
    assert rows(said.out) == [(f"{row}", VERDICTS[row % 3].name) for row in range(1, 9)]
    assert said.err == f"pushcore: 1 row of {journal} have no outcome yet\n"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [((0,), [3, 6]), ((1,), [1, 4, 7]), ((0, 2), [2, 3, 5, 6, 8]), ((0, 1, 2), [1, 2, 3, 4, 5, 6, 7, 8])],
)
def test_only_the_verdicts_that_were_asked_for_are_written(
    journal: str, run: Run, tmp_path: Path, wanted: tuple[int, ...], expected: list[int]
) -> None:
    options = [word for each in wanted for word in ("--verdict", VERDICTS[each].name)]
    assert run("results", journal, "--output", str(tmp_path / "r.csv"), *options)[0] == 0
    assert [int(row) for row, _ in rows((tmp_path / "r.csv").read_text())] == expected


def test_they_can_be_ndjson(journal: str, run: Run, tmp_path: Path) -> None:
    assert run("results", journal, "--output", str(tmp_path / "r"), "--format", "ndjson")[0] == 0
    lines = [json.loads(line) for line in (tmp_path / "r").read_text().splitlines()]
    assert [line["row"] for line in lines] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_while_the_number_of_rows_is_not_known_it_says_only_that_some_are_left(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "relax_collector", lambda: None)
    path = str(tmp_path / "j.db")
    with RowJournal.create(path, Source("a")) as made:
        made.note(1, "t", "apns", "odd")
    assert run("results", path, "--output", str(tmp_path / "r.csv")) == (
        0,
        "",
        f"pushcore: {path} has rows that have no outcome yet\n",
    )
    with RowJournal.open(path) as made:
        made.finish()


def test_of_a_complete_campaign_nothing_more_is_said(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "relax_collector", lambda: None)
    path = str(tmp_path / "j.db")
    with RowJournal.create(path, Source("a"), rows=1) as made:
        made.note(1, "t", "apns", "odd")
    assert run("results", path, "--output", str(tmp_path / "r.csv")) == (0, "", "")


@pytest.mark.parametrize("ending", ["", "-wal", ".1", ".1-reserve"])
def test_no_journal_is_written_over(journal: str, run: Run, ending: str) -> None:
    status, out, error = run("results", journal, "--output", f"{journal}{ending}")
    assert (status, out) == (2, "")
    assert "is an input; expected another file for the results" in error


def test_a_wrong_journal_leaves_the_output_unchanged(journal: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("old")
    for path, words in (
        (str(tmp_path / "none"), "there is no journal"),
        (f"{journal}.1", "is part 2 of the 2 of a campaign; expected the first"),
    ):
        status, _, error = run("results", path, "--output", str(tmp_path / "r.csv"))
        assert (status, words in error) == (2, True)
    assert (tmp_path / "r.csv").read_text() == "old"


def test_a_verdict_that_there_is_not_is_told(journal: str, run: Run) -> None:
    status, _, error = run("results", journal, "--verdict", "GONE")
    assert (status, "Invalid value for '--verdict'" in error) == (2, True)
