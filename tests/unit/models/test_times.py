"""UNIX seconds that are none are told by their size, and times that can be meant pass."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pushcore.models.times import (
    expiration_problem,
    lifetime_seconds,
    moment_problem,
    unit_problem,
    unix_seconds,
)

NOW = 1_790_000_000


@pytest.mark.parametrize("value", [0, 1_000_000_000, NOW, NOW + 0.5, NOW + 30 * 86_400, 99_999_999_999])
def test_moments_until_which_something_is_kept(value: float) -> None:
    assert expiration_problem(value) == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1, "is in seconds from now: it takes UNIX seconds"),
        (3600, "seconds from now"),
        (2_419_200, "seconds from now"),
        (299_999_999, "is in seconds from now"),
        (300_000_000, "is in seconds since 2001, as Swift's reference date: it takes UNIX seconds"),
        (NOW - 978_307_200, "seconds since 2001"),
        (999_999_999, "seconds since 2001"),
        (NOW * 1000, "is in milliseconds"),
        (NOW * 1000.5, "is in milliseconds"),
        (NOW * 10**6, "is in microseconds"),
        (NOW * 10**9, "is in nanoseconds"),
        (1 << 63, "is in nanoseconds"),
    ],
)
def test_implausible_times(value: float, words: str) -> None:
    assert words in expiration_problem(value)


@pytest.mark.parametrize("value", [0, -1, 1, 1_000_000_000, NOW - 14_400, NOW, -62_135_769_600])
def test_a_live_activitys_moment_may_be_of_the_past(value: int) -> None:
    assert moment_problem(value) == unit_problem(value) == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (2, "is in seconds from now: it takes UNIX seconds"),
        (3600, "is in seconds from now"),
        (3600.0, "is in seconds from now"),
        (NOW - 978_307_200, "is in seconds since 2001"),
        (float(NOW - 978_307_200), "is in seconds since 2001"),
        (NOW * 1000, "milliseconds"),
        (float(NOW * 1000), "milliseconds"),
        (float(NOW), "is written with a decimal point: it takes UNIX seconds as a whole number"),
        (NOW + 0.25, "is written with a decimal point"),
        (float("nan"), "is not a number but nan"),
        (str(NOW), "is not a number"),
        (None, "is not a number but null"),
        (True, "is not a number but true or false"),
        (datetime(2030, 1, 1, tzinfo=UTC), "is a datetime, which a dict cannot have here"),
    ],
)
def test_invalid_times_of_a_live_activity(value: Any, words: str) -> None:
    assert words in moment_problem(value)


def test_datetimes_and_timedeltas() -> None:
    assert unix_seconds(datetime.fromtimestamp(NOW + 0.9, UTC)) == NOW
    with pytest.raises(ValueError, match="without a time zone"):
        unix_seconds(datetime(2030, 1, 1))  # that is what is tried
    assert [lifetime_seconds(timedelta(seconds=seconds)) for seconds in (60, 0.5)] == [60, 0.5]
    assert type(lifetime_seconds(timedelta(minutes=1))) is int
