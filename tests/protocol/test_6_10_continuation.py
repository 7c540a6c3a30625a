"""RFC 9113, section 6.10: CONTINUATION, and what may stand between the frames of a header block: nothing."""

from __future__ import annotations

import itertools

import pytest

from pushcore.http2.exchange import header_of
from tests.support import http2 as h
from tests.support.http2 import Dial, UncheckedServer


def split(stream_id: int, block: bytes, cuts: list[int], end_stream: bool = True) -> bytes:
    edges = [0, *cuts, len(block)]
    pieces = [block[start:end] for start, end in itertools.pairwise(edges)]
    frames = [h.frame(h.HEADERS, 0x1 if end_stream else 0, stream_id, pieces[0])]
    frames += [h.frame(h.CONTINUATION, 0, stream_id, piece) for piece in pieces[1:-1]]
    return b"".join([*frames, h.frame(h.CONTINUATION, h.END_HEADERS, stream_id, pieces[-1])])


@pytest.mark.parametrize("cuts", [[0], [1], [2], [5], [1, 2, 3], [0, 0, 0, 0], [3, 3, 9, 9]])
@pytest.mark.parametrize("table", [0, 4096], ids=["stateless", "eager"])
@pytest.mark.parametrize("end_stream", [True, False])
def test_a_block_in_several_frames(dial: Dial, cuts: list[int], table: int, end_stream: bool) -> None:
    client, wire = dial(), UncheckedServer(table)
    for _ in range(2):
        exchange = client.request()
        block = wire.block((":status", "410"), ("apns-id", "ABC"), ("x-more", "y"))
        client.feed(split(exchange.stream_id, block, cuts, end_stream))
        if not end_stream:
            assert client.finished.count(exchange) == 0
            client.feed(h.data(exchange.stream_id, b"{}"))
        assert (exchange.status, exchange.error) == (410, None)
        assert header_of(exchange.header_block, b"apns-id") == "ABC"


def test_a_padded_start_with_priority(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    exchange = client.request()
    block = wire.block((":status", "200"))
    start = b"\x03" + bytes(5) + block[:1] + bytes(3)
    client.feed(
        h.frame(h.HEADERS, h.PADDED | h.PRIORITY_FLAG | h.END_STREAM, 1, start),
        h.frame(h.CONTINUATION, h.END_HEADERS, 1, block[1:]),
    )
    assert exchange.status == 200


@pytest.mark.parametrize(
    "between",
    [
        h.ping(),
        h.settings(),
        h.SETTINGS_ACK,
        h.window_update(0, 1),
        h.data(1),
        h.goaway(9),
        h.rst_stream(1, 0),
        h.frame(h.HEADERS, 5, 1, b"\x88"),
        h.frame(h.CONTINUATION, 4, 3, b""),
        h.frame(0xEE, 0, 0, b""),
        h.frame(0xEE, 0, 1, b""),
    ],
    ids=[
        "ping",
        "settings",
        "ack",
        "window",
        "data",
        "goaway",
        "reset",
        "headers",
        "other",
        "unknown",
        "unknown-1",
    ],
)
def test_nothing_may_interrupt_a_block(dial: Dial, between: bytes) -> None:
    """Any other frame, or one of another stream, MUST be treated as a connection error of type PROTOCOL_ERROR."""
    client = dial()
    one, two = client.request(), client.request()
    client.sent()
    client.feed(h.frame(h.HEADERS, h.END_STREAM, 1, b"\x20\x88"), between, h.frame(h.CONTINUATION, 4, 1))
    client.check_broken(h.PROTOCOL_ERROR)
    assert client.finished == [one, two]


@pytest.mark.parametrize("stream_id", [1, 3, 5])
def test_without_a_block(dial: Dial, wire: UncheckedServer, stream_id: int) -> None:
    """CONTINUATION that no HEADERS without END_HEADERS precedes is a connection error of type PROTOCOL_ERROR.

    python-hyper/h2 looks at the state of the stream first.
    """
    client = dial()
    client.feed(wire.answer(client.request().stream_id))
    client.request()
    client.sent()
    client.feed(h.frame(h.CONTINUATION, h.END_HEADERS, stream_id, b"\x88"))
    client.check_broken(h.PROTOCOL_ERROR, reference=h.STREAM_CLOSED if stream_id == 1 else None)


def test_the_fast_way_is_found_again_afterwards(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    for _ in range(3):
        one, two = client.request(), client.request()
        client.feed(
            split(one.stream_id, wire.block((":status", "200")), [0]), wire.answer(two.stream_id, 404, b"x")
        )
        assert (one.status, two.status, two.data) == (200, 404, b"x")


def test_trailers_in_several_frames(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    exchange = client.request()
    client.feed(wire.headers(1, (":status", "200"), flags=h.END_HEADERS), h.data(1, b"body", 0))
    client.feed(split(1, wire.block(("grpc-status", "0")), [2]))
    assert (exchange.status, exchange.data, exchange.error) == (200, b"body", None)
