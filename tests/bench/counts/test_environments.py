"""What a second environment costs the devices of the first: counts, so that a test may judge them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench.counts import environments, instructions
from bench.harness.promises import SECOND_ENVIRONMENT, judge
from bench.harness.stage import CannotMeasure

pytestmark = pytest.mark.xdist_group("cores")  # it pins processes to cores


def test_devices_of_the_first_environment_allocate_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "why_not", lambda: "valgrind is missing")
    said = io.StringIO()
    rows = environments.measure(Console(file=said, width=200))
    assert "instructions left out: valgrind is missing" in said.getvalue()
    assert [(row["what"], row["window"]) for row in rows] == [
        ("allocations", window) for window in environments.WINDOWS
    ]
    for row in rows:
        assert row["one"] > 10
        assert row["ratio"] <= SECOND_ENVIRONMENT, row
    assert {promise["holds"] for promise in judge("environments", rows)} == {"yes"}


def test_a_machine_without_either_tool_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "why_not", lambda: "valgrind is missing")
    monkeypatch.setattr(environments, "_allocations_of", lambda which: [None, None])
    with pytest.raises(CannotMeasure, match="both valgrind and memray are missing"):
        environments.measure(Console(quiet=True))


@pytest.mark.needs("valgrind")
@pytest.mark.timeout(480)  # valgrind takes fifty times as long as the program
def test_devices_of_the_first_environment_take_no_more_instructions() -> None:
    rows = [row for row in environments.measure(Console(quiet=True)) if row["what"] == "instructions"]
    assert len(rows) == len(environments.WINDOWS)
    for row in rows:
        assert row["one"] > 10_000
        assert row["ratio"] <= SECOND_ENVIRONMENT, row
