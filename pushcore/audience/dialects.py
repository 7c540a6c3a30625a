"""Text files that are nearly an audience: what they are instead, and what to do about it."""

from __future__ import annotations

import re
from typing import Final

from .problems import shown

NOT_UTF8: Final = (
    "not UTF-8 (Latin-1 or Windows-1252?): convert the file, as by iconv -f WINDOWS-1252 -t UTF-8"
)
"""What a file, a line or a value is, and what to do."""

_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}
_EXCEL: Final = re.compile(r'\s*"?sep=(.?)', re.IGNORECASE | re.DOTALL)

INVISIBLE: Final = " \t\ufeff\u200b\u2060"
"""What stands around the names of columns and is not seen, a second byte order mark among it."""

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
"""By how they begin, files that no audience is, as the rest of a sentence."""
_MARKUP: Final = (b"<!doctype", b"<html", b"<?xml")


def what_else(head: bytes) -> str:
    """What a text is that begins so, if it is surely no audience, as the rest of a sentence; empty otherwise."""
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
    """What is wrong with the first line of a CSV, as the rest of a sentence on the file; empty when that is not known."""
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
    """Whether text that was read with half surrogate pairs for what is no UTF-8 has none of those."""
    return text.isascii() or not any("\udc80" <= character <= "\udcff" for character in text)
