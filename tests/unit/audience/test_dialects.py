"""Text files that are nearly an audience: each is named with what to do. Whole files are in test_audience."""

from __future__ import annotations

import pytest

from pushcore.audience.dialects import (
    header_problem,
    is_utf8,
    meant_column,
    meant_token,
    unused_columns,
    utf8_problem,
    what_else,
)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("token;name;locale\r\n", "separated by semicolons; separate columns with commas"),
        ("token\tname", "separated by tabs"),
        ("token|name", "separated by bars"),
        ('"token";"a,b";"c"', "separated by semicolons"),
        ("sep=;\r\n", "remove it, and separate columns with commas"),
        ("SEP=\t\n", "remove it, and separate columns with commas"),
        ('"sep=,"\n', "which only Excel reads; remove it"),
        ("token,pr\udce9nom\n", "not UTF-8"),
        ('{"token": "aa", "name": "x"}\n', "expected a name that ends with .ndjson"),
    ],
)
def test_a_wrong_dialect_is_named_with_its_remedy(line: str, words: str) -> None:
    assert words in header_problem(line)


@pytest.mark.parametrize("line", ["device,name\n", "Token\n", "", "a,b;c\n", "prénom,token"])
def test_nothing_is_said_where_nothing_is_known(line: str) -> None:
    assert header_problem(line) == ""


def test_text_that_was_utf8() -> None:
    assert is_utf8("René 李雷 🎉")
    assert not is_utf8("Ren\udce9")


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"\x1f\x8b\x08", "packed with gzip twice"),
        (b"\xfd7zXZ\x00", "packed with xz"),
        (b"\x28\xb5\x2f\xfd\x04", "packed with zstd"),
        (b"BZh91AY&SY\x9f", "packed with bzip2"),
        (b"PK\x03\x04\x14", "a workbook of Excel"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an old workbook of Excel"),
        (b"SQLite format 3\x00", "a database of SQLite"),
        (b"Obj\x01\x04", "is Avro"),
        (b"ORC\x11\x00\xff", "is ORC"),
        (b"<!DOCTYPE html>", "is HTML or XML"),
        (b'\n<?xml version="1.0"?>', "is HTML or XML"),
        (b'[{"token": "aa"}]', "is a JSON array"),
        (b'[\n{"token": "aa"},', "is a JSON array"),
        (b'{\r\n "token": "aa"\r\n}', "has JSON over several lines"),
    ],
)
def test_a_file_that_is_no_audience_is_named(head: bytes, words: str) -> None:
    assert words in what_else(head)


@pytest.mark.parametrize(
    "head",
    [b"", b"token,name\n", b'{"token": "aa"}\n', b"BZh,token\n", b"ORC,token\naa,bb\n", b"{", b"\xef\xbb"],
)
def test_an_audience_is_nothing_else(head: bytes) -> None:
    assert what_else(head) == ""


@pytest.mark.parametrize(
    "name",
    [
        "Token",
        "TOKEN",
        "device_token",
        "deviceToken",
        "push_token",
        "registration_id",
        "fcmToken",
        "toekn",
        "Reg ID",
        "tokens",
    ],
)
def test_a_column_of_tokens_under_another_name_is_meant(name: str) -> None:
    assert meant_token(["id", name]) == f"; did you mean '{name}'? Its name must be token"


def test_no_column_is_meant_by_other_names() -> None:
    assert meant_token(["name", "token", "push_token"]) == ""  # of a row whose token is null
    assert meant_token(["id", "name", "badge", "", "x" * 50, "a sentence of words " * 10]) == ""
    assert meant_column("name", ["id", "badge"]) == ""
    assert meant_column("first_name", ["token", "First Name"]) == "; did you mean 'First Name'?"


def test_a_known_column_in_another_spelling_has_no_effect() -> None:
    known = {"token", "platform", "push_type"}
    assert unused_columns(["token", "Token", "Push-Type", "name"], known) == [
        "the column 'Push-Type' has no effect; did you mean push_type?"
    ]
    assert unused_columns(["token", "platform", "push_type"], known) == []


def test_a_file_that_begins_with_other_bytes_than_utf8_says_what_to_do() -> None:
    assert "iconv -f WINDOWS-1252 -t UTF-8" in utf8_problem("token,name\naa,Jos\u00e9\n".encode("latin-1"))
    assert utf8_problem("token,name\naa,Jos\u00e9".encode()) == ""
    assert utf8_problem("token,name\naa,Jos\u00e9".encode()[:-1]) == ""  # cut within a character
