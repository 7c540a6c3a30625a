"""Sends the pushes of one request, until each has its result or the time of the request is over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ..results import Result, Verdict
from .senders import QUEUED, REQUEST, AppSender, Entry, Submissions


class PushBatch:
    """The pushes of one request, until each has its result.

    Args:
        count: of its pushes.
    """

    __slots__ = ("_done", "missing", "results")

    def __init__(self, count: int) -> None:
        self.results: list[Any] = [None] * count
        """In the order of the pushes; None while there is none."""
        self.missing = count
        self._done: asyncio.Future[None] | None = None

    def finish(self, entries: Sequence[Entry], results: Sequence[Result]) -> None:
        """See `Waiter`. Results after the deadline are dropped."""
        known = self.results
        for (_, key, _), result in zip(entries, results, strict=True):
            if known[key] is None:
                known[key] = result
                self.missing -= 1
        if not self.missing and self._done is not None:
            _set(self._done)

    async def wait(self, seconds: float) -> None:
        """Wait for the last result, at most this long."""
        if self.missing:
            loop = asyncio.get_running_loop()
            done = self._done = loop.create_future()
            timer = loop.call_later(seconds, _set, done)
            try:
                await done
            finally:
                timer.cancel()


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def send_all(
    caller: str, pushes: list[tuple[AppSender, Any]], deadline: float = REQUEST
) -> list[Result]:
    """Send pushes and wait for their results; these are in the order of the pushes.

    A push that waits in the queue for `QUEUED` seconds, or for half of a shorter deadline, is not sent: UNSENT. A push without a
    response at the deadline is UNKNOWN: it may have been delivered.

    Args:
        caller: its breaker and its turns in the queue are used.
        pushes: each with its sender; no object twice.
        deadline: seconds, at most `REQUEST`.
    """
    batch = PushBatch(len(pushes))
    submissions = Submissions(caller, batch)
    last: AppSender | None = None
    for key, (sender, push) in enumerate(pushes):
        if sender is not last:
            last = sender
            submitted, entries = submissions[sender]
        entries.append((push, key, submitted))
    submissions.submit()
    try:
        await batch.wait(min(QUEUED, deadline / 2))
        if batch.missing:
            submissions.withdraw(f"not sent: it was queued for more than {QUEUED:g} s")
            await batch.wait(deadline - min(QUEUED, deadline / 2))
    except asyncio.CancelledError:  # the client has gone: what has not begun need not begin
        submissions.withdraw("not sent: the client disconnected")
        raise
    for key, result in enumerate(batch.results):
        if result is None:
            detail = "may have been delivered: no response in time"
            batch.results[key] = Result(pushes[key][1], Verdict.UNKNOWN, detail=detail)
    return batch.results
