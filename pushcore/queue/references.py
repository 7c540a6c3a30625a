"""Chunks by reference: they name their rows in a file instead of containing them. How they are made and read.

A reference to CSV or NDJSON is a range of bytes with their hash; a reference to Parquet is a range of rows with a fingerprint
of the file. A file that has changed since the campaign was made is rejected, because its rows may have other numbers.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from ..audience.audience import CSV, NDJSON, PARQUET, Audience
from ..audience.content import Blocks, Content
from ..audience.parquet import ParquetRows
from ..audience.problems import BadInput, explain, shown
from ..audience.records import OnBad, csv_records, decoded, json_records
from ..audience.shards import WHOLE, Shard
from ..audience.spans import fingerprint_of
from ..audience.storage import StoredFile, is_url, read_range, shown_path
from .chunk import MAX_BYTES, MAX_COLUMNS, Chunk, Reference
from .errors import CampaignConflict, ChunkError, SourceUnavailable

READERS: Final = 8
"""Ranges of a text file that are read at a time."""


def described(audience: Audience) -> dict[str, Any]:
    """The description of an audience for chunks by reference; it becomes part of the campaign's options."""
    return {"form": audience.form, "columns": audience.columns}


def reference_chunks(audience: Audience, path: str, rows: int, *, start: int = 0) -> Iterator[Chunk]:
    """Chunks of `rows` rows each of the audience at `path`. `start`: the number of chunks at the beginning to leave out.

    Raises `OSError`, and `BadInput` if the audience cannot be read in parts.
    """
    uri = path if is_url(path) else os.path.abspath(path)
    unit = "rows" if audience.form == PARQUET else "bytes"
    for number, span in enumerate(audience.spans(rows)):
        if unit == "bytes" and span.end - span.start > MAX_BYTES:
            raise BadInput(
                f"{audience.name}: rows from {number * rows + 1} on have more than {MAX_BYTES} bytes in one chunk; "
                "expected a smaller --chunk"
            )
        if number >= start:
            where = Reference(uri, span.start, span.end, unit, span.fingerprint)
            yield Chunk(number, number * rows + 1, span.rows, where)


class ReferencedRows:
    """The rows that a chunk refers to, with the interface of an `Audience`, after `load`. `wanted`: the columns to read."""

    def __init__(self, chunk: Chunk, name: str, columns: list[str] | None) -> None:
        assert chunk.reference is not None
        self.name = name
        self.columns = columns
        self.chunk = chunk
        self.where = chunk.reference
        self.content: bytes | list[tuple[Any, ...]] = b""

    def select(self, wanted: Collection[str]) -> None:
        """See `Audience.select`."""
        if self.where.unit == "rows" and self.columns is not None:
            self.columns = [name for name in self.columns if name in wanted]

    def index(self, column: str) -> int:
        """See `Audience.index`."""
        assert self.columns is not None
        if self.columns.count(column) > 1:
            raise BadInput(f"{self.name} has two columns {shown(column)}; expected one")
        return self.columns.index(column)

    def records(self, on_bad: OnBad, shard: Shard = WHOLE) -> Iterator[tuple[int, Any]]:
        """The rows to send, with their numbers in the campaign."""
        before = self.chunk.first - 1
        missing = frozenset(self.chunk.missing())

        def on_bad_row(number: int, token: str, reason: str) -> None:
            if before + number in missing:
                on_bad(before + number, token, reason)

        for number, values in self._all(on_bad_row):
            if before + number in missing:
                yield before + number, values

    def _all(self, on_bad: OnBad) -> Iterator[tuple[int, Any]]:
        if not isinstance(self.content, bytes):
            return enumerate(self.content, 1)
        if self.columns is None:
            return json_records(io.BytesIO(self.content), on_bad)
        content = Content(Blocks(io.BytesIO(self.content), self.name), self.name, packed=False)
        return csv_records(self.columns, content, decoded(io.BufferedReader(content)), on_bad)


class ReferenceReader:
    """Reads the rows of chunks by reference for a worker. It keeps files open; close it."""

    def __init__(self) -> None:
        self._parquets: dict[str, ParquetRows] = {}
        self._fingerprints: dict[str, tuple[tuple[int, str], str]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._read_before = False

    def source(self, chunk: Chunk, audience: Any) -> ReferencedRows:
        """The rows of a chunk by reference, before they are loaded. `audience`: the output of `described`.

        Raises `ChunkError` if chunk and audience do not fit together.
        """
        where = chunk.reference
        assert where is not None
        try:
            form, columns = audience["form"], audience["columns"]
        except (TypeError, LookupError):
            raise ChunkError(
                f"chunk {chunk.number} refers to rows, and the campaign has no format for them"
            ) from None
        fitting = (form == NDJSON) if columns is None else form in (CSV, PARQUET) and _names(columns)
        unit = "rows" if form == PARQUET else "bytes"
        size = where.end - where.start
        most = MAX_BYTES if unit == "bytes" else chunk.rows
        if not fitting or where.unit != unit or where.start < 0 or not 0 < size <= most:
            raise ChunkError(f"chunk {chunk.number} has an invalid reference to rows")
        return ReferencedRows(chunk, shown_path(where.uri), None if columns is None else list(columns))

    async def load(self, source: ReferencedRows) -> None:
        """Read the rows, in a thread.

        Raises:
            ChunkError: they have changed since the campaign was made.
            SourceUnavailable: they cannot be read now.
            CampaignConflict: this worker has never been able to read the file.
        """
        text = source.where.unit == "bytes"
        if self._pool is None:
            # Parquet is read by one thread, so that one batch of rows serves many chunks.
            self._pool = ThreadPoolExecutor(READERS if text else 1, thread_name_prefix="pushcore chunks")
        read = self._text if text else self._rows
        try:
            source.content = await asyncio.get_running_loop().run_in_executor(self._pool, read, source)
        except OSError as error:
            problem = f"{source.name} cannot be read ({explain(error)})"
            if self._read_before:
                raise SourceUnavailable(problem) from None
            raise CampaignConflict(
                f"{problem}; a worker needs the audience at the same path or URL"
            ) from None
        except BadInput as error:
            raise CampaignConflict(str(error)) from None
        self._read_before = True

    def _text(self, source: ReferencedRows) -> bytes:
        where = source.where
        data = read_range(where.uri, where.start, where.end)
        if fingerprint_of(data) != where.fingerprint:
            raise _changed(source)
        return data

    def _rows(self, source: ReferencedRows) -> list[tuple[Any, ...]]:
        where = source.where
        stored = StoredFile(where.uri)
        look = stored.size, stored.version
        seen = self._fingerprints.get(where.uri)
        if seen is None or seen[0] != look:
            self._forget(where.uri)
            rows = self._parquets[where.uri] = ParquetRows(where.uri, source.name)
            seen = self._fingerprints[where.uri] = (look, rows.fingerprint())
        if seen[1] != where.fingerprint:
            raise _changed(source)
        rows = self._parquets[where.uri]
        assert source.columns is not None
        rows.select(source.columns)
        try:
            return rows.stretch(where.start, where.end)
        except OSError:
            self._forget(where.uri)
            raise

    def _forget(self, uri: str) -> None:
        self._fingerprints.pop(uri, None)
        rows = self._parquets.pop(uri, None)
        if rows is not None:
            rows.close()

    def close(self) -> None:
        """Close all files."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        for uri in list(self._parquets):
            self._forget(uri)


def _changed(source: ReferencedRows) -> ChunkError:
    return ChunkError(
        f"{source.name} has changed since the campaign was created: the rows of chunk {source.chunk.number} "
        "differ"
    )


def _names(columns: Any) -> bool:
    return (
        isinstance(columns, list)
        and len(columns) <= MAX_COLUMNS
        and "token" in columns
        and all(isinstance(name, str) for name in columns)
    )
