"""The standard streams of the command: closed ones are occupied, and one that cannot be written is a sentence."""

from __future__ import annotations

import io
import os
import sys


def occupy_closed() -> None:
    """Open the null device in the place of closed standard streams.

    Otherwise a socket gets the number of one, and libuv aborts the process when it closes that.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    for number, name in enumerate(("stdout", "stderr"), 1):
        if getattr(sys, name) is None:
            setattr(sys, name, io.TextIOWrapper(io.FileIO(number, "w", closefd=False), write_through=True))


def abandon_output() -> None:
    """Give the standard output up, so that Python does not try to write the rest of it when it ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
