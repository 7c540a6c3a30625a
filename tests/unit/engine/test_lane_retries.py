"""A lane's retries: what waits, when it is sent again, and what the journal and the caller learn of it."""

from __future__ import annotations

import math

import pytest

from pushcore.engine.rate import Rate
from pushcore.engine.retry import RetryPolicy
from pushcore.errors import ConnectError, JournalError
from pushcore.metrics import Metrics
from pushcore.results import Verdict
from tests.support.scripted import STEADY, EventLog, ScriptedJournal, pushes
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


def test_what_only_the_push_is_to_blame_for_is_not_retried() -> None:
    stage = Stage(retry=STEADY)
    stage.send(pushes(2))
    stage.client.answer(1, verdict=Verdict.UNREGISTERED, reason="Unregistered", status=410)
    stage.client.answer(2, verdict=Verdict.UNKNOWN, detail="no answer in time")
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


def test_what_was_held_back_when_the_run_ends_is_unsent_and_was_never_tried() -> None:
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
