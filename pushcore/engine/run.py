"""One `send_many`: the feeder reads the source, the pools send, and the caller takes results.

    source ──▶ feeder task ──▶ lanes, pools … sinks ──▶ ready ──▶ the caller's `async for`

Each side only waits for the other. The feeder stops reading the source when `window` pushes are between the two arrows'
ends (taken from the source and not yet handed to the caller), when a pool has requests that no connection can take, or
when too many pushes wait to be sent again. So a slow provider and a slow caller both stop the source, and memory
depends on the window and on the policy's `max_delayed` alone.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final

from ..arguments import kind
from ..errors import BreakerOpen
from ..requests import END
from ..results import Result
from .breaker import Trip
from .journaling import CampaignJournal
from .lane import Lane
from .rules import EngineClient, Rules

BURST: Final = 512
"""Pushes read from the source before the event loop runs again: they are sent in one write. With a journal half as many,
because a burst waits until the journal has a lease for its rows."""


class ForeignObject(TypeError):
    """The source has an object that no client sends."""


class Run:
    """The state of one `send_many`, its feeder task and its one timer."""

    def __init__(
        self,
        clients: tuple[EngineClient, ...],
        window: int,
        rules: Rules,
        journal: CampaignJournal | None = None,
    ) -> None:
        self.window = window
        self.ready: list[Result] = []
        """Results that the caller has not taken yet."""
        self.outstanding = 0
        """Pushes that were taken from the source and whose results the caller does not have, without those that wait for a retry."""
        self.taken = 0
        """Results that were removed from `ready` and still count as outstanding: the caller is about to get them."""
        self.read = 0
        """Pushes that were taken from the source."""
        self.fed = False
        self.stopping = False
        """No push is begun, and none is retried."""
        self.error: BaseException | None = None
        self.loop = asyncio.get_running_loop()
        self.events = rules.events
        self.lanes: list[Lane] = []
        # Lanes with pushes. That of a second environment has none until a push names it or the first does not know a token.
        self._active: list[Lane] = []
        self._kinds: dict[type, list[Lane]] = {}
        for client in clients:
            alike = self._kinds.setdefault(client.handles, [])
            first = next((lane for lane in alike if lane.client.environment != client.environment), None)
            lane = Lane(self, client, rules, self.ready, self.loop.time, journal, second=first is not None)
            if first is not None and first.fallback is None and not first.second:
                first.fallback = lane
            alike.append(lane)
            self.lanes.append(lane)
            if not lane.second:
                self._active.append(lane)
        # Whether `takes` is called for each push. Environments do not need it: a client stops at a push for another one.
        self._ask_clients = any(
            len(alike) > 1 and not all(lane.client.takes_all for lane in alike)
            for alike in self._kinds.values()
        )
        self._pools = [client.pool for client in clients]
        self.feeder: asyncio.Task[None] | None = None
        self._journal = journal
        # The object that is yielded for rows that a journal skips; without a journal there is none.
        self._passed_over = END if journal is None else None
        self._read: list[Any] = []  # of an asynchronous source, and not sent yet
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._feeder_waits: asyncio.Future[None] | None = None
        self._reader_waits: asyncio.Future[None] | None = None
        self.left: asyncio.Future[None] = self.loop.create_future()
        """Done when the caller has left the run, so that its tasks end."""
        self.leaving = False
        """The caller takes no more results."""
        self._active_runs: set[Run] = set()
        self._ending: asyncio.Task[None] | None = None
        self._end_waits: asyncio.Future[None] | None = None

    def begin(self, source: Iterable[Any] | AsyncIterable[Any], active: set[Run]) -> None:
        """Start to send the source. The run is in `active` while any of its pushes is in flight."""
        for pool in self._pools:
            pool.listeners.append(self.on_batch)
        active.add(self)
        self._active_runs = active
        self.feeder = self.loop.create_task(self.feed(source), name="pushcore feeder")

    # --- waking -----------------------------------------------------------------------------------------------

    def on_batch(self) -> None:
        """Called by the pools when exchanges have finished or waiting requests were taken. It wakes the feeder first, so that sending continues."""
        for lane in self._active:
            lane.record.flush()
            if lane.pending or lane.retries.delayed:
                self.flow(lane)
        self.wake_feeder()
        if self.ready or self.done:
            self.wake_reader()

    def wake_feeder(self) -> None:
        """Continue reading the source, if the window permits."""
        waiter = self._feeder_waits
        if waiter is not None and not waiter.done() and self.outstanding < self.window:
            waiter.set_result(None)

    def wake_reader(self) -> None:
        """Wake the caller: there is a result, or there will be no more."""
        for waiter in (self._reader_waits, self._end_waits):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    @property
    def done(self) -> bool:
        """Whether every push of the source has its result and the caller has them all."""
        return self.fed and not self.outstanding and not self._retries_wait

    @property
    def _retries_wait(self) -> bool:
        return any(lane.retries.delayed for lane in self.lanes)

    @property
    def _in_flight(self) -> bool:
        return self.outstanding > len(self.ready) + self.taken

    async def wait_for_results(self) -> None:
        """Wait until there is a result, or until there will be no more."""
        if not self.ready and not self.done:
            self._reader_waits = self.loop.create_future()
            try:
                await self._reader_waits
            finally:
                self._reader_waits = None

    async def _wait_for_capacity(self) -> None:
        """Let the event loop run, and wait while the window or the lanes are full."""
        self.wake_reader()
        if not self._full():
            await asyncio.sleep(0)
        while self._full():
            self._feeder_waits = self.loop.create_future()
            try:
                await self._feeder_waits
            finally:
                self._feeder_waits = None

    def _full(self) -> bool:
        if self.outstanding >= self.window:
            return True
        for lane in self._active:  # noqa: SIM110  # a generator for each burst costs more than the question
            if lane.full:
                return True
        return False

    # --- time -------------------------------------------------------------------------------------------------

    def flow(self, lane: Lane) -> None:
        """Let a lane send what its limits permit, and schedule the next call."""
        if lane.second and lane not in self._active:
            self._active.append(lane)
        due = lane.flow(self.loop.time())
        if due < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = due
            self._timer = self.loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, math.inf
        for lane in self._active:
            self.flow(lane)
            lane.record.flush()
        self.wake_feeder()
        if self.ready or self.done:
            self.wake_reader()

    # --- the end ----------------------------------------------------------------------------------------------

    def stopped_by(self, lane: Lane, trip: Trip) -> None:
        """The breaker of this lane has opened. Other lanes continue, if there are any."""
        self.events.breaker_opened(lane.name, trip.sentence)
        if all(other.gate.stopped is not None for other in self.lanes):
            self.stop()
        else:
            lane.abandon()

    def broken(self) -> BreakerOpen | None:
        """At the end: for each provider to which every push failed, the reason."""
        trips: dict[str, Trip] = {}
        for lane in self.lanes:
            trip = lane.gate.stopped or lane.conclude()
            if trip is not None:
                trips[lane.name] = trip
                if lane.gate.stopped is None:
                    self.events.breaker_opened(lane.name, trip.sentence)
        if not trips:
            return None
        first = next(iter(trips.values()))
        if len(trips) == 1:
            return BreakerOpen(first.sentence, first.reason)
        words = "; ".join(f"{name}: {trip.sentence}" for name, trip in trips.items())
        return BreakerOpen(words, first.reason)

    def stop(self, error: BaseException | None = None) -> None:
        """Begin no more pushes; the caller gets the results of those in flight, and then the error."""
        if self.stopping:
            return
        self._send_read()
        self.stopping = True
        self.fed = True  # a feeder that is cancelled before its first step would never say so
        self.error = self.error or error
        if self.feeder is not None:
            self.feeder.cancel()
        for lane in self.lanes:
            lane.abandon()
        if self._timer is not None:
            self._timer.cancel()
        self.wake_reader()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run this coroutine as a task, for which `close` waits."""
        task = self.loop.create_task(work, name="pushcore repeats")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def end(self, error: BaseException | None = None) -> asyncio.Task[None]:
        """Stop. The task that is returned waits for what is in flight, which the transport's timeout ends.

        It is the same for all callers, and goes on when one of them is cancelled: wait for it by `asyncio.wait`.

        Args:
            error: why the caller does not get a result of each push, unless it does.
        """
        complete = self.fed and not self._in_flight and not self._retries_wait
        self.stop(None if complete else error)
        if self._ending is None:
            self._ending = self.loop.create_task(self._end(), name="pushcore end")
        return self._ending

    async def leave(self) -> None:
        """The caller takes no more results: wait for what is in flight."""
        self.leaving = True
        try:
            await asyncio.wait([self.end()])
        finally:
            self.left.set_result(None)

    @property
    def about_to_be_left(self) -> bool:
        """Whether the caller, once nothing is in flight, leaves without taking a result."""
        return self.leaving or not (self.ready or self.taken)

    async def _end(self) -> None:
        try:
            if self.feeder is not None:
                await asyncio.gather(self.feeder, *self._tasks, return_exceptions=True)
            while self._in_flight:
                self._end_waits = self.loop.create_future()
                await self._end_waits
        finally:
            for pool in self._pools:
                pool.listeners.remove(self.on_batch)
            self._active_runs.discard(self)

    # --- feeding ----------------------------------------------------------------------------------------------

    async def feed(self, source: Iterable[Any] | AsyncIterable[Any]) -> None:
        """Read the source to its end. What it raises is kept for the caller, after the results."""
        try:
            if isinstance(source, AsyncIterable):
                await self._feed_async(source)
            else:
                await self._feed_plain(source)
        except ForeignObject as error:
            self.error = TypeError(f"{error}; pushes before it: {self.read}")
        except Exception as error:
            self.error = error
        finally:
            self.fed = True
            self.wake_reader()

    async def _feed_plain(self, source: Iterable[Any]) -> None:
        journal = self._journal
        pushes, burst = (iter(source), BURST) if journal is None else (journal.steps(source), BURST // 2)
        more = True
        while more:
            capacity = min(burst, self.window - self.outstanding)
            if journal is not None:
                await journal.room(capacity)
            more = self._burst(pushes, capacity)
            await self._wait_for_capacity()

    async def _feed_async(self, source: AsyncIterable[Any]) -> None:
        """A list is a burst, and so are pushes that the source gives without a pause: they are sent together when the
        event loop gets its turn."""
        if self._journal is not None:
            source = self._journal.pending_async(_one_by_one(source))
        read, kinds = self._read, self._kinds
        try:
            async for push in source:
                if type(push) not in kinds:
                    if isinstance(push, list):
                        self._send_read()
                        await self._feed_plain(push)
                        continue
                    self._lanes_of_kind(push)
                read.append(push)
                if len(read) == BURST or self.outstanding + len(read) >= self.window:
                    self._send_read()
                    await self._wait_for_capacity()
                elif len(read) == 1:
                    if self._full():
                        await self._wait_for_capacity()
                    self.loop.call_soon(self._send_read)
        finally:
            self._send_read()

    def _send_read(self) -> None:
        """Send what was read of an asynchronous source."""
        if self._read:
            pushes = self._read.copy()
            self._read.clear()
            try:
                self._burst(iter(pushes), len(pushes))
            except Exception as error:
                self.stop(error)
            if self.ready:
                self.wake_reader()

    def _burst(self, pushes: Iterator[Any], most: int) -> bool:
        """Take up to `most` pushes from the source and dispatch them; False at the end of the source."""
        now = self.loop.time()
        burst = islice(pushes, most)
        try:
            push = next(burst, END)
            while push is not END and push is not self._passed_over:
                lane = self._lane_of(push)
                if self._ask_clients or lane.second:  # which would take pushes that name no environment, too
                    lane.build((push,), type(push), now)
                    push = next(burst, END)
                else:
                    push = lane.build(chain((push,), burst), type(push), now)
        finally:
            taken = 0
            for lane in self._active:
                if lane.built or lane.not_built:
                    taken += lane.begin(now)
            self.outstanding += taken
            self.read += taken
            for lane in self._active:
                lane.report_not_built()
                lane.record.flush()
                self.flow(lane)
        return push is not END or taken == most

    def _lane_of(self, push: object) -> Lane:
        """The lane of the push's class; of several, the first whose client takes it, or the last, to say why not.

        A push whose environment is not known reaches a second lane by `Lane.fallback` alone."""
        lanes = self._kinds.get(type(push)) or self._lanes_of_kind(push)
        if len(lanes) == 1:
            return lanes[0]
        for lane in lanes:
            if lane.client.takes(push):
                break
        if lane.second and lane not in self._active:
            self._active.append(lane)
        return lane

    def _lanes_of_kind(self, push: object) -> list[Lane]:
        for push_class, lanes in self._kinds.items():
            if isinstance(push, push_class):
                self._kinds[type(push)] = lanes
                return lanes
        known = ", ".join(dict.fromkeys(lane.client.handles.__name__ for lane in self.lanes))
        raise ForeignObject(f"this engine sends {known}, not {kind(push)}")


async def _one_by_one(source: AsyncIterable[Any]) -> AsyncIterator[Any]:
    """The pushes of an asynchronous source, which may yield single pushes or lists."""
    async for push in source:
        if isinstance(push, list):
            for one in push:
                yield one
        else:
            yield push
