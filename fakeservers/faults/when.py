"""When a fault happens: a conjunction of conditions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeAlias

from fakeservers.faults.reading import choice, duration, flag, given, number, some, text, whole

PROVIDERS = ("apns", "fcm", "oauth")
MAX_COUNT = 1_000_000_000_000

Spans: TypeAlias = tuple[int | str, ...]
"""Numbers, and spans of them: 3, "5-9", "20-"."""

_SPAN = re.compile(r"([1-9][0-9]{0,11})-([1-9][0-9]{0,11})?")


def _numbers(value: Any) -> int | str:
    expected = 'a number from 1, or a span of them as "5-9" or "20-"'
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_COUNT:
        return value
    match = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if match is None or (match[2] and int(match[2]) < int(match[1])):
        raise ValueError(expected)
    return str(value)


NUMBERS = some(_numbers)


@dataclass(frozen=True, kw_only=True, slots=True)
class When:
    """The conditions of a fault. Without any it happens to every request, or every connection."""

    provider: tuple[str, ...] = given(some(choice(PROVIDERS), 3), ())
    """`apns`, `fcm` (everything at the fake FCM but token requests), `oauth`; empty for all of them."""
    token: str = given(text(500), "")
    """Prefix of the device token (APNs, lower case) or registration token."""
    path: str = given(text(2000), "")
    """Prefix of `:path`."""
    connection: tuple[int | str, ...] = given(NUMBERS, ())
    """Numbers of connections, 1 for the first one that reached the port."""
    connection_every: int = given(whole(0, MAX_COUNT), 0)
    """Every n-th connection."""
    after: float = given(duration, 0.0, seconds=True)
    """Seconds since the start of the plan."""
    until: float = given(duration, 0.0, seconds=True)
    """Seconds since the start of the plan, excluded; 0 for no end."""
    period: float = given(duration, 0.0, seconds=True)
    """Seconds after which the times repeat, `lasting` seconds of each period, counted from `after`."""
    lasting: float = given(duration, 0.0, seconds=True)
    """Seconds at the beginning of each period."""
    errors: int = given(whole(0, MAX_COUNT), 0)
    """Once per n errors on the connection: responses above 399 other than 410."""
    share: float = given(number(0, 1), 1.0)
    """Share of the requests (or connections) that meet the conditions above, drawn with the plan's seed."""
    nth: tuple[int | str, ...] = given(NUMBERS, ())
    """Numbers among those that meet the conditions above, 1 for the first."""
    every: int = given(whole(0, MAX_COUNT), 0)
    """Every n-th of them."""
    limit: int = given(whole(0, MAX_COUNT), 0)
    """At most n times; 0 for no limit."""
    per_connection: bool = given(flag, False)
    """`nth`, `every` and `limit` count on each connection by itself."""

    @property
    def counts(self) -> bool:
        """Whether a count must be kept."""
        return bool(self.nth or self.every or self.limit)

    def in_time(self, elapsed: float) -> bool:
        """Whether its times include this number of seconds after the start."""
        if elapsed < self.after or (self.until and elapsed >= self.until):
            return False
        return not self.period or (elapsed - self.after) % self.period < self.lasting


def within(spans: Spans, number: int) -> bool:
    """Whether the number is one of these, or in one of these spans."""
    for span in spans:
        if isinstance(span, int):
            if span == number:
                return True
            continue
        low, _, high = span.partition("-")
        if int(low) <= number and (not high or number <= int(high)):
            return True
    return False
