"""Byte ranges of the rows of a text, so that each range can be read alone."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

from .csv import CsvRows
from .records import LINES, encoded


class Span(NamedTuple):
    """A range. `start`, `end`: bytes from the beginning of a text, or rows of a Parquet file, counted from 0. `fingerprint`:
    of these bytes, or of the Parquet file."""

    start: int
    end: int
    rows: int
    fingerprint: str


def fingerprint_of(data: bytes) -> str:
    """The fingerprint of the bytes of a range."""
    return blake2b(data, digest_size=8).hexdigest()


def json_spans(lines: Iterable[bytes], start: int, rows: int) -> Iterator[Span]:
    """The ranges of NDJSON. Rows are counted as by `records.json_records`."""
    pending: list[bytes] = []
    count = 0
    for line in lines:
        pending.append(line)
        count += bool(line.strip())
        if count == rows:
            data = b"".join(pending)
            yield Span(start, start + len(data), count, fingerprint_of(data))
            start += len(data)
            pending, count = [], 0
    if count:
        data = b"".join(pending)
        yield Span(start, start + len(data), count, fingerprint_of(data))


def csv_spans(lines: io.TextIOWrapper, start: int, rows: int) -> Iterator[Span]:
    """The ranges of CSV after its header. Rows are counted as by `records.csv_records`, including bad rows."""
    pending: list[str] = []
    spans: list[Span] = []
    count = 0

    def read_lines() -> list[str]:
        block = lines.readlines(LINES)
        pending.extend(block)
        return block

    def cut() -> None:
        nonlocal start, count
        used = len(pending) - source.unread
        data = encoded("".join(pending[:used]))
        spans.append(Span(start, start + len(data), count, fingerprint_of(data)))
        start += len(data)
        del pending[:used]
        count = 0

    def on_row(problem: str = "") -> None:
        nonlocal count
        count += 1
        if count == rows:
            cut()

    source = CsvRows(read_lines, on_row)
    for values in source:
        if values:
            on_row()
        if spans:
            yield from spans
            spans.clear()
    if count:
        cut()
    yield from spans
