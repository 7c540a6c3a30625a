"""Files that are not valid audiences: recognises usual mistakes, and says what to do."""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from .problems import shown

NOT_UTF8: Final = (
    "not UTF-8 (Latin-1 or Windows-1252?): convert the file, as by iconv -f WINDOWS-1252 -t UTF-8"
)
"""Part of a message on a file, a line or a value."""

_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}
_EXCEL: Final = re.compile(r'\s*"?sep=(.?)', re.IGNORECASE | re.DOTALL)

INVISIBLE: Final = " \t\ufeff\u200b\u2060"
"""Invisible characters around the names of columns, for example a second byte order mark."""

_PACKED: Final = {
    b"\x1f\x8b": "is packed with gzip twice; expected it packed once, or unpacked",
    b"\xfd7zXZ": "is packed with xz; expected gzip, or it unpacked",
    b"\x28\xb5\x2f\xfd": "is packed with zstd; expected gzip, or it unpacked",
    b"BZh": "is packed with bzip2; expected gzip, or it unpacked",
    b"PK\x03\x04": "is a zip archive or a workbook of Excel; expected it unpacked, or saved as CSV UTF-8",
    b"PK\x05\x06": "is an empty zip archive; expected CSV, NDJSON or Parquet",
    b"\xd0\xcf\x11\xe0": "is an old workbook of Excel; expected it saved as CSV UTF-8",
    b"SQLite format 3": "is a database of SQLite; expected its rows as CSV, NDJSON or Parquet",
    b"Obj\x01": "is Avro; expected CSV, NDJSON or Parquet",
    b"ORC": "is ORC; expected CSV, NDJSON or Parquet",
}
"""Files that cannot be audiences, by their first bytes; the text is the end of a sentence."""
_TOKEN_WORDS: Final = frozenset(
    (
        "registrationid",
        "registrationids",
        "registration",
        "regid",
        "fid",
        "installationid",
        "instanceid",
        "deviceid",
        "pushid",
    )
)
"""Usual names of the column of tokens, besides those that contain "token", without case and punctuation."""
_LONG_AS_A_TOKEN: Final = 64
_MOST: Final = 100
"""Columns, and characters of a name, that are searched for one that was meant."""
_MARKUP: Final = (b"<!doctype", b"<html", b"<?xml")


def what_else(head: bytes) -> str:
    """Why a file with these first bytes is surely not an audience, as the end of a sentence; empty if it may be one."""
    for magic, words in _PACKED.items():
        if head.startswith(magic) and not (magic in (b"ORC", b"BZh") and head[:64].isascii()):
            return words
    head = head.lstrip()
    if head[:9].lower().startswith(_MARKUP):
        return "is HTML or XML, perhaps the page of a login or of an error; expected CSV, NDJSON or Parquet"
    if head[:1] == b"[":
        return (
            "is a JSON array; expected NDJSON, each object on a line of its own, as jq -c '.[]' writes them"
        )
    if head.partition(b"\n")[0].strip() == b"{" and b"\n" in head:
        return "has JSON over several lines; expected NDJSON, each object on a line of its own, as jq -c . writes them"
    return ""


def header_problem(line: str) -> str:
    """The mistake in the first line of a CSV, as the end of a sentence about the file; empty if none is recognised."""
    excel = _EXCEL.match(line)
    if excel is not None:
        rest = "" if excel[1] in (",", "") else ", and separate columns with commas"
        return f"begins with the line {shown(line.strip())}, which only Excel reads; remove it{rest}"
    if line.lstrip().startswith('{"'):
        return "is CSV by its name, but its first line is JSON; expected a name that ends with .ndjson"
    if not is_utf8(line):
        return f"has a header row that is {NOT_UTF8}"
    for separator, name in _SEPARATORS.items():
        if line.count(separator) > line.count(","):
            return (
                f"has columns that are separated by {name}; separate columns with commas, as a spreadsheet does that saves "
                'it as "CSV UTF-8 (comma delimited)"'
            )
    return ""


def is_utf8(text: str) -> bool:
    """Whether a text has no surrogates, which stand for bytes that are not UTF-8."""
    return text.isascii() or not any("\udc80" <= character <= "\udcff" for character in text)


def wide_problem(head: bytes) -> str:
    """That the first bytes of a file are UTF-16 or UTF-32, as the end of a sentence; empty if they are not."""
    if not head.startswith(_UTF_16) and b"\0" not in head[:2]:  # with a byte order mark, or without
        return ""
    form = "UTF-32" if b"\0\0" in head[:4] else "UTF-16"
    return f"is in {form}; expected UTF-8: convert the file, as by iconv -f {form} -t UTF-8"


def utf8_problem(head: bytes) -> str:
    """That the first bytes of a file are not UTF-8, as the end of a sentence; empty if they are."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return f"is {NOT_UTF8}"
    return ""


def meant_token(columns: Iterable[str]) -> str:
    """The column that seems to have the tokens under another name, as a hint to append to a message; empty if there is none."""
    return _meant_token(_texts(columns))


def meant_column(column: str, columns: Iterable[str]) -> str:
    """The column that is probably meant by a name that is none, as a hint to append to a message; empty if there is none."""
    return _meant_column(column, _texts(columns))


def _texts(columns: Iterable[Any]) -> tuple[str, ...]:
    """The first names. In the row of a program, a key may be of any class."""
    return tuple(name for name in islice(columns, _MOST) if isinstance(name, str))


def unused_columns(columns: Iterable[str], known: Collection[str]) -> list[str]:
    """Warnings about columns that have no effect because their name is that of a known column in another spelling."""
    names = list(columns)
    folded = {_folded(name): name for name in known if name not in names}
    return [
        f"the column {shown(name)} has no effect; did you mean {folded[_folded(name)]}?"
        for name in names
        if name not in known and _folded(name) in folded
    ]


@lru_cache  # the rows of NDJSON without a key have mostly the same keys
def _meant_token(columns: tuple[str, ...]) -> str:
    for column in columns:
        name = _folded(column)
        if column == "token":  # it is there, without a value
            return ""
        if "token" in name or name in _TOKEN_WORDS or difflib.get_close_matches(name, ("token",)):
            return f"; did you mean {shown(column)}? Its name must be token"
    if any(len(column) >= _LONG_AS_A_TOKEN and " " not in column for column in columns):
        return "; the first row seems to be a device already: write a header row before it"
    return ""


@lru_cache
def _meant_column(column: str, columns: tuple[str, ...]) -> str:
    known = {_folded(name): name for name in columns}
    matches = difflib.get_close_matches(_folded(column), known, 1)
    return f"; did you mean {shown(known[matches[0]])}?" if matches else ""


def _folded(column: str) -> str:
    return re.sub(r"[\W_]", "", column[:_MOST]).lower()
