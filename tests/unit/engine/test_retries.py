"""A lane's retries by themselves: what is released when, what pays for it, and whom a delayed push reports to."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from pushcore.engine.retries import BATCH, DelayedPush, Retries
from pushcore.engine.retry import RetryPolicy
from pushcore.engine.rules import EngineClient
from pushcore.http2.exchange import Exchange, request
from pushcore.reasons import lookup
from pushcore.results import Result, Verdict
from tests.support.scripted import STEADY, TEMPLATE, ScriptedClient, ScriptedPush


class Lane:
    """Writes down what a delayed push tells it."""

    def __init__(self) -> None:
        self.client: EngineClient = ScriptedClient()
        self.accepted: list[Result] = []
        self.rejected: list[tuple[Exchange, Result, DelayedPush | None]] = []

    def result(self, exchange: Exchange, push: Any, /) -> Result | None:
        if exchange.status == 401:
            return None  # the client has sent it once more
        verdict = Verdict.ACCEPTED if exchange.status == 201 else Verdict.UNAVAILABLE
        return Result(push, verdict, exchange.status)

    def on_rejected(self, exchange: Exchange, result: Result, delayed: DelayedPush | None = None) -> None:
        self.rejected.append((exchange, result, delayed))

    def on_retry_accepted(self, result: Result) -> None:
        self.accepted.append(result)


def throttled(row: int = 1) -> Result:
    return Result(ScriptedPush(row), Verdict.THROTTLED, 429, 1, reason="TooManyRequests")


def delayed_push(row: int = 7, first_sent: float = 12.5) -> tuple[Lane, Exchange, DelayedPush]:
    lane, result = Lane(), throttled(row)
    exchange = request(
        TEMPLATE, b"/", b"{}", (), lambda _: pytest.fail("the lane's sink is over"), result.push
    )
    return lane, exchange, DelayedPush(lane, exchange, first_sent, result)


def end(exchange: Exchange, status: int) -> None:
    exchange.status = status
    exchange.sink([exchange])


# --- a delayed push -----------------------------------------------------------------------------------------------


def test_it_takes_the_place_of_the_sink_and_knows_when_the_push_was_first_sent() -> None:
    lane, exchange, delayed = delayed_push()
    assert (delayed.first_sent, delayed.attempts, delayed.exchange) == (12.5, 1, exchange)
    end(exchange, 200)
    assert [result.push.row for result in lane.accepted] == [7]
    assert lane.rejected == []


def test_a_push_that_the_client_reads_as_accepted_is_accepted_too() -> None:
    lane, exchange, delayed = delayed_push()
    end(exchange, 201)
    assert [result.verdict for result in lane.accepted] == [Verdict.ACCEPTED]
    assert (lane.rejected, delayed.attempts) == ([], 1)


def test_a_push_that_was_rejected_again_has_one_attempt_more() -> None:
    lane, exchange, delayed = delayed_push()
    for attempts in (2, 3):
        end(exchange, 503)
        assert delayed.attempts == attempts
    assert [(call[0], call[1].verdict, call[2]) for call in lane.rejected] == [
        (exchange, Verdict.UNAVAILABLE, delayed)
    ] * 2
    assert lane.accepted == []


def test_a_resend_by_the_client_counts_as_no_attempt() -> None:
    lane, exchange, delayed = delayed_push()
    end(exchange, 401)
    assert (lane.accepted, lane.rejected, delayed.attempts) == ([], [], 1)


# --- which and when -----------------------------------------------------------------------------------------------


def test_the_policy_says_how_long_a_push_waits_and_without_one_nothing_is_sent_again() -> None:
    assert Retries(STEADY, Random(1)).delay(throttled(), 1, 0.0) == STEADY.apns_device_wait
    assert Retries(STEADY, Random(1)).delay(throttled(), STEADY.max_attempts, 0.0) is None
    assert Retries(None, Random(1)).delay(throttled(), 1, 0.0) is None


def keep(retries: Retries, count: int, due: float, first_sent: float = 1000.0) -> None:
    for row in range(1, count + 1):
        retries.delayed.add(due, delayed_push(row, first_sent)[2])


def rows(pushes: list[DelayedPush]) -> list[int]:
    return [push.exchange.context.row for push in pushes]


def test_nothing_is_released_before_it_is_due_and_then_in_order() -> None:
    retries = Retries(STEADY, Random(1))
    assert (retries.release(1000.0), retries.next_release(1000.0)) == (([], []), math.inf)
    keep(retries, 3, due=1030.0)
    assert retries.release(1029.9) == ([], [])
    assert retries.next_release(1029.9) == 1030.0
    released, too_old = retries.release(1030.0)
    assert (rows(released), too_old) == ([1, 2, 3], [])
    assert not retries.delayed


def test_no_more_than_a_batch_is_released_at_a_time() -> None:
    retries = Retries(RetryPolicy(budget_rate=1e6), Random(1))
    keep(retries, BATCH + 5, due=1000.0)
    assert len(retries.release(1000.0)[0]) == BATCH
    assert len(retries.release(1000.0)[0]) == 5


def test_a_retry_without_budget_stays_and_is_next() -> None:
    retries = Retries(RetryPolicy(budget_share=0.5, budget_rate=2.0), Random(1))
    keep(retries, 9, due=1000.0)
    assert rows(retries.release(1000.0)[0]) == [1, 2]
    assert retries.next_release(1000.0) == pytest.approx(1000.5, abs=1e-3)
    retries.accepted()
    assert rows(retries.release(1000.0)[0]) == [3]
    retries.sent(4)
    assert rows(retries.release(1000.0)[0]) == [4, 5]
    assert rows(retries.release(1001.0)[0]) == [6, 7]


def test_a_push_that_has_become_too_old_is_told_apart_and_costs_nothing() -> None:
    retries = Retries(RetryPolicy(budget_rate=1.0), Random(1))
    retries.sent(20)  # credit of 4, and 1 at the start
    late = 1000.0 + STEADY.max_age + 1
    keep(retries, 3, due=late, first_sent=1000.0)
    released, too_old = retries.release(late)
    assert (released, rows(too_old)) == ([], [1, 2, 3])
    keep(retries, 9, due=late, first_sent=late)
    assert len(retries.release(late)[0]) == 5


# --- the limit of a topic or a device -----------------------------------------------------------------------------


TOPIC_QUOTA = replace(lookup("fcm", 429, "QUOTA_EXCEEDED"), scope="topic")


def topic_push(row: int, topic: str, result: bool = True) -> tuple[DelayedPush, Result]:
    push = ScriptedPush(row, topic=topic)
    rejected = Result(push, Verdict.THROTTLED, 429, 1, reason="QUOTA_EXCEEDED", row=TOPIC_QUOTA)
    exchange = request(TEMPLATE, b"/", b"{}", (), lambda _: None, push)
    return DelayedPush(Lane(), exchange, 1000.0, rejected if result else None), rejected


def limited(retries: Retries, row: int, topic: str, due: float) -> DelayedPush:
    delayed, rejected = topic_push(row, topic)
    retries.retry(delayed, rejected, due)
    return delayed


def held_back(retries: Retries, row: int, topic: str) -> DelayedPush:
    delayed, _ = topic_push(row, topic, result=False)
    hold = retries.holds.find(delayed.exchange.context)
    assert hold is not None
    retries.hold_back(delayed, hold)
    return delayed


def test_a_push_to_a_limited_topic_waits_behind_the_rejected_one() -> None:
    retries = Retries(STEADY, Random(1))
    limited(retries, 1, "news", due=1060.0)
    second = held_back(retries, 2, "news")
    assert (second.attempts, second.result) == (0, None)
    limited(retries, 3, "sport", due=1030.0)
    held_back(retries, 4, "news")
    assert rows(retries.release(1030.0)[0]) == [3]
    assert retries.next_release(1030.0) == 1060.0
    assert rows(retries.release(1060.0)[0]) == [1, 2, 4]
    assert retries.holds.by_attribute == {}


def test_a_longer_wait_of_one_push_is_that_of_all_for_the_topic_in_their_order() -> None:
    retries = Retries(STEADY, Random(1))
    limited(retries, 1, "news", due=1060.0)
    held_back(retries, 2, "news")
    limited(retries, 3, "news", due=1090.0)  # it was in flight
    held_back(retries, 4, "news")
    assert retries.release(1060.0) == ([], [])
    assert retries.next_release(1060.0) == 1090.0
    assert rows(retries.release(1090.0)[0]) == [1, 2, 3, 4]


def test_a_longer_wait_costs_no_credit() -> None:
    retries = Retries(RetryPolicy(budget_share=0.0, budget_rate=1.0, jitter=0.0), Random(1))
    limited(retries, 1, "news", due=1060.0)
    limited(retries, 2, "news", due=1090.0)
    assert retries.release(1060.0) == ([], [])
    limited(retries, 3, "sport", due=1060.0)
    assert rows(retries.release(1060.0)[0]) == [3]


def test_a_topic_is_free_when_nothing_waits_for_it_whatever_became_of_that() -> None:
    retries = Retries(STEADY, Random(1))
    limited(retries, 1, "news", due=1060.0)
    held_back(retries, 2, "news")
    assert rows(retries.release(1000.0 + STEADY.max_age + 1)[1]) == [1, 2]
    assert retries.holds.by_attribute == {}
    limited(retries, 3, "news", due=9000.0)
    assert rows(retries.clear()) == [3]
    assert retries.holds.by_attribute == {}
