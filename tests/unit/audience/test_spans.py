"""Spans: a text is cut between rows, no byte is lost, and each span can be recognised again."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from pushcore.audience.csv import OPEN_QUOTE
from pushcore.audience.records import LINES, OPEN_OBJECT, decoded
from pushcore.audience.spans import Span, csv_spans, fingerprint_of, json_spans

CUT: list[tuple[int, str]] = []


def on_cut(number: int, problem: str) -> None:
    CUT.append((number, problem))


@pytest.fixture(autouse=True)
def none_is_cut() -> Iterator[None]:
    CUT.clear()
    yield
    assert CUT == []


def spans_of_csv(body: bytes, rows: int, start: int = 7) -> list[Span]:
    return list(csv_spans(decoded(io.BytesIO(body)), start, rows, ["token"], on_cut))


def check(spans: list[Span], body: bytes, start: int) -> list[bytes]:
    """The bytes of each span; together they are the text."""
    pieces = [body[span.start - start : span.end - start] for span in spans]
    assert b"".join(pieces) == body[: len(b"".join(pieces))]
    assert [span.fingerprint for span in spans] == [fingerprint_of(piece) for piece in pieces]
    assert spans[0].start == start
    assert [span.start for span in spans[1:]] == [span.end for span in spans[:-1]]
    return pieces


def test_csv_is_cut_behind_every_nth_row() -> None:
    body = b'a\nb\n\n"c\nc"\nd\r\n"\xff\xc3\xa9"\n'
    spans = spans_of_csv(body, 2)
    assert check(spans, body, 7) == [b"a\nb\n", b'\n"c\nc"\nd\r\n', b'"\xff\xc3\xa9"\n']
    assert [span.rows for span in spans] == [2, 2, 1]


def test_a_bad_line_of_csv_counts_as_a_row() -> None:
    body = b'a\n"b"x\nc\n"d\ne\n'
    assert check(spans_of_csv(body, 1), body, 7) == [b"a\n", b'"b"x\n', b"c\n", b'"d\n', b"e\n"]


@pytest.mark.parametrize("rows", [1, 999, 5000, 100_000])
def test_csv_is_cut_the_same_across_the_blocks_that_are_read(rows: int) -> None:
    body = b"".join(b"%06d\n" % number for number in range(3 * LINES // 7))
    if rows == 1:
        body = body[-20_000:].partition(b"\n")[2]
    spans = spans_of_csv(body, rows)
    count = body.count(b"\n")
    assert [span.rows for span in spans] == [rows] * (count // rows) + [count % rows] * bool(count % rows)
    assert b"".join(check(spans, body, 7)) == body


def test_ndjson_is_cut_behind_every_nth_line_that_is_not_blank() -> None:
    body = b'{"a":1}\n\n{"b":2}\n \nno JSON\n{"c":3}'
    spans = list(json_spans(io.BytesIO(body), 3, 2, on_cut))
    assert check(spans, body, 3) == [b'{"a":1}\n\n{"b":2}\n', b' \nno JSON\n{"c":3}']
    assert [span.rows for span in spans] == [2, 2]


def test_blank_lines_at_the_end_of_ndjson_make_no_span() -> None:
    assert [span.end for span in json_spans(io.BytesIO(b"{}\n\n\n"), 0, 1, on_cut)] == [3]
    assert list(json_spans(io.BytesIO(b"\n \n"), 0, 1, on_cut)) == []
    assert spans_of_csv(b"\n\r\n", 1) == []


def test_a_row_that_the_end_cuts_is_named() -> None:
    list(json_spans(io.BytesIO(b'{"a":1}\n\nno JSON\n{"b":'), 0, 2, on_cut))
    spans_of_csv(b'a\nb\n"c\n', 1)
    assert CUT == [(3, OPEN_OBJECT), (3, OPEN_QUOTE)]
    CUT.clear()


def test_another_byte_is_another_fingerprint() -> None:
    assert fingerprint_of(b"a") != fingerprint_of(b"b")
    assert len(fingerprint_of(b"")) == 16
