"""The forms of results: a table on the terminal, the same table in Markdown, and JSON, `{"machine", "rows"}`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

MISSING: Final = "\N{EN DASH}"


def plain(value: Any) -> str:
    """The value as it is."""
    return str(value)


def whole(value: float) -> str:
    """A whole number with spaces between thousands: 370 000."""
    return f"{value:,.0f}".replace(",", " ")


def two(value: float) -> str:
    """Two digits after the point, fewer for larger numbers: 3.61, 28.4, 870."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else whole(value)


def three(value: float) -> str:
    """Three digits after the point."""
    return f"{value:.3f}"


def share(value: float) -> str:
    """Per cent."""
    return f"{value:.0%}"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the key in the rows, the heading (with its unit), and the format of its values."""

    key: str
    title: str
    write: Callable[[Any], str] = plain

    def text(self, row: dict[str, Any]) -> str:
        """The cell; a dash where the row has no value."""
        value = row.get(self.key)
        return MISSING if value is None else self.write(value)

    @property
    def is_number(self) -> bool:
        """Whether the column holds numbers, which are aligned to the right."""
        return self.write is not plain


@dataclass(frozen=True, slots=True)
class TableLayout:
    """A measurement's rows as a table. `reading`: a sentence that says how to read it."""

    title: str
    columns: Sequence[Column]
    reading: str = ""


def show(console: Console, form: TableLayout, rows: Iterable[dict[str, Any]]) -> None:
    """Print the rows as a table."""
    table = Table(title=form.title, caption=form.reading or None)
    for column in form.columns:
        number = column.is_number
        table.add_column(column.title, justify="right" if number else "left", no_wrap=number)
    for row in rows:
        table.add_row(*(Text(column.text(row)) for column in form.columns))
    console.print(table)


def markdown(form: TableLayout, rows: Iterable[dict[str, Any]]) -> str:
    """The same table in Markdown, without a heading."""
    lines = [
        "| " + " | ".join(column.title for column in form.columns) + " |",
        "|" + "|".join("---:" if column.is_number else "---" for column in form.columns) + "|",
    ]
    for row in rows:
        cells = (column.text(row).replace("|", "\\|").replace("\n", " ") for column in form.columns)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write(path: Path, machine: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write machine and rows as JSON."""
    path.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Machine and rows of a file that `write` made.

    Raises `ValueError` when it is something else.
    """
    content = json.loads(path.read_text())
    if not isinstance(content, dict) or not isinstance(content.get("rows"), list):
        raise ValueError(f"{path.name} is no file of `python -m bench … --json`")
    return content.get("machine") or {}, content["rows"]
