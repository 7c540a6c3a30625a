"""RFC 9113, section 6.3: PRIORITY is deprecated, and still has a size and a stream."""

from __future__ import annotations

import pytest

from tests.support import http2 as h
from tests.support.http2 import Dial, UncheckedServer


def test_it_is_ignored(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    exchange = client.request()
    client.feed(h.frame(h.PRIORITY, 0, 1, bytes(4) + b"\xff"), wire.answer(1))
    assert exchange.status == 200


@pytest.mark.parametrize("length", [0, 4, 6, 100])
def test_another_size(dial: Dial, wire: UncheckedServer, length: int) -> None:
    """A length other than 5 octets MUST be treated as a stream error of type FRAME_SIZE_ERROR (h2: connection)."""
    client = dial()
    exchange = client.request()
    client.sent()
    client.feed(h.frame(h.PRIORITY, 0, 1, bytes(length)))
    client.check_stream_error(exchange, h.FRAME_SIZE_ERROR, reference_closes=h.FRAME_SIZE_ERROR)


@pytest.mark.parametrize("length", [0, 4, 6, 100])
@pytest.mark.parametrize("stream_id", [1, 3, 2, 99], ids=["answered", "reset by us", "never ours", "idle"])
def test_another_size_on_a_stream_that_is_not_open(
    dial: Dial, wire: UncheckedServer, stream_id: int, length: int
) -> None:
    """The same; a stream error of a stream that has ended or never began is one of the connection (h2spec 6.3/2)."""
    client = dial()
    client.request()
    cancelled = client.request()
    other = client.request()
    client.feed(wire.answer(1))
    client.connection.cancel(cancelled)
    client.sent()
    client.feed(h.frame(h.PRIORITY, 0, stream_id, bytes(length)))
    client.check_broken(h.FRAME_SIZE_ERROR)
    assert other in client.finished


def test_on_a_stream_that_is_not_open_it_is_ignored(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    client.feed(wire.answer(client.request().stream_id))
    for stream_id in (1, 3, 99):
        client.feed(h.frame(h.PRIORITY, 0, stream_id, bytes(4) + b"\xff"))
    client.check_alive()


def test_we_send_none(dial: Dial) -> None:
    """Nor the priority fields of HEADERS."""
    client = dial()
    for _ in range(5):
        client.request()
    for one in client.sent():
        assert type(one).__name__ != "PriorityFrame"
        assert "PRIORITY" not in one.flags
