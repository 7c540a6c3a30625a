"""Chunks as bytes: what goes in comes out, what is damaged is said to be, and neither takes more than it may."""

from __future__ import annotations

import zlib
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.errors import ConfigurationError
from pushcore.queue import chunk as module
from pushcore.queue.chunk import MAX_ROWS, Chunk, Reference, inline_chunks
from pushcore.queue.errors import ChunkError
from tests.support.strange_values import DEEP, Array

VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)
ROWS = st.lists(st.dictionaries(st.text(max_size=8), VALUES, max_size=5), min_size=1, max_size=20)


def by_row(chunk: Chunk) -> list[dict[str, Any]]:
    columns = chunk.columns()
    return [{name: values[at] for name, values in columns.items()} for at in range(chunk.rows)]


@pytest.mark.slow
@given(ROWS)
def test_rows_come_out_as_they_went_in(rows: list[dict[str, Any]]) -> None:
    chunk = Chunk.decode(Chunk.inline(7, 71, rows).encode())
    assert (chunk.number, chunk.first, chunk.rows) == (7, 71, len(rows))
    names = {name for row in rows for name in row}
    for found, row in zip(by_row(chunk), rows, strict=True):
        assert found == {name: row.get(name) for name in names}
        assert all(type(found[name]) is type(row.get(name)) for name in names)


@pytest.mark.parametrize(
    "tokens",
    [
        [f"{row:064x}" for row in range(50)],
        [f"{row:064X}" for row in range(10, 60)],
        [f"{row:064x}" for row in range(49)] + ["x"],
        ["é" * 64] * 50,
        ["a" * 63] * 50,
        [""] * 50,
    ],
    ids=["lower", "upper", "one other", "no ASCII", "odd", "empty"],
)
def test_tokens_come_out_as_they_went_in(tokens: list[str]) -> None:
    chunk = Chunk.decode(Chunk.inline(0, 1, [{"token": token, "locale": "en"} for token in tokens]).encode())
    assert chunk.columns() == {"token": tokens, "locale": ["en"] * 50}


def test_a_chunk_is_small() -> None:
    rows = [
        {
            "token": f"{row * 7919:064x}",
            "name": f"Name {row}",
            "locale": "en_GB",
            "link": f"https://example.com/{row}",
        }
        for row in range(500)
    ]
    assert len(Chunk.inline(0, 1, rows).encode()) < 500 * 52  # bytes; raw tokens alone are 32 of them


def test_finished_rows_are_not_missing() -> None:
    chunk = Chunk.inline(2, 21, [{"token": "x"}] * 10)
    assert chunk.missing() == list(range(21, 31))
    once = Chunk.decode(chunk.without(0b1000000101).encode())
    assert once.missing() == [22, 24, 25, 26, 27, 28, 29]
    assert once.without(0b10).missing() == [24, 25, 26, 27, 28, 29]
    assert once.without(0b1111111111).missing() == []
    assert chunk.without(0).done == b""


def test_a_reference_comes_through() -> None:
    where = Reference("s3://bucket/audience.parquet", 1000, 1500, "rows", "abc")
    chunk = Chunk.decode(Chunk(2, 1001, 500, where).encode())
    assert chunk.reference == where
    with pytest.raises(ChunkError, match="not in it but in s3://bucket"):
        chunk.columns()


@given(st.binary(max_size=200))
def test_bytes_of_others_are_no_chunk(data: bytes) -> None:
    with pytest.raises(ChunkError):
        Chunk.decode(data)


@given(st.data())
def test_a_damaged_chunk_is_told(data: st.DataObject) -> None:
    sound = Chunk.inline(3, 31, [{"token": f"{row:032x}", "n": row} for row in range(10)]).encode()
    at = data.draw(st.integers(0, len(sound) - 1))
    with pytest.raises(ChunkError):
        Chunk.decode(sound[:at] + bytes([sound[at] ^ data.draw(st.integers(1, 255))]) + sound[at + 1 :])
    with pytest.raises(ChunkError):
        Chunk.decode(sound[:at])


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk(-1, 1, 1),
        Chunk(0, 0, 1),
        Chunk(0, 1, 0),
        Chunk(0, 1, MAX_ROWS + 1),
        Chunk(0, 1, 1, done=b"\1\2"),
        Chunk(0, 1, 1, raw=(("token", 63),)),
        Chunk(0, 1, 1, raw=(("token", -2),)),
    ],
)
def test_a_chunk_out_of_bounds_is_rejected(chunk: Chunk) -> None:
    with pytest.raises(ChunkError):
        Chunk.decode(chunk.encode())


def test_a_chunk_that_inflates_beyond_its_limit_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pushcore.queue.chunk.MAX_BYTES", 1000)
    chunk = Chunk.decode(Chunk(0, 1, 1, payload=zlib.compress(b'{"a":["' + b"x" * 2000 + b'"]}')).encode())
    with pytest.raises(ChunkError, match="more than 1000 bytes"):
        chunk.columns()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"nonsense",
        zlib.compress(b"[1]"),
        zlib.compress(b'{"a":[1,2,3]}'),
        zlib.compress(b'{"a":1}'),
        zlib.compress(b"{"),
    ],
)
def test_columns_that_are_none_are_told(payload: bytes) -> None:
    chunk = Chunk.decode(Chunk(0, 1, 2, payload=payload).encode())
    with pytest.raises(ChunkError, match="chunk 0 is damaged"):
        chunk.columns()


def test_a_source_is_cut_into_chunks() -> None:
    rows = [{"token": str(row)} for row in range(25)]
    chunks = list(inline_chunks(rows, 10))
    assert [(chunk.number, chunk.first, chunk.rows) for chunk in chunks] == [
        (0, 1, 10),
        (1, 11, 10),
        (2, 21, 5),
    ]
    assert [row for chunk in chunks for row in by_row(chunk)] == rows
    assert list(inline_chunks(iter(rows), 10, start=2)) == chunks[2:]
    assert list(inline_chunks([], 10)) == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"x", "row 8.a.b must be a value of JSON, not bytes"),
        (1 << 70, "row 8.a.b must be a whole number of 64 bits"),
        ("\ud800", "row 8.a.b must be valid Unicode"),
        ({1: 2}, "the keys of row 8.a.b must be strings, not int (1)"),
        (Array(), "row 8.a.b must be a value of JSON, not Array"),
        (Decimal("sNaN"), "row 8.a.b must be a value of JSON, not Decimal"),
        (DEEP, "row 8 is nested too deeply"),
    ],
)
def test_a_value_that_json_does_not_have_is_named_with_its_row(value: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Chunk.inline(0, 7, [{"a": {"b": 1}}, {"a": {"b": value}}])
    assert words in str(caught.value)
    with pytest.raises(ConfigurationError):
        Chunk.inline(0, 7, [{"a": value}] * 2)


def test_wrong_rows_are_named() -> None:
    with pytest.raises(ConfigurationError, match="1 to 10000 rows"):
        Chunk.inline(0, 1, [])
    with pytest.raises(ConfigurationError, match="row 1"):
        Chunk.inline(0, 1, [{"token": {1, 2}}])
    with pytest.raises(ConfigurationError, match="from 1 to 10000"):
        next(inline_chunks([{}], 0))


@pytest.mark.parametrize("digits", [0, -2, 1, 3])
def test_a_raw_column_of_no_digits_is_damage(digits: int) -> None:
    chunk = Chunk.inline(0, 1, [{"token": "ab" * 32}, {"token": "cd" * 32}])
    with pytest.raises(ChunkError, match="a chunk is damaged"):
        Chunk.decode(replace(chunk, raw=(("token", digits),)).encode())


def test_raw_columns_that_end_too_early_are_damage() -> None:
    chunk = Chunk.inline(0, 1, [{"token": "ab" * 32}, {"token": "cd" * 32}])
    with pytest.raises(ChunkError, match="chunk 0 is damaged: it ends too early"):
        replace(chunk, payload=chunk.payload[:63]).columns()


@pytest.mark.parametrize("number", [b'"0"', b"true", b"0.0", b"null"])
def test_a_number_that_is_none_is_damage_even_with_a_right_checksum(number: bytes) -> None:
    text = b'{"n": %b, "f": 1, "r": 1}' % number
    checksum = zlib.crc32(text, zlib.crc32(len(text).to_bytes(4, "little")))
    with pytest.raises(ChunkError, match="a chunk is damaged: it cannot be read"):
        Chunk.decode(module._HEAD.pack(module._MAGIC, checksum, len(text)) + text)
