"""Files that commands write, to a path or the standard output, and never over an input."""

from __future__ import annotations

import datetime
import io
import os
import re
from typing import IO, Final, TextIO, cast

from ...audience.problems import BadInput, explain, printable
from ...models.tokens import TokenKind, recognise
from ...redaction import shown_name
from ..streams import NamedFile

BUFFER: Final = 256 * 1024
"""Characters that are buffered before they are written to the file."""
_FORMULA: Final = frozenset("=+-@＝＋－＠")  # noqa: RUF001  # Excel takes the wide ones, too
_CELL: Final = re.compile(r"(?:^|(?<=;))(?=[\s\udc80-\udcff]*[=+\-@＝＋－＠])")  # noqa: RUF001
_CONTROL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def open_bytes(path: str, purpose: str) -> tuple[IO[bytes], str]:
    """A file for writing (the standard output for "-"), and its name in messages. `purpose`: its content, for messages.

    Raises:
        BadInput: it cannot be written.
    """
    name = "the standard output" if path == "-" else printable(shown_name(path))
    try:
        raw = NamedFile(1, name, closefd=False) if path == "-" else NamedFile(path, name)
    except OSError as error:
        raise BadInput(
            f"{name} cannot be written ({explain(error)}); expected a file for {purpose}"
        ) from None
    return io.BufferedWriter(raw, BUFFER), name


def open_output(path: str, purpose: str) -> tuple[TextIO, str]:
    """The same for text."""
    buffered, name = open_bytes(path, purpose)
    return text_of(buffered), name


def text_of(file: IO[bytes] | io.BufferedIOBase) -> TextIO:
    """A text file on `file`. Surrogates stand for bytes of the audience that are not UTF-8; the same bytes are written."""
    return io.TextIOWrapper(cast(IO[bytes], file), "utf-8", errors="surrogateescape", newline="\n")


def open_unchanged(path: str, purpose: str) -> tuple[IO[bytes], str]:
    """Like `open_bytes`, but the content of the file is kept until it is truncated."""
    if path == "-":
        return open_bytes(path, purpose)
    name = printable(shown_name(path))
    try:
        raw = NamedFile(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666), name)
    except OSError as error:
        raise BadInput(
            f"{name} cannot be written ({explain(error)}); expected a file for {purpose}"
        ) from None
    return io.BufferedWriter(raw, BUFFER), name


def refuse_same_file(output: str, *inputs: str | None, purpose: str = "the results") -> None:
    """Raise `BadInput` if the output would overwrite a file that is read."""
    for path in inputs:
        if path is None or output == "-":
            continue
        try:
            # A journal may not exist yet.
            if os.path.realpath(output) == os.path.realpath(path) or os.path.samefile(output, path):
                raise BadInput(f"{output} is an input; expected another file for {purpose}")
        except OSError:
            continue  # one of them does not exist, so they differ


def quoted(text: str) -> str:
    """A field of CSV."""
    # A search for each costs less than a look at every character.
    if "," in text or '"' in text or "\n" in text or "\r" in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def harmless(text: str) -> str:
    """A foreign text, made safe for spreadsheets (formulas) and terminals (control sequences).

    An apostrophe is inserted before `=`, `+`, `-` and `@` at the beginning of a cell, and after a semicolon, which separates
    cells in many countries. Control characters, invisible ones, and those that change the direction of text are escaped as in
    Python.
    """
    if text.isprintable() and text.lstrip()[:1] not in _FORMULA and ";" not in text:
        return text
    return _CELL.sub("'", _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text))


def harmless_token(token: str) -> str:
    """A token, with `harmless` unless it has the shape of a token."""
    text = harmless(token)
    return token if text != token and recognise(token).kind is not TokenKind.UNKNOWN else text


def iso(timestamp: float) -> str:
    """UNIX seconds as ISO 8601 in UTC, with milliseconds."""
    moment = datetime.datetime.fromtimestamp(round(timestamp, 3), datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
