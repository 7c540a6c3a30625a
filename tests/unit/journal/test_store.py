"""`JournalStore`: what one commit holds, what comes back out of the file, and what of it stays on the disk."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pushcore.errors import JournalError
from pushcore.journal.campaign import CampaignRecord, RunRecord
from pushcore.journal.format import PackedOutcomes
from pushcore.journal.reserve import RESERVE, reserve_of
from pushcore.journal.store import JournalStore

from .support import SOURCE

CAMPAIGN = CampaignRecord("campaign", 12.5, 10, 1, 3, SOURCE, {"topic": "com.example", "deep": [1]}, None)
RUN = RunRecord(1, 12.5, 12.5)


def part(number: int) -> PackedOutcomes:
    """One row of a block, and a blob whose checksum is right."""
    bits, body = b"\0\0%c" % (number % 255 + 1), b"body %d" % number
    return PackedOutcomes(bits, zlib.crc32(body, zlib.crc32(bits)).to_bytes(4, "little") + body, Counter())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JournalStore]:
    made = JournalStore.create(str(tmp_path / "j.db"), CAMPAIGN, replace(RUN))
    yield made
    made.close()


@contextlib.contextmanager
def reading(store: JournalStore) -> Iterator[JournalStore]:
    with contextlib.closing(JournalStore.read(store.path)) as other:
        yield other


def test_a_campaign_and_its_first_run_are_there_as_soon_as_it_is_created(store: JournalStore) -> None:
    with reading(store) as other:
        assert other.campaign() == CAMPAIGN
        assert other.runs() == [RUN]
        assert list(other.bitmaps()) == []
        assert other.parked() == []
        assert other.parts_from(0) is None


def test_a_commit_is_there_as_a_whole(store: JournalStore) -> None:
    run = RunRecord(1, 12.5, 20.0, 21.0, 40, 0, 3, Counter({("apns", "INVALID", "é"): 2}), "why", False)
    store.write(run, [(0, part(1)), (2, part(2)), (0, part(3))], [(7, 1, 2, True), (8, 1, 1, False)], 99)
    assert run.parts == 3
    with reading(store) as other:
        assert other.runs() == [run]
        assert other.campaign().rows == 99
        assert list(other.bitmaps()) == [(0, part(1).bits), (0, part(3).bits), (2, part(2).bits)]
        assert other.parked() == [(7, 1, 2, True), (8, 1, 1, False)]


def test_parts_are_given_block_by_block_in_the_order_they_were_written(store: JournalStore) -> None:
    store.write(replace(RUN), [(2, part(1)), (5, part(2)), (2, part(3))])
    assert store.parts_from(0) == (2, [part(1)[:2], part(3)[:2]])
    assert store.parts_from(2) == store.parts_from(0)
    assert store.parts_from(3) == (5, [part(2)[:2]])
    assert store.parts_from(6) is None


def test_more_parts_than_one_statement_takes_are_all_written(store: JournalStore) -> None:
    run = replace(RUN)
    store.write(run, [(0, part(number)) for number in range(70)])
    store.write(run, [(0, part(70))])
    found = store.parts_from(0)
    assert found is not None
    assert [blob for _, blob in found[1]] == [part(number).blob for number in range(71)]


def test_a_row_that_is_parked_again_has_its_newest_entry(store: JournalStore) -> None:
    store.write(replace(RUN), parked=[(7, 1, 2, True)])
    store.write(replace(RUN), parked=[(7, 1, 3, False)])
    assert store.parked() == [(7, 1, 3, False)]


def test_nothing_of_a_commit_that_fails_is_there(store: JournalStore) -> None:
    twice = replace(RUN, run=2)  # which was not begun
    with pytest.raises(JournalError, match="another process has resumed"):
        store.write(twice, [(0, part(1))], [(7, 1, 2, True)], 99)
    assert store.parts_from(0) is None
    assert store.parked() == []
    assert store.campaign().rows is None
    store.write(replace(RUN), [(0, part(1))])
    assert store.parts_from(0) is not None


def test_a_run_that_was_followed_by_another_cannot_write(store: JournalStore) -> None:
    store.begin(replace(RUN, run=2))
    with pytest.raises(JournalError, match="another process has resumed"):
        store.write(replace(RUN))


def test_a_new_run_keeps_the_parked_rows_that_are_not_settled(store: JournalStore) -> None:
    store.write(replace(RUN), parked=[(row, 1, 1, True) for row in (7, 8, 9)])
    moved = replace(SOURCE, path="elsewhere.csv")
    store.begin(RunRecord(2, 30.0, 30.0, resends=True), source=moved, settled=[7, 9])
    assert [row for row, *_ in store.parked()] == [8]
    assert store.campaign().source == moved
    assert [(run.run, run.resends) for run in store.runs()] == [(1, False), (2, True)]


def test_another_writer_is_refused_while_one_has_it_open(
    store: JournalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pushcore.journal.store.WAIT", 0.0)
    with reading(store) as other:
        assert other.has_writer()
    with pytest.raises(JournalError, match="is in use by another process"):
        JournalStore.open(store.path)
    store.close()
    with reading(store) as other:
        assert not other.has_writer()
    JournalStore.open(store.path).close()


def test_no_other_process_can_write_between_two_transactions(store: JournalStore) -> None:
    store._file.sql.execute("commit")
    with pytest.raises(JournalError, match="is in use by another process"):
        JournalStore.open(store.path)
    assert Path(reserve_of(store.path)).stat().st_size == RESERVE
    store.close()
    JournalStore.open(store.path).close()


def test_the_reserve_is_on_the_disk_while_it_is_written_and_can_be_given_up(store: JournalStore) -> None:
    reserve = Path(reserve_of(store.path))
    assert reserve.stat().st_size == RESERVE
    store.give_up_reserve()
    store.give_up_reserve()
    assert not reserve.exists()


def test_closing_leaves_one_file(store: JournalStore) -> None:
    store.write(replace(RUN), [(0, part(1))])
    store.close()
    assert [path.name for path in Path(store.path).parent.iterdir()] == ["j.db"]


def test_a_journal_that_cannot_be_created_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        JournalStore.create(
            str(tmp_path / "j.db"), replace(CAMPAIGN, options={"odd": object()}), replace(RUN)
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ("update campaign set source = 'no JSON'", "campaign"),
        ("update campaign set source = '{\"size\": 1}'", "campaign"),
        ("delete from campaign", "campaign"),
        ("update run set tally = '[[1]]'", "runs"),
        ("drop table run", "runs"),
        ("delete from run", "runs"),
        ("update run set upto = x'00'", "runs"),
        ("update run set updated = 9e999", "runs"),
        ('update run set tally = \'[["apns", "FINE", "", 1]]\'', "runs"),
        ("update run set problem = cast(x'ff' as text)", "runs"),
        ("update campaign set id = cast(x'ff' as text)", "campaign"),
        ("update campaign set chunk_size = 0", "campaign"),
        ("update campaign set options = '[]'", "campaign"),
        ("update campaign set rows = 'many'", "campaign"),
        ("update campaign set rows = -1", "campaign"),
        ("insert into parked values (1, 'x', 1, 1)", "parked"),
        ("insert into part values (1, 7, x'00')", "bitmaps"),
        ("insert into part values (1, x'000001', x'0000000000')", "bitmaps"),
    ],
)
def test_tables_that_hold_something_else_are_told_as_damage(
    store: JournalStore, statement: str, read: str
) -> None:
    store.close()
    with contextlib.closing(sqlite3.connect(store.path)) as sql:
        sql.execute(statement)
        sql.commit()
    with reading(store) as other, pytest.raises(JournalError, match=r"j\.db is damaged"):
        list(getattr(other, read)() or ())


def test_a_name_with_odd_characters_is_a_path_and_no_options(tmp_path: Path) -> None:
    path = str(tmp_path / "a?mode=memory#%20é.db")
    JournalStore.create(path, CAMPAIGN, replace(RUN)).close()
    with contextlib.closing(JournalStore.read(path)) as other:
        assert other.campaign() == CAMPAIGN
    assert Path(path).exists()


# --- what the system says ---------------------------------------------------------------------------------------------


def test_a_part_that_an_index_alone_has_is_damage(
    store: JournalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [SimpleNamespace(fetchone=lambda: (5 << 40,)), SimpleNamespace(fetchall=lambda: [])]
    monkeypatch.setattr(store._file, "sql", SimpleNamespace(execute=lambda *_: answers.pop(0)))
    with pytest.raises(JournalError, match=r"is damaged \(a part is in an index alone\)"):
        store.parts_from(0)
    monkeypatch.undo()


def test_a_file_that_was_removed_between_two_transactions_is_written_anew(store: JournalStore) -> None:
    run = replace(RUN)
    store.write(run, [(0, part(1))])
    store._file.sql.execute("rollback")
    os.unlink(store.path)
    words = f"{store.path} was removed or renamed while it was written, and was written again"
    assert store.restore(run) == (run, words)
    assert store.restore(run) is None
    with reading(store) as other:
        assert other.parts_from(0) == (0, [part(1)[:2]])


def test_a_journal_that_was_replaced_leaves_no_log_to_the_other_file(store: JournalStore) -> None:
    """SQLite would read our content from the log, and write it into that file."""
    run = replace(RUN)
    store.write(run, [(0, part(1))])
    store.sync()
    other = f"{store.path}.other"
    with open(other, "wb") as file:
        file.write(b"token\n" * 1000)
    os.replace(other, store.path)
    restored = store.restore(run)
    assert restored is not None
    store.close()
    assert sorted(os.listdir(os.path.dirname(store.path))) == ["j.db", "j.db.saved"]
    assert os.path.getsize(store.path) == 6000
    with contextlib.closing(JournalStore.read(f"{store.path}.saved")) as saved:
        assert saved.parts_from(0) == (0, [part(1)[:2]])


def test_a_run_whose_beginning_was_in_a_log_that_was_cut_is_begun_again(store: JournalStore) -> None:
    parked = [(7, 2, 1, True), (8, 1, 1, True)]
    store.write(replace(RUN), [(0, part(1))], parked)
    store.sync()
    store.move_log()
    run = RunRecord(2, 20.0, 20.0, parts=1, tally=Counter({("apns", "ACCEPTED", ""): 1}))
    store.begin(run)
    log = f"{store.path}-wal"
    with open(log, "r+b") as file:
        file.write(bytes(os.path.getsize(log)))
    restored = store.restore(replace(run, parts=9))
    assert restored is not None
    assert restored[0].parts == 1  # as in the file
    assert "may have been sent" in restored[1]
    with reading(store) as other:
        assert [run.run for run in other.runs()] == [1, 2]
        assert other.parked() == [(7, 2, 1, False), (8, 1, 1, True)]
