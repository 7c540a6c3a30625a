"""`Worker`: leases chunks, sends their pushes through an engine, and delivers the outcomes.

    lease ──▶ source ──▶ PushEngine.send_many ──▶ results, by chunk ──▶ deliver: result stored, chunk removed
                              renewal: extend the leases; deliver known outcomes of slow chunks

Its rows without a delivered outcome are at most the engine's window and one chunk. If it is killed, other workers send the
rows again that it had leased and not delivered. While the queue is unreachable it sends its leased rows, waits, and delivers
their outcomes later.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any, Final, TypeVar

from ..arguments import check, check_function, check_number, check_offers, check_type, check_whole
from ..engine.breaker import Trip
from ..engine.engine import PushEngine
from ..errors import BreakerOpen, ClosedError
from ..journal.journal import id_prefix
from ..results import Result
from .campaign import PROGRESS, RELEASED, CampaignInfo, CampaignState, read_info
from .chunk import Chunk
from .errors import LATER, ChunkError, QueueError, QueueReadOnly, QueueUnavailable, SourceUnavailable
from .fleet import Fleet
from .heartbeats import GONE, WorkerHeartbeat, register
from .leases import HeldChunk, Leases, WorkerReport
from .outcomes import ChunkResult
from .protocol import Broker, Lease, overwrite
from .pushes import Pushes
from .tasks import end

WAIT: Final = 0.5
"""Seconds that one lease waits for a chunk; after that the worker checks whether it must end."""
LINGER: Final = 2.0
"""Seconds after which the available outcomes of a chunk are delivered, if some of its rows wait for a retry."""
MAX_HELD: Final = 1000
"""Leased chunks at a time, at most; most of them only have a few rows that wait for a retry."""
MAX_ATTEMPTS: Final = 20
"""Leases of one chunk after which it is set aside: it may be the cause of crashes."""
DELIVERERS: Final = 4
"""Chunks that are delivered at a time, so that a slow connection to the queue does not slow down sending."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between two attempts of an operation that has failed at the queue."""
HEARTBEAT: Final = 1.0
"""Seconds between two heartbeats."""
CANCEL: Final = 0.5
"""Seconds in which leased rows may finish after the campaign was cancelled; the others are released."""
GIVE_UP: Final = 30.0
"""Seconds after the grace of a drain in which an unreachable queue must become reachable again."""

log = logging.getLogger("pushcore.queue")

T = TypeVar("T")


class Worker:
    """One worker of one campaign. Call `run`; call `drain` from a signal handler. Do not close the engine before `run` returns.

    Args:
        queue: of the campaign, open.
        engine: open, and made with `shared=fleet`, so that rate limit and breaker are those of all workers together.
        fleet: the state that the workers share, open.
        pushes: a function that makes the pushes of a chunk, for example from `notifications`.
        window: rows without a delivered outcome, at most; None: the window of the engine.
        offers: the credentials of this worker, which are compared with the campaign's `needs`.
        name: of the worker, in results and logs; None: host and process id.
        linger: seconds after which the available outcomes of an unfinished chunk are delivered.
        on_state: called with the new state of the campaign when it changes.
    """

    def __init__(
        self,
        queue: Broker,
        engine: PushEngine,
        fleet: Fleet,
        pushes: Pushes,
        *,
        window: int | None = None,
        offers: Mapping[str, Any] | None = None,
        name: str | None = None,
        linger: float = LINGER,
        on_state: Callable[[CampaignState], object] = lambda state: None,
    ) -> None:
        check_offers("queue", queue, Broker, "a queue; open_queue opens one")
        check(callable(getattr(engine, "send_many", None)), "engine", "a PushEngine", engine)
        check(callable(getattr(fleet, "stop", None)), "fleet", "a Fleet", fleet)
        check_function("pushes", pushes, "that of notifications(payload)")
        if window is not None:
            check_whole("window", window, least=1)
        check_type("offers", offers, (Mapping, type(None)), "a mapping or None")
        check_type("name", name, (str, type(None)), "a string or None")
        check_number("linger", linger, above=-1)
        check_function("on_state", on_state, "print")
        self.name = name or f"{socket.gethostname()}-{os.getpid()}"
        self._queue = queue
        self._engine = engine
        self._fleet = fleet
        self._pushes = pushes
        self._window = window or engine.window
        self._offers = dict(offers or {})
        self._linger = linger
        self._on_state = on_state
        self._leases = Leases(queue)
        self._held = self._leases.held
        self._owed = 0
        """Rows of leased chunks without a delivered outcome."""
        self._finished: asyncio.Queue[HeldChunk] = asyncio.Queue()
        self._wake = asyncio.Event()
        self._fetching: asyncio.Future[list[list[Any]]] | None = None
        self._unread = False
        """Whether the last attempt to read the rows of a reference has failed."""
        self._draining = False
        self._deadline = float("inf")
        self._error: BaseException | None = None
        self._ending: asyncio.Task[None] | None = None
        self._chunks = self._rows = self._aside = self._released = 0
        self._info: CampaignInfo
        self._prefix: str

    def drain(self, grace: float = GIVE_UP) -> None:
        """Lease no more chunks, and finish the leased ones within `grace` seconds; rows without an outcome are then released.

        After `grace` the engine is closed, which ends pushes that wait for a retry. Call it in the thread of the event loop.
        """
        self._deadline = min(self._deadline, time.monotonic() + grace + GIVE_UP)
        self._draining = True
        self._wake.set()
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._close_after(grace))

    async def _close_after(self, grace: float) -> None:
        await asyncio.sleep(grace)
        await self._engine.close()

    async def run(self) -> WorkerReport:
        """Work until drained, or until the campaign is finished, cancelled or stopped by its breaker.

        Raises:
            CampaignConflict: this worker cannot send for the campaign.
            QueueError: the queue rejects this worker, or stayed unreachable until the end of a drain.
            ClosedError: the engine is not open, or was closed before the worker was drained.
            TypeError: the function `pushes` made something that no client of the engine sends.
        """
        tasks: list[asyncio.Task[None]] = []
        trip: Trip | None = None
        try:
            info = await self._described()
            if info is None:
                return self._report(self._fleet.trip)
            info.check(self._offers)
            self._info, self._prefix = info, id_prefix(info.name)
            tasks.append(asyncio.create_task(self._guarded(self._beat()), name="pushcore leases"))
            tasks.append(asyncio.create_task(self._guarded(self._follow()), name="pushcore orders"))
            for _ in range(DELIVERERS):
                tasks.append(asyncio.create_task(self._guarded(self._deliver()), name="pushcore delivery"))
            try:
                await self._send()
            except BreakerOpen as error:
                trip = self._fleet.stop(Trip(error.reason, str(error)))
            except ClosedError:
                if not self._draining:
                    raise
            await self._settle()
        finally:
            others = (self._ending, self._fetching)
            await end([*tasks, *(task for task in others if task is not None)])
        return self._report(trip or self._fleet.trip)

    def _report(self, trip: Trip | None) -> WorkerReport:
        return WorkerReport(
            self._chunks, self._rows, len(self._leases.lost), self._aside, self._released, trip
        )

    # --- sending --------------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        held, size = self._held, self._info.chunk_rows
        async with aclosing(self._engine.send_many(self._source())) as results:
            async for result in results:
                mine = held[(result.push.row - 1) // size]
                mine.results.append(result)
                if len(mine.results) == mine.wanted and not self._given_up(mine):
                    self._finished.put_nowait(mine)

    def _given_up(self, mine: HeldChunk) -> bool:
        """Whether the end of the engine may have kept some of the pushes from being sent: `_settle` handles those."""
        if not self._draining and self._fleet.trip is None:
            return False
        return any(result.retryable for result in mine.results[mine.delivered :])

    async def _source(self) -> AsyncIterator[list[Any]]:
        """The pushes, chunk by chunk, within the window."""
        size = self._info.chunk_rows
        pause = delay = FIRST_PAUSE
        while not self._over():
            if self._error is not None:
                raise self._error
            n = min((self._window + size - self._owed) // size, MAX_HELD - len(self._held))
            if n < 1 or self._fleet.state is CampaignState.PAUSED:
                await self._woken(WAIT)
                continue
            # A separate task: if the engine takes no more pushes, `_settle` releases the chunks that it leases.
            self._fetching = asyncio.ensure_future(self._fetch(n, delay))
            await asyncio.wait([self._fetching])
            try:
                fetched = self._fetching.result()
                pause = FIRST_PAUSE
            except (*LATER, QueueReadOnly):
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            for pushes in fetched:
                yield pushes
            if self._unread:
                await self._woken(delay)
            delay = min(2 * delay, self._queue.idle) if self._unread else FIRST_PAUSE
            self._unread = False

    def _over(self) -> bool:
        ended = self._fleet.state in (CampaignState.CANCELLED, CampaignState.FINISHED)
        return self._draining or ended or self._fleet.trip is not None

    async def _woken(self, seconds: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _described(self) -> CampaignInfo | None:
        """Wait for the campaign's description; None if this worker must end before."""
        while not self._over():
            info = await self._patiently(lambda: read_info(self._queue))
            if info is not None:
                return info
            await self._woken(WAIT)
        return None

    # --- chunks ---------------------------------------------------------------------------------------------------

    async def _fetch(self, n: int, delay: float) -> list[list[Any]]:
        """Lease at most `n` chunks, and make the pushes of each."""
        leases = await self._queue.lease(n, WAIT)
        opening = [asyncio.ensure_future(self._open(lease, delay)) for lease in leases]
        await asyncio.gather(*opening, return_exceptions=True)  # so that no task remains
        return [pushes for task in opening if (pushes := task.result())]

    async def _open(self, lease: Lease, delay: float) -> list[Any] | None:
        """The pushes of a leased chunk; None if there is nothing to send, or not within `delay` seconds."""
        number = None
        try:
            chunk = Chunk.decode(lease.data)
            number = chunk.number
            if self._leases.renewed(number, lease):
                return None
            if (chunk.first - 1) // self._info.chunk_rows != number or chunk.rows > self._info.chunk_rows:
                raise ChunkError(f"chunk {number} has rows of another chunk")
            if lease.attempt > MAX_ATTEMPTS:
                raise ChunkError(f"chunk {number} was leased {lease.attempt} times and never finished")
            if lease.attempt > 1:
                note = await self._patiently(lambda: self._queue.read(f"{PROGRESS}{number}"))
                chunk = chunk.without(int.from_bytes(note.value[: (chunk.rows + 7) // 8], "little"))
            return await self._pushes_of(lease, chunk, await self._unsure(lease, number))
        except SourceUnavailable as error:
            log.warning("%s: the chunk is given back", error)
            self._unread = True
            await self._give_back(lease, number, delay)
            return None
        except Exception as error:
            if isinstance(error, QueueError) and not isinstance(error, ChunkError):
                await self._give_back(lease, number)
                raise
            await self._set_aside(lease, number, error)
            return None

    async def _pushes_of(self, lease: Lease, chunk: Chunk, unsure: int) -> list[Any] | None:
        wanted = chunk.missing()
        made = self._pushes(chunk, self._info) if wanted else ()
        items = list(await made if inspect.isawaitable(made) else made)
        rows = [item.push.row if isinstance(item, Result) else item.row for item in items]
        if sorted(rows) != wanted:
            raise ChunkError(
                f"chunk {chunk.number} should have {len(wanted)} rows to send, and has {len(rows)} or different ones"
            )
        if self._leases.renewed(chunk.number, lease):  # its lease expired while the rows were read
            return None
        held = self._held[chunk.number] = HeldChunk(lease, chunk, len(wanted), unsure)
        pushes = []
        for item in items:
            if isinstance(item, Result):
                held.results.append(item)
            else:
                pushes.append(item)
        self._owed += len(wanted)
        if not pushes:
            self._finished.put_nowait(held)
        return pushes

    async def _unsure(self, lease: Lease, number: int) -> int:
        """The number of earlier leases of a chunk that expired; their workers may have sent its rows."""
        if lease.attempt < 2:
            return 0
        note = await self._patiently(lambda: self._queue.read(f"{RELEASED}{number}"))
        return max(lease.attempt - 1 - int.from_bytes(note.value[:4], "big"), 0)

    async def _give_back(
        self, lease: Lease, number: int | None, delay: float = 0.0, unsure: int | None = None
    ) -> None:
        """Release the chunk. `number`: of the chunk, None if unknown. `unsure`: the result of `_unsure`, if it is known."""
        if number is not None:
            if unsure is None:
                unsure = await self._unsure(lease, number)
            count = max(lease.attempt - unsure, 0).to_bytes(4, "big")
            await self._patiently(lambda: overwrite(self._queue, f"{RELEASED}{number}", count))
        await self._patiently(lambda: self._queue.release(lease, delay))
        self._released += 1

    async def _set_aside(self, lease: Lease, number: int | None, error: Exception) -> None:
        words = str(error) if isinstance(error, ChunkError) else f"{type(error).__name__}: {error}"
        bad = ChunkResult(number, lease.nonce, self.name, time.time(), bad=words).encode()
        await self._patiently(lambda: self._queue.done(lease, bad))
        self._aside += 1

    # --- delivery -------------------------------------------------------------------------------------------------

    async def _deliver(self) -> None:
        while True:
            await self._finish(await self._finished.get())
            self._finished.task_done()

    async def _finish(self, held: HeldChunk) -> None:
        """All rows have an outcome: deliver those that the queue does not have, and remove the chunk."""
        number = held.chunk.number
        async with held.lock:
            data = self._packed(held, held.lease.nonce, held.results[held.delivered :])
            await self._patiently(lambda: self._queue.done(held.lease, data))
            del self._held[number]
        self._settled(held.wanted - held.delivered)
        self._chunks += 1
        self._rows += held.wanted

    async def _keep_part(self, held: HeldChunk, *, last: bool = False) -> None:
        """Deliver the outcomes of an unfinished chunk, and record their rows for its next worker.

        `last`: the engine has ended. Retryable outcomes are left out then: another worker sends those pushes again.
        """
        async with held.lock:
            chunk = held.chunk
            results = held.results[held.delivered :]
            if last:
                results = [result for result in results if not result.retryable]
            if self._held.get(chunk.number) is not held or not results:
                return
            nonce = f"{held.lease.nonce}-{held.delivered}"
            data = self._packed(held, nonce, results)
            await self._patiently(lambda: self._queue.report(data, nonce))
            bits = 0
            for result in results:
                bits |= 1 << (result.push.row - chunk.first)
            held.chunk = chunk = chunk.without(bits)
            name = f"{PROGRESS}{chunk.number}"
            await self._patiently(lambda: overwrite(self._queue, name, chunk.done))
            held.delivered += len(results)
            self._settled(len(results))

    def _settled(self, rows: int) -> None:
        """The outcomes of `rows` more rows are delivered, so as many new rows may be leased."""
        self._owed -= rows
        self._wake.set()

    def _packed(self, held: HeldChunk, nonce: str, results: list[Result]) -> bytes:
        number = held.chunk.number
        return ChunkResult.of(number, nonce, self.name, results, self._prefix, held.unsure).encode()

    async def _settle(self) -> None:
        """Deliver finished chunks; deliver the outcomes of the others and release them."""
        if self._fetching is not None:
            await asyncio.gather(self._fetching, return_exceptions=True)
        while self._finished.qsize() or any(held.lock.locked() for held in self._held.values()):
            if self._error is not None:
                raise self._error
            await asyncio.sleep(0.005)
        for held in list(self._held.values()):
            await self._keep_part(held, last=True)
            if held.chunk.missing():
                await self._give_back(held.lease, held.chunk.number, unsure=held.unsure)
            else:
                held.delivered = len(held.results)
                await self._finish(held)
        if self._error is not None:
            raise self._error

    async def _follow(self) -> None:
        """Obey the campaign's state, and write heartbeats with the state that this worker obeys."""
        state, told, heartbeat = CampaignState.RUNNING, "", await self._registered()
        try:
            while True:
                with suppress(*LATER, QueueReadOnly):
                    await heartbeat.write(self._queue)
                state = await self._fleet.changed(state, HEARTBEAT)
                if state is CampaignState.CANCELLED and not self._draining:
                    self.drain(CANCEL)
                words = "draining" if self._draining else state.value
                if words != told:
                    told = words
                    log.info("the campaign is %s", state.value)
                    self._on_state(state)
                heartbeat = replace(
                    heartbeat,
                    state=words,
                    at=time.time(),
                    rows=self._rows,
                    busy=self._engine.in_flight,
                    held=len(self._held),
                )
        finally:
            with suppress(*LATER, QueueReadOnly):
                await replace(heartbeat, state=GONE, at=time.time(), held=0, busy=0).write(self._queue)

    async def _registered(self) -> WorkerHeartbeat:
        return await self._patiently(lambda: register(self._queue, self.name))

    async def _beat(self) -> None:
        """Extend the leases, three times within `idle` seconds, and deliver the available outcomes of slow chunks."""
        extended = time.monotonic()
        while True:
            every = self._queue.idle / 3
            await asyncio.sleep(min(every, self._linger))
            held = list(self._held.values())
            if held and time.monotonic() - extended >= every * 0.9:
                try:
                    await self._leases.extend()
                    extended = time.monotonic()
                except (*LATER, QueueReadOnly):
                    continue  # until the next round, which is in time
            for chunk in held:
                done = len(chunk.results) == chunk.wanted
                if not done and time.monotonic() - chunk.since > self._linger:
                    await self._keep_part(chunk)

    # --- retries --------------------------------------------------------------------------------------------------

    async def _patiently(self, do: Callable[[], Awaitable[T]]) -> T:
        """Call `do`, again and again while the queue is unreachable, full or being replaced."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await do()
            except (*LATER, QueueReadOnly) as error:
                if time.monotonic() > self._deadline:
                    raise QueueUnavailable(f"the queue was not reachable again in time: {error}") from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:
            self._error = self._error or error
            self._wake.set()
