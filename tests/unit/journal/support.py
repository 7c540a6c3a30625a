"""Pushes that know their rows, and a journal as a kill would have left it."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pushcore.journal.journal import Journal, JournalView, Source, push_id
from pushcore.models.apns import Notification
from pushcore.results import Result, Verdict

CAMPAIGN = "campaign"
SOURCE = Source("rows.csv", 10, 20, "30")


class Push(Notification):
    """A push that knows its row."""

    __slots__ = ("row",)

    def __init__(self, row: int) -> None:
        super().__init__(f"{row:064x}", b"{}", apns_id=push_id(CAMPAIGN, row))
        self.row = row


def pushes(count: int, first: int = 1) -> Iterator[Push]:
    """Rows `first` to `count`."""
    return (Push(row) for row in range(first, count + 1))


def accepted(push: Push, attempts: int = 1) -> Result:
    """What nearly all become."""
    return Result(push, Verdict.ACCEPTED, 200, attempts, push.apns_id)


def create(path: Path, *, chunk_size: int = 10) -> Journal:
    """A journal of `CAMPAIGN`."""
    return Journal.create(path, SOURCE, chunk_size=chunk_size, campaign_id=CAMPAIGN)


def killed(journal: Journal, path: Path) -> Path:
    """A copy of the files as they are now: what a kill would leave."""
    for ending in ("", "-wal"):
        shutil.copyfile(f"{journal.path}{ending}", f"{path}{ending}")
    return path


def damaged_copies(sound: Path, count: int, chance: random.Random) -> Iterator[Path]:
    """Copies of a file of SQLite, one at a time, each with one to four bytes changed of those that are not zero."""
    whole = sound.read_bytes()
    written = [at for at, byte in enumerate(whole) if byte]
    path = sound.with_name("damaged")
    for _ in range(count):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 4))):
            at = chance.choice(written)
            damaged[at] = chance.choice(
                (chance.randrange(256), damaged[at] ^ 1 << chance.randrange(8), 0, 255)
            )
        path.write_bytes(damaged)
        for ending in ("-wal", "-shm", "-reserve", "-journal"):
            Path(f"{path}{ending}").unlink(missing_ok=True)
        yield path


def rows(journal: Journal | JournalView, verdict: Verdict | None = None) -> list[int]:
    """The rows that have an outcome, or this one."""
    return [outcome.row for outcome in journal.results(verdict)]


def run_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
