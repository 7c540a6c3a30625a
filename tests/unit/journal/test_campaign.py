"""A campaign's chunks, counted and looked at one by one, and what its runs have left."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from pushcore.errors import JournalError
from pushcore.journal.campaign import (
    ENDS,
    FULL,
    MAX_TALLIES,
    OTHER_REASONS,
    CampaignRecord,
    RunRecord,
    Source,
    survey,
)
from pushcore.journal.format import BLOCK, bitmap, pack, rows_of
from pushcore.journal.outcome import EarlierAttempts, OutcomeEntry

from .support import SOURCE

NOWHERE = Source("rows.csv")


def campaign(shard: int = 0, shards: int = 1, chunk_size: int = 10) -> CampaignRecord:
    return CampaignRecord("c", 0.0, chunk_size, shard, shards, NOWHERE, {}, None)


PARTS = [campaign(shard, shards, size) for shards in (1, 2, 3) for shard in range(shards) for size in (1, 7)]


def run(number: int, upto: int, *, resends: bool = False) -> RunRecord:
    return RunRecord(number, 0.0, 0.0, upto=upto, resends=resends)


def part(rows: Iterable[int]) -> tuple[int, bytes]:
    """The block and the bitmap of rows of one block that have an outcome."""
    entries: list[OutcomeEntry] = [(row, "aa", None, 0) for row in rows]
    return (entries[0][0] - 1) // BLOCK, pack(entries, "prefix", {}).bits


# --- chunks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mine", PARTS, ids=lambda each: f"{each.shard}/{each.shards}x{each.chunk_size}")
def test_counts_of_rows_agree_with_looking_at_each(mine: CampaignRecord) -> None:
    owned = [row for row in range(1, 200) if mine.owns(row)]
    for row in range(100):
        assert mine.owned_upto(row) == sum(each <= row for each in owned)
        for count in (1, 2, 9, 20):
            assert mine.ahead(row, count) == [each for each in owned if each > row][count - 1]


def test_every_row_is_in_exactly_one_journal() -> None:
    parts = [campaign(shard, 3, 7) for shard in range(3)]
    assert all(sum(each.owns(row) for each in parts) == 1 for row in range(1, 100))


@pytest.mark.parametrize(("shards", "size"), [(1, 10), (2, 1000), (3, 7), (2, 2 * BLOCK), (5, 10_000)])
def test_the_bitmap_of_a_block_has_the_owned_rows(shards: int, size: int) -> None:
    for shard in range(shards):
        mine = campaign(shard, shards, size)
        for block in (0, 1, 5):
            first = block * BLOCK + 1
            owned = [row for row in range(first, first + BLOCK) if mine.owns(row)]
            bits = mine.owned_in(block)
            assert (rows_of(bits, block) if bits else []) == owned


# --- runs -------------------------------------------------------------------------------------------------------------


def test_reasons_beyond_the_limit_are_counted_together() -> None:
    counted = run(1, 0)
    for number in range(MAX_TALLIES + 5):
        counted.count(Counter({("apns", "INVALID", f"reason {number}"): 2}))
    assert len(counted.tally) == MAX_TALLIES + 1
    assert counted.tally["apns", "INVALID", OTHER_REASONS] == 10
    counted.count(Counter({("apns", "INVALID", "reason 0"): 1}))
    assert counted.tally["apns", "INVALID", "reason 0"] == 3


# --- what is left -----------------------------------------------------------------------------------------------------


def test_a_new_campaign_has_nothing_left_and_nothing_done() -> None:
    assert survey(campaign(), [run(1, 0)], [], []) == (0, {}, {})


def test_rows_that_may_have_been_sent_and_have_no_outcome_are_unsure() -> None:
    rest = survey(campaign(), [run(1, 5)], [part([1, 3])], [])
    assert rest.zone == 5
    assert rest.left == dict.fromkeys((2, 4, 5), EarlierAttempts(1, 1))
    assert rest.bits == {0: 0b101}


def test_each_run_that_resent_a_row_adds_an_attempt() -> None:
    runs = [run(1, 5), run(2, 3, resends=True), run(3, 5), run(4, 4, resends=True)]
    left = survey(campaign(), runs, [part([1])], []).left
    assert left == {
        2: EarlierAttempts(3, 3),
        3: EarlierAttempts(3, 3),
        4: EarlierAttempts(2, 2),
        5: EarlierAttempts(1, 1),
    }


def test_a_parked_row_is_not_in_doubt_and_keeps_its_attempts() -> None:
    left = survey(campaign(), [run(1, 3)], [], [(1, 1, 4, True), (2, 1, 2, False)]).left
    assert left == {1: EarlierAttempts(4, 0), 2: EarlierAttempts(3, 1), 3: EarlierAttempts(1, 1)}


def test_a_run_after_the_parking_may_have_sent_the_row() -> None:
    runs = [run(1, 3), run(2, 1)]
    assert survey(campaign(), runs, [part([2, 3])], [(1, 1, 4, True)]).left == {1: EarlierAttempts(5, 1)}


def test_rows_of_other_journals_are_not_left() -> None:
    left = survey(campaign(1, 2, 2), [run(1, 9)], [part([3])], []).left
    assert list(left) == [4, 7, 8]


def test_parts_of_a_block_add_up_and_a_whole_block_is_marked_full() -> None:
    half = BLOCK // 2
    parts = [part(range(1, half + 1)), part(range(half + 1, BLOCK + 1)), part([BLOCK + 2])]
    rest = survey(campaign(), [run(1, BLOCK + 2)], parts, [])
    assert rest.bits == {0: FULL, 1: bitmap(parts[2][1])}
    assert rest.left == {BLOCK + 1: EarlierAttempts(1, 1)}


# --- sources ----------------------------------------------------------------------------------------------------------


def test_a_source_knows_path_size_time_and_both_ends_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"x" * (3 * ENDS))
    (tmp_path / "link.csv").symlink_to(path)
    before = Source.of_file(tmp_path / "link.csv")
    assert before.path == os.path.realpath(path)
    assert (before.size, before.mtime) == (3 * ENDS, path.stat().st_mtime_ns)
    digests = {before.digest}
    for place in (0, 3 * ENDS - 1):
        data = bytearray(b"x" * (3 * ENDS))
        data[place] = 0
        path.write_bytes(data)
        digests.add(Source.of_file(path).digest)
    assert len(digests) == 3
    path.write_bytes(b"x" * ENDS + b"y" * ENDS + b"x" * ENDS)  # its middle is not looked at
    assert Source.of_file(path).digest == before.digest


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (Source("other.csv", 10, 20, "30"), "the campaign began with rows.csv, not with other.csv"),
        (Source("rows.csv", 11, 20, "30"), "rows.csv had 10 bytes when the campaign began, and now has 11"),
        (Source("rows.csv", 10, 21, "30"), "rows.csv has changed"),
        (Source("rows.csv", 10, 20, "31"), "rows.csv has changed"),
    ],
)
def test_how_a_source_has_changed(now: Source, words: str) -> None:
    assert words in (SOURCE.change(now) or "")
    assert SOURCE.change(SOURCE) is None


def test_a_source_of_no_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Source.of_file(tmp_path / "none")


def test_more_rows_in_doubt_than_there_can_be_are_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged number is no loop without an end."""
    runs = [RunRecord(1, 0.0, 0.0, upto=1 << 47)]
    with pytest.raises(JournalError, match="too many rows are in doubt"):
        survey(campaign(), runs, [], [])
