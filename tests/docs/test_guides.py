"""The short examples of docs/guides run: synchronous.md and testing.md."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from fakeservers import fated_token
from fakeservers.pytest_plugin import ApnsFixture

DOCS = Path(__file__).parents[2] / "docs"


def example(page: str) -> str:
    (block,) = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    return str(block)


def test_a_synchronous_program(fake_apns: ApnsFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"KEY": fake_apns.key_file, "KEY_ID": fake_apns.key_id, "TEAM_ID": fake_apns.team_id}
    variables |= {"TOPIC": fake_apns.topic, "URL": fake_apns.url, "CA_FILE": fake_apns.ca_file}
    for name, value in variables.items():
        monkeypatch.setenv(f"APNS_{name}", str(value))
    monkeypatch.syspath_prepend(str(DOCS / "examples"))
    names: dict[str, Any] = {}
    try:
        exec(example("guides/synchronous.md"), names)
        assert names["notify"]("ab" * 32, "Hi")
        assert not names["notify"](fated_token("Unregistered"), "Hi")
        assert fake_apns.accepted == 1
        names["pusher"]().close()
    finally:
        sys.modules.pop("loop_thread", None)


def test_a_test_of_ones_own(fake_apns: ApnsFixture) -> None:
    names: dict[str, Any] = {}
    exec(example("guides/testing.md"), names)
    names["test_a_dead_token_is_dropped"](fake_apns)
