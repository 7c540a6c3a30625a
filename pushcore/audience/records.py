"""Rows of CSV and NDJSON with their numbers, and the errors of rows that cannot be parsed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import IO, Any, Final, cast

import orjson

from .content import Content
from .csv import OPEN_QUOTE, CsvRows, seems_cut
from .dialects import NOT_UTF8
from .shards import WHOLE, Shard

LINES: Final = 64 * 1024
"""Characters of CSV that are parsed at a time."""
OPEN_OBJECT: Final = "its JSON object does not end"
_MAYBE_EMPTY: Final = len("\r\n")  # a longer line is a row

OnBad = Callable[[int, str, str], None]
"""Called for a bad row with its number, its token if known, and the reason."""
OnCut = Callable[[int, str], None]
"""Called if the text seems to be truncated within a row, with its number and the reason."""


def _ignore(number: int, problem: str) -> None:
    pass


def csv_records(
    columns: list[str],
    content: Content,
    lines: io.TextIOWrapper,
    on_bad: OnBad,
    shard: Shard = WHOLE,
    characters: int = LINES,
    on_cut: OnCut = _ignore,
) -> Iterator[tuple[int, list[str]]]:
    """Each row of `lines`, with its number from 1 on; `on_bad` is called for rows that cannot be parsed. Empty lines are not rows.

    `content`: the source of the lines. `characters`: how many are read at a time, and up to the end of the line. Rows outside
    of `shard` are left out, but `on_bad` and `on_cut` may be called for them. Without an exception of `on_cut`, the truncated
    row is a bad one. Raises `OSError`.
    """
    width, token_at = len(columns), columns.index("token")
    number = 0

    def on_bad_line(problem: str) -> None:
        nonlocal number
        number += 1
        on_bad(number, "", f"the row is not CSV: {problem}")

    def on_open_end(lines: list[str]) -> None:
        if seems_cut(lines, columns):
            on_cut(number + 1, OPEN_QUOTE)

    def read_lines() -> list[str]:
        return lines.readlines(characters)

    rest: list[str] = []
    mixed = False  # whether parsed rows may be outside of the shard

    def read_own() -> list[str]:
        """While there are no quotes, each line is a row, and lines outside of the shard need not be parsed."""
        nonlocal number, rest, mixed
        while True:
            block, rest = rest or read_lines(), []
            mixed = content.has_quote or min(map(len, block), default=0) <= _MAYBE_EMPTY
            if mixed:
                return block
            count = shard.stretch(number + 1)
            block, rest = block[:count], block[count:]
            if not block or shard.own(number + 1):
                return block
            number += len(block)

    source = CsvRows(read_lines if shard.parts == 1 else read_own, on_bad_line, on_open_end)
    for batch in source.batches():
        for values in batch:
            if len(values) != width or content.has_nul:
                if not values:
                    continue
                reason = _complaint(values, width)
                if reason:
                    number += 1
                    on_bad(number, values[token_at] if token_at < len(values) else "", reason)
                    continue
            number += 1
            if mixed and not shard.own(number):
                continue
            yield number, values


def json_records(
    lines: io.BufferedIOBase,
    on_bad: OnBad,
    shard: Shard = WHOLE,
    on_cut: OnCut = _ignore,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The same for NDJSON: one object per line."""
    loads, number = orjson.loads, 0
    for line in lines:
        if shard.parts > 1 and not shard.own(number + 1):
            number += bool(line.strip())
            continue
        try:
            values = loads(line)
        except orjson.JSONDecodeError as error:
            if not line.strip():
                continue
            number += 1
            if is_cut_json(line, error):
                on_cut(number, OPEN_OBJECT)
            on_bad(number, "", _json_problem(line, error))
            continue
        number += 1
        if type(values) is dict:
            yield number, values
        else:
            on_bad(number, "", "the line is not a JSON object")


def is_cut_json(line: bytes, error: orjson.JSONDecodeError) -> bool:
    """Whether a line that is not JSON is the beginning of an object, cut off by the end of the text."""
    if line.endswith(b"\n") or not line.lstrip().startswith(b"{"):
        return False
    try:
        line.decode()
    except UnicodeDecodeError:
        return not line.rstrip().endswith(b"}")
    return error.pos >= len(error.doc.rstrip())


def _json_problem(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        line.decode()
    except UnicodeDecodeError:
        return f"the line is {NOT_UTF8}"
    return f"the line is not JSON: {error.msg} (column {error.colno})"


def encoded(text: str) -> bytes:
    """The bytes of a line of CSV."""
    return text.encode("utf-8", "surrogateescape")


def decoded(raw: io.BufferedIOBase) -> io.TextIOWrapper:
    """The lines of CSV. Bytes that are not UTF-8 become surrogates, which the checks of a push reject."""
    return io.TextIOWrapper(cast(IO[bytes], raw), "utf-8", errors="surrogateescape", newline="")


def _complaint(values: list[str], width: int) -> str | None:
    if len(values) != width:
        columns = "column" if len(values) == 1 else "columns"
        return f"the row has {len(values)} {columns}, expected {width}"
    if any("\0" in value for value in values):
        return "the row holds a NUL character"
    return None
