"""Files that commands write: where they may be, and how a field and a time are written."""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.audience.problems import BadInput
from pushcore.cli.report.output import (
    harmless,
    harmless_token,
    iso,
    open_bytes,
    open_output,
    open_unchanged,
    quoted,
    refuse_same_file,
)
from pushcore.models.tokens import TokenKind, recognise


def test_text_is_utf_8_with_one_kind_of_line_end_and_keeps_odd_bytes(tmp_path: Path) -> None:
    file, name = open_output(str(tmp_path / "r\n.csv"), "the results")
    with file:
        file.write("é\udcff\n")
    assert (tmp_path / "r\n.csv").read_bytes() == b"\xc3\xa9\xff\n"
    assert name == str(tmp_path / "r") + r"\n.csv"


def test_a_hyphen_is_the_standard_output_which_stays_open(capfd: pytest.CaptureFixture[str]) -> None:
    file, name = open_bytes("-", "the results")
    with file:
        file.write(b"one\n")
    os.write(1, b"two\n")
    assert capfd.readouterr().out == "one\ntwo\n"
    assert name == "the standard output"
    again, name = open_unchanged("-", "the results")
    again.close()
    assert name == "the standard output"


def test_a_file_keeps_its_content_until_it_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("of an earlier run")
    file, _ = open_unchanged(str(path), "the results")
    with file:
        assert path.read_text() == "of an earlier run"
        file.truncate(0)
        file.write(b"new")
    assert path.read_text() == "new"
    open_bytes(str(path), "the results")[0].close()
    assert path.read_text() == ""


def test_a_file_that_is_not_there_yet_is_made_either_way(tmp_path: Path) -> None:
    for number, opened in enumerate((open_bytes, open_unchanged)):
        file, name = opened(str(tmp_path / f"{number}.csv"), "the results")
        file.close()
        assert name == str(tmp_path / f"{number}.csv")
        assert (tmp_path / f"{number}.csv").stat().st_mode & 0o111 == 0


@pytest.mark.parametrize("opened", [open_bytes, open_output, open_unchanged])
def test_an_output_that_cannot_be_written_is_one_sentence(tmp_path: Path, opened: object) -> None:
    assert callable(opened)
    with pytest.raises(
        BadInput, match=r"cannot be written \(Is a directory\); expected a file for the kinds"
    ):
        opened(str(tmp_path), "the kinds")
    with pytest.raises(BadInput, match=r"none/a cannot be written \(No such file or directory\)"):
        opened(str(tmp_path / "none" / "a"), "the kinds")


def test_an_input_is_never_written_over_under_whatever_name(tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    path.write_text("token\n")
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "hard").hardlink_to(path)
    for name in ("devices.csv", "link", "hard", "../" + tmp_path.name + "/devices.csv"):
        with pytest.raises(BadInput, match="is an input; expected another file for the results"):
            refuse_same_file(str(tmp_path / name), None, str(tmp_path / "none"), str(path))
    with pytest.raises(BadInput, match="expected another file for the kinds"):
        refuse_same_file(str(path), str(path), purpose="the kinds")


def test_an_input_that_does_not_exist_yet_is_not_written_over_either(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is an input"):
        refuse_same_file(str(tmp_path / "j.db"), str(tmp_path / "j.db"))


def test_other_files_and_the_standard_output_are_let_pass(tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    path.write_text("token\n")
    (tmp_path / "copy.csv").write_text("token\n")
    refuse_same_file(str(tmp_path / "new.csv"), str(path), None)
    refuse_same_file(str(tmp_path / "copy.csv"), str(path))
    refuse_same_file("-", str(path), "-")


@pytest.mark.parametrize("text", ["", "plain", "a b", "a,b", 'say "no"', "a\nb", "a\rb", '"', "é;\t"])
def test_a_field_is_quoted_where_csv_needs_it(text: str) -> None:
    (row,) = csv.reader(io.StringIO(f"{quoted(text)},x\n", newline=""), strict=True)
    assert row == [text, "x"]
    assert (quoted(text) != text) is bool(set(text) & set(',"\r\n'))


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_762_331_400.25, "2025-11-05T08:30:00.250Z"),
        (1_700_000_000.0004, "2023-11-14T22:13:20.000Z"),
        (1_700_000_000.9996, "2023-11-14T22:13:21.000Z"),
    ],
)
def test_a_time_is_utc_with_milliseconds(timestamp: float, expected: str) -> None:
    assert iso(timestamp) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("BadDeviceToken", "BadDeviceToken"),
        ("a-b=c+d@e", "a-b=c+d@e"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("＝1", "'＝1"),  # noqa: RUF001
        ("  =1", "'  =1"),
        ("a;=1", "a;'=1"),
        ("\t=1", r"\t=1"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\nb", r"a\nb"),
        ("\u200b=1", r"\u200b=1"),
        ("\ufeff\u2060@x", r"\ufeff\u2060@x"),
        ("\xad=1", r"\xad=1"),
        ("\u061c\u180e@x", r"\u061c\u180e@x"),
        ("\U000e0020+1", r"\U000e0020+1"),
        ("\udca0=1", "'\udca0=1"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("Дима 李雷 \udcff", "Дима 李雷 \udcff"),
    ],
)
def test_texts_of_others_are_harmless(text: str, expected: str) -> None:
    assert harmless(text) == expected


@given(st.text())
def test_no_text_begins_a_formula_or_controls_a_terminal(text: str) -> None:
    made = harmless(text)
    for cell in made.split(";"):
        assert cell.lstrip()[:1] not in set("=+-@＝＋－＠")  # noqa: RUF001
    assert not any(unicodedata.category(character) == "Cc" for character in made)
    assert harmless(made) == made


def test_a_token_that_has_the_shape_of_one_stays_as_it_is() -> None:
    token = f"-{'x' * 21}:APA91b{'x' * 134}"
    known = recognise(token).kind is not TokenKind.UNKNOWN
    assert harmless_token(token) == (token if known else f"'{token}")
    assert harmless_token("ab" * 32) == "ab" * 32
    assert harmless_token("=cmd") == "'=cmd"
