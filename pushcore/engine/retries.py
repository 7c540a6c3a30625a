"""The retries of a lane: the policy decides when, the heap keeps them until then, the budget limits them.

These are the pushes that were rejected and are sent again, and those for a topic or a device that has such a push
waiting for its limit (`holds`): they leave after it, in order.
"""

from __future__ import annotations

import math
from random import Random
from typing import Any, Final, Protocol

from ..http2.exchange import Exchange
from ..results import ACCEPTED, Result
from .holds import Hold, Holds
from .retry import DelayHeap, RetryBudget, RetryPolicy
from .rules import EngineClient

BATCH: Final = 256
"""Pushes that are released at a time."""


class RetryingLane(Protocol):
    """The interface of a lane for a delayed push."""

    client: EngineClient

    def result(self, exchange: Exchange, push: Any, /) -> Result | None: ...
    def on_rejected(self, exchange: Exchange, result: Result, delayed: DelayedPush | None = None) -> None: ...
    def on_retry_accepted(self, result: Result) -> None: ...


class DelayedPush:
    """A push that is sent later, while it waits and while it is sent."""

    __slots__ = ("attempts", "exchange", "first_sent", "hold", "lane", "number", "result")

    def __init__(
        self, lane: RetryingLane, exchange: Exchange, first_sent: float, result: Result | None
    ) -> None:
        self.lane = lane
        self.exchange = exchange
        self.first_sent = first_sent
        """When it was sent for the first time, or delayed before that."""
        self.attempts = 0 if result is None else 1
        """How often it was sent; what the transport repeats by itself counts as one."""
        self.result = result
        """What its last attempt brought; None before the first."""
        self.hold: Hold | None = None
        """The topic or device that it waits with."""
        self.number: int | None = None
        """Its place among those that are due at the same time."""
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
    """The pushes of one lane that are sent later.

    Args:
        policy: which rejected pushes are sent again, and when; None for none.
        rng: for the random part of a wait.
    """

    __slots__ = ("_budget", "_policy", "_rng", "delayed", "holds")

    def __init__(self, policy: RetryPolicy | None, rng: Random) -> None:
        settings = policy or RetryPolicy()
        self.delayed: DelayHeap[DelayedPush] = DelayHeap(settings.max_delayed)
        """What waits."""
        self.holds = Holds()
        """The topics and devices with which a part of it waits."""
        self._policy = policy
        self._budget = RetryBudget(settings.budget_share, settings.budget_rate)
        self._rng = rng

    def delay(self, result: Result, attempts: int, age: float) -> float | None:
        """Seconds until a rejected push is sent again; None when its result is reported as it is."""
        if self._policy is None:
            return None
        return self._policy.delay(result, attempts, self._rng, age)

    def retry(self, push: DelayedPush, result: Result, due: float) -> None:
        """Keep a rejected push until it is due; for the limit of a topic or a device, also all later pushes to it."""
        push.result = result
        push.hold = self.holds.join(push.exchange.context, result.row.scope, due)
        self._keep(push, due if push.hold is None else push.hold.until)

    def hold_back(self, push: DelayedPush, hold: Hold) -> None:
        """Keep a push that was not sent yet behind those that wait for the same topic or device."""
        hold.waiting += 1
        push.hold = hold
        self._keep(push, hold.until)

    def _keep(self, push: DelayedPush, due: float) -> None:
        push.number = self.delayed.add(due, push, push.number)

    def sent(self, first_attempts: int) -> None:
        """Pushes were sent for the first time: each adds a share of a retry to the budget."""
        self._budget.earn(first_attempts)

    def accepted(self) -> None:
        """A push that had waited was accepted: it pays for another."""
        self._budget.repaid(1)

    def release(self, now: float) -> tuple[list[DelayedPush], list[DelayedPush]]:
        """Take due retries that the budget permits: the pushes that may be sent, and those that are too old."""
        if self.delayed.next_due > now:
            return [], []
        granted = self._budget.take(min(BATCH, len(self.delayed)), now)
        young: list[DelayedPush] = []
        too_old: list[DelayedPush] = []
        for push in self.delayed.due(now, granted):
            hold = push.hold
            if self._policy is not None and self._policy.too_old(now - push.first_sent):
                too_old.append(push)
            elif hold is not None and hold.until > now:  # another push has met the limit meanwhile
                self._keep(push, hold.until)
                continue
            else:
                young.append(push)
            if hold is not None:
                push.hold = None
                self.holds.leave(hold)
        self._budget.give_back(granted - len(young))
        return young, too_old

    def next_release(self, now: float) -> float:
        """When `release` may have more; infinity when nothing waits."""
        if not self.delayed:
            return math.inf
        return max(self.delayed.next_due, now + self._budget.wait(now))

    def clear(self) -> list[DelayedPush]:
        """Everything that waits, in order: it is no longer kept."""
        self.holds = Holds()
        return self.delayed.clear()
