"""Asks FCM once more about a suspect token, by a message that delivers nothing.

A 400 that blames the token may be the fault of the message (see `shapes`). A minimal message with `validate_only` has no part
that Google could dislike. To a token that is invalid, or unregistered on Android, it is rejected as a send would be; where it is
valid, the first message was at fault. It does not prove that an iOS device is reached: Google cannot ask Apple without sending.
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
from .errors import DEAD_TOKEN, SUSPECT_TOKEN, message_name, read_error
from .pace import ChangeRateLimiter

Confirm = Literal["validate_only"]
"""How a suspect token is confirmed."""
RATE: Final = 100.0
"""Questions a second: one in a hundred of a project's usual quota, which they count against. Our choice."""
MAX_WAITING: Final = 1000
"""Suspect tokens that wait to be asked about; where there are more, they stay suspect."""

PUSH_AT_FAULT: Final = Reason(
    400,
    "INVALID_ARGUMENT",
    INVALID,
    "Correct the message: Google finds nothing wrong with the token in a minimal one.",
)
"""INVALID_ARGUMENT that blames the token, of which Google takes another message."""


class TokenConfirmation:
    """The questions of one client.

    Args:
        pool: the connections to FCM.
        sent_again: whether a rejection blamed the access token, and the exchange was sent again with another.
        timeout: seconds that an answer may take.
    """

    def __init__(self, pool: Pool, sent_again: Callable[[Exchange, Pool], bool], timeout: float) -> None:
        self._pool = pool
        self._sent_again = sent_again
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._rate = ChangeRateLimiter(RATE, self._loop.time)
        self._waiting: deque[Exchange] = deque()
        self._timer: asyncio.Handle | None = None
        self._rows: dict[Exchange, Reason] = {}  # of rejected pushes whose question was answered
        self._closed = False

    def row_of(self, rejected: Exchange) -> Reason | None:
        """What the rejection of a push that blames its token means.

        Args:
            rejected: the finished exchange of the push.

        Returns:
            None when Google is asked: then the sink of `rejected` is called again, and this has the row.
        """
        row = self._rows.pop(rejected, None)
        if row is not None:
            return row
        if self._closed or len(self._waiting) >= MAX_WAITING:
            return SUSPECT_TOKEN
        self._waiting.append(rejected)
        if self._timer is None:
            self._timer = self._loop.call_soon(self._send)
        return None

    def close(self) -> None:
        """Ask no more. Questions that wait end as those that are open do, when the pool is closed."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._pool.waiting.extend(self._question(rejected) for rejected in self._waiting)
        self._waiting.clear()

    def _send(self) -> None:
        self._timer = None
        while self._waiting:
            seconds = self._rate.wait()
            if seconds:
                self._timer = self._loop.call_later(seconds, self._send)
                break
            self._pool.waiting.appendleft(self._question(self._waiting.popleft()))
        self._pool.pump()

    def _question(self, rejected: Exchange) -> Exchange:
        message = orjson.loads(rejected.body)["message"]
        target = {name: message[name] for name in ("token", "fid") if name in message}
        body = orjson.dumps({"validate_only": True, "message": target})
        deadline = self._loop.time() + self._timeout
        return request(rejected.template, b"", body, NO_FIELDS, self._on_answered, rejected, deadline)

    def _on_answered(self, questions: list[Exchange]) -> None:
        for question in questions:
            if self._sent_again(question, self._pool):
                continue
            rejected: Exchange = question.context
            self._rows[rejected] = _read(question)
            rejected.sink([rejected])


def _read(question: Exchange) -> Reason:
    """What the response to a question says about the rejection."""
    if question.error is not None:
        return SUSPECT_TOKEN
    if question.status == 200:
        return PUSH_AT_FAULT if message_name(question.data) is not None else SUSPECT_TOKEN
    row = read_error(question.status, question.data).row
    return DEAD_TOKEN if row is SUSPECT_TOKEN or row.verdict is UNREGISTERED else SUSPECT_TOKEN
