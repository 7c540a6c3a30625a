"""What a lane sends again: the policy says when, the heap keeps it until then, the budget says how many leave."""

from __future__ import annotations

import math
from random import Random
from typing import Any, Final, Protocol

from ..http2.exchange import Exchange
from ..results import ACCEPTED, Result
from .retry import DelayHeap, RetryBudget, RetryPolicy
from .rules import EngineClient

BATCH: Final = 256
"""Retries that are released at a time."""


class RetryingLane(Protocol):
    """What a delayed push needs of the lane that sends it."""

    client: EngineClient

    def result(self, exchange: Exchange, push: Any, /) -> Result | None: ...
    def on_rejected(self, exchange: Exchange, result: Result, delayed: DelayedPush | None = None) -> None: ...
    def on_retry_accepted(self, result: Result) -> None: ...


class DelayedPush:
    """A push that was rejected, while it waits for its retry and while it is sent again."""

    __slots__ = ("attempts", "exchange", "first_sent", "lane", "result")

    def __init__(self, lane: RetryingLane, exchange: Exchange, first_sent: float, result: Result) -> None:
        self.lane = lane
        self.exchange = exchange
        self.first_sent = first_sent
        self.attempts = 1
        """How often it was sent; what the transport repeats by itself counts as one."""
        self.result = result
        """What its last attempt brought."""
        exchange.sink = self.settle

    def settle(self, finished: list[Exchange]) -> None:
        """The sink from now on, of this exchange alone."""
        lane = self.lane
        accepted: list[Result] = []
        not_accepted = lane.client.accept(finished, accepted)
        for result in accepted:
            lane.on_retry_accepted(result)
        for exchange in not_accepted:
            outcome = lane.result(exchange, exchange.context)
            if outcome is None:
                continue  # the client has sent it once more
            if outcome.verdict is ACCEPTED:
                lane.on_retry_accepted(outcome)
            else:
                self.attempts += 1
                lane.on_rejected(exchange, outcome, self)


class Retries:
    """The rejected pushes of one lane that are sent again.

    Args:
        policy: which are, and when; None for none.
        rng: for the random part of a wait.
    """

    __slots__ = ("_budget", "_policy", "_rng", "delayed")

    def __init__(self, policy: RetryPolicy | None, rng: Random) -> None:
        settings = policy or RetryPolicy()
        self.delayed: DelayHeap[DelayedPush] = DelayHeap(settings.max_delayed)
        """What waits."""
        self._policy = policy
        self._budget = RetryBudget(settings.budget_share, settings.budget_rate)
        self._rng = rng

    def delay(self, result: Result, attempts: int, age: float) -> float | None:
        """Seconds until a rejected push is sent again; None when its result is reported as it is."""
        if self._policy is None:
            return None
        return self._policy.delay(result, attempts, self._rng, age)

    def sent(self, first_attempts: int) -> None:
        """So many pushes have been sent for the first time: each pays for a part of a retry."""
        self._budget.earn(first_attempts)

    def accepted(self) -> None:
        """A retry was accepted: it pays for another."""
        self._budget.repaid(1)

    def release(self, now: float) -> tuple[list[DelayedPush], list[DelayedPush]]:
        """What is due and paid for: the pushes that may be sent again, and those that have become too old for that."""
        if self.delayed.next_due > now:
            return [], []
        granted = self._budget.take(min(BATCH, len(self.delayed)), now)
        due = self.delayed.due(now, granted)
        young: list[DelayedPush] = []
        too_old: list[DelayedPush] = []
        for push in due:
            old = self._policy is not None and self._policy.too_old(now - push.first_sent)
            (too_old if old else young).append(push)
        self._budget.give_back(granted - len(young))
        return young, too_old

    def next_release(self, now: float) -> float:
        """When `release` may have more; infinity when nothing waits."""
        if not self.delayed:
            return math.inf
        return max(self.delayed.next_due, now + self._budget.wait(now))
