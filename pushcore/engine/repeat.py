"""A push on its way to its next try."""

from __future__ import annotations

from typing import Any, Protocol

from ..http2.exchange import Exchange
from ..results import ACCEPTED, Result
from .rules import EngineClient


class SendingLane(Protocol):
    """What a repeat needs of the lane that sends it."""

    client: EngineClient

    def result(self, exchange: Exchange, push: Any, /) -> Result | None: ...
    def judge(self, exchange: Exchange, result: Result, repeat: Repeat | None = None) -> None: ...
    def take_repaid(self, result: Result) -> None: ...


class Repeat:
    """A push that did not get through, while it waits and while it is sent again."""

    __slots__ = ("exchange", "lane", "result", "since", "tries")

    def __init__(self, lane: SendingLane, exchange: Exchange, since: float) -> None:
        self.lane = lane
        self.exchange = exchange
        self.since = since
        self.tries = 1
        self.result: Result
        exchange.sink = self.settle

    def settle(self, finished: list[Exchange]) -> None:
        """The sink from now on, of this exchange alone."""
        lane = self.lane
        accepted: list[Result] = []
        others = lane.client.accept(finished, accepted)
        for result in accepted:
            lane.take_repaid(result)
        for exchange in others:
            found = lane.result(exchange, exchange.context)
            if found is None:
                continue
            if found.verdict is ACCEPTED:
                lane.take_repaid(found)
            else:
                self.tries += 1
                lane.judge(exchange, found, self)
