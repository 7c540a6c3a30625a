"""The SQLite file under a journal: its tables, who may write it, what one commit holds, and what can go wrong with it.

    campaign   what never changes, and the source's description        one row
    run        one row for each time that the campaign was run: up to which row it may have sent, what it counted
    part       outcomes of some rows of one block (`format`); the key is the block and a number that only grows
    parked     rows that were sent and refused for now, and how often, so that they are known not to be delivered

WAL: other processes can read meanwhile. A commit is on the disk after `sync`, see `files`. The writer keeps a write
transaction open between its commits, and a lock on the reserve for the instant between two of them; that is how nobody else
can resume the campaign, and the system ends both with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any, Final, Literal

from ..errors import JournalError
from . import rows
from .campaign import CampaignRecord, RunRecord, Source
from .database import Database, FileKind, explained
from .format import VERSION, PackedOutcomes
from .reserve import Reserve

JOURNAL: Final = FileKind(
    name="journal",
    application=0x70757368,  # "push"
    version=VERSION,
    damage=(rows.DamagedError, UnicodeDecodeError, OverflowError),
)
WAIT: Final = 2.0
"""Seconds to wait for a lock: for a reader's checkpoint, not for the end of another writer."""
_NUMBER_BITS: Final = 32
_INSERTS: Final = 32  # parts in one statement: each statement costs a change of threads

_TABLES: Final = """
create table campaign (
    id text not null, began real not null, chunk_size integer not null, shard integer not null,
    shards integer not null, source text not null, options text not null, rows integer
);
create table run (
    run integer primary key, began real not null, updated real not null, ended real, upto integer not null,
    parts integer not null, repeats integer not null, tally text not null, problem text,
    resends integer not null
);
create table part (id integer primary key, bits blob not null, blob blob not null);
create table parked (row integer primary key, run integer not null, attempts integer not null, waits integer not null);
"""


def _explained(path: str) -> contextlib.AbstractContextManager[None]:
    """Errors of SQLite as one sentence."""
    return explained(path, JOURNAL)


class JournalStore:
    """An open journal file: `create`, `open` it to write, or `read` it. Every method raises `JournalError`."""

    def __init__(self, path: str, mode: Literal["ro", "rw"], *, writes: bool) -> None:
        self.path = path
        self._writes = writes
        self._file = Database(path, JOURNAL, mode, wait=WAIT)
        self._reserve = Reserve(path)  # of the writer
        self._campaign_id = ""
        self._noted = 0, 0  # number of the run, and the row up to which it may send
        if not writes:  # a reader that is not closed loses nothing; a writer must be closed
            weakref.finalize(self, self._file.sql.close)

    @classmethod
    def create(cls, path: str, campaign: CampaignRecord, run: RunRecord) -> JournalStore:
        """A new file with this campaign, and its first run begun. There must be none of that name."""
        problem = ""
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))
        except FileExistsError:
            problem = "exists already: resume it, or choose another name"
        except OSError as error:
            problem = f"cannot be written ({error.strerror})"
        if problem:
            # Not inside the handler: the context would repeat the path, which may be a secret.
            raise JournalError(f"{path} {problem}")
        try:
            store = cls(path, "rw", writes=True)
            try:
                with _explained(path):
                    store._lay_out(campaign)
                store.begin(run)
                store.move_log()
            except BaseException:
                store._file.close()
                raise
            store._keep_reserve(campaign.id)
            return store
        except BaseException:
            for name in (path, f"{path}-wal", f"{path}-shm"):
                with contextlib.suppress(OSError):
                    os.unlink(name)
            raise

    def _lay_out(self, campaign: CampaignRecord) -> None:
        self._file.use_log("normal")
        sql = self._file.sql
        sql.execute("begin immediate")
        sql.execute(f"pragma application_id = {JOURNAL.application}")
        sql.execute(f"pragma user_version = {VERSION}")
        for statement in _TABLES.split(";")[:-1]:
            sql.execute(statement)
        sql.execute(
            "insert into campaign values (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                campaign.id,
                campaign.began,
                campaign.chunk_size,
                campaign.shard,
                campaign.shards,
                json.dumps(asdict(campaign.source)),
                json.dumps(dict(campaign.options)),
                campaign.rows,
            ),
        )

    def move_log(self) -> None:
        """Copy the commits from the log into the file. They are safe if the log is lost later, and on a full disk the next commit can use
        the space of the log."""
        with _explained(self.path):
            if self._file.sql.in_transaction:
                self._file.sql.execute("rollback")
            self._file.sql.execute("pragma wal_checkpoint")
            self._file.sql.execute("begin immediate")

    @classmethod
    def open(cls, path: str) -> JournalStore:
        """Open an existing file to continue it; no other process may write it. It is checked for damage."""
        store = cls._existing(path, "rw")
        try:
            with _explained(path):
                store._file.use_log("normal")
                store._file.sql.execute("begin immediate")
            store._file.verify()
            store._keep_reserve(store.campaign().id)
        except BaseException:
            store._file.close()
            raise
        return store

    @classmethod
    def read(cls, path: str) -> JournalStore:
        """An existing file, only to be read, also while another process writes it."""
        return cls._existing(path, "ro")

    @classmethod
    def _existing(cls, path: str, mode: Literal["ro", "rw"]) -> JournalStore:
        store = cls(path, mode, writes=mode == "rw")
        try:
            store._file.check_kind()
        except BaseException:
            store._file.close()
            raise
        return store

    def _keep_reserve(self, campaign_id: str) -> None:
        """Keep the space for the end of the run. If its note says that a run was killed and has lost its log, rows up to the noted one may
        have been sent, also those that waited for a retry."""
        self._campaign_id = campaign_id
        run, row = self._reserve.keep(campaign_id)
        last = self.runs()[-1]
        if run > last.run or (run == last.run and last.ended is None and row > last.upto):
            with _explained(self.path):
                self._file.sql.execute(
                    "update run set upto = ? where run = ?", (max(row, last.upto), last.run)
                )
                self._file.sql.execute("update parked set waits = 0 where run = ?", (last.run,))

    def give_up_reserve(self) -> None:
        """After a failed write: free the space for the end of the run."""
        self._reserve.give_up()

    def has_writer(self) -> bool:
        """Whether another process has it open to write: then it holds the lock, but for an instant after each commit."""
        try:
            probe = JournalStore(self.path, "rw", writes=True)
        except JournalError:
            return False  # we may not write it, so we cannot know
        try:
            probe._file.sql.execute("pragma busy_timeout = 0")
            probe._file.sql.execute("begin immediate")
            probe._file.sql.execute("rollback")
            return False
        except sqlite3.Error as error:
            return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
        finally:
            probe._file.sql.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    def campaign(self) -> CampaignRecord:
        """What never changes."""
        with _explained(self.path):
            return rows.campaign(self._file.sql.execute("select * from campaign").fetchone())

    def runs(self) -> list[RunRecord]:
        """All runs, the first one first; there is one at least."""
        with _explained(self.path):
            return rows.runs(self._file.sql.execute("select * from run order by run").fetchall())

    def bitmaps(self) -> Iterator[tuple[int, bytes]]:
        """The block and the bitmap of each part, block by block, with its checksum verified: a row that seems to have
        an outcome is not sent again. To be read to its end at once."""
        with _explained(self.path):
            for part in self._file.sql.execute("select id, bits, blob from part order by id"):
                key, bits = rows.part(part)
                yield key >> _NUMBER_BITS, bits

    def parked(self) -> list[tuple[int, int, int, bool]]:
        """Row, run, attempts, and whether it still waits, of those that were put back."""
        with _explained(self.path):
            return rows.parked(
                self._file.sql.execute("select row, run, attempts, waits from parked").fetchall()
            )

    def parts_from(self, block: int) -> tuple[int, list[tuple[bytes, bytes]]] | None:
        """The first block from this one on that has any parts, and these; None when there is none.

        Nothing is held open between two calls, so that who reads slowly does not keep the writer's log growing.
        """
        with _explained(self.path):
            (key,) = self._file.sql.execute(
                "select min(id) from part where id >= ?", (block << _NUMBER_BITS,)
            ).fetchone()
            if key is None:
                return None
            block = key >> _NUMBER_BITS
            first, end = block << _NUMBER_BITS, (block + 1) << _NUMBER_BITS
            query = "select bits, blob from part where id >= ? and id < ? order by id"
            parts = self._file.sql.execute(query, (first, end)).fetchall()
            if not parts:
                raise rows.DamagedError("a part is in an index alone")
            return block, parts

    # --- writing ------------------------------------------------------------------------------------------------------

    def begin(self, run: RunRecord, *, source: Source | None = None, settled: Iterable[int] = ()) -> None:
        """Begin a run. `source` replaces the campaign's; `settled`: parked rows that have an outcome by now."""
        with _explained(self.path):
            self._file.sql.execute(
                "insert into run values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*_columns(run), run.resends)
            )
            self._noted = run.run, run.upto
            if source is not None:
                self._file.sql.execute("update campaign set source = ?", (json.dumps(asdict(source)),))
            self._file.sql.executemany("delete from parked where row = ?", [(row,) for row in settled])
            self._commit()
        self.sync()

    def write(
        self,
        run: RunRecord,
        parts: Sequence[tuple[int, PackedOutcomes]] = (),
        parked: Iterable[tuple[int, int, int, bool]] = (),
        count: int | None = None,
    ) -> None:
        """Write it all, or nothing; it is on the disk after `sync`. `count`: of the source's rows, once that is known. `parts` with their
        blocks; `run.parts` is their number so far and is counted up.

        Nothing of `run` is to be believed after a `JournalError`, except that it is not on the disk.
        """
        with _explained(self.path):
            if not self._file.sql.in_transaction:
                self._file.sql.execute("begin immediate")
            try:
                self._put(run, parts, parked, count)
            except BaseException:
                if self._file.sql.in_transaction:
                    self._file.sql.execute("rollback")
                raise
            self._commit()

    def _put(
        self,
        run: RunRecord,
        parts: Sequence[tuple[int, PackedOutcomes]],
        parked: Iterable[tuple[int, int, int, bool]],
        count: int | None,
    ) -> None:
        sql = self._file.sql
        for at in range(0, len(parts), _INSERTS):
            values: list[Any] = []
            for block, part in parts[at : at + _INSERTS]:
                run.parts += 1
                values += (block << _NUMBER_BITS | run.parts, part.bits, part.blob)
            sql.execute("insert into part values (?, ?, ?)" + ", (?, ?, ?)" * (len(values) // 3 - 1), values)
        if parked:
            sql.executemany("insert or replace into parked values (?, ?, ?, ?)", parked)
        if count is not None:
            sql.execute("update campaign set rows = ?", (count,))
        self._noted = run.run, run.upto
        _, _, *changing = _columns(run)
        changed = sql.execute(
            "update run set updated = ?, ended = ?, upto = ?, parts = ?, repeats = ?, tally = ?, problem = ? "
            "where run = ? and not exists (select 1 from run where run > ?)",
            (*changing, run.run, run.run),
        )
        if not changed.rowcount:
            raise JournalError(f"another process has resumed {self.path}")

    def _commit(self) -> None:
        try:
            self._file.sql.execute("commit")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                self._file.sql.execute("rollback")
            raise
        with contextlib.suppress(sqlite3.Error):  # then the next write says so
            self._file.sql.execute("begin immediate")

    def sync(self) -> None:
        """Wait until all commits are on the disk, and note up to which row may be sent then."""
        self._file.files.sync()
        self._reserve.note(self._campaign_id, *self._noted)

    # --- files that other processes change meanwhile ----------------------------------------------------------------------

    def check_there(self) -> None:
        """Check the files. Raises `JournalError` if another process has changed them."""
        self._file.files.check()

    def refresh(self) -> None:
        """Before each use: begin the transaction again, so that SQLite looks at its index of the log; see `files`."""
        self._file.files.mend_index()
        with contextlib.suppress(sqlite3.Error):  # then the next write says so
            if self._file.sql.in_transaction:
                self._file.sql.execute("rollback")
            self._file.sql.execute("begin immediate")

    def restore(self, run: RunRecord) -> tuple[RunRecord, str] | None:
        """If other processes have changed the files, save what can be saved.

        A file that was removed, renamed or replaced, which is still open, is written again. If another file has its name, the
        new one has the same name and `SAVED`. A directory that is gone is made again. Of a log that was truncated or overwritten, the
        commits before that point are left; rows that they do not have are in doubt.

        Args:
            run: the run as of the last commit.

        Returns:
            The run as it is in the file now, and what happened, in words. None if nothing did.
        """
        if not self._file.files.are_there:
            words = self._file.write_again()
            with _explained(self.path):
                self._file.use_log("normal")
        elif self._file.files.log_is_cut():
            words = self._file.files.cut_words
            self._file.files.begin_again()
            self.refresh()
            with _explained(self.path):  # what waited then may have been sent since
                self._file.sql.execute("update parked set waits = 0 where run = ?", (run.run,))
        else:
            return None
        there = self.runs()[-1]
        run = replace(run, parts=there.parts, repeats=there.repeats, tally=there.tally)
        if there.run < run.run:
            self.begin(run)
        return run, words

    def close(self) -> None:
        """Close the file. Without readers, the content of the WAL is moved into the file, and the WAL is deleted."""
        with contextlib.suppress(sqlite3.Error):
            if self._file.sql.in_transaction:
                self._file.put_away()
        self._file.close()
        if self._writes:
            self._reserve.close()


def _columns(run: RunRecord) -> tuple[Any, ...]:
    tally = json.dumps([[*kind, count] for kind, count in run.tally.items()], separators=(",", ":"))
    return run.run, run.began, run.updated, run.ended, run.upto, run.parts, run.repeats, tally, run.problem
