"""Asks FCM again about a suspect token, by a dry run: a message that delivers nothing.

A 400 that blames the token may be the fault of the message (see `shapes`). A minimal message with `validate_only`
has no part that Google could dislike. To a token that is invalid, or unregistered on Android, it is rejected as a send would
be; where it is accepted, the first message was at fault. It does not prove that an iOS device is reached: Google cannot ask
Apple without sending.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

import orjson

from ..http2.exchange import NO_FIELDS, Exchange, request
from ..http2.pool import Pool
from ..reasons import INVALID, UNREGISTERED, Reason
from .change_rate import ChangeRateLimiter
from .errors import DEAD_TOKEN, SUSPECT_TOKEN, message_name, read_error

Confirm = Literal["validate_only"]
"""How a suspect token is confirmed."""
RATE: Final = 100.0
"""Dry runs per second: a hundredth of a project's usual quota, to which they count. Our choice."""
MAX_WAITING: Final = 1000
"""Suspect tokens that are queued for a dry run, at most; further ones stay suspect."""

PUSH_AT_FAULT: Final = Reason(
    400,
    "INVALID_ARGUMENT",
    INVALID,
    "Correct the message: Google accepts the token in a minimal message.",
    if_all="Correct the apns, android or webpush part: Google accepts the tokens in a minimal message",
)
"""INVALID_ARGUMENT that blames a token to which Google accepts another message. All suspect pushes of this shape get it."""


class TokenConfirmation:
    """The dry runs of one client.

    Args:
        pool: the connections to FCM.
        resend: sends an exchange again whose response blames the access token; false if it does not.
        timeout: seconds until a dry run ends without a response.
    """

    def __init__(self, pool: Pool, resend: Callable[[Exchange, Pool], bool], timeout: float) -> None:
        self._pool = pool
        self._resend = resend
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._rate = ChangeRateLimiter(RATE, self._loop.time)
        self._queued: deque[Exchange] = deque()
        self._timer: asyncio.Handle | None = None
        self._rows: dict[Exchange, Reason] = {}  # of rejected pushes whose dry run has ended
        self._closed = False

    def row_of(self, rejected: Exchange) -> Reason | None:
        """The meaning of a rejection that blames the token.

        Args:
            rejected: the finished exchange of the push.

        Returns:
            None when a dry run was queued: after it the sink of `rejected` is called again, and this returns the row.
        """
        row = self._rows.pop(rejected, None)
        if row is not None:
            return row
        if self._closed or len(self._queued) >= MAX_WAITING:
            return SUSPECT_TOKEN
        self._queued.append(rejected)
        if self._timer is None:
            self._timer = self._loop.call_soon(self._send)
        return None

    def close(self) -> None:
        """Queue no more dry runs. Those that are queued end when the pool is closed, as those in flight do."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._pool.waiting.extend(self._dry_run(rejected) for rejected in self._queued)
        self._queued.clear()

    def _send(self) -> None:
        self._timer = None
        while self._queued:
            seconds = self._rate.wait()
            if seconds:
                self._timer = self._loop.call_later(seconds, self._send)
                break
            self._pool.waiting.appendleft(self._dry_run(self._queued.popleft()))
        self._pool.pump()

    def _dry_run(self, rejected: Exchange) -> Exchange:
        message = orjson.loads(rejected.body)["message"]
        target = {name: message[name] for name in ("token", "fid") if name in message}
        body = orjson.dumps({"validate_only": True, "message": target})
        deadline = self._loop.time() + self._timeout
        return request(rejected.template, b"", body, NO_FIELDS, self._on_responses, rejected, deadline)

    def _on_responses(self, dry_runs: list[Exchange]) -> None:
        for dry_run in dry_runs:
            if self._resend(dry_run, self._pool):
                continue
            rejected: Exchange = dry_run.context
            self._rows[rejected] = _row_by(dry_run)
            rejected.sink([rejected])


def _row_by(dry_run: Exchange) -> Reason:
    """The row of the rejection, by the response to its dry run."""
    if dry_run.error is not None:
        return SUSPECT_TOKEN
    if dry_run.status == 200:
        return PUSH_AT_FAULT if message_name(dry_run.data) is not None else SUSPECT_TOKEN
    row = read_error(dry_run.status, dry_run.data).row
    return DEAD_TOKEN if row is SUSPECT_TOKEN or row.verdict is UNREGISTERED else SUSPECT_TOKEN
