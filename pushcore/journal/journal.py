"""`Journal`: what a campaign has sent, and the outcomes, on disk, so that a killed sender can continue.

    source ──▶ pending(): what is still to be sent ──▶ engine ──▶ record(): the outcome
                  │ waits for a lease                                │ never waits
                  └──────────────▶ one thread, one SQLite file ◀─────┘

Before a row is given to the engine, the file records that it may have been sent. So after a kill there are three kinds of
rows. Rows with an outcome are not sent again. Rows that may have been sent, but have no outcome, are at most the pushes
in flight and one chunk; `unknown` says what to do with them. All other rows were certainly not sent, and are sent.

The file contains tokens and responses, and no secret: no key, no password, no payload.
"""

from __future__ import annotations

import operator
import os
import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, Protocol, Self, TypeVar, get_args

from ..arguments import check_choice, check_flag, check_function, check_type, check_whole, kind, shown
from ..errors import JournalError, PushcoreError
from ..key_material import checked_path
from ..models.apns import Notification
from ..models.fcm import Message
from ..results import Accepted, Result, Verdict
from .campaign import CampaignRecord, RunRecord, Source, UnfinishedRows, survey
from .outcome import (
    LARGEST_ROW,
    PLAIN_APNS,
    PLAIN_FCM,
    Outcome,
    OutcomeEntry,
    RowDevice,
    checked_campaign_id,
    device_of,
    entry_of,
    id_prefix,
    push_id,
)
from .rows import LARGEST_CHUNK
from .store import JournalStore
from .view import JournalView, Status
from .writer import JournalWriter

__all__ = ["Journal", "JournalError", "JournalView", "Outcome", "Source", "Status", "id_prefix", "push_id"]

OnUnknown = Literal["report", "resend"]
"""How to treat a row that may have been sent before a kill: it is recorded UNKNOWN, or sent again."""

CHUNK_SIZE: Final = 1000
"""Rows that may be given out beyond the last one taken, at most: more cost less CPU and more repeats after a kill."""
TURN: Final = 10_000
"""Rows that `steps` skips before the event loop runs again."""
MAX_PROBLEM: Final = 1000
_NO_PUSH: Final = object()
_KILLED: Final = "the sender was stopped before the response came"


class NumberedPush(Protocol):
    """A push that knows its row. Rows are numbered from 1 on, in the order of the source."""

    @property
    def row(self) -> int: ...


P = TypeVar("P", bound=NumberedPush)


class Journal:
    """The journal of one campaign, open for writing. `create` makes a new one, `open` continues one. Always close it.

    Use it from the thread that sends; it has its own thread that writes. If that thread cannot write, the next call
    raises `JournalError`, and the sender should stop. `close` tries once more to write, and raises it as well.
    """

    def __init__(
        self,
        store: JournalStore,
        campaign: CampaignRecord,
        run: RunRecord,
        rest: UnfinishedRows,
        *,
        unknown: OnUnknown,
        clock: Callable[[], float],
    ) -> None:
        """For `create` and `open`, which make one."""
        check_type("store", store, JournalStore, "a JournalStore; Journal.create and Journal.open make one")
        check_type("campaign", campaign, CampaignRecord, "a CampaignRecord")
        check_type("run", run, RunRecord, "a RunRecord")
        check_type("rest", rest, UnfinishedRows, "UnfinishedRows")
        check_choice("unknown", unknown, get_args(OnUnknown))
        check_function("clock", clock)
        self.path = store.path
        self.campaign = campaign
        self._unknown = unknown
        self._zone, self._left = rest.zone, rest.left
        self._last = 0
        # By the class of pushes that have been seen: what it is to be accepted at once.
        self._plain: dict[type, int] = {}
        self._closed = False
        self._writer = JournalWriter(store, campaign, run, rest, clock)
        self._put = self._writer.records.append

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        source: Source,
        *,
        rows: int | None = None,
        chunk_size: int = CHUNK_SIZE,
        campaign_id: str | None = None,
        shard: int = 0,
        shards: int = 1,
        options: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Begin a campaign in a new file.

        Args:
            path: of the new file.
            source: the origin of the rows, see `Source`.
            rows: the number of rows, if it is known.
            chunk_size: the number of rows that one commit records as begun.
            campaign_id: random unless given.
            shard: the number of this journal among the journals of the campaign, from 0.
            shards: how many journals the campaign has; each has every `shards`-th chunk.
            options: JSON values without secrets, for the process that resumes.
            clock: the wall clock, UNIX seconds.

        Returns:
            The journal.

        Raises:
            JournalError: the file exists, or cannot be written.
            ConfigurationError: a number or the id is out of bounds, or an argument is of a wrong type.
        """
        check_type("source", source, Source, "a Source; Source.of_file makes one")
        if rows is not None:
            check_whole("rows", rows, least=0, most=LARGEST_ROW)
        check_whole("chunk_size", chunk_size, least=1, most=LARGEST_CHUNK)
        check_whole("shards", shards, least=1, most=LARGEST_ROW)
        check_whole("shard", shard, least=0, most=shards - 1)
        check_type("options", options, (Mapping, type(None)), "a mapping or None")
        check_function("clock", clock)
        campaign_id = secrets.token_hex(8) if campaign_id is None else checked_campaign_id(campaign_id)
        now = clock()
        campaign = CampaignRecord(
            campaign_id, now, chunk_size, shard, shards, source, dict(options or {}), rows
        )
        run = RunRecord(1, now, now)
        store = JournalStore.create(checked_path(path, "the path of the journal"), campaign, run)
        return cls(store, campaign, run, UnfinishedRows(0, {}, {}), unknown="report", clock=clock)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        source: Source | None = None,
        *,
        unknown: OnUnknown = "report",
        force: bool = False,
        campaign_id: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Continue a campaign.

        Args:
            path: of its file.
            source: as in `create`; None to skip the check that it has not changed.
            unknown: rows that may have been sent and have no outcome are recorded as UNKNOWN ("report"), or sent
                again with the same apns-id ("resend"), which may deliver a push twice.
            force: whether the rows are the same although the source has changed.
            campaign_id: the id that the campaign must have.
            clock: the wall clock, UNIX seconds.

        Returns:
            The journal.

        Raises:
            JournalError: there is no such file, it is damaged, of another version or campaign, or in use; or the source
                has changed.
            ConfigurationError: an argument is of a wrong type.
        """
        check_choice("unknown", unknown, get_args(OnUnknown))
        check_type("source", source, (Source, type(None)), "a Source or None")
        check_type("campaign_id", campaign_id, (str, type(None)), "a string or None")
        check_flag("force", force)
        check_function("clock", clock)
        store = JournalStore.open(checked_path(path, "the path of the journal"))
        try:
            campaign = store.campaign()
            if campaign_id is not None and campaign.id != campaign_id:
                raise JournalError(f"{store.path} is of the campaign {campaign.id}, not {campaign_id}")
            change = None if source is None else campaign.source.change(source)
            if change is not None and not force:
                raise JournalError(f"{change}; rows would be sent twice or never")
            runs, parked = store.runs(), store.parked()
            rest = survey(campaign, runs, store.bitmaps(), parked)
            now, last = clock(), runs[-1]
            run = RunRecord(
                last.run + 1,
                now,
                now,
                parts=last.parts,
                repeats=last.repeats,
                tally=last.tally,
                resends=unknown == "resend",
            )
            settled = [row for row, *_ in parked if row not in rest.left]
            store.begin(run, source=source if change is not None else None, settled=settled)
        except BaseException:
            store.close()
            raise
        return cls(store, campaign, run, rest, unknown=unknown, clock=clock)

    @staticmethod
    def read(path: str | os.PathLike[str]) -> JournalView:
        """Look at a campaign without changing it, also while another process writes it.

        Raises:
            JournalError: there is no such file, or it is damaged or of another version.
            ConfigurationError: `path` is not a path.
        """
        return JournalView(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.close(None if error is None else _words(error))
        except JournalError:
            if error is None:  # otherwise that error is the one to see
                raise

    def close(self, problem: str | None = None) -> None:
        """Write what is left. Rows that were given out but not recorded count as possibly sent; all other rows do not.

        `problem`: why the campaign was not sent to its end, for `Status.problem`: at most `MAX_PROBLEM` characters are
        kept, and it must contain no secret. If the journal could not be written, this is recorded as the problem, if
        the disk has room for it.

        Raises:
            JournalError: it could not be written, or has failed before.
        """
        if not self._closed:
            self._closed = True
            self._writer.close(None if problem is None else problem[:MAX_PROBLEM])

    @property
    def campaign_id(self) -> str:
        """The campaign's id."""
        return self.campaign.id

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of the campaign."""
        return self.campaign.options

    @property
    def id_prefix(self) -> str:
        """The beginning of this campaign's apns-ids: `push_id` is this and the row in 12 hexadecimal digits."""
        return id_prefix(self.campaign.id)

    # --- what is to be sent -------------------------------------------------------------------------------------------

    def pending(self, pushes: Iterable[P]) -> Iterator[P]:
        """The pushes that must still be sent. The source is read from its beginning, in the order of `row`.

        If the disk is slower than the sender, it waits for a commit, but never for an outcome. Code on an event loop
        awaits `room` first, so that this does not block. Rows that may have been sent are recorded UNKNOWN or given out
        again, as `unknown` says. When the source has really ended, call `finish`.

        Raises:
            JournalError: the journal could not be written, or the rows are out of order.
        """
        return (push for push in self.steps(pushes) if push is not None)

    def steps(self, pushes: Iterable[P]) -> Iterator[P | None]:
        """As `pending`, with a None after every 10 000 rows that are skipped: skipping millions takes seconds, and the caller can
        let the event loop run meanwhile.

        Raises:
            JournalError: as `pending`.
        """
        writer, zone = self._writer, self._zone
        writer.reading = True
        passed = 0
        push: Any = _NO_PUSH
        try:
            for push in pushes if self.campaign.shards == 1 else self._own(pushes):
                row = push.row
                if zone < row <= writer.ask_at and row > writer.taken:
                    writer.taken = row
                elif not self.admit(push):
                    passed += 1
                    if not passed % TURN:
                        yield None
                    continue
                yield push
        except (AttributeError, TypeError):  # of a push without a row, or of the source
            if push is not _NO_PUSH:
                _check_row(push)
            raise
        finally:
            writer.reading = False

    async def pending_async(self, pushes: Iterable[P] | AsyncIterable[P]) -> AsyncIterator[P]:
        """`pending` for an async source, or for a caller that must not block: the event loop runs while it waits.

        Raises:
            JournalError: as `pending`.
        """
        writer = self._writer
        writer.reading = True
        try:
            if isinstance(pushes, AsyncIterable):
                async for push in pushes:
                    _check_row(push)
                    await self._wait_for(push.row)
                    if self.admit(push):
                        yield push
            else:
                for push in pushes:
                    _check_row(push)
                    await self._wait_for(push.row)
                    if self.admit(push):
                        yield push
        finally:
            writer.reading = False

    async def _wait_for(self, row: int) -> None:
        writer = self._writer
        if row > writer.leased and self._is_to_be_sent(row):
            writer.wanted, writer.reading = row, True
            await writer.lease_async(row)

    def _own(self, pushes: Iterable[P]) -> Iterator[P]:
        size, shard, shards = self.campaign.chunk_size, self.campaign.shard, self.campaign.shards
        return (push for push in pushes if (push.row - 1) // size % shards == shard)

    def admit(self, push: NumberedPush) -> bool:
        """Whether this one push is to be sent now: one step of `pending`, for callers that iterate the source themselves.

        Raises:
            JournalError: as `pending`.
        """
        _check_row(push)
        writer, row = self._writer, push.row
        writer.check()
        self._in_order(row)
        if not self._is_to_be_sent(row):
            if row <= self._zone and row in self._left:  # in doubt
                sent_id = getattr(push, "apns_id", None)
                sent_id = None if sent_id is None else str(sent_id)  # it may be a UUID
                self.record(Result(push, Verdict.UNKNOWN, id=sent_id, detail=_KILLED))
            return False
        if row > writer.leased:
            writer.lease(row)
        elif row > writer.ask_at:
            writer.ask()
        writer.taken = row
        return True

    def _in_order(self, row: int) -> None:
        last = max(self._last, self._writer.taken)
        if row <= last:
            raise JournalError(
                f"row {row} came after row {last}: the source must yield its rows in order, from the first on"
            )
        self._last = row

    def _is_to_be_sent(self, row: int) -> bool:
        if not self.campaign.owns(row):
            return False
        if row > self._zone:
            return True
        earlier = self._left.get(row)
        return earlier is not None and not (earlier.unsure and self._unknown == "report")

    async def room(self, rows: int = 1) -> None:
        """Wait until `rows` rows, a chunk at most, can be taken from `pending` without blocking.

        Raises:
            JournalError: the journal could not be written.
        """
        writer, campaign = self._writer, self.campaign
        rows, last = min(rows, campaign.chunk_size), max(writer.taken, self._last)
        target = campaign.ahead(last, rows)
        if writer.leased < target and writer.reading:
            writer.wanted, writer.least = last + 1, rows
            await writer.lease_async(target)
        else:
            writer.check()

    def finish(self) -> None:
        """Record that the source has ended, so that the number of rows is known."""
        self._writer.rows = max(self._last, self._writer.taken)

    # --- what became of it --------------------------------------------------------------------------------------------

    def record(self, result: Result) -> None:
        """Keep the outcome of a push that `pending` gave out, whose `push` knows its row. It never waits.

        Raises:
            JournalError: the journal could not be written. This outcome is written all the same if `close` can.
        """
        self.record_all((result,))

    def record_all(self, results: Iterable[Result]) -> None:
        """`record` for several results at once, which costs less.

        Raises:
            JournalError: as `record`.
        """
        put, plain = self._put, self._plain
        for result in results:
            push = result.push
            if type(result) is Accepted and result.attempts == 1 and type(push) in plain:
                put((push.row, push.token or device_of(push)[1], result.id or None, plain[type(push)]))
            else:
                put(self._entry_of(result))
                if isinstance(push, Notification | Message):
                    plain[type(push)] = PLAIN_APNS if isinstance(push, Notification) else PLAIN_FCM
        if self._writer.error is not None:
            self._writer.check()

    def _entry_of(self, result: Result) -> OutcomeEntry:
        """The stored parts of a result that differs from nearly all."""
        return entry_of(result)

    def note(
        self, row: int, token: str, platform: str, reason: str, verdict: Verdict = Verdict.INVALID
    ) -> bool:
        """Keep the outcome of a row that is not a push, in the order of the rows. It is not kept if the row has an outcome, or belongs
        to another shard.

        Args:
            row: its number.
            token: its device.
            platform: "apns", "fcm", or "" where that is not known.
            reason: why it is not a push.
            verdict: its outcome.

        Returns:
            Whether it was kept.

        Raises:
            JournalError: the rows are out of order, or the journal could not be written.
        """
        self._in_order(row)
        if not self.campaign.owns(row) or (row <= self._zone and row not in self._left):
            return False
        self._writer.taken = row
        self.record(Result(RowDevice(row, token, platform), verdict, reason=reason))
        return True

    def put_back(self, push: NumberedPush, attempts: int) -> None:
        """Record that a push was temporarily rejected and waits for a retry: until then it is certainly not delivered.

        Args:
            push: with its row.
            attempts: made in this run so far. The caller that retries it calls `take_back`, and `committed` before
                it is written; a push that is given up is recorded as any other.
        """
        earlier = self._left.get(push.row) if push.row <= self._zone else None
        if earlier is None:
            self._writer.moves.append((push.row, attempts, True))
        elif not earlier.unsure:
            self._writer.moves.append((push.row, attempts + earlier.attempts, True))
        # Else a killed run may have delivered it, and it stays in doubt.

    def take_back(self, push: NumberedPush, attempts: int) -> None:
        """Record that a push that was put back will be sent again. Send it when this is `committed`.

        Args:
            push: with its row.
            attempts: made in this run so far.
        """
        earlier = self._left.get(push.row) if push.row <= self._zone else None
        if earlier is None or not earlier.unsure:
            before = 0 if earlier is None else earlier.attempts
            self._writer.moves.append((push.row, attempts + before, False))

    async def committed(self) -> None:
        """Wait until everything so far is on disk.

        Raises:
            JournalError: the journal could not be written.
        """
        await self._writer.wait_async(self._writer.ticket())

    def flush(self) -> None:
        """As `committed`, but it blocks the thread.

        Raises:
            JournalError: the journal could not be written.
        """
        self._writer.wait(self._writer.ticket())

    # --- looking ------------------------------------------------------------------------------------------------------

    def status(self) -> Status:
        """The status, according to the file.

        Raises:
            JournalError: the file is gone or damaged.
        """
        with JournalView(self.path) as view:
            return view.status()

    def results(self, verdict: Verdict | None = None) -> Iterator[Outcome]:
        """As `JournalView.results`.

        Raises:
            JournalError: the file is gone or damaged.
        """
        with JournalView(self.path) as view:
            yield from view.results(verdict)


def _check_row(push: Any) -> None:
    row = getattr(push, "row", None)
    try:
        valid = 1 <= operator.index(row) <= LARGEST_ROW  # type: ignore[arg-type]
    except TypeError:
        valid = False
    if not valid:
        raise JournalError(
            f"each push of a campaign with a journal needs an attribute row, a whole number from 1 on; that of this {kind(push)} "
            f"is {shown(row)}"
        )


def _words(error: BaseException) -> str:
    """The text of an error of pushcore; the class name of any other, whose text may contain a secret."""
    return str(error) if isinstance(error, PushcoreError) else type(error).__name__
