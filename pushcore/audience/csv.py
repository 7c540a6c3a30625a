"""Rows of CSV, in which an unclosed quote costs one line only.

For Python's `csv`, a quote that is not closed begins a value of many lines, which contains the following rows. Here the
line with the quote is one bad row, and reading continues with the next line. A text that was truncated within a value of
several lines looks almost the same, but the lines after its quote are no rows: see `seems_cut`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

OPEN_QUOTE: Final = "a quotation mark opens and is not closed"
"""What is wrong with a row whose quotes do not end."""
_UNCLOSED = "unexpected end of data"  # what `csv` says when the lines end within quotes
_MUCH_SHORTER: Final = 4  # as a registration token of FCM is longer than a device token of APNs, and more
_TOO_LARGE = "field larger than field limit"


class CsvRows:
    """Can be iterated once: each row is a list of strings, an empty list for an empty line. `on_bad` gets the error of a bad row.

    `read_lines` returns the next lines, as many as should be in memory at a time, and an empty list at the end.
    `on_open_end`: called if the text ends within quotes, before the line that opens them becomes a bad row, with the lines
    from that one on.
    """

    def __init__(
        self,
        read_lines: Callable[[], list[str]],
        on_bad: Callable[[str], None],
        on_open_end: Callable[[list[str]], None] = lambda lines: None,
    ) -> None:
        self._read_lines = read_lines
        self._on_bad = on_bad
        self._on_open_end = on_open_end
        self._lines: list[str] = []
        self._at = 0
        self._reader: Any = None  # of `csv`, which begins at `_at`

    @property
    def unread(self) -> int:
        """The number of lines that were read and follow the last row, good or bad."""
        taken = 0 if self._reader is None else self._reader.line_num
        return len(self._lines) - self._at - int(taken)

    def __iter__(self) -> Iterator[list[str]]:
        while self._lines or self._read():
            good = 0
            try:
                self._reader = csv.reader(islice(self._lines, self._at, None), strict=True)
                for row in self._reader:
                    good += 1
                    yield row
                problem = ""
            except csv.Error as error:
                problem = str(error)
            self._go_on(good, problem)

    def batches(self) -> Iterator[list[list[str]]]:
        """The same rows in lists. `unread` is not valid meanwhile."""
        while self._lines or self._read():
            rows: list[list[str]] = []
            try:
                # After an error, the list has the rows before it.
                rows.extend(csv.reader(islice(self._lines, self._at, None), strict=True))
                problem = ""
            except csv.Error as error:
                problem = str(error)
            if rows:
                yield rows
            self._go_on(len(rows), problem)

    def _read(self) -> bool:
        self._lines, self._at = self._read_lines(), 0
        return bool(self._lines)

    def _go_on(self, good: int, problem: str) -> None:
        """Continue after `good` good rows from `_at` on, and after a bad one if there is a `problem`."""
        self._reader = None
        if not problem:
            self._lines, self._at = [], 0
            return
        self._at += _lines_of(good, self._lines, self._at)
        more = self._read_lines() if problem == _UNCLOSED else []
        if more:
            self._lines, self._at = self._lines[self._at :] + more, 0
            return
        if problem == _UNCLOSED:
            self._on_open_end(self._lines[self._at :])
        if problem == _UNCLOSED or (problem.startswith(_TOO_LARGE) and '"' in self._lines[self._at]):
            problem = OPEN_QUOTE
        elif problem.startswith(_TOO_LARGE):
            problem = f"a value has more than {csv.field_size_limit():,} characters"
        self._at += 1
        self._on_bad(problem)
        if self._at >= len(self._lines):
            self._lines, self._at = [], 0


def seems_cut(lines: list[str], columns: list[str]) -> bool:
    """Whether a text that ends with these lines was truncated within the quotes that the first of them opens.

    Otherwise the quote is a mistake in that row, and most lines after it are rows: as many values as columns, and a token
    without spaces, which is not much shorter than the one before.
    """
    token_at = columns.index("token")
    first = next(csv.reader(lines[:1]))
    length = len(first[token_at]) / _MUCH_SHORTER if token_at < len(first) else 0
    balance = 0
    for line in lines[1:]:
        try:
            values = next(csv.reader((line,), strict=True))
        except csv.Error:
            values = [""]
        token = values[token_at].split() if len(values) == len(columns) else []
        if len(token) == 1 and len(token[0]) >= length:
            balance += 1
        elif values:
            balance -= 1
    return balance <= 0


def _lines_of(rows: int, lines: list[str], at: int) -> int:
    """The number of lines of the first `rows` rows from `at` on; all of them are valid."""
    reader = csv.reader(islice(lines, at, None), strict=True)
    for _ in range(rows):
        next(reader)
    return reader.line_num
