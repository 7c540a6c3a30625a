"""Ctrl-C while a command imports its modules ends it at once and quietly, with the status of the signal (130 for a shell).

Python would raise KeyboardInterrupt in the middle of an import and print a traceback. The package imports this module before
all others, because the command has no code of its own before that. Errors of too little memory are handled from here on, too.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys

from .memory import handle_uncaught


def end_quietly() -> None:
    """SIGINT ends the process, as it ends a program in C."""
    _replace(signal.default_int_handler, signal.SIG_DFL)


def raise_again() -> None:
    """SIGINT raises KeyboardInterrupt, as usual in Python."""
    _replace(signal.SIG_DFL, signal.default_int_handler)


def end_by_exception() -> None:
    """SIGTERM and SIGHUP have the effect of Ctrl-C, so that child processes and temporary files are cleaned up.

    A SIGHUP that is ignored, for example by `nohup`, stays ignored.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        signal.signal(hangup, signal.default_int_handler)


def ignore() -> None:
    """Signals that end a process have no effect from now on: everything is done, and the exit status must say so."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None:
            signal.signal(number, signal.SIG_IGN)


def _replace(before: object, handler: signal._HANDLER) -> None:
    # A parent may ignore the signal, as a shell does for a command in the background; then it stays ignored.
    if signal.getsignal(signal.SIGINT) is before:
        signal.signal(signal.SIGINT, handler)


def is_command() -> bool:
    """Whether this process is `pushcore` or `python -m pushcore`, and no other program that imports the package."""
    program = next(iter(getattr(sys, "argv", ())), "")
    if program == "-m":  # so until the module is found
        return "-mpushcore" in sys.orig_argv or ("-m", "pushcore") in itertools.pairwise(sys.orig_argv)
    return os.path.basename(program).removesuffix(".exe") == "pushcore"


if is_command():
    end_quietly()
    handle_uncaught()
