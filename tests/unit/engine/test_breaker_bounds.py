"""Each number of the breaker, where it begins to count, and what each process tells the others."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from pushcore.engine.breaker import NOTHING_SEEN, Breaker, Seen, Trip, registered_time
from pushcore.models.apns import Notification
from pushcore.reasons import UNEXPECTED_SUCCESS
from pushcore.results import Result, Verdict


def answer(verdict: Verdict, reason: str, status: int, **others: Any) -> Result:
    return Result(Notification("ab", {}), verdict, status, 1, reason=reason, **others)


BAD = answer(Verdict.INVALID, "BadDeviceToken", 400)
REFUSED = answer(Verdict.MISCONFIGURED, "InvalidProviderToken", 403)
GONE = answer(Verdict.UNREGISTERED, "Unregistered", 410)
THROTTLED = answer(Verdict.THROTTLED, "TooManyRequests", 429)
UNEXPECTED_200 = answer(Verdict.UNKNOWN, UNEXPECTED_SUCCESS.name, 200, row=UNEXPECTED_SUCCESS)


class Others:
    """Peers that have seen what the test says, and remember what they were told."""

    def __init__(self, seen: Seen = NOTHING_SEEN, parts: int = 2) -> None:
        self.parts = parts
        self.seen = seen
        self.told: list[Seen] = []

    def exchange(self, seen: Seen) -> Seen:
        self.told.append(seen)
        return self.seen


def taken(breaker: Breaker, *results: Result) -> Trip | None:
    """What the last of them brings; none of those before may trip it."""
    for result in results[:-1]:
        assert breaker.take(result) is None
    return breaker.take(results[-1])


# --- where the rules begin --------------------------------------------------------------------------------------------


def test_half_of_a_hundred_responses_refused_are_enough() -> None:
    breaker = Breaker()
    breaker.accepted(50)
    assert taken(breaker, *[REFUSED] * 49) is None
    trip = breaker.take(REFUSED)
    assert trip is not None
    assert trip.sentence.endswith("(50 of the last 100 responses)")


def test_four_fifths_of_five_hundred_are_enough() -> None:
    trip = taken(Breaker(), *[GONE] * 100, *[BAD] * 400)
    assert trip is not None
    assert trip.sentence.endswith("(400 of the last 500 responses)")
    assert taken(Breaker(), *[GONE] * 101, *[BAD] * 403) is None
    assert taken(Breaker(), *[GONE] * 101, *[BAD] * 404) is not None


def test_refusals_count_among_the_suspects() -> None:
    trip = taken(Breaker(), *[GONE] * 100, *[BAD] * 390, *[REFUSED] * 10)
    assert trip is not None
    assert trip.sentence.endswith("(400 of the last 500 responses)")


def test_a_200_that_is_not_the_providers_is_a_refusal() -> None:
    breaker = Breaker()
    breaker.accepted(99)
    assert taken(breaker, *[REFUSED] * 98, THROTTLED) is None
    trip = breaker.take(UNEXPECTED_200)
    assert trip is not None
    assert trip.sentence.endswith("(99 of the last 198 responses)")


def test_a_window_of_one_response() -> None:
    breaker = Breaker(window=1, minimum=1)
    trip = breaker.take(BAD)
    assert trip is not None
    assert breaker.take(THROTTLED) is trip


def test_what_leaves_the_window_leaves_the_counts() -> None:
    others = Others()
    breaker = Breaker(window=10, minimum=10, peers=others)
    taken(breaker, *[GONE] * 5, *[BAD] * 4, *[REFUSED] * 3)
    assert others.told[-1][:3] == (3, 4, 3)
    taken(breaker, *[GONE] * 4)
    assert others.told[-1][:3] == (4, 3, 3)
    taken(breaker, *[GONE] * 8)
    assert others.told[-1][:3] == (10, 0, 0)


# --- several processes ------------------------------------------------------------------------------------------------


def test_the_others_responses_count_as_ones_own() -> None:
    others = Others(Seen(good=30, suspect=10, refused=35, in_a_row=0, accepted=1, others=1))
    breaker = Breaker(peers=others)
    trip = taken(breaker, *[REFUSED] * 25)
    assert trip is not None
    assert trip.sentence.endswith("(60 of the last 100 responses)")


def test_the_others_suspects_and_refusals_count_together() -> None:
    others = Others(Seen(good=100, suspect=350, refused=45, in_a_row=0, accepted=1, others=1))
    trip = taken(Breaker(peers=others), *[BAD] * 5)
    assert trip is not None
    assert trip.sentence.endswith("(400 of the last 500 responses)")


def test_a_push_accepted_by_each_keeps_a_run_from_stopping() -> None:
    breaker = Breaker(peers=Others(Seen(good=5, suspect=0, refused=0, in_a_row=0, accepted=5, others=0)))
    breaker.accepted(5)
    assert taken(breaker, *[REFUSED] * 30) is None


def test_the_others_are_told_of_the_first_accepted_push_and_then_by_quarters_of_a_share() -> None:
    others = Others()
    breaker = Breaker(peers=others)
    breaker.accepted()
    assert others.told == [Seen(1, 0, 0, 0, 1, 0)]
    breaker.accepted(61)
    assert len(others.told) == 1
    assert breaker.answers == 62
    breaker.accepted()  # 500 responses, two processes: 62 are a quarter of its share
    assert others.told[1:] == [Seen(63, 0, 0, 0, 63, 0)]
    breaker.take(BAD)
    assert others.told[2:] == [Seen(63, 1, 0, 0, 63, 1)]


def test_a_small_share_tells_of_each() -> None:
    others = Others()
    breaker = Breaker(window=4, minimum=4, peers=others)
    for _ in range(3):
        breaker.accepted()
    assert [each.accepted for each in others.told] == [1, 2, 3]


def test_the_end_of_a_campaign_asks_the_others_once_more() -> None:
    others = Others()
    breaker = Breaker(peers=others)
    breaker.take(REFUSED)
    others.seen = Seen(1, 0, 0, 0, 1, 0)
    assert breaker.conclude() is None


# --- what is written and read -----------------------------------------------------------------------------------------


def test_a_trip_is_read_up_to_its_size() -> None:
    data = Trip("reason", "sentence").encode().ljust(3072)
    assert Trip.decode(data) == Trip("reason", "sentence")
    assert Trip.decode(data + b" ") is None


def test_words_and_sentences_of_a_trip_are_cut() -> None:
    trip = Trip.decode(Trip("r" * 101, "s" * 601).encode())
    assert trip == Trip("r" * 100, "s" * 600)


def test_a_trip_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Trip("reason", "sentence").reason = "another"  # type: ignore[misc]


def test_a_long_detail_is_cut() -> None:
    trip = taken(Breaker(), *[answer(Verdict.MISCONFIGURED, "Forbidden", 403, detail="x" * 300)] * 20)
    assert trip is not None
    assert trip.sentence.count("x") == 200


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0.0),
        (99_999_999_999, 99_999_999_999.0),
        (100_000_000_000, 100_000_000.0),
        (99_999_999_999_999, 99_999_999_999.999),
        (100_000_000_000_000, None),
        ("1700000000".ljust(11, ".").ljust(40, "0"), 1_700_000_000.0),
        ("1700000000".ljust(11, ".").ljust(41, "0"), None),
        ("1.5.0", None),
        ("2026-01-31", datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC).timestamp()),
        ("20260131 12", datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()),
    ],
)
def test_a_time_is_read_to_its_bounds(value: object, seconds: float | None) -> None:
    assert registered_time(value) == seconds
