"""The surroundings of an engine, without a network: a client with responses from the test, and a journal that keeps a log."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from pushcore.engine.breaker import Trip
from pushcore.engine.rate import RateLimiter
from pushcore.engine.retry import RetryPolicy
from pushcore.engine.rules import Rules, Shared
from pushcore.errors import ClosedError, ConnectError, EventLoopError, TransportError
from pushcore.http2.exchange import Exchange, Sink, deliver, request
from pushcore.http2.headers import HeaderTemplate
from pushcore.http2.pool import Pool
from pushcore.metrics import Listener, Listeners, Metrics
from pushcore.reasons import Reason, lookup
from pushcore.requests import END
from pushcore.results import ACCEPTED, Accepted, Result, Verdict

TEMPLATE = HeaderTemplate([(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"push.example")])


class ScriptedPush:
    """A push with a row. `invalid`: no request can be made of it. `topic`: selects one of several clients."""

    def __init__(self, row: int = 1, *, invalid: Verdict | None = None, topic: str = "") -> None:
        self.row = row
        self.invalid = invalid
        self.topic = topic

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.row})"


class OtherScriptedPush(ScriptedPush):
    """A push of another provider."""


def pushes(count: int, first: int = 1) -> list[ScriptedPush]:
    return [ScriptedPush(row) for row in range(first, first + count)]


async def until_closed(results: AsyncIterable[Result]) -> list[Result]:
    """The results that come before the iteration ends because the engine was closed."""
    taken = []
    try:
        async for result in results:
            taken.append(result)
    except ClosedError:
        return taken
    raise AssertionError("the iteration ended as if it were complete")


class ScriptedPool:
    """Takes requests while `connected`, up to `capacity` at a time; the test responds to them."""

    def __init__(self, name: str = "apns", capacity: int = 10_000) -> None:
        self.name = name
        self.waiting: deque[Exchange] = deque()
        self.closed = False
        self.listeners: list[Callable[[], None]] = []
        self.events = Listeners()
        self.expiries: dict[str, float] = {}
        self.connected = True
        self.connection = SimpleNamespace(streams={}, capacity=capacity)
        self.links = [SimpleNamespace(connection=self.connection)]
        self.log: list[int] = []
        """The row of each request that was taken, in order."""

    def pump(self) -> None:
        while self.connected and self.waiting and len(self.in_flight) < self.connection.capacity:
            exchange = self.waiting.popleft()
            exchange.stream_id = 2 * len(self.log) + 1
            self.log.append(exchange.context.row)
            self.in_flight[exchange.stream_id] = exchange

    @property
    def in_flight(self) -> dict[int, Exchange]:
        """By stream."""
        streams: dict[int, Exchange] = self.connection.streams
        return streams

    def notify(self) -> None:
        for listener in list(self.listeners):
            listener()


class ScriptedRequests:
    """One exchange for each push that is not `invalid`."""

    def build(
        self,
        pushes: Iterable[Any],
        kind: type[Any],
        sink: Sink,
        deadline: float,
        made: list[Exchange],
        refused: list[Result],
    ) -> Any:
        for push in pushes:
            if type(push) is not kind:
                return push
            if push.invalid is not None:
                refused.append(Result(push, push.invalid, reason="BadTopic"))
            else:
                made.append(request(TEMPLATE, b"/", b"{}", (), sink, push, deadline))
        return END


class ScriptedClient:
    """A client of the engine. Responses come from `answer`, in the order of the calls."""

    def __init__(
        self,
        handles: type[ScriptedPush] = ScriptedPush,
        *,
        name: str = "apns",
        streams: int = 1000,
        max_connections: int = 1,
        quota: bool = False,
        topics: frozenset[str] | None = None,
        capacity: int = 10_000,
    ) -> None:
        self.handles = handles
        self.streams = streams
        self.max_connections = max_connections
        self.quota = quota
        self.topics = topics
        self.environment: str | None = None
        self.timeout = 10.0
        self.requests = ScriptedRequests()
        self.scripted = ScriptedPool(name, capacity)
        self.opened = False
        self.loop: asyncio.AbstractEventLoop | None = None
        """Another one than that of the test refuses it."""
        self.calls: list[str] = []
        """"open" and "close", as they came."""
        self._answers: dict[Exchange, dict[str, Any]] = {}

    @property
    def _dispatcher(self) -> ScriptedClient:
        return self

    @property
    def pool(self) -> Pool:
        return cast(Pool, self.scripted)

    @property
    def takes_all(self) -> bool:
        return self.topics is None

    def takes(self, push: Any) -> bool:
        return self.topics is None or push.topic in self.topics

    def check_loop(self) -> None:
        if self.loop is not None and self.loop is not asyncio.get_running_loop():
            raise EventLoopError("another event loop")

    async def open(self) -> None:
        self.opened = True
        self.calls.append("open")

    async def close(self) -> None:
        self.opened = False
        self.calls.append("close")

    def accept(self, finished: list[Exchange], results: list[Result]) -> list[Exchange]:
        others = []
        for exchange in finished:
            if exchange.status != 200 or exchange.error is not None:
                others.append(exchange)
                continue
            accepted = Accepted()
            accepted.push, accepted.attempts = exchange.context, exchange.attempts
            accepted._id, accepted._find = None, None
            results.append(accepted)
        return others

    def result(self, exchange: Exchange, push: Any) -> Result | None:
        outcome = self._answers.pop(exchange, None)
        if outcome is None:  # ended before it was sent
            return Result(push, Verdict.UNSENT, None, exchange.attempts, detail=exchange.error)
        if outcome["verdict"] is None:
            return None
        if outcome["row"] is None:
            provider = "fcm" if self.quota else self.scripted.name
            outcome["row"] = lookup(provider, exchange.status, outcome["reason"])
        return Result(push, status=exchange.status, attempts=exchange.attempts, **outcome)

    # --- the test's side ------------------------------------------------------------------------------------------

    @property
    def sent(self) -> list[int]:
        """The row of each request so far, in order."""
        return self.scripted.log

    def answer(
        self,
        *rows: int,
        verdict: Verdict | None = ACCEPTED,
        reason: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        detail: str | TransportError | None = None,
        row: Reason | None = None,
    ) -> None:
        """Answer requests in flight together, those of all rows unless some are named, and tell the engine.

        `row`: the reason's; None for the one of the provider's table. `verdict`: None for an exchange that the client has sent once more.
        """
        in_flight = self.scripted.in_flight
        chosen = [key for key, exchange in in_flight.items() if not rows or exchange.context.row in rows]
        assert not rows or sorted(in_flight[key].context.row for key in chosen) == sorted(rows)
        finished = [in_flight.pop(key) for key in chosen]
        for exchange in finished:
            exchange.status = status or (200 if verdict is ACCEPTED else 400)
            if exchange.status != 200:
                self._answers[exchange] = {
                    "verdict": verdict,
                    "reason": reason,
                    "retry_after": retry_after,
                    "detail": detail,
                    "row": row,
                }
        deliver(finished)
        self.scripted.pump()
        self.scripted.notify()

    def lose(self, *rows: int) -> None:
        """End requests that were never written."""
        for row in rows:
            key = next(
                key for key, exchange in self.scripted.in_flight.items() if exchange.context.row == row
            )
            exchange = self.scripted.in_flight.pop(key)
            exchange.error = ConnectError("no connection")
            deliver([exchange])
        self.scripted.notify()


class EventLog(Listener):
    """A listener that keeps each event except those of connections."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def results(self, provider: str, batch: Any) -> None:
        self.events.append(("results", provider, [result.push.row for result in batch]))

    def retried(self, provider: str, reason: str | None, count: int, delay: float) -> None:
        self.events.append(("retried", provider, reason, count, delay))

    def rate_limited(self, provider: str, seconds: float) -> None:
        self.events.append(("rate_limited", provider, seconds))

    def slowed(self, provider: str, rate: float) -> None:
        self.events.append(("slowed", provider, rate))

    def breaker_opened(self, provider: str, sentence: str) -> None:
        self.events.append(("breaker_opened", provider, sentence))


class ScriptedJournal:
    """A `CampaignJournal` that knows the outcomes of `known` rows and keeps every call in `log`."""

    def __init__(self, known: Iterable[int] = ()) -> None:
        self.known = set(known)
        self.log: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        """What `record_all` and `committed` raise."""

    def steps(self, pushes: Iterable[Any], /) -> Iterator[Any]:
        for push in pushes:
            yield None if push.row in self.known else push

    async def pending_async(self, pushes: AsyncIterable[Any], /) -> AsyncIterator[Any]:
        async for push in pushes:
            if push.row not in self.known:
                yield push

    async def room(self, rows: int, /) -> None:
        self.log.append(("room", rows))

    def record_all(self, results: Iterable[Result], /) -> None:
        self.log.append(("record", [result.push.row for result in results]))
        if self.error is not None:
            raise self.error

    def put_back(self, push: Any, attempts: int, /) -> None:
        self.log.append(("put back", push.row, attempts))

    def take_back(self, push: Any, attempts: int, /) -> None:
        self.log.append(("take back", push.row, attempts))

    async def committed(self) -> None:
        self.log.append(("committed",))
        if self.error is not None:
            raise self.error


class SharedTrip:
    """A `Shared` of processes that share a trip and nothing else."""

    def __init__(self) -> None:
        self.trip: Trip | None = None
        self.paused = False

    def stop(self, trip: Trip) -> Trip:
        self.trip = self.trip or trip
        return self.trip

    def limiter(self, name: str, limiter: RateLimiter) -> RateLimiter:
        return limiter

    def peers(self) -> None:
        return None


def rules(
    *,
    retry: RetryPolicy | None = None,
    rate: Any = None,
    breaker: bool = False,
    listener: Listener | None = None,
    shared: Shared | None = None,
    pending_timeout: float | None = None,
    start: float = -math.inf,
) -> Rules:
    """An engine's rules: nothing is retried, limited or stopped unless it is said."""
    metrics = listener if isinstance(listener, Metrics) else None
    events = Listeners(listener) if listener is not None else Listeners()
    return Rules(
        retry, rate, breaker, events, listener is not None, metrics, shared, Random(3), pending_timeout, start
    )


STEADY = RetryPolicy(jitter=0.0, apns_early_wait=None)
"""Waits without a random part."""
NEVER = math.inf
