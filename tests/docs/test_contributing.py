"""What CONTRIBUTING, SECURITY and the workflows name exists, and the workflows are what GitHub would take."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PLACES = re.compile(r"`((?:pushcore|fakeservers|bench|tests|docs)/[\w./-]+)`|\]\(([\w./-]+)\)")


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_the_places_that_a_page_names_exist(page: str) -> None:
    places = {code or link for code, link in PLACES.findall((ROOT / page).read_text())}
    assert places
    assert [place for place in sorted(places) if not (ROOT / place).exists()] == []


@pytest.mark.parametrize("file", [ROOT / "CONTRIBUTING.md", *WORKFLOWS], ids=lambda file: file.name)
def test_the_make_targets_that_a_page_names_exist(file: Path) -> None:
    text = file.read_text()
    commands = re.findall(r"`make ([a-z-]+)|^\s*(?:- run: )?make ([a-z-]+)", text, re.MULTILINE)
    named = {code or line for code, line in commands}
    assert named or ".ci/run" in text
    assert named <= make_targets()


def test_the_demo_says_what_it_does_and_installs_what_it_needs(tmp_path: Path) -> None:
    dry = ["make", "--no-print-directory", "--dry-run", "demo", f"VENV={tmp_path / 'venv'}"]
    planned = subprocess.run(dry, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT).stdout
    steps = planned.splitlines()
    assert steps[0].startswith('echo "This pushes to 100 000 fake devices')
    installed = [step.split()[-1] for step in steps if "pip install" in step]
    assert installed == ["'.[fakeservers]'"]
    assert steps[-1].endswith("pushcore demo")


@pytest.mark.needs("actionlint")
def test_the_workflows_are_sound() -> None:
    assert {file.name for file in WORKFLOWS} >= {"ci.yml", "release.yml", "weekly.yml"}
    linted = subprocess.run(
        ["actionlint", *WORKFLOWS], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert linted.returncode == 0, linted.stdout


def test_the_version_stands_in_one_place() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert 'dynamic = ["version"]' in text
    assert re.search(r"^version\s*=", text, re.MULTILINE) is None
