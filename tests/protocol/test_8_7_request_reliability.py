"""RFC 9113, section 8.7: which requests are surely unprocessed and may be sent again, and which are not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest

from pushcore.errors import ConnectionLost
from tests.support import http2 as h
from tests.support.http2 import ClientHarness, Dial, UncheckedServer

End = Callable[[ClientHarness], object]

LOST = ConnectionLost("the cable was cut")


def written(client: ClientHarness) -> None:
    client.request()
    client.sent()


def unwritten(client: ClientHarness) -> None:
    client.sent()
    client.request()


def in_parts(client: ClientHarness) -> None:
    client.feed(h.settings((h.INITIAL_WINDOW, 5)))
    client.request(b"x" * 100)
    client.sent()


def half_answered(client: ClientHarness) -> None:
    client.request()
    client.sent()
    client.feed(h.frame(h.HEADERS, 0x4, 1, b"\x20\x88"))


def lose(client: ClientHarness) -> None:
    client.connection.lost(LOST)


def close(client: ClientHarness) -> None:
    client.connection.close()


def go_away_and_lose(client: ClientHarness) -> None:
    client.feed(h.goaway(1))
    lose(client)


CASES: list[tuple[Callable[[ClientHarness], None], End, bool]] = [
    (written, lose, False),
    (written, close, False),
    (written, lambda client: client.feed(h.rst_stream(1, h.REFUSED_STREAM)), True),
    (written, lambda client: client.feed(h.rst_stream(1, h.CANCEL)), False),
    (written, lambda client: client.feed(h.rst_stream(1, h.NO_ERROR)), False),
    (written, lambda client: client.feed(h.goaway(0)), True),
    (written, lambda client: client.feed(h.goaway(0, h.INTERNAL_ERROR)), True),
    (written, go_away_and_lose, False),
    (written, lambda client: client.feed(b"\xff" * 9), False),
    (unwritten, lose, True),
    (unwritten, close, True),
    (unwritten, lambda client: client.feed(b"\xff" * 9), True),
    (unwritten, lambda client: client.feed(h.goaway(0)), True),
    (unwritten, go_away_and_lose, True),
    (in_parts, lose, True),  # its end was never sent, so that it is malformed to the server
    (in_parts, close, True),
    (in_parts, lambda client: client.feed(h.rst_stream(1, h.REFUSED_STREAM)), True),
    (in_parts, lambda client: client.feed(h.rst_stream(1, h.CANCEL)), False),
    (in_parts, lambda client: client.feed(h.goaway(0)), True),
    (half_answered, lose, False),
    (half_answered, close, False),
    (half_answered, lambda client: client.feed(h.rst_stream(1, h.REFUSED_STREAM)), False),
    (half_answered, lambda client: client.feed(h.goaway(0)), False),
]


@pytest.mark.parametrize(("prepare", "end", "unprocessed"), CASES)
def test_refused_or_of_unknown_fate(
    dial: Dial, prepare: Callable[[ClientHarness], None], end: End, unprocessed: bool
) -> None:
    """Only requests that the server has surely not processed may be retried automatically."""
    client = dial()
    prepare(client)
    end(client)
    client.collect()
    assert (len(client.refused), len(client.finished)) == ((1, 0) if unprocessed else (0, 1))
    (exchange,) = client.refused + client.finished
    assert exchange.error is not None
    assert exchange.error.unprocessed is unprocessed


def test_a_refused_request_is_taken_again_as_if_new(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    exchange = client.request()
    client.sent()
    client.feed(h.rst_stream(1, h.REFUSED_STREAM))
    assert client.refused == [exchange]
    exchange.restart()
    client.refused.clear()
    client.connection.take(deque([exchange]))
    assert exchange.stream_id == 3
    assert exchange.attempts == 2
    client.feed(wire.answer(3, 200, b"{}"))
    assert (exchange.status, exchange.data, exchange.error) == (200, b"{}", None)
