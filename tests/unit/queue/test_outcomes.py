"""A chunk's result as bytes: every outcome comes back, and what is damaged is one error."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushcore.journal.format import BLOCK
from pushcore.journal.journal import id_prefix, push_id
from pushcore.models.fcm import Message
from pushcore.queue.errors import ChunkError
from pushcore.queue.outcomes import MAX_PARTS, MAX_SENTENCE, ChunkResult, OutcomeBlock
from pushcore.queue.pushes import NumberedNotification
from pushcore.results import Result, Verdict

PREFIX = id_prefix("camp")
REASONS = {
    Verdict.ACCEPTED: None,
    Verdict.UNREGISTERED: "Unregistered",
    Verdict.INVALID: "BadDeviceToken",
    Verdict.UNKNOWN: None,
}


class NumberedMessage(Message):
    """A message to FCM that knows its row."""

    __slots__ = ("row",)
    row: int


def outcome(row: int, verdict: Verdict = Verdict.ACCEPTED, attempts: int = 1, **fields: Any) -> Result:
    push = NumberedNotification(row, f"{row:064x}", b"{}", apns_id=push_id("camp", row))
    status = {Verdict.ACCEPTED: 200, Verdict.UNREGISTERED: 410, Verdict.INVALID: 400}.get(verdict)
    return Result(push, verdict, status, attempts, push.apns_id, reason=REASONS[verdict], **fields)


def result_of(results: list[Result], number: int = 4) -> ChunkResult:
    return ChunkResult.of(number, "nonce", "worker-1", results, PREFIX)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.integers(1, 3 * BLOCK), st.sampled_from(list(REASONS)), max_size=20))
def test_every_outcome_comes_back_whatever_the_order(rows: dict[int, Verdict]) -> None:
    made = result_of([outcome(row, verdict) for row, verdict in rows.items()])
    found = ChunkResult.decode(made.encode())
    assert found == made
    outcomes = [each for part in found.parts for each in part.outcomes(PREFIX)]
    assert [(each.row, each.verdict) for each in outcomes] == sorted(rows.items())
    assert all(each.token == f"{each.row:064x}" for each in outcomes)
    assert sum(part.rows for part in found.parts) == sum(1 << (row - 1) for row in rows)
    assert found.tally == Counter(
        ("apns", verdict.value, REASONS[verdict] or "") for verdict in rows.values()
    )


def test_rows_of_two_blocks_are_two_parts() -> None:
    found = result_of([outcome(row) for row in (BLOCK, BLOCK + 1, 1)])
    assert [part.block for part in found.parts] == [0, 1]
    assert [part.rows for part in found.parts] == [1 | 1 << (BLOCK - 1), 1 << BLOCK]


def test_an_outcome_that_is_not_plain_keeps_what_it_has() -> None:
    results = [
        outcome(1, attempts=3),
        outcome(2, Verdict.UNREGISTERED, timestamp=1_750_000_000.0),
        outcome(3, Verdict.UNKNOWN, detail="no response in time"),
    ]
    first, second, third = result_of(results).parts[0].outcomes(PREFIX)
    assert (first.attempts, first.id) == (3, push_id("camp", 1))
    assert (second.reason, second.timestamp) == ("Unregistered", 1_750_000_000.0)
    assert third.verdict is Verdict.UNKNOWN


def test_a_message_to_fcm_is_counted_as_fcms() -> None:
    push = NumberedMessage(token="t" * 20)
    push.row = 7
    made = result_of([Result(push, Verdict.ACCEPTED, 200, 1, "projects/p/messages/9")])
    assert made.tally == {("fcm", "ACCEPTED", ""): 1}
    (only,) = made.parts[0].outcomes(PREFIX)
    assert (only.row, only.id) == (7, "projects/p/messages/9")


def test_a_chunk_that_was_set_aside_has_its_reason_and_maybe_no_number() -> None:
    bad = ChunkResult(None, "n", "w", 12.5, bad="x" * 1000)
    found = ChunkResult.decode(bad.encode())
    assert (found.number, found.at, found.bad) == (None, 12.5, "x" * MAX_SENTENCE)
    assert (found.parts, found.tally) == ((), {})


def test_no_flipped_bit_and_no_cut_is_read() -> None:
    raw = result_of([outcome(row) for row in range(1, 6)]).encode()
    for at in range(len(raw)):
        with pytest.raises(ChunkError):
            ChunkResult.decode(raw[:at])
        with pytest.raises(ChunkError):
            ChunkResult.decode(raw[:at] + bytes((raw[at] ^ 1 << at % 8,)) + raw[at + 1 :])
    with pytest.raises(ChunkError):
        ChunkResult.decode(raw + b"\0")


def sealed(header: bytes, body: bytes = b"") -> bytes:
    """A result with a right checksum, whatever it says."""
    return struct.pack("<II", zlib.crc32(header + body), len(header)) + header + body


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (b"", b""),
        (b"[]", b""),
        (b"{}", b""),
        (b'{"n": -1, "x": "n", "w": "w", "t": 1, "bad": "b"}', b""),
        (b'{"n": true, "x": "n", "w": "w", "t": 1, "bad": "b"}', b""),
        (b'{"n": "1", "x": "n", "w": "w", "t": 1, "bad": "b"}', b""),
        (b'{"n": 1, "x": "n", "w": "w", "t": "now", "bad": "b"}', b""),
        (b'{"n": 1, "x": "n", "w": "w", "t": 1, "p": []}', b""),
        (b'{"n": 1, "x": "n", "w": "w", "t": 1, "p": [], "c": [["a", "b"]]}', b""),
        (b'{"n": 1, "x": "n", "w": "w", "t": 1, "p": [], "c": []}', b"x"),
        (b'{"n": 1, "x": "n", "w": "w", "t": 1, "p": [[0, 2, 5]], "c": []}', b"1234"),
        (b'{"n": 1, "x": "n", "w": "w", "t": 1, "p": [[-1, 2, 0]], "c": []}', b"12"),
        (b'{"n": 1, "x": "n", "w": "w", "t": 1, "p": [[0, 1, 0]], "c": []}', b"1"),
        (b'{"n": 1, "x": "n", "w": "w", "t": 1, "p": [[0, 2, -1]], "c": []}', b"12"),
        (b'{"n": 1, "x": "n", "w": "w", "t": 1, "p": 5, "c": []}', b""),
        (
            b'{"n": 1, "x": "n", "w": "w", "t": 1, "p": [%b], "c": []}'
            % b", ".join([b"[0, 2, 0]"] * (MAX_PARTS + 1)),
            b"12" * (MAX_PARTS + 1),
        ),
    ],
)
def test_a_result_with_a_valid_checksum_and_impossible_content_is_rejected(
    header: bytes, body: bytes
) -> None:
    with pytest.raises(ChunkError, match="damaged"):
        ChunkResult.decode(sealed(header, body))


def test_names_from_the_queue_are_cut() -> None:
    header = b'{"n": 1, "x": "%b", "w": "%b", "t": 1, "bad": "b"}' % (b"n" * 100, b"w" * 1000)
    found = ChunkResult.decode(sealed(header))
    assert (len(found.nonce), len(found.worker)) == (64, 256)


def test_the_rows_of_a_part_are_counted_from_its_block() -> None:
    part = result_of([outcome(2 * BLOCK + 5)]).parts[0]
    assert part == OutcomeBlock(2, part.bits, part.blob)
    assert part.rows == 1 << (2 * BLOCK + 4)
