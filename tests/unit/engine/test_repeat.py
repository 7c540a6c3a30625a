"""A push that is sent again: whom it reports to, and what it counts."""

from __future__ import annotations

from typing import Any

import pytest

from pushcore.engine.repeat import Repeat
from pushcore.engine.rules import EngineClient
from pushcore.http2.exchange import Exchange, request
from pushcore.results import Result, Verdict
from tests.support.scripted import TEMPLATE, Push, ScriptedClient


class Lane:
    """Writes down what a repeat tells it."""

    def __init__(self) -> None:
        self.client: EngineClient = ScriptedClient()
        self.repaid: list[Result] = []
        self.judged: list[tuple[Exchange, Result, Repeat | None]] = []

    def result(self, exchange: Exchange, push: Any, /) -> Result | None:
        if exchange.status == 401:
            return None  # the client has sent it once more
        verdict = Verdict.ACCEPTED if exchange.status == 201 else Verdict.UNAVAILABLE
        return Result(push, verdict, exchange.status)

    def judge(self, exchange: Exchange, result: Result, repeat: Repeat | None = None) -> None:
        self.judged.append((exchange, result, repeat))

    def take_repaid(self, result: Result) -> None:
        self.repaid.append(result)


def repeated() -> tuple[Lane, Exchange, Repeat]:
    lane, push = Lane(), Push(7)
    exchange = request(TEMPLATE, b"/", b"{}", (), lambda _: pytest.fail("the lane's sink is over"), push)
    return lane, exchange, Repeat(lane, exchange, 12.5)


def end(exchange: Exchange, status: int) -> None:
    exchange.status = status
    exchange.sink([exchange])


def test_it_takes_the_place_of_the_sink_and_knows_when_the_push_was_first_sent() -> None:
    lane, exchange, repeat = repeated()
    assert (repeat.since, repeat.tries, repeat.exchange) == (12.5, 1, exchange)
    end(exchange, 200)
    assert [result.push.row for result in lane.repaid] == [7]
    assert lane.judged == []


def test_a_push_that_the_client_reads_as_accepted_is_repaid_too() -> None:
    lane, exchange, repeat = repeated()
    end(exchange, 201)
    assert [result.verdict for result in lane.repaid] == [Verdict.ACCEPTED]
    assert (lane.judged, repeat.tries) == ([], 1)


def test_a_push_that_failed_again_is_judged_with_one_try_more() -> None:
    lane, exchange, repeat = repeated()
    for tries in (2, 3):
        end(exchange, 503)
        assert repeat.tries == tries
    assert [(each[0], each[1].verdict, each[2]) for each in lane.judged] == [
        (exchange, Verdict.UNAVAILABLE, repeat)
    ] * 2
    assert lane.repaid == []


def test_what_the_client_has_sent_once_more_counts_as_no_try() -> None:
    lane, exchange, repeat = repeated()
    end(exchange, 401)
    assert (lane.repaid, lane.judged, repeat.tries) == ([], [], 1)
