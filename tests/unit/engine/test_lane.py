"""A lane without a run and without a network: what leaves when, in which order, and what stops it."""

from __future__ import annotations

import math

import pytest

from pushcore.engine.gate import UNPROVEN
from pushcore.engine.lane import BATCH, MOST_PENDING
from pushcore.engine.rate import Rate
from pushcore.metrics import Metrics
from pushcore.requests import END
from pushcore.results import Verdict
from tests.support.scripted import (
    STEADY,
    EventLog,
    OtherScriptedPush,
    ScriptedClient,
    ScriptedPush,
    SharedTrip,
    pushes,
)
from tests.unit.engine.stage import Stage


def test_pushes_leave_in_order_and_results_come_in_order_of_completion() -> None:
    stage = Stage()
    stage.send(pushes(4))
    assert stage.client.sent == [1, 2, 3, 4]
    stage.client.answer(3)
    stage.client.answer(1, 4)
    assert stage.rows() == [3, 1, 4]
    assert stage.verdicts() == [Verdict.ACCEPTED] * 3
    assert stage.lane.accepted == 3
    assert stage.due == math.inf


def test_make_stops_at_a_push_of_another_class_and_gives_it_back() -> None:
    stage = Stage()
    other = OtherScriptedPush(3)
    source = iter([ScriptedPush(1), ScriptedPush(2), other, ScriptedPush(4)])
    assert stage.lane.build(source, ScriptedPush, stage.now) is other
    assert stage.lane.build(source, ScriptedPush, stage.now) is END
    assert stage.lane.begin(stage.now) == 3
    stage.wait()
    assert stage.client.sent == [1, 2, 4]


def test_a_push_that_cannot_be_sent_has_its_result_at_once_and_counts_as_read() -> None:
    stage = Stage()
    stage.send([ScriptedPush(1), ScriptedPush(2, invalid=Verdict.INVALID), ScriptedPush(3)])
    assert (stage.rows(), stage.verdicts()) == ([2], [Verdict.INVALID])
    assert stage.client.sent == [1, 3]
    assert stage.owner.outstanding == 3


def test_a_request_that_the_client_has_sent_again_has_no_result_yet() -> None:
    stage = Stage()
    stage.send(pushes(1))
    stage.client.answer(verdict=None)
    assert stage.ready == []


def test_an_answer_that_the_client_reads_as_accepted_counts_as_accepted() -> None:
    stage = Stage()
    stage.send(pushes(1))
    stage.client.answer(status=201)
    assert stage.verdicts() == [Verdict.ACCEPTED]
    assert stage.lane.accepted == 1


# --- the rate -----------------------------------------------------------------------------------------------------


def test_a_rate_lets_out_what_it_permits_and_says_when_it_wants_to_be_called() -> None:
    stage = Stage(rate=Rate(100.0))
    stage.send(pushes(25))
    assert stage.client.sent == list(range(1, 11))
    assert stage.due == pytest.approx(1000.01, abs=1e-5)
    stage.wait(0.055)
    assert stage.client.sent == list(range(1, 16))
    stage.wait(10.0)  # no more is saved up than a tenth of a second's worth
    assert stage.client.sent == list(range(1, 26))
    assert stage.due == math.inf


def test_later_pushes_do_not_overtake_waiting_ones() -> None:
    stage = Stage(rate=Rate(100.0))
    stage.send(pushes(15))
    stage.now += 0.1
    stage.send(pushes(3, first=16))
    assert stage.client.sent == list(range(1, 19))


def test_the_time_that_a_push_waits_for_the_rate_is_not_taken_from_its_timeout() -> None:
    stage = Stage(rate=Rate(10.0))
    stage.send(pushes(2))
    stage.wait(7.0)
    deadlines = [exchange.deadline for exchange in stage.client.scripted.in_flight.values()]
    assert deadlines == [1010.0, 1017.0]


def test_a_slow_rate_is_not_asked_more_often_than_a_hundred_times_a_second() -> None:
    stage = Stage(rate=Rate(100_000.0))
    stage.send(pushes(10_001))
    stage.wait(0.0)
    assert stage.due >= stage.now + 0.01


def test_no_more_leaves_in_one_call_than_a_batch() -> None:
    stage = Stage(ScriptedClient(capacity=20_000), rate=Rate(100_000.0))
    stage.send(pushes(15_000))
    before = len(stage.client.sent)
    stage.wait(0.1)
    assert len(stage.client.sent) - before == BATCH


def test_a_project_told_to_wait_sends_nothing_until_then_and_says_so() -> None:
    log = EventLog()
    stage = Stage(ScriptedClient(quota=True), rate=Rate(math.inf), listener=log)
    stage.send(pushes(2))
    stage.client.answer(1, verdict=Verdict.THROTTLED, status=429, retry_after=30.0)
    stage.send(pushes(3, first=3))
    assert stage.client.sent == [1, 2]
    assert ("rate_limited", "apns", 30.0) in log.events
    stage.wait(29.0)
    assert stage.client.sent == [1, 2]
    assert stage.due == pytest.approx(1030.0, abs=1e-3)
    stage.wait(1.0)
    assert stage.client.sent == [1, 2, 3, 4, 5]


# --- the window ---------------------------------------------------------------------------------------------------


def test_until_there_are_answers_to_judge_by_only_a_thousand_are_under_way() -> None:
    stage = Stage(ScriptedClient(capacity=20_000), breaker=True)
    stage.send(pushes(UNPROVEN + 400))
    for _ in range(10):  # they leave by the batch
        stage.wait()
    assert len(stage.client.sent) == UNPROVEN
    stage.client.answer(*range(1, 400))
    for _ in range(10):
        stage.wait()
    assert len(stage.client.sent) == UNPROVEN + 399
    stage.client.answer(*range(400, 502))  # the 500th answer
    stage.send(pushes(1000, first=5001))
    for _ in range(10):
        stage.wait()
    assert len(stage.client.sent) == 2400


def test_without_a_breaker_all_leave_at_once() -> None:
    stage = Stage(ScriptedClient(capacity=20_000))
    stage.send(pushes(UNPROVEN + 400))
    assert len(stage.client.sent) == UNPROVEN + 400


def test_the_window_narrows_when_half_of_the_answers_push_back() -> None:
    stage = Stage(ScriptedClient(capacity=100))
    stage.send(pushes(100))
    stage.client.answer(*range(1, 51), verdict=Verdict.THROTTLED, reason="TooManyRequests")
    stage.client.answer(*range(51, 101))
    stage.send(pushes(100, first=101))
    stage.wait()
    assert len(stage.client.scripted.in_flight) == 50


@pytest.mark.parametrize(
    ("count", "connected", "rate", "full"),
    [
        (BATCH - 1, False, None, False),
        (BATCH, False, None, True),
        (MOST_PENDING + 9, True, 100.0, False),
        (MOST_PENDING + 10, True, 100.0, True),
    ],
)
def test_the_source_is_read_no_further_when_too_much_waits(
    count: int, connected: bool, rate: float | None, full: bool
) -> None:
    client = ScriptedClient()
    client.scripted.connected = connected
    stage = Stage(client, rate=Rate(rate) if rate else None)
    stage.send(pushes(count))
    assert stage.lane.full is full


def test_a_push_delayed_too_long_by_the_rate_is_unsent() -> None:
    stage = Stage(rate=Rate(1.0), pending_timeout=3.0)
    stage.send(pushes(8))
    stage.wait(2.9)
    assert stage.rows() == []
    sent = len(stage.client.sent)
    assert 0 < sent < 6
    assert stage.due <= 1003.0
    stage.wait(0.1)
    assert stage.rows() == list(range(len(stage.client.sent) + 1, 9))
    assert set(stage.verdicts()) == {Verdict.UNSENT}
    assert "rate limit" in str(stage.ready[0].detail)


def test_a_retry_that_the_rate_keeps_waiting_has_the_result_of_its_last_attempt() -> None:
    stage = Stage(rate=Rate(1.0), retry=STEADY, pending_timeout=3.0)
    stage.send(pushes(1))
    stage.client.answer(1, verdict=Verdict.UNAVAILABLE)
    stage.client.quota = True
    stage.lane.gate.limiter.close(stage.now + 600, stage.now)  # type: ignore[union-attr]
    for _ in range(40):
        stage.wait(1.0)
    assert stage.verdicts() == [Verdict.UNAVAILABLE]


# --- the breaker --------------------------------------------------------------------------------------------------


def refuse(stage: Stage, count: int, first: int = 1) -> None:
    for row in range(first, first + count):
        stage.send([ScriptedPush(row)])
        stage.client.answer(row, verdict=Verdict.MISCONFIGURED, reason="BadTopic")


def test_a_breaker_stops_the_lane_once_and_what_follows_is_unsent() -> None:
    stage = Stage(breaker=True)
    refuse(stage, 19)
    assert stage.owner.trips == []
    refuse(stage, 1, first=20)
    assert [trip.reason for trip in stage.owner.trips] == ["BadTopic"]
    assert stage.lane.gate.stopped is stage.owner.trips[0]
    stage.send(pushes(2, first=21))
    assert len(stage.client.sent) == 20
    assert stage.verdicts()[20:] == [Verdict.UNSENT] * 2
    assert str(stage.ready[-1].detail).startswith("not sent, because every push to apns would fail: BadTopic")
    assert len(stage.owner.trips) == 1


def test_refusals_that_were_in_flight_do_not_stop_the_lane_again() -> None:
    stage = Stage(breaker=True)
    stage.send(pushes(60))
    for row in range(1, 61):
        stage.client.answer(row, verdict=Verdict.MISCONFIGURED, reason="BadTopic")
    assert len(stage.owner.trips) == 1
    assert stage.verdicts() == [Verdict.MISCONFIGURED] * 60


def test_a_stopped_lane_still_gives_back_a_push_of_another_class() -> None:
    stage = Stage(breaker=True)
    refuse(stage, 20)
    other = OtherScriptedPush(22)
    assert stage.lane.build(iter([ScriptedPush(21), other]), ScriptedPush, stage.now) is other
    assert stage.lane.begin(stage.now) == 1


def test_pushes_found_misconfigured_before_they_are_sent_trip_the_breaker_too() -> None:
    stage = Stage(breaker=True)
    stage.send(ScriptedPush(row, invalid=Verdict.MISCONFIGURED) for row in range(1, 21))
    assert len(stage.owner.trips) == 1
    assert stage.client.sent == []


def test_an_accepted_push_keeps_a_run_of_refusals_from_tripping() -> None:
    stage = Stage(breaker=True)
    stage.send(pushes(1))
    stage.client.answer()
    refuse(stage, 30, first=2)
    assert stage.owner.trips == []


def test_without_a_breaker_no_refusal_stops_anything() -> None:
    stage = Stage()
    refuse(stage, 40)
    assert (stage.owner.trips, stage.lane.conclude()) == ([], None)


def test_a_verdict_of_another_process_stops_the_lane_at_its_next_call() -> None:
    shared = SharedTrip()
    first, second = Stage(breaker=True, shared=shared), Stage(breaker=True, shared=shared)
    refuse(first, 20)
    second.send(pushes(1))
    assert second.owner.trips == first.owner.trips
    assert second.lane.gate.stopped is shared.trip


def test_at_the_end_a_lane_says_why_everything_failed_however_little_it_was() -> None:
    stage, mixed = Stage(breaker=True), Stage(breaker=True)
    refuse(stage, 3)
    trip = stage.lane.conclude()
    assert trip is not None
    assert trip.reason == "BadTopic"
    mixed.send([ScriptedPush(9)])
    mixed.client.answer()
    refuse(mixed, 3)
    assert mixed.lane.conclude() is None


# --- metrics ------------------------------------------------------------------------------------------------------


def test_metrics_know_the_rate_the_oldest_push_that_waits_and_how_long_each_took() -> None:
    metrics = Metrics()
    stage = Stage(rate=Rate(10.0), listener=metrics)
    stage.send(pushes(3))
    assert metrics.allowed_rate[("apns",)] == 10.0
    stage.now += 0.05
    stage.wait()
    assert metrics.time_lag[("apns",)] == pytest.approx(0.05)
    stage.now += 0.2
    stage.client.answer(1)
    durations = metrics.duration("apns")
    assert durations.count == 1
    assert durations.total == pytest.approx(0.25)
    assert metrics.sent[("apns", "ACCEPTED", "")] == 1
    stage.wait(1.0)
    stage.wait(1.0)
    assert metrics.time_lag[("apns",)] == 0.0
