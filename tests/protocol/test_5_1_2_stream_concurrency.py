"""RFC 9113, section 5.1.2: SETTINGS_MAX_CONCURRENT_STREAMS."""

from __future__ import annotations

import pytest

from tests.support import http2 as h
from tests.support.http2 import Dial, HonestServer, UncheckedServer, converse


def fill(client: h.ClientHarness) -> int:
    count = 0
    while count < 2000 and client.offer() is not None:
        count += 1
    return count


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0, 1, 2, 100, 1000])
def test_no_more_than_the_limit(dial: Dial, wire: UncheckedServer, limit: int) -> None:
    """Endpoints MUST NOT exceed the limit set by their peer."""
    client = dial((h.MAX_STREAMS, limit))
    assert fill(client) == limit
    assert len(wire.requests(client.sent())) == limit


@pytest.mark.slow
def test_without_a_limit_there_is_none(dial: Dial) -> None:
    assert fill(dial((h.INITIAL_WINDOW, 1))) == 2000


def test_an_answer_frees_its_slot(dial: Dial, wire: UncheckedServer) -> None:
    client = dial((h.MAX_STREAMS, 2))
    assert fill(client) == 2
    client.feed(wire.headers(1, (":status", "200"), flags=h.END_HEADERS))
    assert client.offer() is None  # half an answer frees nothing
    client.feed(h.data(1))
    assert fill(client) == 1
    client.feed(h.rst_stream(3, h.INTERNAL_ERROR))
    assert fill(client) == 1


@pytest.mark.slow
def test_raised_in_flight(dial: Dial, wire: UncheckedServer) -> None:
    """As APNs does: 1 until the first authenticated answer."""
    client = dial((h.MAX_STREAMS, 1))
    assert client.connection.throttled
    assert fill(client) == 1
    client.feed(h.settings((h.MAX_STREAMS, 1000)), wire.answer(1))
    assert not client.connection.throttled
    assert fill(client) == 1000


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_lowered_in_flight(dial: Dial, wire: UncheckedServer, limit: int) -> None:
    """With more streams open than a lowered limit allows, none is opened until enough of them have ended."""
    client = dial((h.MAX_STREAMS, 5))
    assert fill(client) == 5
    client.sent()
    client.feed(h.settings((h.MAX_STREAMS, limit)))
    assert client.connection.throttled
    for number in range(5):
        client.feed(wire.answer(2 * number + 1))
        left = 4 - number
        assert fill(client) == max(0, limit - left) or limit > left
    assert all(exchange.error is None for exchange in client.finished)
    client.check_alive()


def test_a_limit_of_0_and_up_again(dial: Dial) -> None:
    client = dial((h.MAX_STREAMS, 0))
    assert fill(client) == 0
    client.feed(h.settings((h.MAX_STREAMS, 3)))
    assert fill(client) == 3


def test_an_honest_server_sees_no_more_than_it_allows(dial: Dial) -> None:
    client, server = dial(started=False), HonestServer({h.MAX_STREAMS: 7})
    converse(client, server)
    answered = 0
    while answered < 50:
        fill(client)
        converse(client, server)  # h2 raises TooManyStreamsError if we break the rule
        open_now = list(client.connection.streams)
        assert len(open_now) == 7
        for stream_id in open_now[:3]:
            server.answer(stream_id, 200)
            answered += 1
        converse(client, server)
    assert len(client.finished) == answered


def test_a_reset_stream_does_not_count(dial: Dial) -> None:
    """Streams that are closed do not count, however they were closed."""
    client = dial((h.MAX_STREAMS, 1))
    for _ in range(5):
        client.connection.cancel(client.request())
    assert client.offer() is not None
