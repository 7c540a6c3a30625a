"""State that all workers of a campaign share through the queue's store: a rate, a breaker, a state.

The rate is lent in advance: a worker takes up to `BURST` seconds' worth of permits out of the common bucket, in one
compare-and-set, and spends them without asking. What it has not spent after `HOLD` seconds is lost, and of a quota that
much less is spent, so no window has more than the quota. Without the store no worker gets permits, and none sends faster
than allowed. The bucket's clock is the wall clock: clocks that differ by a second cost a second, once.
"""

from __future__ import annotations

import asyncio
import math
import struct
import time
from collections.abc import Callable
from typing import Final

from ..arguments import check_function, check_offers
from ..engine.breaker import Peers, Trip
from ..engine.rate import BURST, FRESH, RateLimiter, State
from .campaign import TRIP, read_state
from .campaign import CampaignState as CampaignState
from .errors import QueueError
from .protocol import Store, StoredValue
from .tasks import end

POLL: Final = 0.5
"""Seconds between two looks at state and verdict."""
HOLD: Final = 0.2
"""Seconds for which permits are good once they are lent."""
RETRY: Final = 0.02
"""Seconds until a worker asks again that got no permits."""
LONGEST: Final = 86_400.0
"""Seconds for which a gate is closed at most, as `RateLimiter.close` has it."""
QUOTA: Final = 60.0
"""Rates that are counted over so many seconds or more are quotas."""

_STATE: Final = struct.Struct("<6d")


class Fleet:
    """One worker's end of what they have in common. Use it in `async with`, and as `shared` of the worker's engine.

    `problem`: why the store could not be asked the last time, None when it could.

    Args:
        store: the campaign's queue.
        clock: the wall clock, UNIX seconds.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        check_offers("store", store, Store, "a queue; open_queue opens one")
        check_function("clock", clock)
        self.state = CampaignState.RUNNING
        self.problem: QueueError | None = None
        self._store = store
        self._clock = clock
        self._trip: Trip | None = None
        self._told = True
        """Whether the breaker's verdict is stored for other workers."""
        self._limiters: dict[str, FleetLimiter] = {}
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        """Set after each look at the state."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Fleet:
        await self._look()
        self._task = asyncio.create_task(self._keep(), name="pushcore fleet")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        await end([self._task])
        if not self._told:
            try:
                await self._tell()
            except QueueError as error:
                self.problem = error

    # --- what the engine asks -------------------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether no worker is to send for now."""
        return self.state is CampaignState.PAUSED

    async def changed(self, known: CampaignState, seconds: float) -> CampaignState:
        """Wait until the state is another than `known`, or so many seconds; the state then.

        Args:
            known: the state that the caller knows.
            seconds: to wait at most.

        Returns:
            The state then.
        """
        if self.state is known:
            self._changed.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                pass
        return self.state

    @property
    def trip(self) -> Trip | None:
        """The reason why the whole campaign stops, if a worker has one."""
        return self._trip

    def stop(self, trip: Trip) -> Trip:
        """Tell other workers to stop. The first reason that this worker knows is kept and returned."""
        if self._trip is None:
            self._trip = trip
            self._told = False
            self._wake.set()
        return self._trip

    def limiter(self, name: str, limiter: RateLimiter) -> FleetLimiter:
        """The limiter of a provider: all workers together send no faster than `limiter` says.

        Args:
            name: of the client, such as "fcm".
            limiter: says the rate.

        Returns:
            The limiter to use.
        """
        shared = self._limiters.get(name)
        if shared is None:
            shared = self._limiters[name] = FleetLimiter(name, limiter, self._wake.set, self._clock)
        return shared

    def peers(self) -> Peers | None:
        """None: before the store had informed other workers, each would have enough responses itself."""
        return None

    # --- the store ------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        looked = time.monotonic()
        while True:
            try:
                for limiter in self._limiters.values():
                    await limiter.exchange(self._store)
                if not self._told:
                    await self._tell()
                if time.monotonic() - looked >= POLL:
                    looked = time.monotonic()
                    await self._look()
                self.problem = None
            except QueueError as error:
                self.problem = error
                await asyncio.sleep(POLL)
            pause = min([POLL, *(limiter.patience() for limiter in self._limiters.values())])
            self._wake.clear()
            if self._told and pause > 0:
                try:
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                except TimeoutError:
                    pass

    async def _look(self) -> None:
        self.state = await read_state(self._store)
        self._changed.set()
        if self._trip is None:
            self._trip = Trip.decode((await self._store.read(TRIP)).value)

    async def _tell(self) -> None:
        """Store the breaker's verdict, unless another worker was first."""
        assert self._trip is not None
        while True:
            note = await self._store.read(TRIP)
            if Trip.decode(note.value) or await self._store.write(TRIP, self._trip.encode(), note.revision):
                self._told = True
                return


class FleetLimiter:
    """A `Limiter` whose permits are lent by the store. `now` is the engine's clock, and of use for differences only."""

    def __init__(
        self, name: str, limiter: RateLimiter, wake: Callable[[], None], clock: Callable[[], float]
    ) -> None:
        self._key = f"rate-{name}"
        self._limiter = limiter
        self._wake = wake
        self._clock = clock
        self._bulk = max(int(limiter.rate.per_second * BURST), 1) if not limiter.rate.unlimited else 0
        self._discount = HOLD / QUOTA if limiter.rate.seconds >= QUOTA else 0.0
        self._debt = 0.0  # permits that are to be withheld
        self._stock = 0
        self._good_until = -math.inf
        self._closed_until = -math.inf
        self._closing = -math.inf  # what the store is still to be told
        self._refused = 0  # 429s without Retry-After that the store is still to be told
        self._pace = limiter.rate.per_second
        self._wanted = 0
        self._ask_at = -math.inf

    # --- what the engine asks -------------------------------------------------------------------------------------

    def permits(self, wanted: int, now: float) -> int:
        """See `RateLimiter.permits`."""
        if self._gate() > 0:
            return 0
        if not self._bulk:
            return wanted
        self._expire()
        granted = min(wanted, self._stock)
        self._stock -= granted
        if granted < wanted or 2 * self._stock < self._bulk:
            if not self._wanted:
                self._wake()
            self._wanted = self._bulk
        return granted

    def give_back(self, unused: int, now: float) -> None:
        """See `RateLimiter.give_back`."""
        if self._bulk and self._gate() <= 0:
            self._stock += unused

    def wait(self, now: float) -> float:
        """See `RateLimiter.wait`."""
        closed = self._gate()
        if closed > 0:
            return closed
        self._expire()
        return 0.0 if self._stock or not self._bulk else max(self._ask_at - self._clock(), RETRY)

    def close(self, until: float, now: float) -> None:
        """See `RateLimiter.close`: for every worker, as soon as the store knows."""
        wall = self._clock()
        until = wall + min(max(until - now, 0.0), LONGEST)
        if until > self._closed_until:
            self._closed_until = self._closing = until
            self._stock = 0
            self._wake()

    def refused(self, retry_after: float | None, now: float) -> None:
        """See `RateLimiter.refused`: for every worker, as soon as the store knows."""
        if retry_after is not None:
            self.close(now + retry_after, now)
        else:
            self._refused += 1
            self._wake()

    def closed(self, now: float) -> float:
        """See `RateLimiter.closed`."""
        return max(self._gate(), 0.0)

    def allowed_rate(self, now: float) -> float:
        """See `RateLimiter.allowed_rate`: that of all workers together, as the store had it last."""
        return 0.0 if self._gate() > 0 else self._pace

    # --- the store ------------------------------------------------------------------------------------------------

    def patience(self) -> float:
        """Seconds until `exchange` has something to do."""
        if self._closing > -math.inf or self._refused:
            return 0.0
        return max(self._ask_at - self._clock(), RETRY / 4) if self._wanted else math.inf

    async def exchange(self, store: Store) -> None:
        """Take permits out of the common bucket, and learn and tell when its gate is closed. Raises `QueueError`."""
        while self._closing > -math.inf or self._refused or self._clock() >= self._ask_at:
            note = await store.read(self._key)
            now = self._clock()
            limiter, closing, refused = self._limiter, self._closing, self._refused
            limiter.restore(_unpacked(note), now)
            for _ in range(refused):
                limiter.refused(None, now)
            if closing > -math.inf:
                limiter.close(closing, now)
            granted = limiter.permits(self._wanted, now) if self._wanted and self._bulk else 0
            self._closed_until = max(now + limiter.closed(now), self._closed_until)
            changed = granted or refused or closing > -math.inf or not note.revision
            if changed and not await store.write(self._key, _STATE.pack(*limiter.state()), note.revision):
                continue  # another worker was first
            self._closing = -math.inf if self._closing == closing else self._closing
            self._refused -= refused
            self._pace = limiter.allowed_rate(now)
            self._expire()
            if granted and self._gate() <= 0:
                self._debt += granted * self._discount
                withheld = min(int(self._debt), granted)
                self._debt -= withheld
                self._stock += granted - withheld
                self._good_until = now + HOLD
            self._wanted = 0
            self._ask_at = now + max(RETRY, min(limiter.wait(now), POLL))
            if not self._bulk:
                self._ask_at = now + POLL
            return

    def _gate(self) -> float:
        return self._closed_until - self._clock()

    def _expire(self) -> None:
        if self._clock() > self._good_until:
            self._stock = 0


def _unpacked(note: StoredValue) -> State:
    if len(note.value) != _STATE.size:
        return FRESH
    left, at, used, closed_until, ramp_from, refused = _STATE.unpack(note.value)
    return left, at, used, closed_until, ramp_from, refused
