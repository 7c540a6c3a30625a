"""Chunks by reference: what a worker reads of each stretch is what a run reads of the whole file, row by row."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pushcore.audience.audience import Audience
from pushcore.audience.problems import BadInput
from pushcore.queue.chunk import Chunk, Reference
from pushcore.queue.errors import CampaignConflict, ChunkError, SourceUnavailable
from pushcore.queue.references import ReferencedRows, ReferenceReader, described, reference_chunks

Seen = list[tuple[Any, ...]]
needs_pyarrow = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="pyarrow is missing: the extra pushcore[parquet]"
)


def all_of(path: Path, columns: list[str] | None = None) -> Seen:
    """Every row of a file as one run reads it, the bad ones with their reason."""
    seen: Seen = []
    with Audience(str(path)) as source:
        if columns is not None:
            source.select(columns)
        seen += (
            (number, values) for number, values in source.records(lambda *bad: seen.append(("bad", *bad)))
        )
    return sorted(seen, key=row_of)


def row_of(each: tuple[Any, ...]) -> int:
    return int(each[1] if each[0] == "bad" else each[0])


def chunks_of(path: Path, rows: int) -> tuple[list[Chunk], dict[str, Any]]:
    with Audience(str(path)) as source:
        return list(reference_chunks(source, str(path), rows)), described(source)


async def read(shelf: ReferenceReader, chunk: Chunk, about: Any, columns: list[str] | None = None) -> Seen:
    """The rows of a chunk as a worker reads them, out of the bytes that travel."""
    source = shelf.source(Chunk.decode(chunk.encode()), about)
    if columns is not None:
        source.select(columns)
    await shelf.load(source)
    return rows_of(source)


def rows_of(source: ReferencedRows) -> Seen:
    seen: Seen = []
    seen += ((number, values) for number, values in source.records(lambda *bad: seen.append(("bad", *bad))))
    return sorted(seen, key=row_of)


def by_chunks(path: Path, rows: int, columns: list[str] | None = None) -> Seen:
    chunks, about = chunks_of(path, rows)
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert all(chunk.rows == rows for chunk in chunks[:-1])

    async def run() -> Seen:
        shelf, seen = ReferenceReader(), []
        try:
            for chunk in chunks:
                found = await read(shelf, chunk, about, columns)
                assert [row_of(each) for each in found] == list(range(chunk.first, chunk.first + chunk.rows))
                seen += found
        finally:
            shelf.close()
        return seen

    return asyncio.run(run())


CSV = (
    b"\xef\xbb\xbf"
    b"token,name\n"
    b"aa,Ada\n"
    b"\n"
    b'bb,"two\n'
    b'lines, and ""quotes"""\n'
    b"cc,one,two,three\n"
    b'dd,"a quote that does not close\n'
    b"ee,Eve\r\n"
    b'ff,"closed" badly\n'
    b'"gg",\xff\xfe\n'
    b"hh\n"
    b'ii,"nul\x00"\n'
    b"jj,last"
)


@pytest.mark.parametrize("rows", range(1, 13))
def test_csv_with_all_that_can_be_wrong(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(CSV)
    whole = all_of(path)
    assert len(whole) == 10
    seen = by_chunks(path, rows)
    # A NUL far away makes a file slower to read, not other: it is the row's that holds it.
    assert [each[:2] if each[0] == "bad" else each for each in seen] == [
        each[:2] if each[0] == "bad" else each for each in whole
    ]


FIELD = st.text(st.sampled_from('ab,"\n\r é\x00'), max_size=6)
TEXTS = st.lists(FIELD, min_size=1, max_size=40).map(lambda fields: "\n".join(fields))


def problem_of(read: Callable[[], object]) -> str:
    """The error of an audience that seems to be truncated; empty if it does not."""
    try:
        read()
    except OSError as error:
        return str(error)
    return ""


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS, rows=st.integers(1, 7))
def test_any_csv(tmp_path: Path, text: str, rows: int) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(f"token,b\n{text}".encode())
    cut = problem_of(lambda: all_of(path))
    assert problem_of(lambda: by_chunks(path, rows)) == cut
    if cut:
        path.write_bytes(path.read_bytes() + b'"\n')  # now it is complete
    whole, seen = all_of(path), by_chunks(path, rows)
    assert [row_of(each) for each in seen] == [row_of(each) for each in whole]
    # Where a quote opens in the last row of a stretch, the reason may be another one; the verdict is the same.
    assert [each for each in seen if each[0] != "bad"] == [each for each in whole if each[0] != "bad"]


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(
        st.sampled_from(['{"token":"a"}', "", "  ", "[]", "nonsense", '{"token":"b","n":[1]}\r', "\x0c"]),
        min_size=1,
        max_size=30,
    ),
    rows=st.integers(1, 7),
)
def test_any_ndjson(tmp_path: Path, lines: list[str], rows: int) -> None:
    path = tmp_path / "any.ndjson"
    path.write_bytes("\n".join(['{"token":"first"}', *lines]).encode())
    assert by_chunks(path, rows) == all_of(path)


def write_parquet(path: Path, count: int, group: int, **more: Any) -> None:
    pyarrow = importlib.import_module("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    columns: dict[str, Any] = {
        "token": [f"{row:064x}" for row in range(count)],
        "unused": [b"x" * 20] * count,
        "badge": list(range(count)),
    }
    parquet.write_table(pyarrow.table(columns | more), path, row_group_size=group)


@needs_pyarrow
@pytest.mark.parametrize(("rows", "group"), [(7, 10), (10, 10), (500, 97), (1000, 12_000), (9999, 30_000)])
def test_parquet(tmp_path: Path, rows: int, group: int) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, 300 if rows < 100 else 25_000, group)
    columns = ["token", "badge"]
    assert by_chunks(path, rows, columns) == all_of(path, columns)


@needs_pyarrow
async def test_parquet_in_any_order_and_by_two(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, 1000, 150)
    chunks, about = chunks_of(path, 40)
    shelf = ReferenceReader()
    order = [*range(0, 25, 2), *range(24, -1, -1), 3, 20, 3]
    found = await asyncio.gather(*(read(shelf, chunks[each], about) for each in order))
    for number, rows in zip(order, found, strict=True):
        assert [values[2] for _, values in rows] == list(range(number * 40, number * 40 + 40))
    shelf.close()


async def test_only_what_is_missing_is_given(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("token\na\nb,bad\nc\nd,bad\n")
    (chunk,), about = chunks_of(path, 10)
    shelf = ReferenceReader()
    found = await read(shelf, chunk.without(0b0011), about)
    assert [row_of(each) for each in found] == [3, 4]
    shelf.close()


# --- what stands in its way -------------------------------------------------------------------------------------------


@pytest.fixture
def shelf() -> Iterator[ReferenceReader]:
    made = ReferenceReader()
    yield made
    made.close()


async def test_a_changed_text_is_refused_where_it_changed(tmp_path: Path, shelf: ReferenceReader) -> None:
    path = tmp_path / "a.csv"
    path.write_text("token\n" + "".join(f"{row:04}\n" for row in range(10)))
    chunks, about = chunks_of(path, 5)
    path.write_text(path.read_text().replace("0007", "000X") + "0010\n")
    assert len(await read(shelf, chunks[0], about)) == 5  # these rows are what they were
    with pytest.raises(ChunkError, match="has changed since the campaign was created: the rows of chunk 1"):
        await read(shelf, chunks[1], about)
    path.write_text("token\n")
    with pytest.raises(ChunkError, match="has changed"):
        await read(shelf, chunks[1], about)


@needs_pyarrow
async def test_a_changed_parquet_is_refused_also_while_it_is_open(
    tmp_path: Path, shelf: ReferenceReader
) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, 100, 50)
    chunks, about = chunks_of(path, 30)
    assert len(await read(shelf, chunks[0], about)) == 30
    write_parquet(path, 100, 50, badge=[7] * 100)
    for chunk in chunks:
        with pytest.raises(ChunkError, match="has changed"):
            await read(shelf, chunk, about)
    write_parquet(path, 100, 25)
    with pytest.raises(ChunkError, match="has changed"):
        await read(shelf, chunks[1], about)


async def test_a_worker_that_cannot_read_from_the_first_ends_and_later_it_waits(
    tmp_path: Path, shelf: ReferenceReader
) -> None:
    path, away = tmp_path / "a.csv", tmp_path / "away.csv"
    path.write_text("token\na\nb\n")
    chunks, about = chunks_of(path, 1)
    path.rename(away)
    with pytest.raises(CampaignConflict, match=r"a.csv cannot be read \(No such file"):
        await read(shelf, chunks[0], about)
    away.rename(path)
    await read(shelf, chunks[0], about)
    path.rename(away)
    with pytest.raises(SourceUnavailable, match="No such file"):
        await read(shelf, chunks[1], about)
    away.rename(path)
    assert await read(shelf, chunks[1], about) == [(2, ["b"])]


REFERENCE = Reference("/nowhere/a.csv", 0, 10, "bytes", "f")
ABOUT = {"form": "csv", "columns": ["token"]}


@pytest.mark.parametrize(
    ("reference", "about"),
    [
        (REFERENCE, None),
        (REFERENCE, {"form": "csv"}),
        (REFERENCE, {"form": "csv", "columns": ["name"]}),
        (REFERENCE, {"form": "csv", "columns": [1, "token"]}),
        (REFERENCE, {"form": "xml", "columns": ["token"]}),
        (REFERENCE, {"form": "csv", "columns": None}),
        (REFERENCE, {"form": "parquet", "columns": ["token"]}),
        (replace(REFERENCE, start=-1), ABOUT),
        (replace(REFERENCE, end=0), ABOUT),
        (replace(REFERENCE, end=1 << 40), ABOUT),
        (replace(REFERENCE, unit="rows"), ABOUT),
        (replace(REFERENCE, unit="rows"), {"form": "parquet", "columns": ["token"]}),
    ],
)
def test_a_reference_that_makes_no_sense_is_a_bad_chunk(
    shelf: ReferenceReader, reference: Reference, about: Any
) -> None:
    with pytest.raises(ChunkError, match=r"chunk 0 (refers to rows|has an invalid reference to rows)"):
        shelf.source(Chunk(0, 1, 2, reference), about)


def test_gzip_has_no_parts(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"token\na\n"))
    with pytest.raises(BadInput, match="compressed with gzip and cannot be read in parts"):
        chunks_of(path, 1)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nosuch://bucket/a.csv", "is not a URL that fsspec knows"),
        ("zip://a.csv::s3://bucket/a.zip", "a chain of URLs"),
        ("memory://none.csv", "there is no such object"),
    ],
)
def test_urls_that_cannot_be(url: str, words: str) -> None:
    pytest.importorskip("fsspec", reason="fsspec is missing: the extra pushcore[storage]")
    with pytest.raises(BadInput, match=words):
        Audience(url)


def test_urls_in_messages_hold_no_secret() -> None:
    pytest.importorskip("fsspec", reason="fsspec is missing: the extra pushcore[storage]")
    with pytest.raises(BadInput) as caught:
        Audience("nosuch://name:word@bucket/a.csv?signature=word")
    assert "word" not in str(caught.value)
    assert "nosuch://bucket/a.csv" in str(caught.value)


def test_a_chunk_with_too_many_bytes_is_no_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pushcore.queue.references.MAX_BYTES", 100)
    path = tmp_path / "a.csv"
    path.write_text("token\n" + f"{'a' * 64}\n" * 3)
    with pytest.raises(BadInput, match=r"rows from 1 on have more than 100 bytes .* a smaller --chunk"):
        chunks_of(path, 2)
    assert len(chunks_of(path, 1)[0]) == 3


def test_chunks_that_are_known_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("token\na\nb\nc\n")
    with Audience(str(path)) as source:
        assert [chunk.number for chunk in reference_chunks(source, str(path), 1, start=2)] == [2]


async def test_a_column_of_which_there_are_two_is_not_chosen_between(
    tmp_path: Path, shelf: ReferenceReader
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("token,name,name\na,b,c\n")
    (chunk,), about = chunks_of(path, 1)
    source = shelf.source(chunk, about)
    assert source.index("token") == 0
    with pytest.raises(BadInput, match="has two columns 'name'; expected one"):
        source.index("name")
