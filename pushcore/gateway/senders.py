"""`AppSender`: one provider of one app. All requests share its engine, and so its connections, its rate and its retries.

    requests ──▶ FairQueue ──▶ one endless `send_many` ──▶ each result to the request that waits for it

The engine gets only as many pushes as its connections can carry. All others wait in the queue, where callers take turns, so
a push does not wait behind all pushes of another caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, Final, Protocol

from ..apns.reasons import REASONS as APNS_REASONS
from ..engine.engine import LARGEST_WINDOW, PushEngine, result_lists
from ..engine.rate import Rate
from ..engine.retry import RetryPolicy
from ..engine.rules import PushClient, Shared, dispatcher_of
from ..errors import ClosedError, TransportError
from ..fcm.errors import REASONS as FCM_REASONS
from ..metrics import Metrics
from ..models.apns import Broadcast
from ..reasons import printable_word
from ..results import Result, Verdict
from .breakers import CallerBreaker
from .fair import FairQueue
from .webhooks import Webhook

log = logging.getLogger("pushcore.gateway")

BURST: Final = 256
"""Pushes that are handed to the engine at a time."""
REQUEST: Final = 25.0
"""Seconds in which a request has its results: Expo's clients and most proxies wait for 30."""
QUEUED: Final = 4.0
"""Seconds of them that a push may wait for its turn."""
PENDING: Final = 3.0
"""Seconds of them that each attempt may wait for the rate limit."""
RETRIED: Final = 5.0
"""Seconds of them after which no retry begins. With two waits for the rate and 10 s for the last attempt, all are used."""
IDLE: Final = 1.0
"""Seconds without a push after which a sender that is replaced is closed."""
RESTART: Final = 0.1
"""Seconds until the engine is restarted after an error in it."""
REASON_NAMES: Final = (*APNS_REASONS, *FCM_REASONS)
"""The reasons that metrics show by name."""
INTERNAL: Final = "may have been delivered: internal error"
"""The detail of a result whose outcome is unknown because of an error in pushcore."""


class Waiter(Protocol):
    """What takes results: a request."""

    def finish(self, entries: Sequence[Entry], results: Sequence[Result]) -> None:
        """The results of some of its pushes, in the order of `entries`."""


class Submitted:
    """What the pushes of one `submit` have in common.

    Args:
        sender: sends them.
        caller: whose breaker and share count.
        waiter: gets the results.
    """

    __slots__ = ("breaker", "caller", "waiter")

    def __init__(self, sender: AppSender, caller: str, waiter: Waiter) -> None:
        self.caller = caller
        self.waiter = waiter
        self.breaker = sender.breaker(caller)


Entry = tuple[Any, int, Submitted]
"""A push on its way, its key, and what it was submitted with. A tuple: an object would cost as much as its encoding."""
_is_accepted: Final = attrgetter("ok")
_pushed: Final = attrgetter("push")
_push_of: Final = itemgetter(0)
_submitted_of: Final = itemgetter(2)


class Submissions(dict["AppSender", tuple[Submitted, list[Entry]]]):
    """The pushes of one request for each sender, until `submit`.

    Args:
        caller: whose they are.
        waiter: gets the results.
    """

    def __init__(self, caller: str, waiter: Waiter) -> None:
        super().__init__()
        self._caller = caller
        self._waiter = waiter

    def __missing__(self, sender: AppSender) -> tuple[Submitted, list[Entry]]:
        submission = self[sender] = Submitted(sender, self._caller, self._waiter), []
        return submission

    def submit(self) -> None:
        """Send them. What stays is what `withdraw` takes."""
        for sender, (submitted, entries) in self.items():
            self[sender] = submitted, sender.submit(submitted, entries)

    def withdraw(self, detail: str) -> None:
        """End as UNSENT those that have not been handed to an engine."""
        for sender, (submitted, entries) in self.items():
            sender.withdraw(submitted, entries, detail)


class SenderMetrics(Metrics):
    """The numbers of a sender, and what its readiness needs.

    Attributes:
        token_at: when there was a new provider or access token, by the event loop's clock; None before the first.
        problem: why the last attempt to connect failed; "" when it did not.
    """

    def __init__(self) -> None:
        super().__init__(REASON_NAMES)
        self.token_at: float | None = None
        self.problem = ""

    def token_rotated(self, provider: str) -> None:
        """See `Listener`."""
        super().token_rotated(provider)
        self.token_at = asyncio.get_running_loop().time()

    def connection_opened(self, provider: str, host: str) -> None:
        """See `Listener`."""
        super().connection_opened(provider, host)
        self.problem = ""

    def connection_failed(self, provider: str, host: str, error: TransportError) -> None:
        """See `Listener`."""
        super().connection_failed(provider, host, error)
        self.problem = printable_word(str(error), 200) or type(error).__name__


class AppSender:
    """See the module. Open it on the event loop that it is used on.

    Args:
        app: id of the app.
        provider: "apns" or "fcm".
        environment: of APNs; "" for FCM.
        client: sends. The sender opens and closes it.
        rate: of all instances; None for the provider's.
        fleet: gives what instances have in common, see `queue.fleet.Fleet`; None for nothing.
    """

    def __init__(
        self,
        app: str,
        provider: str,
        environment: str,
        client: PushClient[Any],
        *,
        rate: Rate | None = None,
        fleet: Callable[[], AbstractAsyncContextManager[Shared]] | None = None,
    ) -> None:
        self.app = app
        self.provider = provider
        self.environment = environment
        self.client: Any = client
        self.metrics = SenderMetrics()
        dispatcher = dispatcher_of(client)
        self.window = max(min(dispatcher.streams * dispatcher.max_connections, LARGEST_WINDOW), 2)
        self._queue: FairQueue[Entry] = FairQueue(max(self.window // 2, 1))
        self._sending: dict[int, Entry] = {}
        self._breakers: dict[str, CallerBreaker] = {}
        self._rate = rate
        self._fleet = fleet
        self._engine: PushEngine[Any]
        self._opened = AsyncExitStack()
        self._wake: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._used_at = 0.0
        self.webhooks: Sequence[Webhook] = ()
        """Who gets the results, beside whom they are for."""
        self._closed = False
        self._broadcasts: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """For logs: "shop/apns/production"."""
        return "/".join(part for part in (self.app, self.provider, self.environment) if part)

    async def open(self) -> None:
        """Get ready to send."""
        self._loop = asyncio.get_running_loop()
        shared = await self._opened.enter_async_context(self._fleet()) if self._fleet is not None else None
        self._engine = await self._opened.enter_async_context(
            PushEngine(
                self.client,
                retry=RetryPolicy(max_age=RETRIED),
                window=2 * self.window,
                rate=self._rate,
                breaker=False,
                listener=self.metrics,
                shared=shared,
                pending_timeout=PENDING,
            )
        )
        self._used_at = self._loop.time()
        self._task = self._loop.create_task(self._run(), name=f"pushcore gateway {self.name}")

    async def close(self) -> None:
        """Finish what was submitted, close the connections, and accept no more pushes."""
        self._closed = True
        if self._task is None:  # it was never opened, or not to its end
            await self._opened.aclose()
            return
        self._wake_up()
        await self._task
        await asyncio.gather(*self._broadcasts)
        await self._opened.aclose()

    async def close_when_idle(self) -> None:
        """Close it when no request uses it any more; it has been replaced."""
        while self.busy or self._loop.time() - self._used_at < IDLE:  # noqa: ASYNC110  # time alone ends it
            await asyncio.sleep(IDLE / 4)
        await self.close()

    @property
    def busy(self) -> bool:
        """Whether any push has no result yet."""
        return bool(self._sending or self._queue.size or self._broadcasts)

    @property
    def queued(self) -> int:
        """Pushes in the queue."""
        return self._queue.size

    def breaker(self, caller: str) -> CallerBreaker:
        """The caller's breaker here."""
        breaker = self._breakers.get(caller)
        if breaker is None:
            breaker = self._breakers[caller] = CallerBreaker(self._loop.time)
        return breaker

    @property
    def connections(self) -> int:
        """Open connections to the provider."""
        return len(dispatcher_of(self.client).pool.links) if self.client.opened else 0

    @property
    def problem(self) -> str:
        """Why the last attempt to connect failed; "" when it did not."""
        return self.metrics.problem

    @property
    def ready(self) -> bool:
        """Whether pushes can be sent: it is open, and the last attempt to connect did not fail."""
        return bool(self.client.opened and (self.connections or not self.problem))

    @property
    def token_age(self) -> float | None:
        """Seconds since there was a new provider or access token; None before the first, or without tokens."""
        at = self.metrics.token_at
        return None if at is None else self._loop.time() - at

    @property
    def open_breakers(self) -> dict[str, str]:
        """Why each caller's breaker is open, where it is."""
        return {
            caller: breaker.trip.sentence
            for caller, breaker in self._breakers.items()
            if breaker.trip is not None
        }

    def submit(self, submitted: Submitted, entries: list[Entry]) -> list[Entry]:
        """Send pushes. `finish` of their waiter is called with the result of each once, perhaps before this returns.

        Args:
            submitted: of this sender.
            entries: the pushes, all of them with `submitted`.

        Returns:
            What `withdraw` takes.
        """
        breaker, caller = submitted.breaker, submitted.caller
        if breaker.trip is not None or self._closed:
            entries = self._permitted(breaker, entries)
        if Broadcast in set(map(type, map(_push_of, entries))):  # rare, and no push of an engine
            entries = self._broadcasting(entries)
        if entries:
            self._queue.add(caller, entries)
            self._wake_up()
        return entries

    def _permitted(self, breaker: CallerBreaker, entries: list[Entry]) -> list[Entry]:
        """Those that may be sent though a breaker is open; the others end as UNSENT."""
        permitted: list[Entry] = []
        for entry in entries:
            wait = breaker.refuses()
            if self._closed or wait is not None:
                detail = (
                    f"not sent: {breaker.trip}"
                    if breaker.trip is not None
                    else "not sent: the gateway is stopping"
                )
                result = Result(entry[0], Verdict.UNSENT, retry_after=wait or 1.0, detail=detail)
                entry[2].waiter.finish([entry], [result])
            else:
                permitted.append(entry)
        return permitted

    def _broadcasting(self, entries: list[Entry]) -> list[Entry]:
        """Send the broadcasts among these; the others."""
        for entry in entries:
            if type(entry[0]) is Broadcast:
                task = self._loop.create_task(self._broadcast(entry), name="pushcore gateway broadcast")
                self._broadcasts.add(task)
                task.add_done_callback(self._broadcasts.discard)
        return [entry for entry in entries if type(entry[0]) is not Broadcast]

    async def _broadcast(self, entry: Entry) -> None:
        try:
            result = await self.client.broadcast(entry[0])
        except Exception as error:
            log.error("%s: a broadcast failed: %s", self.name, printable_word(repr(error), 300))
            result = Result(entry[0], Verdict.UNKNOWN, detail=INTERNAL)
        self._finish(entry[2], [entry], [result])

    def withdraw(self, submitted: Submitted, entries: list[Entry], detail: str) -> None:
        """End as UNSENT those of these pushes that have not been handed to the engine."""
        removed = self._queue.remove(submitted.caller, {id(entry) for entry in entries})
        if removed:
            results = [Result(push, Verdict.UNSENT, detail=detail) for push, _, _ in removed]
            self._finish(submitted, removed, results)

    def _finish(self, submitted: Submitted, entries: list[Entry], results: list[Result]) -> None:
        """Pushes that were submitted together have their results."""
        breaker = submitted.breaker
        if breaker.trip is None and all(map(_is_accepted, results)):
            breaker.accepted += len(results)
        else:
            for result in results:
                if breaker.seen(result) and breaker.trip is not None:
                    sentence = breaker.trip.sentence
                    log.warning(
                        "%s: the pushes of caller %s are stopped: %s", self.name, submitted.caller, sentence
                    )
        for webhook in self.webhooks:
            for result in results:
                webhook.add(self.provider, self.environment, submitted.caller, result)
        submitted.waiter.finish(entries, results)

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _source(self) -> AsyncIterator[list[Any]]:
        sending, queue = self._sending, self._queue
        while True:
            entries = queue.take(min(self.window - len(sending), BURST))
            if entries:
                self._used_at = self._loop.time()
                pushes = list(map(_push_of, entries))
                sending.update(zip(map(id, pushes), entries, strict=True))
                yield pushes
            elif self._closed and not queue.size:
                return
            else:
                self._wake = self._loop.create_future()
                await self._wake
                self._wake = None

    async def _run(self) -> None:
        pop, queue = self._sending.pop, self._queue
        while True:
            try:
                async with contextlib.aclosing(result_lists(self._engine, self._source())) as batches:
                    async for results in batches:
                        entries = list(map(pop, map(id, map(_pushed, results))))
                        self._finish_sent(entries, results)
                        if self._wake is not None and queue.size:
                            self._wake_up()
                return
            except ClosedError:
                return
            except Exception as error:
                log.error(
                    "%s: the engine was restarted after %s", self.name, printable_word(repr(error), 300)
                )
                self._abandon()
                await asyncio.sleep(RESTART)

    def _finish_sent(self, entries: list[Entry], results: list[Result]) -> None:
        """Pushes that the engine had have their results."""
        at = 0
        for submitted, group in groupby(entries, _submitted_of):
            neighbours = list(group)
            self._queue.finished(submitted.caller, len(neighbours))
            try:
                self._finish(submitted, neighbours, results[at : at + len(neighbours)])
            except Exception as error:  # a bug of pushcore: other requests still get their results
                log.error("%s: results were lost after %s", self.name, printable_word(repr(error), 300))
            at += len(neighbours)

    def _abandon(self) -> None:
        """After a bug of pushcore: the outcome of the pushes that the engine had is unknown."""
        entries = list(self._sending.values())
        self._sending.clear()
        results = [Result(push, Verdict.UNKNOWN, detail=INTERNAL) for push, _, _ in entries]
        self._finish_sent(entries, results)
