"""Audiences that are packed with gzip, by path and by pipe."""

from __future__ import annotations

import gzip
import os
import random
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from pushcore.audience.audience import Audience
from pushcore.audience.content import MAX_LINE
from pushcore.audience.problems import BadInput, explain

CSV = "token,name\naa,Ada\nbb,Bob\n"
NDJSON = '{"token":"aa","name":"Ada"}\n{"token":"bb","name":"Bob"}\n'


def records(path: str) -> tuple[list[Any], list[Any]]:
    bad: list[Any] = []
    with Audience(path) as audience:
        return list(audience.records(lambda *each: bad.append(each))), bad


@pytest.mark.parametrize("name", ["d.csv.gz", "d.CSV.GZ", "d.csv", "d.gz", "d"])
def test_csv(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"\xef\xbb\xbf" + CSV.encode()))
    assert records(str(tmp_path / name)) == ([(1, ["aa", "Ada"]), (2, ["bb", "Bob"])], [])


@pytest.mark.parametrize("name", ["d.ndjson.gz", "d.jsonl.gz", "d.ndjson", "d.gz", "d"])
def test_ndjson(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(NDJSON.encode()))
    assert [values["name"] for _, values in records(str(tmp_path / name))[0]] == ["Ada", "Bob"]


def test_several_members_are_one_file(tmp_path: Path) -> None:
    parts = b"".join(gzip.compress(part.encode()) for part in ("token,na", "me\naa,", "Ada\nbb,Bob\n"))
    (tmp_path / "d.csv.gz").write_bytes(parts)
    assert [number for number, _ in records(str(tmp_path / "d.csv.gz"))[0]] == [1, 2]


def test_a_nul_in_it_costs_its_row(tmp_path: Path) -> None:
    (tmp_path / "d.csv.gz").write_bytes(gzip.compress(b"token,name\naa,\0\nbb,Bob\n"))
    found, bad = records(str(tmp_path / "d.csv.gz"))
    assert found == [(2, ["bb", "Bob"])]
    assert bad == [(1, "aa", "the row holds a NUL character")]


@pytest.mark.parametrize("cut", [5, 20])
def test_it_is_damaged_from_the_beginning(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "d.csv.gz"
    path.write_bytes(gzip.compress(CSV.encode())[:cut])
    with pytest.raises(
        BadInput, match=r"d\.csv\.gz cannot be read \(its gzip data is damaged or truncated\)"
    ):
        records(str(path))


@pytest.mark.parametrize("cut", [-9, -4])
def test_it_ends_without_its_checksum(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "d.csv.gz"
    path.write_bytes(gzip.compress(CSV.encode())[:cut])
    with pytest.raises(OSError, match="its gzip data is damaged or truncated"):
        records(str(path))


def test_it_is_cut_off_later(tmp_path: Path) -> None:
    rng = random.Random(4)
    rows = "".join(f"{rng.getrandbits(256):064x},x\n" for _ in range(20_000))
    path = tmp_path / "d.csv.gz"
    path.write_bytes(gzip.compress(f"token,name\n{rows}".encode())[:-100_000])
    with Audience(str(path)) as audience:
        taken: list[Any] = []
        with pytest.raises(OSError) as caught:
            taken.extend(audience.records(lambda *bad: None))
    assert explain(caught.value) == "its gzip data is damaged or truncated"
    assert caught.value.filename == str(path)
    assert len(taken) > 1000


def test_other_bytes_within_it(tmp_path: Path) -> None:
    path = tmp_path / "d.gz"
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(BadInput, match="is empty"):
        records(str(path))
    path.write_bytes(gzip.compress(b"PAR1" + b"x" * 100))
    with pytest.raises(BadInput, match="is Parquet inside gzip; expected it without gzip"):
        records(str(path))


def test_progress_counts_what_the_file_has(tmp_path: Path) -> None:
    path = tmp_path / "d.csv.gz"
    path.write_bytes(gzip.compress(("token,name\n" + "aa,Ada\n" * 50_000).encode()))
    with Audience(str(path)) as audience:
        assert audience.size == path.stat().st_size
        for _ in audience.records(lambda *bad: None):
            pass
        assert audience.position == audience.size


@pytest.mark.slow
def test_memory_does_not_grow_with_what_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "d.csv.gz"
    path.write_bytes(gzip.compress(("token,name\n" + f"{'a' * 64},x\n" * 200_000).encode()))
    tracemalloc.start()
    try:
        with Audience(str(path)) as audience:
            assert sum(1 for _ in audience.records(lambda *bad: None)) == 200_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("start", ["token,name\naa,", '{"token":"aa"}\n{"token":"'])
def test_a_line_that_does_not_end(tmp_path: Path, start: str) -> None:
    """One that is a thousand times what it takes on the disk."""
    path = tmp_path / "d.gz"
    path.write_bytes(gzip.compress(start.encode() + b"x" * (MAX_LINE + 1_000_000), 1))
    assert path.stat().st_size < 200_000
    with pytest.raises(OSError) as caught:
        records(str(path))
    assert explain(caught.value) == f"a line of it is longer than {MAX_LINE} bytes"


def test_a_pipe_is_read_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    packer, more = gzip.compress(CSV.encode()), gzip.compress(b"cc,Carl\n")
    seen = threading.Event()

    def write() -> None:
        with open(path, "wb", buffering=0) as pipe:
            pipe.write(packer)
            seen.wait(20)  # only what is read without the rest lets the rest come
            pipe.write(more)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with Audience(str(path)) as audience:
            rows = audience.records(lambda *bad: None)
            assert [next(rows)[1][1], next(rows)[1][1]] == ["Ada", "Bob"]
            assert not seen.is_set()
            seen.set()
            assert [values[1] for _, values in rows] == ["Carl"]
    finally:
        seen.set()
        writer.join()


def test_parquet_inside_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet.gz"
    path.write_bytes(gzip.compress(b"PAR1" + b"\0" * 100))
    with pytest.raises(BadInput, match=r"is Parquet inside gzip; expected it without gzip"):
        Audience(str(path))


def test_a_packed_audience_is_not_read_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "d.csv.gz"
    path.write_bytes(gzip.compress(CSV.encode()))
    with Audience(str(path)) as audience, pytest.raises(BadInput, match="cannot be read in parts"):
        audience.spans(10)
