"""`Chunk`: consecutive rows of a campaign, the unit of the queue; its rows are inline or by reference. No I/O.

    bytes  = magic | CRC-32 of all that follows | length of header | header, JSON | payload
    header = {"n": number, "f": first row, "r": rows, "d": rows done, hexadecimal, "u": reference | "h": raw columns}
    payload of an inline chunk = raw columns | zlib(JSON object of the other columns)

Hexadecimal tokens are stored as bytes: they cannot be compressed, and text would take twice the space. A column with the same
value in all rows is stored as that value. A chunk of 500 APNs tokens with a name, a locale and a link has some 26 KB.
"""

from __future__ import annotations

import struct
import zlib
from binascii import hexlify, unhexlify
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from ..arguments import check, check_type, check_whole
from ..errors import ConfigurationError
from ..models.json_values import json_problem
from .errors import ChunkError

CHUNK_ROWS: Final = 500
"""Default number of rows per chunk: 250 to 1000 cost the same, and with fewer rows fewer are repeated after a crash."""
MAX_ROWS: Final = 10_000
MAX_BYTES: Final = 64 * 1024 * 1024
"""Bytes of a chunk's columns after decompression, at most."""
MAX_URI: Final = 4096
MAX_COLUMNS: Final = 1000

_MAGIC: Final = b"pc1\n"
_HEAD: Final = struct.Struct("<4sII")
_RAW_DIGITS: Final = 16  # a hexadecimal column of this many digits or more is stored as bytes


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference to a chunk's rows on shared or object storage.

    `start` and `end`: positions in a text file (`unit` "bytes") or rows of a Parquet file (`unit` "rows"). `fingerprint`: of
    the file when the campaign was made, so that a reader can reject a changed file.
    """

    uri: str
    start: int
    end: int
    unit: str = "bytes"
    fingerprint: str = ""

    def __post_init__(self) -> None:
        check_type("uri", self.uri, str, "a string")
        for name in ("start", "end"):
            check_type(name, getattr(self, name), int, "a whole number")
        check_type("unit", self.unit, str, '"bytes" or "rows"')
        check_type("fingerprint", self.fingerprint, str, "a string")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows `first` to `first + rows - 1` of a campaign. Rows are numbered from 1, chunks from 0.

    The rows are in `payload`, or `reference` says where they are. `done`: a bitmap of rows that have an outcome already (bit 0
    of byte 0 is the first row) and must not be sent.
    """

    number: int
    first: int
    rows: int
    reference: Reference | None = None
    payload: bytes = b""
    raw: tuple[tuple[str, int], ...] = ()
    """Columns at the beginning of the payload that are stored as bytes, and the number of digits of their values."""
    done: bytes = b""

    def __post_init__(self) -> None:
        for name in ("number", "first", "rows"):  # `decode` checks their bounds
            check_type(name, getattr(self, name), int, "a whole number")
        check_type("reference", self.reference, (Reference, type(None)), "a Reference or None")
        check_type("payload", self.payload, bytes, "bytes; Chunk.inline makes them of rows")
        check_type("done", self.done, bytes, "bytes, a bit for each row")

    @classmethod
    def inline(cls, number: int, first: int, rows: Sequence[Mapping[str, Any]]) -> Chunk:
        """A chunk that contains its rows: mappings of column names to JSON values. A missing column is None.

        Args:
            number: of the chunk, from 0.
            first: the number of its first row, from 1.
            rows: at least one.

        Returns:
            The chunk.

        Raises:
            ConfigurationError: there is no row, there are too many, or a value cannot be JSON.
        """
        listed = isinstance(rows, Sequence) and all(isinstance(row, Mapping) for row in rows)
        check(listed, "rows", "a list of mappings", rows)
        if not 1 <= len(rows) <= MAX_ROWS:
            raise ConfigurationError(f"a chunk has 1 to {MAX_ROWS} rows, not {len(rows)}")
        names = list(dict.fromkeys(name for row in rows for name in row))
        raw: list[tuple[str, int]] = []
        head: list[bytes] = []
        columns: dict[str, Any] = {}
        try:
            for name in names:
                values = [row.get(name) for row in rows]
                packed = _as_bytes(values)
                if packed is not None:
                    raw.append((name, len(values[0])))  # type: ignore[arg-type]  # else it were not packed
                    head.append(packed)
                elif all(value == values[0] and type(value) is type(values[0]) for value in values):
                    columns[name] = [values[0]]
                else:
                    columns[name] = values
            text = orjson.dumps(columns)
        except (TypeError, ValueError, ArithmeticError) as error:  # of a value that JSON does not have
            problems = (json_problem(dict(row), f"row {number}") for number, row in enumerate(rows, first))
            problem = next(filter(None, problems), f"row {first} and the following ones: {error}")
            raise ConfigurationError(problem) from None
        return cls(number, first, len(rows), None, b"".join([*head, zlib.compress(text, 1)]), tuple(raw))

    def columns(self) -> dict[str, list[Any]]:
        """The columns of an inline chunk, each with a value for every row, also for rows that are done.

        Raises:
            ChunkError: the payload is damaged, or the chunk has a reference instead of rows.
        """
        if self.reference is not None:
            raise ChunkError(f"the rows of chunk {self.number} are not in it but in {self.reference.uri}")
        columns: dict[str, list[Any]] = {}
        at = 0
        for name, digits in self.raw:
            size = digits * self.rows // 2
            text = hexlify(self.payload[at : at + size]).decode()
            if len(text) != digits * self.rows:
                raise ChunkError(f"chunk {self.number} is damaged: it ends too early")
            columns[name] = [text[n : n + digits] for n in range(0, len(text), digits)]
            at += size
        for name, values in _inflated(self.payload[at:], self.number).items():
            if not isinstance(values, list) or len(values) not in (1, self.rows):
                raise ChunkError(
                    f"chunk {self.number} is damaged: column {name[:100]!r} does not have a value for each row"
                )
            columns[name] = values if len(values) == self.rows else values * self.rows
        return columns

    def missing(self) -> list[int]:
        """The rows to send, as numbers in the campaign."""
        if not self.done:
            return list(range(self.first, self.first + self.rows))
        bits = int.from_bytes(self.done, "little")
        return [self.first + at for at in range(self.rows) if not bits >> at & 1]

    def without(self, bits: int) -> Chunk:
        """The same chunk with more rows marked as done: `bits` is an integer, its bit 0 is the first row."""
        bits |= int.from_bytes(self.done, "little")
        return replace(self, done=bits.to_bytes((self.rows + 7) // 8, "little") if bits else b"")

    def encode(self) -> bytes:
        """Encode it as bytes for a queue."""
        header: dict[str, Any] = {"n": self.number, "f": self.first, "r": self.rows}
        if self.done:
            header["d"] = self.done.hex()
        if self.reference is not None:
            where = self.reference
            header["u"] = [where.uri, where.start, where.end, where.unit, where.fingerprint]
        elif self.raw:
            header["h"] = [list(column) for column in self.raw]
        text = orjson.dumps(header)
        sizes = len(text).to_bytes(4, "little")
        checksum = zlib.crc32(self.payload, zlib.crc32(text, zlib.crc32(sizes)))
        return b"".join((_HEAD.pack(_MAGIC, checksum, len(text)), text, self.payload))

    @classmethod
    def decode(cls, data: bytes) -> Chunk:
        """Decode the output of `encode`.

        Raises:
            ChunkError: the data is not from `encode`, is damaged, or exceeds a limit.
        """
        try:
            magic, checksum, size = _HEAD.unpack_from(data)
            if magic != _MAGIC:
                raise ChunkError("this is not a chunk of pushcore, or it is from another version")
            if zlib.crc32(memoryview(data)[_HEAD.size - 4 :]) != checksum or size > len(data) - _HEAD.size:
                raise ChunkError("a chunk is damaged: its checksum is wrong")
            end = _HEAD.size + size
            return cls._of(orjson.loads(data[_HEAD.size : end]), data[end:])
        except (struct.error, ValueError, LookupError, TypeError, AttributeError):
            raise ChunkError("a chunk is damaged: it cannot be read") from None

    @classmethod
    def _of(cls, header: dict[str, Any], payload: bytes) -> Chunk:
        number, first, rows = header["n"], header["f"], header["r"]
        if not all(type(value) is int for value in (number, first, rows)):
            raise ValueError
        if not (0 <= number < 1 << 48 and 1 <= first < 1 << 48 and 1 <= rows <= MAX_ROWS):
            raise ValueError
        done = unhexlify(header.get("d", ""))
        if len(done) > (rows + 7) // 8:
            raise ValueError
        reference = None
        if "u" in header:
            uri, start, end, unit, fingerprint = header["u"]
            reference = Reference(str(uri)[:MAX_URI], int(start), int(end), str(unit), str(fingerprint))
        raw = tuple((str(name), int(digits)) for name, digits in header.get("h", ()))
        if len(raw) > MAX_COLUMNS or any(digits < 2 or digits % 2 for _, digits in raw):
            raise ValueError
        return cls(number, first, rows, reference, payload, raw, done)


def inline_chunks(
    rows: Iterable[Mapping[str, Any]], chunk_rows: int = CHUNK_ROWS, *, start: int = 0
) -> Iterator[Chunk]:
    """Divide a source into inline chunks.

    Args:
        rows: mappings of column names to values.
        chunk_rows: rows per chunk.
        start: the number of chunks at the beginning to leave out, because they were made before.

    Returns:
        An iterator that makes each chunk when it is requested.

    Raises:
        ConfigurationError: `chunk_rows` or `start` is out of range.
    """
    check(
        isinstance(rows, Iterable) and not isinstance(rows, str | bytes),
        "rows",
        "an iterable of mappings",
        rows,
    )
    check_whole("chunk_rows", chunk_rows, least=1, most=MAX_ROWS)
    check_whole("start", start, least=0)
    return _inline_chunks(rows, chunk_rows, start)


def _inline_chunks(rows: Iterable[Mapping[str, Any]], chunk_rows: int, start: int) -> Iterator[Chunk]:
    number = 0
    batch: list[Mapping[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == chunk_rows:
            if number >= start:
                yield Chunk.inline(number, number * chunk_rows + 1, batch)
            number += 1
            batch = []
    if batch and number >= start:
        yield Chunk.inline(number, number * chunk_rows + 1, batch)


def _as_bytes(values: list[Any]) -> bytes | None:
    """Values of lower-case hexadecimal digits of one length as bytes; None for other values."""
    first = values[0]
    if type(first) is not str or len(first) < _RAW_DIGITS or len(first) % 2:
        return None
    digits = len(first)
    if not all(type(value) is str and len(value) == digits for value in values):
        return None
    joined = "".join(values)
    try:
        packed = unhexlify(joined)
    except ValueError:
        return None
    return packed if hexlify(packed).decode() == joined else None


def _inflated(data: bytes, number: int) -> dict[str, Any]:
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(data, MAX_BYTES)
        if unpacker.unconsumed_tail:
            raise ChunkError(f"chunk {number} has more than {MAX_BYTES} bytes of rows")
        if not unpacker.eof:
            raise ValueError
        columns = orjson.loads(text)
    except (ValueError, zlib.error):
        raise ChunkError(f"chunk {number} is damaged: its rows cannot be read") from None
    if not isinstance(columns, dict) or len(columns) > MAX_COLUMNS:
        raise ChunkError(f"chunk {number} is damaged: its rows are no columns")
    return columns
