"""One run's use of one client: what is sent at once, what waits, and the result of each push.

    source ─▶ build ─▶ pending ──Gate──▶ pool.waiting ─▶ … ─▶ settle ─▶ Record ─▶ results
                          ▲                                     │
                          └──────────── Retries ◀── on_rejected ┘

`Gate` says how many may be sent now, `Retries` what is sent later and when, and `Record` takes the results. Most runs
have neither a rate nor a narrowed window: then a push goes straight into `pool.waiting`, and an accepted one costs
`settle` and nothing else. All that is rare (rejections, retries, a closed gate) is on the slow side.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from itertools import repeat
from typing import Any, Final, Protocol

from ..errors import ClosedError, ConnectError
from ..http2.exchange import Exchange, Sink
from ..latency import Histogram
from ..metrics import Metrics
from ..requests import END, build_one
from ..results import ACCEPTED, Result, Verdict
from . import environments
from .breaker import Trip
from .gate import UNPROVEN, WARN_EVERY, Gate
from .journaling import CampaignJournal
from .record import Record
from .retries import DelayedPush, Retries
from .rules import EngineClient, Rules

log = logging.getLogger("pushcore.engine")

BATCH: Final = 256
"""Pushes that are taken from `pending` at a time."""
MOST_PENDING: Final = 1000
"""Pushes that a rate or a narrow window may keep waiting before the source is read no further, for another provider
either: a journal has them as begun, and after a kill they are in doubt."""


class Owner(Protocol):
    """The run that a lane belongs to."""

    outstanding: int
    stopping: bool

    def stop(self, error: BaseException | None = None) -> None: ...
    def stopped_by(self, lane: Lane, trip: Trip) -> None: ...
    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...
    def flow(self, lane: Lane) -> None: ...


class Lane:
    """See the module. All times are those of the event loop, `now`."""

    def __init__(
        self,
        run: Owner,
        client: EngineClient,
        rules: Rules,
        ready: list[Result],
        clock: Callable[[], float],
        journal: CampaignJournal | None,
        *,
        second: bool = False,
    ) -> None:
        self.client = client
        self.second = second
        """Whether another lane of the same provider has another environment, and comes before it."""
        self.fallback: Lane | None = None
        """The lane of the next environment, for pushes that name none and whose token this one does not know."""
        self.refuses = False
        """Whether the server has rejected its key or certificate for that environment."""
        self.name = client.pool.name
        self.gate = Gate(client, rules, second=second)
        self.retries = Retries(rules.retry, rules.rng)
        self.record = Record(self.name, ready, rules, journal, run.stop)
        self.accepted = 0
        """First attempts that were accepted."""
        self.pending: deque[Exchange] = deque()
        """Requests that the gate keeps waiting."""
        self.built: list[Exchange] = []
        """Requests of this burst, until `begin`."""
        self.not_built: list[Result] = []
        """Results of this burst's pushes that cannot be sent, until `report_not_built`."""
        self._run = run
        self._clock = clock
        self._events = rules.events
        self._timeout = client.timeout
        self._longest_wait = rules.pending_timeout
        self._pool = client.pool
        self._waiting = client.pool.waiting
        self._warn_topic_at = -math.inf
        self._start = rules.start
        # Before the start a whole window is read, so that all its requests are made by then.
        self._most_pending: float = math.inf if clock() < rules.start else MOST_PENDING
        self._counted = 0  # accepted, as gate and retries know it
        self._metrics = rules.metrics
        self._durations: Histogram | None = rules.metrics.duration(self.name) if rules.metrics else None
        # Bound once, not for each push.
        self.result = client.result
        self._requests = client.requests
        self._results = self.record.results
        self._sink: Sink = self.settle if self._durations is None else self._settle_timed

    # --- results --------------------------------------------------------------------------------------------------

    def settle(self, finished: list[Exchange]) -> None:
        """The sink of pushes that are sent for the first time."""
        not_accepted = self.client.accept(finished, self._results)
        self.accepted += len(finished) - len(not_accepted)
        for exchange in not_accepted:
            result = self.result(exchange, exchange.context)
            if result is None:
                continue  # the client has retried it
            if result.verdict is ACCEPTED:
                self.accepted += 1
                self.record.emit(result)
            else:
                self.on_rejected(exchange, result)

    def _settle_timed(self, finished: list[Exchange]) -> None:
        assert self._durations is not None
        start = self._clock() + self._timeout
        self._durations.observe_all([start - exchange.deadline for exchange in finished])
        self.settle(finished)

    def on_retry_accepted(self, result: Result) -> None:
        """A retried push was accepted."""
        self.retries.accepted()
        self.gate.accepted(1)
        if self.second and result.push.environment is None:
            result = environments.known_here(result)
        self.record.emit(result)

    def on_rejected(self, exchange: Exchange, result: Result, delayed: DelayedPush | None = None) -> None:
        """A push was not accepted: see whether all will fail so, and whether this one is sent again.

        Args:
            delayed: the push, where this was a retry.
        """
        now = self._clock()
        self._count_accepted()
        if self.second and delayed is not None and environments.is_no_judgement(result, delayed):
            self.record.emit(environments.outcome(result, delayed, self))
            return
        self._stop_for(self.gate.rejected(result, now))
        if self.fallback is not None and not self._ended and environments.may_know(self.fallback, result):
            self.fallback.take_over(exchange, result, now)
            return
        if delayed is None:
            self.retries.sent(1)
            attempts, first_sent = 1, exchange.deadline - self._timeout
        else:
            attempts, first_sent = delayed.attempts, delayed.first_sent
        delay = self.retries.delay(result, attempts, now - first_sent)
        if delay is None:
            self.record.emit(result)
            return
        # In the journal it has no outcome: if not before, it is sent when the campaign is resumed.
        self.record.put_back(exchange.context, attempts)
        if self._ended:
            self.record.deliver([result])
            return
        if delayed is None:
            delayed = DelayedPush(self, exchange, first_sent, result)
        self.retries.retry(delayed, result, now + delay)
        self._warn_of_topic(delayed, now)
        self._run.outstanding -= 1
        self._events.retried(self.name, result.reason, 1, delay)

    def take_over(self, exchange: Exchange, result: Result, now: float) -> None:
        """Send a push whose token the lane before does not know: `result` is what that has brought."""
        built = build_one(self._requests, exchange.context, self._sink, now + self._timeout)
        if not isinstance(built, Exchange):  # its key does not allow the topic
            self.record.emit(result)
            self._run.flow(self)
            return
        built.attempts = exchange.attempts + 1
        DelayedPush(self, built, now, result)
        self._dispatch([built], now)
        self._run.flow(self)

    def _warn_of_topic(self, delayed: DelayedPush, now: float) -> None:
        hold = delayed.hold
        if hold is not None and hold.waiting == 1 and hold.scope == "topic" and now >= self._warn_topic_at:
            self._warn_topic_at = now + WARN_EVERY
            wait = hold.until - now
            log.warning("%s limits a topic (429): pushes to %r wait for %.0f s", self.name, hold.value, wait)

    def report_not_built(self) -> None:
        """Report the result of each push of this burst that did not become a request."""
        if self.not_built:
            results, self.not_built = self.not_built, []
            for result in results:
                self._report_not_built(result)

    def _report_not_built(self, result: Result) -> None:
        if self.gate.stopped is not None and result.verdict is Verdict.UNSENT:
            self.record.put_back(result.push, 0)
            self.record.deliver([result])
            return
        self._count_accepted()
        self._stop_for(self.gate.not_sent(result))
        self.record.emit(result)

    def _count_accepted(self) -> None:
        """Report to gate and retries the pushes accepted since the last call: `settle` only counts them."""
        accepted, self._counted = self.accepted - self._counted, self.accepted
        if accepted:
            self.retries.sent(accepted)
            self.gate.accepted(accepted)

    @property
    def stopped(self) -> bool:
        """Whether the breaker has stopped this lane."""
        return self.gate.stopped is not None

    @property
    def _ended(self) -> bool:
        """Whether this lane sends no more."""
        return self._run.stopping or self.gate.stopped is not None

    def _stop_for(self, trip: Trip | None) -> None:
        if trip is not None and not self._ended:
            self._run.stopped_by(self, self.gate.stop(trip))

    # --- requests -------------------------------------------------------------------------------------------------

    def build(self, pushes: Iterable[Any], kind: type[Any], now: float) -> Any:
        """Make requests of pushes, up to the first that is not of this class, which is returned, or `END`."""
        if self.gate.stopped is None:
            deadline = now + self._timeout
            return self._requests.build(pushes, kind, self._sink, deadline, self.built, self.not_built)
        detail = f"not sent, because every push to {self.name} would fail: {self.gate.stopped}"
        for push in pushes:
            if type(push) is not kind:
                return push
            self.not_built.append(Result(push, Verdict.UNSENT, detail=detail))
        return END

    def begin(self, now: float) -> int:
        """Queue the requests of this burst. Returns how many pushes were read for it."""
        count = len(self.built) + len(self.not_built)
        if self.built:
            if self.retries.holds.by_attribute:
                self._hold_back(now)
            self._dispatch(self.built, now)
            self.built.clear()
        return count

    def _hold_back(self, now: float) -> None:
        """Delay those of this burst whose topic or device is rate-limited."""
        held: dict[Exchange, None] = {}
        for attribute, targets in self.retries.holds.by_attribute.items():
            held |= {
                exchange: None
                for exchange in self.built
                if getattr(exchange.context, attribute, None) in targets
            }
        if held:
            self.built[:] = [exchange for exchange in self.built if exchange not in held]
            for exchange in held:
                self._is_held_back(exchange, now)

    def _is_held_back(self, exchange: Exchange, now: float) -> bool:
        """Whether a push that was never sent has to wait with its topic or device; then it does."""
        hold = self.retries.holds.find(exchange.context)
        if hold is None:
            return False
        self.record.put_back(exchange.context, 0)
        self.retries.hold_back(DelayedPush(self, exchange, now, None), hold)
        self._run.outstanding -= 1
        return True

    def _dispatch(self, requests: list[Exchange], now: float) -> None:
        """Queue requests in the pool as far as the gate allows; the rest stay pending."""
        self._count_accepted()
        permitted = 0
        if not self.pending and self.gate.capacity(now) == math.inf:
            permitted = self.gate.permits(len(requests), now)
        self._waiting.extend(requests[:permitted])
        self.pending.extend(requests[permitted:])

    def flow(self, now: float) -> float:
        """Send what may be sent: what is pending, in order, with the retries that are due at its end.

        Returns:
            When to call again, in seconds of the clock; infinity where time alone changes nothing.
        """
        self._count_accepted()
        self._stop_for(self.gate.shared_trip)
        if self._pool.closed:
            self._run.stop(ClosedError(f"the {self.name} client was closed"))
        next_release = math.inf
        if self.retries.delayed:
            if not self.gate.paused:
                self._release_retries(now)
            next_release = self.retries.next_release(now) if not self.gate.paused else self.gate.opens_at(now)
        if self._most_pending != MOST_PENDING and now >= self._start:
            self._begin_on_time(now)
        if self.pending:
            self._release_pending(now)
        if self.pending and self._longest_wait is not None:
            self._end_pending(now, self._longest_wait)
        self._pool.pump()
        if self._metrics is not None:
            self._measure(self._metrics, now)
        if not self.pending:
            return next_release
        if self._longest_wait is not None:
            next_release = min(next_release, self._waits_since(self.pending[0]) + self._longest_wait)
        return min(next_release, self.gate.opens_at(now))

    def _begin_on_time(self, now: float) -> None:
        """At the start time: send as many as the breaker permits before the first responses, which would otherwise trigger the next ones."""
        self._most_pending = MOST_PENDING
        for _ in range(UNPROVEN // BATCH):
            self._release_pending(now)

    def _measure(self, metrics: Metrics, now: float) -> None:
        metrics.queue_depth[self.name, "retry"] = len(self.retries.delayed)
        oldest = self._waiting[0] if self._waiting else self.pending[0] if self.pending else None
        lag = 0.0 if oldest is None else now - oldest.deadline + self._timeout
        metrics.time_lag[(self.name,)] = max(lag, 0.0)
        rate = self.gate.allowed_rate(now)
        if rate < math.inf:
            metrics.allowed_rate[(self.name,)] = rate
        else:
            metrics.allowed_rate.pop((self.name,), None)

    def _release_pending(self, now: float) -> None:
        permitted = self.gate.permits(int(min(len(self.pending), self.gate.capacity(now), BATCH)), now)
        deadline = now + self._timeout  # the transport did not cause the time that it waited here
        pending, waiting, holds = self.pending, self._waiting, self.retries.holds.by_attribute
        if not holds:
            released = list(map(deque.popleft, repeat(pending, permitted)))
            for exchange in released:
                exchange.deadline = deadline
            waiting.extend(released)
            return
        while permitted and pending:
            exchange = pending.popleft()
            if exchange.sink is self._sink and self._is_held_back(exchange, now):
                continue
            exchange.deadline = deadline
            waiting.append(exchange)
            permitted -= 1
        self.gate.give_back(permitted, now)

    def _waits_since(self, exchange: Exchange) -> float:
        return exchange.deadline - self._timeout

    def _end_pending(self, now: float, longest: float) -> None:
        """End pushes that have waited too long for the gate; a retry with the result that it has."""
        while self.pending and now - self._waits_since(self.pending[0]) >= longest:
            exchange = self.pending.popleft()
            delayed = getattr(exchange.sink, "__self__", None)
            result = delayed.result if isinstance(delayed, DelayedPush) else None
            self.record.emit(
                result
                or self._unsent(exchange, f"the rate limit did not permit this push within {longest:g} s")
            )

    def _release_retries(self, now: float) -> None:
        retries, too_old = self.retries.release(now)
        self._run.outstanding += len(retries) + len(too_old)
        for push in too_old:
            self.record.emit(
                push.result
                or self._unsent(push.exchange, "the rate limit of its topic or device lasted too long")
            )
        if not self.record.journaled:
            self._send_again(retries)
        elif retries:
            for push in retries:
                self.record.take_back(push.exchange.context, push.attempts)
            self._run.spawn(self._send_again_when_committed(retries))

    def _send_again(self, retries: list[DelayedPush]) -> None:
        now = self._clock()
        for push in retries:
            if push.attempts:
                push.exchange.restart()
            push.exchange.deadline = now + self._timeout
        self._dispatch([push.exchange for push in retries], now)

    async def _send_again_when_committed(self, retries: list[DelayedPush]) -> None:
        """The journal must know that they may be delivered before they can be."""
        try:
            await self.record.committed()
        except Exception as error:  # whatever it is, each push must get its result
            self._run.stop(error)
        if self._ended:
            for push in retries:
                self.record.put_back(push.exchange.context, push.attempts)
            self.record.deliver([push.result or self._unsent(push.exchange) for push in retries])
        else:
            self._send_again(retries)
            self._pool.pump()

    # --- the end --------------------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """Retry nothing any more, begin nothing: what waits gets the result that it has, or UNSENT."""
        self.record.flush()
        delayed = self.retries.clear()  # in the journal they stay as certainly not delivered
        self._run.outstanding += len(delayed)
        results = [push.result or self._unsent(push.exchange) for push in delayed]
        for exchange in self.pending:
            results.append(self._unsent(exchange))
            self.record.put_back(exchange.context, exchange.attempts)
        self.pending.clear()
        self.record.deliver(results)

    def _unsent(self, exchange: Exchange, why: str = "the run was ended before this push was sent") -> Result:
        """The result of a push that waited here and will not be sent."""
        exchange.error = ConnectError(why)
        exchange.attempts -= 1
        result = self.result(exchange, exchange.context)
        return result or Result(exchange.context, Verdict.UNSENT, detail=exchange.error)

    def conclude(self) -> Trip | None:
        """At a run's end: why everything failed, where everything did."""
        self._count_accepted()
        return self.gate.conclude()

    @property
    def full(self) -> bool:
        """Whether the source should be read no further for this lane's sake."""
        return (
            len(self._waiting) >= BATCH
            or self.retries.delayed.full
            or len(self.pending) >= self._most_pending
        )
