"""One breaker for each of two providers; for one, the engine's."""

from __future__ import annotations

from pushcore.cli.apns_rows import ApnsRow
from pushcore.cli.breakers import Breakers
from pushcore.engine.breaker import RUN
from pushcore.errors import BreakerOpen
from pushcore.results import Result, Verdict

PUSH = ApnsRow(1, "aa", b"{}", None, "alert", None, None, None, "x")


def misconfigured() -> Result:
    return Result(PUSH, Verdict.MISCONFIGURED, 403, 1, reason="InvalidProviderToken")


def bad_token() -> Result:
    return Result(PUSH, Verdict.INVALID, 400, 1, reason="BadDeviceToken")


def test_each_provider_has_its_own() -> None:
    breakers = Breakers(("apns", "fcm"))
    assert not breakers.engine_has_one
    trips = [breakers.take("apns", misconfigured(), 0) for _ in range(RUN)]
    assert trips[:-1] == [None] * (RUN - 1)
    trip = trips[-1]
    assert trip is not None
    assert trip.sentence.startswith("InvalidProviderToken: Check key file, key id and team id")
    assert breakers.trips == {"apns": trip}
    assert not breakers.all_open
    assert breakers.take("apns", misconfigured(), 0) is None  # once is enough
    for _ in range(RUN):
        breakers.take("fcm", misconfigured(), 0)
    assert breakers.all_open


def test_what_was_accepted_counts() -> None:
    breakers = Breakers(("apns", "fcm"))
    assert not any(breakers.take("apns", misconfigured(), 1) for _ in range(RUN))
    for _ in range(400):
        breakers.take("fcm", bad_token(), 0)
    assert not any(breakers.take("fcm", bad_token(), 300) for _ in range(200))  # 600 of 900
    assert any(breakers.take("fcm", bad_token(), 300) for _ in range(800))


def test_at_the_end_few_are_enough_when_nothing_else_was_answered() -> None:
    breakers = Breakers(("apns", "fcm"))
    breakers.take("apns", misconfigured(), 0)
    breakers.take("fcm", misconfigured(), 0)
    breakers.conclude("apns", 0)
    breakers.conclude("fcm", 1)
    assert list(breakers.trips) == ["apns"]


def test_one_provider_is_the_engines() -> None:
    breakers = Breakers(("fcm",))
    assert breakers.engine_has_one
    assert breakers.take("fcm", misconfigured(), 0) is None
    breakers.conclude("fcm", 0)
    assert not breakers.trips
    breakers.opened(BreakerOpen("sentence", "reason"))
    assert (breakers.trips["fcm"].sentence, breakers.trips["fcm"].reason) == ("sentence", "reason")
    assert breakers.all_open
