"""What both kinds of HTTP/2 connections share: responses when they are due, by one queue and one timer, and back-pressure."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count

from fakeservers.serving.faulty_connection import FaultyConnection
from fakeservers.serving.latency import Latency
from fakeservers.serving.types import Answer

TIMER_GRAIN = 0.001
"""Seconds: the resolution of event loops; a shorter timer gains nothing."""


class DelayedConnection(FaultyConnection):
    """A connection that sends responses when they are due."""

    def __init__(self, latency: Latency) -> None:
        self._latency = latency
        # A heap, by due time, then by order of requests.
        self._due: list[tuple[float, int, Sequence[Answer], float]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    @property
    def certificate(self) -> bytes | None:
        """The client's certificate in DER, verified against the server's CA; None when it sent none."""
        tls: ssl.SSLObject = self._transport.get_extra_info("ssl_object")
        return tls.getpeercert(True)

    def after(self, seconds: float, answers: Sequence[Answer]) -> None:
        """Send these responses after this number of seconds. Those whose streams are closed by then are skipped."""
        now = time.monotonic()
        self._at(now + seconds, answers, now)

    def give(self, answers: Sequence[Answer]) -> None:
        """Send these responses at once."""
        self._answer(answers)
        self._flush_soon()

    def abort(self) -> None:
        """Cut the connection: no GOAWAY, no close_notify; queued bytes are discarded."""
        self._closing = True
        self._transport.abort()

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def _answer(self, answers: Sequence[Answer]) -> None:
        """Send these responses."""
        raise NotImplementedError

    def _flush(self) -> None:
        """Send what is queued."""
        raise NotImplementedError

    def _flush_soon(self) -> None:
        """Send what is queued at the end of this loop tick."""
        raise NotImplementedError

    def _write_waiting(self) -> None:
        self._flush()

    def _at(self, due: float, answers: Sequence[Answer], arrived: float) -> None:
        heappush(self._due, (due, next(self._order), answers, arrived))
        if self._timer is None or due < self._timer_at:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._due[0][0]
        wait = max(self._timer_at - time.monotonic(), TIMER_GRAIN)
        self._timer = asyncio.get_running_loop().call_later(wait, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        horizon = time.monotonic() + TIMER_GRAIN / 2
        while self._due and not self._closing and self._due[0][0] <= horizon:
            _, _, answers, arrived = heappop(self._due)
            self._answer(answers)
            self._latency.add(time.monotonic() - arrived, len(answers))
        self._flush()
        if self._due and not self._closing:
            self._arm()

    def _stop_answering(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due.clear()
