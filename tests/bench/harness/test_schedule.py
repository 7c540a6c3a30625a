"""The offered load and the percentiles: pure arithmetic."""

from __future__ import annotations

import pytest

from bench.harness.schedule import TICK, due_at, due_by, percentile, summary


@pytest.mark.parametrize("rate", [1.0, 37.0, 999.0, 1000.0, 12_345.6, 1_000_000.0])
def test_as_many_are_due_as_the_rate_says_at_any_time(rate: float) -> None:
    for ticks in (1, 7, 100, 999, 60_000):
        assert abs(due_by(ticks, rate) - ticks * TICK * rate) <= 1


def test_nothing_is_due_before_the_first_tick() -> None:
    assert due_by(0, 5000.0) == 0


@pytest.mark.parametrize("rate", [3.0, 250.0, 4321.0, 100_000.0])
def test_a_push_is_due_at_the_tick_that_counts_it(rate: float) -> None:
    for number in (0, 1, 10, 2999):
        tick = round(due_at(number, rate) / TICK)
        assert due_by(tick + 1, rate) > number >= due_by(tick, rate)


def test_a_percentile_is_a_value_that_was_seen() -> None:
    ordered = [float(value) for value in range(1, 101)]
    assert percentile(ordered, 50.0) == 50.0
    assert percentile(ordered, 90.0) == 90.0
    assert percentile(ordered, 99.0) == 99.0


def test_a_percentile_of_too_few_is_not_made_up() -> None:
    assert percentile([1.0] * 99, 99.0) is None
    assert percentile([1.0] * 9_999, 99.99) is None
    assert percentile([1.0] * 10_000, 99.99) == 1.0
    assert percentile([], 50.0) is None


def test_a_summary_is_in_milliseconds_and_in_any_order() -> None:
    found = summary([0.003, 0.001, 0.002])
    assert found["p50"] == 2.0
    assert found["max"] == 3.0
    assert found["p99_99"] is None
    assert summary([])["max"] is None


def test_one_long_stall_is_seen_by_every_push_that_it_held_up() -> None:
    # A stall of 100 ms under 1000/s: whoever counts from the sending sees one slow push, we see a hundred.
    rate, stall_from, stall_to = 1000.0, 0.5, 0.6
    latencies = []
    for number in range(1000):
        due = due_at(number, rate)
        sent = stall_to if stall_from <= due < stall_to else due
        latencies.append(sent - due)
    assert sum(latency > 0.001 for latency in latencies) >= 98
    assert summary(latencies)["p99"] == pytest.approx(90.0, abs=2.0)
