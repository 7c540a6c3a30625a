"""`CallerBreaker`: stops the pushes of one caller to one provider while all of them would fail.

The rules are those of the engine (`engine.breaker`), except the rule for suspect tokens: a service cannot know whether a
caller has invalid tokens or a wrong environment, and a caller with invalid tokens may have valid ones as well. After
`HALF_OPEN` seconds one push is sent. If it is accepted, or rejected for another reason, the breaker closes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from ..engine.breaker import Breaker, Trip, blames_configuration
from ..results import ACCEPTED, Result, Verdict

HALF_OPEN: Final = 30.0
"""Seconds from a trip, or from a failed probe, until one push is tried."""
_NO_EVIDENCE: Final = frozenset({Verdict.THROTTLED, Verdict.UNAVAILABLE, Verdict.UNSENT, Verdict.UNKNOWN})


class CallerBreaker:
    """See the module.

    Attributes:
        trip: why it is open; None while it is closed.
        accepted: pushes that were accepted while it was closed and were not passed to `seen`; a batch is added here.
    """

    __slots__ = ("_breaker", "_clock", "_probe_at", "_probing", "accepted", "trip")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.trip: Trip | None = None
        self.accepted = 0
        self._clock = clock
        self._breaker = Breaker(suspects=False)
        self._probe_at = -math.inf
        self._probing = False

    def refuses(self) -> float | None:
        """None if a push may be sent (while it is open, one push after each wait); otherwise the seconds until then."""
        if self.trip is None:
            return None
        wait = self._probe_at - self._clock()
        if wait > 0 or self._probing:
            return max(wait, 1.0)
        self._probing = True
        return None

    def seen(self, result: Result) -> bool:
        """Count a result; whether it has opened the breaker."""
        if self.trip is None:
            if result.verdict is ACCEPTED:
                self.accepted += 1
                return False
            if self.accepted:
                self._breaker.accepted(self.accepted)
                self.accepted = 0
            self.trip = self._breaker.take(result)
            if self.trip is not None:
                self._probe_at, self._probing = self._clock() + HALF_OPEN, False
            return self.trip is not None
        if result.verdict is Verdict.MISCONFIGURED or blames_configuration(result.detail):
            self._probe_at, self._probing = self._clock() + HALF_OPEN, False
        elif result.verdict in _NO_EVIDENCE:
            self._probing = False
        else:
            self.trip, self._breaker, self._probing = None, Breaker(suspects=False), False
        return False
