"""Too little memory: one sentence, wherever it is noticed, also in an import or while another message is made."""

from __future__ import annotations

import contextlib
import os
import sys
from types import TracebackType
from typing import Final

TOO_LITTLE: Final = "there is too little memory (see `ulimit -v`, or the limit of the container)"
_NO_THREAD: Final = (
    "no thread can be started: there is too little memory, or there are too many processes (see `ulimit -v` and `ulimit -u`, or the "
    "limits of the container)"
)
_LAST_WORDS: Final = f"pushcore: {TOO_LITTLE}\n".encode()  # made while there is memory
_UNLOADED: Final = ("failed to map segment", "cannot allocate memory")
"""Parts of the messages of a dynamic linker that has no memory for a library."""


def shortage(error: BaseException) -> str | None:
    """The sentence for an error whose cause is too little memory; None for others."""
    if isinstance(error, MemoryError):
        return TOO_LITTLE
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return _NO_THREAD
    if isinstance(error, ImportError) and any(part in str(error).lower() for part in _UNLOADED):
        return TOO_LITTLE
    return None


def say_last_words() -> None:
    """Write the sentence to the standard error, without more memory."""
    with contextlib.suppress(OSError):
        os.write(2, _LAST_WORDS)


def handle_uncaught() -> None:
    """If such an error ends the process, make Python write the sentence instead of a traceback. The exit status is 1."""
    sys.excepthook = _on_uncaught


def _on_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, MemoryError) or shortage(error) is not None:
        say_last_words()
    else:
        sys.__excepthook__(kind, error, trace)
