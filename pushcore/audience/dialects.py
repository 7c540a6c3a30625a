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


def header_problem(line: str) -> str:
    """What is wrong with the first line of a CSV, as the rest of a sentence on the file; empty when that is not known."""
    excel = _EXCEL.match(line)
    if excel is not None:
        rest = "" if excel[1] in (",", "") else ", and separate columns with commas"
        return f"begins with the line {shown(line.strip())}, which only Excel understands; remove it{rest}"
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
