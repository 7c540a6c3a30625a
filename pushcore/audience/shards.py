"""The division of a campaign among processes: every process reads all rows and sends those of every N-th chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_PROCESSES: Final = 64
CHUNK_ROWS: Final = 1000
"""Consecutive rows in one part; a journal of the campaign has chunks of the same size."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` of `parts`, numbered from 0. `chunk`: the number of consecutive rows in one part."""

    number: int = 0
    parts: int = 1
    chunk: int = CHUNK_ROWS

    def upto(self, row: int) -> int:
        """The number of rows of this part up to and including this row."""
        chunks, rest = divmod(row, self.chunk)
        whole = (chunks - self.number + self.parts - 1) // self.parts
        return whole * self.chunk + (rest if chunks % self.parts == self.number else 0)

    def own(self, row: int) -> bool:
        """Whether the row belongs to this part."""
        return (row - 1) // self.chunk % self.parts == self.number

    def stretch(self, row: int) -> int:
        """The number of consecutive rows, from this one on, that all belong to this part or all do not."""
        return self.chunk - (row - 1) % self.chunk


WHOLE = Shard()
