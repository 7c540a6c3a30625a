"""Progress is for terminals alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import pytest

from pushcore.cli import progress
from pushcore.cli.audience import Audience
from pushcore.cli.notices import Notices
from pushcore.cli.report import Report


@pytest.fixture
def line(tmp_path: Path) -> tuple[Audience, Report]:
    (tmp_path / "devices.csv").write_text("token\naa\nbb\n")
    report = Report.to_file(str(tmp_path / "results.csv"))
    report.tallies["apns"].accepted = 1233
    report.bad_row(1, "", "odd")
    return Audience(str(tmp_path / "devices.csv")), report


async def test_it_is_drawn_on_a_terminal(
    line: tuple[Audience, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    audience, report = line
    notices = Notices(quiet=True)
    notices.retried("apns", "TooManyRequests", 7, 30.0)
    master, slave = os.openpty()
    os.set_blocking(master, False)
    with open(slave, "w") as terminal, audience, contextlib.closing(report):
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(progress, "EVERY", 0.001)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "120")
        drawing = asyncio.create_task(progress.ProgressLine(audience, report, notices, wanted=True).run())
        drawn = b""
        while b"1,234 rows" not in drawn:
            assert not drawing.done()
            await asyncio.sleep(0.001)
            with contextlib.suppress(BlockingIOError):
                drawn += os.read(master, 65536)
        drawing.cancel()
        await asyncio.gather(drawing, return_exceptions=True)
    os.close(master)
    assert b"1,233 accepted, 1 others, 7 repeats" in drawn
    assert b"100%" in drawn


@pytest.mark.parametrize("wanted", [True, False])
async def test_it_is_not_drawn_in_a_pipe(
    line: tuple[Audience, Report],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    wanted: bool,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    audience, report = line
    with audience, contextlib.closing(report):
        await progress.ProgressLine(audience, report, Notices(quiet=True), wanted=wanted).run()
    assert capsys.readouterr() == ("", "")
