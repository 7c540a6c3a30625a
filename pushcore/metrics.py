"""The metrics of a sender: plain integers, a histogram of latencies, and a `Listener` for single events.

`Metrics` is fed with one call for each batch of results or each event, never for each push, and read as a plain dict by
the exporter: `pushcore.telemetry` for Prometheus and OpenTelemetry, a progress view, another process. Everything
is bounded: reasons that are in no table are counted as "other".
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import filterfalse
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, Protocol

from .arguments import check_texts
from .errors import TransportError
from .latency import Histogram
from .results import Result, Verdict

log = logging.getLogger("pushcore")

Snapshot = dict[str, Any]
"""What `Metrics.snapshot` gives: for each name of `FAMILIES` a list of rows, labels first and the value last; under
"duration" the buckets of each provider. Only dicts, lists, strings and numbers, so JSON carries it between processes."""

OTHER: Final = "other"
MAX_PROVIDERS: Final = 8
"""Providers whose latencies are kept apart; there are three at most."""

# --- events -------------------------------------------------------------------------------------------------------

_is_accepted: Final = attrgetter("ok")


class Listener(Protocol):
    """Receives events while pushes are sent. Called on the event loop, per event and never per push.

    Derive from it and override the methods of interest; the default ones do nothing. `provider` is "apns", "fcm", or "oauth" for
    access tokens; `host` is the server's name. A method must not block; what it raises is logged and goes no further.
    """

    # Each body has a `return`: to a type checker, a protocol's method without a body is one that must be written.

    def results(self, provider: str, batch: Sequence[Result]) -> None:
        """Pushes have got their results. `batch` is the caller's again when this returns.

        Args:
            provider: "apns", "fcm", or "oauth" for access tokens.
            batch: the caller's again when this returns.
        """
        return

    def connection_opened(self, provider: str, host: str) -> None:
        """A connection can take requests.

        Args:
            provider: "apns", "fcm", or "oauth" for access tokens.
            host: the server's name.
        """
        return

    def connection_failed(self, provider: str, host: str, error: TransportError) -> None:
        """An attempt to connect failed; there will be another, later, while requests wait.

        Args:
            provider: "apns", "fcm", or "oauth" for access tokens.
            host: the server's name.
            error: why.
        """
        return

    def connection_closed(self, provider: str, host: str, error: TransportError | None) -> None:
        """A connection has ended, for this reason; None when we closed it.

        Args:
            provider: "apns", "fcm", or "oauth" for access tokens.
            host: the server's name.
            error: why; None when we closed it.
        """
        return

    def goaway(self, provider: str, host: str, code: int, reason: str | None) -> None:
        """The server ended a connection by GOAWAY: `code` of RFC 9113, section 7, and the provider's own word.

        Args:
            provider: "apns", "fcm", or "oauth" for access tokens.
            host: the server's name.
            code: of RFC 9113, section 7.
            reason: the provider's own word, if there is one.
        """
        return

    def token_rotated(self, provider: str) -> None:
        """There is a new provider token or access token."""
        return

    def retried(self, provider: str, reason: str | None, count: int, delay: float) -> None:
        """Pushes were delayed after a temporary rejection, and will be retried.

        Args:
            provider: "apns", "fcm", or "oauth" for access tokens.
            reason: the provider's.
            count: how many pushes.
            delay: seconds.
        """
        return

    def rate_limited(self, provider: str, seconds: float) -> None:
        """The provider asked for a pause.

        Args:
            provider: "apns", "fcm", or "oauth" for access tokens.
            seconds: the length of the pause, in which no push is sent.
        """
        return

    def slowed(self, provider: str, rate: float) -> None:
        """The provider rejects some pushes because of their rate (429), so fewer are sent. Called once in a while, not for each rejection.

        Args:
            provider: "apns", "fcm", or "oauth" for access tokens.
            rate: pushes per second from now on.
        """
        return

    def breaker_opened(self, provider: str, sentence: str) -> None:
        """The breaker has opened: the campaign stops.

        Args:
            provider: "apns", "fcm", or "oauth" for access tokens.
            sentence: what to correct.
        """
        return


class Listeners(Listener):
    """Several listeners as one. An exception of one is logged, and the remaining ones are still called."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = self.listening = list(listeners)
        """Empty without listeners."""

    def add(self, listener: Listener) -> None:
        """Call it, too, from now on."""
        self._listeners.append(listener)

    def remove(self, listener: Listener) -> None:
        """Call it no more. Raises `ValueError` when it was not added."""
        self._listeners.remove(listener)

    def _tell(self, event: str, *details: Any) -> None:
        for listener in self._listeners.copy():
            try:
                getattr(listener, event)(*details)
            except Exception:
                log.exception("%s of a listener failed", event)

    def durations(self, provider: str, seconds: Sequence[float]) -> None:
        """Those that are `Metrics` count how long pushes took."""
        for listener in self._listeners:
            if isinstance(listener, Metrics):
                listener.duration(provider).observe_all(seconds)

    def results(self, provider: str, batch: Sequence[Result]) -> None:
        """See `Listener`, as for the other methods."""
        self._tell("results", provider, batch)

    def connection_opened(self, provider: str, host: str) -> None:
        self._tell("connection_opened", provider, host)

    def connection_failed(self, provider: str, host: str, error: TransportError) -> None:
        self._tell("connection_failed", provider, host, error)

    def connection_closed(self, provider: str, host: str, error: TransportError | None) -> None:
        self._tell("connection_closed", provider, host, error)

    def goaway(self, provider: str, host: str, code: int, reason: str | None) -> None:
        self._tell("goaway", provider, host, code, reason)

    def token_rotated(self, provider: str) -> None:
        self._tell("token_rotated", provider)

    def retried(self, provider: str, reason: str | None, count: int, delay: float) -> None:
        self._tell("retried", provider, reason, count, delay)

    def rate_limited(self, provider: str, seconds: float) -> None:
        self._tell("rate_limited", provider, seconds)

    def slowed(self, provider: str, rate: float) -> None:
        self._tell("slowed", provider, rate)

    def breaker_opened(self, provider: str, sentence: str) -> None:
        self._tell("breaker_opened", provider, sentence)


# --- counters -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """A metric: its name, its labels, and what it says. A gauge goes up and down. `merged`: what is made of the values of
    several processes."""

    name: str
    labels: tuple[str, ...]
    text: str
    gauge: bool = False
    merged: Callable[[list[float]], float] = sum


FAMILIES: Final[Mapping[str, MetricFamily]] = MappingProxyType(
    {
        "sent": MetricFamily(
            "pushcore_sent",
            ("provider", "outcome", "reason"),
            "Pushes with their final result, by verdict and the provider's reason.",
        ),
        "retries": MetricFamily("pushcore_retries", ("provider", "reason"), "Pushes that were scheduled for a retry."),
        "dials": MetricFamily("pushcore_dials", ("provider", "outcome"), "Connection attempts: opened or failed."),
        "goaways": MetricFamily("pushcore_goaway", ("provider", "reason"), "Connections that the server ended by GOAWAY."),
        "tokens": MetricFamily("pushcore_token_rotations", ("provider",), "New provider or access tokens."),
        "breaker": MetricFamily(
            "pushcore_breaker_open", ("provider",), "1 when the breaker has stopped the campaign.", True, max
        ),
        "in_flight": MetricFamily("pushcore_in_flight", ("provider",), "Requests written and without a response.", True),
        "connections": MetricFamily("pushcore_connections", ("provider",), "Open connections.", True),
        "queue_depth": MetricFamily(
            "pushcore_queue_depth",
            ("provider", "queue"),
            "What waits: requests for a connection (pool), pushes for their next try (retry), pushes in the work queue.",
            True,
        ),
        "time_lag": MetricFamily(
            "pushcore_time_lag_seconds", ("provider",), "Age of the oldest waiting push.", True, max
        ),
        "allowed_rate": MetricFamily(
            "pushcore_allowed_rate",
            ("provider",),
            "Pushes a second that may leave now, by --rate or the quota and the 429s: 0 during a pause.",
            True,
            max,
        ),
        "expiries": MetricFamily(
            "pushcore_credential_expiry_timestamp_seconds",
            ("provider", "credential"),
            "When the certificate, or the newest provider or access token, expires, in UNIX seconds.",
            True,
            min,
        ),
    }
)  # fmt: skip
"""The metrics by the attribute of `Metrics` that holds them. Counters get "_total" at the end of their names."""

DURATION: Final = MetricFamily(
    "pushcore_operation_duration_seconds",
    ("provider",),
    "Seconds from the moment a client takes a push until its result.",
)

Labels = tuple[str, ...]


class WatchedPool(Protocol):
    """What `Metrics.watch` looks at: a `pushcore.http2.pool.Pool`."""

    @property
    def waiting(self) -> Any:
        """The requests that wait for a connection; has a length."""

    @property
    def links(self) -> Sequence[Any]:
        """The open connections; each has a `connection.streams` with a length."""

    @property
    def expiries(self) -> Mapping[str, float]:
        """When the credentials end, in UNIX seconds, by their kind."""


class Metrics(Listener):
    """The numbers of one process. Feeding is for the event loop's thread, `snapshot` for any.

    The attributes named in `FAMILIES` are dicts from labels to numbers: `metrics.retries["fcm",
    "QUOTA_EXCEEDED"] += 3` after `word` has made the reason a known one. `queue_depth`, `time_lag`,
    `allowed_rate` and `breaker` are set, not added to. `in_flight`, `connections` and the expiries of
    credentials are read from the pools that are watched. It is also a `Listener`: added to a pool's `events` it
    counts what happens there.

    Args:
        reasons: the words that are kept apart in `sent`, `retries` and `goaways`: those of
            `apns.reasons.REASONS`, `fcm.errors.REASONS`. The names of our own errors are always among them,
            everything else is "other".
    """

    def __init__(self, reasons: Iterable[str] = ()) -> None:
        known = check_texts("reasons", reasons, 'a list of words such as ["BadDeviceToken"]')
        self._known = {"", OTHER, *_error_names(TransportError), *known}
        self._watched: list[tuple[str, WatchedPool]] = []
        self.sent = _Counts()
        self.retries = _Counts()
        self.dials = _Counts()
        self.goaways = _Counts()
        self.tokens = _Counts()
        self.breaker = _Counts()
        self.queue_depth = _Counts()
        self.time_lag = _Counts()
        self.allowed_rate = _Counts()
        self.durations: dict[str, Histogram] = {}

    def word(self, reason: str | None) -> str:
        """The reason as a label: itself when it is known, "other" when not, "" for None."""
        return "" if reason is None else reason if reason in self._known else OTHER

    def duration(self, provider: str) -> Histogram:
        """The latency histogram of a provider, for code that observes: `histogram.observe(seconds)`."""
        histogram = self.durations.get(provider)
        if histogram is None:
            if len(self.durations) >= MAX_PROVIDERS:
                provider = OTHER
            histogram = self.durations.setdefault(provider, Histogram())
        return histogram

    def watch(self, provider: str, pool: WatchedPool) -> Callable[[], None]:
        """Read connections, requests in flight and waiting from a pool on every snapshot; returns a function that ends it.

        Args:
            provider: "apns", "fcm", or "oauth" for access tokens.
            pool: the client's.

        Returns:
            A function that ends it.
        """
        entry = (provider, pool)
        self._watched.append(entry)
        return lambda: self._watched.remove(entry) if entry in self._watched else None

    # --- as a listener --------------------------------------------------------------------------------------------

    def results(self, provider: str, batch: Sequence[Result]) -> None:
        """A batch of results: about 0.02 µs for each that was accepted."""
        sent = self.sent
        others = list(filterfalse(_is_accepted, batch))
        for result in others:
            sent[provider, result.verdict.value, self.word(_reason(result))] += 1
        accepted = len(batch) - len(others)
        if accepted:
            sent[provider, Verdict.ACCEPTED.value, ""] += accepted

    def connection_opened(self, provider: str, host: str) -> None:
        """A connection can take requests."""
        self.dials[provider, "opened"] += 1

    def connection_failed(self, provider: str, host: str, error: TransportError) -> None:
        """An attempt to connect failed."""
        self.dials[provider, "failed"] += 1

    def goaway(self, provider: str, host: str, code: int, reason: str | None) -> None:
        """The server ended a connection by GOAWAY."""
        self.goaways[provider, self.word(reason)] += 1

    def token_rotated(self, provider: str) -> None:
        """There is a new provider token or access token."""
        self.tokens[(provider,)] += 1

    def retried(self, provider: str, reason: str | None, count: int, delay: float) -> None:
        """Count delayed pushes."""
        self.retries[provider, self.word(reason)] += count

    def breaker_opened(self, provider: str, sentence: str) -> None:
        """The breaker stopped the campaign."""
        self.breaker[(provider,)] = 1

    # --- reading --------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Everything as it is now; see `Snapshot`."""
        rows: Snapshot = {}
        for name in FAMILIES:
            if name not in ("in_flight", "connections", "queue_depth", "expiries"):
                rows[name] = _rows(getattr(self, name))
        in_flight, connections, depths = _Counts(), _Counts(), _Counts(self.queue_depth.copy())
        expiries = _Counts()
        for provider, pool in self._watched.copy():
            links = list(pool.links)  # the event loop's thread may change it meanwhile
            connections[(provider,)] += len(links)
            in_flight[(provider,)] += sum(len(link.connection.streams) for link in links)
            depths[provider, "pool"] += len(pool.waiting)
            for credential, expiry in dict(pool.expiries).items():
                expiries[provider, credential] = min(expiry, expiries.get((provider, credential), math.inf))
        rows["in_flight"], rows["connections"] = _rows(in_flight), _rows(connections)
        rows["queue_depth"], rows["expiries"] = _rows(depths), _rows(expiries)
        rows["duration"] = {
            provider: {"counts": histogram.counts.copy(), "total": histogram.total}
            for provider, histogram in self.durations.copy().items()
        }
        return rows


class _Counts(dict[Any, float]):
    """Numbers by labels; those never counted are 0. Labels are a tuple, also where there is one."""

    def __missing__(self, key: Labels) -> float:
        return 0


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """One snapshot of several processes. Counters and gauges are added. For time lag and breaker the largest value is taken, for the
    expiry of credentials the earliest.

    Args:
        snapshots: of `Metrics.snapshot`, one per process.

    Returns:
        A snapshot.

    Raises:
        ValueError: latencies were counted in different buckets: the processes have different versions of pushcore.
    """
    tables: dict[str, dict[Labels, list[float]]] = {name: {} for name in FAMILIES}
    durations: dict[str, Histogram] = {}
    for snapshot in snapshots:
        for name, table in tables.items():
            for *labels, value in snapshot[name]:
                table.setdefault(tuple(labels), []).append(value)
        for provider, counts in snapshot["duration"].items():
            durations.setdefault(provider, Histogram()).merge(counts["counts"], counts["total"])
    merged: Snapshot = {
        name: [[*labels, FAMILIES[name].merged(values)] for labels, values in sorted(table.items())]
        for name, table in tables.items()
    }
    merged["duration"] = {
        provider: {"counts": histogram.counts, "total": histogram.total}
        for provider, histogram in durations.items()
    }
    return merged


def _rows(counts: _Counts) -> list[list[Any]]:
    # `copy` is one step for the interpreter, so no other thread can change it on the way.
    return [[*labels, value] for labels, value in sorted(counts.copy().items())]


def _reason(result: Result) -> str | None:
    if result.reason is None and isinstance(result.detail, TransportError):
        return type(result.detail).__name__
    return result.reason


def _error_names(kind: type[Exception]) -> set[str]:
    names = {kind.__name__}
    for subclass in kind.__subclasses__():
        names |= _error_names(subclass)
    return names
