"""The breaker: it stops for a wrong environment, topic, project or key, soon, and for no audience however dirty."""

from __future__ import annotations

import random
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.engine.breaker import (
    MAX_TRIP,
    MINIMUM,
    NOTHING_SEEN,
    REFUSED_AT_LEAST,
    RUN,
    WINDOW,
    Breaker,
    Seen,
    Trip,
    blames_configuration,
    may_drop,
    registered_time,
)
from pushcore.errors import (
    AccessTokenError,
    AlpnError,
    CertificateError,
    ConfigurationError,
    ConnectError,
    ProxyError,
)
from pushcore.models.apns import Notification
from pushcore.reasons import lookup
from pushcore.results import Result, Verdict

INVALID, MISCONFIGURED, UNSENT = Verdict.INVALID, Verdict.MISCONFIGURED, Verdict.UNSENT


def answer(verdict: Verdict, reason: str | None = None, status: int | None = 400, **others: Any) -> Result:
    return Result(Notification("ab", {}), verdict, status, 1, reason=reason, **others)


BAD = answer(INVALID, "BadDeviceToken")
OTHER_APP = answer(INVALID, "DeviceTokenNotForTopic")
FOREIGN = answer(MISCONFIGURED, "SENDER_ID_MISMATCH", 403, detail="SenderId mismatch")
REFUSED = answer(MISCONFIGURED, "InvalidProviderToken", 403)
GONE = answer(Verdict.UNREGISTERED, "Unregistered", 410)
TOO_LONG = answer(INVALID, "PayloadTooLarge", 413)
THROTTLED = answer(Verdict.THROTTLED, "TooManyRequests", 429)
DOWN = answer(Verdict.UNAVAILABLE, "ServiceUnavailable", 503)
LOST = answer(Verdict.UNKNOWN, None, None)
OFFLINE = answer(UNSENT, None, None, detail=ConnectError("refused"))


def until_trip(breaker: Breaker, *results: Result, most: int = 5000) -> int:
    """After how many answers, these in turn, it trips; 0 when it does not."""
    for number in range(most):
        if breaker.take(results[number % len(results)]) is not None:
            return number + 1
    return 0


# --- what trips it ------------------------------------------------------------------------------------------------


def test_a_wrong_environment_trips_it_after_few_answers() -> None:
    breaker = Breaker()
    assert until_trip(breaker, BAD) == MINIMUM
    assert breaker.trip is not None
    assert breaker.trip.reason == "BadDeviceToken"
    assert breaker.trip.sentence == (
        "BadDeviceToken: Use the other environment, production or sandbox: these tokens do not belong to this one"
        f" ({MINIMUM} of the last {MINIMUM} responses)"
    )
    assert not BAD.drop_token


class Room:
    """Peers that all sit in one list."""

    def __init__(self, seats: list[Seen], parts: int) -> None:
        self.parts = parts
        self._seats, self._own = seats, len(seats)
        seats.append(NOTHING_SEEN)

    def exchange(self, seen: Seen) -> Seen:
        self._seats[self._own] = seen
        others = [each for seat, each in enumerate(self._seats) if seat != self._own]
        return Seen(*map(sum, zip(*others, strict=True))) if others else NOTHING_SEEN


def together(parts: int) -> list[Breaker]:
    seats: list[Seen] = []
    return [Breaker(peers=Room(seats, parts)) for _ in range(parts)]


@pytest.mark.parametrize("processes", [1, 2, 4, 64])
@pytest.mark.parametrize(("bad", "needed"), [(BAD, MINIMUM), (REFUSED, RUN)])
def test_several_processes_need_no_more_together(processes: int, bad: Result, needed: int) -> None:
    breakers = together(processes)
    taken = 0
    while not any(each.trip for each in breakers):
        breakers[taken % processes].take(bad)
        taken += 1
    assert taken == needed
    assert max(each.answers for each in breakers) == needed


def test_a_push_accepted_in_one_process_keeps_the_other_breakers_closed() -> None:
    """Neighbours in the audience go to one process, and so do bad ones that stand together."""
    one, two = together(2)
    for _ in range(MINIMUM):
        two.accepted(1)
        assert one.take(BAD) is None
    one, two = together(2)
    two.accepted(1)
    assert until_trip(one, REFUSED) == REFUSED_AT_LEAST - 1  # no run: something was accepted
    one, two = together(2)
    two.take(GONE)
    one.take(REFUSED)
    assert one.conclude() is None


@pytest.mark.parametrize(
    ("result", "first", "fix"),
    [
        (OTHER_APP, MINIMUM, "DeviceTokenNotForTopic: Correct the topic"),
        (FOREIGN, RUN, "SENDER_ID_MISMATCH: SenderId mismatch: Use the service account of the app"),
        (REFUSED, RUN, "InvalidProviderToken: Check key file, key id and team id"),
        (answer(MISCONFIGURED, "TopicDisallowed"), RUN, "TopicDisallowed: Correct the topic"),
        (
            answer(MISCONFIGURED, "THIRD_PARTY_AUTH_ERROR", 401),
            RUN,
            "THIRD_PARTY_AUTH_ERROR: Correct the APN",
        ),
        (
            answer(MISCONFIGURED, None, 404, row=lookup("fcm", 404, None)),
            RUN,
            "MISCONFIGURED: Correct the project id",
        ),
        (
            answer(MISCONFIGURED, "PERMISSION_DENIED", 403),
            RUN,
            "PERMISSION_DENIED: Check the permissions of the service account",
        ),
        (answer(UNSENT, detail=CertificateError("too old")), RUN, "UNSENT: too old: Correct the certificate"),
        (answer(UNSENT, detail=AlpnError("no h2")), RUN, "UNSENT: no h2: Correct the address"),
        (
            answer(UNSENT, detail=ProxyError("407", status=407, permanent=True)),
            RUN,
            "UNSENT: 407: Correct the proxy's address, its name",
        ),
        (
            answer(MISCONFIGURED, "invalid_grant", None, detail=AccessTokenError("no", permanent=True)),
            RUN,
            "invalid_grant: no: Correct the service account",
        ),
    ],
)
def test_each_cause_says_what_to_fix(result: Result, first: int, fix: str) -> None:
    breaker = Breaker()
    assert until_trip(breaker, result) == first
    assert breaker.trip is not None
    assert breaker.trip.sentence.startswith(fix)


def test_the_token_endpoints_certificate_is_configuration_as_well() -> None:
    error = AccessTokenError("the token endpoint cannot be asked")
    assert not blames_configuration(error)
    for temporary in (ConnectError("refused"), ProxyError("502", status=502)):
        error.__cause__ = temporary
        assert not blames_configuration(error)
    error.__cause__ = ProxyError("407", status=407, permanent=True)
    assert blames_configuration(error)
    error.__cause__ = CertificateError("not accepted")
    assert blames_configuration(error)
    breaker = Breaker()
    assert until_trip(breaker, answer(UNSENT, None, None, detail=error)) == RUN
    assert "Correct the certificate" in str(breaker.trip)


def test_the_topic_is_named() -> None:
    push = Notification("ab", {}, topic="com.example.\x1b[31mapp" + "x" * 500)
    breaker = Breaker()
    until_trip(breaker, Result(push, INVALID, 400, 1, reason="DeviceTokenNotForTopic"))
    assert "(the topic is com.example. [31mapp" in str(breaker.trip)
    assert len(str(breaker.trip)) < 400


def test_a_wrong_environment_with_some_answers_between() -> None:
    assert until_trip(Breaker(), BAD, DOWN, BAD, LOST, THROTTLED) <= 2000  # what says nothing is not counted
    assert until_trip(Breaker(), BAD, BAD, BAD, BAD, BAD, TOO_LONG) <= 2000
    assert until_trip(Breaker(), BAD, OTHER_APP, FOREIGN, REFUSED) <= 2000


def test_a_key_that_stops_working_trips_it_within_the_window() -> None:
    breaker = Breaker()
    breaker.accepted(1_000_000)
    assert until_trip(breaker, REFUSED) == WINDOW // 2


def test_one_wrong_topic_of_two_is_enough() -> None:
    breaker = Breaker()
    taken = 0
    while breaker.take(answer(MISCONFIGURED, "BadTopic")) is None and taken < 1000:
        breaker.accepted()
        taken += 1
    assert taken == REFUSED_AT_LEAST // 2  # one more refusal than accepted, and one of them more


def test_the_numbers() -> None:
    """As the command line had them, and below what a campaign may ask in vain."""
    assert until_trip(Breaker(), REFUSED) == 20
    assert until_trip(Breaker(), BAD) == 500


def test_it_stays_as_it_tripped() -> None:
    breaker = Breaker()
    until_trip(breaker, REFUSED)
    first = breaker.trip
    assert breaker.take(GONE) is first
    breaker.accepted(10_000)
    assert breaker.take(BAD) is first
    assert breaker.conclude() is first is not None


# --- what does not --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("result", [GONE, TOO_LONG, THROTTLED, DOWN, LOST, OFFLINE])
def test_a_result_that_blames_nothing_never_trips_it(result: Result) -> None:
    assert until_trip(Breaker(), result) == 0


def test_a_push_rejected_before_sending_is_ignored() -> None:
    found = Result(Notification("zz", {}), INVALID, detail="the device token is not hexadecimal")
    assert until_trip(Breaker(), found) == 0
    breaker = Breaker()
    assert until_trip(breaker, REFUSED, found) == 2 * RUN - 1  # it does not interrupt a run either


def test_only_a_run_blames_the_configuration_and_only_before_anything_was_accepted() -> None:
    breaker = Breaker()
    for _ in range(3):
        assert until_trip(breaker, REFUSED, most=RUN - 1) == 0
        assert breaker.take(GONE) is None
    breaker.accepted()
    assert until_trip(breaker, REFUSED, most=RUN + 5) == 0


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.6])
@pytest.mark.parametrize("bad", [BAD, OTHER_APP, FOREIGN])
def test_a_dirty_audience_does_not_trip_it(share: float, bad: Result) -> None:
    rng = random.Random(7)
    breaker = Breaker()
    for _ in range(60_000):
        if rng.random() < share:
            assert breaker.take(bad) is None
        elif rng.random() < 0.1:
            assert breaker.take(GONE) is None
        else:
            breaker.accepted()


@pytest.mark.slow
@given(st.integers(0, 2**32), st.integers(1, 200), st.floats(0, 0.4))
def test_nor_one_whose_bad_tokens_stand_together(seed: int, stretch: int, share: float) -> None:
    """Bad tokens in blocks: a list of another app that was mixed in."""
    rng = random.Random(seed)
    breaker = Breaker()
    breaker.accepted(rng.randrange(2) * 1000)
    sent = bad = 0
    while sent < 5000:
        length = rng.randint(1, stretch)
        if bad + length <= share * (sent + length):
            bad += length
            for _ in range(length):
                assert breaker.take(BAD) is None
        else:
            breaker.accepted(length)
        sent += length


def test_nor_one_that_is_sorted_with_the_bad_ones_first() -> None:
    breaker = Breaker()
    assert until_trip(breaker, BAD, most=300) == 0
    for _ in range(70):
        breaker.accepted(10)
        assert breaker.take(GONE) is None


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2, 3]), st.integers(1, 90)), max_size=60), st.integers(20, 200)
)
def test_the_window_is_exact(steps: list[tuple[int, int]], window: int) -> None:
    """Against a list of all answers: only a window that holds enough suspects trips it, and the first that does."""
    breaker = Breaker(window, minimum=20)
    seen: list[int] = []  # 1 for a suspect
    for kind, count in steps:
        if kind == 0:
            breaker.accepted(count)
            seen += [0] * count
            continue
        for _ in range(count):
            trip = breaker.take((BAD, GONE, DOWN)[kind - 1])
            if kind < 3:
                seen.append(kind == 1)
            last = seen[-window:]
            if trip is not None:
                assert len(last) >= 20
                assert f"({sum(last)} of the last {len(last)} responses)" in trip.sentence
                assert sum(last) >= 0.8 * len(last)
                return
            if kind == 1:
                assert len(last) < 20 or sum(last) < 0.8 * len(last)


def test_it_needs_no_memory_for_each_answer() -> None:
    breaker = Breaker()
    for _ in range(3000):
        breaker.accepted(3)
        breaker.take(GONE)
        breaker.take(BAD)
    assert len(breaker._streaks) <= WINDOW
    assert sum(each.count for each in breaker._streaks) == WINDOW
    breaker.accepted(sys.maxsize)
    breaker.take(GONE)
    assert len(breaker._streaks) <= 2


@pytest.mark.parametrize("minimum", [0, 1001])
def test_a_minimum_out_of_the_window_is_refused(minimum: int) -> None:
    with pytest.raises(ConfigurationError, match="minimum"):
        Breaker(minimum=minimum)


# --- the end of a campaign ------------------------------------------------------------------------------------------


def test_a_small_campaign_that_was_refused_altogether() -> None:
    breaker = Breaker()
    assert breaker.conclude() is None
    breaker.take(REFUSED)
    breaker.take(Result(Notification("zz", {}), INVALID, detail="the device token is not hexadecimal"))
    trip = breaker.conclude()
    assert trip is not None
    assert trip.sentence.startswith("InvalidProviderToken: Check key file")


@pytest.mark.parametrize("other", [GONE, BAD, OFFLINE, DOWN])
def test_and_one_that_was_not(other: Result) -> None:
    breaker = Breaker()
    breaker.take(REFUSED)
    breaker.take(other)
    assert breaker.conclude() is None


def test_nor_one_of_which_something_was_accepted() -> None:
    for late in (False, True):
        breaker = Breaker()
        breaker.take(REFUSED)
        breaker.accepted()
        if late:
            breaker.take(REFUSED)
        assert breaker.conclude() is None


# --- a trip on its way ----------------------------------------------------------------------------------------------


@given(st.text(max_size=2000), st.text(max_size=2000), st.text(max_size=300))
def test_a_trip_can_be_written_down(reason: str, detail: str, topic: str) -> None:
    breaker = Breaker()
    push = Notification("ab", {}, topic=topic)
    until_trip(breaker, Result(push, MISCONFIGURED, 400, 1, reason=reason, detail=detail), most=RUN)
    trip = breaker.trip
    assert trip is not None
    assert len(trip.encode()) <= MAX_TRIP
    assert Trip.decode(trip.encode()) == trip
    assert trip.sentence.isprintable()
    assert trip.sentence.endswith(f"({RUN} in a row, none accepted)")


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"{}", b'["a"]', b'["a",1]', b'["",""]', b"[" * 4000])
def test_malformed_data_decodes_to_no_trip(data: bytes) -> None:
    assert Trip.decode(data) is None


# --- 410 ------------------------------------------------------------------------------------------------------------

AT = 1_750_000_000.25  # 2025-06-15T15:06:40.25Z


@pytest.mark.parametrize(
    ("registered", "drop"),
    [
        (None, True),
        ("", True),
        (1_749_999_999, True),
        (1_750_000_000, False),  # the same second
        (1_750_000_001, False),
        ("1749999999.9", True),
        (" 1750000001 ", False),
        (1_749_999_999_000, True),  # milliseconds
        (1_750_000_001_000, False),
        ("2025-06-15T15:06:39Z", True),
        ("2025-06-15T15:06:41Z", False),
        ("2025-06-15T17:06:39+02:00", True),
        ("2025-06-15T17:06:41+02:00", False),
        ("2025-06-15 15:06:39", True),  # UTC
        ("2025-06-15 15:06:41.5", False),
        ("2025-06-14", True),
        ("2025-06-15", False),  # it may have been after
        ("20250614", True),
        ("20250615", False),
        ("yesterday", False),  # nobody knows, so the token stays
        ("9" * 100, False),
        (float("nan"), False),
        (True, False),
        (b"1", False),
        (-1, False),
    ],
)
def test_a_token_that_was_registered_again_is_kept(registered: object, drop: bool) -> None:
    assert may_drop(AT, registered) is drop


def test_without_a_timestamp_the_providers_word_stands() -> None:
    assert may_drop(None, "2030-01-01")


@given(st.one_of(st.text(max_size=50), st.floats(), st.integers(), st.none(), st.binary(), st.datetimes()))
def test_reading_a_time_never_raises(value: object) -> None:
    found = registered_time(value)
    assert found is None or -1e11 < found < 1e12
