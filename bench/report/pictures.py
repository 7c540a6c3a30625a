"""The report's pictures: SVG for light and dark pages. Needs matplotlib, the extra `bench`."""

from __future__ import annotations

import importlib
import io
import math
import re
import textwrap
from collections.abc import Callable
from typing import Any, Final

Row = dict[str, Any]

INK, FAINT = "#24292f", "#8c959f"
COLOURS: Final = ("#0969da", "#bf3989", "#1a7f37", "#9a6700", "#8250df", "#cf222e")
DARK: Final = {
    INK: "#e6edf3",
    FAINT: "#848d97",
    "#0969da": "#58a6ff",
    "#bf3989": "#f778ba",
    "#1a7f37": "#3fb950",
    "#9a6700": "#d29922",
    "#8250df": "#bc8cff",
    "#cf222e": "#ff7b72",
}
"""What each colour becomes on a dark page."""
WIDE: Final = 8
"""Times the least that the most must be for a logarithmic axis."""
CAPTION_WIDTH: Final = 125  # characters
PROVIDERS: Final = {"apns": "APNs", "fcm": "FCM"}
OURS, THEIRS, YARDSTICK = COLOURS[0], FAINT, COLOURS[3]


class NoPictures(Exception):
    """matplotlib is missing."""


def _figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any, Any]:
    """A figure with this many axes side by side, the first of them, and the module. Raises `NoPictures` without matplotlib."""
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError:
        raise NoPictures('no pictures without matplotlib: pip install "pushcore[bench]"') from None
    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {
            "svg.fonttype": "none",  # text stays text
            "svg.hashsalt": "pushcore",  # the same rows give the same file
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],
            "font.size": 10,
            "text.color": INK,
            "axes.edgecolor": FAINT,
            "axes.labelcolor": INK,
            "axes.titlecolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "grid.color": FAINT,
            "grid.alpha": 0.35,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    figure_module = importlib.import_module("matplotlib.figure")
    figure = figure_module.Figure(figsize=(width, height), layout="constrained")
    for axes in figure.subplots(1, columns, squeeze=False)[0]:
        axes.set_axisbelow(True)
        axes.grid(visible=True, which="major")
    return figure, figure.axes[0], matplotlib


def _provider(rows: list[Row]) -> str:
    return PROVIDERS[rows[0].get("provider") or "apns"]


def _svg(figure: Any, caption: str) -> str:
    """The figure as SVG text, with `caption` below it and colours that follow the page."""
    lines = [part for line in caption.splitlines() for part in textwrap.wrap(line, CAPTION_WIDTH)]
    figure.text(0.0, -0.02, "\n".join(lines), fontsize=7.5, color=INK, va="top", ha="left")
    file = io.StringIO()
    figure.savefig(
        file, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.15, metadata={"Date": None}
    )
    return follow_the_page(file.getvalue())


def _plain_numbers(axis: Any) -> None:
    """Whole numbers on a logarithmic axis, a few of each decade."""
    ticker = importlib.import_module("matplotlib.ticker")
    axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.0f}".replace(",", " ")))
    axis.set_minor_locator(ticker.NullLocator())


def follow_the_page(svg: str) -> str:
    """Make the colours follow `prefers-color-scheme`; a viewer without CSS variables shows the light ones."""
    names = {light: f"--c{at}" for at, light in enumerate(DARK)}

    def both(match: re.Match[str]) -> str:
        colour = match[2].lower()
        if colour not in names:
            return match[0]
        return f"{match[1]}: {colour}; {match[1]}: var({names[colour]}, {colour})"

    text = re.sub(r"\b(fill|stroke): (#[0-9a-fA-F]{6})\b", both, svg)
    light = "; ".join(f"{name}: {colour}" for colour, name in names.items())
    dark = "; ".join(f"{names[colour]}: {other}" for colour, other in DARK.items())
    style = f"<style>svg {{ {light} }} @media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}</style>"
    return re.sub(r"(<svg\b[^>]*>)", lambda match: match[1] + style, text, count=1)


def rivals(rows: list[Row], caption: str) -> str | None:
    """Notifications per second and per second of CPU, of each client, on log axes; None without any."""
    shown = sorted((row for row in rows if row.get("per_cpu_second")), key=lambda row: row["per_cpu_second"])
    if not shown:
        return None
    figure, per_cpu, _ = _figure(9.5, 0.9 + 0.32 * len(shown), columns=2)
    rates = figure.axes[1]
    colours = [
        OURS if row.get("ours") else YARDSTICK if row["rival"] == "h2load" else THEIRS for row in shown
    ]
    names = [f"{row['rival']} ({row['language']})" for row in shown]
    for axes, key, label in (
        (per_cpu, "per_cpu_second", "notifications for each second of CPU"),
        (rates, "rate", "notifications a second"),
    ):
        values = [row[key] for row in shown]
        bars = axes.barh(names, values, color=colours, height=0.68)
        axes.set_xscale("log")
        axes.set_xlim(right=max(values) * 5)
        numbers = [f"{value:,}".replace(",", " ") for value in values]
        axes.bar_label(bars, labels=numbers, padding=3, color=INK, fontsize=8.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(label)
    rates.tick_params(labelleft=False)
    per_cpu.set_title(f"Sending to {_provider(shown)} from one core, successes only", loc="left")
    return _svg(figure, caption)


def throughput(rows: list[Row], caption: str) -> str | None:
    """CPU per notification, of pushcore and h2load, by target."""
    shown = [row for row in rows if row.get("cpu_us")]
    if not shown:
        return None
    figure, axes, _ = _figure(8.0, 0.9 + 0.3 * len(shown))
    names = [f"{row['case']} on {row['target']}" for row in reversed(shown)]
    values = [row["cpu_us"] for row in reversed(shown)]
    colours = [YARDSTICK if row["case"] == "h2load" else OURS for row in reversed(shown)]
    bars = axes.barh(names, values, color=colours, height=0.68)
    axes.set_xlim(right=max(values) * 1.12)
    axes.bar_label(bars, labels=[f"{value:.2f}" for value in values], padding=3, color=INK, fontsize=9)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("µs of CPU for each notification")
    axes.set_title(f"CPU against h2load, {_provider(shown)}", loc="left")
    return _svg(figure, caption)


def latency(rows: list[Row], caption: str) -> str | None:
    """Percentiles of our clients over the offered load."""
    cases = list(dict.fromkeys(row["case"] for row in rows))
    if not cases:
        return None
    figure, axes, _ = _figure(8.0, 4.2)
    for colour, case in zip(COLOURS, cases, strict=False):
        some = sorted((row for row in rows if row["case"] == case), key=lambda row: row["load"])
        for key, line in (("p50", ":"), ("p99", "-"), ("p99_9", "--")):
            points = [(row["load"] * 100, row[key]) for row in some if row.get(key) is not None]
            if points:
                label = f"{case} {key.replace('_', '.')}"
                axes.plot(*zip(*points, strict=True), line, color=colour, marker="o", ms=3.5, label=label)
    seen = [row[key] for row in rows for key in ("p50", "p99", "p99_9") if row.get(key) is not None]
    if seen and max(seen) > WIDE * min(seen):
        axes.set_yscale("log")
        _plain_numbers(axes.yaxis)
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("offered load, % of the most that goes")
    axes.set_ylabel("ms from when it was due")
    axes.set_title(f"Latency under load, {_provider(rows)}", loc="left")
    axes.legend(frameon=False, ncols=min(len(cases), 3), fontsize=8)
    return _svg(figure, caption)


def wan(rows: list[Row], caption: str) -> str | None:
    """Throughput over the round trip, for each number of connections, with the ideal."""
    ours = [row for row in rows if row["case"] != "h2load"]
    if not ours:
        return None
    figure, axes, _ = _figure(8.0, 4.2)
    numbers = sorted({row["connections"] for row in ours})
    for colour, number in zip(COLOURS, numbers, strict=False):
        for case, line in (("ideal", ":"), ("h2load", "--"), (ours[0]["case"], "-")):
            wanted = "h2load" if case == "h2load" else ours[0]["case"]
            some = [row for row in rows if row["case"] == wanted and row["connections"] == number]
            some.sort(key=lambda row: row["rtt_ms"])
            key = "ideal" if case == "ideal" else "rate"
            axes.plot(
                [row["rtt_ms"] for row in some],
                [row[key] for row in some],
                line,
                color=colour,
                marker="o" if line == "-" else None,
                ms=4,
                lw=1.8 if line == "-" else 1.1,
                label=f"{case}, {number} conn.",
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    trips = sorted({row["rtt_ms"] for row in ours})
    axes.set_xticks(trips, [f"{trip:g}" for trip in trips])
    axes.xaxis.set_minor_locator(importlib.import_module("matplotlib.ticker").NullLocator())
    _plain_numbers(axes.yaxis)
    axes.set_xlabel("round trip, ms")
    axes.set_ylabel("notifications/s")
    axes.set_title(f"Throughput over a distance, {_provider(rows)}", loc="left")
    axes.legend(frameon=False, ncols=max(len(numbers), 1), fontsize=7.5)
    return _svg(figure, caption)


def memory(rows: list[Row], caption: str) -> str | None:
    """Resident memory over time."""
    shown = [row for row in rows if len(row.get("samples") or ()) > 1]
    if not shown:
        return None
    figure, axes, _ = _figure(8.0, 3.0)
    for colour, row in zip(COLOURS, shown, strict=False):
        label = f"{row['count']:,} notifications".replace(",", " ")
        axes.plot(range(1, len(row["samples"]) + 1), row["samples"], color=colour, label=label)
    top = max(max(row["samples"]) for row in shown)
    axes.set_ylim(0, math.ceil(top * 1.2))
    axes.set_xlabel("seconds")
    axes.set_ylabel("MB resident")
    axes.set_title(f"Memory of a campaign, {_provider(shown)}", loc="left")
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure, caption)


PICTURES: Final[dict[str, Callable[[list[Row], str], str | None]]] = {
    "throughput": throughput,
    "rivals": rivals,
    "latency": latency,
    "wan": wan,
    "memory": memory,
}
