"""Writes the figures of README and of the benchmarks page, and their pictures, from a report.

The text between two marks of these pages is written here and nowhere else.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from ..harness.look import Column, TableLayout, markdown, plain, read, share, two, whole
from ..harness.stage import ROOT, CannotMeasure
from .report import describe

Row = dict[str, Any]

BEGIN: Final = "<!-- figures: written by `make bench-readme` -->"
END: Final = "<!-- end of figures -->"
PAGE: Final = Path("docs", "inside", "benchmarks.md")
GUIDE: Final = Path("docs", "guides", "gateway.md")
NEEDED: Final = ("throughput", "rivals", "wan", "delay", "memory", "flat")
"""The measurements that these pages tell of."""
PICTURES: Final = {
    "rivals-apns": ("bench-rivals", "Notifications for each second of CPU and for each second, by client"),
    "wan-apns": ("bench-wan", "Notifications a second over the round trip, by number of connections"),
}
"""By the report's name: the name in docs/images, and what is said to those who cannot see it."""
NAMES: Final = {"apns": "APNs", "fcm": "FCM"}


THROUGHPUT: Final = TableLayout(
    "",
    (
        Column("case", "case"),
        Column("to", "to"),
        Column("target", "server", plain),
        Column("rate", "pushes/s", whole),
        Column("cpu_us", "CPU µs", two),
        Column("rate_ratio", "rate ratio", two),
        Column("cpu_ratio", "CPU ratio", two),
    ),
)
RIVALS: Final = TableLayout(
    "",
    (
        Column("rival", "client"),
        Column("language", "in"),
        Column("version", "version"),
        Column("to", "to"),
        Column("rate", "pushes/s", whole),
        Column("cpu_us", "CPU µs", two),
        Column("times", "times our engine's", two),
        Column("absent", "absent because"),
    ),
)


GATEWAY: Final = TableLayout(
    "",
    (
        Column("case", "requests", plain),
        Column("cpu_us", "CPU µs per push", two),
        Column("per_core", "pushes for one second of CPU", whole),
    ),
)


Report = tuple[Row, list[Row]]
"""A machine and the rows that were measured on it."""


def gateway_figures(machine: Row, rows: list[Row], measured: date) -> str:
    """The text between the marks of the gateway's guide. Raises `CannotMeasure` if a row is of another measurement."""
    if not rows or any(row.get("measurement") != "gateway" for row in rows):
        raise CannotMeasure("expected the file of `python -m bench gateway --json FILE`")
    rows = [row | {"per_core": 1e6 / row["cpu_us"]} for row in rows]
    return (
        f"Measured {measured} on {describe(machine)} ({_command(rows)}); the client and the provider have another core.\n\n"
        + markdown(GATEWAY, rows)
    )


def summary(machine: Row, rows: list[Row], measured: date, beside: Report | None = None) -> str:
    """The text between README's marks: a line for each of three measurements, if it has rows.

    Args:
        beside: `throughput` on the same machine with another interpreter.
    """
    lines = [*_speed(rows), *_full(rows), *_bounded(rows)]
    text = "".join(f"- {line}\n" for line in lines) + f"\nMeasured {measured} on {describe(machine)}."
    ours, other = (_engine_cpu(some) for some in (rows, beside[1] if beside else []))
    if beside and ours and other:
        text += (
            f" The same push takes {two(other / ours)} times as much CPU with Python {beside[0]['python']} "
            "(`python -m bench throughput`)."
        )
    return f"{text}\n"


def _engine_cpu(rows: list[Row]) -> float | None:
    """Microseconds of CPU per push of the engine to APNs: the first row of `throughput`."""
    for row in rows:
        if (row["measurement"], row.get("provider"), row.get("case")) == ("throughput", "apns", "engine"):
            return float(row["cpu_us"])
    return None


def _speed(rows: list[Row]) -> Iterable[str]:
    by_client = {
        (row["rival"], row["provider"]): row
        for row in rows
        if row["measurement"] == "rivals" and row.get("times")
    }
    ours = by_client.get(("pushcore engine", "apns"))
    if ours is not None:
        others = [
            f"{rival} takes {round(by_client[rival, provider]['times'])} times as much"
            for rival, provider in (("aioapns", "apns"), ("firebase-admin", "fcm"))
            if (rival, provider) in by_client
        ]
        yield (
            f"**{whole(ours['rate'])} pushes/s to APNs from one core**, {two(ours['cpu_us'])} µs of CPU each; "
            f"{', '.join(others)} ({_command([ours])})."
        )


def _full(rows: list[Row]) -> Iterable[str]:
    for row in rows:
        if (row["measurement"], row.get("provider"), row.get("case")) == ("delay", "apns", "engine"):
            yield (
                f"**{share(row['of_ideal'])} of what one connection can carry**, when APNs responds after {row['delay_ms']} ms "
                f"({_command([row])})."
            )


def _bounded(rows: list[Row]) -> Iterable[str]:
    for row in rows:
        if (row["measurement"], row.get("provider")) == ("memory", "apns"):
            yield (
                f"**{whole(row['peak_mb'])} MB of memory for {whole(row['count'])} pushes**, {two(row['slope_mb'])} MB more "
                f"for each further million ({_command([row])})."
            )


def figures(machine: Row, rows: list[Row], measured: date, beside: Report | None = None) -> str:
    """The text between the page's marks. Measurements without rows are left out. `beside`: as in `summary`."""
    rows = _with_names(rows)
    by_name = {name: [row for row in rows if row["measurement"] == name] for name in NEEDED}
    parts = [
        f"Measured {measured} on {describe(machine)}; each command with `--provider apns` and `--provider fcm`.\n"
    ]
    if by_name["throughput"]:
        parts.append(_command(by_name["throughput"]) + " against h2load, which is C:\n")
        parts.append(markdown(THROUGHPUT, _free_rates(by_name["throughput"])))
    if beside:
        parts.append(f"The same with Python {beside[0]['python']}:\n")
        parts.append(markdown(THROUGHPUT, _free_rates(_with_names(beside[1]))))
    if by_name["rivals"]:
        parts.append(_command(by_name["rivals"]) + " against other libraries, from one core to one server:\n")
        there = RIVALS.columns if any(row.get("absent") for row in by_name["rivals"]) else RIVALS.columns[:-1]
        parts.append(markdown(TableLayout("", there), by_name["rivals"]))
    parts += [f"![{text}](../images/{name}.svg)\n" for name, text in PICTURES.values()]
    lines = [*_delay(by_name["delay"]), *_memory(by_name["memory"]), *_flat(by_name["flat"])]
    parts.append("".join(f"- {line}\n" for line in lines))
    return "\n".join(parts)


def _with_names(rows: list[Row]) -> list[Row]:
    """With the providers' names in a column "to"."""
    return [row | {"to": NAMES.get(row.get("provider", ""))} for row in rows]


def _command(rows: list[Row]) -> str:
    """The command of a measurement, without the provider."""
    return f"`{rows[0]['command'].partition(' --provider ')[0]}`"


def _free_rates(rows: list[Row]) -> Iterable[Row]:
    """The rows without the ratios of rates that the server limited."""
    for row in rows:
        yield row | {"rate_ratio": None} if row["server_bound"] else row


def _delay(rows: list[Row]) -> Iterable[str]:
    for provider in dict.fromkeys(row["provider"] for row in rows):
        some = [row for row in rows if row["provider"] == provider]
        shares = ", ".join(f"{row['case']} {share(row['of_ideal'])}" for row in some)
        yield (
            f"{some[0]['to']} that answers after {some[0]['delay_ms']} ms, {some[0]['connections']} connection "
            f"({_command(some)}): {shares} of the ideal."
        )


def _memory(rows: list[Row]) -> Iterable[str]:
    for row in rows:
        yield (
            f"{whole(row['count'])} notifications to {row['to']} from a generator ({_command([row])}): "
            f"{whole(row['peak_mb'])} MB at most, {two(row['slope_mb'])} MB more for each million."
        )


def _flat(rows: list[Row]) -> Iterable[str]:
    for row in rows:
        yield (
            f"A push to {row['to']} on {row['connections']} "
            f"{'connection' if row['connections'] == 1 else 'connections'} ({_command([row])}): {two(row['cpu_us_1000'])} µs "
            f"with all streams in use, {two(row['cpu_us_100'])} with a tenth of them."
        )


def replace(text: str, block: str) -> str:
    """A page with `block` between its marks.

    Raises `CannotMeasure` if one of the marks is missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise CannotMeasure(f"the page lacks the line {END if begin else BEGIN}")
    return f"{before}{BEGIN}\n\n{block}\n{END}{after}"


def _read(report: Path) -> Report:
    """The content of a report's directory. Raises `CannotMeasure` if it has no report."""
    try:
        return read(report / "report.json")
    except (OSError, ValueError) as error:
        raise CannotMeasure(f"{report} is no report: {error}") from error


def update_guide(file: Path, root: Path = ROOT) -> Path:
    """Put the figures of `python -m bench gateway --json FILE` into the gateway's guide; the guide's path.

    Raises `CannotMeasure` if the file is another one.
    """
    try:
        machine, rows = read(file)
    except (OSError, ValueError) as error:
        raise CannotMeasure(f"{file}: {error}") from error
    measured = datetime.fromtimestamp(file.stat().st_mtime, UTC).date()
    page = root / GUIDE
    page.write_text(replace(page.read_text(), gateway_figures(machine, rows, measured)))
    return page


def update(report: Path, root: Path = ROOT, beside: Path | None = None) -> list[Path]:
    """Put figures and pictures of a report into the pages; the files that were written.

    Args:
        report: the directory.
        root: where the pages are.
        beside: the directory of a report of `throughput` with another interpreter on the same machine.

    Raises:
        CannotMeasure: the report lacks a picture, because a run was left out or matplotlib was missing.
    """
    machine, rows = _read(report)
    other = _read(beside) if beside else None
    if other:
        other = (other[0], [row for row in other[1] if row["measurement"] == "throughput"])
    images = root / "docs" / "images"
    written = []
    for name, (new_name, _) in PICTURES.items():
        source = report / f"{name}.svg"
        if not source.exists():
            raise CannotMeasure(f"{report} has no {name}.svg")
        written.append(images / f"{new_name}.svg")
        shutil.copyfile(source, written[-1])
    measured = datetime.fromtimestamp((report / "report.json").stat().st_mtime, UTC).date()
    for page, block in ((root / "README.md", summary), (root / PAGE, figures)):
        page.write_text(replace(page.read_text(), block(machine, rows, measured, other)))
        written.append(page)
    return written
