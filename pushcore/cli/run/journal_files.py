"""The files of a campaign's journals: their names, and how it continues if a process's journal is missing."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace

from ...audience.audience import Audience
from ...errors import JournalError
from ...journal.campaign import RunRecord
from ...journal.store import JournalStore
from ...journal.view import JournalView


def shard_path(path: str, number: int) -> str:
    """The path of the journal of a part; the first one has the path of the campaign."""
    return path if number == 0 else f"{path}.{number}"


def files(path: str, number: int) -> tuple[str, ...]:
    """All files that the journal of a part may have."""
    path = shard_path(path, number)
    return path, f"{path}-wal", f"{path}-shm", f"{path}-reserve"


def is_lost(name: str) -> bool:
    """Whether there is no such journal, or it is empty."""
    try:
        return os.path.getsize(name) == 0
    except OSError:
        return True


def lost(path: str, name: str) -> JournalError:
    """The error for a journal that is missing or empty, of the campaign with the first journal `path`."""
    return JournalError(
        f"{name} is missing or empty: it is one of the campaign's journals, which has one for each process. If nothing was sent, delete "
        f"them and start again. Otherwise put it back, or continue with `pushcore resume {path} --force`: all rows of that process are "
        "then in doubt, as after a kill"
    )


def replace_lost(path: str, audience: str | None) -> None:
    """Make the missing and empty journals of a campaign of several processes again, with all of their rows in doubt.

    `audience`: None for that of the campaign.

    Raises:
        BadInput: its rows cannot be counted.
        JournalError: a journal cannot be read or written.
    """
    one = next((name for name in (path, shard_path(path, 1)) if not is_lost(name)), None)
    if one is None:
        return
    with JournalView(one) as view:
        campaign = view.campaign
    missing = [number for number in range(campaign.shards) if is_lost(shard_path(path, number))]
    if not missing:
        return
    rows = campaign.rows
    if rows is None:
        rows = count_rows(campaign.source.path if audience is None else audience)
    now = time.time()
    for number in missing:
        for name in files(path, number):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        run = RunRecord(1, now, now, upto=rows)
        JournalStore.create(shard_path(path, number), replace(campaign, shard=number), run).close()


def count_rows(path: str) -> int:
    """The number of rows of an audience. Raises `OSError` and `BadInput`."""
    last = 0

    def on_bad(number: int, token: str, reason: str) -> None:
        nonlocal last
        last = number

    with Audience(path) as audience:
        if audience.rows is not None:
            return audience.rows
        for number, _ in audience.records(on_bad):
            last = number
    return last
