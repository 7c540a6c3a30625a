"""The changelog: each entry stands once, under the heading of what a user uses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

CHANGELOG = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
WORDS = 60
"""Characters of an entry that no other entry begins with: two sides of a merge are not kept both."""


def test_every_entry_is_in_a_group() -> None:
    unreleased = CHANGELOG.partition("## Unreleased")[2].partition("\n## ")[0]
    for section in unreleased.split("\n### ")[1:]:
        assert "\n- " not in section.partition("\n#### ")[0], section.partition("\n")[0]


def test_no_entry_stands_twice() -> None:
    entries = [line[:WORDS] for line in CHANGELOG.splitlines() if line.startswith("- ")]
    assert len(entries) > 100
    assert [entry for entry, count in Counter(entries).items() if count > 1] == []
