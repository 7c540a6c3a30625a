"""A journal that is locked, damaged, of another version, or of another process: a sentence, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Literal

import pytest

from pushcore.cli.commands.status import describe, summary
from pushcore.cli.run.journals import CampaignProgress
from pushcore.errors import JournalError
from pushcore.journal import store as journal_store
from pushcore.journal.format import VERSION
from pushcore.journal.journal import Journal, JournalView
from pushcore.results import Result, Verdict

from .support import SOURCE, accepted, create, damaged_copies, killed, pushes, run_python

ROWS = 3000


def finished(path: Path, count: int = ROWS) -> Path:
    with create(path, chunk_size=100) as journal:
        for push in journal.pending(pushes(count)):
            journal.record(accepted(push))
        journal.finish()
    return path


def every_way(path: Path, words: str) -> None:
    """Neither resumed nor looked at."""
    with pytest.raises(JournalError, match=words):
        Journal.open(path)
    with pytest.raises(JournalError, match=words):
        list(JournalView(path).results())


# --- what is no journal -----------------------------------------------------------------------------------------------


def test_no_such_file(tmp_path: Path) -> None:
    every_way(tmp_path / "j.db", "there is no journal")
    every_way(tmp_path, "is not a journal: it is a directory, a pipe or a device")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"token\nabc\n" * 1000, b"SQLite format 3\0" + b"x" * 5000])
def test_something_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "j.db"
    path.write_bytes(content)
    every_way(path, "is not a journal|is damaged")
    assert path.read_bytes() == content


CREATED = """
import os, sys
from pushcore.journal.journal import Journal, Source
from pushcore.journal.store import JournalStore
if sys.argv[2] == "file":
    JournalStore._lay_out = lambda *_: os._exit(9)
else:
    JournalStore.begin = lambda *_: os._exit(9)
Journal.create(sys.argv[1], Source("rows.csv", 10, 20, "30"))
"""


@pytest.mark.parametrize("step", ["file", "tables"])
def test_a_journal_whose_process_was_ended_while_it_created_it(tmp_path: Path, step: str) -> None:
    path = tmp_path / "j.db"
    process = run_python(CREATED, path, step)
    process.communicate(timeout=30)
    assert (process.returncode, path.exists()) == (9, True)
    every_way(
        path, "j.db is empty: .* ended before it sent anything, .* delete it and start the campaign again"
    )


INDEX_LOST = """
import os, sys
from pushcore.journal.journal import Journal
from pushcore.results import Result, Verdict
sys.path.insert(0, sys.argv[3])
from tests.unit.journal.support import accepted, pushes
index, change = sys.argv[1] + "-shm", sys.argv[2]
with Journal.open(sys.argv[1]) as journal:
    for push in journal.pending(pushes(400)):
        journal.record(accepted(push))
        if not push.row % 50:
            journal.flush()
            size = os.path.getsize(index)
            assert size >= 32_768
            if change == "zeros":
                with open(index, "r+b") as file:
                    file.write(bytes(size))
            else:
                os.truncate(index, int(change) * size // 2)
    journal.finish()
"""


@pytest.mark.parametrize("change", ["0", "1", "zeros"])
def test_an_index_that_is_lost_between_two_commits(tmp_path: Path, change: str) -> None:
    """SQLite has the shared memory file mapped: the next access ended the process by SIGBUS, or it wrote wrong pages."""
    path = finished(tmp_path / "j.db", 100)
    process = run_python(INDEX_LOST, path, change, str(Path(__file__).parents[3]))
    process.communicate(timeout=60)
    assert process.returncode == 0
    with JournalView(path) as view:
        assert [outcome.row for outcome in view.results()] == [*range(1, 401)]
        assert (view.status().done, view.status().problem) == (400, None)


@pytest.mark.parametrize("kept", [0.0, 0.5])
@pytest.mark.parametrize("first", [True, False])
def test_rows_whose_outcomes_were_in_a_log_that_was_cut_are_in_doubt(
    tmp_path: Path, kept: float, first: bool
) -> None:
    """What was sent is never sent again without a word, whatever is lost."""
    path = tmp_path / "j.db"
    journal = create(path)
    if not first:
        for push in journal.pending(pushes(50)):
            journal.record(accepted(push))
        journal.close()
        journal = Journal.open(path, SOURCE)
    sent: set[int] = set()

    def send() -> None:
        for push in journal.pending(pushes(10_000)):
            sent.add(push.row)
            if push.row % 7:
                journal.record(accepted(push))
            if push.row == 300:
                journal.flush()
                log = f"{path}-wal"
                os.truncate(log, int(os.path.getsize(log) * kept))
                journal.flush()

    with pytest.raises(JournalError, match="truncated or overwritten"):
        send()
    with pytest.raises(JournalError, match="truncated or overwritten"):
        journal.close()
    with JournalView(path) as view:
        known = {outcome.row for outcome in view.results()}
        status = view.status()
    assert known <= sent | set(range(1, 51))
    assert status.done == len(known) < 300 <= status.started
    assert "truncated or overwritten" in (status.problem or "")
    with Journal.open(path, SOURCE) as journal:
        assert sent.isdisjoint(push.row for push in journal.pending(pushes(1000)))
    with JournalView(path) as view:
        doubtful = {outcome.row for outcome in view.results(Verdict.UNKNOWN)}
    assert sent - known <= doubtful


def test_an_empty_file_and_a_foreign_database_are_no_journals(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    every_way(
        tmp_path / "empty.db",
        "empty.db is empty: the process that created it was ended before it sent anything, or",
    )
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("create table part (id integer)")
    other.close()
    every_way(tmp_path / "other.db", "other.db is not a journal of pushcore")


def test_another_version(tmp_path: Path) -> None:
    path = finished(tmp_path / "j.db", 1)
    other = sqlite3.connect(path)
    other.execute(f"pragma user_version = {VERSION + 1}")
    other.close()
    every_way(path, f"another version of pushcore: its format is {VERSION + 1}, this version reads {VERSION}")


def test_a_file_that_exists_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    path.write_bytes(b"mine")
    with pytest.raises(JournalError, match="exists already: resume it, or choose another name"):
        create(path)
    assert path.read_bytes() == b"mine"
    with pytest.raises(JournalError, match="cannot be written"):
        create(tmp_path / "missing" / "j.db")


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_wherever_a_journal_is_damaged_it_is_noticed_or_harmless(tmp_path: Path) -> None:
    path = finished(tmp_path / "j.db")
    with JournalView(path) as view:
        outcomes = list(view.results())
    whole = path.read_bytes()
    said = []
    for at in range(0, len(whole), len(whole) // 150):
        damaged = tmp_path / "damaged.db"
        damaged.write_bytes(whole[:at] + bytes(64) + whole[at + 64 :])
        try:
            with JournalView(damaged) as view:
                assert list(view.results()) == outcomes
        except JournalError as error:
            said.append(str(error))
    assert len(said) > 100
    assert [words for words in said if not re.search("damaged|not a journal|its format is", words)] == []


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_journal_that_was_cut_off(tmp_path: Path, share: float) -> None:
    path = finished(tmp_path / "j.db")
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(JournalError, match="is damaged"):
        Journal.open(path)


def test_a_log_that_was_cut_off_loses_whole_commits_only(tmp_path: Path) -> None:
    with create(tmp_path / "live.db", chunk_size=100) as journal:
        for push in journal.pending(pushes(1000)):
            journal.record(accepted(push))
            if push.row % 100 == 0:
                journal.flush()
        whole = killed(journal, tmp_path / "killed.db")
    log = Path(f"{whole}-wal").read_bytes()
    seen, said = set(), []
    for share in range(11):
        path = tmp_path / f"{share}.db"
        shutil.copyfile(whole, path)
        Path(f"{path}-wal").write_bytes(log[: len(log) * share // 10])
        try:
            journal = Journal.open(path)
        except JournalError as error:
            said.append(str(error))
            continue
        with journal:
            done = [each.row for each in journal.results()]
            assert done == list(range(1, len(done) + 1))
            seen.add(len(done))
            for push in journal.pending(pushes(1000)):
                journal.record(accepted(push))
        with JournalView(path) as view:
            assert [each.row for each in view.results()] == list(range(1, 1001))
    assert 1000 in seen
    assert len(seen) > 3
    assert all(
        re.search("is not a journal of pushcore|is empty", words) for words in said
    )  # all that there was stood in the log


@pytest.mark.parametrize("seed", range(8))
def test_any_damaged_bytes_are_reported_as_damage_or_harmless(tmp_path: Path, seed: int) -> None:
    """Never another error, and never a wait without an end."""
    chance = random.Random(seed)
    with create(tmp_path / "j.db", chunk_size=5) as journal:
        for push in journal.pending(pushes(20)):
            if push.row == 7:
                journal.put_back(push, 2)
            elif push.row == 11:
                journal.record(
                    Result(push, Verdict.UNREGISTERED, 410, 1, reason="Unregistered", timestamp=1e9)
                )
            elif push.row != 9:
                journal.record(accepted(push))
        journal.close("it was stopped by a signal or another process: é")
    for path in damaged_copies(tmp_path / "j.db", 40, chance):
        with contextlib.suppress(JournalError):
            describe(summary(CampaignProgress.of(str(path)), 1e9))
        with contextlib.suppress(JournalError), JournalView(path) as view:
            assert len(list(view.results())) == len({outcome.row for outcome in view.results()})
        with contextlib.suppress(JournalError), Journal.open(path) as journal:
            for push in journal.pending(pushes(30)):
                journal.record(accepted(push))
            journal.finish()


# --- another process --------------------------------------------------------------------------------------------------


HOLD = """
import sys
from pushcore.journal.journal import Journal
with Journal.open(sys.argv[1]) as journal:
    print("open", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
def test_two_processes_cannot_run_one_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_store, "WAIT", 0.05)
    path = finished(tmp_path / "j.db", 100)
    other = run_python(HOLD, path)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(JournalError, match="is in use by another process"):
            Journal.open(path)
        with JournalView(path) as view:
            assert view.status().done == 100
            assert len(list(view.results())) == 100
    finally:
        other.kill()
        other.communicate(timeout=20)
    with Journal.open(path) as journal:  # which the system has given up with the process
        assert journal.status().cut_short == 1


def test_a_writer_stops_when_another_process_has_gone_on_with_its_campaign(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = create(path)
    push = next(journal.pending(pushes(1)))
    journal.flush()
    journal._writer._store._file.sql.execute("rollback")  # which gives up what keeps others out,
    journal._writer._store.give_up_reserve()  # and so does this
    Journal.open(path).close()
    journal.record(accepted(push))
    with pytest.raises(JournalError, match="another process has resumed"):
        journal.flush()
    with pytest.raises(JournalError, match="another process has resumed"):
        journal.close()


# --- a kill that takes the log, too -----------------------------------------------------------------------------------


@pytest.mark.parametrize("unknown", ["report", "resend"])
@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_what_a_killed_run_may_have_sent_is_in_doubt_without_its_log(
    tmp_path: Path, kept: float, unknown: Literal["report", "resend"]
) -> None:
    """The note in the reserve says how far it had got; without it all of these rows were sent again, uncounted."""
    journal, path = create(tmp_path / "j.db"), tmp_path / "killed.db"
    for push in journal.pending(pushes(40)):
        journal.record(accepted(push))
        journal.flush()
        if push.row == 35:
            break
    for ending in ("", "-wal", "-reserve"):
        shutil.copyfile(f"{journal.path}{ending}", f"{path}{ending}")
    journal.close()
    os.truncate(f"{path}-wal", int(os.path.getsize(f"{path}-wal") * kept))
    with JournalView(path) as view:
        done = view.status().done
        assert done < 35
    with Journal.open(path, unknown=unknown) as again:
        sent = list(again.pending(pushes(60)))
        for push in sent:
            again.record(accepted(push))
        again.finish()
    with JournalView(path) as view:
        status = view.status()
    assert (status.complete, status.done) == (True, 60)
    if unknown == "report":
        assert min(push.row for push in sent) > 35
        assert status.verdicts["UNKNOWN"] == 60 - done - len(sent) >= 35 - done
    else:
        assert len(sent) == 60 - done
        assert status.repeats >= 35 - done


def test_the_run_that_a_lost_log_began_is_in_doubt_too(tmp_path: Path) -> None:
    create(tmp_path / "j.db").close()
    journal, path = Journal.open(tmp_path / "j.db"), tmp_path / "killed.db"
    for push in journal.pending(pushes(15)):
        journal.record(accepted(push))
    journal.flush()
    for ending in ("", "-reserve"):
        shutil.copyfile(f"{journal.path}{ending}", f"{path}{ending}")
    journal.close()
    with Journal.open(path) as again:
        assert min(push.row for push in again.pending(pushes(60))) > 15
