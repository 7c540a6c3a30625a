"""`Shard`: which rows are one process's."""

from __future__ import annotations

import pytest

from pushcore.audience.shards import CHUNK_ROWS, WHOLE, Shard

SHARDS = [Shard(number, parts, chunk) for parts in (1, 2, 3) for number in range(parts) for chunk in (1, 4)]


def test_every_row_is_in_exactly_one_part() -> None:
    parts = [Shard(number, 3, 4) for number in range(3)]
    for row in range(1, 60):
        assert sum(part.own(row) for part in parts) == 1


def test_a_part_has_every_nth_chunk_of_neighbouring_rows() -> None:
    assert [row for row in range(1, 21) if Shard(1, 3, 4).own(row)] == [5, 6, 7, 8, 17, 18, 19, 20]


@pytest.mark.parametrize("shard", SHARDS, ids=repr)
def test_upto_counts_the_parts_rows(shard: Shard) -> None:
    for row in range(40):
        assert shard.upto(row) == sum(shard.own(each) for each in range(1, row + 1))


@pytest.mark.parametrize("shard", SHARDS, ids=repr)
def test_a_stretch_ends_where_the_next_chunk_begins(shard: Shard) -> None:
    for row in range(1, 40):
        alike = shard.stretch(row)
        assert {shard.own(each) for each in range(row, row + alike)} == {shard.own(row)}
        assert (row + alike - 1) % shard.chunk == 0


def test_without_processes_all_rows_are_one_part() -> None:
    assert all(WHOLE.own(row) for row in (1, CHUNK_ROWS, CHUNK_ROWS + 1, 10 * CHUNK_ROWS))
    assert WHOLE.upto(CHUNK_ROWS + 7) == CHUNK_ROWS + 7
