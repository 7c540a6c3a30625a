"""Rows of a CSV in which a mistake costs one line.

Python's `csv` takes a quote that does not close for the beginning of a text of many lines, and swallows the rows in
them. Here the line with the quote is the bad row, and what follows is read anew.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from itertools import islice

_UNCLOSED = "unexpected end of data"  # what `csv` says when the lines end within quotes
_TOO_LARGE = "field larger than field limit"


def csv_rows(read_lines: Callable[[], list[str]], on_bad: Callable[[str], None]) -> Iterator[list[str]]:
    """Each row as a list of strings, an empty one for an empty line; a complaint to `on_bad` for a bad one.

    `read_lines` gives the next lines, as many as are cheap to have in memory, and none at the end.
    """
    lines: list[str] = []
    at = 0
    while True:
        if at >= len(lines):
            lines, at = read_lines(), 0
            if not lines:
                return
        good = 0
        try:
            for row in csv.reader(islice(lines, at, None), strict=True):
                good += 1
                yield row
            at = len(lines)
            continue
        except csv.Error as error:
            problem = str(error)
        at += _lines_of(good, lines, at)
        if problem == _UNCLOSED:
            more = read_lines()
            if more:
                lines, at = lines[at:] + more, 0
                continue
        unclosed = problem == _UNCLOSED or problem.startswith(_TOO_LARGE)
        on_bad("a quote opens and does not close, or only far away" if unclosed else problem)
        at += 1


def _lines_of(rows: int, lines: list[str], at: int) -> int:
    """How many lines the first `rows` rows from `at` on take, all of which are in order."""
    reader = csv.reader(islice(lines, at, None), strict=True)
    for _ in range(rows):
        next(reader)
    return reader.line_num
