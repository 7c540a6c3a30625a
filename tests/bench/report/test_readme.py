"""The figures of README and of the benchmarks' page come from a report, and from nowhere else."""

from __future__ import annotations

import os
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.harness import look
from bench.harness.stage import ROOT, CannotMeasure
from bench.report import readme
from bench.report.suite import MEASUREMENTS

DAY = date(2026, 11, 25)
MACHINE = {"cpu": "AMD EPYC", "cores": 2, "commit": "abc1234"}
THROUGHPUT: dict[str, Any] = {
    "measurement": "throughput",
    "command": "python -m bench throughput --runs 5 --provider apns",
}
THROUGHPUT |= {"case": "engine", "provider": "apns", "target": "bare", "rate": 386_507, "cpu_us": 2.57}
THROUGHPUT |= {"rate_ratio": 1.3, "cpu_ratio": 0.68}
RIVAL: dict[str, Any] = {"measurement": "rivals", "command": "python -m bench rivals", "rival": "aioapns"}
RIVAL |= {
    "language": "Python",
    "version": "4.0",
    "provider": "apns",
    "rate": 4115,
    "cpu_us": 243.0,
    "times": 87.4,
}
ROWS = [
    THROUGHPUT | {"server_bound": True},
    THROUGHPUT | {"case": "send", "server_bound": False},
    RIVAL,
    {"measurement": "memory", "command": "python -m bench memory", "provider": "fcm", "count": 5_000_000}
    | {"peak_mb": 53.2, "slope_mb": 0.004},
    {"measurement": "delay", "command": "python -m bench delay", "provider": "apns", "delay_ms": 50}
    | {"connections": 1, "case": "engine", "of_ideal": 0.941},
    {"measurement": "flat", "command": "python -m bench flat", "provider": "apns", "connections": 8}
    | {"cpu_us_100": 1.63, "cpu_us_1000": 1.11},
]


def test_each_measurement_is_told_with_its_command_and_the_machine() -> None:
    text = readme.figures(MACHINE, ROWS, DAY)
    assert text.startswith(
        "Measured 2026-11-25 on AMD EPYC, 2 cores, commit abc1234; each command with `--provider apns`"
    )
    assert (
        f"| engine | APNs | bare | 386 507 | 2.57 | {look.MISSING} | 0.68 |" in text
    )  # the rate was the server's
    assert "| send | APNs | bare | 386 507 | 2.57 | 1.30 | 0.68 |" in text
    assert "| aioapns | Python | 4.0 | APNs | 4 115 | 243 | 87.4 |" in text
    assert (
        "- 5 000 000 notifications to FCM from a generator (`python -m bench memory`): 53 MB at most, 0.00 MB"
        in text
    )
    assert (
        "- APNs that answers after 50 ms, 1 connection (`python -m bench delay`): engine 94% of the ideal."
        in text
    )
    assert (
        "- A push to APNs on 8 connections (`python -m bench flat`): 1.11 µs with all streams in use, 1.63"
        in text
    )


def test_an_absent_rival_is_named() -> None:
    gone = {"measurement": "rivals", "command": "x", "rival": "Pushy", "language": "Java", "provider": "apns"}
    text = readme.figures(MACHINE, [RIVAL, gone | {"absent": "mvn is not installed"}], DAY)
    none = look.MISSING
    assert f"| Pushy | Java | {none} | APNs | {none} | {none} | {none} | mvn is not installed |" in text


def test_readme_has_three_figures_with_their_commands() -> None:
    ours = RIVAL | {"rival": "pushcore engine", "rate": 461_705, "cpu_us": 2.162, "times": 1.0}
    google = RIVAL | {"rival": "firebase-admin", "provider": "fcm", "times": 251.4}
    memory = {
        "measurement": "memory",
        "command": "python -m bench memory --provider apns",
        "provider": "apns",
    }
    rows = [*ROWS, ours, google, memory | {"count": 500_000, "peak_mb": 54.0, "slope_mb": 0.0}]
    assert readme.summary(MACHINE, rows, DAY) == (
        "- **461 705 pushes/s to APNs from one core**, 2.16 µs of CPU each; aioapns takes 87 times as much, firebase-admin "
        "takes 251 times as much (`python -m bench rivals`).\n"
        "- **94% of what one connection can carry**, when APNs responds after 50 ms (`python -m bench delay`).\n"
        "- **54 MB of memory for 500 000 pushes**, 0.00 MB more for each further million (`python -m bench memory`).\n"
        "\nMeasured 2026-11-25 on AMD EPYC, 2 cores, commit abc1234.\n"
    )


OTHER: tuple[dict[str, Any], list[dict[str, Any]]] = (
    {"python": "3.11.7 (no PGO, no LTO)"},
    [THROUGHPUT | {"cpu_us": 3.213, "server_bound": False}],
)


def test_another_interpreter_is_shown_beside_the_first() -> None:
    assert readme.summary(MACHINE, ROWS, DAY, OTHER).endswith(
        "\nMeasured 2026-11-25 on AMD EPYC, 2 cores, commit abc1234. The same push takes 1.25 times as much CPU with "
        "Python 3.11.7 (no PGO, no LTO) (`python -m bench throughput`).\n"
    )
    text = readme.figures(MACHINE, ROWS, DAY, OTHER)
    _, _, beside = text.partition("\nThe same with Python 3.11.7 (no PGO, no LTO):\n\n")
    assert "| engine | APNs | bare | 386 507 | 3.21 | 1.30 | 0.68 |" in beside.partition("\n\n")[0]


def test_only_what_is_between_the_marks_changes(tmp_path: Path) -> None:
    for place in ("images", "inside"):
        (tmp_path / "docs" / place).mkdir(parents=True)
    pages = {tmp_path / "README.md": readme.summary, tmp_path / readme.PAGE: readme.figures}
    for page in pages:
        page.write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    report = tmp_path / "report"
    report.mkdir()
    look.write(report / "report.json", MACHINE, ROWS)
    noon = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
    os.utime(report / "report.json", (noon, noon))
    with pytest.raises(CannotMeasure, match=r"has no rivals-apns\.svg"):
        readme.update(report, tmp_path)
    for name in readme.PICTURES:
        (report / f"{name}.svg").write_text(name)
    for _ in range(2):
        written = readme.update(report, tmp_path)
    assert (tmp_path / "docs" / "images" / "bench-wan.svg").read_text() == "wan-apns"
    assert {path.name for path in written} == {
        "bench-rivals.svg",
        "bench-wan.svg",
        "README.md",
        "benchmarks.md",
    }
    for page, block in pages.items():
        text = page.read_text()
        assert text == f"before\n{readme.BEGIN}\n\n{block(MACHINE, ROWS, DAY)}\n{readme.END}\nafter\n"
    beside = tmp_path / "beside"
    beside.mkdir()
    look.write(beside / "report.json", OTHER[0], [*OTHER[1], RIVAL])
    readme.update(report, tmp_path, beside)
    for page, block in pages.items():
        assert block(MACHINE, ROWS, DAY, OTHER) in page.read_text()


def test_the_gateways_guide_takes_the_figures_of_one_measurement(tmp_path: Path) -> None:
    page = tmp_path / readme.GUIDE
    page.parent.mkdir(parents=True)
    page.write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    row = {"measurement": "gateway", "command": "python -m bench gateway", "case": "single", "cpu_us": 100.0}
    file = tmp_path / "gateway.json"
    look.write(file, MACHINE, [row])
    for _ in range(2):
        assert readme.update_guide(file, tmp_path) == page
    text = page.read_text()
    assert "| single | 100 | 10 000 |" in text.replace("\N{NO-BREAK SPACE}", " ").replace("100.00", "100")
    assert "`python -m bench gateway`" in text
    assert "old" not in text
    look.write(file, MACHINE, [row | {"measurement": "rivals"}])
    with pytest.raises(CannotMeasure, match="expected the file of"):
        readme.update_guide(file, tmp_path)
    file.write_text("[]")
    with pytest.raises(CannotMeasure, match="no file of"):
        readme.update_guide(file, tmp_path)
    assert readme.BEGIN in (ROOT / readme.GUIDE).read_text()


def test_without_the_marks_nothing_is_written() -> None:
    with pytest.raises(CannotMeasure, match="lacks the line"):
        readme.replace("# pushcore\n", "figures")


def test_the_pages_have_the_marks_and_their_pictures_and_commands_are_there() -> None:
    summary, figures = (
        page.read_text().partition(readme.BEGIN)[2].partition(readme.END)[0]
        for page in (ROOT / "README.md", ROOT / readme.PAGE)
    )
    lines = re.findall(r"^- .*", summary, re.MULTILINE)
    assert len(lines) == 3
    assert all("(`python -m bench " in line for line in lines)
    pictures = re.findall(r"\]\(\.\./(images/bench-[^)]+)\)", figures)
    assert len(pictures) == len(readme.PICTURES)
    assert all((ROOT / "docs" / picture).exists() for picture in pictures)
    names = re.findall(r"`python -m bench (\w+)", figures)
    assert {*names} <= MEASUREMENTS.keys()
    assert "rivals" in names


def test_the_makefile_has_what_the_pages_name() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    pages = (ROOT / "README.md").read_text() + (ROOT / "bench" / "README.md").read_text()
    named = re.findall(r"(?:^|`)make ([a-z][\w-]*)", pages, re.MULTILINE)
    assert {"bench", "bench-full", "bench-readme", "bench-guard"} <= {*named} <= {*targets}
    recipe = (ROOT / "Makefile").read_text().partition("bench-readme: ")[2].partition("\n\n")[0]
    needed = re.findall(r"--only ([\w-]+)", recipe)
    assert tuple(needed) == readme.NEEDED
