"""Rows of a Parquet file or object, as JSON values. Needs the extra `pushcore[parquet]`.

The file is read in batches, and only the columns that are needed. So memory depends neither on the number of rows nor on the
other columns.
"""

from __future__ import annotations

import errno
import importlib
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, Final

from .problems import BadInput, printable, shown
from .shards import WHOLE, Shard
from .spans import Span
from .storage import StoredFile, is_url

BATCH: Final = 10_000
"""Rows that are converted to Python values at a time."""
BUFFER: Final = 1024 * 1024
"""Bytes of a column chunk that are read at a time."""
MAGIC: Final = b"PAR1"
"""The first bytes of a Parquet file."""

_TAIL: Final = 8  # bytes after the metadata: its length, and the magic again

Convert = Callable[[Any], list[Any]]


class ParquetRows:
    """An open Parquet file. `columns`: the names of the selected columns, at first all. `total`: the number of rows.

    Raises:
        BadInput: the file is not Parquet, or the extra is not installed.
    """

    def __init__(self, path: str, name: str) -> None:
        try:
            self._arrow = importlib.import_module("pyarrow")
            parquet = importlib.import_module("pyarrow.parquet")
        except ImportError:
            raise BadInput(f'{name} is Parquet, which needs pip install "pushcore[parquet]"') from None
        self._path = path
        self._name = name
        try:
            # Without reading ahead: pages would stay in memory until the end.
            source = StoredFile(path) if is_url(path) else path
            self._file = parquet.ParquetFile(source, buffer_size=BUFFER, pre_buffer=False)
        except (self._arrow.ArrowException, OSError, ValueError) as error:
            raise BadInput(f"{name} cannot be read as Parquet ({printable(str(error), 120)})") from None
        self._schema = self._file.schema_arrow
        metadata = self._file.metadata
        sizes = (metadata.row_group(index).num_rows for index in range(metadata.num_row_groups))
        self._groups = list(accumulate(sizes, initial=0))[:-1]  # the first row of each row group
        self.columns: list[str] = list(self._schema.names)
        self.total: int = self._file.metadata.num_rows
        self.read = 0
        """Rows that have been read, in whole batches."""
        self._batches: Iterator[Any] = iter(())
        self._batch: Any = None
        self._first, self._after = 0, -1  # rows of `_batch`, from 0 on; none yet

    def select(self, wanted: Collection[str]) -> None:
        """Read only the columns with these names.

        Raises:
            BadInput: the type of a column cannot be converted to JSON.
        """
        self.columns = [name for name in self.columns if name in wanted]
        for name in self.columns:
            if self.columns.count(name) == 1:
                self._conversion(name)

    def rows(self, shard: Shard = WHOLE) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Each row of the shard: its number, and the values of `columns`. Raises `OSError` if the file is damaged."""
        convert = self._conversions()
        with self._explained():
            batches = self._file.iter_batches(BATCH, columns=self.columns, use_threads=False)
            for batch in batches:
                at, first = 0, self.read + 1
                self.read += batch.num_rows
                while at < batch.num_rows:
                    count = batch.num_rows if shard.parts == 1 else shard.stretch(first + at)
                    if shard.own(first + at):
                        part = batch.slice(at, count)
                        values = [to_list(part.column(name)) for name, to_list in convert]
                        yield from enumerate(zip(*values, strict=True), first + at)
                    at += count

    def spans(self, rows: int) -> Iterator[Span]:
        """Ranges of `rows` rows each; the last one may have fewer. Raises `OSError`."""
        fingerprint = self.fingerprint()
        for start in range(0, self.total, rows):
            end = min(start + rows, self.total)
            yield Span(start, end, end - start, fingerprint)

    def fingerprint(self) -> str:
        """The fingerprint of the file now, from its first and last bytes, its size and its version. Raises `OSError`."""
        stored = StoredFile(self._path)
        return f"{stored.fingerprint(self._file.metadata.serialized_size + _TAIL)}-{stored.version}"

    def stretch(self, start: int, end: int) -> list[tuple[Any, ...]]:
        """The values of `columns` in the rows `start` to `end`, counted from 0. Raises `OSError` if the file is damaged.

        It is fast if the range begins after the last range, or a little before its end. Otherwise the row group is read again.
        """
        convert = self._conversions()
        rows: list[tuple[Any, ...]] = []
        with self._explained():
            while start < end:
                self._seek(start)
                part = self._batch.slice(start - self._first, end - start)
                rows.extend(zip(*(to_list(part.column(name)) for name, to_list in convert), strict=True))
                start += part.num_rows
        return rows

    def _seek(self, row: int) -> None:
        """Read the batch that contains this row."""
        groups = self._groups
        group = bisect_right(groups, row) - 1
        if row < self._first or groups[group] > self._after:
            self._batches = self._file.iter_batches(
                BATCH,
                row_groups=range(group, len(groups)),
                columns=self.columns,
                use_threads=False,
            )
            self._first = self._after = groups[group]
        while row >= self._after:
            self._batch = next(self._batches)
            self._first, self._after = self._after, self._after + self._batch.num_rows

    def _conversions(self) -> list[tuple[str, Convert]]:
        return [(name, self._conversion(name)) for name in self.columns]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (self._arrow.ArrowException, OSError, ValueError, StopIteration) as error:
            text = f"its Parquet is damaged ({printable(str(error), 120)})"
            raise OSError(errno.EIO, text, self._name) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _conversion(self, column: str) -> Convert:
        kind = self._schema.field(column).type
        converter = self._converter(kind)
        if converter is None:
            raise BadInput(
                f"{self._name}: the column {shown(column)} is of type {shown(str(kind))}; "
                "expected text, numbers, booleans, times, or lists and structs of them"
            )
        return converter

    def _converter(self, kind: Any) -> Convert | None:
        """The function from a column of this type to a list of JSON values; None if the type has none."""
        arrow = self._arrow
        types = arrow.types
        if types.is_dictionary(kind):
            inner = self._converter(kind.value_type)
            return None if inner is None else lambda column: inner(column.cast(kind.value_type))
        if types.is_timestamp(kind):
            # Times of Python have microseconds.
            return lambda column: _mapped(column.cast(arrow.timestamp("us", kind.tz), safe=False), _iso)
        if types.is_date(kind):
            return lambda column: _mapped(column, _iso)
        if types.is_decimal(kind):
            return lambda column: _mapped(column, str)
        if types.is_binary(kind) or types.is_large_binary(kind):
            return lambda column: _mapped(column, _text)  # text of writers that do not mark it as text
        return _as_it_is if self._plain(kind) else None

    def _plain(self, kind: Any) -> bool:
        types = self._arrow.types
        if types.is_struct(kind):
            return all(self._plain(name.type) for name in kind)
        if types.is_list(kind) or types.is_large_list(kind):
            return self._plain(kind.value_type)
        checks = ("is_string", "is_large_string", "is_boolean", "is_integer", "is_floating", "is_null")
        return any(getattr(types, check)(kind) for check in checks)


def _as_it_is(column: Any) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return values


def _mapped(column: Any, convert: Callable[[Any], str]) -> list[Any]:
    return [None if value is None else convert(value) for value in column.to_pylist()]


def _iso(value: Any) -> str:
    text: str = value.isoformat()
    return text


def _text(value: bytes) -> str:
    # As in CSV, surrogates stand for bytes that are not UTF-8; the checks of a push reject them.
    return value.decode(errors="surrogateescape")
