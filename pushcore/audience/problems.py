"""Errors of unusable input, and the escaped form of foreign values in their messages."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..redaction import RedactedError, redact_value
from ..results import Verdict

MAX_SHOWN: Final = 160
"""Characters of a value or a name out of a file that are shown."""


class BadInput(RedactedError):
    """An error in the user's input, in one sentence that names the file; nothing was sent."""


class BadRow(Exception):
    """Why one row of an audience cannot become a push, in a few words; other rows can.

    `platform`: "apns" or "fcm" where that was found out before. `verdict`: what stands in the results.
    """

    def __init__(self, reason: str, *, platform: str = "", verdict: Verdict = Verdict.INVALID) -> None:
        super().__init__(reason)
        self.platform = platform
        self.verdict = verdict


def printable(text: str, limit: int | None = None) -> str:
    """`text` for a terminal: control characters and what does not print are escaped, the end cut off at `limit`."""
    if limit is not None and len(text) > limit:
        text = text[:limit] + "…"
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def shown(value: object) -> str:
    """A value out of a file, between quotes and short."""
    return f"'{printable(redact_value(str(value)), 40)}'"


def explain(error: OSError) -> str:
    """The operating system's words, without file name and number."""
    return error.strerror or type(error).__name__


def read_small(path: str, expected: str, limit: int, *, name: str | None = None) -> bytes:
    """A file that is small when it is what it should be.

    Args:
        path: of the file.
        expected: what was expected, for the message.
        limit: bytes.
        name: stands for the path in messages, where the path may be a secret given by mistake.

    Raises:
        BadInput: it cannot be read, or is larger than `limit` bytes.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        problem = explain(error)
    else:
        problem = ""
    if problem:  # outside the handler, whose context repeats the path, which may be a secret
        raise BadInput(f"{name or path} cannot be read ({problem}); expected {expected}")
    if len(data) > limit:
        raise BadInput(f"{name or path} has more than {limit} bytes; expected {expected}")
    return data
