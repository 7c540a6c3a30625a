"""`CsvRows`: a mistake costs one line, wherever the lines are cut."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pushcore.audience.csv import CsvRows, seems_cut

UNCLOSED = "a quotation mark opens and is not closed"


def feed(*blocks: list[str]) -> Callable[[], list[str]]:
    """What gives these blocks of lines, then none."""
    rest = iter(blocks)
    return lambda: next(rest, [])


def read(*blocks: list[str]) -> tuple[list[list[str]], list[str]]:
    """All rows and complaints, which are the same in batches."""
    bad: list[str] = []
    rows = list(CsvRows(feed(*blocks), bad.append))
    bad_of_batches: list[str] = []
    batches = CsvRows(feed(*blocks), bad_of_batches.append).batches()
    assert ([row for batch in batches for row in batch], bad_of_batches) == (rows, bad)
    return rows, bad


def test_rows_come_in_order_and_an_empty_line_is_an_empty_row() -> None:
    assert read(["a,b\n", "\n"], ["c,d\r\n", '"e,f",g']) == (
        [["a", "b"], [], ["c", "d"], ["e,f", "g"]],
        [],
    )


def test_a_quoted_field_goes_on_in_the_next_block() -> None:
    assert read(['a,"one\n'], ["two\n"], ['three",b\n', "c,d\n"]) == (
        [["a", "one\ntwo\nthree", "b"], ["c", "d"]],
        [],
    )


def test_a_quote_that_never_closes_costs_its_line_alone() -> None:
    assert read(["a,b\n", 'c,"d\n', "e,f\n"], ["g,h\n"]) == ([["a", "b"], ["e", "f"], ["g", "h"]], [UNCLOSED])


def test_two_quotes_that_never_close_cost_two_lines() -> None:
    # The second line's quote closes what the first line's has opened, and what follows it is no CSV.
    rows, bad = read(['a,"b\n', 'c,"d\n', "e,f\n"])
    assert rows == [["e", "f"]]
    assert bad == ["',' expected after '\"'", UNCLOSED]


def test_a_field_above_csvs_limit_is_told_as_a_quote_that_closes_far_away() -> None:
    lines = ['a,"b\n', *("x" * 1000 + "\n" for _ in range(200)), "last,row\n"]
    rows, bad = read(lines)
    assert bad == [UNCLOSED]
    assert rows[-1] == ["last", "row"]
    assert len(rows) == 201


def test_other_mistakes_are_told_in_csvs_own_words() -> None:
    rows, bad = read(["a,b\n", '"c"d,e\n', "f,g\n"])
    assert rows == [["a", "b"], ["f", "g"]]
    assert bad == ["',' expected after '\"'"]


@pytest.mark.parametrize("rows_taken", [1, 2, 3, 4])
def test_unread_counts_the_lines_behind_the_row_that_was_taken_last(rows_taken: int) -> None:
    lines = ["a\n", '"b\n', 'c"\n', "\n", "d\n"]
    source = CsvRows(feed(lines), lambda problem: None)
    rows = iter(source)
    for _ in range(rows_taken):
        next(rows)
    assert source.unread == {1: 4, 2: 2, 3: 1, 4: 0}[rows_taken]


def test_unread_is_right_in_the_complaint_about_a_bad_line() -> None:
    left: list[int] = []
    source = CsvRows(feed(["a\n", '"b"c\n', "d\n", "e\n"]), lambda problem: left.append(source.unread))
    assert list(source) == [["a"], ["d"], ["e"]]
    assert left == [2]


def test_a_value_that_is_too_long_is_told_from_a_quote_that_does_not_close() -> None:
    lines = ["a" * 200_000 + ",x\n", '"' + "b" * 200_000 + "\n", "c,y\n"]
    bad: list[str] = []
    batches = [lines, []]
    rows = list(CsvRows(lambda: batches.pop(0) if batches else [], bad.append))
    assert rows == [["c", "y"]]
    assert bad == [
        "a value has more than 131,072 characters",
        "a quotation mark opens and is not closed",
    ]


@pytest.mark.parametrize(
    ("blocks", "told"),
    [
        ((['a,"b\n'],), [['a,"b\n']]),
        ((["a,b\n", 'c,"d\n', "e\n"], ["f"]), [['c,"d\n', "e\n", "f"]]),
        ((['a,"b\n', 'c,"d\n', "e,f\n"],), [['c,"d\n', "e,f\n"]]),
        ((['a,"b"\n', '"c"d,\n'],), []),
        ((['a,"b\n', 'c",d\n'],), []),
    ],
)
def test_an_end_within_quotes_is_told_with_the_lines_from_them_on(
    blocks: tuple[list[str], ...], told: list[list[str]]
) -> None:
    lines: list[list[str]] = []
    list(CsvRows(feed(*blocks), lambda problem: None, lines.append))
    assert lines == told


@pytest.mark.parametrize(
    ("lines", "cut"),
    [
        ([], True),
        (["\n", "\n"], True),
        (["text of a value\n"], True),
        (["Dear Ann, good news\n", "and more"], True),
        (["aa,1\n", "text"], True),
        (['"x"y,z\n'], True),
        (["\n", "aa,1\n"], False),
        (["aa,1\n", "bb\n", "cc,2\n"], False),
        (['aa,""\n', "bb,2"], False),
    ],
)
def test_lines_after_an_open_quote_that_are_rows_show_that_it_is_a_mistake(
    lines: list[str], cut: bool
) -> None:
    assert seems_cut(['00,"open\n', *lines], ["token", "name"]) is cut


def test_lines_with_a_much_shorter_token_are_no_rows() -> None:
    columns = ["token", "name"]
    line = f'{"0" * 64},"Dear\n'
    assert seems_cut([line, "Ann,\n"], columns)
    assert seems_cut([line, f"{'a' * 15},1\n"], columns)
    assert not seems_cut([line, f"{'a' * 16},1\n"], columns)
    assert not seems_cut(['"Dear\n', "Ann,a\n"], ["name", "token"])
