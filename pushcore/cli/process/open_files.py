"""The limit of open files, checked before there is an event loop: without files left, uvloop aborts the process."""

from __future__ import annotations

import contextlib
import os
from typing import Final

from ...audience.problems import BadInput, explain

LEAST: Final = 48
"""Files that a command with connections needs besides those that are open: the loop, the inputs, the journal, some connections."""


def check_open_files() -> None:
    """Raise the soft limit of open files where it is too low.

    Raises:
        BadInput: so few files may be open that the command cannot work.
    """
    problem = _problem()
    if problem is not None and _raise_limit():
        problem = _problem()
    if problem is not None:
        raise BadInput(
            f"at least {LEAST} more files must be opened than now, and the system does not allow it ({problem}); "
            "raise the limit, for example with ulimit -n 1024"
        )


def _problem() -> str | None:
    """What prevents `LEAST` files from being opened, whether it is this process's limit or the system's."""
    with contextlib.ExitStack() as opened:
        try:
            for _ in range(LEAST):
                opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            return explain(error)
    return None


def _raise_limit() -> bool:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return False
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return False
    most = 1024 if hard == resource.RLIM_INFINITY else min(hard, 1024)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    return True
