"""How many pushes the gate lets through: by rate, by window, by breaker; and what it says when it narrows."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

import pytest

from pushcore.engine.breaker import MINIMUM, Trip
from pushcore.engine.gate import RECHECK, UNPROVEN, WARN_EVERY, Gate
from pushcore.engine.rate import Rate
from pushcore.http2.exchange import Exchange
from pushcore.reasons import LimitScope, lookup
from pushcore.results import Result, Verdict
from tests.support.scripted import EventLog, ScriptedClient, ScriptedPush, SharedTrip, rules

NOW = 1000.0


def gate(client: ScriptedClient | None = None, **given: Any) -> Gate:
    return Gate(client or ScriptedClient(), rules(**given))


def rejected(verdict: Verdict, reason: str | None = None, **details: Any) -> Result:
    return Result(ScriptedPush(1), verdict, 400, 1, reason=reason, **details)


def quota(scope: LimitScope | None = "project", retry_after: float | None = None) -> Result:
    row = replace(lookup("fcm", 429, "QUOTA_EXCEEDED"), scope=scope)
    return Result(
        ScriptedPush(1),
        Verdict.THROTTLED,
        429,
        1,
        reason="QUOTA_EXCEEDED",
        retry_after=retry_after,
        row=row,
    )


# --- the rate -----------------------------------------------------------------------------------------------------


def test_without_a_rate_everything_is_permitted_at_once() -> None:
    free = gate()
    assert free.permits(5000, NOW) == 5000
    assert free.opens_at(NOW) == math.inf
    assert free.allowed_rate(NOW) == math.inf


def test_before_the_start_nothing_is_permitted() -> None:
    waiting = gate(start=NOW + 5.0)
    assert (waiting.capacity(NOW), waiting.opens_at(NOW)) == (0, NOW + 5.0)
    assert (waiting.capacity(NOW + 5.0) > 0, waiting.opens_at(NOW + 5.0)) == (True, math.inf)


def test_a_rate_permits_a_part_and_says_when_to_ask_again() -> None:
    limited = gate(rate=Rate(100.0))
    assert limited.permits(25, NOW) == 10
    assert limited.permits(0, NOW) == 0
    assert limited.opens_at(NOW) == pytest.approx(NOW + 0.01, abs=1e-5)
    assert limited.allowed_rate(NOW) == 100.0


def test_a_rate_is_asked_no_more_often_than_a_hundred_times_a_second() -> None:
    limited = gate(rate=Rate(100_000.0))
    limited.permits(10_000, NOW)
    assert limited.opens_at(NOW) == NOW + RECHECK


@pytest.mark.parametrize("scope", ["project", "topic", "device", None])
def test_only_a_limit_of_the_project_closes_the_gate(scope: LimitScope | None) -> None:
    log = EventLog()
    narrowed = gate(ScriptedClient(quota=True), rate=Rate(math.inf), listener=log)
    narrowed.rejected(quota(scope, retry_after=7.0), NOW)
    assert narrowed.permits(5, NOW) == (0 if scope == "project" else 5)
    assert log.events == ([("rate_limited", "apns", 7.0)] if scope == "project" else [])


def test_a_provider_without_a_quota_is_not_slowed_down_by_one() -> None:
    limited = gate(rate=Rate(1e6))
    limited.rejected(quota(retry_after=7.0), NOW)
    assert limited.permits(5, NOW) == 5


def test_a_closed_gate_is_told_each_time_and_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog()
    narrowed = gate(ScriptedClient(quota=True), rate=Rate(math.inf), listener=log)
    for seconds in (0.0, 1.0, 2.0, WARN_EVERY + 0.5):
        narrowed.rejected(quota(retry_after=1.0), NOW + seconds)
    assert len(log.events) == 4
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["apns asked for a pause of 1 s (429)"] * 2


def test_a_lower_rate_is_told_and_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog()
    narrowed = gate(ScriptedClient(quota=True), rate=Rate(100.0), listener=log)
    narrowed.permits(1, NOW)
    for seconds in (0.0, 4.0, 8.0, 12.0):
        narrowed.rejected(quota(), NOW + seconds)
    assert [event[0] for event in log.events] == ["slowed", "slowed"]
    assert 0 < log.events[0][2] < 100
    assert caplog.text.count("apns rejects some pushes because of their rate (429)") == 2


# --- the window ---------------------------------------------------------------------------------------------------


def test_the_window_narrows_by_what_pushes_back_and_counts_what_is_in_flight() -> None:
    client = ScriptedClient(capacity=100)
    narrowed = gate(client)
    assert narrowed.capacity(NOW) == math.inf
    narrowed.accepted(50)
    for _ in range(50):
        narrowed.rejected(rejected(Verdict.THROTTLED, "TooManyRequests"), NOW)
    assert narrowed.capacity(NOW) == 50
    client.scripted.in_flight.update((stream, Exchange()) for stream in range(30))
    client.scripted.waiting.extend(Exchange() for _ in range(15))
    assert narrowed.capacity(NOW) == 5
    client.scripted.in_flight.update((stream, Exchange()) for stream in range(90))
    assert narrowed.capacity(NOW) == 0


@pytest.mark.parametrize("verdict", [Verdict.INVALID, Verdict.UNREGISTERED, Verdict.UNSENT])
def test_a_permanent_rejection_does_not_narrow_the_window(verdict: Verdict) -> None:
    wide = gate(ScriptedClient(capacity=100))
    wide.accepted(50)
    for _ in range(50):
        wide.rejected(rejected(verdict), NOW)
    assert wide.capacity(NOW) == math.inf


def test_a_provider_with_a_quota_has_no_window() -> None:
    wide = gate(ScriptedClient(quota=True, capacity=100))
    for _ in range(50):
        wide.rejected(rejected(Verdict.UNAVAILABLE), NOW)
    assert wide.capacity(NOW) == math.inf


# --- the breaker --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_quota", [True, False])
def test_until_the_breaker_has_responses_enough_little_is_in_flight(has_quota: bool) -> None:
    careful = gate(ScriptedClient(quota=has_quota), breaker=True)
    assert careful.capacity(NOW) == UNPROVEN
    careful.accepted(MINIMUM - 1)
    assert careful.capacity(NOW) == UNPROVEN
    careful.accepted(1)
    assert careful.capacity(NOW) == math.inf


def test_processes_that_judge_together_share_what_may_be_in_flight() -> None:
    class Peers:
        parts = 8

        def exchange(self, seen: Any) -> Any:
            return type(seen)(0, 0, 0, 0, 0, 0)

    class SharedPeers(SharedTrip):
        def peers(self) -> Any:
            return Peers()

    assert gate(breaker=True, shared=SharedPeers()).capacity(NOW) == UNPROVEN // 8


def test_a_run_of_refusals_is_a_reason_to_stop_whether_sent_or_not() -> None:
    sent, unsent = gate(breaker=True), gate(breaker=True)
    refusal = rejected(Verdict.MISCONFIGURED, "BadTopic")
    trips = [(sent.rejected(refusal, NOW), unsent.not_sent(refusal)) for _ in range(20)]
    assert trips[:19] == [(None, None)] * 19
    assert [trip.reason for trip in trips[19] if trip is not None] == ["BadTopic", "BadTopic"]
    assert sent.stopped is None  # the lane decides


def test_only_a_wrong_configuration_counts_of_what_was_not_sent() -> None:
    careful = gate(breaker=True)
    assert [careful.not_sent(rejected(Verdict.INVALID)) for _ in range(600)] == [None] * 600
    assert careful.conclude() is None


def test_without_a_breaker_there_is_never_a_reason_to_stop() -> None:
    careless = gate()
    refusal = rejected(Verdict.MISCONFIGURED, "BadTopic")
    assert [careless.rejected(refusal, NOW) or careless.not_sent(refusal) for _ in range(50)] == [None] * 50
    assert careless.conclude() is None


def test_a_gate_that_is_stopped_tells_the_other_processes_and_keeps_their_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shared = SharedTrip()
    first, second, third = (gate(breaker=True, shared=shared) for _ in range(3))
    trip = Trip("BadTopic", "the topic is wrong")
    assert first.stop(trip) is trip
    assert first.stopped is trip
    assert second.shared_trip is trip
    assert third.stop(Trip("BadCertificate", "later")) is trip
    assert "every push to apns would fail: the topic is wrong" in caplog.text
    assert gate(breaker=True).shared_trip is None


def test_at_the_end_it_says_why_everything_failed_however_little_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    careful = gate(breaker=True)
    careful.rejected(rejected(Verdict.MISCONFIGURED, "BadTopic"), NOW)
    trip = careful.conclude()
    assert trip is not None
    assert trip.reason == "BadTopic"
    assert "every push to apns failed: BadTopic" in caplog.text
