"""docs/guides/load-testing.md does what it says it does: its commands are run, with fewer pushes where that shows the same.

Set FAKESERVERS_SCREENSHOTS to a folder to have its pictures taken.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome

from fakeservers.faults import PRESETS
from tests.fakeservers.browser import browser as browser
from tests.fakeservers.browser import look, needs_browser, take_picture, text_of, until
from tests.fakeservers.control_client import ask_now

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "guides" / "load-testing.md").read_text()
DEADLINE = 100.0
CONTROL = "http://127.0.0.1:8025"
PICTURES = [
    f"load-test-{sender}-{scheme}.png" for sender in ("engine", "node") for scheme in ("light", "dark")
]

needs_node = pytest.mark.needs("node", "npm", "curl")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def commands(program: str) -> list[str]:
    """The guide's commands that begin with this word."""
    return [line for block in blocks("sh") for line in block.splitlines() if line.split()[0] == program]


@contextlib.contextmanager
def day(place: Path) -> Iterator[str]:
    """The guide's fake and its files, in a folder; the URL of the control port, which is a free one."""
    (command,) = (each for each in commands("python") if "--faults goaway-storm" in each)
    words = shlex.split(command.replace("8025", "0"))
    load, doubles = blocks("python")
    (place / "load.py").write_text(load)
    (place / "load.js").write_text(blocks("js")[0])
    with subprocess.Popen([sys.executable, *words[1:]], cwd=place, stdout=subprocess.PIPE, text=True) as fake:
        try:
            assert fake.stdout is not None
            control = fake.stdout.readline().removeprefix("control on ").strip()
            assert fake.stdout.readline().startswith("listening on ")
            assert CONTROL in doubles
            (place / "doubles.py").write_text(doubles.replace(CONTROL, control))
            yield control
        finally:
            fake.kill()


def said(place: Path, command: str) -> str:
    """What one of the guide's commands prints."""
    words = shlex.split(command)
    if words[0] == "python":
        words[0] = sys.executable
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def load(place: Path, program: str, count: int) -> str:
    """What the guide's sender prints, for another number of pushes."""
    (command,) = (each for each in commands(program) if " load." in each)
    assert command.endswith(" 5000")
    return said(place, command.removesuffix("5000") + str(count))


def counts(place: Path) -> tuple[int, ...]:
    """Accepted, devices, more than once."""
    (command,) = (each for each in commands("python") if "doubles.py" in each)
    found = re.fullmatch(r"accepted (\d+), devices (\d+), more than once (\d+)\n", said(place, command))
    assert found
    return tuple(map(int, found.groups()))


def install(place: Path) -> None:
    """What the guide's npm line installs; skips where the registry cannot be reached."""
    (command,) = commands("npm")
    words = [*shlex.split(command), "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(words, cwd=place, capture_output=True, text=True, timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        pytest.skip("npm does not get to its registry")
    if done.returncode:
        pytest.skip(f"npm cannot install: {done.stderr.strip().splitlines()[-1:]}")


@pytest.mark.timeout(240)
def test_our_engine_keeps_the_three_counts_together(tmp_path: Path) -> None:
    with day(tmp_path) as control:
        assert load(tmp_path, "python", 3000) == "3000: {'ACCEPTED': 3000}\n"
        assert counts(tmp_path) == (3000, 3000, 0)
        hits = {each["id"]: each["hits"] for each in ask_now(control, "GET", "/v1/faults").json["faults"]}
        assert set(hits) == {"by-notice", "at-once", "unprocessed", "refused"}
        assert hits["by-notice"]
        assert hits["at-once"]


@needs_node
@pytest.mark.timeout(240)
def test_the_foreign_client_does_not(tmp_path: Path) -> None:
    install(tmp_path)
    with day(tmp_path) as control:
        (reset,) = commands("curl")
        said(tmp_path, reset.replace(CONTROL, control))
        found: dict[str, Any] = json.loads(load(tmp_path, "node", 5000))
        assert found["count"] == sum(found["outcomes"].values()) == 5000
        assert any("NGHTTP2_REFUSED_STREAM" in each for each in found["outcomes"])
        accepted, devices, doubled = counts(tmp_path)
        assert found["outcomes"]["sent"] < accepted < 5000
        assert (devices, doubled) == (accepted, 0)


def test_the_plans_are_those_that_there_are() -> None:
    table = PAGE[PAGE.index("## Other plans") :]
    assert {*re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE), "goaway-storm"} == {*PRESETS} - {
        "realistic"
    }


@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_are_there_and_small(name: str) -> None:
    picture = (DOCS / "images" / name).read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(picture) < 200_000
    assert (
        f'="../images/{name}"' in PAGE
    )  # as seen from docs/guides, and from the site's folder of the same name


@needs_browser
@needs_node
@pytest.mark.timeout(300)
@pytest.mark.skipif("FAKESERVERS_SCREENSHOTS" not in os.environ, reason="FAKESERVERS_SCREENSHOTS is not set")
def test_pictures_for_the_guide(browser: Chrome, tmp_path: Path) -> None:
    place = Path(os.environ["FAKESERVERS_SCREENSHOTS"])
    install(tmp_path)
    for sender, program in (("engine", "python"), ("node", "node")):
        look(browser, "light", 1280, 1020)
        with day(tmp_path) as control:
            browser.get(control)
            until(browser, lambda: text_of(browser, "#connection-status") == "live")
            print(load(tmp_path, program, 5000), counts(tmp_path))
            until(browser, lambda: text_of(browser, ".rate") == "0")
            for scheme in ("light", "dark"):
                look(browser, scheme, 1280, 1020)
                take_picture(browser, place / f"load-test-{sender}-{scheme}.png")
