"""The journal's thread: rows leased before they are given out, commits that wake the sender, and outcomes counted once."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pushcore.errors import ClosedError, JournalError
from pushcore.journal.campaign import CampaignRecord, RunRecord, UnfinishedRows
from pushcore.journal.format import BLOCK, bitmap, rows_of
from pushcore.journal.outcome import EarlierAttempts, OutcomeEntry, UncommonOutcome
from pushcore.journal.store import JournalStore
from pushcore.journal.writer import JournalWriter

from .support import CAMPAIGN, SOURCE

CHUNK = 100
UNSENT = UncommonOutcome(("apns", "UNSENT", None, "x", 0), None)
UNAVAILABLE = UncommonOutcome(("apns", "UNAVAILABLE", 503, "x", 1), None)


class Opened:
    """A writer and the file it writes."""

    def __init__(self, path: Path, rest: UnfinishedRows, clock: Callable[[], float], shards: int) -> None:
        self.campaign = CampaignRecord(CAMPAIGN, 0.0, CHUNK, 0, shards, SOURCE, {}, None)
        run = RunRecord(1, 0.0, 0.0)
        self.store = JournalStore.create(str(path), self.campaign, run)
        self.writer = JournalWriter(self.store, self.campaign, run, rest, clock)

    @property
    def run(self) -> RunRecord:
        """The run as it is on the disk."""
        with contextlib.closing(JournalStore.read(self.store.path)) as store:
            return store.runs()[-1]

    def rows(self) -> list[int]:
        """Those with an outcome on the disk, as often as they have one."""
        with contextlib.closing(JournalStore.read(self.store.path)) as store:
            return [row for block, bits in store.bitmaps() for row in rows_of(bitmap(bits), block)]

    def commit(self) -> None:
        """Have everything written that was handed over."""
        self.writer.wait(self.writer.ticket())

    def end(self, problem: str | None = None) -> None:
        self.writer.close(problem)


Open = Callable[..., Opened]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Open]:
    """Begins a writer, which is closed in the end."""
    made: list[Opened] = []

    def begin(
        *, rest: UnfinishedRows | None = None, clock: Callable[[], float] = lambda: 1.0, shards: int = 1
    ) -> Opened:
        opened = Opened(tmp_path / f"{len(made)}.db", rest or UnfinishedRows(0, {}, {}), clock, shards)
        made.append(opened)
        return opened

    yield begin
    for each in made:
        with contextlib.suppress(JournalError, ClosedError):
            each.end()


def entry(row: int, mark: int | UncommonOutcome = 0) -> OutcomeEntry:
    return row, f"{row:064x}", None, mark


# --- leases -----------------------------------------------------------------------------------------------------------


def test_a_leased_row_is_on_the_disk_before_it_may_be_given_out(start: Open) -> None:
    opened = start()
    assert opened.writer.leased == 0
    opened.writer.lease(1)
    assert 1 <= opened.writer.leased <= CHUNK
    assert opened.run.upto == opened.writer.leased


def test_a_lease_never_reaches_more_than_a_chunk_beyond_the_last_row_taken(start: Open) -> None:
    opened = start()
    writer = opened.writer
    for row in range(1, 20 * CHUNK):
        if row > writer.leased:
            writer.lease(row)
        assert row <= writer.leased < row + CHUNK
        writer.taken = row


def test_of_several_journals_each_leases_its_own_chunks(start: Open) -> None:
    opened = start(shards=3)
    opened.writer.lease(1)
    opened.writer.taken = CHUNK
    opened.writer.lease(3 * CHUNK + 1)
    assert 3 * CHUNK < opened.writer.leased <= 4 * CHUNK


async def test_a_burst_gets_as_many_rows_as_it_asks_for(start: Open) -> None:
    writer = start().writer
    writer.wanted, writer.least = 1, CHUNK
    await writer.lease_async(CHUNK)
    assert writer.leased == CHUNK


async def test_an_event_loop_goes_on_while_a_lease_is_awaited(start: Open) -> None:
    opened = start()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    opened.writer.wanted = 1
    await opened.writer.lease_async(1)
    counting.cancel()
    await asyncio.gather(counting, return_exceptions=True)
    assert opened.writer.leased >= 1
    assert turns > 0


def test_after_the_source_has_ended_nothing_more_is_leased(start: Open) -> None:
    opened = start()
    opened.writer.lease(1)
    opened.writer.taken, opened.writer.reading = 1, False
    leased = opened.writer.leased
    opened.writer.records.append(entry(1))
    opened.commit()
    assert opened.writer.leased == leased


# --- commits ----------------------------------------------------------------------------------------------------------


def test_a_ticket_is_served_once_everything_before_it_is_on_the_disk(start: Open) -> None:
    opened = start()
    opened.writer.lease(CHUNK // 4)
    opened.writer.records.extend(entry(row) for row in (3, 1, 2))
    opened.writer.moves.append((4, 2, True))
    opened.writer.rows = 9
    opened.commit()
    assert opened.rows() == [1, 2, 3]
    assert opened.run.tally == {("apns", "ACCEPTED", ""): 3}
    with contextlib.closing(JournalStore.read(opened.store.path)) as store:
        assert store.parked() == [(4, 1, 2, True)]
        assert store.campaign().rows == 9


def test_rows_of_two_blocks_become_a_part_for_each(start: Open) -> None:
    opened = start()
    opened.writer.records.extend(entry(row) for row in (BLOCK + 1, 1, BLOCK))
    opened.commit()
    with contextlib.closing(JournalStore.read(opened.store.path)) as store:
        blocks = [block for block, _ in store.bitmaps()]
    assert blocks == [0, 1]
    assert opened.rows() == [1, BLOCK, BLOCK + 1]
    assert opened.run.upto >= BLOCK + 1  # a row with an outcome is below the lease


def test_a_quiet_run_gives_a_sign_of_life(start: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    written = threading.Event()
    write = JournalStore.write

    def tell(store: JournalStore, run: RunRecord, *arguments: Any) -> None:
        write(store, run, *arguments)
        written.set()

    monkeypatch.setattr(JournalStore, "write", tell)
    hours = itertools.count(3600.0, 3600.0)
    opened = start(clock=lambda: next(hours))
    assert written.wait(20)
    assert opened.run.updated >= 3600.0


def test_the_end_says_that_only_rows_that_were_taken_may_have_been_sent(start: Open) -> None:
    opened = start(clock=lambda: 7.0)
    opened.writer.lease(1)
    opened.writer.taken = 1
    assert opened.writer.leased > 1
    opened.end("it was stopped by a signal or another process")
    assert (opened.run.upto, opened.run.ended, opened.run.problem) == (
        1,
        7.0,
        "it was stopped by a signal or another process",
    )


# --- outcomes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [False, True])
def test_a_second_outcome_of_a_row_is_an_error_and_the_first_one_stays(start: Open, apart: bool) -> None:
    opened = start()
    opened.writer.lease(10)
    opened.writer.records.append(entry(1))
    if apart:
        opened.commit()
    opened.writer.records.extend([entry(1, UNSENT), entry(2)])
    with pytest.raises(JournalError, match="row 1 was recorded twice; its first outcome is kept"):
        opened.commit()
    with pytest.raises(JournalError, match="row 1 was recorded twice"):
        opened.end()
    assert opened.rows() == [1, 2]
    assert opened.run.tally == {("apns", "ACCEPTED", ""): 2}


def test_only_rows_that_were_in_doubt_and_sent_again_count_as_repeats(start: Open) -> None:
    left = {
        1: EarlierAttempts(1, 1),
        2: EarlierAttempts(3, 2),
        3: EarlierAttempts(2, 0),
        4: EarlierAttempts(1, 1),
    }
    opened = start(rest=UnfinishedRows(4, left, {}))
    opened.writer.records.extend([entry(1), entry(2, UNAVAILABLE), entry(3), entry(4, UNSENT), entry(5)])
    opened.commit()
    assert opened.run.repeats == 1 + 2 + 0 + 0
    assert opened.run.tally["apns", "UNKNOWN", "x"] == 2  # 2 and 4 may have been delivered


# --- errors -----------------------------------------------------------------------------------------------------------


def test_an_error_reaches_the_sender_and_its_outcomes_are_written_in_the_end(
    start: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = start()
    write, failing = opened.store.write, True

    def maybe(*arguments: Any) -> None:
        if failing:
            raise JournalError("the disk is full")
        write(*arguments)

    monkeypatch.setattr(opened.store, "write", maybe)
    opened.writer.records.append(entry(1))
    with pytest.raises(JournalError, match="the disk is full"):
        opened.commit()
    with pytest.raises(JournalError, match="the disk is full"):
        opened.writer.check()
    failing = False
    opened.writer.close(None)  # there is room again, so nothing was lost
    assert opened.rows() == [1]
    assert opened.run.problem == "the disk is full"


def test_a_record_that_cannot_be_packed_is_an_error_of_the_journal(start: Open) -> None:
    opened = start()
    opened.writer.records.append((None, "aa", None, 0))  # type: ignore[arg-type]  # a push without a row
    with pytest.raises(JournalError, match="the journal cannot continue"):
        opened.commit()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EIO, "Input/output error"), "cannot be read or written (Input/output error)"),
        (MemoryError(), "there is too little memory for "),
    ],
)
def test_an_error_of_the_system_is_one_of_the_journal_and_its_outcomes_are_written_in_the_end(
    start: Open, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    opened = start()
    with monkeypatch.context() as patched:

        def fail() -> None:
            raise error

        patched.setattr(opened.store, "check_there", fail)
        opened.writer.records.append(entry(1))
        with pytest.raises(JournalError, match=re.escape(words)) as raised:
            opened.commit()
        assert opened.store.path in str(raised.value)
    opened.writer.close(None)
    assert opened.rows() == [1]
    assert words in (opened.run.problem or "")


async def test_an_error_wakes_the_sender_that_waits_in_an_event_loop(
    start: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = start()

    def fail(*_: Any) -> None:
        raise JournalError("the disk is full")

    monkeypatch.setattr(opened.store, "write", fail)
    with pytest.raises(JournalError, match="the disk is full"):
        await opened.writer.wait_async(opened.writer.ticket())


def test_after_its_end_nothing_can_be_asked(start: Open) -> None:
    opened = start()
    opened.end()
    with pytest.raises(ClosedError, match="the journal is closed"):
        opened.writer.check()
