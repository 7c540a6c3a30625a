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
import urllib.parse
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from ..errors import JournalError
from . import rows
from .campaign import CampaignRecord, RunRecord, Source
from .files import JournalFiles
from .format import VERSION, PackedOutcomes

APPLICATION: Final = 0x70757368  # "push": what SQLite's own header says that this file is
WAIT: Final = 2.0
"""Seconds to wait for a lock: for a reader's checkpoint, not for the end of another writer."""
SAVED: Final = ".saved"
"""Behind the name of a journal, where another file has its name when it is closed."""
RESERVE: Final = 1 << 20
"""Bytes on the disk that a run keeps free for its end, should the disk be full: the outcomes of a window and a chunk."""
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


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Errors of SQLite as one sentence."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            words = f"{path} is in use by another process"
        elif code == sqlite3.SQLITE_FULL:
            words = f"the disk is full: {path} cannot be written; what it contains is safe"
        elif code == sqlite3.SQLITE_NOTADB:
            words = f"{path} is not a journal, or its header is damaged"
        elif code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            words = f"{path} cannot be opened for this ({error})"
        elif code == sqlite3.SQLITE_IOERR:
            words = f"{path} cannot be read or written ({error}, {error.sqlite_errorname})"
        else:
            words = f"{path} is damaged ({error})"
        raise JournalError(words) from error
    except (rows.DamagedError, UnicodeDecodeError, OverflowError) as error:  # of what SQLite gave
        why = str(error) if isinstance(error, rows.DamagedError) else type(error).__name__
        raise JournalError(f"{path} is damaged ({why})") from error


class JournalStore:
    """An open journal file: `create`, `open` it to write, or `read` it. Every method raises `JournalError`."""

    def __init__(self, path: str, mode: str, *, writes: bool) -> None:
        self.path = path
        self._writes = writes
        self._sql: sqlite3.Connection
        uri = f"file:{urllib.parse.quote(os.fsencode(os.path.abspath(path)))}?mode={mode}"
        with _explained(path):
            # The thread that writes, or collects, is not the one that opens it; they never use it at the same time.
            self._sql = sqlite3.connect(
                uri, timeout=WAIT, isolation_level=None, check_same_thread=False, uri=True
            )
        self._reserve: int | None = None  # open as long as this writes
        self._files = JournalFiles(path)
        if not writes:  # a reader that is not closed loses nothing; a writer must be closed
            weakref.finalize(self, self._sql.close)

    @classmethod
    def create(cls, path: str, campaign: CampaignRecord, run: RunRecord) -> JournalStore:
        """A new file with this campaign, and its first run begun. There must be none of that name."""
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))
        except FileExistsError:
            raise JournalError(f"{path} exists already: resume it, or choose another name") from None
        except OSError as error:
            raise JournalError(f"{path} cannot be written ({error.strerror})") from None
        try:
            store = cls(path, "rw", writes=True)
            try:
                with _explained(path):
                    store._lay_out(campaign)
                store.begin(run)
                store.move_log()
            except BaseException:
                store._let_go()
                raise
            store._keep_reserve()
            return store
        except BaseException:
            for name in (path, f"{path}-wal", f"{path}-shm"):
                with contextlib.suppress(OSError):
                    os.unlink(name)
            raise

    def _lay_out(self, campaign: CampaignRecord) -> None:
        self._use_wal()
        sql = self._sql
        sql.execute("begin immediate")
        sql.execute(f"pragma application_id = {APPLICATION}")
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
            if self._sql.in_transaction:
                self._sql.execute("rollback")
            self._sql.execute("pragma wal_checkpoint")
            self._sql.execute("begin immediate")

    @classmethod
    def open(cls, path: str) -> JournalStore:
        """Open an existing file to continue it; no other process may write it. It is checked for damage."""
        store = cls._existing(path, "rw")
        try:
            with _explained(path):
                store._use_wal()
                store._sql.execute("begin immediate")
                (answer,) = store._sql.execute("pragma quick_check(1)").fetchone()
                if answer != "ok":
                    raise JournalError(f"{path} is damaged ({' '.join(answer.split())})")
            store._keep_reserve()
        except BaseException:
            store._let_go()
            raise
        return store

    @classmethod
    def read(cls, path: str) -> JournalStore:
        """An existing file, only to be read, also while another process writes it."""
        return cls._existing(path, "ro")

    @classmethod
    def _existing(cls, path: str, mode: str) -> JournalStore:
        if not os.path.isfile(path):
            raise JournalError(f"there is no journal {path}")
        store = cls(path, mode, writes=mode == "rw")
        try:
            with _explained(path):
                (application,) = store._sql.execute("pragma application_id").fetchone()
                (version,) = store._sql.execute("pragma user_version").fetchone()
                (tables,) = store._sql.execute("select count(*) from sqlite_master").fetchone()
            if not application and not tables:
                raise JournalError(
                    f"{path} is empty: the process that created it was ended before it sent anything, or its content was removed later. "
                    "If nothing was sent, delete it and start the campaign again"
                )
            if application != APPLICATION:
                raise JournalError(f"{path} is not a journal of pushcore")
            if version != VERSION:
                raise JournalError(
                    f"{path} was written by another version of pushcore: its format is {version}, this version reads {VERSION}"
                )
        except BaseException:
            store._sql.close()
            raise
        return store

    def _use_wal(self) -> None:
        (mode,) = self._sql.execute("pragma journal_mode = wal").fetchone()
        if mode != "wal":
            raise JournalError(
                f"{self.path} is on a file system without shared memory, which a journal needs"
            )
        self._sql.execute("pragma synchronous = normal")  # the rest is `sync`

    def _keep_reserve(self) -> None:
        try:
            self._reserve = reserve = os.open(reserve_of(self.path), os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return  # then it has to do without
        if not _lock(reserve):
            os.close(reserve)
            self._reserve = None
            raise JournalError(f"{self.path} is in use by another process")
        try:
            os.ftruncate(reserve, 0)
            with open(reserve, "wb", closefd=False) as file:
                file.write(bytes(RESERVE))
        except OSError:
            self.give_up_reserve()

    def give_up_reserve(self) -> None:
        """After a failed write: free the reserve, in case the disk is full, so that the next attempt has space."""
        if self._reserve is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._reserve, 0)  # it stays open, and keeps its lock
        with contextlib.suppress(OSError):
            os.unlink(reserve_of(self.path))

    def has_writer(self) -> bool:
        """Whether another process has it open to write: then it holds the lock, but for an instant after each commit."""
        try:
            probe = JournalStore(self.path, "rw", writes=True)
        except JournalError:
            return False  # we may not write it, so we cannot know
        try:
            probe._sql.execute("pragma busy_timeout = 0")
            probe._sql.execute("begin immediate")
            probe._sql.execute("rollback")
            return False
        except sqlite3.Error as error:
            return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
        finally:
            probe._sql.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    def campaign(self) -> CampaignRecord:
        """What never changes."""
        with _explained(self.path):
            return rows.campaign(self._sql.execute("select * from campaign").fetchone())

    def runs(self) -> list[RunRecord]:
        """All runs, the first one first; there is one at least."""
        with _explained(self.path):
            return rows.runs(self._sql.execute("select * from run order by run").fetchall())

    def bitmaps(self) -> Iterator[tuple[int, bytes]]:
        """The block and the bitmap of each part, block by block, with its checksum verified: a row that seems to have
        an outcome is not sent again. To be read to its end at once."""
        with _explained(self.path):
            for part in self._sql.execute("select id, bits, blob from part order by id"):
                key, bits = rows.part(part)
                yield key >> _NUMBER_BITS, bits

    def parked(self) -> list[tuple[int, int, int, bool]]:
        """Row, run, attempts, and whether it still waits, of those that were put back."""
        with _explained(self.path):
            return rows.parked(self._sql.execute("select row, run, attempts, waits from parked").fetchall())

    def parts_from(self, block: int) -> tuple[int, list[tuple[bytes, bytes]]] | None:
        """The first block from this one on that has any parts, and these; None when there is none.

        Nothing is held open between two calls, so that who reads slowly does not keep the writer's log growing.
        """
        with _explained(self.path):
            (key,) = self._sql.execute(
                "select min(id) from part where id >= ?", (block << _NUMBER_BITS,)
            ).fetchone()
            if key is None:
                return None
            block = key >> _NUMBER_BITS
            first, end = block << _NUMBER_BITS, (block + 1) << _NUMBER_BITS
            query = "select bits, blob from part where id >= ? and id < ? order by id"
            parts = self._sql.execute(query, (first, end)).fetchall()
            if not parts:
                raise rows.DamagedError("a part is in an index alone")
            return block, parts

    # --- writing ------------------------------------------------------------------------------------------------------

    def begin(self, run: RunRecord, *, source: Source | None = None, settled: Iterable[int] = ()) -> None:
        """Begin a run. `source` replaces the campaign's; `settled`: parked rows that have an outcome by now."""
        with _explained(self.path):
            self._sql.execute(
                "insert into run values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*_columns(run), run.resends)
            )
            if source is not None:
                self._sql.execute("update campaign set source = ?", (json.dumps(asdict(source)),))
            self._sql.executemany("delete from parked where row = ?", [(row,) for row in settled])
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
            if not self._sql.in_transaction:
                self._sql.execute("begin immediate")
            try:
                self._put(run, parts, parked, count)
            except BaseException:
                if self._sql.in_transaction:
                    self._sql.execute("rollback")
                raise
            self._commit()

    def _put(
        self,
        run: RunRecord,
        parts: Sequence[tuple[int, PackedOutcomes]],
        parked: Iterable[tuple[int, int, int, bool]],
        count: int | None,
    ) -> None:
        sql = self._sql
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
            self._sql.execute("commit")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                self._sql.execute("rollback")
            raise
        with contextlib.suppress(sqlite3.Error):  # then the next write says so
            self._sql.execute("begin immediate")

    def sync(self) -> None:
        """Wait until all commits are on the disk."""
        self._files.sync()

    # --- files that other processes change meanwhile ----------------------------------------------------------------------

    def check_there(self) -> None:
        """Check the files. Raises `JournalError` if another process has changed them."""
        self._files.check()

    def refresh(self) -> None:
        """Before each use: begin the transaction again, so that SQLite looks at its index of the log; see `files`."""
        self._files.mend_index()
        with contextlib.suppress(sqlite3.Error):  # then the next write says so
            if self._sql.in_transaction:
                self._sql.execute("rollback")
            self._sql.execute("begin immediate")

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
        if not self._files.are_there:
            words = self._write_again()
        elif self._files.log_is_cut():
            words = self._files.cut_words
            self._files.begin_again()
            self.refresh()
            with _explained(self.path):  # what waited then may have been sent since
                self._sql.execute("update parked set waits = 0 where run = ?", (run.run,))
        else:
            return None
        there = self.runs()[-1]
        run = replace(run, parts=there.parts, repeats=there.repeats, tally=there.tally)
        if there.run < run.run:
            self.begin(run)
        return run, words

    def _write_again(self) -> str:
        replaced = os.path.lexists(self.path)
        path = self.path + SAVED if replaced else self.path
        with _explained(self.path):
            if self._sql.in_transaction:
                self._sql.execute("rollback")
            with contextlib.suppress(OSError):  # then the next line says so
                os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            copy = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._sql.backup(copy)
            except BaseException:
                copy.close()
                raise
            self._sql.close()
            if replaced:
                self._files.remove_log()
            self._files.close()
            self._sql, self._files = copy, JournalFiles(path)
            self._use_wal()
        if replaced:
            return f"{self.path} was replaced by another file while it was written; its content is in {path}"
        return f"{path} was removed or renamed while it was written, and was written again"

    def close(self) -> None:
        """Close the file. Without readers, the content of the WAL is moved into the file, and the WAL is deleted."""
        with contextlib.suppress(sqlite3.Error):
            if self._sql.in_transaction:
                self._sql.execute("rollback")
                self._files.close()  # Windows does not delete an open file
                self._sql.execute("pragma synchronous = full")
                self._sql.execute("pragma busy_timeout = 0")
                self._sql.execute("pragma journal_mode = delete")
        self._let_go()
        if self._writes:
            self.give_up_reserve()
            if self._reserve is not None:
                os.close(self._reserve)
                self._reserve = None

    def _let_go(self) -> None:
        """Close SQLite's files, as they are, and the log."""
        self._sql.close()
        self._files.close()


def _lock(file: int) -> bool:
    """Take the lock of an open file; False when another process has it. Where there are no such locks, it is taken."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return True
    return True


def reserve_of(path: str) -> str:
    """The file that keeps the room for the end of a run."""
    return f"{path}-reserve"


def _columns(run: RunRecord) -> tuple[Any, ...]:
    tally = json.dumps([[*kind, count] for kind, count in run.tally.items()], separators=(",", ":"))
    return run.run, run.began, run.updated, run.ended, run.upto, run.parts, run.repeats, tally, run.problem
