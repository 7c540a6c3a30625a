"""RFC 9113, section 10.5: what a server may cost us has a limit, and a breach has a name."""

from __future__ import annotations

import pytest

from pushcore.errors import HeaderListTooLarge
from pushcore.http2 import outgoing as module
from pushcore.http2.connection import Connection
from pushcore.http2.streams import MAX_UNSENT_ACKS, ConnectionState
from tests.support import http2 as h
from tests.support.http2 import Dial, UncheckedServer


def test_continuations_without_end(dial: Dial) -> None:
    """As in CVE-2024-27316: ours end with ENHANCE_YOUR_CALM after 8, h2's with PROTOCOL_ERROR after 64."""
    client = dial()
    client.request()
    client.sent()
    client.feed(h.frame(h.HEADERS, 0, 1, b"\x20"), h.frame(h.CONTINUATION, 0, 1, b"") * 100)
    client.check_broken(h.ENHANCE_YOUR_CALM, reference=h.PROTOCOL_ERROR)


def test_a_header_block_without_end(dial: Dial) -> None:
    """Its compressed bytes are bounded, however few frames they come in."""
    client = dial()
    client.request()
    client.sent()
    piece = h.frame(h.CONTINUATION, 0, 1, bytes(16_384))
    client.feed(h.frame(h.HEADERS, 0, 1, b"\x20"), piece * 5)
    if client.fast:
        client.check_broken(h.ENHANCE_YOUR_CALM)
    else:
        client.check_alive()  # 64 frames are its only limit


def test_a_header_list_above_ours(dial: Dial) -> None:
    """A list above SETTINGS_MAX_HEADER_LIST_SIZE of a peer that we decode: ENHANCE_YOUR_CALM (10.5.1)."""
    client, wire = dial(), UncheckedServer(4096)
    client.request()
    client.sent()
    block = wire.block((":status", "200"), *(("x", "v" * 1000) for _ in range(20)))
    client.feed(h.frame(h.HEADERS, 0x5, 1, block))
    client.check_broken(h.ENHANCE_YOUR_CALM)


def test_a_decompression_bomb(dial: Dial) -> None:
    """One large entry, indexed thousands of times."""
    client, wire = dial(), UncheckedServer(4096)
    client.request()
    client.sent()
    block = wire.block((":status", "200"), ("x", "v" * 3000)) + b"\xbe" * 4000
    client.feed(h.frame(h.HEADERS, 0x5, 1, block))
    client.check_broken(h.ENHANCE_YOUR_CALM)


@pytest.mark.parametrize("asked", [h.ping(), h.settings()], ids=["ping", "settings"])
def test_acknowledgements_that_cannot_be_sent(dial: Dial, asked: bytes) -> None:
    """While the transport takes no more, they would grow without end, even if they are handed over all the time."""
    client = dial()
    client.connection.pause(True)
    client.feed(asked * (MAX_UNSENT_ACKS // 2))
    client.sent()
    client.feed(asked * (MAX_UNSENT_ACKS // 2))
    client.check_alive()
    client.feed(asked)
    assert client.state is ConnectionState.CLOSED
    client.check_broken(h.ENHANCE_YOUR_CALM)


@pytest.mark.slow
@pytest.mark.parametrize("asked", [h.ping(), h.settings()], ids=["ping", "settings"])
def test_acknowledgements_that_can_be_sent(dial: Dial, asked: bytes) -> None:
    """Never the rate of PINGs: Google sends one after every answer."""
    client = dial()
    for _ in range(3):
        client.connection.pause(True)
        client.feed(asked * (MAX_UNSENT_ACKS - 1))
        client.connection.pause(False)
        client.sent()
    client.feed(asked * (2 * MAX_UNSENT_ACKS))
    client.check_alive()


def test_rapid_resets(dial: Dial) -> None:
    """A server that resets everything gets no RST_STREAM back, and leaves no state here."""
    client = dial((h.MAX_STREAMS, 100))
    for _ in range(300):
        exchange = client.request()
        client.sent()
        client.feed(h.rst_stream(exchange.stream_id, h.INTERNAL_ERROR))
        assert client.sent() == []
    assert len(client.finished) == 300
    assert not client.connection.streams


def test_the_memory_of_cancelled_streams_is_bounded(dial: Dial) -> None:
    if not dial.fast or dial.delivery != "whole":
        pytest.skip("of our own codec")
    client = dial()
    assert isinstance(client.connection, Connection)
    for number in range(module.MAX_CANCELLED + 100):
        if number % 90 == 0:
            client.connection.tick(client.now)
            client.now += 1
        exchange = client.request(b"")
        client.connection.cancel(exchange)
        client.opened.clear()
        if number % 1000 == 0:
            client.connection.data_to_send()
    assert len(client.connection._cancelled) <= module.MAX_CANCELLED


def test_requests_larger_than_the_peer_accepts_cost_nothing_but_themselves(
    dial: Dial, wire: UncheckedServer
) -> None:
    client = dial((h.MAX_LIST, 100))
    for _ in range(5):
        assert isinstance(client.request().error, HeaderListTooLarge)
    assert not client.connection.streams
    client.feed(h.settings((h.MAX_LIST, 10_000)))
    exchange = client.request()
    assert not [r for r in wire.requests(client.sent()).values() if r.ended and r.body != b"{}"]
    client.feed(wire.answer(exchange.stream_id))
    assert exchange.status == 200
