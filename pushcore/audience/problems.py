"""Errors of invalid input, and the escaping of its values in messages."""

from __future__ import annotations

import contextlib
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

import orjson

from ..key_material import read_bounded
from ..redaction import RedactedError, redact_value, shown_name
from ..results import Verdict

MAX_SHOWN: Final = 160
"""Characters of a value or a name from a file that a message shows."""


_PLAIN: Final = (str, int, float, Decimal, bytes, date, time, timedelta, UUID)
"""What Python writes as its user would."""


class BadInput(RedactedError):
    """An error in the user's input, in one sentence that names the file; nothing was sent."""


class BadRow(Exception):
    """The reason why one row of an audience cannot become a push; it does not concern other rows.

    `platform`: "apns" or "fcm" if that is known already. `verdict`: the verdict of the row in the results.
    """

    def __init__(self, reason: str, *, platform: str = "", verdict: Verdict = Verdict.INVALID) -> None:
        super().__init__(reason)
        self.platform = platform
        self.verdict = verdict


def printable(text: str, limit: int | None = None) -> str:
    """`text` for a terminal: control and unprintable characters are escaped, and it is truncated at `limit` characters."""
    if limit is not None and len(text) > limit:
        text = text[:limit] + "…"
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def shown(value: object) -> str:
    """A value from a file, in quotes and truncated; what is no text as JSON writes it, for its user may know no Python."""
    return f"'{printable(redact_value(_text_of(value)), 40)}'"


def _text_of(value: object) -> str:
    with contextlib.suppress(TypeError, ValueError):  # ValueError: an int of more digits than Python writes
        if isinstance(value, _PLAIN) and not isinstance(value, bool):
            return str(value)
        return orjson.dumps(value).decode()
    return type(value).__name__


def explain(error: OSError) -> str:
    """The text of the operating system for this error, without file name and number."""
    return error.strerror or type(error).__name__


def read_small(
    path: str, expected: str, limit: int, *, name: str | None = None, regular: bool = False
) -> bytes:
    """The content of a file that should be small; see `read_bounded`.

    Args:
        path: of the file.
        expected: what the file should contain, for the message.
        limit: bytes.
        regular: whether it must be a regular file.
        name: the name of the file in messages, if the path may be a secret given by mistake.

    Raises:
        BadInput: it cannot be read, or is larger than `limit` bytes.
    """
    try:
        data = read_bounded(path, limit, regular=regular)
    except OSError as error:
        problem = explain(error)
    except ValueError:
        problem = "it contains a character that is not allowed in a path"
    else:
        problem = ""
    name = name or printable(shown_name(path))
    if problem:  # outside the handler: its exception contains the path, which may be a secret
        raise BadInput(f"{name} cannot be read ({problem}); expected {expected}")
    if len(data) > limit:
        raise BadInput(f"{name} has more than {limit} bytes; expected {expected}")
    return data
