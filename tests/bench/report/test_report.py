"""The report from rows: JSON, Markdown, HTML, pictures."""

from __future__ import annotations

import importlib.util
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.harness import look
from bench.harness.stage import CannotMeasure
from bench.report import report
from bench.report.pictures import DARK, INK, PICTURES, follow_the_page
from bench.report.suite import MEASUREMENTS

MACHINE = {"cpu": "AMD <EPYC>", "cores": 2, "python": "3.11.7", "commit": "abc1234", "h2load": None}
ROWS: list[dict[str, Any]] = [
    {"measurement": "campaign", "part": "journal", "provider": "apns", "rows": 1000, "ratio": 2.5},
    {
        "measurement": "campaign",
        "part": "memory",
        "provider": "apns",
        "form": "csv",
        "rows": 1000,
        "peak_mb": 60.0,
    },
    {
        "measurement": "throughput",
        "command": "python -m bench throughput",
        "case": "h2load",
        "provider": "apns",
    }
    | {"target": "c", "rate": 370_000, "cpu_us": 2.1, "rate_ratio": 1.0, "cpu_ratio": 1.0, "server_use": 0.5}
    | {"server_bound": False},
    {"measurement": "throughput", "case": "frames", "provider": "apns", "target": "c", "rate": 500_000}
    | {"cpu_us": 0.9, "rate_ratio": 1.4, "cpu_ratio": 2.3, "server_use": 0.6},
    {"measurement": "rivals", "rival": "pushcore engine", "language": "Python", "provider": "apns"}
    | {"target": "c", "rate": 300_000, "cpu_us": 2.5, "per_cpu_second": 400_000, "ours": True},
    {"measurement": "rivals", "rival": "aioapns", "language": "Python", "provider": "apns"}
    | {"target": "c", "rate": 4_000, "cpu_us": 250.0, "per_cpu_second": 4_000, "ours": False},
    {"measurement": "rivals", "rival": "gone", "language": "Node", "provider": "apns", "absent": "npm <no>"},
    {
        "measurement": "memory",
        "provider": "fcm",
        "count": 1000,
        "peak_mb": 50.0,
        "samples": [49.0, 50.0, 50.0],
    },
]
for load in (10, 50):
    ROWS.append(
        {"measurement": "latency", "case": "engine", "provider": "apns", "target": "c", "load": load / 100}
        | {"p50": 20.0, "p99": 22.0, "p99_9": None}
    )
for rtt_ms in (20.0, 100.0):
    for case in ("h2load", "engine"):
        ROWS.append(
            {"measurement": "wan", "case": case, "provider": "apns", "way": "relay", "connections": 1}
            | {"rtt_ms": rtt_ms, "rate": 80_000 / rtt_ms, "ideal": 160_000 / rtt_ms}
            | {"of_ideal": 0.5, "of_h2load": 1.0, "core_bound": False}
        )


def test_the_report_has_everything_that_was_measured_and_what_was_not(tmp_path: Path) -> None:
    report.make(Console(quiet=True), tmp_path / "new", MACHINE, ROWS, ["fakes (apns): h2load is missing"])
    assert look.read(tmp_path / "new" / "report.json") == (MACHINE, ROWS)
    text = (tmp_path / "new" / "report.md").read_text()
    assert "AMD <EPYC>, 2 cores, Python 3.11.7, commit abc1234." in text
    assert "| frames | c | 500 000 | 0.90 | 1.40 | 2.30 |" in text
    assert "npm <no>" in text
    assert "- fakes (apns): h2load is missing" in text
    assert "| throughput | apns | frames on c: CPU against h2load's | 2.30 | at least 1.8 | yes |" in text
    assert "### Resident memory of `pushcore send --journal`\n\n| provider | audience |" in text
    page = (tmp_path / "new" / "report.html").read_text()
    assert "AMD &lt;EPYC&gt;" in page
    assert "npm &lt;no&gt;" in page
    assert "h2load is missing" in page


@pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib, the extra `bench`, is missing"
)
def test_pictures_are_svg_that_follows_the_page(tmp_path: Path) -> None:
    files = report.make(Console(quiet=True), tmp_path, MACHINE, ROWS)
    pictures = [file for file in files if file.suffix == ".svg"]
    assert {file.stem.split("-")[0] for file in pictures} == set(PICTURES)
    for file in pictures:
        text = file.read_text()
        ElementTree.fromstring(text)
        assert "prefers-color-scheme: dark" in text
        assert f"fill: {INK}; fill: var(" in text
    assert "python -m bench throughput" in (tmp_path / "throughput-apns.svg").read_text()
    assert "aioapns (Python)" in (tmp_path / "rivals-apns.svg").read_text()
    assert (tmp_path / "report.md").read_text().count("](") == len(pictures)


def test_colours_get_a_dark_twin_and_unknown_ones_stay() -> None:
    svg = follow_the_page('<svg width="1"><path style="fill: #24292F; stroke: #123456"/></svg>')
    assert "fill: #24292f; fill: var(--c0, #24292f); stroke: #123456" in svg
    assert f"--c0: {DARK[INK]}" in svg
    ElementTree.fromstring(svg)


def test_files_of_one_machine_are_put_together(tmp_path: Path) -> None:
    look.write(tmp_path / "a.json", MACHINE, ROWS[:4])
    look.write(tmp_path / "b.json", MACHINE, ROWS[4:7])
    assert report.collect([tmp_path / "a.json", tmp_path / "b.json"]) == (MACHINE, ROWS[:7])


def test_files_of_two_machines_or_commits_are_not(tmp_path: Path) -> None:
    look.write(tmp_path / "a.json", MACHINE, ROWS[:4])
    look.write(tmp_path / "b.json", MACHINE | {"commit": "fff"}, ROWS[4:])
    with pytest.raises(CannotMeasure, match="another commit"):
        report.collect([tmp_path / "a.json", tmp_path / "b.json"])


def test_rows_of_nothing_known_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"machine": {}, "rows": [{"rate": 1}]}))
    with pytest.raises(CannotMeasure, match="no measurement"):
        report.collect([tmp_path / "a.json"])


def test_every_measurement_has_a_command_that_is_there() -> None:
    from bench.__main__ import main

    for name, measurement in MEASUREMENTS.items():
        for short in (False, True):
            words = measurement.command("apns", short).split()[3:]
            command = main.commands[name]
            command.make_context(name, words[1:])
