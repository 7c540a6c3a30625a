"""The number of pushes that a lane may send now: by the rate limit, by the adaptive window, and by the breaker."""

from __future__ import annotations

import logging
import math
from typing import Final

from ..results import Result, Verdict
from .breaker import MINIMUM, Breaker, Trip
from .rate import AdaptiveWindow
from .rules import EngineClient, Rules

log = logging.getLogger("pushcore.engine")

UNPROVEN: Final = 1000
"""Pushes that all processes may have in flight until their breakers have responses enough to judge by."""
WARN_EVERY: Final = 10.0
"""Seconds between two warnings that the provider slows us down."""
PAUSE: Final = 0.1
"""Seconds after which a paused lane looks whether it may go on."""
RECHECK: Final = 0.01
"""Seconds after which a limited rate is asked again at the earliest: what a slow rate permits leaves together."""
_PUSHED_BACK: Final = frozenset({Verdict.THROTTLED, Verdict.UNAVAILABLE, Verdict.UNKNOWN})


class Gate:
    """Limits what one lane sends. All times are seconds of the event loop's clock.

    A rate limit is what was configured, or the project's quota of the provider. Where there is no quota, a window follows
    what the provider can bear. The breaker keeps both narrow until it has responses enough, and stops the lane when they
    say that every push would fail. `second`: of a lane for another environment of the same provider.
    """

    __slots__ = (
        "_breaker",
        "_events",
        "_name",
        "_orders",
        "_pool",
        "_quota",
        "_shared",
        "_start",
        "_unproven_limit",
        "_warn_closed_at",
        "_warn_slow_at",
        "_window",
        "limiter",
        "stopped",
    )

    def __init__(self, client: EngineClient, rules: Rules, *, second: bool = False) -> None:
        self.limiter = rules.limiter(client)
        """Limits the rate; None where nothing does."""
        self.stopped: Trip | None = None
        """Why nothing more may be sent here; other lanes may go on."""
        self._pool = client.pool
        self._name = client.pool.name
        self._quota = client.quota
        self._start = rules.start
        self._events = rules.events
        # What processes share is by provider: of two environments the first has it.
        self._orders = rules.shared_by(self._name)
        self._shared = None if second else self._orders
        peers = self._shared.peers() if self._shared is not None and rules.breaker else None
        self._breaker = Breaker(peers=peers) if rules.breaker else None
        # How many may be in flight until the breaker has responses enough; infinity from then on.
        self._unproven_limit = math.inf
        if rules.breaker:
            self._unproven_limit = UNPROVEN if peers is None else max(UNPROVEN // peers.parts, 1)
        self._window = None if client.quota else AdaptiveWindow(client.streams)
        self._warn_slow_at = self._warn_closed_at = -math.inf

    # --- responses ------------------------------------------------------------------------------------------------

    def accepted(self, count: int) -> None:
        """`count` more pushes were accepted."""
        if self._breaker is not None:
            self._breaker.accepted(count)
        if self._window is not None:
            self._window.answered(count)

    def rejected(self, result: Result, now: float) -> Trip | None:
        """A push was sent and not accepted. Returns the reason to stop, when there is one."""
        if self._quota and result.row.scope == "project":
            self._slow_down(result, now)
        if self._window is not None and result.verdict in _PUSHED_BACK:
            self._window.pushed_back()
        return self._breaker.take(result) if self._breaker is not None else None

    def not_sent(self, result: Result) -> Trip | None:
        """A push could not be made a request. Returns the reason to stop, when there is one."""
        if self._breaker is None or result.verdict is not Verdict.MISCONFIGURED:
            return None
        return self._breaker.take(result)

    def _slow_down(self, result: Result, now: float) -> None:
        """The whole project exceeds its quota."""
        assert self.limiter is not None  # a provider with a quota has one
        self.limiter.refused(result.retry_after, now)
        closed = self.limiter.closed(now)
        if closed > 0:
            self._events.rate_limited(self._name, closed)
            if now >= self._warn_closed_at:
                self._warn_closed_at = now + max(closed, WARN_EVERY)
                log.warning("%s asked for a pause of %.0f s (429)", self._name, closed)
        elif now >= self._warn_slow_at:
            self._warn_slow_at = now + WARN_EVERY
            rate = self.limiter.allowed_rate(now)
            log.warning(
                "%s rejects some pushes because of their rate (429): %.0f a second now", self._name, rate
            )
            self._events.slowed(self._name, rate)

    # --- stopping -------------------------------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether nothing is to be sent for now."""
        return self._orders is not None and self._orders.paused

    @property
    def shared_trip(self) -> Trip | None:
        """The reason why another process has stopped, so that this one stops too."""
        return self._shared.trip if self._shared is not None else None

    def stop(self, trip: Trip) -> Trip:
        """Stop sending, in the other processes too. The first reason of all processes is kept and returned."""
        self.stopped = trip if self._shared is None else self._shared.stop(trip)
        log.error("every push to %s would fail: %s", self._name, self.stopped)
        return self.stopped

    def conclude(self) -> Trip | None:
        """At the end of a run: why every push failed, if every one did."""
        trip = self._breaker.conclude() if self._breaker is not None else None
        if trip is not None:
            log.error("every push to %s failed: %s", self._name, trip)
        return trip

    # --- limits ---------------------------------------------------------------------------------------------------

    def capacity(self, now: float) -> float:
        """The number of further pushes that may be in flight: infinity if the breaker has enough responses and the provider keeps up."""
        if now < self._start or (self._orders is not None and self._orders.paused):
            return 0
        window, limit = self._window, self._unproven_limit
        if window is None and limit == math.inf:
            return math.inf
        links = self._pool.links
        if self._breaker is not None and limit < math.inf and self._breaker.answers >= MINIMUM:
            limit = self._unproven_limit = math.inf
        if window is not None:
            window.follow(sum(link.connection.capacity for link in links))
            bearable = window.window(now)
            if bearable < window.limit:  # otherwise the connections themselves allow no more
                limit = min(limit, bearable)
        if limit == math.inf:
            return math.inf
        in_flight = sum(len(link.connection.streams) for link in links) + len(self._pool.waiting)
        return max(limit - in_flight, 0)

    def permits(self, wanted: int, now: float) -> int:
        """The number of pushes that the rate limit permits now, at most the given one; they count as sent."""
        if self.limiter is None or wanted < 1:
            return wanted
        return self.limiter.permits(wanted, now)

    def give_back(self, unused: int, now: float) -> None:
        """Return permits that were not used."""
        if self.limiter is not None and unused:
            self.limiter.give_back(unused, now)

    def opens_at(self, now: float) -> float:
        """When the rate limit is to be asked again; infinity where there is none."""
        if now < self._start:
            return self._start
        if self.paused:
            return now + PAUSE
        if self.limiter is None:
            return math.inf
        return now + max(self.limiter.wait(now), RECHECK)

    def allowed_rate(self, now: float) -> float:
        """Pushes a second that the rate limit allows now, infinity for no limit."""
        return math.inf if self.limiter is None else self.limiter.allowed_rate(now)
