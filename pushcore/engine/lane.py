"""One run's use of one client: where its results come back, and what must wait before it goes out.

    source ─▶ build ─▶ pending ──rate, window──▶ pool.waiting ─▶ … ─▶ settle ─▶ results
                          ▲                                              │
                          └── heap of repeats ◀── retry policy ──────────┘

Most runs have neither a rate nor a narrowed window: then a push goes straight into `pool.waiting`, and an accepted one
costs `settle` and nothing else. All that is rare (refusals, repeats, closed gates) is on the slow side.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, Protocol

from ..errors import ConnectError, JournalError
from ..http2.exchange import Exchange, Sink
from ..latency import Histogram
from ..metrics import Metrics
from ..requests import END
from ..results import ACCEPTED, Result, Verdict
from .breaker import MINIMUM, Breaker, Trip
from .journaling import CampaignJournal
from .rate import AdaptiveWindow
from .repeat import Repeat
from .retry import DelayHeap, RetryBudget, RetryPolicy
from .rules import EngineClient, Rules

log = logging.getLogger("pushcore.engine")

BATCH: Final = 256
"""Pushes that leave `pending` at a time, and repeats that leave the heap."""
CAUTIOUS: Final = 1000
"""Pushes that all processes may have under way until their breakers have enough answers to judge by."""
MOST_PENDING: Final = 1000
"""Pushes that a rate or a narrow window may hold back before the source is read no further, for another provider either:
a journal has them as begun, and after a kill they are in doubt."""
SAY_EVERY: Final = 10.0
"""Seconds between two times that listeners are told how slowly it goes."""
_PUSHED_BACK: Final = frozenset({Verdict.THROTTLED, Verdict.UNAVAILABLE, Verdict.UNKNOWN})


class Owner(Protocol):
    """The run that a lane belongs to."""

    outstanding: int
    stopping: bool

    def stop(self, error: BaseException | None = None) -> None: ...
    def stopped_by(self, lane: Lane, trip: Trip) -> None: ...
    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...


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
    ) -> None:
        self.client = client
        self.made: list[Exchange] = []
        """Requests of this burst, until `begin`."""
        self.refused: list[Result] = []
        """Results of this burst's pushes that cannot be sent, until `tell_refused`."""
        self.pool = client.pool
        self.waiting = client.pool.waiting
        self._requests = client.requests
        self.result = client.result
        self.timeout = client.timeout
        self.name = client.pool.name
        self.accepted = 0
        self.pending: deque[Exchange] = deque()
        """Requests that a rate or a narrow window holds back."""
        self.events = rules.events
        self._run = run
        self._ready = ready
        self._clock = clock
        self._journal = journal
        self._listening = rules.listening
        self._rng = rules.rng
        self._metrics = rules.metrics
        self._heard: list[Result] = []  # results that journal and listeners are still to be told of
        self._durations: Histogram | None = rules.metrics.duration(self.name) if rules.metrics else None
        # Where results are put: journal and listeners take them by the batch, on their way to the caller.
        self._results = self._heard if journal is not None or rules.listening else ready
        self.give = self._results.append
        # Bound once, not for each push.
        self.sink: Sink = self.settle if self._durations is None else self._settle_timed
        self.retry = rules.retry
        retry = rules.retry or RetryPolicy()
        self.heap: DelayHeap[Repeat] = DelayHeap(retry.max_delayed)
        self.budget = RetryBudget(retry.budget_share, retry.budget_rate)
        self.limiter = rules.limiter(client)
        self._shared = shared = rules.shared_by(self.name)
        peers = shared.peers() if shared is not None and rules.breaker else None
        self._breaker = Breaker(peers=peers) if rules.breaker else None
        self._cautious = CAUTIOUS if peers is None else max(CAUTIOUS // peers.parts, 1)
        """How many may be under way before there are answers enough."""
        self._trusted = not rules.breaker
        """Whether there have been."""
        self.stopped: Trip | None = None
        """Why nothing more is sent here, though other lanes may go on."""
        self._slow_said = self._closed_said = -math.inf  # when that is to be said again
        self._counted = 0  # accepted, as breaker and window know it
        # A quota is obeyed by its rate; where there is none, the window follows what the provider can bear.
        self._window = AdaptiveWindow(client.streams) if not client.quota else None

    # --- results --------------------------------------------------------------------------------------------------

    def settle(self, finished: list[Exchange]) -> None:
        """The sink of pushes that are sent for the first time."""
        others = self.client.accept(finished, self._results)
        self.accepted += len(finished) - len(others)
        for exchange in others:
            result = self.result(exchange, exchange.context)
            if result is None:
                continue  # the client has sent it once more
            if result.verdict is ACCEPTED:
                self.accepted += 1
                self.give(result)
            else:
                self.judge(exchange, result)

    def take_repaid(self, result: Result) -> None:
        """A push that was sent again has been accepted."""
        self.budget.repaid(1)
        if self._breaker is not None:
            self._breaker.accepted(1)
        if self._window is not None:
            self._window.answered(1)
        self.give(result)

    def _settle_timed(self, finished: list[Exchange]) -> None:
        assert self._durations is not None
        start = self._clock() + self.timeout
        self._durations.observe_all([start - exchange.deadline for exchange in finished])
        self.settle(finished)

    def judge(self, exchange: Exchange, result: Result, repeat: Repeat | None = None) -> None:
        """A push was not accepted: see whether all will fail so, and whether this one is sent again."""
        now = self._clock()
        self._count()
        if self._breaker is not None:
            trip = self._breaker.take(result)
            if trip is not None:
                self._trip(trip)
        if self.client.over_quota(result):
            self._slow_down(result, now)
        if self._window is not None and result.verdict in _PUSHED_BACK:
            self._window.pushed_back()
        if self.retry is not None:
            if repeat is None:
                self.budget.earn(1)
                since, tries = exchange.deadline - self.timeout, 1
            else:
                since, tries = repeat.since, repeat.tries
            delay = self.retry.delay(result, tries, self._rng, now - since)
            if delay is not None and (self._run.stopping or self.stopped is not None):
                # It would be sent again, and is when the journal is opened again.
                if self._journal is not None:
                    self._journal.put_back(exchange.context, tries)
                self._let_go([result])
                return
            if delay is not None:
                repeat = repeat or Repeat(self, exchange, since)
                repeat.result = result
                self.heap.add(now + delay, repeat)
                if self._journal is not None:
                    self._journal.put_back(exchange.context, tries)
                self._run.outstanding -= 1
                self.events.retried(self.name, result.reason, 1, delay)
                return
        self.give(result)

    def _slow_down(self, result: Result, now: float) -> None:
        """The provider has told the whole project to, which has a limiter."""
        assert self.limiter is not None
        self.limiter.refused(result.retry_after, now)
        closed = self.limiter.closed(now)
        if closed > 0:
            self.events.rate_limited(self.name, closed)
            if now >= self._closed_said:
                self._closed_said = now + max(closed, SAY_EVERY)
                log.warning("%s wants nothing for %.0f s (429)", self.name, closed)
        elif now >= self._slow_said:
            self._slow_said = now + SAY_EVERY
            pace = self.limiter.pace(now)
            log.warning("%s refuses some pushes for their rate (429): %.0f a second now", self.name, pace)
            self.events.slowed(self.name, pace)

    def tell_refused(self) -> None:
        """Say of each push of this burst that was not made a request what became of it."""
        if self.refused:
            refused, self.refused = self.refused, []
            for result in refused:
                self._found(result)

    def _found(self, result: Result) -> None:
        """The result of a push that was not made a request."""
        if self.stopped is not None and result.verdict is Verdict.UNSENT:
            if self._journal is not None:
                self._journal.put_back(result.push, 0)
            self._let_go([result])
            return
        if result.verdict is Verdict.MISCONFIGURED and self._breaker is not None:
            self._count()
            trip = self._breaker.take(result)
            if trip is not None:
                self._trip(trip)
        self.give(result)

    def _trip(self, trip: Trip) -> None:
        if self.stopped is None and not self._run.stopping:
            self.stopped = trip if self._shared is None else self._shared.stop(trip)
            log.error("every push to %s would fail: %s", self.name, self.stopped)
            self._run.stopped_by(self, self.stopped)

    def hand_over(self) -> None:
        """Write down the batch's results, tell listeners of them, and let the caller have them."""
        if self._heard:
            batch = self._heard.copy()
            self._heard.clear()
            if self._journal is not None:
                try:
                    self._journal.record_all(batch)
                except JournalError as error:
                    self._run.stop(error)
            self._let_go(batch)

    def _let_go(self, batch: list[Result]) -> None:
        if self._listening:
            self.events.results(self.name, batch)
        self._ready.extend(batch)

    def _count(self) -> None:
        accepted, self._counted = self.accepted - self._counted, self.accepted
        if accepted:
            self.budget.earn(accepted)
            if self._breaker is not None:
                self._breaker.accepted(accepted)
            if self._window is not None:
                self._window.answered(accepted)

    # --- what goes out --------------------------------------------------------------------------------------------

    def make(self, pushes: Iterable[Any], kind: type[Any], now: float) -> Any:
        """Read pushes up to the first that is not of this class, which is returned, or `END`, and make requests of them."""
        if self.stopped is None:
            deadline = now + self.timeout
            return self._requests.build(pushes, kind, self.sink, deadline, self.made, self.refused)
        detail = f"not sent, for every push to {self.name} would fail: {self.stopped}"
        for push in pushes:
            if type(push) is not kind:
                return push
            self.refused.append(Result(push, Verdict.UNSENT, detail=detail))
        return END

    def begin(self, now: float) -> int:
        """Let what was made in this burst go its way. Returns how many pushes were read for it."""
        taken = len(self.made) + len(self.refused)
        if self.made:
            self._enter(self.made, now)
            self.made.clear()
        return taken

    def _enter(self, requests: list[Exchange], now: float) -> None:
        """Hand over those that may leave at once, and keep the others until they may."""
        free = 0
        if not self.pending and self._room() == math.inf:
            free = len(requests)
            if self.limiter is not None:
                free = self.limiter.permits(free, now)
        self.waiting.extend(requests[:free])
        self.pending.extend(requests[free:])

    def flow(self, now: float) -> float:
        """Hand over what may leave, repeats first. Returns when it wants to be called again, infinity for not by time."""
        if self._shared is not None:
            self._count()  # others judge by it, too
            if self._shared.trip is not None:
                self._trip(self._shared.trip)
        next_repeat = self._release_repeats(now) if self.heap else math.inf
        if self.pending:
            self._release_pending(now)
        self.pool.pump()
        if self._metrics is not None:
            self._measure(self._metrics, now)
        if self.pending and self.limiter is not None:
            # A hundredth of a second at least: what a slow rate brings together leaves together.
            return min(next_repeat, now + max(self.limiter.wait(now), 0.01))
        return next_repeat

    def _measure(self, metrics: Metrics, now: float) -> None:
        metrics.queue_depth[self.name, "retry"] = len(self.heap)
        oldest = self.waiting[0] if self.waiting else self.pending[0] if self.pending else None
        lag = 0.0 if oldest is None else now - oldest.deadline + self.timeout
        metrics.time_lag[(self.name,)] = max(lag, 0.0)
        pace = math.inf if self.limiter is None else self.limiter.pace(now)
        if pace < math.inf:
            metrics.allowed_rate[(self.name,)] = pace
        else:
            metrics.allowed_rate.pop((self.name,), None)

    def _release_repeats(self, now: float) -> float:
        heap = self.heap
        if heap.next_due <= now:
            granted = self.budget.take(min(BATCH, len(heap)), now)
            due = heap.due(now, granted)
            self._run.outstanding += len(due)
            young = []
            for repeat in due:
                if self.retry is not None and self.retry.too_old(now - repeat.since):
                    self.give(repeat.result)
                else:
                    young.append(repeat)
            self.budget.give_back(granted - len(young))
            if self._journal is None:
                self._send_again(young)
            elif young:
                for repeat in young:
                    self._journal.take_back(repeat.exchange.context, repeat.tries)
                self._run.spawn(self._send_again_when_committed(young))
        if not heap:
            return math.inf
        return max(heap.next_due, now + self.budget.wait(now))

    def _send_again(self, repeats: list[Repeat]) -> None:
        now = self._clock()
        for repeat in repeats:
            repeat.exchange.restart()
            repeat.exchange.deadline = now + self.timeout
        self._enter([repeat.exchange for repeat in repeats], now)

    async def _send_again_when_committed(self, repeats: list[Repeat]) -> None:
        """The journal must know that they may be delivered before they can be."""
        assert self._journal is not None
        try:
            await self._journal.committed()
        except Exception as error:  # whatever it is, each of them must come to its end
            self._run.stop(error)
        if self._run.stopping or self.stopped is not None:
            for repeat in repeats:
                self._journal.put_back(repeat.exchange.context, repeat.tries)
            self._let_go([repeat.result for repeat in repeats])
        else:
            self._send_again(repeats)
            self.pool.pump()

    def _release_pending(self, now: float) -> None:
        pending, waiting = self.pending, self.waiting
        wanted = min(len(pending), self._room(), BATCH)
        if self.limiter is not None and wanted > 0:
            wanted = self.limiter.permits(int(wanted), now)
        deadline = now + self.timeout  # the time that it waited here is no fault of the transport
        for _ in range(int(wanted)):
            exchange = pending.popleft()
            exchange.deadline = deadline
            waiting.append(exchange)

    def _room(self) -> float:
        """How many more may be under way; infinity once there are answers enough to judge by and the provider keeps up."""
        window, most = self._window, math.inf
        if window is None and self._trusted:
            return math.inf
        self._count()
        links = self.pool.links
        if self._breaker is not None and not self._trusted:
            self._trusted = self._breaker.answers >= MINIMUM
            most = math.inf if self._trusted else self._cautious
        if window is not None:
            window.follow(sum(link.connection.capacity for link in links))
            bearable = window.window(self._clock())
            if bearable < window.limit:  # else the connections themselves allow no more
                most = min(most, bearable)
        if most == math.inf:
            return math.inf
        under_way = sum(len(link.connection.streams) for link in links) + len(self.waiting)
        return max(most - under_way, 0)

    # --- the end --------------------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """Repeat nothing any more, begin nothing: those that wait get the result that they have, or UNSENT."""
        self.hand_over()
        repeats = self.heap.clear()  # the journal has them as surely not delivered, and leaves them so
        self._run.outstanding += len(repeats)
        results = [repeat.result for repeat in repeats]
        while self.pending:
            exchange = self.pending.popleft()
            exchange.error = ConnectError("the run was ended before this push was sent")
            exchange.attempts -= 1
            result = self.result(exchange, exchange.context)
            if result is not None:
                results.append(result)
                if self._journal is not None:
                    self._journal.put_back(exchange.context, exchange.attempts)
        self._let_go(results)

    def conclude(self) -> Trip | None:
        """At a run's end: why everything failed, where everything did."""
        if self._breaker is None:
            return None
        self._count()
        trip = self._breaker.conclude()
        if trip is not None:
            log.error("every push to %s failed: %s", self.name, trip)
        return trip

    @property
    def full(self) -> bool:
        """Whether the source should be read no further for this lane's sake."""
        return len(self.waiting) >= BATCH or self.heap.full or len(self.pending) >= MOST_PENDING
