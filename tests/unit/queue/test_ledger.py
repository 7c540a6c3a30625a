"""The ledger: one outcome for each row whatever comes twice, out of order, damaged or not at all."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore import Result, Verdict
from pushcore.errors import JournalError
from pushcore.journal.journal import id_prefix, push_id
from pushcore.queue.campaign import CampaignInfo, CampaignState
from pushcore.queue.chunk import inline_chunks
from pushcore.queue.errors import CampaignConflict, ChunkError, QueueError
from pushcore.queue.ledger import Ledger
from pushcore.queue.outcomes import ChunkResult
from pushcore.queue.pushes import NumberedNotification
from tests.unit.journal.support import damaged_copies

SIZE = 10
INFO = CampaignInfo("camp", "f", SIZE)
PREFIX = id_prefix("camp")


def sent(row: int, verdict: Verdict = Verdict.ACCEPTED, reason: str | None = None) -> Result:
    push = NumberedNotification(row, f"{row:064x}", b"{}", apns_id=push_id("camp", row))
    return Result(push, verdict, 200 if verdict is Verdict.ACCEPTED else 400, 1, push.apns_id, reason=reason)


def result_of(number: int, results: list[Result], nonce: str = "n") -> ChunkResult:
    made = ChunkResult.of(number, nonce, "worker", results, PREFIX)
    assert ChunkResult.decode(made.encode()) == made
    return made


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.create(tmp_path / "ledger", INFO) as made:
        made.add(list(inline_chunks([{"token": f"{row:064x}"} for row in range(1, 26)], SIZE)))
        made.finish()
        yield made


def missing(ledger: Ledger) -> dict[int, list[int]]:
    return {chunk.number: chunk.missing() for page in ledger.unfinished(2) for chunk in page}


def test_outcomes_are_kept_and_chunks_finish(ledger: Ledger) -> None:
    assert list(missing(ledger)) == [0, 1, 2]
    ledger.record([result_of(1, [sent(row) for row in range(20, 10, -1)])])
    ledger.record([result_of(2, [sent(21), sent(23, Verdict.INVALID, "BadDeviceToken")])])
    assert missing(ledger) == {0: list(range(1, 11)), 2: [22, 24, 25]}
    status = ledger.status()
    assert (status.chunks, status.finished, status.rows, status.done, status.over) == (3, 1, 25, 12, False)
    assert status.tally == {("apns", "ACCEPTED", ""): 11, ("apns", "INVALID", "BadDeviceToken"): 1}
    outcomes = list(ledger.outcomes())
    assert [each.row for each in outcomes] == [*range(11, 22), 23]
    assert outcomes[-1].reason == "BadDeviceToken"
    assert outcomes[0].id == push_id("camp", 11)
    assert outcomes[0].token == f"{11:064x}"


def test_a_copy_of_a_result_counts_once(ledger: Ledger) -> None:
    same = result_of(1, [sent(row) for row in range(11, 21)])
    ledger.record([same, same])
    ledger.record([same])
    assert (ledger.status().done, ledger.status().repeats) == (10, 0)


def test_the_first_outcome_of_a_row_stays(ledger: Ledger) -> None:
    ledger.record([result_of(0, [sent(row) for row in range(1, 6)], "a")])
    second = [sent(row, Verdict.INVALID, "BadDeviceToken") for row in range(4, 11)]
    ledger.record([result_of(0, second, "b")])
    status = ledger.status()
    assert (status.done, status.repeats, status.finished) == (10, 2, 1)
    assert status.tally == {("apns", "ACCEPTED", ""): 5, ("apns", "INVALID", "BadDeviceToken"): 5}
    verdicts = [each.verdict for each in ledger.outcomes()]
    assert verdicts == [Verdict.ACCEPTED] * 5 + [Verdict.INVALID] * 5
    ledger.record([result_of(0, [sent(row) for row in range(1, 11)], "c")])
    assert ledger.status().repeats == 12
    assert [each.verdict for each in ledger.outcomes()] == verdicts


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(1, 25), min_size=1, unique=True), max_size=12))
def test_each_row_keeps_its_first_outcome(batches: list[list[int]]) -> None:
    with tempfile.TemporaryDirectory() as directory, Ledger.create(f"{directory}/ledger", INFO) as ledger:
        ledger.add(list(inline_chunks([{"token": "t"}] * 25, SIZE)))
        first: dict[int, str] = {}
        repeats = 0
        for turn, rows in enumerate(batches):
            for number in range(3):
                own = [row for row in rows if (row - 1) // SIZE == number]
                if own:
                    reason = f"r{turn}"
                    results = [sent(row, Verdict.INVALID, reason) for row in own]
                    ledger.record([result_of(number, results, str(turn))])
                    repeats += sum(row in first for row in own)
                    for row in own:
                        first.setdefault(row, reason)
        assert {each.row: each.reason for each in ledger.outcomes()} == first
        status = ledger.status()
        assert (status.done, status.repeats) == (len(first), repeats)
        assert status.tally.total() == len(first)
        assert sum(len(rows) for rows in missing(ledger).values()) == 25 - len(first)


def test_results_across_a_block_of_the_journal(tmp_path: Path) -> None:
    """A chunk that lies in two blocks of 16 384 rows."""
    info = CampaignInfo("camp", "f", 10_000)
    with Ledger.create(tmp_path / "ledger", info) as ledger:
        ledger.add(list(inline_chunks([{}] * 20_000, 10_000)))
        rows = list(range(10_001, 20_001))
        made = result_of(1, [sent(row) for row in rows])
        assert len(made.parts) == 2
        ledger.record([made])
        assert [each.row for each in ledger.outcomes()] == rows
        assert ledger.status().finished == 1


def test_results_of_other_rows_are_strays(ledger: Ledger) -> None:
    ledger.record(
        [
            result_of(7, [sent(71)]),
            result_of(1, [sent(21)], "a"),
            result_of(1, [sent(10), sent(11)], "b"),
            ChunkResult(None, "n", "w", 0.0, bad="unreadable"),
        ],
        strays=2,
    )
    assert (ledger.status().done, ledger.status().strays) == (0, 6)


def test_a_bad_chunk_is_set_aside_until_it_has_a_result(ledger: Ledger) -> None:
    bad = ChunkResult(1, "n", "w", 0.0, bad="no such template")
    assert ChunkResult.decode(bad.encode()) == bad
    ledger.record([bad])
    assert ledger.aside() == [(1, "no such template")]
    assert list(missing(ledger)) == [0, 2]
    ledger.record([result_of(0, [sent(row) for row in range(1, 11)])])
    ledger.record([result_of(2, [sent(row) for row in range(21, 26)])])
    assert ledger.status().over
    ledger.take_back([1])
    assert list(missing(ledger)) == [1]
    assert not ledger.status().over


def test_everything_is_there_after_it_was_closed(tmp_path: Path, ledger: Ledger) -> None:
    ledger.record([result_of(0, [sent(1)])])
    ledger.state = CampaignState.PAUSED
    assert ledger.next_epoch() == 1
    assert ledger.next_epoch(40) == 40
    ledger.close()
    with Ledger.open(tmp_path / "ledger") as again:
        assert again.state is CampaignState.PAUSED
        assert (again.known, again.complete, again.info) == (3, True, INFO)
        assert again.status().done == 1
        assert again.next_epoch() == 41


def test_chunks_must_follow_each_other(tmp_path: Path) -> None:
    chunks = list(inline_chunks([{}] * 50, SIZE))
    with Ledger.create(tmp_path / "ledger", INFO) as ledger:
        ledger.add(chunks[:2])
        for wrong in (chunks[1:2], chunks[3:], list(inline_chunks([{}] * 50, 11))[2:3]):
            with pytest.raises(JournalError, match="where chunk 2 was expected"):
                ledger.add(wrong)
        assert ledger.known == 2


def test_files_of_others_are_refused(tmp_path: Path, ledger: Ledger) -> None:
    with pytest.raises(CampaignConflict):
        Ledger.create(tmp_path / "ledger", CampaignInfo("camp", "other", SIZE))
    with pytest.raises(JournalError, match="no ledger"):
        Ledger.open(tmp_path / "missing")
    (tmp_path / "text").write_text("this is no database " * 100)
    with pytest.raises(JournalError, match="is not a ledger"):
        Ledger.open(tmp_path / "text")
    other = sqlite3.connect(tmp_path / "sqlite")
    other.execute("create table t (x)")
    other.close()
    with pytest.raises(JournalError, match="is not a ledger"):
        Ledger.create(tmp_path / "sqlite", INFO)


@given(st.data())
def test_a_damaged_result_is_told(data: st.DataObject) -> None:
    made = ChunkResult.of(1, "n", "w", [sent(11), sent(12)], PREFIX)
    sound = ChunkResult(1, "n", "w", 1.5, made.parts, made.tally).encode()
    at = data.draw(st.integers(0, len(sound) - 1))
    with pytest.raises(ChunkError):
        ChunkResult.decode(sound[:at] + bytes([sound[at] ^ data.draw(st.integers(1, 255))]) + sound[at + 1 :])
    with pytest.raises(ChunkError):
        ChunkResult.decode(sound[:at])


@pytest.mark.parametrize("seed", range(6))
def test_any_damaged_bytes_are_reported_or_harmless(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with Ledger.create(
        tmp_path / "ledger", CampaignInfo("autumn", "f", 5, {"apns": {"topic": "a"}})
    ) as ledger:
        ledger.add(list(inline_chunks([{"token": f"{row:064x}", "n": row} for row in range(23)], 5)))
        ledger.finish()
        ledger.record([ChunkResult(2, "x", "w", 1.0, bad="its rows cannot be read: é")])
        ledger._file.sql.execute("pragma journal_mode = delete")
    for path in damaged_copies(tmp_path / "ledger", 60, chance):
        with contextlib.suppress(JournalError, QueueError), Ledger.open(path) as ledger:
            ledger.status()
            list(ledger.outcomes())
            for page in ledger.unfinished():
                for chunk in page:
                    chunk.columns()
            ledger.record([ChunkResult(3, "y", "w", 1.0, bad="it is bad")])
            ledger.take_back([2])
            ledger.state = CampaignState.PAUSED


def test_pushes_that_may_have_been_doubled_count_as_repeats_once(ledger: Ledger) -> None:
    """Also when the worker whose lease ran out delivers after all, before or after the other one."""
    rows = [sent(row) for row in range(11, 21)]
    second = ChunkResult.of(1, "second", "worker", rows, PREFIX, unsure=1)
    assert ChunkResult.decode(second.encode()) == second
    ledger.record([second])
    assert (ledger.status().done, ledger.status().repeats) == (10, 10)
    ledger.record([second])
    ledger.record([result_of(1, rows, "first")])
    assert (ledger.status().done, ledger.status().repeats) == (10, 10)
    ledger.record([result_of(0, [sent(1)], "first")])
    ledger.record([ChunkResult.of(0, "second", "w", [sent(row) for row in range(1, 11)], PREFIX, unsure=1)])
    assert ledger.status().repeats == 20
    ledger.record([ChunkResult.of(2, "x", "w", [sent(row) for row in range(21, 26)], PREFIX, unsure=2)])
    assert ledger.status().repeats == 30


@pytest.mark.parametrize("doubled", [-1, 1 << 32])
def test_a_number_of_doubled_pushes_that_cannot_be_is_damage(doubled: int) -> None:
    made = replace(result_of(0, [sent(1)]), doubled=doubled)
    with pytest.raises(ChunkError):
        ChunkResult.decode(made.encode())


def test_a_result_without_parts_changes_nothing(ledger: Ledger) -> None:
    """All rows of its chunk were delivered before."""
    before = ledger.status()
    ledger.record([ChunkResult(0, "n", "worker", 1.0, (), Counter())])
    after = ledger.status()
    assert (after.done, after.repeats, after.strays) == (before.done, before.repeats, before.strays)


def test_a_ledger_knows_whether_the_queue_may_have_its_campaign(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "ledger", INFO) as ledger:
        assert not ledger.announced
        ledger.announced = True
    with Ledger.open(tmp_path / "ledger") as ledger:
        assert ledger.announced
        ledger.announced = False
        assert not ledger.announced
        ledger.add(list(inline_chunks([{"token": "t"}], SIZE)))
        assert ledger.announced  # also one that an earlier version wrote


# --- files that other programs change meanwhile -----------------------------------------------------------------------


def recorded(path: Path) -> int:
    """The number of outcomes, according to another process."""
    with Ledger.open(path, read_only=True) as other:
        return len(list(other.outcomes()))


def filled(path: Path) -> Ledger:
    """A ledger with 20 rows, of which ten have an outcome."""
    ledger = Ledger.create(path, INFO)
    ledger.add(list(inline_chunks([{"token": f"{row:064x}"} for row in range(20)], 10)))
    ledger.finish()
    ledger.record([result_of(0, [sent(row) for row in range(1, 11)])])
    return ledger


def second() -> list[ChunkResult]:
    """The outcomes of the other ten rows."""
    return [result_of(1, [sent(row) for row in range(11, 21)])]


def test_a_ledger_that_is_removed_is_written_again_before_a_result_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = filled(path)
    for name in os.listdir(tmp_path):
        os.unlink(tmp_path / name)
    with pytest.raises(
        JournalError, match="was removed or renamed while it was written, and was written again"
    ):
        ledger.record(second())
    assert recorded(path) == 10
    ledger.record(second())
    assert recorded(path) == 20
    os.rename(path, tmp_path / "elsewhere")
    with pytest.raises(JournalError, match="removed or renamed"):
        ledger.close()
    assert recorded(path) == 20


def test_a_ledger_that_is_removed_during_a_commit_is_an_error_before_the_queue_forgets_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger"
    ledger = filled(path)
    take = Ledger._take

    def take_and_remove(*arguments: Any) -> Any:
        os.unlink(path)
        return take(*arguments)

    monkeypatch.setattr(Ledger, "_take", take_and_remove)
    with pytest.raises(JournalError, match="removed or renamed"):
        ledger.record(second())
    monkeypatch.undo()
    ledger.record(second())  # again, as from the queue
    assert (ledger.status().done, ledger.status().repeats, recorded(path)) == (20, 0, 20)
    ledger.close()


def test_a_ledger_that_is_truncated_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = filled(path)
    os.truncate(path, 4096)
    with pytest.raises(
        JournalError, match="was truncated or overwritten by another process while it was written"
    ):
        ledger.status()
    with pytest.raises(JournalError, match="was truncated"):
        ledger.close()


def test_a_ledger_that_is_overwritten_is_damaged(tmp_path: Path) -> None:
    ledger = filled(tmp_path / "ledger")
    ledger.verify()
    with open(tmp_path / "ledger", "r+b") as file:
        file.seek(4096)
        file.write(bytes(os.path.getsize(tmp_path / "ledger") - 4096))
    ledger.close()
    with pytest.raises(JournalError, match="ledger is damaged"), Ledger.open(tmp_path / "ledger") as again:
        again.verify()


def test_a_ledger_that_is_replaced_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = filled(path)
    (tmp_path / "new").write_bytes(b"something else")
    os.replace(tmp_path / "new", path)
    with pytest.raises(
        JournalError, match=r"was replaced by another file .* its content is in .*ledger\.saved"
    ):
        ledger.status()
    assert ledger.path == f"{path}.saved"
    ledger.close()
    assert sorted(os.listdir(tmp_path)) == ["ledger", "ledger.saved"]  # no log that is not of that file
    assert path.read_bytes() == b"something else"
    assert recorded(Path(f"{path}.saved")) == 10


@pytest.mark.parametrize("kind", ["-wal", "-shm"])
@pytest.mark.parametrize("change", ["removed", "truncated", "halved", "zeroed"])
def test_nothing_is_lost_with_the_log_or_its_index(tmp_path: Path, kind: str, change: str) -> None:
    path = tmp_path / "ledger"
    ledger = filled(path)
    file = f"{path}{kind}"
    size = os.path.getsize(file)
    if change == "removed":
        os.unlink(file)
    elif change == "zeroed":
        with open(file, "r+b") as opened:
            opened.write(bytes(size))
    else:
        os.truncate(file, size // 2 if change == "halved" else 0)
    ledger.record(second())
    assert ledger.status().done == 20
    ledger.close()
    assert recorded(path) == 20
    with Ledger.open(path) as again:
        assert again.status().tally.total() == 20


def test_a_ledger_that_is_only_read_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    filled(path).close()
    before = path.read_bytes()
    assert recorded(path) == 10
    assert (os.listdir(tmp_path), path.read_bytes()) == (["ledger"], before)
    with Ledger.open(path, read_only=True) as ledger:
        with pytest.raises(JournalError, match="cannot be opened for this"):
            ledger.state = CampaignState.PAUSED
        path.unlink()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("info", [b"", b"{}", b"[1]", b'{"name": 1}', b"\xff", "text", 5, 1.5])
def test_a_description_that_cannot_be_read_is_named_with_the_ledger(tmp_path: Path, info: object) -> None:
    filled(tmp_path / "ledger").close()
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger")) as sql:
        sql.execute("update campaign set info = ?", (info,))
        sql.commit()
    with pytest.raises(JournalError, match=r"ledger is damaged \(the description of its campaign\)"):
        Ledger.open(tmp_path / "ledger")


@pytest.mark.parametrize("data", [b"", b"\x00\xff", "text", 5])
def test_a_chunk_that_cannot_be_read_is_named_with_the_ledger(tmp_path: Path, data: object) -> None:
    filled(tmp_path / "ledger").close()
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger")) as sql:
        sql.execute("update chunk set data = ?, state = 0", (data,))
        sql.commit()
    with (
        Ledger.open(tmp_path / "ledger") as ledger,
        pytest.raises(JournalError, match=r"ledger is damaged \("),
    ):
        list(ledger.unfinished())
