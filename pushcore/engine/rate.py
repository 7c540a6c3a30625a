"""Rate limits: a configured rate, a project's quota at FCM, a window that follows APNs' responses.

The sender asks once per burst (`permits`), never per push. All times are seconds of one clock that never
steps back, given as `now`; `shared.py` has the same interface for all processes of a campaign.

Google ("Best practices when sending FCM messages at scale"): 600 000 messages a minute and project; go from 0 to the
full rate over at least 60 seconds, longer for more, and do not spend a minute's quota at its start; after a 429 wait
for Retry-After, 60 seconds without one, and slow the whole project down. 429s themselves do not count.

How much slower, Google does not say. Each 429 takes one push a second off the pace, which the ramp brings back in
time: where 2 % are refused, the pace settles where what they take is what it brings. A Retry-After closes the gate for
everybody. Without one, the 60 seconds are those of the push that was refused, and of everybody only when so many are
that the quota must be used up: else one 429 in fifty would mean fifty pushes a minute.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Protocol

from ..arguments import check_number, shown
from ..errors import ConfigurationError

BURST: Final = 0.1
"""Seconds' worth of pushes that may be sent at once: as long as a busy event loop may be late, and too few to be a burst."""
RAMP: Final = 60.0
"""Seconds from the start to the full rate, up to `RAMP_RATE`; longer in proportion above (Google: at least 60)."""
RAMP_RATE: Final = 10_000.0
START: Final = 0.01
"""Share of the full rate that a ramp starts with, so that a few pushes need not wait; it then rises in a straight line."""
START_LEAST: Final = 10.0
"""The lowest rate at which a ramp starts, in pushes a second, unless the rate itself is lower."""
IDLE: Final = 60.0
"""Seconds without a push after which a ramp starts again: to resume at the full rate would also be a burst."""
QUOTA_WAIT: Final = 60.0
"""Seconds that the gate is closed after 429s without Retry-After (Google), when the quota is used up."""
MAX_WAIT: Final = 86_400.0
"""Seconds that it is closed at most."""
USED_UP: Final = 0.1
"""Share of refused pushes, among some `LOOKED_BACK` of them, that says so."""
LOOKED_BACK: Final = 200.0

_UNITS: Final = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
}
_RATE: Final = re.compile(r"([0-9][0-9_]{0,14}(?:\.[0-9]{1,9})?) ?/ ?([a-z]{1,6})", re.ASCII)
_SKEW: Final = 60.0  # seconds that one process may be behind another: loops read the clock once a turn
_ROUNDING: Final = 1e-6  # seconds that make up for what adding to a large `now` rounds off


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit of `pushes` in `seconds`; infinity means no limit.

    A rate per second is an average. A rate per minute or hour is a quota as providers count it: no period of that length,
    wherever it starts, has more pushes.
    """

    pushes: float
    seconds: float = 1.0

    def __post_init__(self) -> None:
        check_number("the rate's pushes", self.pushes, above=0, infinite=True)
        check_number("the rate's seconds", self.seconds, above=0)

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Parse a rate: "5000/s", "600000/min", "36_000_000/h", or "none" for no limit.

        Raises:
            ConfigurationError: it is none of these, or 0.
        """
        words = text.strip().lower() if isinstance(text, str) else ""
        if words == "none":
            return cls(math.inf)
        match = _RATE.fullmatch(words)
        if match is None or match[2] not in _UNITS:
            raise ConfigurationError(f'a rate looks like 5000/s, 600000/min or "none", not {shown(text)}')
        return cls(float(match[1].replace("_", "")), _UNITS[match[2]])

    @property
    def unlimited(self) -> bool:
        """Whether there is no limit."""
        return self.pushes == math.inf

    @property
    def per_second(self) -> float:
        """The rate in pushes per second."""
        return self.pushes / self.seconds

    def __str__(self) -> str:
        if self.unlimited:
            return "none"
        unit = next(
            (name for name, seconds in _UNITS.items() if seconds == self.seconds), f"{self.seconds:g}s"
        )
        return f"{self.pushes:.15g}/{unit}"


FCM_RATE: Final = Rate(600_000, 60.0)
"""A project's quota unless Google has raised it."""

State = tuple[float, float, float, float, float, float]
"""A `RateLimiter`'s memory: permits left, when that was counted, the last grant, closed until, the ramp's start, and the
share of refused pushes."""
FRESH: Final[State] = (0.0, -math.inf, -math.inf, -math.inf, -math.inf, 0.0)


class Limiter(Protocol):
    """The interface of a rate limiter: `RateLimiter` for one process, `shared.SharedLimiter` for several."""

    def permits(self, wanted: int, now: float) -> int: ...
    def give_back(self, unused: int, now: float) -> None: ...
    def wait(self, now: float) -> float: ...
    def close(self, until: float, now: float) -> None: ...
    def refused(self, retry_after: float | None, now: float) -> None: ...
    def closed(self, now: float) -> float: ...
    def allowed_rate(self, now: float) -> float: ...


class RateLimiter:
    """Limits pushes to a rate, evenly, with a gate that can be closed.

    `ramp`: seconds over which the rate rises, in a straight line, from `START` of it to all of it: at the first push,
    and after `IDLE` seconds without one, for want of pushes or at a closed gate. 0 for none. Without a limit there is the
    gate alone.
    """

    __slots__ = ("_at", "_closed_until", "_full", "_left", "_ramp", "_ramp_from", "_refused", "_used", "rate")

    def __init__(self, rate: Rate, *, ramp: float = 0.0) -> None:
        if not 0 <= ramp < math.inf:
            raise ConfigurationError(f"a ramp is 0 seconds or more, not {ramp:g}")
        self.rate = rate
        self._ramp = ramp
        # Of a quota, a window may hold what was saved up when it began: both together must be no more than it.
        self._full = rate.pushes / (rate.seconds + BURST) if rate.seconds >= 60 else rate.per_second
        self._left, self._at, self._used, self._closed_until, self._ramp_from, self._refused = FRESH

    def permits(self, wanted: int, now: float) -> int:
        """The number of pushes that may be sent now, `wanted` at most. Return permits that are not used with `give_back`."""
        if now < self._closed_until:
            return 0
        granted = wanted
        if self._full < math.inf:
            self._accrue(now)
            granted = max(min(wanted, int(self._left)), 0)
            if granted:
                self._left -= granted
                self._used = max(now, self._used)
        if self._refused:
            self._refused *= (1 - 1 / LOOKED_BACK) ** granted
        return granted

    def give_back(self, unused: int, now: float) -> None:
        """Return permits that were not used."""
        if now >= self._closed_until and self._full < math.inf:
            self._left = min(self._left + unused, self._burst_limit(now))

    def wait(self, now: float) -> float:
        """Seconds until at least one may leave, 0 when it may now; the gate may be closed again in between."""
        opens = max(now, self._closed_until)
        if self._full == math.inf:
            return opens - now
        if opens == now:
            self._accrue(now)
        missing = 1.0 - self._left
        if missing <= 0:
            return opens - now
        # Another process may have counted up to there, or taken what a closed gate left.
        counted_to = max(self._at, opens)
        return counted_to - now + missing / self._rate_at(opens) + _ROUNDING

    def close(self, until: float, now: float) -> None:
        """No push is sent until then, a day at most. An earlier `until` opens nothing. The ramp goes on where it was, and
        begins anew after `IDLE` seconds."""
        until = min(max(until, now), now + MAX_WAIT)
        if until >= self._closed_until:
            begun = self._ramp_from > -math.inf and until - now < IDLE
            risen = self._ramp_progress(max(now, self._closed_until)) if begun else 0.0
            self._closed_until = self._at = self._used = until
            self._ramp_from = until - risen * self._ramp
            self._left = 1.0

    def refused(self, retry_after: float | None, now: float) -> None:
        """FCM responded with 429; `retry_after`: the wait that it asks for, if any."""
        if self._ramp and -math.inf < self._ramp_from and self._full < math.inf:
            at = max(now, self._closed_until)
            less = 1 / (self._full * (1 - START))  # a push a second
            self._ramp_from = at - max(self._ramp_progress(at) - less, 0.0) * self._ramp
        if retry_after is not None:
            self.close(now + retry_after, now)
            return
        self._refused += 1 / LOOKED_BACK
        if self._refused > USED_UP:
            self.close(now + QUOTA_WAIT, now)
            self._refused = 0.0

    def closed(self, now: float) -> float:
        """Seconds for which the gate is closed yet; 0 when it is open."""
        return max(self._closed_until - now, 0.0)

    def allowed_rate(self, now: float) -> float:
        """Pushes a second that are allowed, infinity for no limit."""
        if now < self._closed_until:
            return 0.0
        return self._rate_at(now)

    # --- for processes that share it --------------------------------------------------------------------------------

    def state(self) -> State:
        """All that it remembers."""
        return self._left, self._at, self._used, self._closed_until, self._ramp_from, self._refused

    def restore(self, state: State, now: float) -> None:
        """Go on from there. What cannot be, such as times before the machine was started anew, is forgotten."""
        left, at, used, closed_until, ramp_from, refused = state
        latest = max(now + _SKEW, closed_until)
        possible = (
            0 <= left <= max(1.0, self._full * BURST) + 1
            and max(at, used, ramp_from) <= latest
            and closed_until <= now + MAX_WAIT + _SKEW
            and (at > -math.inf) == (used > -math.inf) == (ramp_from > -math.inf)
            and 0 <= refused <= USED_UP + 1 / LOOKED_BACK
        )
        if not possible:  # NaN is not either
            left, at, used, closed_until, ramp_from, refused = FRESH
        self._left, self._at, self._used = left, at, used
        self._closed_until, self._ramp_from, self._refused = closed_until, ramp_from, refused

    # --- the bucket -------------------------------------------------------------------------------------------------

    def _ramp_progress(self, now: float) -> float:
        """The progress of the ramp, from 0 to 1."""
        if self._ramp == 0 or self._ramp_from == -math.inf:
            return 1.0
        return min(max((now - self._ramp_from) / self._ramp, 0.0), 1.0)

    def _rate_at(self, now: float) -> float:
        risen = self._full * (START + (1 - START) * self._ramp_progress(now))
        return max(risen, min(self._full, START_LEAST))

    def _burst_limit(self, now: float) -> float:
        return max(1.0, self._rate_at(now) * BURST)

    def _accrue(self, now: float) -> None:
        """Count what time has accrued since the last call."""
        if self._at == -math.inf:
            self._at = self._used = self._ramp_from = now
            self._left = self._burst_limit(now)
        elif now > self._at:
            # The mean of both ends: exact on the ramp, and too little rather than too much at its end.
            accrued = (self._rate_at(self._at) + self._rate_at(now)) / 2 * (now - self._at)
            if self._ramp and now - self._used > IDLE:
                self._used = self._ramp_from = now
            self._left = min(self._left + accrued, self._burst_limit(now))
            self._at = now


def project_limiter(rate: Rate = FCM_RATE) -> RateLimiter:
    """FCM's rules for a project: its quota, and a ramp-up of at least a minute."""
    return RateLimiter(rate, ramp=ramp_for(rate))


def ramp_for(rate: Rate) -> float:
    """Seconds over which to ramp up to a rate: `RAMP`, and longer in proportion for more than `RAMP_RATE`."""
    return RAMP if rate.unlimited else RAMP * max(1.0, rate.per_second / RAMP_RATE)


TOLERATED: Final = 0.1
"""Share of 429s that does not lower the window: a 429 of APNs is about one device."""
GROWTH: Final = 0.05
"""Share of the limit by which the window grows in an epoch: from the floor to all of it in 20 of them."""
EPOCH: Final = 1.0
"""Seconds between two decisions: longer than a response takes, so that each sees what the last one did."""
ENOUGH: Final = 10
"""Responses without which an epoch goes on."""
FLOOR: Final = 10


class AdaptiveWindow:
    """The adaptive limit of pushes in flight to APNs, from its responses: additive increase, multiplicative decrease.

    `limit`: the most, by the connections' stream limits; it starts there, for Apple asks for no ramp. `floor`: the
    least. Once an `EPOCH` the share of responses that pushed back (THROTTLED, UNAVAILABLE, or none in time) is looked at:
    above `TOLERATED` the window shrinks by that share, to half at most, else it grows by `GROWTH` of the limit.
    """

    __slots__ = ("_answered", "_epoch", "_floor", "_pushed_back", "_window", "limit")

    def __init__(self, limit: int, floor: int = FLOOR) -> None:
        if limit < 1 or floor < 1:
            raise ConfigurationError("a window's limit and floor are at least 1")
        self.limit = limit
        self._floor = floor
        self._window = float(limit)
        self._epoch = -math.inf
        self._answered = 0
        self._pushed_back = 0

    def answered(self, count: int = 1) -> None:
        """`count` pushes were accepted, or rejected for their content: the provider keeps up."""
        self._answered += count

    def pushed_back(self, count: int = 1) -> None:
        """`count` pushes were THROTTLED, UNAVAILABLE or got no response in time."""
        self._pushed_back += count

    def follow(self, limit: int) -> None:
        """Set the number of pushes that the connections allow; 0 without a connection."""
        limit = max(limit, 1)
        if self._window >= self.limit:
            self._window = float(limit)
        self.limit = limit
        self._window = min(self._window, float(limit))

    def window(self, now: float) -> int:
        """The number of pushes that may be in flight now."""
        if now - self._epoch >= EPOCH and self._answered + self._pushed_back >= ENOUGH:
            self._decide()
            self._epoch = now
        return max(int(self._window), min(self._floor, self.limit))

    def _decide(self) -> None:
        share = self._pushed_back / (self._answered + self._pushed_back)
        self._answered = self._pushed_back = 0
        if share > TOLERATED:
            self._window = max(self._window * max(1 - share, 0.5), min(self._floor, self.limit))
        else:
            self._window = min(self._window + max(GROWTH * self.limit, 1.0), float(self.limit))
