"""The programs say what they are; the page is what they make; and each of them loses nothing on a calm day."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from bench.rivals.install import RivalUnavailable
from fakeservers.apns import fates as apns
from fakeservers.fcm import fates as fcm
from tests.senders import fates, hosts, page, run, trial
from tests.senders.catalogue import LANGUAGES, PROGRAMS, SHARED, Sender, read, senders

TOOLS: Final = {
    ".mjs": ("node", "npm"),
    ".go": ("go",),
    ".rs": ("cargo",),
    ".java": ("java", "javac", "mvn", "keytool"),
    ".php": ("php",),
    ".sh": ("curl", "openssl"),
}
COMPILED_LONG: Final = {"rust_a2", "rust_apns_h2"}
"""Compiling them takes longer than all other senders together: `make senders` and the weekly tests have them."""

with_senders = pytest.mark.parametrize(
    "sender",
    [
        pytest.param(
            program,
            id=program.file.stem,
            marks=[
                pytest.mark.needs("unshare", *TOOLS.get(program.file.suffix, ())),
                *([pytest.mark.weekly] if program.file.stem in COMPILED_LONG else []),
            ],
        )
        for program in senders()
    ],
)


def sender(tmp_path: Path, *, without: str = "", **said: str) -> Sender:
    file = tmp_path / "py_mine.py"
    lines = {"sender": "mine", "provider": "apns", "install": "mine==1.2 other", "streams": "10"}
    lines |= {"reached": "options", "how": "by magic\n# and an option"} | said
    file.write_text("".join(f"# {name}: {value}\n" for name, value in lines.items() if name != without))
    return read(file)


def test_every_program_says_what_it_is() -> None:
    known = senders()
    assert {program.file.name for program in known} == {
        file.name for file in PROGRAMS.iterdir() if file.is_file() and file.stem != SHARED
    }
    assert len({program.name for program in known}) == len(known)
    assert {program.file.suffix for program in known} == set(LANGUAGES)
    for program in known:
        assert program.how, program.file
        assert re.fullmatch(r"\d+(\.\d+)+", program.version), program.file


def test_the_first_comments_are_read_to_their_end(tmp_path: Path) -> None:
    mine = sender(tmp_path)
    assert (mine.name, mine.version, mine.how) == ("mine", "1.2", "by magic and an option")


def test_a_program_that_does_not_say_enough_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"py_mine\.py does not say: streams"):
        sender(tmp_path, without="streams")
    with pytest.raises(ValueError, match=r"py_mine\.py: reached is options or hosts, not prayer"):
        sender(tmp_path, reached="prayer")


def test_the_fates_are_all_but_those_that_are_only_late() -> None:
    for provider, codes in (("apns", apns.CODES), ("fcm", fcm.CODES)):
        played = [*fates.RESPONSES[provider], *fates.CONNECTION[provider]]
        assert len(played) == len(set(played))
        assert set(played) == set(codes.values()) - {apns.STALL, apns.SLOW}


def row(fate: str, outcome: str, requests: int = 1, accepted: int = 0, **more: str) -> dict[str, Any]:
    return {"fate": fate, "outcome": outcome, "requests": requests, "accepted": accepted, **more}


def test_cells() -> None:
    assert page.cell(row("GoAway", "ok", 1, 1)) == "ok"
    assert page.cell(row("Shutdown", "Error: Shutdown", 4)) == "`Error: Shutdown` (4 requests)"
    assert page.cell(row("GoAway", "Gone", 5, 5)) == "`Gone` (5 requests, 5 accepted)"
    assert page.cell(row("GoAway", "Gone", 1, 1)) == "`Gone` (1 accepted)"
    assert page.cell(row("Cut", "Cut", next="Cut, too")) == "`Cut` (next: `Cut, too`)"
    assert page.cell(row("Cut", "HTTP/2 stream 35 was cut")) == "`HTTP/2 stream N was cut`"
    # A count that depends on the speed of the machine is none of the sender's.
    assert page.cell(row("GoAwayBefore", "no outcome for 75 s", 20175)) == (
        "`no outcome for 75 s` (still sending it)"
    )
    # Neither a port, nor a token, nor what would end the cell.
    text = f"Post https://localhost:34567/3/device/{apns.fated_token('Cut')} `|`"
    assert page.cell(row("Cut", text)) == "`Post https://localhost:PORT/3/device/TOKEN '/'`"
    assert len(page.cell(row("Cut", "x" * 500))) == 82


def test_the_page_is_read_as_it_is_written(tmp_path: Path) -> None:
    mine = sender(tmp_path)
    report = {
        "responses": [row(fate, f"Error: {fate}") for fate in fates.RESPONSES["apns"]],
        "connection": [row(fate, "Gone", 2, 1, next="Gone") for fate in fates.CONNECTION["apns"]],
    }
    cells = page.cells(mine, report)
    runs = page.run_of(mine, {"calm": [day(), day()]})
    text = page.write([mine], cells, runs)
    assert page.read(text) == cells
    assert page.read_runs(text) == runs == {"mine": ("1.2", 2, 10)}
    assert page.read_runs(page.write([mine], cells, {"mine": ("1.1", 2, 10)})) == {}
    assert page.read_runs("") == {}
    guide = page.guide("before\n<!-- senders -->\nold\n<!-- /senders -->\nafter\n", [mine])
    assert "| mine | 1.2 | Python | APNs | by magic and an option |\n<!-- /senders -->\nafter\n" in guide
    assert "old" not in guide
    assert "| Unregistered | `Error: Unregistered` |" in text


def test_the_page_has_every_sender_and_every_fate() -> None:
    text = page.PAGE.read_text()
    result = page.read(text)
    assert text == page.write(senders(), result, page.read_runs(text)), "make senders writes it"
    guide = page.GUIDE.read_text()
    assert guide == page.guide(guide, senders()), "make senders writes its table"
    assert set(result) == {
        (program.provider, fate, program.name)
        for program in senders()
        for fate in (*fates.RESPONSES[program.provider], *fates.CONNECTION[program.provider])
    }


def day(**changed: Any) -> dict[str, Any]:
    return {"count": 5, "ok": 5, "accepted": 5, "devices": 5, "other": {}, "ending": ""} | changed


@pytest.mark.parametrize(
    "report",
    [
        {"calm": [day(), day(ok=4)], "responses": []},
        {"calm": [day(accepted=6)], "responses": []},
        {"calm": [day(ending="exit code 1: no")], "responses": []},
        {"calm": [], "responses": [row("Unregistered", "ok")]},
        {"calm": [], "responses": [row("Unregistered", "Error", 1, 1)]},
        {"calm": [], "responses": [row("Unregistered", "Error", 0)]},
    ],
)
def test_what_must_not_be_is_said(report: dict[str, Any]) -> None:
    assert len(run.problems(report)) == 1


def test_what_may_be_is_not_said() -> None:
    rows = [row("Unregistered", "Error"), row("Canonical", "ok", 1, 1), row("Internal", "Error", 5)]
    assert run.problems({"calm": [day()], "responses": rows}) == []


def tried(sender: Sender, **how: Any) -> dict[str, Any]:
    if reason := hosts.unavailable():
        pytest.skip(reason)
    try:
        return run.trial(sender, **how)
    except RivalUnavailable as error:
        pytest.skip(f"{sender.name}: {error}")


@pytest.mark.timeout(600)
@with_senders
def test_a_calm_day_and_every_reason(sender: Sender) -> None:
    report = tried(sender, count=500, connection=False)
    assert run.problems(report) == []
    written = page.read(page.PAGE.read_text())
    result = page.cells(sender, report)
    assert {key: written[key] for key in result} == result


@pytest.mark.timeout(3600)
@pytest.mark.weekly
@with_senders
def test_twenty_starts_in_a_row(sender: Sender) -> None:
    report = tried(sender, count=2000, times=20)
    assert run.problems(report) == []
    assert len(report["calm"]) == 20
    written = page.read(page.PAGE.read_text())
    result = page.cells(sender, report)
    assert {key: written[key] for key in result} == result


SLEEPER: Final = [sys.executable, "-c", "import time; time.sleep(60)"]


async def test_a_sender_that_is_silent_is_ended() -> None:
    ended = await trial.run(SLEEPER, {}, ["a"], quiet=0.2, start=60.0)
    assert (ended.outcomes, ended.ending) == ({}, "no outcome for 0 s")


async def test_the_start_of_a_sender_is_no_silence() -> None:
    looks: list[bool] = []

    def has_begun() -> bool:
        looks.append(len(looks) > 3)
        return looks[-1]

    ended = await trial.run(SLEEPER, {}, ["a"], has_begun, quiet=0.2, start=60.0)
    assert ended.ending == "no outcome for 0 s"
    assert looks[:5] == [False, False, False, False, True]
    ended = await trial.run(SLEEPER, {}, ["a"], lambda: False, quiet=0.1, start=0.3)
    assert ended.ending == "not begun in 0 s"


def test_names_lead_to_the_fakes_within_and_nowhere_else(tmp_path: Path) -> None:
    if shutil.which("unshare") is None or (reason := hosts.unavailable()):
        pytest.skip(reason if shutil.which("unshare") else "unshare is missing")
    before = Path("/etc/hosts").read_bytes()
    script = (
        "import socket, sys, pathlib; from tests.senders import hosts; hosts.enter(pathlib.Path(sys.argv[1]));"
        "[print(name, socket.getaddrinfo(name, 443)[0][4][0]) for name in hosts.NAMES];"
        "socket.create_server(('127.0.0.2', 443)).close()"
    )
    done = subprocess.run(
        [*hosts.command(), sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=run.ROOT,
    )
    assert dict(line.split() for line in done.stdout.splitlines()) == hosts.NAMES
    assert Path("/etc/hosts").read_bytes() == before
