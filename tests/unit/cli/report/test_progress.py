"""Progress is for terminals alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

import pytest

from pushcore.cli.report import progress
from pushcore.cli.report.progress import ProgressLine, RunProgress

SEEN = RunProgress(position=10, total=1234, accepted=1233, put_off=7)


@pytest.mark.parametrize(
    ("size", "seen", "expected"),
    [
        (10, SEEN, b"1,233 accepted, 1 others, 7 repeats"),
        (None, SEEN._replace(put_off=0), b"1,233 accepted, 1 others"),
    ],
)
async def test_it_is_drawn_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, size: int | None, seen: RunProgress, expected: bytes
) -> None:
    master, slave = os.openpty()
    os.set_blocking(master, False)
    with open(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(progress, "EVERY", 0.001)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "120")
        drawing = asyncio.create_task(ProgressLine(size, lambda: seen, wanted=True).run())
        drawn = b""
        while b"1,234 rows" not in drawn:
            assert not drawing.done()
            await asyncio.sleep(0.001)
            with contextlib.suppress(BlockingIOError):
                drawn += os.read(master, 65536)
        drawing.cancel()
        await asyncio.gather(drawing, return_exceptions=True)
    os.close(master)
    assert expected in drawn
    assert (b"100%" in drawn) is (size is not None)
    assert (b"repeats" in drawn) is bool(seen.put_off)


@pytest.mark.parametrize("wanted", [True, False])
async def test_it_is_not_drawn_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    await ProgressLine(10, lambda: SEEN, wanted=wanted).run()
    assert capsys.readouterr() == ("", "")


async def test_nothing_is_drawn_while_the_terminal_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    blocked = iter([True, True, False])
    with open(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(progress, "EVERY", 0.0)
        monkeypatch.setattr(progress, "is_blocked", lambda: next(blocked))
        looks: list[int] = []

        def look() -> RunProgress:
            looks.append(1)
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await ProgressLine(10, look, wanted=True).run()
    os.close(master)
    assert (looks, list(blocked)) == ([1], [])
