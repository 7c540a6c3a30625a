"""Tables and the JSON form."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.harness.look import Column, TableLayout, markdown, read, share, show, two, whole, write

FORM = TableLayout(
    "Title", (Column("name", "who"), Column("rate", "pushes/s", whole), Column("use", "core", share))
)
ROWS: list[dict[str, Any]] = [
    {"name": "a|b", "rate": 370_000.4, "use": 0.954},
    {"name": "[red]c", "rate": None},
]


def test_numbers_are_written_as_people_read_them() -> None:
    assert [two(value) for value in (0.8, 3.614, 28.44, 870.2, 2800.0)] == [
        "0.80",
        "3.61",
        "28.4",
        "870",
        "2 800",
    ]
    assert whole(1_234_567.8) == "1 234 568"
    assert share(0.954) == "95%"


def test_markdown_has_a_cell_for_everything_and_a_dash_for_nothing() -> None:
    lines = markdown(FORM, ROWS).splitlines()
    assert lines[0] == "| who | pushes/s | core |"
    assert lines[1] == "|---|---:|---:|"
    assert lines[2] == r"| a\|b | 370 000 | 95% |"
    assert lines[3] == "| [red]c | \N{EN DASH} | \N{EN DASH} |"


def test_a_table_shows_what_is_in_the_rows_and_no_markup() -> None:
    text = io.StringIO()
    show(Console(file=text, width=100), FORM, ROWS)
    assert "370 000" in text.getvalue()
    assert "[red]c" in text.getvalue()


def test_written_rows_are_read_again(tmp_path: Path) -> None:
    write(tmp_path / "rows.json", {"cpu": "x"}, ROWS)
    assert read(tmp_path / "rows.json") == ({"cpu": "x"}, ROWS)


@pytest.mark.parametrize("content", ["[]", '{"rows": 1}', "{"])
def test_something_else_is_not_read(content: str, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(content)
    with pytest.raises(ValueError):
        read(tmp_path / "rows.json")
