"""The tables of exit statuses in the pages are those of the commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docsite.exit_statuses import exit_statuses_page, what_to_do
from pushcore.cli.statuses import STATUSES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["guides/sending.md", "operations/operators.md"])
def test_a_table_of_statuses_is_that_of_send(page: str) -> None:
    section = re.split(
        r"^## Exit status(?:es)?$", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    rows = re.findall(r"^\| (\d) \| (.*?) \|", section[1].partition("\n## ")[0], re.MULTILINE)
    assert {int(status): text for status, text in rows} == STATUSES["send"]


def test_there_is_advice_for_every_status_and_a_table_for_every_command() -> None:
    assert what_to_do().keys() == {status for meanings in STATUSES.values() for status in meanings}
    page = exit_statuses_page()
    for command, meanings in STATUSES.items():
        section = page.partition(f"## pushcore {command}\n")[2].partition("\n## ")[0]
        assert all(f"| {status} | {text} |" in section for status, text in meanings.items())


def test_no_other_page_gives_a_status_a_meaning_of_its_own() -> None:
    """Pages may speak of a status of one of the four kinds, or of a signal's."""
    for page in [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]:
        for number in re.findall(r"[Ee]xit status(?: is(?: then)?)? (\d+)", page.read_text(encoding="utf-8")):
            assert int(number) in STATUSES["send"], page
