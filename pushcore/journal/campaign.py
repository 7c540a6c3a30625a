"""A campaign as its journal knows it: its source, its chunks, its runs, and what these have left to do. No I/O but `of_file`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from ..arguments import check_type
from ..errors import JournalError
from ..key_material import checked_path
from .format import BLOCK, OutcomeTally, bitmap, rows_of
from .outcome import EarlierAttempts

ENDS: Final = 64 * 1024
"""Bytes at either end of a source that are hashed."""
MAX_TALLIES: Final = 100
"""Different reasons that are counted apart; the rest are counted together."""
OTHER_REASONS: Final = "(other reasons)"
MAX_LEFT: Final = 4_000_000
"""Rows that earlier runs have left in doubt or waiting, at most: each run leaves what it had in flight and one chunk."""
FULL: Final = -1
"""The bitmap of a block where every row has an outcome."""

_ALL: Final = (1 << BLOCK) - 1


@dataclass(frozen=True, slots=True)
class Source:
    """What a campaign's rows come from, as far as a change can be seen. None where it has no such thing, as a pipe."""

    path: str
    size: int | None = None
    """Bytes."""
    mtime: int | None = None
    """Of the last change, nanoseconds since 1970."""
    digest: str | None = None
    """A hash of the first and the last 64 KB."""

    def __post_init__(self) -> None:
        check_type("path", self.path, str, "a string")
        check_type("size", self.size, (int, type(None)), "a number of bytes or None")
        check_type("mtime", self.mtime, (int, type(None)), "nanoseconds since 1970 or None")
        check_type("digest", self.digest, (str, type(None)), "a string or None")

    @classmethod
    def of_file(cls, path: str | os.PathLike[str]) -> Source:
        """The description of a file as it is now.

        Raises:
            OSError: the file cannot be read.
            ConfigurationError: `path` is not a path.
        """
        path = checked_path(path, "the path of the source")
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            digest = blake2b(file.read(ENDS), digest_size=16)
            file.seek(max(status.st_size - ENDS, 0))
            digest.update(file.read(ENDS))
        return cls(os.path.realpath(path), status.st_size, status.st_mtime_ns, digest.hexdigest())

    def change(self, now: Source) -> str | None:
        """In which way `now` is not the same, in words; None if it is."""
        if self.path != now.path:
            return f"the campaign began with {self.path}, not with {now.path}"
        if self.size != now.size:
            return f"{now.path} had {self.size} bytes when the campaign began, and now has {now.size}"
        if self.digest != now.digest or self.mtime != now.mtime:
            return f"{now.path} has changed since the campaign began"
        return None


@dataclass(frozen=True, slots=True)
class CampaignRecord:
    """What never changes. `shard` of `shards`: this journal has every chunk whose number leaves that remainder."""

    id: str
    began: float
    chunk_size: int
    shard: int
    shards: int
    source: Source
    options: Mapping[str, Any]
    rows: int | None
    """How many the source has, once its end has been seen."""

    def owns(self, row: int) -> bool:
        """Whether the row is this journal's."""
        return (row - 1) // self.chunk_size % self.shards == self.shard

    def owned_upto(self, row: int) -> int:
        """How many of the rows up to this one are this journal's."""
        chunks, rest = divmod(row, self.chunk_size)
        whole = (chunks - self.shard + self.shards - 1) // self.shards
        return whole * self.chunk_size + (rest if chunks % self.shards == self.shard else 0)

    def owned_in(self, block: int) -> int:
        """The bitmap of a block's rows that are this journal's."""
        if self.shards == 1:
            return _ALL
        first, size = block * BLOCK, self.chunk_size
        bits = 0
        for chunk in range(first // size, (first + BLOCK - 1) // size + 1):
            if chunk % self.shards == self.shard:
                begin, end = max(chunk * size - first, 0), min((chunk + 1) * size - first, BLOCK)
                bits |= ((1 << (end - begin)) - 1) << begin
        return bits

    def ahead(self, row: int, count: int) -> int:
        """The row that is `count` of this journal's rows after `row`."""
        if self.shards == 1:
            return row + count
        chunk, size = row // self.chunk_size, self.chunk_size
        if chunk % self.shards == self.shard:
            left = (chunk + 1) * size - row
            if count <= left:
                return row + count
            count -= left
            chunk += 1
        chunk += (self.shard - chunk) % self.shards
        more, rest = divmod(count - 1, size)
        return (chunk + more * self.shards) * size + rest + 1


@dataclass(slots=True)
class RunRecord:
    """One time that the campaign was run. Times are UNIX seconds; `ended` is None while it runs, and when it could not
    write down that it ended: after a kill, or a disk too full even for that. `problem`: why it ended early, if it said."""

    run: int
    began: float
    updated: float
    ended: float | None = None
    upto: int = 0
    """Rows up to this one may have been sent in this run, or have an outcome."""
    parts: int = 0
    """Number of the last part, over all runs."""
    repeats: int = 0
    """How often a row was sent again because a killed run may have sent it, over all runs."""
    tally: OutcomeTally = field(default_factory=Counter)
    """Over all runs."""
    problem: str | None = None
    resends: bool = False
    """Whether it sent again what earlier ones had left in doubt. One that does not passes over these rows."""

    def count(self, tally: OutcomeTally) -> None:
        """Add to `tally`."""
        for kind, count in tally.items():
            if kind not in self.tally and len(self.tally) >= MAX_TALLIES:
                kind = (*kind[:2], OTHER_REASONS)
            self.tally[kind] += count


class UnfinishedRows(NamedTuple):
    """What all earlier runs have left.

    `zone`: rows up to this one may have been sent, or have an outcome. `left`: those of them that have none. `bits`: of
    blocks with outcomes, which rows have one; `FULL` where all have.
    """

    zone: int
    left: dict[int, EarlierAttempts]
    bits: dict[int, int]


def survey(
    campaign: CampaignRecord,
    runs: Sequence[RunRecord],
    parts: Iterable[tuple[int, bytes]],
    parked: Iterable[tuple[int, int, int, bool]],
) -> UnfinishedRows:
    """What is left, out of what the journal holds."""
    bits: dict[int, int] = {}
    for block, packed in parts:
        known = bits.get(block, 0) | bitmap(packed)
        bits[block] = FULL if known == _ALL else known
    zone = max((run.upto for run in runs), default=0)
    waiting = {row: (run, attempts, waits) for row, run, attempts, waits in parked}
    left = {}
    for block in range((zone + BLOCK - 1) // BLOCK):
        there = _ALL if block < zone // BLOCK else (1 << zone % BLOCK) - 1
        missing = there & campaign.owned_in(block) & ~bits.get(block, 0)
        for row in rows_of(missing, block) if missing else ():
            last, attempts, waits = waiting.get(row, (0, 0, True))
            unsure = 0 if waits else 1
            for run in runs:
                if run.run > last and run.upto >= row and (run.resends or not unsure):
                    unsure += 1
            left[row] = EarlierAttempts(attempts + unsure, unsure)
        if len(left) > MAX_LEFT:
            raise JournalError("the journal is damaged: too many rows are in doubt")
    return UnfinishedRows(zone, left, bits)
