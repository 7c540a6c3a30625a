"""`Audience`: the rows of a campaign in CSV, NDJSON or Parquet, in a file or an object, read row by row."""

from __future__ import annotations

import csv
import errno
import io
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import IO, Any, Final, cast

from ..redaction import describe_secret
from .content import BLOCK, GZIP, Blocks, Content
from .dialects import INVISIBLE, header_problem, is_utf8, meant_token, utf8_problem, what_else, wide_problem
from .parquet import MAGIC, ParquetRows
from .problems import BadInput, explain, shown
from .records import LINES, OnBad, csv_records, decoded, encoded, json_records
from .shards import WHOLE, Shard
from .spans import Span, csv_spans, json_spans
from .storage import is_url, open_object, shown_path

CSV, NDJSON, PARQUET = "csv", "ndjson", "parquet"

_BOM: Final = b"\xef\xbb\xbf"
_ENDS: Final = (b"", b"\n", b"\r")
"""The end of a complete text; an empty text ends with nothing."""


class Audience:
    """An open audience; only its beginning has been read. Close it, or use it as a context manager.

    `path`: a file, "-" for the standard input, or a URL, see `storage`. `name`: the path in messages, without secrets.
    `columns`: the names of the columns of CSV or Parquet, None for NDJSON. `size`: in bytes, None for a pipe. `state`:
    identifies the file and its version, None for a pipe. `notices`: warnings about its beginning, for the operator. CSV and NDJSON may be compressed with gzip.

    An audience must not change while it is read: rows could be sent twice, never, or truncated. So reading the end raises
    `OSError` if the file has changed or was truncated. The same happens if its writer may have died in the last row, which
    then ends within quotes or within a JSON object. The last row of CSV in a pipe must also end with a newline.

    Raises:
        BadInput: it cannot be read, is empty, or has no column "token".
    """

    def __init__(self, path: str) -> None:
        kind = describe_secret(path)
        if kind is not None:
            raise BadInput(f"the audience's path is {kind} and not a path; expected an audience")
        self.name = "the standard input" if path == "-" else shown_path(path)
        self._path = path
        problem = ""
        try:
            file, self.size, self._look = _open(path)
            self.state = self._look()
        except OSError as error:
            problem = explain(error)
        except ValueError:
            problem = "it contains a character that is not allowed in a path"
        if problem:  # outside the handler: its exception contains the path, which may be a secret
            raise BadInput(f"{self.name} cannot be read ({problem}); expected an audience")
        self._blocks = Blocks(file, self.name)
        self._parquet: ParquetRows | None = None
        self.columns: list[str] | None = None
        self.notices: list[str] = []
        self._start = 0  # the offset of the first row
        try:
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
            raise BadInput(f"{self.name} is Parquet, whose end is read first; expected the path of a file")
        self._parquet = ParquetRows(path, self.name)
        self.columns = self._parquet.columns
        self._need_token(self.columns, "")

    def _open_text(self, path: str) -> None:
        self._packed = self._blocks.peek(len(GZIP)) == GZIP
        self._ndjson = False
        self._content = Content(self._blocks, self.name, packed=self._packed, at_end=self._check_end)
        self._buffer = io.BufferedReader(self._content, BLOCK)
        head = self._buffer.peek(len(MAGIC))
        if problem := wide_problem(head):
            raise BadInput(f"{self.name} {problem}")
        if head.startswith(MAGIC):
            raise BadInput(
                f"{self.name} is Parquet inside gzip; expected it without gzip, Parquet is compressed already"
            )
        if head.startswith(_BOM):
            self._start = len(self._buffer.read(len(_BOM)))
            head = head[len(_BOM) :]
        other = what_else(head)
        if other:
            raise BadInput(f"{self.name} {other}")
        if not head:
            raise BadInput(f"{self.name} is empty; expected a header row with a column token, or NDJSON")
        plain = path.lower().removesuffix(".gz")
        self._ndjson = plain.endswith((".ndjson", ".jsonl"))
        if not self._ndjson and not plain.endswith(".csv"):
            self._ndjson = head.lstrip().startswith(b"{")
        if not self._ndjson:
            self.columns = self._read_header()
            problem = utf8_problem(head)
            if problem:
                self.notices = [
                    f"{self.name} {problem}; what is not UTF-8 can be neither a token nor part of a push"
                ]

    def _read_header(self) -> list[str]:
        self._lines = decoded(self._buffer)
        read: list[str] = []
        reader = csv.reader(self._counted(self._lines, read), strict=True)
        header: list[str] = []
        try:
            while not header:
                header = next(reader)
        except StopIteration:
            raise BadInput(f"{self.name} has no header row; expected one with a column token") from None
        except csv.Error as error:
            problem = header_problem("".join(read)) or f"is not CSV ({error} in the header row)"
            raise BadInput(f"{self.name} {problem}") from None
        columns = [name.strip(INVISIBLE).strip() for name in header]
        if "token" not in columns or not all(map(is_utf8, columns)):
            problem = header_problem("".join(read))
            if problem:
                raise BadInput(f"{self.name} {problem}")
        self._need_token(columns, " in its header row")
        return columns

    def _counted(self, lines: Iterable[str], read: list[str]) -> Iterator[str]:
        for line in lines:
            self._start += len(encoded(line))
            read.append(line)
            yield line

    def _need_token(self, columns: list[str], where: str) -> None:
        if "token" not in columns:
            names = ", ".join(columns)
            hint = "; separate columns with commas" if len(columns) == 1 and set(";\t|") & set(names) else ""
            raise BadInput(
                f"{self.name} has no column token{where}; found {shown(names)}{hint}, expected token{meant_token(columns)}"
            )

    def select(self, wanted: Collection[str]) -> None:
        """Select the columns that are needed. If that saves work, `columns` has only these from now on.

        Raises:
            BadInput: a column of a Parquet file has a type that cannot be used.
        """
        if self._parquet is not None:
            self._parquet.select(wanted)
            self.columns = self._parquet.columns

    def index(self, column: str) -> int:
        """The index of a column.

        Raises:
            BadInput: there are two columns with this name.
        """
        assert self.columns is not None
        if self.columns.count(column) > 1:
            raise BadInput(f"{self.name} has two columns {shown(column)}; expected one")
        return self.columns.index(column)

    @property
    def position(self) -> int:
        """Bytes read so far; for Parquet an estimate."""
        if self._parquet is not None and self.size is not None:
            return self.size * self._parquet.read // max(self._parquet.total, 1)
        return self._blocks.position

    @property
    def rows(self) -> int | None:
        """The number of rows, if the file contains it; None otherwise."""
        return None if self._parquet is None else self._parquet.total

    def before_waiting(self, callback: Callable[[], None]) -> None:
        """Make the reading thread call `callback` before each read that must wait."""
        self._blocks.before_waiting = callback

    def records(self, on_bad: OnBad, shard: Shard = WHOLE) -> Iterator[tuple[int, Any]]:
        """Each row with its number, from 1 on: strings (CSV) or values (Parquet) in the order of `columns`, or a dict (NDJSON).

        Empty lines are not rows. A row that cannot be parsed is passed to `on_bad` instead. Rows outside of `shard` are left
        out, but `on_bad` may be called for them. Raises `OSError`.
        """
        if self._parquet is not None:
            return self._parquet_records(shard)
        if self.columns is None:
            return json_records(self._buffer, on_bad, shard, self._on_cut)
        # Single lines from a pipe: waiting for more lines would delay pushes.
        characters = LINES if self.size is not None else 1
        return csv_records(self.columns, self._content, self._lines, on_bad, shard, characters, self._on_cut)

    def _parquet_records(self, shard: Shard) -> Iterator[tuple[int, Any]]:
        assert self._parquet is not None
        yield from self._parquet.rows(shard)
        self.check_unchanged()

    def _check_end(self, last: bytes) -> None:
        """Called at the end of a text. `last`: its last byte."""
        if self.size is not None:
            self.check_unchanged()
            if self._blocks.position < self.size and self._path != "-":
                raise OSError(
                    errno.EIO, f"it ends after {self._blocks.position} of {self.size} bytes", self.name
                )
        elif not self._ndjson and not self._packed and last not in _ENDS:
            # The writer of a pipe may have died. A truncated gzip is found by gzip, and an object of NDJSON ends with a brace.
            raise OSError(
                errno.EIO, "it ends within a row: there is no newline after the last row", self.name
            )

    def _on_cut(self, number: int, problem: str) -> None:
        raise OSError(errno.EIO, f"it seems to be truncated within row {number}: {problem}", self.name)

    def check_unchanged(self) -> None:
        """Raise `OSError` if the file has changed since it was opened."""
        try:
            state = self._look()
        except OSError as error:
            error.filename = self.name
            raise
        if state != self.state:
            raise OSError(errno.ESTALE, "it was changed while it was read", self.name)

    def spans(self, rows: int) -> Iterator[Span]:
        """The ranges of each `rows` rows; the last range may have fewer. Raises `OSError`.

        CSV and NDJSON are read completely for this; Parquet is not read further.

        Raises:
            BadInput: it is gzip, of which no part can be read alone.
        """
        if self._parquet is not None:
            return self._parquet.spans(rows)
        if self._packed:
            raise BadInput(
                f"{self.name} is compressed with gzip and cannot be read in parts; expected it uncompressed"
            )
        if self.columns is None:
            return json_spans(self._buffer, self._start, rows, self._on_cut)
        return csv_spans(self._lines, self._start, rows, self.columns, self._on_cut)

    @property
    def form(self) -> str:
        """The format: "csv", "ndjson" or "parquet"."""
        return PARQUET if self._parquet is not None else NDJSON if self.columns is None else CSV

    def same_file(self, path: str) -> bool:
        """Whether `path` is the file of this audience."""
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


def _open(path: str) -> tuple[IO[bytes], int | None, Callable[[], tuple[object, ...] | None]]:
    """The unbuffered file, its size in bytes (None if unknown), and a function that returns its state."""
    if is_url(path):
        return open_object(path)
    file = io.FileIO(0, "rb", closefd=False) if path == "-" else io.FileIO(path, "rb")
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        return cast(IO[bytes], file), None, lambda: None

    def state() -> tuple[object, ...]:
        now = os.fstat(file.fileno())
        return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns

    return cast(IO[bytes], file), status.st_size, state
