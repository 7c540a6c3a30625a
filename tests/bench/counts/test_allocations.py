"""What a push may allocate and hold. Counts are the same on every machine: this test is the guard."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console

from bench.client.throughput import CASES, compare
from bench.counts.allocations import COUNTED, crossed, measure, of_version
from bench.guards.guard import best_ratios, guard, thresholds, too_slow
from bench.harness.stage import Target

pytestmark = pytest.mark.xdist_group("cores")  # it pins processes to cores and builds the C target

LIMITS: dict[str, Any] = {
    "apns": {"engine": {"allocations": {"3.11": 50, "3.12": 100}, "blocks": 5, "objects": 1, "left": 0.1}}
}
ROW = {"provider": "apns", "case": "engine", "allocations": 50.0, "blocks": 5.0, "objects": 1.0, "left": 0.1}


@pytest.mark.parametrize("provider", ["apns", "fcm"])
def test_a_push_allocates_and_holds_no_more_than_it_may(provider: str) -> None:
    rows = measure(Console(quiet=True), provider=provider)
    assert [row["case"] for row in rows] == list(CASES)
    for row in rows:
        assert row["blocks"] > 1
        assert row["objects"] >= 1  # at least the exchange is there
        if sys.platform != "win32":
            assert row["allocations"] > row["blocks"]
    assert crossed(rows, thresholds()["allocations"]) == []


@pytest.mark.parametrize("name", COUNTED)
def test_each_count_has_its_limit(name: str) -> None:
    assert crossed([ROW], LIMITS, (3, 11)) == []
    (line,) = crossed([{**ROW, name: 51.0}], LIMITS, (3, 11))
    assert line.startswith(f"engine (apns): 51.0 {name} for each push, at most")


def test_allocations_have_a_limit_for_each_version_of_python() -> None:
    assert [of_version({"3.11": 1, "3.12": 2}, (3, minor)) for minor in (11, 12, 13)] == [1, 2, 2]
    assert crossed([{**ROW, "allocations": 99.0}], LIMITS, (3, 13)) == []
    assert crossed([{**ROW, "allocations": None}], LIMITS, (3, 11)) == []


def test_a_ratio_below_its_limit_is_said() -> None:
    best = {"frames": 1.4, "engine": 0.49}
    assert too_slow("apns", best, {"frames": 1.35, "engine": 0.5}) == [
        "engine (apns): h2load's CPU is 0.49 times pushcore's; at least 0.5 is required"
    ]


@pytest.mark.needs("h2load")
def test_the_guard_tries_again_only_what_was_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[list[str]] = []

    def watched(
        console: Console, target: Target, cases: Sequence[str], count: int, runs: int
    ) -> list[dict[str, Any]]:
        tried.append([*cases])
        return compare(console, target, cases, count, 1)

    monkeypatch.setattr("bench.guards.guard.compare", watched)
    wanted = {"frames": 0.0001, "engine": 1e9, "send": 0.0001}
    best = best_ratios(Console(quiet=True), "apns", wanted, 2, 300)
    assert tried == [list(CASES), ["engine"]]
    (line,) = too_slow("apns", best, wanted)
    assert line.startswith("engine (apns): h2load's CPU is ")


def test_without_h2load_only_what_is_counted_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda tool: None)
    monkeypatch.setattr("bench.guards.guard.thresholds", lambda: {"allocations": LIMITS, "personalised": {}})
    monkeypatch.setattr("bench.guards.guard.columns_too_dear", lambda *given: [])
    monkeypatch.setattr(
        "bench.counts.allocations.measure", lambda console, provider: [{**ROW, "blocks": 6.0}]
    )
    said = io.StringIO()
    found = guard(Console(file=said, width=200), providers=("apns",))
    assert found == ["engine (apns): 6.0 blocks for each push, at most 5 are allowed"]
    assert "ratios are not judged: h2load is missing" in said.getvalue()


def test_there_is_a_ratio_for_every_case_of_both_providers() -> None:
    assert {provider: set(ratios) for provider, ratios in thresholds()["ratios"].items()} == {
        "apns": set(CASES),
        "fcm": set(CASES),
    }
