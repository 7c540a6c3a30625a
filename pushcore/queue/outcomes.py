"""The result of a chunk: the outcomes of some of its rows, in the format of a journal. No I/O.

bytes = CRC-32 | length of header | header, JSON | bits and blob of each part
header = {"n": number, "x": nonce, "w": worker, "t": UNIX seconds, "p": [[block, bits, blob], …], "c": tally,
          "d": pushes that may have been sent twice, if there are any}
      or {"n": number or null, "x": nonce, "w": worker, "t": …, "bad": sentence} for a chunk that is set aside
"""

from __future__ import annotations

import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

import orjson

from ..errors import JournalError
from ..journal.format import BLOCK, OutcomeTally, bitmap, pack, singly, unpack
from ..journal.outcome import Outcome, OutcomeEntry, entry_of
from ..results import Result
from .errors import ChunkError

MAX_PARTS: Final = 1000
MAX_SENTENCE: Final = 500
_HEAD: Final = struct.Struct("<II")
_BY_ROW: Final = attrgetter("push.row")


@dataclass(frozen=True, slots=True)
class OutcomeBlock:
    """Outcomes of rows in one block of the journal's format."""

    block: int
    bits: bytes
    blob: bytes

    @property
    def rows(self) -> int:
        """The rows, as an integer: bit n is row n + 1 of the campaign."""
        return bitmap(self.bits) << (self.block * BLOCK)

    def outcomes(self, prefix: str) -> list[Outcome]:
        """See `journal.format.unpack`. Raises `JournalError`."""
        return singly(unpack(self.block, self.bits, self.blob, prefix))


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """A worker's result for a chunk.

    `number`: of the chunk; None if it could not be read. `bad`: why the chunk is set aside. `nonce`: equal in all copies of one
    result. `tally`: its outcomes by platform, verdict and reason. `doubled`: pushes that workers with expired leases may
    have sent before; each push is counted once per such worker.
    """

    number: int | None
    nonce: str
    worker: str
    at: float
    parts: tuple[OutcomeBlock, ...] = ()
    tally: OutcomeTally = field(default_factory=Counter)
    bad: str | None = None
    doubled: int = 0

    @classmethod
    def of(
        cls, number: int, nonce: str, worker: str, results: Sequence[Result], prefix: str, unsure: int = 0
    ) -> ChunkResult:
        """The outcomes of different rows as one result.

        `prefix`: of the campaign's apns-ids, see `journal.id_prefix`. `unsure`: the number of earlier leases of the chunk that
        expired.
        """
        ordered = sorted(results, key=_BY_ROW)
        parts = []
        tally: OutcomeTally = Counter()
        for block, entries in _by_block([entry_of(result) for result in ordered]):
            packed = pack(entries, prefix, {})
            parts.append(OutcomeBlock(block, packed.bits, packed.blob))
            tally.update(packed.tally)
        doubled = unsure * sum(result.attempts > 0 for result in results) if unsure else 0
        return cls(number, nonce, worker, time.time(), tuple(parts), tally, doubled=doubled)

    def encode(self) -> bytes:
        """Encode it as bytes for a queue."""
        header: dict[str, Any] = {"n": self.number, "x": self.nonce, "w": self.worker, "t": self.at}
        if self.bad is not None:
            header["bad"] = self.bad[:MAX_SENTENCE]
        else:
            header["p"] = [[block.block, len(block.bits), len(block.blob)] for block in self.parts]
            header["c"] = [[*kind, count] for kind, count in self.tally.items()]
            if self.doubled:
                header["d"] = self.doubled
        text = orjson.dumps(header)
        body = b"".join([text, *(data for block in self.parts for data in (block.bits, block.blob))])
        return _HEAD.pack(zlib.crc32(body), len(text)) + body

    @classmethod
    def decode(cls, data: bytes) -> ChunkResult:
        """Decode the output of `encode`.

        Raises:
            ChunkError: the data is not from `encode`, or damaged.
        """
        try:
            checksum, size = _HEAD.unpack_from(data)
            body = memoryview(data)[_HEAD.size :]
            if zlib.crc32(body) != checksum or size > len(body):
                raise ValueError
            header = orjson.loads(body[:size])
            number = header["n"]
            if number is not None and (type(number) is not int or number < 0):
                raise ValueError
            common = (number, str(header["x"])[:64], str(header["w"])[:256], float(header["t"]))
            if "bad" in header:
                return cls(*common, bad=str(header["bad"])[:MAX_SENTENCE])
            tally: OutcomeTally = Counter({(str(p), str(v), str(r)): int(n) for p, v, r, n in header["c"]})
            parts = tuple(_parts(header["p"], bytes(body[size:])))
            doubled = int(header.get("d", 0))
            if not 0 <= doubled < 1 << 32:
                raise ValueError
            return cls(*common, parts, tally, doubled=doubled)
        except (struct.error, ValueError, LookupError, TypeError, AttributeError):
            raise ChunkError("a result is damaged: it cannot be read") from None


def _parts(lengths: list[list[int]], data: bytes) -> Iterator[OutcomeBlock]:
    if len(lengths) > MAX_PARTS:
        raise ValueError
    at = 0
    for block, bits, blob in lengths:
        if not 0 <= block < 1 << 34 or not 2 <= bits <= BLOCK or blob < 0 or at + bits + blob > len(data):
            raise ValueError
        yield OutcomeBlock(block, data[at : at + bits], data[at + bits : at + bits + blob])
        at += bits + blob
    if at != len(data):
        raise ValueError


def _by_block(entries: list[OutcomeEntry]) -> Iterator[tuple[int, list[OutcomeEntry]]]:
    """The entries grouped by blocks of the journal's format, in order."""
    start = 0
    while start < len(entries):
        block = (entries[start][0] - 1) // BLOCK
        end = start + 1
        if (entries[-1][0] - 1) // BLOCK == block:
            end = len(entries)
        while end < len(entries) and (entries[end][0] - 1) // BLOCK == block:
            end += 1
        yield block, entries[start:end]
        start = end


__all__ = ["ChunkResult", "JournalError", "Outcome", "OutcomeBlock"]
