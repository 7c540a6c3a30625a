"""The byte ranges of a text's rows, so that one range can be read by itself."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

from .csv import CsvRows
from .records import LINES, encoded


class Span(NamedTuple):
    """A stretch. `start`, `end`: bytes of a text from its beginning, or rows of a Parquet file from 0 on. `fingerprint`:
    of these bytes, or of the Parquet file."""

    start: int
    end: int
    rows: int
    fingerprint: str


def fingerprint_of(data: bytes) -> str:
    """Of the bytes of a stretch."""
    return blake2b(data, digest_size=8).hexdigest()


def json_spans(lines: Iterable[bytes], start: int, rows: int) -> Iterator[Span]:
    """Of NDJSON. What `records.json_records` counts as a row is one here."""
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
    """Of CSV behind its header. What `records.csv_records` counts as a row is one here, bad ones included."""
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
