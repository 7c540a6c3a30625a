"""Rows as one report: `report.json`, `report.md`, `report.html` and the pictures."""

from __future__ import annotations

import html
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from ..harness import promises
from ..harness.look import TableLayout, markdown, read, write
from ..harness.stage import CannotMeasure
from .pictures import PICTURES, NoPictures
from .suite import MEASUREMENTS, Measurement
from .sweep import SAME

Row = dict[str, Any]

MACHINE: Final = {
    "cpu": "{}",
    "cores": "{} cores",
    "system": "{}",
    "python": "Python {}",
    "openssl": "{}",
    "uvloop": "uvloop {}",
    "h2load": "{}",
    "pushcore": "pushcore {}",
    "commit": "commit {}",
}
"""What is told of the machine, in this order."""


def collect(files: Iterable[Path]) -> tuple[dict[str, Any], list[Row]]:
    """The machine of the first and the rows of all files.

    Raises `CannotMeasure` if one is not such a file, or is from another machine or commit.
    """
    machine: dict[str, Any] = {}
    rows: list[Row] = []
    for file in files:
        try:
            its_machine, its_rows = read(file)
        except (OSError, ValueError) as error:
            raise CannotMeasure(f"{file}: {error}") from error
        differs = [key for key in SAME if machine and machine.get(key) != its_machine.get(key)]
        if differs:
            raise CannotMeasure(f"{file} was measured with another {differs[0]} than the files before it")
        machine = machine or its_machine
        unknown = [row for row in its_rows if row.get("measurement") not in MEASUREMENTS]
        if unknown:
            raise CannotMeasure(f"{file} has rows of no measurement that is known here")
        rows += its_rows
    return machine, rows


@dataclass(frozen=True, slots=True)
class Section:
    """A measurement of one provider, as the report shows it. `name`: of its picture's file, without a suffix."""

    name: str
    title: str
    command: str
    tables: list[tuple[TableLayout, list[Row]]]


def make(
    console: Console,
    directory: Path,
    machine: dict[str, Any],
    rows: list[Row],
    missing: Sequence[str] = (),
) -> list[Path]:
    """Write the report into the directory, which is made if it is missing; the files."""
    directory.mkdir(parents=True, exist_ok=True)
    written = [directory / "report.json", directory / "report.md", directory / "report.html"]
    write(written[0], machine, rows)
    pictures = draw(console, machine, rows)
    for name, svg in pictures.items():
        written.append(directory / f"{name}.svg")
        written[-1].write_text(svg)
    written[1].write_text(as_markdown(machine, rows, pictures, missing))
    written[2].write_text(as_html(machine, rows, pictures, missing))
    return written


def describe(machine: dict[str, Any]) -> str:
    """The machine in one line."""
    known = {key: str(machine[key]) for key in machine if machine[key]}
    return ", ".join(form.format(known[key]) for key, form in MACHINE.items() if key in known)


def promised(rows: list[Row]) -> list[Row]:
    """The rows of "What must hold", for everything that was measured."""
    return [
        row
        for name in MEASUREMENTS
        for row in promises.judge(name, [row for row in rows if row["measurement"] == name])
    ]


def _groups(rows: list[Row]) -> Iterable[tuple[Measurement, str, list[Row]]]:
    """Each measurement with its provider ("" if it has none) and its rows, in the suite's order."""
    for name, measurement in MEASUREMENTS.items():
        some = [row for row in rows if row["measurement"] == name]
        if measurement.of_provider:
            # Some rows of a measurement are of no provider, such as an import: they go with the first.
            first = next((row["provider"] for row in some if row.get("provider")), "")
            for provider in dict.fromkeys(row.get("provider") or first for row in some):
                yield (
                    measurement,
                    provider,
                    [row for row in some if (row.get("provider") or first) == provider],
                )
        elif some:
            yield measurement, "", some


def _sections(rows: list[Row]) -> Iterable[Section]:
    kept = promised(rows)
    if kept:
        yield Section("promises", promises.FORM.title, "", [(promises.FORM, kept)])
    for measurement, provider, some in _groups(rows):
        tables = measurement.tables(some)
        title = tables[0][0].title if len(tables) == 1 else f"`pushcore send`: {measurement.name}"
        name = measurement.name
        if provider:
            name, title = f"{name}-{provider}", f"{title} ({provider})"
        yield Section(name, title, some[0].get("command", ""), tables)


def draw(console: Console, machine: dict[str, Any], rows: list[Row]) -> dict[str, str]:
    """The pictures as SVG by name, each with machine and command under it; none without matplotlib."""
    images: dict[str, str] = {}
    for measurement, provider, some in _groups(rows):
        name = measurement.name
        if name not in PICTURES:
            continue
        caption = f"{describe(machine)}\n{some[0].get('command', '')}".strip()
        try:
            svg = PICTURES[name](some, caption)
        except NoPictures as error:
            console.print(str(error))
            return {}
        if svg is not None:
            images[f"{name}-{provider}" if provider else name] = svg
    return images


def as_markdown(
    machine: dict[str, Any], rows: list[Row], pictures: Container[str], missing: Sequence[str]
) -> str:
    """All tables, with the pictures' names."""
    parts = ["# Measurements\n", describe(machine) + ".\n"]
    for section in _sections(rows):
        parts.append(f"## {section.title}\n")
        if section.command:
            parts.append(f"`{section.command}`\n")
        if section.name in pictures:
            parts.append(f"![{section.title}]({section.name}.svg)\n")
        for form, some in section.tables:
            if len(section.tables) > 1:
                parts.append(f"### {form.title}\n")
            parts.append(markdown(form, some))
            if form.reading:
                parts.append(form.reading[:1].upper() + form.reading[1:] + ".\n")
    if missing:
        parts += ["## Not measured\n", "".join(f"- {line}\n" for line in missing)]
    return "\n".join(parts)


STYLE: Final = """
:root { color-scheme: light dark; --ink: #24292f; --line: #d0d7de; --page: #fff }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --line: #3d444d; --page: #0d1117 } }
body { background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; max-width: 1200px;
  margin: 2rem auto; padding: 0 1rem }
div { overflow-x: auto } table { border-collapse: collapse; margin: 1rem 0 }
td, th { border-bottom: 1px solid var(--line); padding: .25rem .7rem; text-align: left; min-width: 4rem;
  vertical-align: bottom }
td:first-child, td.number { white-space: nowrap }
.number { text-align: right; font-variant-numeric: tabular-nums }
svg { width: 100%; min-width: 40rem; max-width: 60rem; height: auto }
"""


def as_html(
    machine: dict[str, Any], rows: list[Row], pictures: dict[str, str], missing: Sequence[str]
) -> str:
    """One page with everything in it."""
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>pushcore: measurements</title>",
        f"<meta name='viewport' content='width=device-width, initial-scale=1'><style>{STYLE}</style><h1>Measurements</h1>",
        f"<p>{html.escape(describe(machine))}</p>",
    ]
    for section in _sections(rows):
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        if section.command:
            parts.append(f"<p><code>{html.escape(section.command)}</code></p>")
        if section.name in pictures:
            svg = pictures[section.name]
            parts.append(f"<div>{svg[svg.index('<svg') :]}</div>")
        for form, some in section.tables:
            if len(section.tables) > 1:
                parts.append(f"<h3>{html.escape(form.title)}</h3>")
            parts.append(_html_table(form, some))
    if missing:
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in missing)
        parts.append(f"<h2>Not measured</h2><ul>{lines}</ul>")
    return "\n".join(parts) + "\n"


def _html_table(form: TableLayout, rows: list[Row]) -> str:
    def line(tag: str, texts: Iterable[str]) -> str:
        cells = (
            f"<{tag}{' class=number' if column.is_number else ''}>{html.escape(text)}</{tag}>"
            for column, text in zip(form.columns, texts, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"

    head = line("th", (column.title for column in form.columns))
    body = "".join(line("td", (column.text(row) for column in form.columns)) for row in rows)
    reading = f"<p>{html.escape(form.reading[:1].upper() + form.reading[1:])}.</p>" if form.reading else ""
    return f"<div><table>{head}{body}</table></div>{reading}"
