"""Files that are not valid audiences: recognises usual mistakes, and says what to do."""

from __future__ import annotations

import re
from typing import Final

from .problems import shown

NOT_UTF8: Final = (
    "not UTF-8 (Latin-1 or Windows-1252?): convert the file, as by iconv -f WINDOWS-1252 -t UTF-8"
)
"""Part of a message on a file, a line or a value."""

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
