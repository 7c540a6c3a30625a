"""Text files that are nearly an audience: each is named with what to do. Whole files are in test_audience."""

from __future__ import annotations

import pytest

from pushcore.audience.dialects import header_problem, is_utf8


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("token;name;locale\r\n", "separated by semicolons; separate columns with commas"),
        ("token\tname", "separated by tabs"),
        ("token|name", "separated by bars"),
        ('"token";"a,b";"c"', "separated by semicolons"),
        ("sep=;\r\n", "remove it, and separate columns with commas"),
        ("SEP=\t\n", "remove it, and separate columns with commas"),
        ('"sep=,"\n', "which only Excel understands; remove it"),
        ("token,pr\udce9nom\n", "not UTF-8"),
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
