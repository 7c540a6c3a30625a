"""What must hold whatever a server sends, checked after every call."""

from __future__ import annotations

from hyperframe.frame import GoAwayFrame, SettingsFrame

from pushcore.http2.blocks import MAX_BLOCK
from pushcore.http2.connection import Connection
from pushcore.http2.streams import GHOST, ConnectionState, Limits
from tests.support import http2 as h
from tests.support.http2 import ClientHarness

LIMITS = Limits(timeout=10.0, receive_window=100_000, max_body=20_000, resets_per_second=3)


class Watched(ClientHarness):
    """A client that counts: each exchange is open, finished or refused, and never two of them (see `collect`)."""

    def __init__(self, engine: str, *, requests: int = 6, warm: bool = True, limits: Limits = LIMITS) -> None:
        super().__init__(engine, "whole", limits)
        self.hushed = False  # whether our GOAWAY for a breach is out
        self.check()
        self.feed(h.settings((h.MAX_STREAMS, 50), (h.INITIAL_WINDOW, 60)))
        if warm:
            self.feed(h.frame(h.HEADERS, 0x5, self.request().stream_id, b"\x20\x88"))
        for number in range(requests):
            self.request(b"x" * (number * 20))  # the last ones do not fit their windows
        self.check()
        if requests > 2:
            self.connection.cancel(self.opened[-2])
            self.opened.remove(self.opened[-2])

    def check(self) -> None:
        self.collect()
        connection = self.connection
        open_now = {id(exchange) for exchange in connection.streams.values() if exchange is not GHOST}
        ended = {id(exchange) for exchange in self.finished + self.refused}
        assert open_now | ended == {id(exchange) for exchange in self.opened}, "an exchange was lost"
        assert not open_now & ended
        assert (GHOST.status, GHOST.data, GHOST.error) == (1, b"-", None)
        for exchange in self.finished:
            assert exchange.error is not None or 200 <= exchange.status < 600
            assert len(exchange.data) <= self.connection.limits.max_body + 16_384
        assert sum(ghost is GHOST for ghost in connection.streams.values()) == len(connection._ghosts)
        assert len(connection._rest) <= 9 + 16_384
        if isinstance(connection, Connection):
            assert len(connection._reader._block or b"") <= MAX_BLOCK + 16_384
            assert (
                set(connection._uploads) <= set(connection.streams)
                or connection.state is ConnectionState.CLOSED
            )
            assert connection.window <= 0x7FFF_FFFF or connection.state is ConnectionState.CLOSED
        closed = connection.state is ConnectionState.CLOSED
        for one in self.sent():
            assert not self.hushed, "something was sent after the last GOAWAY"
            assert one.body_len <= 16_384
            if isinstance(one, SettingsFrame) and "ACK" in one.flags:
                assert not one.settings
            self.hushed = closed and isinstance(one, GoAwayFrame)

    def hear(self, raw: bytes) -> None:
        self.connection.receive(raw, self.now)
        self.check()

    def finish(self) -> None:
        """Time passes, then the connection is lost: now everything must have ended."""
        for second in range(1, 4):
            self.now += 1 / second
            self.connection.tick(self.now)
            self.check()
        self.connection.lost(h.LOST)
        self.check()
        assert not self.connection.streams
        assert len(self.finished) + len(self.refused) == len(self.opened)
