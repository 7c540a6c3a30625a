"""Records of CSV and NDJSON: their numbers, and what is said of a row that is none."""

from __future__ import annotations

import io
from typing import Any

import pytest

from pushcore.audience.content import Blocks, Content
from pushcore.audience.records import csv_records, decoded, encoded, json_records
from pushcore.audience.shards import WHOLE, Shard

Bad = tuple[int, str, str]


def read_csv(
    data: bytes, columns: list[str], shard: Shard = WHOLE, characters: int = 1
) -> tuple[list[tuple[int, list[str]]], list[Bad]]:
    bad: list[Bad] = []
    content = Content(Blocks(io.BytesIO(data), "a.csv"), "a.csv", packed=False)
    lines = decoded(io.BufferedReader(content))
    rows = list(csv_records(columns, content, lines, lambda *each: bad.append(each), shard, characters))
    return rows, bad


def read_json(data: bytes, shard: Shard = WHOLE) -> tuple[list[tuple[int, Any]], list[Bad]]:
    bad: list[Bad] = []
    return list(json_records(io.BytesIO(data), lambda *each: bad.append(each), shard)), bad


# --- CSV --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("characters", [1, 64 * 1024])
def test_empty_lines_are_no_rows_and_bad_rows_keep_their_numbers(characters: int) -> None:
    rows, bad = read_csv(
        b'a,Ada\n\n"b"x,Bob\nc\r\n\r\nd,Dan,\ne,\x00\nf,Fay', ["token", "name"], characters=characters
    )
    assert rows == [(1, ["a", "Ada"]), (6, ["f", "Fay"])]
    assert bad == [
        (2, "", "the row is not CSV: ',' expected after '\"'"),
        (3, "c", "the row has 1 column, expected 2"),
        (4, "d", "the row has 3 columns, expected 2"),
        (5, "e", "the row holds a NUL character"),
    ]


def test_the_token_of_a_short_row_is_told_where_the_row_reaches_it() -> None:
    assert read_csv(b"a\na,b\n", ["name", "token", "x"])[1] == [
        (1, "", "the row has 1 column, expected 3"),
        (2, "b", "the row has 2 columns, expected 3"),
    ]


@pytest.mark.parametrize("characters", [1, 30, 64 * 1024])
@pytest.mark.parametrize("odd", [b"", b"\n", b'"q"\n', b'"q\nq"\n', b"bad,row\n", b'"bad"row\n'])
def test_the_parts_of_a_file_are_all_of_its_rows_however_they_are_read(odd: bytes, characters: int) -> None:
    lines = [b"%04d\n" % number for number in range(40)]
    data = b"".join([*lines[:17], odd, *lines[17:]])
    whole, all_bad = read_csv(data, ["token"])
    parts: list[tuple[int, list[str]]] = []
    for number in range(3):
        shard = Shard(number, 3, chunk=4)
        rows, bad = read_csv(data, ["token"], shard, characters)
        assert all(shard.own(row) for row, _ in rows)
        assert [each for each in bad if shard.own(each[0])] == [
            each for each in all_bad if shard.own(each[0])
        ]
        parts += rows
    assert sorted(parts) == whole
    assert len(whole) == 40 + (odd.startswith(b'"q'))


def test_bytes_that_are_no_utf_8_come_back_as_they_were() -> None:
    ((_, values),), _ = read_csv(b"\xff\xc3\xa9\n", ["token"])
    assert values == ["\udcffé"]
    assert encoded(values[0]) == b"\xff\xc3\xa9"


# --- NDJSON -----------------------------------------------------------------------------------------------------------


def test_each_line_is_an_object_or_a_complaint() -> None:
    rows, bad = read_json(b'{"token":"a"}\n\n  \n[1]\n{"token"\n"text"\r\n{"token":"b"}')
    assert rows == [(1, {"token": "a"}), (5, {"token": "b"})]
    assert [(number, token) for number, token, _ in bad] == [(2, ""), (3, ""), (4, "")]
    assert bad[0][2] == bad[2][2] == "the line is not a JSON object"
    assert bad[1][2].startswith("the line is not JSON: ")


def test_lines_of_other_parts_are_counted_and_not_parsed() -> None:
    lines = [b'{"n":1}', b"", b"no JSON", b'{"n":3}', b" ", b'{"n":4}', b'{"n":5}']
    data = b"\n".join(lines)
    assert read_json(data, Shard(0, 2, chunk=2)) == (
        [(1, {"n": 1}), (5, {"n": 5})],
        [(2, "", read_json(data)[1][0][2])],
    )
    assert read_json(data, Shard(1, 2, chunk=2)) == ([(3, {"n": 3}), (4, {"n": 4})], [])


def test_a_line_that_is_not_utf8_says_what_to_do() -> None:
    bad: list[Any] = []
    lines = io.BufferedReader(io.BytesIO(b'{"token":"a"}\n{"token":"b","name":"Ren\xe9"}\n{"token":\n'))
    assert [number for number, _ in json_records(lines, lambda *each: bad.append(each))] == [1]
    assert [reason.split(":")[0] for _, _, reason in bad] == [
        "the line is not UTF-8 (Latin-1 or Windows-1252?)",
        "the line is not JSON",
    ]
