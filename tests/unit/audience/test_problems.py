"""How foreign text is shown, and what is said of a file that cannot be read."""

from __future__ import annotations

import errno
import os
from decimal import Decimal
from pathlib import Path

import pytest

from pushcore.audience.problems import BadInput, BadRow, explain, printable, read_small, shown
from pushcore.results import Verdict
from tests.support.strange_values import DEEP


def test_text_that_prints_is_shown_as_it_is() -> None:
    assert printable("Chloë 李雷 «x» \U0001f600") == "Chloë 李雷 «x» \U0001f600"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\r\n\tb", r"a\r\n\tb"),
        ("\u202eabc", r"\u202eabc"),
        ("\udcff", r"\udcff"),
        ("\x00", r"\x00"),
    ],
)
def test_control_characters_are_escaped(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_a_long_text_is_cut_before_it_is_escaped() -> None:
    assert printable("x" * 5, 5) == "xxxxx"
    assert printable("x" * 6, 5) == "xxxxx…"
    assert printable("\x1b" * 6, 2) == r"\x1b\x1b…"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "'true'"),
        (None, "'null'"),
        ({"a": [1]}, "'{\"a\":[1]}'"),
        (Decimal("1.50"), "'1.50'"),
        (object(), "'object'"),
        ({"a": object()}, "'dict'"),
        (DEEP, "'list'"),
    ],
)
def test_a_value_of_any_class_is_shown(value: object, text: str) -> None:
    assert shown(value) == text
    assert shown(10**5000) == "'int'"


def test_a_value_is_shown_between_quotes_and_short() -> None:
    assert shown(7) == "'7'"
    assert shown("y" * 41) == f"'{'y' * 40}…'"


def test_an_error_of_the_system_is_told_without_number_and_name() -> None:
    assert (
        explain(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "secret.csv")) == "No space left on device"
    )
    assert explain(TimeoutError()) == "TimeoutError"


def test_a_bad_row_is_invalid_and_of_no_provider_unless_it_says_so() -> None:
    plain = BadRow("odd")
    assert (str(plain), plain.platform, plain.verdict) == ("odd", "", Verdict.INVALID)
    unsent = BadRow("odd", platform="fcm", verdict=Verdict.UNSENT)
    assert (unsent.platform, unsent.verdict) == ("fcm", Verdict.UNSENT)


def test_a_file_up_to_the_limit_is_read_and_a_larger_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"12345")
    assert read_small(str(path), "a key", 5) == b"12345"
    with pytest.raises(BadInput, match="key has more than 4 bytes; expected a key"):
        read_small(str(path), "a key", 4)


def test_a_file_that_is_not_there_is_named_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none cannot be read \(No such file or directory\); expected a key"):
        read_small(str(tmp_path / "none"), "a key", 4)
