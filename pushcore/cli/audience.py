"""The audience file: CSV, NDJSON or Parquet, read row by row."""

from __future__ import annotations

import csv
import io
import os
import stat
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import IO, Any, Final, cast

import orjson

from .content import BLOCK, Blocks, Content
from .csv_rows import csv_rows
from .parquet_rows import MAGIC, ParquetRows
from .problems import BadInput, explain, printable, shown
from .shards import WHOLE, Shard

LINES: Final = 64 * 1024
"""Characters of CSV that are parsed at a time."""
_BOM: Final = b"\xef\xbb\xbf"
_MAYBE_EMPTY: Final = len("\r\n")  # a longer line is a row
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")

OnBad = Callable[[int, str, str], None]
"""Takes what is wrong with a row: its number, its token as far as it is known, and the reason."""


class Audience:
    """An opened audience, of which only the beginning has been read. Close it, or use it as a context manager.

    `name`: the path, for messages. `columns`: the names of a CSV's or a Parquet file's columns, None for NDJSON. `size`:
    bytes, None when it is a pipe or the like. CSV and NDJSON may be packed with gzip.

    Raises:
        BadInput: it cannot be read, is empty, or has no column "token".
    """

    def __init__(self, path: str) -> None:
        self.name = "the standard input" if path == "-" else printable(path)
        try:
            file = open(0, "rb", buffering=0, closefd=False) if path == "-" else open(path, "rb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise BadInput(f"{self.name} cannot be read ({explain(error)}); expected an audience") from None
        self._blocks = Blocks(cast(IO[bytes], file), self.name)
        self._parquet: ParquetRows | None = None
        self.columns: list[str] | None = None
        try:
            status = os.fstat(file.fileno())
            self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
            if self._blocks.peek(len(MAGIC)) == MAGIC:
                self._open_parquet(path)
            else:
                self._open_text(path)
        except OSError as error:
            self.close()
            raise BadInput(f"{self.name} cannot be read ({explain(error)})") from None
        except BaseException:
            self.close()
            raise

    def _open_parquet(self, path: str) -> None:
        if path == "-" or self.size is None:
            raise BadInput(
                f"{self.name} is Parquet, whose end must be read first; expected the path of a file"
            )
        self._parquet = ParquetRows(path, self.name)
        self.columns = self._parquet.columns
        self._need_token(self.columns, "")

    def _open_text(self, path: str) -> None:
        self._content = Content(self._blocks, self.name)
        self._buffer = io.BufferedReader(self._content, BLOCK)
        head = self._buffer.peek(len(MAGIC))
        if head.startswith(_UTF16):
            raise BadInput(f"{self.name} is in UTF-16; expected UTF-8")
        if head.startswith(MAGIC):
            raise BadInput(
                f"{self.name} is Parquet within gzip; expected it unpacked, it is packed in itself"
            )
        if head.startswith(_BOM):
            self._buffer.read(len(_BOM))
            head = head[len(_BOM) :]
        if not head:
            raise BadInput(f"{self.name} is empty; expected a header row with a column token, or NDJSON")
        plain = path.lower().removesuffix(".gz")
        ndjson = plain.endswith((".ndjson", ".jsonl"))
        if not ndjson and not plain.endswith(".csv"):
            ndjson = head.lstrip().startswith(b"{")
        if not ndjson:
            self.columns = self._read_header()

    def _read_header(self) -> list[str]:
        # Bytes that are no UTF-8 come through as half surrogate pairs, which no check of a push lets pass.
        self._lines = io.TextIOWrapper(self._buffer, "utf-8", errors="surrogateescape", newline="")
        reader = csv.reader(self._lines, strict=True)
        header: list[str] = []
        try:
            while not header:
                header = next(reader)
        except StopIteration:
            raise BadInput(f"{self.name} has no header row; expected one with a column token") from None
        except csv.Error as error:
            raise BadInput(f"{self.name} is not CSV ({error} in the header row)") from None
        columns = [name.strip() for name in header]
        self._need_token(columns, " in its header row")
        return columns

    def _need_token(self, columns: list[str], where: str) -> None:
        if "token" not in columns:
            found = ", ".join(columns)
            hint = "; separate columns with commas" if len(columns) == 1 and set(";\t|") & set(found) else ""
            raise BadInput(
                f"{self.name} has no column token{where}; found {shown(found)}{hint}, expected token"
            )

    def select(self, wanted: Collection[str]) -> None:
        """Nobody will look at other columns than these: where that saves work, `columns` has them alone from now on.

        Raises:
            BadInput: a column of a Parquet file is of a type that cannot be used.
        """
        if self._parquet is not None:
            self._parquet.select(wanted)
            self.columns = self._parquet.columns

    def index(self, column: str) -> int:
        """Where a column stands.

        Raises:
            BadInput: there are two of that name.
        """
        assert self.columns is not None
        if self.columns.count(column) > 1:
            raise BadInput(f"{self.name} has two columns {shown(column)}; expected one")
        return self.columns.index(column)

    @property
    def position(self) -> int:
        """Bytes read so far, of a Parquet file about."""
        if self._parquet is not None and self.size is not None:
            return self.size * self._parquet.read // max(self._parquet.total, 1)
        return self._blocks.position

    @property
    def rows(self) -> int | None:
        """How many rows there are, where the file says so."""
        return None if self._parquet is None else self._parquet.total

    def before_waiting(self, callback: Callable[[], None]) -> None:
        """Have `callback` called, in the reading thread, before a read that has to wait."""
        self._blocks.before_waiting = callback

    def records(self, on_bad: OnBad, shard: Shard = WHOLE) -> Iterator[tuple[int, Any]]:
        """Each data row with its number, from 1 on: strings (CSV) or values (Parquet) by `columns`, or a dict (NDJSON).

        Empty lines are no rows. A row that cannot be parsed goes to `on_bad` instead. Of other parts than `shard`, rows
        are left out where that saves work. Raises `OSError`.
        """
        if self._parquet is not None:
            return self._parquet.rows(shard)
        return (
            self._csv_records(on_bad, shard)
            if self.columns is not None
            else self._json_records(on_bad, shard)
        )

    def _csv_records(self, on_bad: OnBad, shard: Shard) -> Iterator[tuple[int, Any]]:
        assert self.columns is not None
        width, token_at = len(self.columns), self.columns.index("token")
        content, lines, number = self._content, self._lines, 0

        def on_bad_line(problem: str) -> None:
            nonlocal number
            number += 1
            on_bad(number, "", f"the row is not CSV: {problem}")

        # Out of a pipe single lines, for who waits for more of them keeps a push waiting.
        read_lines = partial(lines.readlines, LINES if self.size is not None else 1)
        rest: list[str] = []

        def read_own() -> list[str]:
            """As long as there are no quotes, a line is a row, and those of other parts need not be parsed."""
            nonlocal number, rest
            while True:
                block, rest = rest or read_lines(), []
                if content.has_quote or min(map(len, block), default=0) <= _MAYBE_EMPTY:
                    return block
                count = shard.stretch(number + 1)
                block, rest = block[:count], block[count:]
                if not block or shard.own(number + 1):
                    return block
                number += len(block)

        for values in csv_rows(read_lines if shard.parts == 1 else read_own, on_bad_line):
            if len(values) != width or content.has_nul:
                if not values:
                    continue
                reason = _complaint(values, width)
                if reason:
                    number += 1
                    on_bad(number, values[token_at] if token_at < len(values) else "", reason)
                    continue
            number += 1
            yield number, values

    def _json_records(self, on_bad: OnBad, shard: Shard) -> Iterator[tuple[int, Any]]:
        loads, number = orjson.loads, 0
        for line in self._buffer:
            if shard.parts > 1 and not shard.own(number + 1):
                number += bool(line.strip())
                continue
            try:
                values = loads(line)
            except orjson.JSONDecodeError as error:
                if not line.strip():
                    continue
                number += 1
                on_bad(number, "", f"the line is not JSON: {error.msg}")
                continue
            number += 1
            if type(values) is dict:
                yield number, values
            else:
                on_bad(number, "", "the line is not a JSON object")

    def same_file(self, path: str) -> bool:
        """Whether `path` is this audience."""
        if self.size is None:
            return False
        try:
            return os.path.samestat(os.stat(path), os.fstat(self._blocks.fileno()))
        except OSError:
            return False

    def close(self) -> None:
        """Close the file."""
        if self._parquet is not None:
            self._parquet.close()
        self._blocks.close()

    def __enter__(self) -> Audience:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _complaint(values: list[str], width: int) -> str | None:
    if len(values) != width:
        columns = "column" if len(values) == 1 else "columns"
        return f"the row has {len(values)} {columns}, expected {width}"
    if any("\0" in value for value in values):
        return "the row holds a NUL character"
    return None
