"""`PushEngine`: sends any number of pushes with a bounded number at a time. What one run does is in `run` and `lane`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypedDict, Unpack, overload

from ..arguments import check, check_number, check_offers, check_type, check_whole, kind
from ..errors import ClosedError, ConfigurationError, EventLoopError
from ..metrics import Listener, Listeners, Metrics
from ..models.apns import Notification
from ..models.fcm import LegacyMessage, Message
from ..results import Result
from .journaling import CampaignJournal
from .rate import Rate
from .retry import RetryPolicy
from .rules import EngineClient, PushClient, Rules, Shared, dispatcher_of
from .run import Run

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    P_contra = TypeVar("P_contra", contravariant=True, default=Any)
else:
    from typing import TypeVar

    P_contra = TypeVar("P_contra", contravariant=True)

P1 = TypeVar("P1")
P2 = TypeVar("P2")
P3 = TypeVar("P3")
N = TypeVar("N", bound=Notification)
M = TypeVar("M", bound=Message)
L = TypeVar("L", bound=LegacyMessage)

LARGEST_WINDOW: Final = 16_384
TAKEN_TOGETHER: Final = 64
"""Results that the caller takes before they are counted as taken: counting each costs more than the result."""


class EngineOptions(TypedDict, total=False):
    """The options of `PushEngine`, for its overloads."""

    retry: RetryPolicy | None
    window: int | None
    rate: Rate | str | None
    breaker: bool
    listener: Listener | None
    shared: Shared | Mapping[str, Shared] | None
    start_at: datetime | None
    pending_timeout: float | None


class PushEngine(Generic[P_contra]):
    """Sends any number of pushes through one or several clients.

    Each push is sent by a client for its class. If there are several `ApnsClient`s, it is the first whose key is
    for the push's topic and whose environment is the push's. A push without an environment goes to the first
    client. If Apple does not know its token there (BadDeviceToken), it is sent once to the next client of
    another environment; `Result.environment` says in which one the token is known.

    For a type checker, an engine of an `ApnsClient` and an `FcmClient` is a `PushEngine[Notification | Message]`,
    which can be used as a `PushEngine[Notification]` as well. With more than three clients, write the type
    yourself.

    The engine opens the clients that are not open, and closes those that it opened.

    Args:
        retry: which results are retried, and when; None reports every result as it comes.
        window: how many pushes may have been read from the source whose results the caller has not taken yet; None
            for twice what the connections of the clients can carry, at most 16 384.
        rate: the limit for each client, a `Rate` or its text, such as "5000/s" or "600000/min"; None for
            the provider's limit (FCM: 600 000 a minute after a ramp-up of a minute; APNs: none), "none" for no
            limit.
        breaker: whether a run stops when the responses say that key, topic, project or environment is wrong. If
            there are two clients, the other one continues.
        listener: gets the events; a `Metrics` counts them.
        shared: what all processes of a campaign share, for all clients or by their name ("apns", "fcm"), so
            that rate and breaker apply to all processes together.
        start_at: when the first push may be sent, with a time zone. The first requests are prepared before, so
            that they can be sent at that moment; None for at once.
        pending_timeout: seconds that a push may wait for the rate. After that it ends as UNSENT, or with the
            result of its last attempt; None for no limit.

    Raises:
        ConfigurationError: there is no client, a client that can get no push, a window below 1, or an invalid
            rate.
    """

    @overload
    def __init__(
        self: PushEngine[P1], client: PushClient[P1], /, **options: Unpack[EngineOptions]
    ) -> None: ...
    @overload
    def __init__(
        self: PushEngine[P1 | P2],
        first: PushClient[P1],
        second: PushClient[P2],
        /,
        **options: Unpack[EngineOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: PushEngine[P1 | P2 | P3],
        first: PushClient[P1],
        second: PushClient[P2],
        third: PushClient[P3],
        /,
        **options: Unpack[EngineOptions],
    ) -> None: ...
    @overload
    def __init__(self, *clients: PushClient, **options: Unpack[EngineOptions]) -> None: ...
    def __init__(
        self,
        *clients: PushClient,
        retry: RetryPolicy | None = RetryPolicy(),  # noqa: B008  # it cannot be changed
        window: int | None = None,
        rate: Rate | str | None = None,
        breaker: bool = True,
        listener: Listener | None = None,
        shared: Shared | Mapping[str, Shared] | None = None,
        start_at: datetime | None = None,
        pending_timeout: float | None = None,
    ) -> None:
        if not clients:
            raise ConfigurationError("an engine needs at least one client")
        for number, given in enumerate(clients, 1):
            expected = "a client such as an ApnsClient; pass the clients as separate arguments"
            check(hasattr(given, "_dispatcher"), f"client {number}", expected, given)
        self._clients = dispatchers = tuple(map(dispatcher_of, clients))
        for index, client in enumerate(dispatchers):
            kind = (client.handles, client.environment)
            later = {(other.handles, other.environment) for other in dispatchers[index + 1 :]}
            if client.takes_all and (
                kind in later or (client.environment is None and _any_of(later, kind[0]))
            ):
                raise ConfigurationError(
                    "an engine takes one client per kind of push and environment of APNs; more of a kind need keys that are "
                    "restricted to topics, except the last"
                )
        if window is None:
            window = min(
                2 * sum(client.streams * client.max_connections for client in dispatchers), LARGEST_WINDOW
            )
        check_whole("window", window, least=1)
        if isinstance(rate, str):
            rate = Rate.parse(rate)
        check_type("rate", rate, (Rate, type(None)), 'a Rate or its text, such as "5000/s"')
        check_type("retry", retry, (RetryPolicy, type(None)), "a RetryPolicy or None")
        check_type("breaker", breaker, bool, "true or false")
        if listener is not None:
            check_offers("listener", listener, Listener, "a Listener")
        for given_state in (
            shared.values() if isinstance(shared, Mapping) else [] if shared is None else [shared]
        ):
            check(hasattr(given_state, "limiter"), "shared", "a Shared or a mapping of them", given_state)
        self.window = window
        self._listener = listener
        metrics = listener if isinstance(listener, Metrics) else None
        events = Listeners(listener) if listener is not None else Listeners()
        self._rules = Rules(retry, rate, breaker, events, listener is not None, metrics, shared)
        if start_at is not None:
            aware = isinstance(start_at, datetime) and start_at.utcoffset() is not None
            check(aware, "start_at", "a datetime with a time zone", start_at)
        self._start_at = start_at
        if pending_timeout is not None:
            check_number("pending_timeout", pending_timeout, above=0)
            self._rules.pending_timeout = pending_timeout
        self._opened: list[EngineClient] = []
        self._unwatch: list[Any] = []
        self._active: set[Run] = set()  # each until nothing of it is in flight
        self._loop: asyncio.AbstractEventLoop | None = None  # that it was opened on
        self._open = False

    @property
    def in_flight(self) -> int:
        """Requests that wait for a connection or for a response now."""
        pools = [client.pool for client in self._clients if client.opened]
        return sum(
            len(pool.waiting) + sum(len(link.connection.streams) for link in pool.links) for pool in pools
        )

    async def open(self) -> None:
        """Get ready to send, and open the clients that are not open. `async with` does this and `close`.

        Raises:
            ClosedError: it is open already.
            EventLoopError: one of the clients was opened on another event loop.
        """
        if self._open:
            raise ClosedError("this engine is open already")
        for client in self._clients:
            client.check_loop()
        self._loop = asyncio.get_running_loop()
        if self._start_at is not None:
            self._rules.start = self._loop.time() + self._start_at.timestamp() - time.time()
        self._open = True
        try:
            for client in self._clients:
                if not client.opened:
                    await client.open()
                    self._opened.append(client)
                if self._listener is not None:
                    client.pool.events.add(self._listener)
                    self._unwatch.append(_later(client.pool.events.remove, self._listener))
                if self._rules.metrics is not None:
                    self._unwatch.append(self._rules.metrics.watch(client.pool.name, client.pool))
        except BaseException:
            await self.close()
            raise

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End every `send_many`, then close the clients that this engine opened.

        It waits for the pushes in flight. A caller that iterates a `send_many` gets all results, and then `ClosedError`.
        After a cancellation, call it again to close the rest. If the event loop that the engine was opened on has
        ended, it only closes the sockets, and the engine can be opened on another loop.

        Raises:
            EventLoopError: the loop that the engine was opened on still runs: close it there.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop:
            if self._loop.is_running():
                raise EventLoopError("this engine was opened on another event loop: close it there")
            self._active.clear()
        self._open = False
        try:
            await self._end_runs()
            # Each is closed even if we are cancelled meanwhile.
            async with contextlib.AsyncExitStack() as stack:
                for client in reversed(self._opened):
                    stack.push_async_callback(self._close_client, client)
            self._loop = None
        finally:
            for unwatch in self._unwatch:
                unwatch()
            self._unwatch.clear()

    async def _close_client(self, client: EngineClient) -> None:
        await client.close()
        with contextlib.suppress(ValueError):  # another task closes this engine, too
            self._opened.remove(client)

    async def _end_runs(self) -> None:
        """End every `send_many`. Cancelled, it leaves them to end by themselves."""
        runs = list(self._active)
        if runs:
            await asyncio.wait([run.end(ClosedError("the engine was closed")) for run in runs])
        leaving = [run.left for run in runs if run.about_to_be_left]
        if leaving:
            await asyncio.wait(leaving)

    # Where all pushes are of one class, the results know the subclass.
    @overload
    def send_many(
        self: PushEngine[Notification],
        source: Iterable[N] | AsyncIterable[N] | AsyncIterable[list[N]],
        *,
        journal: CampaignJournal | None = None,
    ) -> AsyncGenerator[Result[N], None]: ...
    @overload
    def send_many(
        self: PushEngine[Message],
        source: Iterable[M] | AsyncIterable[M] | AsyncIterable[list[M]],
        *,
        journal: CampaignJournal | None = None,
    ) -> AsyncGenerator[Result[M], None]: ...
    @overload
    def send_many(
        self: PushEngine[LegacyMessage],
        source: Iterable[L] | AsyncIterable[L] | AsyncIterable[list[L]],
        *,
        journal: CampaignJournal | None = None,
    ) -> AsyncGenerator[Result[L], None]: ...
    @overload
    def send_many(
        self,
        source: Iterable[P_contra] | AsyncIterable[P_contra] | AsyncIterable[list[P_contra]],
        *,
        journal: CampaignJournal | None = None,
    ) -> AsyncGenerator[Result[P_contra], None]: ...
    def send_many(
        self, source: Iterable[Any] | AsyncIterable[Any], *, journal: CampaignJournal | None = None
    ) -> AsyncGenerator[Result, None]:
        """Send everything in `source` and yield one `Result` for each push, in order of completion.

        The source is read as fast as the provider responds and the caller takes results, never more than `window`
        pushes ahead. An async source may yield lists of pushes, such as the pages of a query; this costs less than
        single pushes. If the source raises an exception, it is raised here after the results of all pushes before
        it.

        If the loop is left early (break, an exception, cancellation), the source is stopped. Pushes in flight have
        the clients' timeout to end, and their results are reported to the listener. Python does this only when it
        collects the generator, which may be late. So use `stream` if you may leave the loop early.

        With a `journal`, pushes whose outcome it already has are not sent, and each outcome is recorded before it is
        yielded. The pushes need a `row` (see `Journal`). A push that waits for a retry when the run ends is yielded
        with its last result. It stays in the journal, and is sent when the journal is opened again.

        Args:
            source: pushes: an iterable, or an async iterable of pushes or of lists of them.
            journal: records each push before it is sent and its outcome afterwards; None for none.

        Returns:
            An async generator of one `Result` per push.

        Raises:
            ClosedError: the engine is not open.
            EventLoopError: the engine was opened on another event loop.
            JournalError: the journal could not be written; all results so far have been yielded.
            ConfigurationError: `journal` is not a journal.
            TypeError: the source is not iterable, or yielded something that no client of this engine sends.
            BreakerOpen: the responses say that every push to a provider, or to several, would fail; the message names them. All
                results so far have been yielded.
        """
        if not self._open:
            raise ClosedError("the engine is not open: use it in `async with`")
        if not isinstance(source, Iterable | AsyncIterable):
            raise TypeError(f"source must be an iterable or async iterable of pushes, not {kind(source)}")
        if journal is not None:
            check_offers("journal", journal, CampaignJournal, "a Journal")
        return self._send_many(source, journal)

    @overload
    def stream(
        self: PushEngine[Notification],
        source: Iterable[N] | AsyncIterable[N] | AsyncIterable[list[N]],
        *,
        journal: CampaignJournal | None = None,
    ) -> contextlib.aclosing[AsyncGenerator[Result[N], None]]: ...
    @overload
    def stream(
        self: PushEngine[Message],
        source: Iterable[M] | AsyncIterable[M] | AsyncIterable[list[M]],
        *,
        journal: CampaignJournal | None = None,
    ) -> contextlib.aclosing[AsyncGenerator[Result[M], None]]: ...
    @overload
    def stream(
        self: PushEngine[LegacyMessage],
        source: Iterable[L] | AsyncIterable[L] | AsyncIterable[list[L]],
        *,
        journal: CampaignJournal | None = None,
    ) -> contextlib.aclosing[AsyncGenerator[Result[L], None]]: ...
    @overload
    def stream(
        self,
        source: Iterable[P_contra] | AsyncIterable[P_contra] | AsyncIterable[list[P_contra]],
        *,
        journal: CampaignJournal | None = None,
    ) -> contextlib.aclosing[AsyncGenerator[Result[P_contra], None]]: ...
    def stream(
        self, source: Iterable[Any] | AsyncIterable[Any], *, journal: CampaignJournal | None = None
    ) -> contextlib.aclosing[AsyncGenerator[Result, None]]:
        """Like `send_many`, but as a context manager: after the block, nothing is in flight.

            async with engine.stream(source) as results:
                async for result in results:
                    ...
                    break

        Everything else is as with `send_many`.

        Args:
            source: as in `send_many`.
            journal: as in `send_many`.

        Returns:
            A context manager; its value is an async iterator of the results.

        Raises:
            ClosedError: the engine is not open.
            ConfigurationError: `journal` is not a journal.
            TypeError: the source is not iterable. All other errors of `send_many` are raised inside the block.
        """
        return contextlib.aclosing(self.send_many(source, journal=journal))

    async def _send_many(
        self, source: Iterable[Any] | AsyncIterable[Any], journal: CampaignJournal | None
    ) -> AsyncGenerator[Result, None]:
        async with contextlib.aclosing(self._send_for_lists(source, journal)) as batches:
            async for batch in batches:
                for result in batch:
                    yield result

    async def _send_for_lists(
        self, source: Iterable[Any] | AsyncIterable[Any], journal: CampaignJournal | None = None
    ) -> AsyncGenerator[list[Result], None]:
        if not self._open:
            raise ClosedError("the engine is not open: it was closed before the first result was asked for")
        for client in self._clients:
            client.check_loop()
        run = Run(self._clients, self.window, self._rules, journal)
        ready = run.ready
        run.begin(source, self._active)
        refill_at = run.window // 2
        size = max(min(run.window // 4, TAKEN_TOGETHER), 1)
        try:
            while True:
                while ready:
                    batch = ready[:size]
                    del ready[:size]
                    run.taken = len(batch)
                    yield batch
                    run.outstanding -= run.taken
                    run.taken = 0
                    if run.outstanding <= refill_at:
                        run.wake_feeder()
                if run.done:
                    break
                run.wake_feeder()
                await run.wait_for_results()
            error = run.error or run.broken()
            if error is not None:
                raise error
        finally:
            await run.leave()


def result_lists(
    engine: PushEngine[P_contra], source: AsyncIterable[list[P_contra]]
) -> AsyncGenerator[list[Result[P_contra]], None]:
    """As `send_many`, but the results come as lists, which cost the gateway less than one result after the other."""
    return engine._send_for_lists(source)


def _any_of(kinds: Iterable[tuple[type, str | None]], handles: type) -> bool:
    return any(kind[0] is handles for kind in kinds)


def _later(function: Any, argument: Any) -> Any:
    def call() -> None:
        with contextlib.suppress(ValueError):
            function(argument)

    return call
