"""The histogram of latencies: never wrong by more than it says, exact where it is exported, and mergeable."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.latency import BOUNDS, EXPORTED, LONGEST, PER_OCTAVE, SHORTEST, Histogram, cumulate

ERROR = 2 ** (1 / (2 * PER_OCTAVE)) - 1
PERCENTS = (0.0, 50.0, 90.0, 95.0, 99.0, 99.9, 100.0)

latencies = st.lists(st.floats(SHORTEST, LONGEST), min_size=1, max_size=200)


def exact(values: list[float], percent: float) -> float:
    """By definition: the smallest value that so many percent do not exceed."""
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]


def of(values: list[float]) -> Histogram:
    histogram = Histogram()
    for each in values:
        histogram.observe(each)
    return histogram


def test_buckets_are_as_narrow_as_promised() -> None:
    assert PER_OCTAVE == 8
    assert ERROR < 0.0443
    assert BOUNDS[0] == SHORTEST
    assert BOUNDS[-1] >= LONGEST
    assert (SHORTEST, LONGEST) == (0.0001, 120.0)
    assert set(EXPORTED) <= set(BOUNDS)
    assert len(Histogram().counts) == len(BOUNDS) + 1
    assert all(after / before <= 2 ** (1 / PER_OCTAVE) + 1e-9 for before, after in pairwise(BOUNDS))


@given(latencies)
def test_percentiles_are_within_the_error(values: list[float]) -> None:
    histogram = of(values)
    for percent in PERCENTS:
        found = histogram.percentile(percent)
        assert found == pytest.approx(exact(values, percent), rel=ERROR + 1e-9)


def test_percentiles_of_a_real_shape() -> None:
    rng = random.Random(4)
    values = [rng.lognormvariate(math.log(0.05), 0.8) for _ in range(20_000)]
    histogram = of(values)
    for percent in PERCENTS[1:]:
        assert histogram.percentile(percent) == pytest.approx(exact(values, percent), rel=ERROR + 1e-9)
    assert histogram.total == pytest.approx(sum(values))
    assert histogram.count == 20_000


def test_none_and_what_is_out_of_range() -> None:
    histogram = Histogram()
    assert histogram.percentile(50) is None
    histogram.observe(0.0)
    assert histogram.percentile(50) == SHORTEST
    histogram.observe_all([1e6, 1e9])
    assert histogram.percentile(99) == BOUNDS[-1]
    assert histogram.count == 3


@given(st.lists(st.one_of(st.floats(0, 1000), st.sampled_from(EXPORTED)), max_size=100))
def test_exported_counts_are_exact(values: list[float]) -> None:
    histogram = of(values)
    expected = [(bound, sum(each <= bound for each in values)) for bound in (*EXPORTED, math.inf)]
    assert histogram.cumulative() == expected == cumulate(histogram.counts)


def test_the_bounds_that_opentelemetry_advises_are_exported() -> None:
    """For `messaging.client.operation.duration`, and four more."""
    advised = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
    assert (0.001, 0.0025, *advised, 30.0, 60.0) == EXPORTED


def test_what_is_longer_than_a_bound_is_in_the_next_bucket() -> None:
    histogram = of([bound * 1.001 for bound in EXPORTED])
    assert [count for _, count in histogram.cumulative()] == list(range(len(EXPORTED) + 1))


@given(latencies, latencies)
def test_merging_is_counting_together(first: list[float], second: list[float]) -> None:
    merged, other, together = of(first), of(second), Histogram()
    merged.merge(other.counts, other.total)
    together.observe_all([*first, *second])
    assert merged.counts == together.counts
    assert merged.total == pytest.approx(together.total)


def test_other_buckets_are_refused() -> None:
    with pytest.raises(ValueError):
        Histogram().merge([1, 2, 3], 0.5)
