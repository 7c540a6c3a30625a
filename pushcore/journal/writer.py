"""The journal's thread: takes results as they come, packs them, and commits them in groups.

Two things make it commit: results that have waited for `TICK`, and a sender that needs rows. Each commit says up to
which row may be sent from now on, at most one chunk beyond the last row taken; nothing beyond that is given out before
the commit has returned. So what a killed process may have sent, and the journal does not know the outcome of, is
at most what the sender had in flight and one chunk: a result that waits to be written takes the place of a push in
flight, since it was one when the last commit took all results that there were.

The sender's thread and this one share plain attributes: each is written by one of them alone, and read in the order
that errs on the safe side.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import repeat
from operator import itemgetter
from typing import Final, TypeVar

from ..errors import ClosedError, JournalError, PushcoreError
from .campaign import FULL, CampaignRecord, RunRecord, UnfinishedRows
from .format import BLOCK, PackedOutcomes, bitmap, pack
from .outcome import EarlierAttempts, OutcomeEntry, UncommonOutcome, id_prefix
from .store import JournalStore

TICK: Final = 0.05
"""Seconds that a result waits for its commit at most, while the disk obeys."""
HEARTBEAT: Final = 5.0
"""Seconds between two heartbeats of a run without results."""
_QUICK, _SLOW = 0.02, 0.1
"""Seconds between two commits that a sender waits for; outside of these, more or fewer rows are given at a time."""
_SMALLEST: Final = 16
"""The smallest part of a chunk that is leased at a time: a slow sender should not have many rows that may have been sent."""

_ALL: Final = (1 << BLOCK) - 1
_row_of = itemgetter(0)

Item = TypeVar("Item")


class JournalWriter:
    """The thread, and what the sender's side shares with it.

    Written by the sender: `records`, `moves` (row, attempts, whether it waits), `taken` (the last row given out),
    `wanted` (the next one, where rows are left out), `least` (how many are taken at a time), `reading` (whether any
    will be), `rows` (how many there are, once known). By the thread: `leased` (rows up to this one may be given out),
    `ask_at` (beyond this one it is time to ask for more), `error`.
    """

    def __init__(
        self,
        store: JournalStore,
        campaign: CampaignRecord,
        run: RunRecord,
        rest: UnfinishedRows,
        clock: Callable[[], float],
    ) -> None:
        self.records: deque[OutcomeEntry] = deque()
        self.moves: deque[tuple[int, int, bool]] = deque()
        self.taken = 0
        self.reading = True
        self.wanted = 0
        self.least = 0
        self.rows: int | None = None
        self.leased = 0
        self.ask_at = 0
        self.error: PushcoreError | None = None
        self._store, self._campaign, self._run, self._rest, self._clock = store, campaign, run, rest, clock
        self._prefix = id_prefix(campaign.id)
        self._bits = rest.bits
        self._said_rows = campaign.rows
        self._step = max(campaign.chunk_size // 4, 1)
        self._asked_at = time.monotonic()
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._asks = self._answered = 0
        self._tickets = self._served = 0
        self._closing = False
        self._problem: str | None = None
        self._complaint: JournalError | None = None
        self._unwritten: list[OutcomeEntry] = []
        self._unmoved: list[tuple[int, int, bool]] = []
        self._changed = threading.Condition()
        self._wakers: list[Callable[[], object]] = []
        # A daemon: a journal that is not closed behaves as after a kill, and the process can end.
        self._thread = threading.Thread(target=self._work, name="pushcore journal", daemon=True)
        self._thread.start()

    # --- for the sender -----------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Have more rows leased soon."""
        self.ask_at = self.leased
        if self._asks == self._answered:
            self._ask_now()

    def lease(self, row: int) -> None:
        """Wait, blocking, until this row may be given out, the next one that is. Raises the thread's error."""
        self.wanted, self.reading = row, True
        while self.leased < row:
            self.wait(self._answer(row))

    async def lease_async(self, row: int) -> None:
        """Wait until rows up to this one may be given out; the event loop goes on. Raises the thread's error."""
        while self.leased < row:
            await self.wait_async(self._answer(row))

    def _answer(self, row: int) -> Callable[[], bool]:
        """Whether there is an answer to an ask; one that is on its way may be enough."""
        if self._asks == self._answered:
            self._ask_now()
        asks = self._asks
        return lambda: self.leased >= row or self._answered >= asks

    def _ask_now(self) -> None:
        self._asks += 1  # after `wanted` and `least`: who sees this has seen those
        self._wakes.put(None)

    def ticket(self) -> Callable[[], bool]:
        """Request a commit of everything so far; returns whether it is done."""
        self._tickets += 1
        mine = self._tickets
        self._wakes.put(None)
        return lambda: self._served >= mine

    def wait(self, ready: Callable[[], bool]) -> None:
        """Wait for the thread, blocking. Raises its error."""
        with self._changed:
            self.check()
            while not ready():
                self._changed.wait()
                self.check()

    async def wait_async(self, ready: Callable[[], bool]) -> None:
        """Wait for the thread while the event loop goes on. Raises its error."""
        loop = asyncio.get_running_loop()
        while True:
            turn = loop.create_future()
            with self._changed:
                self.check()
                if ready():
                    return
                self._wakers.append(partial(loop.call_soon_threadsafe, _settle, turn))
            await turn

    def check(self) -> None:
        """Raises the thread's error, if there is one."""
        error = self.error
        if error is not None:
            raise type(error)(str(error)) from error

    def close(self, problem: str | None) -> None:
        """Write the rest and end. Raises `JournalError` when that fails; what was committed before is safe."""
        self._problem = problem
        self._closing = True
        self._wakes.put(None)
        self._thread.join()
        error, self.error = self.error, ClosedError("the journal is closed")
        if error is not None:
            raise error

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        closing = False
        while not closing:
            with contextlib.suppress(queue.Empty):
                self._wakes.get(timeout=TICK)
            closing = self._closing
            if self.error is not None and not closing:
                continue  # until it is closed, which tries once more
            try:
                self._attempt(closing)
            except JournalError as error:
                self._store.give_up_reserve()  # so that the last turn has room, as a rule
                self._publish(error)
                if closing:
                    self._write_end(error)
            except Exception as error:  # a push with a row that is a float, say
                text = f"the journal cannot continue ({type(error).__name__}: {error}); is each push's row an int?"
                self._publish(JournalError(text))
        self._store.close()
        self._publish(self.error)

    def _write_end(self, error: JournalError) -> None:
        """What could not be written is in doubt; that the run has ended, and why, may need no more room than there is."""
        now = self._clock()
        with contextlib.suppress(JournalError):
            self._store.move_log()
        with contextlib.suppress(JournalError):
            self._store.write(replace(self._run, updated=now, ended=now, problem=str(error)))
            self._store.sync()

    def _attempt(self, closing: bool) -> None:
        """`_turn`, with an error of the system as a `JournalError`."""
        try:
            self._turn(closing)
        except OSError as error:
            raise JournalError(f"{self._store.path} cannot be read or written ({error.strerror})") from error
        except MemoryError:
            raise JournalError(f"there is too little memory for {self._store.path}") from None

    def _turn(self, closing: bool) -> None:
        """Commit what there is, if it is time to."""
        tickets, asks = self._tickets, self._asks
        taken = max(self.taken, self.wanted - 1)
        results = self._unwritten = self._unwritten + _drain(self.records)
        moves = self._unmoved = self._unmoved + _drain(self.moves)
        rows = self.rows if self.rows != self._said_rows else None
        now, asked = self._clock(), asks != self._answered
        idle = not (results or moves or asked or closing or rows is not None or tickets != self._served)
        if idle and abs(now - self._run.updated) < HEARTBEAT:
            return
        self._store.refresh()
        if not closing:
            self._store.check_there()
        elif (restored := self._store.restore(self._run)) is not None:
            self._run, words = restored
            self._complaint = JournalError(words)
        if asked:
            self._adapt()
        results.sort(key=_row_of)
        run = replace(self._run, updated=now, tally=self._run.tally.copy())
        parts, bits = self._pack(results, run)
        leased = self.leased
        if closing:
            leased = self.taken  # nothing beyond it was given out
            run.ended = now
            error = self.error or self._complaint
            run.problem = self._problem if error is None else str(error)
        elif self.reading:
            leased = max(leased, self._campaign.ahead(taken, max(self._step, self.least)))
        # What has an outcome lies below it, given out or not: rows that are no pushes need no lease.
        run.upto = leased = max(leased, results[-1][0] if results else 0)
        self._store.write(
            run, parts, [(row, run.run, attempts, waits) for row, attempts, waits in moves], rows
        )
        self._run, self._unwritten, self._unmoved = run, [], []
        self._bits.update(bits)
        if rows is not None:
            self._said_rows = rows
        self._store.sync()
        self.leased = leased
        self.ask_at = leased - self._step // 4
        self._answered, self._served = asks, tickets
        self._publish(self._complaint)

    def _adapt(self) -> None:
        """Give more rows at a time to a quick sender, so that it does not wait, and fewer to a slow one."""
        now, chunk = time.monotonic(), self._campaign.chunk_size
        since, self._asked_at = now - self._asked_at, now
        if since < _QUICK:
            self._step = min(2 * self._step, chunk)
        elif since > _SLOW:
            self._step = max(self._step // 2, chunk // _SMALLEST, 1)

    def _pack(
        self, results: list[OutcomeEntry], run: RunRecord
    ) -> tuple[list[tuple[int, PackedOutcomes]], dict[int, int]]:
        """Sorted results as parts with their blocks, and these blocks' bitmaps afterwards. `run` counts them."""
        parts: list[tuple[int, PackedOutcomes]] = []
        bits: dict[int, int] = {}
        at = 0
        left, zone = self._rest.left, self._rest.zone
        while at < len(results):
            block = (results[at][0] - 1) // BLOCK
            end = bisect_right(results, (block + 1) * BLOCK, at, key=_row_of)
            here, at = results[at:end], end
            known = self._bits.get(block, 0)
            before: dict[int, EarlierAttempts] = {}
            if here[0][0] <= zone:
                before = {row: left[row] for row in map(_row_of, here) if row in left}
            part = pack(here, self._prefix, before)
            new = bitmap(part.bits)
            if known & new or new.bit_count() != len(here):
                here = self._without_doubles(here, known, block)
                if not here:
                    continue
                part = pack(here, self._prefix, before)
                new = bitmap(part.bits)
            bits[block] = FULL if known | new == _ALL else known | new
            parts.append((block, part))
            run.count(part.tally)
            for row, _, _, mark in here if before else ():
                earlier = before.get(row)
                if earlier is not None and earlier.unsure:
                    unsent = type(mark) is UncommonOutcome and not mark.kind[-1]  # no attempt in this run
                    run.repeats += earlier.unsure - unsent
        return parts, bits

    def _without_doubles(self, results: list[OutcomeEntry], known: int, block: int) -> list[OutcomeEntry]:
        """Those whose rows have no outcome, once each; the sender learns of the others as an error."""
        kept = []
        for result in results:
            row = result[0]
            bit = 1 << (row - 1 - block * BLOCK)
            if known & bit:
                self._complaint = JournalError(f"row {row} was recorded twice; its first outcome is kept")
            else:
                known |= bit
                kept.append(result)
        return kept

    def _publish(self, error: PushcoreError | None) -> None:
        with self._changed:
            self.error = error
            wakers, self._wakers = self._wakers, []
            self._changed.notify_all()
        for wake in wakers:
            with contextlib.suppress(RuntimeError):  # its event loop has been closed
                wake()


def _drain(items: deque[Item]) -> list[Item]:
    return list(map(deque.popleft, repeat(items, len(items))))


def _settle(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
