"""Rows of a journal's tables as a damaged file may give them: the record, or what is wrong, and nothing else."""

from __future__ import annotations

import contextlib
import json
import zlib
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.journal import rows
from pushcore.journal.format import BLOCK
from pushcore.journal.rows import DamagedError

from .support import SOURCE

CAMPAIGN = ("c", 12.5, 10, 1, 3, json.dumps(asdict(SOURCE)), '{"topic": "a"}', None)
RUN = (1, 12.5, 13.5, None, 40, 2, 3, '[["apns", "INVALID", "x", 3]]', "why", 1)
ANYTHING = st.one_of(
    st.none(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.sampled_from(["[]", "{}", "[[1]]", "null", '{"path": 1}', "[" * 5000]),
)


def test_written_rows_are_read_back() -> None:
    record = rows.campaign(CAMPAIGN)
    assert (record.id, record.source, record.options, record.rows) == ("c", SOURCE, {"topic": "a"}, None)
    (run,) = rows.runs([RUN])
    assert (run.upto, run.tally, run.resends) == (40, {("apns", "INVALID", "x"): 3}, True)
    assert rows.parked([(7, 1, 2, 0)]) == [(7, 1, 2, False)]


@pytest.mark.parametrize("row", [None, (), CAMPAIGN[:-1], [*CAMPAIGN, 1]])
def test_a_row_of_another_length_is_damage(row: Any) -> None:
    with pytest.raises(DamagedError, match="a row of the table campaign"):
        rows.campaign(row)


def test_there_is_one_run_at_least() -> None:
    with pytest.raises(DamagedError):
        rows.runs([])


@given(st.integers(0, 7), ANYTHING)
def test_any_value_in_a_campaign_is_taken_or_damage(place: int, value: Any) -> None:
    changed = [*CAMPAIGN]
    changed[place] = value
    try:
        record = rows.campaign(changed)
    except DamagedError:
        return
    assert isinstance(record.owned_upto(1000), int)


@given(st.integers(0, 9), ANYTHING)
def test_any_value_in_a_run_is_taken_or_damage(place: int, value: Any) -> None:
    changed = [*RUN]
    changed[place] = value
    try:
        (run,) = rows.runs([changed])
    except DamagedError:
        return
    assert run.tally.total() >= 0
    assert 0 <= run.updated < 1e11


@given(st.tuples(ANYTHING, ANYTHING, ANYTHING, ANYTHING), st.tuples(ANYTHING, ANYTHING, ANYTHING))
def test_any_values_of_other_tables_are_taken_or_damage(parked: Any, part: Any) -> None:
    for read, row in ((rows.parked, [parked]), (rows.part, part)):
        with contextlib.suppress(DamagedError):
            read(row)


@pytest.mark.parametrize(
    "bits", [b"", b"\0\0", b"\0\0\0", b"\xff\xff\x01", b"\0\0" + b"\xff" * (BLOCK // 8 + 1)]
)
def test_a_bitmap_that_is_none_of_a_block_is_damage(bits: bytes) -> None:
    with pytest.raises(DamagedError, match="a row of the table part"):
        rows.part((1, bits, zlib.crc32(bits).to_bytes(4, "little")))
