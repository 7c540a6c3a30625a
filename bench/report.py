"""Everything in one place: `report.json`, `report.md`, `report.html` and the pictures, run anew or from JSON files."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from .look import markdown, read, write
from .pictures import PICTURES, NoPictures
from .stage import CannotMeasure
from .suite import MEASUREMENTS

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


def run(
    console: Console, *, names: Sequence[str], providers: Sequence[str], short: bool
) -> tuple[list[Row], list[str]]:
    """The rows of these measurements, and in sentences what could not be measured."""
    rows: list[Row] = []
    missing: list[str] = []
    for name in names:
        measurement = MEASUREMENTS[name]
        for provider in providers if measurement.of_provider else providers[:1]:
            command = measurement.command(provider, short)
            console.rule(command)
            try:
                found = measurement.run(console, provider, short)
            except CannotMeasure as error:
                missing.append(f"{name} ({provider}): {error}")
                console.print(missing[-1])
                continue
            rows += [{"measurement": name, "command": command} | row for row in found]
    return rows, missing


def collect(files: Iterable[Path]) -> tuple[dict[str, Any], list[Row]]:
    """The machine of the first and the rows of all files.

    Raises `CannotMeasure` when one is no file of ours, or comes from another machine or commit.
    """
    machine: dict[str, Any] = {}
    rows: list[Row] = []
    for file in files:
        try:
            its_machine, its_rows = read(file)
        except (OSError, ValueError) as error:
            raise CannotMeasure(f"{file}: {error}") from error
        differs = [
            key for key in ("cpu", "cores", "commit") if machine and machine.get(key) != its_machine.get(key)
        ]
        if differs:
            raise CannotMeasure(f"{file} was measured with another {differs[0]} than the files before it")
        machine = machine or its_machine
        unknown = [row for row in its_rows if row.get("measurement") not in MEASUREMENTS]
        if unknown:
            raise CannotMeasure(f"{file} has rows of no measurement that is known here")
        rows += its_rows
    return machine, rows


def make(
    console: Console,
    directory: Path,
    machine: dict[str, Any],
    rows: list[Row],
    missing: Sequence[str] = (),
) -> list[Path]:
    """Write the report into the directory, made if need be. Returns the files."""
    directory.mkdir(parents=True, exist_ok=True)
    written = [directory / "report.json", directory / "report.md", directory / "report.html"]
    write(written[0], machine, rows)
    pictures = _pictures(console, machine, rows)
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


def _groups(rows: list[Row]) -> Iterable[tuple[str, str, list[Row]]]:
    """Name, provider ("" when it is of none) and rows of each measurement, in the suite's order."""
    for name, measurement in MEASUREMENTS.items():
        some = [row for row in rows if row["measurement"] == name]
        if measurement.of_provider:
            # Some rows of a measurement are of no provider, such as an import: they go with the first.
            first = next((row["provider"] for row in some if row.get("provider")), "")
            for provider in dict.fromkeys(row.get("provider") or first for row in some):
                yield name, provider, [row for row in some if (row.get("provider") or first) == provider]
        elif some:
            yield name, "", some


def _pictures(console: Console, machine: dict[str, Any], rows: list[Row]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, provider, some in _groups(rows):
        if name not in PICTURES:
            continue
        caption = f"{describe(machine)}\n{some[0].get('command', '')}".strip()
        try:
            svg = PICTURES[name](some, caption)
        except NoPictures as error:
            console.print(str(error))
            return {}
        if svg is not None:
            found[f"{name}-{provider}" if provider else name] = svg
    return found


def as_markdown(
    machine: dict[str, Any], rows: list[Row], pictures: Iterable[str], missing: Sequence[str]
) -> str:
    """All tables, with the pictures' names."""
    parts = ["# Measurements\n", describe(machine) + ".\n"]
    names = set(pictures)
    for name, provider, some in _groups(rows):
        form = MEASUREMENTS[name].form
        title = f"{form.title} ({provider})" if provider else form.title
        parts.append(f"## {title}\n")
        if some[0].get("command"):
            parts.append(f"`{some[0]['command']}`\n")
        picture = f"{name}-{provider}" if provider else name
        if picture in names:
            parts.append(f"![{title}]({picture}.svg)\n")
        parts.append(markdown(form, some))
        if form.reading:
            parts.append(form.reading[:1].upper() + form.reading[1:] + ".\n")
    if missing:
        parts += ["## Not measured\n", "".join(f"- {line}\n" for line in missing)]
    return "\n".join(parts)


STYLE: Final = """
:root { color-scheme: light dark; --ink: #24292f; --line: #d0d7de; --page: #fff }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --line: #3d444d; --page: #0d1117 } }
body { background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; max-width: 1100px;
  margin: 2rem auto; padding: 0 1rem }
div { overflow-x: auto } table { border-collapse: collapse; margin: 1rem 0 }
td, th { border-bottom: 1px solid var(--line); padding: .25rem .7rem; text-align: left; white-space: nowrap }
.number { text-align: right; font-variant-numeric: tabular-nums } svg { max-width: 100%; height: auto }
"""


def as_html(
    machine: dict[str, Any], rows: list[Row], pictures: dict[str, str], missing: Sequence[str]
) -> str:
    """One page with everything in it."""
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>pushcore: measurements</title>",
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style><h1>Measurements</h1>",
        f"<p>{html.escape(describe(machine))}</p>",
    ]
    for name, provider, some in _groups(rows):
        form = MEASUREMENTS[name].form
        title = f"{form.title} ({provider})" if provider else form.title
        parts.append(f"<h2>{html.escape(title)}</h2>")
        if some[0].get("command"):
            parts.append(f"<p><code>{html.escape(some[0]['command'])}</code></p>")
        svg = pictures.get(f"{name}-{provider}" if provider else name)
        if svg is not None:
            parts.append(f"<div>{svg[svg.index('<svg') :]}</div>")
        kinds = ["number" if column.is_number else "" for column in form.columns]
        heads = "".join(
            f"<th class='{kind}'>{html.escape(column.title)}</th>"
            for kind, column in zip(kinds, form.columns, strict=True)
        )
        lines = (
            "<tr>"
            + "".join(
                f"<td class='{kind}'>{html.escape(column.text(row))}</td>"
                for kind, column in zip(kinds, form.columns, strict=True)
            )
            + "</tr>"
            for row in some
        )
        parts.append(f"<div><table><tr>{heads}</tr>{''.join(lines)}</table></div>")
        if form.reading:
            parts.append(f"<p>{html.escape(form.reading[:1].upper() + form.reading[1:])}.</p>")
    if missing:
        lines_missing = "".join(f"<li>{html.escape(line)}</li>" for line in missing)
        parts.append(f"<h2>Not measured</h2><ul>{lines_missing}</ul>")
    return "\n".join(parts) + "\n"
