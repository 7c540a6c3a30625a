"""`Ledger`: the chunks of a campaign and the outcome of each row, in a SQLite file of the coordinator, outside the queue.

    campaign   its description, and whether all chunks are recorded                one row
    chunk      number, rows, the chunk's bytes until it is finished, which rows have an outcome
    part       outcomes of some rows of one chunk, as workers packed them
    seen       nonces of results that have been taken, so that two copies of one count once

The first outcome of a row is kept; further ones are counted as repeats. WAL and `synchronous=FULL`: what a method has
written is on the disk when it returns. Every method raises `JournalError` if the file cannot be used.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import orjson

from ..arguments import check_flag, check_type
from ..errors import JournalError
from ..journal.database import Database, explained
from ..journal.format import OutcomeTally
from ..journal.journal import id_prefix
from ..journal.outcome import Outcome
from ..key_material import checked_path
from .campaign import CampaignInfo, CampaignState
from .chunk import Chunk
from .errors import CampaignConflict, ChunkError
from .ledger_file import LEDGER, create_ledger, open_ledger
from .outcomes import ChunkResult, OutcomeBlock

OPEN, FINISHED, ASIDE = 0, 1, 2
_ANNOUNCED: Final = (-1, "\0announced")
"""A number and nonce that mark the ledger: see `Ledger.announced`."""
_DOUBLED: Final = "\0doubled"
"""A nonce that marks a chunk: its pushes that a worker with an expired lease may have sent have been counted."""


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """The status of a campaign, according to its ledger.

    Attributes:
        complete: whether all chunks are recorded.
        began: when the ledger was made, UNIX seconds.
        state: the state that workers must obey.
        chunks: the number of recorded chunks.
        finished: chunks whose rows all have an outcome.
        aside: chunks that could not be sent.
        rows: rows of the recorded chunks.
        done: rows with an outcome.
        repeats: pushes that were sent more than once, or may have been because a lease expired.
        strays: results that belong to no chunk or are damaged.
        tally: the number of rows with an outcome, by platform, verdict and reason.
    """

    complete: bool
    began: float
    state: CampaignState
    chunks: int
    finished: int
    aside: int
    rows: int
    done: int
    repeats: int
    strays: int
    tally: OutcomeTally

    @property
    def over(self) -> bool:
        """Whether every chunk is finished or set aside."""
        return self.complete and self.finished + self.aside == self.chunks


class Ledger:
    """The ledger of one campaign: `create` or `open` it, and close it. One process writes it, others may read it.

    Every method and property raises `JournalError` if the file cannot be used: it is damaged, in use by another process, or the
    disk is full.
    """

    def __init__(self, file: Database, *, writes: bool = True) -> None:
        """For `create` and `open`, which make one."""
        check_type("file", file, Database, "a Database; Ledger.create and Ledger.open make one")
        self._file = file
        self._writes = writes
        with self._using() as sql:
            (data,) = sql.execute("select info from campaign").fetchone()
            try:
                self.info = CampaignInfo.decode(data)
            except ChunkError:
                raise JournalError(f"{file.path} is damaged (the description of its campaign)") from None
        self._prefix = id_prefix(self.info.name)

    @classmethod
    def create(cls, path: str | os.PathLike[str], info: CampaignInfo) -> Ledger:
        """Make the ledger of a campaign, or open it if the file has the same campaign.

        Args:
            path: of its file.
            info: the description of the campaign.

        Returns:
            The ledger.

        Raises:
            JournalError: the file cannot be written, or it is not a ledger.
            CampaignConflict: the file has another campaign.
            ConfigurationError: an argument is of a wrong type.
        """
        path = checked_path(path, "the path of the ledger")
        check_type("info", info, CampaignInfo, "a CampaignInfo")
        ledger = cls._of(create_ledger(path, info.encode()))
        known = ledger.info
        if (known.name, known.fingerprint, known.chunk_rows) != (
            info.name,
            info.fingerprint,
            info.chunk_rows,
        ):
            ledger.close()
            raise CampaignConflict(
                f"{path} has the campaign {known.name} with another audience or other settings"
            )
        return ledger

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, read_only: bool = False) -> Ledger:
        """Open the ledger of an existing campaign.

        Args:
            path: of its file.
            read_only: only to look at it; nothing is written.

        Returns:
            The ledger.

        Raises:
            JournalError: the file does not exist, or it is not a ledger.
            ConfigurationError: an argument is of a wrong type.
        """
        path = checked_path(path, "the path of the ledger")
        check_flag("read_only", read_only)
        return cls._of(open_ledger(path, "ro" if read_only else "rw"), writes=not read_only)

    @classmethod
    def _of(cls, file: Database, *, writes: bool = True) -> Ledger:
        try:
            return cls(file, writes=writes)
        except BaseException:
            file.close()
            raise

    @property
    def path(self) -> str:
        """The path of its file."""
        return self._file.path

    def close(self) -> None:
        """Close the file.

        Raises:
            JournalError: another program has truncated the file; or has removed or replaced it, and it was written again.
        """
        try:
            if self._writes:
                self._file.check_there()
                self._file.put_away()
        finally:
            self._file.close()

    def verify(self) -> None:
        """Read all of the file.

        Raises:
            JournalError: it is damaged, for example because another program has overwritten it.
        """
        with self._using():
            self._file.verify()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self.close()
        except JournalError:
            if kind is None:  # otherwise that error is the one to see
                raise

    # --- the manifest -------------------------------------------------------------------------------------------------

    @property
    def known(self) -> int:
        """The number of recorded chunks; they are numbered from 0."""
        with self._using() as sql:
            (count,) = sql.execute("select count(*) from chunk").fetchone()
        return int(count)

    @property
    def complete(self) -> bool:
        """Whether all chunks are recorded."""
        with self._using() as sql:
            return bool(sql.execute("select complete from campaign").fetchone()[0])

    @property
    def announced(self) -> bool:
        """Whether the queue has got the campaign from this ledger, or may have."""
        with self._using() as sql:
            mark = sql.execute("select 1 from seen where number = ? and nonce = ?", _ANNOUNCED).fetchone()
        return mark is not None or self.known > 0

    @announced.setter
    def announced(self, announced: bool) -> None:
        with self._transaction() as sql:
            sql.execute("delete from seen where number = ? and nonce = ?", _ANNOUNCED)
            if announced:
                sql.execute("insert into seen values (?, ?)", _ANNOUNCED)

    def add(self, chunks: Sequence[Chunk]) -> None:
        """Record further chunks. Their numbers continue those before, and all but the last have the campaign's chunk size.

        Raises:
            JournalError: a chunk is not the next one, or has more rows than the chunk size.
        """
        size = self.info.chunk_rows
        number = self.known
        for chunk in chunks:
            if chunk.number != number or chunk.first != number * size + 1 or not 1 <= chunk.rows <= size:
                raise JournalError(
                    f"chunk {chunk.number} with rows from {chunk.first} came where chunk {number} was expected"
                )
            number += 1
        values = [(c.number, c.first, c.rows, c.encode(), b"", 0, OPEN, None) for c in chunks]
        with self._transaction() as sql:
            sql.executemany("insert into chunk values (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def finish(self) -> None:
        """Record that all chunks have been added.

        Raises:
            JournalError: the file cannot be written.
        """
        with self._transaction() as sql:
            sql.execute("update campaign set complete = 1")

    def unfinished(self, page: int = 100) -> Iterator[list[Chunk]]:
        """Chunks with rows that have no outcome, without those that are set aside, `page` at a time; `done` is up to date.

        Raises:
            JournalError: the file cannot be read.
        """
        last = -1
        while True:
            with self._using() as sql:
                rows = sql.execute(
                    "select number, data, bits from chunk where state = 0 and number > ? order by number limit ?",
                    (last, page),
                ).fetchall()
                if not rows:
                    return
                last = _above(last, rows[-1][0])
                try:
                    chunks = [
                        Chunk.decode(data).without(int.from_bytes(bits, "little")) for _, data, bits in rows
                    ]
                except ChunkError:
                    raise JournalError(f"{self.path} is damaged (a chunk)") from None
            yield chunks

    def next_epoch(self, least: int = 0) -> int:
        """A new epoch, at least `least`. It is on the disk when this returns.

        Raises:
            JournalError: the file cannot be written.
        """
        with self._transaction() as sql:
            sql.execute("update campaign set epoch = max(epoch + 1, ?)", (least,))
            (epoch,) = sql.execute("select epoch from campaign").fetchone()
        return int(epoch)

    def aside(self) -> list[tuple[int, str]]:
        """The numbers of the chunks that could not be sent, and the reasons.

        Raises:
            JournalError: the file cannot be read.
        """
        with self._using() as sql:
            return sql.execute(
                "select number, reason from chunk where state = ? order by number", (ASIDE,)
            ).fetchall()

    def take_back(self, numbers: Iterable[int]) -> None:
        """Make chunks that were set aside normal chunks again: `reconcile` will put them on the queue.

        Raises:
            JournalError: the file cannot be written.
        """
        with self._transaction() as sql:
            sql.executemany(
                "update chunk set state = ?, reason = null where number = ? and state = ?",
                [(OPEN, number, ASIDE) for number in numbers],
            )

    @property
    def state(self) -> CampaignState:
        """The state that workers must obey."""
        with self._using() as sql:
            return CampaignState(sql.execute("select state from campaign").fetchone()[0])

    @state.setter
    def state(self, state: CampaignState) -> None:
        with self._transaction() as sql:
            sql.execute("update campaign set state = ?", (state.value,))

    # --- outcomes -----------------------------------------------------------------------------------------------------

    def record(self, results: Sequence[ChunkResult], strays: int = 0) -> None:
        """Record results, in one transaction.

        Args:
            results: from the queue.
            strays: the number of further results that could not be read.

        Raises:
            JournalError: the file cannot be written.
        """
        with self._transaction() as sql:
            text, repeats, before = sql.execute("select tally, repeats, strays from campaign").fetchone()
            tally: OutcomeTally = Counter({tuple(kind): count for *kind, count in orjson.loads(text)})
            strays += before
            for result in results:
                if result.number is None:
                    strays += 1
                    continue
                row = sql.execute(
                    "select first, rows, bits, state from chunk where number = ?", (result.number,)
                ).fetchone()
                if row is None:
                    strays += 1
                    continue
                new = sql.execute(
                    "insert or ignore into seen values (?, ?)", (result.number, result.nonce)
                ).rowcount
                if new:
                    again, wrong = self._take(sql, result, row, tally)
                    repeats += again
                    strays += wrong
            listed = orjson.dumps([[*kind, count] for kind, count in tally.items()]).decode()
            sql.execute("update campaign set tally = ?, repeats = ?, strays = ?", (listed, repeats, strays))

    def _take(
        self,
        sql: sqlite3.Connection,
        result: ChunkResult,
        chunk: tuple[int, int, bytes, int],
        tally: OutcomeTally,
    ) -> tuple[int, int]:
        """Record one result. Returns the number of its rows that had an outcome already, and whether it is a stray."""
        first, rows, bits, state = chunk
        number = result.number
        if result.bad is not None:
            sql.execute(
                "update chunk set state = ?, reason = ? where number = ? and state = ?",
                (ASIDE, result.bad, number, OPEN),
            )
            return 0, 0
        if not result.parts:
            return 0, 0  # all its rows have been delivered in parts
        done = int.from_bytes(bits, "little")
        new = 0
        for part in result.parts:
            new |= part.rows
        if not new or new & ((1 << (first - 1)) - 1) or new >> (first - 1 + rows):
            return 0, 1
        new >>= first - 1
        repeated = new & done
        repeats = self._repeats(sql, result, repeated.bit_count())
        if not repeated:
            tally.update(result.tally)
        elif new & ~done:
            kept: set[int] = {at for at in range(rows) if done >> at & 1}
            for part in result.parts:
                for outcome in part.outcomes(self._prefix):
                    if outcome.row - first not in kept:
                        tally[outcome.platform, outcome.verdict.name, outcome.reason or ""] += 1
        if new & ~done:
            sql.executemany(
                "insert into part (number, block, bits, blob) values (?, ?, ?, ?)",
                [(number, part.block, part.bits, part.blob) for part in result.parts],
            )
        done |= new
        finished = done == (1 << rows) - 1
        sql.execute(
            "update chunk set bits = ?, done = ?, state = ?, data = case when ? then null else data end "
            "where number = ?",
            (
                done.to_bytes((rows + 7) // 8, "little"),
                done.bit_count(),
                FINISHED if finished else state,
                finished,
                number,
            ),
        )
        return repeats, 0

    @staticmethod
    def _repeats(sql: sqlite3.Connection, result: ChunkResult, repeated: int) -> int:
        """The number of pushes that this result adds to those that were, or may have been, sent more than once.

        A worker with an expired lease may have sent them; the next worker reports this as `doubled`. If the first worker
        delivers later, its rows have an outcome already, but they have been counted before.
        """
        mark = result.number, _DOUBLED
        if result.doubled:
            sql.execute("insert or ignore into seen values (?, ?)", mark)
            return max(result.doubled, repeated)
        counted = sql.execute("select 1 from seen where number = ? and nonce = ?", mark).fetchone()
        return 0 if counted else repeated

    def outcomes(self) -> Iterator[Outcome]:
        """The first outcome of each row that has one, chunk by chunk.

        Raises:
            JournalError: the file cannot be read.
        """
        last = -1
        while True:
            with self._using() as sql:
                number = sql.execute("select min(number) from part where number > ?", (last,)).fetchone()[0]
                if number is None:
                    return
                parts = sql.execute(
                    "select block, bits, blob from part where number = ? order by id", (number,)
                ).fetchall()
                last = _above(last, number)
                rows: dict[int, Outcome] = {}
                for part in parts:
                    for outcome in OutcomeBlock(*part).outcomes(self._prefix):
                        rows.setdefault(outcome.row, outcome)
            yield from (rows[row] for row in sorted(rows))

    def status(self) -> LedgerStatus:
        """The status, according to the file.

        Raises:
            JournalError: the file cannot be read.
        """
        with self._using() as sql:
            complete, began, state, repeats, strays, tally = sql.execute(
                "select complete, began, state, repeats, strays, tally from campaign"
            ).fetchone()
            chunks, rows, done, finished, aside = sql.execute(
                "select count(*), coalesce(sum(rows), 0), coalesce(sum(done), 0), "
                "coalesce(sum(state = 1), 0), coalesce(sum(state = 2), 0) from chunk"
            ).fetchone()
            return LedgerStatus(
                bool(complete),
                began,
                CampaignState(state),
                chunks,
                finished,
                aside,
                rows,
                done,
                repeats,
                strays,
                Counter({tuple(kind): count for *kind, count in orjson.loads(tally)}),
            )

    # --- SQLite -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._using() as sql:
            sql.execute("begin immediate")
            try:
                yield sql
            except BaseException:
                sql.execute("rollback")
                raise
            sql.execute("commit")
        self._file.check_there()  # before the queue forgets what has been recorded

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """The connection, after a check of the file. Errors are explained."""
        if self._writes:
            self._file.check_there()
        self._file.files.mend_index()
        with explained(self.path, LEDGER):
            yield self._file.sql


def _above(last: int, number: int) -> int:
    """Return `number`; raise an error unless it is above `last`: a damaged index could otherwise cause an endless loop."""
    if not number > last:
        raise ValueError
    return number
