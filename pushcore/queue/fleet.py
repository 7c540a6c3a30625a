"""What all workers of a campaign share through the queue's store: the rate limit, the breaker, the state.

The rate limit is a common token bucket. A worker takes permits for up to `BURST` seconds in one compare-and-set and uses them
without further requests. Permits that are not used within `HOLD` seconds are lost; they are not returned, so that no window
of a quota gets more than the quota. While the store is unreachable no worker gets permits, so none exceeds the limit. The
bucket uses the wall clock: if the clocks of two machines differ by a second, that costs one second, once.
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
"""Seconds between two readings of the state and the breaker's verdict."""
HOLD: Final = 0.2
"""Seconds for which a worker may use permits that it has taken."""
RETRY: Final = 0.02
"""Seconds until the next attempt if there were no permits."""
LONGEST: Final = 86_400.0
"""Seconds for which a 429 stops sending, at most, as in `RateLimiter.close`."""
QUOTA: Final = 60.0
"""Seconds: a rate limit with a window of this length or more is a quota."""

_STATE: Final = struct.Struct("<6d")


class Fleet:
    """Shares rate limit, breaker and state with the other workers. Use it in `async with`, and as `shared` of the engine.

    `problem`: the error of the last access to the store, None after a success.

    Args:
        store: the queue of the campaign.
        clock: the wall clock, in UNIX seconds.
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
        """Whether the breaker's verdict has been stored for the other workers."""
        self._limiters: dict[str, FleetLimiter] = {}
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        """Set each time the state has been read."""
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

    # --- called by the engine -------------------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether the campaign is paused, so that no worker sends."""
        return self.state is CampaignState.PAUSED

    async def changed(self, known: CampaignState, seconds: float) -> CampaignState:
        """Wait until the state differs from `known`, at most `seconds`.

        Args:
            known: the last state that the caller has seen.
            seconds: to wait, at most.

        Returns:
            The state after that.
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
        """The reason why the breaker of any worker has stopped the campaign; None if it has not."""
        return self._trip

    def stop(self, trip: Trip) -> Trip:
        """Make the other workers stop. Returns the first reason that this worker has read or been given."""
        if self._trip is None:
            self._trip = trip
            self._told = False
            self._wake.set()
        return self._trip

    def limiter(self, name: str, limiter: RateLimiter) -> FleetLimiter:
        """The rate limiter of a provider for all workers together.

        Args:
            name: of the client, such as "fcm".
            limiter: has the rate of all workers together.

        Returns:
            The limiter for this worker.
        """
        shared = self._limiters.get(name)
        if shared is None:
            shared = self._limiters[name] = FleetLimiter(name, limiter, self._wake.set, self._clock)
        return shared

    def peers(self) -> Peers | None:
        """None: workers do not share responses, because each has enough of its own before the store could report them."""
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
        """Store the breaker's verdict, unless another worker has stored one before."""
        assert self._trip is not None
        while True:
            note = await self._store.read(TRIP)
            if Trip.decode(note.value) or await self._store.write(TRIP, self._trip.encode(), note.revision):
                self._told = True
                return


class FleetLimiter:
    """A `Limiter` that takes its permits from the store. `now` is the engine's clock, used for differences only."""

    def __init__(
        self, name: str, limiter: RateLimiter, wake: Callable[[], None], clock: Callable[[], float]
    ) -> None:
        self._key = f"rate-{name}"
        self._limiter = limiter
        self._wake = wake
        self._clock = clock
        self._bulk = max(int(limiter.rate.per_second * BURST), 1) if not limiter.rate.unlimited else 0
        self._discount = HOLD / QUOTA if limiter.rate.seconds >= QUOTA else 0.0
        self._debt = 0.0  # permits to deduct from the next ones
        self._stock = 0
        self._good_until = -math.inf
        self._closed_until = -math.inf
        self._closing = -math.inf  # the end of a pause that is not stored yet
        self._refused = 0  # 429s without Retry-After that are not stored yet
        self._pace = limiter.rate.per_second
        self._wanted = 0
        self._ask_at = -math.inf

    # --- called by the engine -------------------------------------------------------------------------------------

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
        """See `RateLimiter.close`: for every worker, as soon as it is stored."""
        wall = self._clock()
        until = wall + min(max(until - now, 0.0), LONGEST)
        if until > self._closed_until:
            self._closed_until = self._closing = until
            self._stock = 0
            self._wake()

    def refused(self, retry_after: float | None, now: float) -> None:
        """See `RateLimiter.refused`: for every worker, as soon as it is stored."""
        if retry_after is not None:
            self.close(now + retry_after, now)
        else:
            self._refused += 1
            self._wake()

    def closed(self, now: float) -> float:
        """See `RateLimiter.closed`."""
        return max(self._gate(), 0.0)

    def allowed_rate(self, now: float) -> float:
        """See `RateLimiter.allowed_rate`: of all workers together, as last read from the store."""
        return 0.0 if self._gate() > 0 else self._pace

    # --- the store ------------------------------------------------------------------------------------------------

    def patience(self) -> float:
        """Seconds until `exchange` should be called."""
        if self._closing > -math.inf or self._refused:
            return 0.0
        return max(self._ask_at - self._clock(), RETRY / 4) if self._wanted else math.inf

    async def exchange(self, store: Store) -> None:
        """Take permits from the common bucket; read and store pauses of the provider. Raises `QueueError`."""
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
                continue  # another worker has written in between
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
