"""When a push that failed may be sent again: by the provider's own numbers, and never so that an outage grows.

Three independent parts. `RetryPolicy` says how long a push waits. `DelayHeap` keeps it until then; this costs memory, but no
stream and no worker. `RetryBudget` says how many of the retries that are due may be sent now. For each provider, the caller
does this:

    on a result        policy.delay(...) → heap.add(now + delay, ...), or None → report the result
    when it can send   granted = budget.take(256, now); repeats = heap.due(now, granted);
                       budget.give_back(granted - len(repeats)), and one more for each push that is `policy.too_old`
                       now, which is reported; the rest of the burst comes from the source
    source             is read only while the heap is not full; for n pushes from it that were sent: budget.earn(n)
    accepted retries   budget.repaid(n)
    nothing to do      wait until max(heap.next_due, now + budget.wait(now))

Sources: "Handling notification responses from APNs"; "Best practices when sending FCM messages at scale" and the
table of FCM's error codes. Where Apple gives no number, the value is marked as a choice of pushcore.
"""

from __future__ import annotations

import heapq
import math
import sys
from dataclasses import dataclass, fields
from itertools import count
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from ..arguments import check_choice, shown
from ..errors import AccessTokenError, ConfigurationError
from ..results import Result, Verdict
from .breaker import blames_configuration

if TYPE_CHECKING:
    from random import Random

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Which results are retried, when, and how often. All times are seconds.

    Each wait is the first wait, multiplied by `growth` for each earlier retry, plus a random part; it is never shorter
    than a Retry-After. THROTTLED, UNAVAILABLE and UNSENT are retried, because this cannot deliver a push twice;
    UNKNOWN is retried only if `unknown` says so. The first wait is one of these settings: `Reason.setting` says which.

    Raises:
        ConfigurationError: a setting is out of bounds or of a wrong type.
    """

    unknown: Literal["report", "resend"] = "report"
    """What to do with a push that was written and got no response: "report" it as UNKNOWN, so that no device gets it twice, or
    "resend" it, so that every device gets it."""
    max_attempts: int = 10
    """How often one push is sent, including the first time; 1 means no retry. With the default settings, `max_age` is reached
    first."""
    max_age: float = 3600.0
    """The longest time between the first and the last attempt: give up after 60 minutes (Google, "at scale"). All waiting counts:
    see `too_old`."""
    max_delay: float = 3600.0
    """The longest wait before one retry. If a Retry-After is longer, the result is reported and the push is not retried."""
    growth: float = 2.0
    """The factor from one wait to the next: exponential backoff (Apple and Google)."""
    jitter: float = 0.5
    """The largest random part that is added to a wait, as a fraction of it: pushes that failed together are not retried together
    (Google)."""
    apns_device_wait: float = 30.0
    """After APNs' 429 TooManyRequests, for this device alone: "with delay" (Apple); the number is our choice."""
    apns_token_wait: float = 1200.0
    """After APNs' 429 TooManyProviderTokenUpdates: a token may change every 20 minutes (Apple)."""
    apns_error_wait: float = 900.0
    """After APNs' 500 InternalServerError, and after a 5xx with no reason or an unknown one: 15 minutes (Apple)."""
    apns_unavailable_wait: float = 60.0
    """After APNs' 503 ServiceUnavailable or Shutdown: "later" (Apple); the number is our choice."""
    apns_early_wait: float | None = 5.0
    """Before the one early retry over another connection, after APNs' 500, Shutdown or IdleTimeout: our choice, as is common. None:
    no early retry."""
    fcm_wait: float = 10.0
    """After FCM's 500 and 503: at least 10 seconds, also if a Retry-After is shorter (Google, "at scale")."""
    fcm_quota_wait: float = 60.0
    """After FCM's 429 without Retry-After: at least 60 seconds (Google)."""
    transport_wait: float = 10.0
    """After UNSENT (there was no connection, or the transport's own attempts have failed) and after UNKNOWN: our choice, and Google's
    minimum."""
    max_delayed: int = 50_000
    """The number of pushes to a provider that wait for a retry, from which on the source is not read: about 50 MB."""
    budget_share: float = 0.2
    """How many retries each first attempt allows: an outage cannot multiply the load."""
    budget_rate: float = 10.0
    """Retries per second that are allowed in any case."""

    def __post_init__(self) -> None:
        check_choice("unknown", self.unknown, ("report", "resend"))
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.name == "unknown" or (value is None and setting.name == "apns_early_wait"):
                continue
            whole = setting.name in ("max_attempts", "max_delayed")
            least, words = _MINIMUMS.get(setting.name, (0.0, "0 or more"))
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                raise ConfigurationError(f"{setting.name} is a {'whole ' * whole}number, not {shown(value)}")
            most = MAX_GROWTH if setting.name == "growth" else sys.float_info.max
            if not least <= value <= most or (setting.name == "budget_rate" and value == 0):
                raise ConfigurationError(f"{setting.name} must be {words}, not {shown(value)}")

    def delay(self, result: Result, attempt: int, rng: Random, age: float = 0.0) -> float | None:
        """The wait before this push is sent again.

        Args:
            result: of the last attempt.
            attempt: the number of attempts so far, 1 after the first; attempts that the transport repeats by itself
                count as one.
            rng: for the jitter.
            age: seconds since the first attempt.

        Returns:
            Seconds to wait; None to report the result.
        """
        if attempt >= self.max_attempts:
            return None
        wait = self._first_wait(result)
        if wait is None:
            return None
        retry_after = _retry_after(result)
        early = self.apns_early_wait
        if early is not None and result.row.early:
            if attempt == 1:
                wait = early
            repeats = max(attempt - 2, 0)
        else:
            repeats = attempt - 1
        wait = min(wait * self.growth ** min(repeats, 60), self.max_delay)
        if retry_after is not None:
            wait = max(wait, retry_after)
        if wait > self.max_delay:
            return None
        wait = min(wait * (1 + self.jitter * rng.random()), self.max_delay)
        return wait if age + wait <= self.max_age else None

    def too_old(self, age: float) -> bool:
        """Whether a retry that is due `age` seconds after the first attempt is too late; then the last result is reported."""
        return age > self.max_age

    def _first_wait(self, result: Result) -> float | None:
        """The wait before the first retry; None if there must be none."""
        row = result.row
        if row.wait is None:
            return None
        if row.verdict is Verdict.UNKNOWN and self.unknown != "resend":
            return None
        if row.verdict is Verdict.UNSENT and blames_configuration(result.detail):
            return None
        setting = row.setting
        if row.asked_setting is not None and _retry_after(result) is not None:
            setting = row.asked_setting
        wait: float = row.wait if setting is None else getattr(self, setting)
        return wait


MAX_GROWTH: Final = 1000.0
"""Its sixtieth power, which is taken at most, is still a number."""
_MINIMUMS: Final = {
    "max_attempts": (1, "1 or more"),
    "max_delayed": (1, "1 or more"),
    "growth": (1.0, "from 1 to 1000"),
    "budget_rate": (0.0, "above 0"),
}


def _retry_after(result: Result) -> float | None:
    """The wait that the provider, or the issuer of the missing access token, asks for."""
    if result.retry_after is not None:
        return result.retry_after
    return result.detail.retry_after if isinstance(result.detail, AccessTokenError) else None


class DelayHeap(Generic[Item]):
    """Keeps what must wait, in the order in which it is due; what is due at the same time, in the order it came.

    `limit`: from how many on it is `full`. It takes more all the same, because pushes in flight can fail as well: the caller that
    reads the source stops then, so that it holds no more than the limit and the window. O(log n) each.
    """

    __slots__ = ("_entries", "_numbers", "limit")

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ConfigurationError(f"a delay heap's limit must be at least 1, not {limit}")
        self.limit = limit
        self._entries: list[tuple[float, int, Item]] = []
        self._numbers = count()

    def add(self, due: float, item: Item, number: int | None = None) -> int:
        """Keep `item` until `due`.

        Args:
            number: what an earlier `add` returned for it: then it keeps its place among those due at the same time.

        Returns:
            The number of the item, by which those due at the same time are in order.
        """
        if number is None:
            number = next(self._numbers)
        heapq.heappush(self._entries, (due, number, item))
        return number

    def due(self, now: float, most: int | None = None) -> list[Item]:
        """What is due by now and is no longer kept, the longest due first; `most` of it, the rest stays due."""
        entries = self._entries
        items: list[Item] = []
        while entries and entries[0][0] <= now and (most is None or len(items) < most):
            items.append(heapq.heappop(entries)[2])
        return items

    @property
    def next_due(self) -> float:
        """When the next is due, infinity when there is none. It may be past."""
        return self._entries[0][0] if self._entries else math.inf

    @property
    def full(self) -> bool:
        """Whether nothing new should be begun."""
        return len(self._entries) >= self.limit

    def clear(self) -> list[Item]:
        """Everything, as it would have been due: it is no longer kept."""
        items = [entry[2] for entry in sorted(self._entries, key=lambda entry: entry[:2])]
        self._entries.clear()
        return items

    def __len__(self) -> int:
        return len(self._entries)


class RetryBudget:
    """A budget of retries, so that an outage does not double the load.

    Each retry costs one credit. Credit has three sources: `share` for each first attempt, `rate` per second in any case,
    and one for each accepted retry, because then the provider can take more.

    While a provider rejects everything, it gets at most `share` more than the first attempts, and `rate`. While it rejects
    a part, the retries are fewer than `share` / (rejected part) of the first attempts, and no more than needed: with a
    `share` of 0.2 the worst case is 1.56 times the load, when 36 % are rejected. At the end of a campaign there are no
    first attempts. Then `rate` lets some retries through, and each accepted one pays for another: so the rest is sent
    within seconds after the outage.

    Retries without credit wait on the heap, before all others. At most `most` credit is saved, so that a long time without
    errors does not allow a storm. There is one budget per provider.
    """

    __slots__ = ("_at", "_credit", "_most", "_rate", "_share")

    def __init__(self, share: float = 0.2, rate: float = 10.0, most: float = 10_000.0) -> None:
        if not (0 <= share < math.inf and 0 < rate < math.inf and 1 <= most < math.inf):
            raise ConfigurationError(
                "a retry budget needs a share of 0 or more, a rate above 0, and to save 1 or more"
            )
        self._share = share
        self._rate = rate
        self._most = most
        self._credit = min(max(rate, 1.0), most)
        self._at = -math.inf

    def earn(self, first_attempts: int) -> None:
        """Pushes were sent for the first time: add their share to the budget."""
        self._credit = min(self._credit + self._share * first_attempts, self._most)

    def repaid(self, accepted_repeats: int) -> None:
        """Retries were accepted: return what they cost."""
        self._credit = min(self._credit + accepted_repeats, self._most)

    def take(self, wanted: int, now: float) -> int:
        """The number of retries that may be sent now, at most the given one; they are paid for."""
        self._accrue(now)
        granted = max(min(wanted, int(self._credit)), 0)
        self._credit -= granted
        return granted

    def give_back(self, unused: int) -> None:
        """Return retries that `take` granted and that were not sent."""
        self._credit = min(self._credit + unused, self._most)

    def wait(self, now: float) -> float:
        """Seconds until one retry may be sent; 0 if it may be sent now."""
        self._accrue(now)
        missing = 1.0 - self._credit
        # The microsecond makes up for what adding to a large `now` rounds off.
        return missing / self._rate + 1e-6 if missing > 0 else 0.0

    def _accrue(self, now: float) -> None:
        if now > self._at:
            if self._at > -math.inf:
                self._credit = min(self._credit + (now - self._at) * self._rate, self._most)
            self._at = now
