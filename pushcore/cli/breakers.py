"""Which provider of a run would refuse everything: the engine's breaker, kept apart for each.

The engine's own stops a run. That is right where there is one provider; of two, the other one's rows are to be sent, and
so each has a `Breaker` here, and the engine none.
"""

from __future__ import annotations

from collections.abc import Collection

from ..engine.breaker import Breaker, Trip
from ..errors import BreakerOpen
from ..results import Result


class Breakers:
    """`trips`: by provider, why nothing more is sent to it."""

    def __init__(self, platforms: Collection[str]) -> None:
        self.trips: dict[str, Trip] = {}
        self._platforms = tuple(platforms)
        self._breakers = {each: Breaker() for each in platforms} if len(platforms) > 1 else {}
        self._accepted = dict.fromkeys(platforms, 0)

    @property
    def engine_has_one(self) -> bool:
        """Whether the engine watches the answers, and `take` and `conclude` are of no use."""
        return not self._breakers

    @property
    def all_open(self) -> bool:
        """Whether no provider is left."""
        return len(self.trips) == len(self._platforms)

    def take(self, platform: str, result: Result, accepted: int) -> Trip | None:
        """A result that was not accepted, after so many of this provider that were. The `Trip`, once, if it trips."""
        breaker = self._breakers.get(platform)
        if breaker is None or platform in self.trips:
            return None
        self._count(platform, accepted)
        trip = breaker.take(result)
        if trip is not None:
            self.trips[platform] = trip
        return trip

    def opened(self, error: BreakerOpen) -> None:
        """The engine's has tripped."""
        (platform,) = self._platforms
        self.trips[platform] = Trip(error.reason, str(error))

    def conclude(self, platform: str, accepted: int) -> None:
        """There are no more results: where everything was refused, few are enough."""
        breaker = self._breakers.get(platform)
        if breaker is not None and platform not in self.trips:
            self._count(platform, accepted)
            trip = breaker.conclude()
            if trip is not None:
                self.trips[platform] = trip

    def _count(self, platform: str, accepted: int) -> None:
        new = accepted - self._accepted[platform]
        if new:
            self._breakers[platform].accepted(new)
            self._accepted[platform] = accepted
