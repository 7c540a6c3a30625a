"""A lane's retries: what waits, when it is sent again, and what the journal and the caller learn of it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pushcore.engine.rate import Rate
from pushcore.engine.retry import RetryPolicy
from pushcore.errors import ConnectError, JournalError
from pushcore.metrics import Metrics
from pushcore.reasons import lookup
from pushcore.results import Verdict
from tests.support.scripted import STEADY, EventLog, ScriptedClient, ScriptedJournal, ScriptedPush, pushes
from tests.unit.engine.stage import Stage

WAIT = STEADY.apns_device_wait


def throttle(stage: Stage, *rows: int) -> None:
    stage.client.answer(*rows, verdict=Verdict.THROTTLED, reason="TooManyRequests", status=429)


def test_a_throttled_push_is_sent_again_when_its_wait_is_over() -> None:
    log = EventLog()
    stage = Stage(retry=STEADY, listener=log)
    stage.send(pushes(2))
    throttle(stage, 1)
    assert log.events == [("retried", "apns", "TooManyRequests", 1, WAIT)]
    assert stage.owner.outstanding == 1  # it is the heap's, and makes room for another
    stage.wait()
    assert stage.due == 1000.0 + WAIT
    stage.wait(WAIT - 0.001)
    assert stage.client.sent == [1, 2]
    stage.wait(0.001)
    assert stage.client.sent == [1, 2, 1]
    assert stage.owner.outstanding == 2
    assert stage.due == math.inf
    stage.client.answer(1)
    assert (stage.rows(), stage.ready[0].attempts) == ([1], 2)


def test_each_retry_has_the_whole_timeout_again() -> None:
    stage = Stage(retry=STEADY)
    stage.send(pushes(1))
    throttle(stage)
    stage.wait(WAIT)
    assert [each.deadline for each in stage.client.scripted.in_flight.values()] == [stage.now + 10.0]


def test_each_wait_is_twice_the_one_before_and_the_last_result_is_reported() -> None:
    stage = Stage(retry=RetryPolicy(jitter=0.0, max_attempts=3))
    stage.send(pushes(1))
    throttle(stage)
    stage.wait(WAIT)
    throttle(stage)
    stage.wait()
    assert stage.due == stage.now + 2 * WAIT
    stage.wait(2 * WAIT)
    throttle(stage)
    assert stage.client.sent == [1, 1, 1]
    assert (stage.verdicts(), stage.ready[0].attempts) == ([Verdict.THROTTLED], 3)


def test_without_a_policy_every_result_is_reported_as_it_comes() -> None:
    stage = Stage()
    stage.send(pushes(1))
    throttle(stage)
    assert stage.verdicts() == [Verdict.THROTTLED]
    assert stage.due == math.inf


def test_a_permanent_rejection_is_not_retried() -> None:
    stage = Stage(retry=STEADY)
    stage.send(pushes(2))
    stage.client.answer(1, verdict=Verdict.UNREGISTERED, reason="Unregistered", status=410)
    stage.client.answer(2, verdict=Verdict.UNKNOWN, detail="no response in time")
    assert stage.verdicts() == [Verdict.UNREGISTERED, Verdict.UNKNOWN]


def test_a_push_whose_turn_comes_too_late_is_reported_and_not_sent() -> None:
    stage = Stage(retry=STEADY)
    stage.send(pushes(1))
    throttle(stage)
    stage.wait(STEADY.max_age + 1.0)  # nobody called the lane for so long
    assert stage.client.sent == [1]
    assert (stage.verdicts(), stage.owner.outstanding) == ([Verdict.THROTTLED], 1)


def test_retries_leave_no_faster_than_their_budget_and_all_leave() -> None:
    stage = Stage(retry=RetryPolicy(jitter=0.0, budget_share=0.0, budget_rate=2.0))
    stage.send(pushes(5))
    throttle(stage)
    stage.wait(WAIT)
    assert stage.client.sent[5:] == [1, 2]
    assert stage.due == pytest.approx(stage.now + 0.5, abs=1e-3)
    stage.wait(1.0)
    assert stage.client.sent[5:] == [1, 2, 3, 4]


def test_an_accepted_retry_pays_for_the_next() -> None:
    stage = Stage(retry=RetryPolicy(jitter=0.0, budget_share=0.0, budget_rate=1.0))
    stage.send(pushes(3))
    throttle(stage)
    stage.wait(WAIT)
    assert stage.client.sent[3:] == [1]
    stage.client.answer(1)
    stage.wait()
    assert stage.client.sent[3:] == [1, 2]


def test_accepted_first_attempts_pay_for_retries() -> None:
    stage = Stage(retry=RetryPolicy(jitter=0.0, budget_share=0.5, budget_rate=1.0))
    stage.send(pushes(10))
    throttle(stage, 1, 2, 3, 4)
    stage.client.answer()
    stage.send(pushes(1, first=11))
    stage.client.answer(11, verdict=Verdict.INVALID)  # the lane counts what was accepted when it judges
    stage.wait(WAIT)
    assert stage.client.sent[11:] == [1, 2, 3, 4]


def test_the_source_is_read_no_further_when_too_many_wait_for_their_retry() -> None:
    stage = Stage(retry=RetryPolicy(max_delayed=2))
    stage.send(pushes(2))
    throttle(stage, 1)
    assert not stage.lane.full
    throttle(stage, 2)
    assert stage.lane.full


def test_metrics_count_what_waits_for_its_retry() -> None:
    metrics = Metrics()
    stage = Stage(retry=STEADY, listener=metrics)
    stage.send(pushes(3))
    throttle(stage, 1, 2)
    stage.wait()
    assert metrics.queue_depth["apns", "retry"] == 2
    stage.wait(WAIT)
    assert metrics.queue_depth["apns", "retry"] == 0


# --- the limit of a topic or a device -----------------------------------------------------------------------------

QUOTA = replace(lookup("fcm", 429, "QUOTA_EXCEEDED"), scope="topic")


def limit(stage: Stage, *rows: int, retry_after: float = 20.0) -> None:
    stage.client.answer(
        *rows,
        verdict=Verdict.THROTTLED,
        reason="QUOTA_EXCEEDED",
        status=429,
        retry_after=retry_after,
        row=QUOTA,
    )


def topic(name: str, *rows: int) -> list[ScriptedPush]:
    return [ScriptedPush(row, topic=name) for row in rows]


def test_a_limited_topic_holds_back_its_own_pushes_and_no_others() -> None:
    log = EventLog()
    stage = Stage(ScriptedClient(quota=True), retry=STEADY, rate=Rate(math.inf), listener=log)
    stage.send(topic("news", 1))
    limit(stage, 1)
    assert log.events == [("retried", "apns", "QUOTA_EXCEEDED", 1, 20.0)]
    stage.send([*topic("news", 2), *topic("sport", 3), *topic("news", 4), *topic("", 5)])
    assert stage.client.sent == [1, 3, 5]
    assert stage.owner.outstanding == 2  # what waits makes room
    stage.wait(19.9)
    assert stage.client.sent == [1, 3, 5]
    stage.wait(0.1)
    assert stage.client.sent == [1, 3, 5, 1, 2, 4]
    assert stage.owner.outstanding == 5
    stage.send(topic("news", 6))
    assert stage.client.sent[6:] == [6]
    stage.client.answer()
    assert [(result.push.row, result.attempts) for result in stage.ready[2:]] == [
        (1, 2),
        (2, 1),
        (4, 1),
        (6, 1),
    ]


def test_a_push_that_was_held_back_waits_with_its_topic_if_that_is_still_limited() -> None:
    stage = Stage(ScriptedClient(quota=True), retry=STEADY, rate=Rate(math.inf))
    stage.send(topic("news", 1))
    limit(stage, 1)
    stage.send(topic("news", 2))
    stage.wait(20.0)
    limit(stage, 1, 2)
    stage.send(topic("news", 3))
    stage.wait()
    assert stage.client.sent == [1, 1, 2]
    assert stage.due == stage.now + 20.0
    stage.wait(20.0)
    assert stage.client.sent == [1, 1, 2, 1, 2, 3]
    stage.client.answer()
    assert [(result.push.row, result.attempts) for result in stage.ready] == [(1, 3), (2, 2), (3, 1)]


def test_a_limited_device_holds_back_its_own_pushes() -> None:
    stage = Stage(retry=STEADY)
    first, second, other = pushes(3)
    for push, token in ((first, "a"), (second, "a"), (other, "b")):
        push.token = token  # type: ignore[attr-defined]
    stage.send([first])
    throttle(stage)
    stage.send([second, other])
    assert stage.client.sent == [1, 3]
    stage.wait(WAIT)
    assert stage.client.sent == [1, 3, 1, 2]


def test_pushes_that_a_rate_keeps_waiting_are_held_back_too_and_use_up_none_of_it() -> None:
    stage = Stage(ScriptedClient(quota=True), retry=STEADY, rate=Rate(100.0))
    stage.send(topic("sport", *range(1, 11)))
    allowed = len(stage.client.sent)
    stage.send([*topic("news", 11), *topic("sport", 12)])
    while 12 not in stage.client.sent:
        stage.wait(0.1)
    stage.send([*topic("news", *range(13, 60)), *topic("sport", *range(60, 63))])
    limit(stage, 11)
    sent = len(stage.client.sent)
    while 62 not in stage.client.sent:
        stage.wait(0.01)
    news_before = [row for row in stage.client.sent[sent:] if 13 <= row < 60]
    assert news_before == []
    assert allowed >= 1
    assert stage.now < 1020.0


def test_without_retries_no_topic_waits() -> None:
    stage = Stage(ScriptedClient(quota=True), rate=Rate(math.inf))
    stage.send(topic("news", 1))
    limit(stage, 1)
    stage.send(topic("news", 2))
    assert stage.client.sent == [1, 2]


async def test_the_journal_has_what_is_held_back_as_not_delivered_until_it_is_sent() -> None:
    journal = ScriptedJournal()
    stage = Stage(ScriptedClient(quota=True), retry=STEADY, rate=Rate(math.inf), journal=journal)
    stage.send(topic("news", 1))
    limit(stage, 1)
    stage.send(topic("news", 2))
    assert journal.log == [("put back", 1, 1), ("put back", 2, 0)]
    stage.wait(20.0)
    assert journal.log[2:] == [("take back", 1, 1), ("take back", 2, 0)]
    await stage.run_spawned()
    assert stage.client.sent == [1, 1, 2]


def test_a_held_back_push_is_unsent_at_the_end() -> None:
    stage = Stage(ScriptedClient(quota=True), retry=STEADY, rate=Rate(math.inf))
    stage.send(topic("news", 1))
    limit(stage, 1)
    stage.send(topic("news", 2))
    stage.lane.abandon()
    assert [(result.verdict, result.attempts) for result in stage.ready] == [
        (Verdict.THROTTLED, 1),
        (Verdict.UNSENT, 0),
    ]
    assert stage.owner.outstanding == 2


def test_a_push_held_back_beyond_its_age_is_unsent() -> None:
    stage = Stage(ScriptedClient(quota=True), retry=STEADY, rate=Rate(math.inf))
    stage.send(topic("news", 1))
    limit(stage, 1)
    stage.send(topic("news", 2))
    stage.wait(STEADY.max_age + 1.0)
    assert stage.verdicts() == [Verdict.THROTTLED, Verdict.UNSENT]
    assert str(stage.ready[1].detail) == "the rate limit of its topic or device lasted too long"


def test_a_limited_topic_is_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(ScriptedClient(quota=True), retry=STEADY, rate=Rate(math.inf))
    stage.send([*topic("news", 1), *topic("sport", 2)])
    limit(stage)
    assert caplog.messages == ["apns limits a topic (429): pushes to 'news' wait for 20 s"]


# --- the end ------------------------------------------------------------------------------------------------------


def test_a_run_that_ends_reports_what_waits_for_its_retry_as_it_is() -> None:
    stage = Stage(retry=STEADY)
    stage.send(pushes(3))
    throttle(stage, 2)
    stage.client.answer(1)
    stage.lane.abandon()
    assert stage.rows() == [1, 2]
    assert stage.verdicts() == [Verdict.ACCEPTED, Verdict.THROTTLED]
    assert stage.owner.outstanding == 3
    stage.wait(WAIT)
    assert stage.client.sent == [1, 2, 3]


def test_a_push_held_back_when_the_run_ends_has_no_attempt() -> None:
    journal = ScriptedJournal()
    stage = Stage(rate=Rate(10.0), journal=journal)
    stage.send(pushes(3))
    stage.lane.abandon()
    assert stage.rows() == [2, 3]
    assert {(each.verdict, each.attempts) for each in stage.ready} == {(Verdict.UNSENT, 0)}
    assert isinstance(stage.ready[0].detail, ConnectError)
    assert journal.log == [("put back", 2, 0), ("put back", 3, 0)]
    stage.wait(60.0)
    assert stage.client.sent == [1]


def test_once_the_run_is_stopping_nothing_is_put_off_any_more() -> None:
    journal = ScriptedJournal()
    stage = Stage(retry=STEADY, journal=journal)
    stage.send(pushes(1))
    stage.owner.stopping = True
    throttle(stage)
    assert stage.verdicts() == [Verdict.THROTTLED]
    assert journal.log == [("put back", 1, 1)]  # no outcome: it is sent when the journal is opened again
    stage.wait(WAIT)
    assert stage.client.sent == [1]


# --- the journal --------------------------------------------------------------------------------------------------


def test_the_journal_has_a_batch_before_listeners_and_the_caller_have_it() -> None:
    journal, log = ScriptedJournal(), EventLog()
    log.events = journal.log
    stage = Stage(journal=journal, listener=log)
    stage.client.scripted.listeners.clear()
    stage.send(pushes(2))
    stage.client.answer()
    assert stage.ready == []
    stage.lane.record.flush()
    assert journal.log == [("record", [1, 2]), ("results", "apns", [1, 2])]
    assert stage.rows() == [1, 2]
    stage.lane.record.flush()
    assert len(journal.log) == 2


def test_a_journal_that_cannot_be_written_stops_the_run_and_loses_no_result() -> None:
    journal = ScriptedJournal()
    journal.error = JournalError("the disk is full")
    stage = Stage(journal=journal)
    stage.send(pushes(1))
    stage.client.answer()
    assert stage.owner.stops == [journal.error]
    assert stage.rows() == [1]


async def test_a_retry_is_committed_as_possibly_delivered_before_it_is_sent() -> None:
    journal = ScriptedJournal()
    stage = Stage(retry=STEADY, journal=journal)
    stage.send(pushes(1))
    throttle(stage)
    assert journal.log == [("put back", 1, 1)]
    stage.wait(WAIT)
    assert journal.log == [("put back", 1, 1), ("take back", 1, 1)]
    assert stage.client.sent == [1]
    await stage.run_spawned()
    assert journal.log[2:] == [("committed",)]
    assert stage.client.sent == [1, 1]
    stage.client.answer(1)
    assert journal.log[3:] == [("record", [1])]


@pytest.mark.parametrize("broken", [True, False])
async def test_a_retry_is_not_sent_when_the_run_ends_before_its_commit(broken: bool) -> None:
    journal = ScriptedJournal()
    stage = Stage(retry=STEADY, journal=journal)
    stage.send(pushes(1))
    throttle(stage)
    stage.wait(WAIT)
    if broken:
        journal.error = OSError("the disk is gone")
    else:
        stage.owner.stopping = True
    await stage.run_spawned()
    assert stage.owner.stops == ([journal.error] if broken else [])
    assert stage.client.sent == [1]
    assert stage.verdicts() == [Verdict.THROTTLED]
    assert journal.log[-1] == ("put back", 1, 1)


def test_a_push_that_a_stopped_lane_did_not_send_is_put_back_and_not_recorded() -> None:
    journal = ScriptedJournal()
    stage = Stage(breaker=True, journal=journal)
    for push in pushes(20):
        stage.send([push])
        stage.client.answer(verdict=Verdict.MISCONFIGURED, reason="BadTopic")
    journal.log.clear()
    stage.send(pushes(1, first=21))
    assert journal.log == [("put back", 21, 0)]
    assert stage.verdicts()[-1] is Verdict.UNSENT
