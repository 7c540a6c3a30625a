"""Byte ranges of the rows of a text, so that each range can be read alone."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

import orjson

from .csv import OPEN_QUOTE, CsvRows, seems_cut
from .records import LINES, OPEN_OBJECT, OnCut, encoded, is_cut_json


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


def json_spans(lines: Iterable[bytes], start: int, rows: int, on_cut: OnCut) -> Iterator[Span]:
    """The ranges of NDJSON. Rows are counted as by `records.json_records`, whose `on_cut` is called, too."""
    pending: list[bytes] = []
    count = total = 0
    for line in lines:
        pending.append(line)
        if line.strip():
            count += 1
            total += 1
            if not line.endswith(b"\n"):
                _check_complete(line, total, on_cut)
        if count == rows:
            data = b"".join(pending)
            yield Span(start, start + len(data), count, fingerprint_of(data))
            start += len(data)
            pending, count = [], 0
    if count:
        data = b"".join(pending)
        yield Span(start, start + len(data), count, fingerprint_of(data))


def _check_complete(line: bytes, number: int, on_cut: OnCut) -> None:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if is_cut_json(line, error):
            on_cut(number, OPEN_OBJECT)


def csv_spans(
    lines: io.TextIOWrapper, start: int, rows: int, columns: list[str], on_cut: OnCut
) -> Iterator[Span]:
    """The ranges of CSV after its header. Rows are counted as by `records.csv_records`, including bad rows; its `on_cut` is called, too."""
    pending: list[str] = []
    spans: list[Span] = []
    count = total = 0

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
        nonlocal count, total
        count += 1
        total += 1
        if count == rows:
            cut()

    def on_open_end(lines: list[str]) -> None:
        if seems_cut(lines, columns):
            on_cut(total + 1, OPEN_QUOTE)

    source = CsvRows(read_lines, on_row, on_open_end)
    for values in source:
        if values:
            on_row()
        if spans:
            yield from spans
            spans.clear()
    if count:
        cut()
    yield from spans
