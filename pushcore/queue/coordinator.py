"""`Coordinator`: publishes the chunks of a campaign, collects their results, and puts back chunks that the queue has lost.

There is one per campaign, because it writes the ledger. Workers continue without it. Every operation can be interrupted and
repeated.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ..arguments import check, check_number, check_offers, check_type
from ..engine.breaker import Trip
from .campaign import TRIP, CampaignState, announce, read_info, set_state
from .chunk import Chunk
from .errors import LATER, CampaignConflict, ChunkError, QueueReadOnly
from .heartbeats import GONE, WorkerHeartbeat, read_heartbeats
from .ledger import Ledger, LedgerStatus
from .outcomes import ChunkResult
from .protocol import Broker, QueueStats, overwrite

BATCH: Final = 50
"""Chunks that are put at a time."""
PAGE: Final = 100
"""Results that are recorded at a time, in one commit."""
WAIT: Final = 0.5
"""Seconds to wait for results before the state of the queue is checked."""
BACK_OFF: Final = 0.5
"""Seconds until the next attempt after the queue was unreachable."""
OBEYED: Final = 5.0
"""Seconds in which all workers should obey a new state."""
LOOK: Final = 0.1
"""Seconds between two readings of the heartbeats."""
SPAN: Final = 60.0
"""Seconds over which the rate is measured."""


@dataclass(frozen=True, slots=True)
class CampaignStatus:
    """The progress of a campaign.

    Attributes:
        name: of the campaign.
        ledger: what the ledger has recorded.
        queue: what is on the queue.
        trip: why the breaker stopped the campaign, None if it did not.
        rate: outcomes per second over the last minute, or since the beginning.
        left: seconds to the end at that rate, None if it is unknown.
    """

    name: str
    ledger: LedgerStatus
    queue: QueueStats
    trip: Trip | None
    rate: float
    left: float | None


class Coordinator:
    """Publishes, collects and controls one campaign. The caller closes `queue` and `ledger`.

    Args:
        queue: of the campaign, see `open_queue`.
        ledger: of the same campaign.
    """

    def __init__(self, queue: Broker, ledger: Ledger) -> None:
        check_offers("queue", queue, Broker, "a queue; open_queue opens one")
        check_type("ledger", ledger, Ledger, "a Ledger")
        self.queue = queue
        self.ledger = ledger
        self._turn = asyncio.Lock()
        self._samples: deque[tuple[float, int]] = deque()

    async def publish(self, chunks: Iterable[Chunk]) -> int:
        """Record the chunks in the ledger and put them on the queue; returns the number of all chunks of the campaign.

        After an interruption, call it again: chunks that the ledger has are left out. `inline_chunks(rows,
        start=ledger.known)` makes only the missing ones.

        Raises:
            CampaignConflict: the queue has another campaign of this name, or the same one with another ledger.
            QueueError: the queue did not take all chunks; call it again.
            JournalError: the ledger could not be written, or a chunk is not the next one of the campaign.
            ConfigurationError: `chunks` is not an iterable of chunks.
        """
        valid = isinstance(chunks, Iterable) and not isinstance(chunks, str | bytes | Mapping)
        check(valid, "chunks", "an iterable of chunks; inline_chunks makes them of rows", chunks)
        if await read_info(self.queue) is None:
            self.ledger.announced = True  # before the queue knows it: this may be interrupted
        await announce(self.queue, self.ledger.info)
        if not self.ledger.announced:
            raise CampaignConflict(
                f"the queue has the campaign {self.ledger.info.name} already, and {self.ledger.path} is a new ledger: its rows may have been "
                "sent. Continue with the ledger of that campaign, or choose another name"
            )
        known = self.ledger.known
        if known:
            await self.reconcile()
        fresh = (chunk for chunk in chunks if chunk.number >= known)
        if not self.ledger.complete:
            while batch := list(islice(fresh, BATCH)):
                async with self._turn:
                    self.ledger.add(batch)
                    await self.queue.put(batch)
            self.ledger.finish()
        return self.ledger.known

    async def collect(self, wait: float = 0.0) -> int:
        """Record all available results in the ledger; returns their number. Waits up to `wait` seconds for the first one.

        Raises:
            QueueError: the queue cannot be read; call it again. Recorded results count once.
            JournalError: the ledger could not be written.
        """
        check_number("wait", wait, above=-math.inf)
        count = 0
        while delivered := await self.queue.results(PAGE, wait if not count else 0.0):
            results: list[ChunkResult] = []
            strays = 0
            for result in delivered:
                try:
                    results.append(ChunkResult.decode(result.data))
                except ChunkError:
                    strays += 1
            self.ledger.record(results, strays)
            await self.queue.collected(delivered)  # only after they are on the disk
            count += len(delivered)
        return count

    async def reconcile(self) -> int:
        """Put back every chunk that has no result and is not on the queue; returns their number.

        If the queue has lost the result of a chunk, its pushes are sent again. No push is lost.

        Raises:
            CampaignConflict: the queue has another campaign of this name.
            QueueError: the queue did not take all chunks; call it again.
            JournalError: the ledger could not be written.
        """
        async with self._turn:
            await announce(self.queue, self.ledger.info)
            await set_state(self.queue, self.ledger.state)
            # In this order: if a chunk is not present and has a result, the result was there before.
            present = await self.queue.present()
            await self.collect()
            count = 0
            epoch = 0
            for page in self.ledger.unfinished():
                missing = [chunk for chunk in page if chunk.number not in present]
                if missing:
                    epoch = epoch or self.ledger.next_epoch(await self.queue.epoch() + 1)
                    count += await self.queue.put(missing, epoch)
            return count

    async def run(self) -> LedgerStatus:
        """Collect until every row has an outcome; reconcile at the start and whenever the queue is empty.

        If the campaign is cancelled or stopped by its breaker, it returns as soon as no chunk is leased, or no result has
        arrived for the queue's `idle` seconds. While the queue is unreachable, full or read-only, it waits.

        Raises:
            CampaignConflict: the queue has another campaign of this name.
            QueueError: the queue rejects the credentials, or its description of the campaign is damaged.
            JournalError: the ledger could not be written.
        """
        start = True
        heard = time.monotonic()
        while True:
            try:
                if start:
                    await self.reconcile()
                    start = False
                if got := await self.collect(WAIT):
                    heard = time.monotonic()
                status = self.ledger.status()
                self._sample(status.done)
                if status.over:
                    await self._finish()
                    return status
                if not got and await self._nothing_more(status.state, time.monotonic() - heard):
                    return self.ledger.status()
            except (*LATER, QueueReadOnly):
                await asyncio.sleep(BACK_OFF)

    async def _nothing_more(self, state: CampaignState, silence: float) -> bool:
        stats = await self.queue.stats()
        if stats.results:
            return False
        if state is CampaignState.CANCELLED or await self._trip() is not None:
            # A worker may have died with leased chunks, and not every queue counts released chunks separately.
            return not stats.leased or silence > self.queue.idle
        if not stats.depth and not stats.leased and state is CampaignState.RUNNING:
            await self.reconcile()
        return False

    async def _finish(self) -> None:
        self.ledger.state = CampaignState.FINISHED
        await set_state(self.queue, CampaignState.FINISHED)

    # --- orders -------------------------------------------------------------------------------------------------------

    async def pause(self) -> None:
        """Make workers send nothing more and wait, usually within two seconds. Requests in flight still get their responses.

        Raises:
            QueueError: the queue could not be written; the ledger has the new state, and `reconcile` writes it.
            JournalError: the ledger could not be written.
        """
        await self._order(CampaignState.PAUSED)

    async def resume(self) -> None:
        """Continue after a pause, a cancellation, or a stop by the breaker.

        Raises:
            QueueError: the queue could not be written; call it again.
            JournalError: the ledger could not be written.
        """
        await overwrite(self.queue, TRIP, b"")
        await self._order(CampaignState.RUNNING)

    async def cancel(self) -> None:
        """Make workers send nothing more, release unsent rows, and end.

        Raises:
            QueueError: the queue could not be written; the ledger has the new state, and `reconcile` writes it.
            JournalError: the ledger could not be written.
        """
        await self._order(CampaignState.CANCELLED)

    async def _order(self, state: CampaignState) -> None:
        self.ledger.state = state  # so that it is not lost with the queue
        await set_state(self.queue, state)

    async def obeyed(self, seconds: float = OBEYED) -> tuple[list[WorkerHeartbeat], list[WorkerHeartbeat]]:
        """Wait until all live workers obey the state of the campaign.

        Args:
            seconds: to wait, at most.

        Returns:
            The last heartbeats of the workers that obey, and of those that do not, or have sent none since the change.

        Raises:
            QueueError: the queue cannot be read.
            JournalError: the ledger cannot be read.
        """
        deadline = time.monotonic() + seconds
        ordered = time.time()
        while True:
            heartbeats = [
                heartbeat
                for heartbeat in await self.workers()
                if heartbeat.alive(ordered) or heartbeat.at >= ordered
            ]
            good = [heartbeat for heartbeat in heartbeats if self._obeys(heartbeat)]
            if len(good) == len(heartbeats) or time.monotonic() >= deadline:
                return good, [heartbeat for heartbeat in heartbeats if heartbeat not in good]
            await asyncio.sleep(LOOK)

    def _obeys(self, heartbeat: WorkerHeartbeat) -> bool:
        if heartbeat.state == GONE:
            return True
        if heartbeat.state == "draining":
            return not heartbeat.busy or self.ledger.state is not CampaignState.PAUSED
        return heartbeat.state == self.ledger.state.value and not (
            self.ledger.state is CampaignState.PAUSED and heartbeat.busy
        )

    async def workers(self) -> list[WorkerHeartbeat]:
        """The last heartbeat of each worker.

        Raises:
            QueueError: the queue cannot be read.
        """
        return await read_heartbeats(self.queue)

    # --- status -------------------------------------------------------------------------------------------------------

    async def status(self) -> CampaignStatus:
        """The status of the campaign.

        Raises:
            QueueError: the queue cannot be read.
            JournalError: the ledger cannot be read.
        """
        ledger = self.ledger.status()
        self._sample(ledger.done)
        now, done = time.time(), ledger.done
        since, before = self._samples[0]
        if now - since < 1.0:
            since, before = ledger.began, 0
        rate = (done - before) / max(now - since, 1e-3)
        left = (ledger.rows - done) / rate if rate > 0 and ledger.complete else None
        return CampaignStatus(
            self.ledger.info.name, ledger, await self.queue.stats(), await self._trip(), rate, left
        )

    def _sample(self, done: int) -> None:
        now = time.time()
        if not self._samples or now - self._samples[-1][0] >= 1.0:
            self._samples.append((now, done))
        while now - self._samples[0][0] > SPAN:
            self._samples.popleft()

    async def _trip(self) -> Trip | None:
        return Trip.decode((await self.queue.read(TRIP)).value)
