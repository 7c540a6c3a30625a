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
        while True:
            if self._at >= len(self._lines):
                self._lines, self._at = self._read_lines(), 0
                if not self._lines:
                    return
            good = 0
            try:
                self._reader = csv.reader(islice(self._lines, self._at, None), strict=True)
                for row in self._reader:
                    good += 1
                    yield row
                self._reader, self._at = None, len(self._lines)
                continue
            except csv.Error as error:
                problem = str(error)
            self._reader = None
            self._at += _lines_of(good, self._lines, self._at)
            if problem == _UNCLOSED:
                more = self._read_lines()
                if more:
                    self._lines, self._at = self._lines[self._at :] + more, 0
                    continue
            unclosed = problem == _UNCLOSED or problem.startswith(_TOO_LARGE)
            self._at += 1
            self._on_bad("a quote opens and does not close, or only far away" if unclosed else problem)


def _lines_of(rows: int, lines: list[str], at: int) -> int:
    """How many lines the first `rows` rows from `at` on take, all of which are in order."""
    reader = csv.reader(islice(lines, at, None), strict=True)
    for _ in range(rows):
        next(reader)
    return reader.line_num
