"""Our own codec: every state of a stream with every input, by a table; and what one request costs.

The protocol's rules are tested with both engines in `tests/protocol`.
"""

from __future__ import annotations

import sys
from collections import deque
from types import FrameType

import pytest

from pushcore.errors import ProtocolError, ResponseTooLarge, StreamReset
from pushcore.http2.connection import Connection
from pushcore.http2.exchange import Exchange, request
from pushcore.http2.streams import ConnectionState, Limits
from tests.support import http2 as h
from tests.support.http2 import DELIVERIES, ClientHarness

SITUATIONS = ("idle", "open", "begun", "upload", "ghost", "cancelled", "reset", "ended")

# .  nothing happens to anything            F  the exchange is finished, complete
# E  stream error: finished, RST_STREAM     X  finished: the peer has reset it
# R  refused: may be sent again             G  the ghost's slot is free
# P  connection error PROTOCOL_ERROR        S  connection error STREAM_CLOSED
# Z  connection error FRAME_SIZE_ERROR
BREACHES = {"P": h.PROTOCOL_ERROR, "S": h.STREAM_CLOSED, "Z": h.FRAME_SIZE_ERROR}
TABLE: dict[str, tuple[bytes, str]] = {
    #                  frame                                             idle open begun upload ghost cancelled reset ended
    "headers": (h.frame(h.HEADERS, 0x4, 1, b"\x88"), "P.E..." + "SS"),
    "headers, end": (h.frame(h.HEADERS, 0x5, 1, b"\x88"), "PFEFG." + "SS"),
    "trailers": (h.frame(h.HEADERS, 0x5, 1, b"\x00\x01x\x01y"), "PEFEG." + "SS"),
    "headers, interim": (h.frame(h.HEADERS, 0x4, 1, b"\x48\x03103"), "P.E..." + "SS"),
    "headers, no status": (h.frame(h.HEADERS, 0x4, 1, b"\x5f\x01x"), "PEEE.." + "SS"),
    "data": (h.data(1, b"x", 0), "PE.E.." + "SS"),
    "data, end": (h.data(1, b"x"), "PEFEG." + "SS"),
    "data, empty": (h.data(1, b"", 0), "PE.E.." + "SS"),
    "data, padded": (h.data(1, b"\x01x\x00", 0x8 | 0x1), "PEFEG." + "SS"),
    "reset": (h.rst_stream(1, h.CANCEL), "PXXXG..."),
    "reset, refused": (h.rst_stream(1, h.REFUSED_STREAM), "PRXRG..."),
    "window": (h.window_update(1, 1), "P......."),
    "window, zero": (h.window_update(1, 0), "PEEEG..."),
    "window, overflow": (h.window_update(1, 0x7FFF_FFFF), "PEE.G..."),
    "priority": (h.frame(h.PRIORITY, 0, 1, bytes(5)), "........"),
    "priority, short": (h.frame(h.PRIORITY, 0, 1, bytes(4)), "ZEEEGZZZ"),
    "continuation": (h.frame(h.CONTINUATION, 0x4, 1, b"\x88"), "P" * 8),
    "push promise": (h.frame(h.PUSH_PROMISE, 0x4, 1, bytes(4)), "P" * 8),
    "settings": (h.frame(h.SETTINGS, 0, 1), "P" * 8),
    "ping": (h.frame(h.PING, 0, 1, bytes(8)), "P" * 8),
    "goaway": (h.frame(h.GOAWAY, 0, 1, bytes(8)), "P" * 8),
    "unknown": (h.frame(0xBB, 0xFF, 1, b"x"), "........"),
}


def prepare(client: ClientHarness, situation: str) -> Exchange | None:
    """Bring stream 1 there. All other ids stay idle."""
    if situation == "idle":
        return None
    exchange = client.request(b"12345" if situation == "upload" else b"1")
    client.sent()
    match situation:
        case "begun":
            client.feed(h.frame(h.HEADERS, 0x4, 1, b"\x88"))
        case "ghost":
            client.connection._reset_budget = 0
            client.connection.cancel(exchange)
        case "cancelled":
            client.connection.cancel(exchange)
        case "reset":
            client.feed(h.rst_stream(1, h.INTERNAL_ERROR))
        case "ended":
            client.feed(h.frame(h.HEADERS, 0x5, 1, b"\x88"))
    client.sent()
    client.finished.clear()
    client.opened.clear() if situation in ("reset", "ended") else None
    return exchange


def codec(client: ClientHarness) -> Connection:
    assert isinstance(client.connection, Connection)
    return client.connection


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize(
    "state",
    [ConnectionState.WAITING, ConnectionState.OPEN, ConnectionState.DRAINING, ConnectionState.CLOSED],
    ids=lambda state: state.name,
)
@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("event", TABLE)
def test_every_state_and_every_input(
    event: str, situation: str, state: ConnectionState, delivery: str
) -> None:
    raw, row = TABLE[event]
    outcome = row[SITUATIONS.index(situation)]
    client = ClientHarness("fast", delivery)
    client.sent()
    if state is ConnectionState.WAITING:
        if situation != "idle":
            return  # there are no streams yet
        client.feed(raw)
        client.check_broken(h.PROTOCOL_ERROR)
        return
    client.feed(h.settings((h.INITIAL_WINDOW, 3)))
    connection = codec(client)
    connection._reader._first = False  # as after an obedient peer's first answer: the fast branch is open
    connection._update_fast()
    exchange = prepare(client, situation)
    if state is ConnectionState.DRAINING:
        client.feed(h.goaway(0x7FFF_FFFF))
    if state is ConnectionState.CLOSED:
        client.connection.close()
        client.collect()
        client.sent()
        ended = len(client.finished), len(client.refused)
        client.feed(raw)
        assert (len(client.finished), len(client.refused)) == ended
        assert client.sent() == []
        return
    before = client.open_ids()
    client.feed(raw)
    if outcome in BREACHES:
        live = situation in ("open", "begun", "upload")
        assert len(client.finished + client.refused) == live
        client.check_broken(BREACHES[outcome])
        return
    assert client.state is state
    resets = [(one.stream_id, one.error_code) for one in h.only(client.sent(), "RST_STREAM")]
    assert client.refused == ([exchange] if outcome == "R" else [])
    assert client.finished == ([exchange] if outcome in "FEX" else [])
    assert client.open_ids() == (before if outcome == "." else [])
    if outcome == ".":
        assert resets == []
    if exchange is None or outcome == ".":
        return
    match outcome:
        case "F":
            assert exchange.error is None
            assert resets == ([(1, h.NO_ERROR)] if situation == "upload" else [])
        case "E":
            assert isinstance(exchange.error, ProtocolError)
            assert resets == [(1, exchange.error.code)]
        case "X" | "R":
            assert isinstance(exchange.error, StreamReset)
            assert resets == []
        case "G":
            assert client.connection.idle
    client.tick(client.now)
    if state is ConnectionState.OPEN:
        number = client.request(b"").stream_id
        client.feed(h.frame(h.HEADERS, 0x5, number, b"\x88"))
        assert client.finished[-1].status == 200


@pytest.mark.parametrize("number", [0, 2, 0x7FFF_FFFE])
@pytest.mark.parametrize("event", [name for name, (_, row) in TABLE.items() if row[0] == "P"])
def test_the_same_on_streams_of_the_server(event: str, number: int) -> None:
    raw = bytearray(TABLE[event][0])
    if (not number and raw[3] in (h.SETTINGS, h.PING, h.GOAWAY)) or (not number and "window" in event):
        return
    raw[5:9] = number.to_bytes(4, "big")
    client = ClientHarness()
    client.sent()
    client.feed(h.settings())
    client.request()
    client.sent()
    client.feed(bytes(raw))
    client.check_broken(h.PROTOCOL_ERROR)


# --- the fast branch and the slow one say the same ----------------------------------------------------------------


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("body", [None, b"", b"{}", b"x" * 16_384])
@pytest.mark.parametrize(
    "head",
    [*(bytes((each,)) for each in [0x88, 0x8C, 0x8E]), b"\x48\x03410", b"\x08\x82\x68\x20", b"\x18\x03503"],
    ids=bytes.hex,
)
def test_fast_and_slow(delivery: str, body: bytes | None, head: bytes) -> None:
    seen = []
    for fast in (True, False):
        client = ClientHarness("fast", delivery)
        client.feed(h.settings())
        connection = codec(client)
        connection._reader._first = False
        connection._update_fast()
        if not fast:
            connection._uploads[99] = None  # type: ignore[assignment]  # anything there switches the quick way off
            connection._update_fast()
        exchange = client.request()
        block = head + b"\x0f\x2f\x03abc"
        if body is None:
            client.feed(h.frame(h.HEADERS, 0x5, 1, block))
        else:
            client.feed(h.frame(h.HEADERS, 0x4, 1, block), h.data(1, body))
        assert client.finished == [exchange]
        seen.append(
            (exchange.status, exchange.header_block, exchange.data, connection._credit, connection._consumed)
        )
    assert seen[0] == seen[1]


def test_a_cancelled_upload_does_not_open_the_fast_branch_inside_a_header_block() -> None:
    client = ClientHarness()
    client.feed(h.settings((h.INITIAL_WINDOW, 3)))
    client.feed(h.frame(h.HEADERS, 0x5, client.request().stream_id, b"\x20\x88"))
    upload, *others = client.request(b"12345"), client.request(), client.request()
    client.sent()
    client.feed(h.frame(h.HEADERS, h.END_STREAM, others[0].stream_id, b"\x88"))
    client.connection.cancel(upload)
    client.feed(h.frame(h.HEADERS, 0x5, others[1].stream_id, b"\x88"))
    client.check_broken(h.PROTOCOL_ERROR)


# --- what it costs ------------------------------------------------------------------------------------------------


def calls(in_flight: int, requests: int = 200) -> tuple[int, int]:
    """Function calls, ours and built-in, for so many requests and their answers, with so many others open."""
    connection = Connection(Limits(), 0.0)
    connection.receive(
        h.settings((h.MAX_STREAMS, 5000), (h.INITIAL_WINDOW, 1 << 20)) + h.window_update(0, 1 << 30), 0.0
    )
    warm = ClientHarness()
    warm.connection = connection
    for number in range(in_flight - 1 + 3):
        warm.request()
        if number < 3:
            connection.receive(h.frame(h.HEADERS, 0x5, 2 * number + 1, b"\x20\x88"[number > 0 :]), 0.0)
    connection.data_to_send()
    connection.finished.clear()
    assert len(connection.streams) == in_flight - 1
    exchanges = [request(h.TEMPLATE, warm.opened[0].path, b"{}", (), print) for _ in range(requests)]
    first = connection.next_id
    answers = [h.frame(h.HEADERS, 0x5, first + 2 * number, b"\x88") for number in range(requests)]
    count = 0

    def profile(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        connection.take(deque(exchanges))
        opened, count = count, 0
        for answer in answers:
            connection.receive(answer, 0.0)
    finally:
        sys.setprofile(None)
    assert len(connection.finished) == requests
    return opened, count


def test_a_request_costs_the_same_with_1_and_1000_in_flight() -> None:
    alone, crowded = calls(1), calls(1000)
    assert alone == crowded
    opened, received = alone
    assert opened <= 5 * 200 + 10, "take() of a warm template has become more expensive"
    assert received / 200 <= 9, "receive() of a plain answer has become more expensive"


def test_answers_in_one_read_share_its_cost() -> None:
    """Two calls an answer, pop and append, however many come together: a run is unpacked at once."""
    connection = Connection(Limits(), 0.0)
    client = ClientHarness()
    client.connection = connection
    client.feed(h.settings((h.MAX_STREAMS, 5000)))
    for _ in range(1001):
        client.request(b"")
    client.feed(h.frame(h.HEADERS, 0x5, 1, b"\x20\x88"))
    raw = b"".join(h.frame(h.HEADERS, 0x5, 2 * number + 3, b"\x88") for number in range(1000))
    count = 0

    def profile(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        connection.receive(raw, 0.0)
    finally:
        sys.setprofile(None)
    assert len(connection.finished) == 1000
    assert count <= 2 * 1000 + 50


def test_nothing_is_kept_of_what_is_over() -> None:
    client = ClientHarness()
    client.feed(h.settings((h.MAX_STREAMS, 100)))
    client.feed(h.frame(h.HEADERS, 0x5, client.request().stream_id, b"\x20\x88"))
    connection = codec(client)
    for _ in range(500):
        exchange = client.request(b"")
        client.feed(h.frame(h.HEADERS, 0x4, exchange.stream_id, b"\x88"), h.data(exchange.stream_id, b"x"))
        client.sent()
    assert not connection.streams
    assert not connection._uploads
    assert not connection._cancelled
    assert not connection._out
    assert not connection._rest


# --- limits, to the byte ------------------------------------------------------------------------------------------


def fast(limits: Limits | None = None) -> ClientHarness:
    """A connection that has read a response, and so reads the next ones inside the scan."""
    client = ClientHarness(limits=limits)
    client.sent()
    client.feed(h.settings((h.MAX_STREAMS, 1000)))
    client.feed(h.frame(h.HEADERS, 0x5, client.request(b"").stream_id, b"\x20\x88"))
    client.sent()
    assert codec(client)._fast
    return client


def test_credit_is_given_back_at_half_of_the_window() -> None:
    client = fast(Limits(receive_window=131_068))
    exchange = client.request()
    client.sent()
    client.feed(h.frame(h.HEADERS, 0x4, exchange.stream_id, b"\x88"))
    for size in (16_384, 16_384, 16_384, 16_381):
        client.feed(h.data(exchange.stream_id, b"x" * size, 0))
        assert client.sent() == []
    client.feed(h.data(exchange.stream_id, b"x", 0))
    (update,) = client.sent()
    assert (update.stream_id, update.window_increment) == (0, 65_534)
    assert (codec(client)._credit, codec(client)._consumed) == (131_068, 0)


@pytest.mark.parametrize("excess", [0, 1])
@pytest.mark.parametrize("end", [0, h.END_STREAM])
def test_the_peer_may_use_the_whole_window_and_no_byte_more(excess: int, end: int) -> None:
    client = fast(Limits(receive_window=65_535))
    exchange = client.request()
    client.sent()
    sizes = (16_384, 16_384, 16_384)
    last = 65_535 - sum(sizes) + excess
    head = h.frame(h.HEADERS, 0x4, exchange.stream_id, b"\x88")
    bodies = [h.data(exchange.stream_id, b"x" * size, 0) for size in sizes]
    client.feed(head, *bodies, h.data(exchange.stream_id, b"x" * last, end))
    if excess:
        client.check_broken(h.FLOW_CONTROL_ERROR)
    else:
        client.check_alive()
        assert len(exchange.data) == 65_535


@pytest.mark.parametrize("kind", [h.HEADERS, 0xBB, 0xFF])
def test_a_frame_may_have_16384_bytes(kind: int) -> None:
    client = fast()
    exchange = client.request()
    block = b"\x88" + b"\x0f\x2f\x7f" + b"\x80\x7f" + b"v" * (16_384 - 6)  # a value of 16 378 bytes or more
    client.feed(h.frame(kind, 0x5, exchange.stream_id, block[:16_384]))
    client.check_alive()
    assert client.finished[1:] == ([exchange] if kind == h.HEADERS else [])
    client.feed(h.frame(kind, 0x5, exchange.stream_id, bytes(16_385)))
    client.check_broken(h.FRAME_SIZE_ERROR)


def test_responses_are_read_in_the_scan_again_when_a_body_has_left() -> None:
    client = fast()
    client.feed(h.settings((h.INITIAL_WINDOW, 3)))
    exchange = client.request(b"12345")
    assert not codec(client)._fast
    client.feed(h.window_update(exchange.stream_id, 2))
    assert codec(client)._fast


@pytest.mark.parametrize(("max_body", "expected"), [(16_384, True), (16_383, False)])
def test_bodies_that_may_be_too_large_are_not_read_in_the_scan(max_body: int, expected: bool) -> None:
    client = ClientHarness(limits=Limits(max_body=max_body))
    client.feed(h.settings())
    client.feed(h.frame(h.HEADERS, 0x5, client.request().stream_id, b"\x20\x88"))
    assert codec(client)._fast is expected


@pytest.mark.parametrize("excess", [0, 1])
def test_a_body_may_have_as_many_bytes_as_the_limit(excess: int) -> None:
    client = ClientHarness(limits=Limits(max_body=100))
    client.feed(h.settings())
    exchange = client.request()
    client.sent()
    client.feed(h.frame(h.HEADERS, 0x4, exchange.stream_id, b"\x20\x88"))
    client.feed(h.data(exchange.stream_id, b"x" * (100 + excess)))
    assert client.finished == [exchange]
    if excess:
        assert isinstance(exchange.error, ResponseTooLarge)
        assert "100 bytes" in str(exchange.error)
        resets = h.only(client.sent(), "RST_STREAM")
        assert [reset.error_code for reset in resets] == [h.FLOW_CONTROL_ERROR]
    else:
        assert exchange.error is None


def test_a_body_without_its_end_may_leave_one_byte() -> None:
    client = ClientHarness(limits=Limits(max_body=100))
    client.feed(h.settings())
    exchange = client.request()
    client.sent()
    client.feed(
        h.frame(h.HEADERS, 0x4, exchange.stream_id, b"\x20\x88"), h.data(exchange.stream_id, b"x" * 99, 0)
    )
    assert client.finished == []
    client.feed(h.data(exchange.stream_id, b"x"))
    assert (client.finished, exchange.error, len(exchange.data)) == ([exchange], None, 100)


def test_a_body_that_uses_its_window_up_without_an_end_is_too_large() -> None:
    client = ClientHarness(limits=Limits(max_body=100))
    client.feed(h.settings())
    exchange = client.request()
    client.sent()
    client.feed(
        h.frame(h.HEADERS, 0x4, exchange.stream_id, b"\x20\x88"), h.data(exchange.stream_id, b"x" * 100, 0)
    )
    assert isinstance(exchange.error, ResponseTooLarge)
    assert [reset.error_code for reset in h.only(client.sent(), "RST_STREAM")] == [h.CANCEL]


@pytest.mark.parametrize("excess", [0, 1])
def test_a_peer_that_does_not_read_may_ask_for_1000_acknowledgements(excess: int) -> None:
    client = ClientHarness()
    client.connection.pause(True)
    client.feed(h.settings(), *[h.ping()] * (999 + excess))
    if excess:
        client.check_broken(h.ENHANCE_YOUR_CALM)
    else:
        client.check_alive()


@pytest.mark.parametrize("size", [4, 5])
def test_headers_may_consist_of_their_priority_fields(size: int) -> None:
    client = fast()
    exchange = client.request()
    client.sent()
    client.feed(h.frame(h.HEADERS, 0x5 | h.PRIORITY_FLAG, exchange.stream_id, bytes(size)))
    if size < 5:
        client.check_broken(h.FRAME_SIZE_ERROR)
    else:
        client.check_stream_error(exchange, h.PROTOCOL_ERROR)  # an empty block has no status
