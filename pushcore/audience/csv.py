"""Rows of a CSV in which a mistake costs one line.

Python's `csv` takes a quote that does not close for the beginning of a text of many lines, and swallows the rows in
them. Here the line with the quote is the bad row, and what follows is read anew.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

_UNCLOSED = "unexpected end of data"  # what `csv` says when the lines end within quotes
_TOO_LARGE = "field larger than field limit"


class CsvRows:
    """An iterable, once: each row as a list of strings, an empty one for an empty line; a complaint to `on_bad` for a bad one.

    `read_lines` gives the next lines, as many as are cheap to have in memory, and none at the end.
    """

    def __init__(self, read_lines: Callable[[], list[str]], on_bad: Callable[[str], None]) -> None:
        self._read_lines = read_lines
        self._on_bad = on_bad
        self._lines: list[str] = []
        self._at = 0
        self._reader: Any = None  # of `csv`, which begins at `_at`

    @property
    def unread(self) -> int:
        """Lines of those that were read that stand behind the last row, good or bad."""
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
        """The same, as many rows at a time as have been read. `unread` is not known meanwhile."""
        while self._lines or self._read():
            rows: list[list[str]] = []
            try:
                # What came before an error is in the list.
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
        """Behind so many good rows from `_at` on, and perhaps a bad one."""
        self._reader = None
        if not problem:
            self._lines, self._at = [], 0
            return
        self._at += _lines_of(good, self._lines, self._at)
        more = self._read_lines() if problem == _UNCLOSED else []
        if more:
            self._lines, self._at = self._lines[self._at :] + more, 0
            return
        if problem == _UNCLOSED or (problem.startswith(_TOO_LARGE) and '"' in self._lines[self._at]):
            problem = "a quotation mark opens and is not closed"
        elif problem.startswith(_TOO_LARGE):
            problem = f"a value has more than {csv.field_size_limit():,} characters"
        self._at += 1
        self._on_bad(problem)
        if self._at >= len(self._lines):
            self._lines, self._at = [], 0


def _lines_of(rows: int, lines: list[str], at: int) -> int:
    """How many lines the first `rows` rows from `at` on take, all of which are in order."""
    reader = csv.reader(islice(lines, at, None), strict=True)
    for _ in range(rows):
        next(reader)
    return reader.line_num
