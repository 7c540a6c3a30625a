"""RFC 9113, sections 6.9.2 and 6.9.3: the initial window of streams, and its changes while bodies are in parts."""

from __future__ import annotations

import pytest
from ngh2 import Configuration, Connection, DataReceived, Role, StreamReset

from tests.support import http2 as h
from tests.support.http2 import ClientHarness, Dial, HonestServer, UncheckedServer, converse

BODY = bytes(range(256)) * 10


def pieces(client: ClientHarness, stream_id: int = 1) -> list[bytes]:
    return [one.data for one in h.only(client.sent(), "DATA") if one.stream_id == stream_id]


@pytest.mark.parametrize("window", [0, 1, 1000, 2559, 2560, 2561])
def test_a_body_goes_out_as_credit_arrives(dial: Dial, wire: UncheckedServer, window: int) -> None:
    client = dial((h.INITIAL_WINDOW, window))
    exchange = client.request(BODY)
    received = b"".join(pieces(client))
    assert received == BODY[:window]
    while len(received) < len(BODY):
        client.feed(h.window_update(1, 700))
        part = b"".join(pieces(client))
        assert len(part) == min(700, len(BODY) - len(received))
        received += part
    assert received == BODY
    client.feed(wire.answer(1))
    assert (exchange.status, exchange.error) == (200, None)


@pytest.mark.parametrize("first", [(h.INITIAL_WINDOW, 1000), (h.MAX_FRAME, 20_000)])
def test_a_window_holds_for_ready_made_requests_too(
    dial: Dial, wire: UncheckedServer, first: tuple[int, int]
) -> None:
    """A block that is ready-made and a body that would fit a frame: the quick way out must look at the window."""
    client = dial(first)
    for _ in range(4):
        client.feed(wire.answer(client.request(b"x").stream_id))
    client.sent()
    client.feed(h.settings((h.INITIAL_WINDOW, 1000)))
    for size in (999, 1000, 1001, 2000):
        exchange = client.request(BODY[:size])
        assert b"".join(pieces(client, exchange.stream_id)) == BODY[: min(size, 1000)]
    client.feed(h.settings((h.INITIAL_WINDOW, 2)))
    exchange = client.request(b"abc")
    assert pieces(client, exchange.stream_id) == [b"ab"]


def test_end_stream_is_on_the_last_piece_alone(dial: Dial) -> None:
    client = dial((h.INITIAL_WINDOW, 1000))
    client.request(BODY)
    client.feed(h.window_update(1, 1000), h.window_update(1, 1000))
    ends = ["END_STREAM" in one.flags for one in h.only(client.sent(), "DATA")]
    assert ends == [False, False, True]


@pytest.mark.parametrize("window", [0, 1, 1000])
def test_an_honest_server_reads_every_body(dial: Dial, window: int) -> None:
    client, server = dial(started=False), HonestServer({h.INITIAL_WINDOW: window})
    server.consumed = lambda stream_id, length: None  # type: ignore[method-assign]  # the server gives no credit back
    converse(client, server)
    exchanges = [client.request(BODY[: 100 * size]) for size in range(6)]
    converse(client, server)
    for _ in range(30):
        for stream_id, request in server.requests.items():
            if not request.ended:
                server.h2.increment_flow_control_window(100, stream_id)
        converse(client, server)
    for exchange in exchanges:
        assert server.requests[exchange.stream_id].body == exchange.body
        assert server.requests[exchange.stream_id].ended
        server.answer(exchange.stream_id, 200)
    converse(client, server)
    assert client.finished == exchanges
    assert all(exchange.error is None for exchange in exchanges)


def test_a_raised_window_goes_on_with_all_bodies(dial: Dial) -> None:
    client = dial((h.INITIAL_WINDOW, 10))
    client.request(BODY)
    client.request(BODY)
    client.sent()
    client.feed(h.settings((h.INITIAL_WINDOW, 100)))
    sent = h.only(client.sent(), "DATA")
    assert [(one.stream_id, len(one.data)) for one in sent] == [(1, 90), (3, 90)]


def test_a_lowered_window_may_become_negative(dial: Dial) -> None:
    """A sender MUST track the negative window and MUST NOT send until it becomes positive."""
    client = dial((h.INITIAL_WINDOW, 1000))
    client.request(BODY)
    assert sum(map(len, pieces(client))) == 1000
    client.feed(h.settings((h.INITIAL_WINDOW, 200)))  # -800
    assert pieces(client) == []
    client.feed(h.window_update(1, 800))  # 0
    assert pieces(client) == []
    client.feed(h.window_update(1, 1))
    assert pieces(client) == [BODY[1000:1001]]
    client.feed(h.settings((h.INITIAL_WINDOW, 300)))
    assert pieces(client) == [BODY[1001:1101]]


def test_a_change_holds_for_new_streams_too(dial: Dial) -> None:
    client = dial((h.INITIAL_WINDOW, 5))
    client.feed(h.settings((h.INITIAL_WINDOW, 7)))
    client.request(BODY)
    assert pieces(client) == [BODY[:7]]


def test_it_does_not_change_the_connections_window(dial: Dial) -> None:
    """A SETTINGS frame cannot alter the connection flow-control window."""
    client = dial((h.INITIAL_WINDOW, 1 << 30))
    assert client.connection.window == 65_535


def test_a_change_that_overflows_a_window(dial: Dial, wire: UncheckedServer) -> None:
    """MUST be treated as a connection error of type FLOW_CONTROL_ERROR."""
    client = dial((h.INITIAL_WINDOW, 65_535))
    client.feed(wire.answer(client.request(b"x" * 65_535).stream_id))
    client.request(BODY)  # waits for credit of the connection, and so keeps all that of its stream
    client.sent()
    client.feed(h.window_update(3, 0x7FFF_FFFF - 65_535))
    client.check_alive()
    client.feed(h.settings((h.INITIAL_WINDOW, 65_536)))
    client.check_broken(h.FLOW_CONTROL_ERROR)


def test_many_bodies_share_the_connections_window(dial: Dial, wire: UncheckedServer) -> None:
    """Bodies in parts never send more than the connection's window, in whichever order credit arrives."""
    client = dial((h.INITIAL_WINDOW, 100))
    bodies = {client.request(BODY * 5).stream_id: b"" for _ in range(5)}
    spent = 0
    credit = 65_535
    for turn in range(400):
        for one in h.only(client.sent(), "DATA"):
            bodies[one.stream_id] += one.data
            spent += len(one.data)
        assert spent <= credit
        client.feed(h.window_update(1 + 2 * (turn % 5), 600))
        if turn > 100:
            client.feed(h.window_update(0, 300))
            credit += 300
    assert all(body == (BODY * 5)[: len(body)] for body in bodies.values())
    assert [len(body) for body in bodies.values()] == [len(BODY) * 5] * 5


def test_libnghttp2_reads_every_body_when_its_window_opens(dial: Dial) -> None:
    """It holds us to the old window until it has our acknowledgement, and resets every stream that comes before."""
    client = dial(started=False)
    server = Connection(Role.SERVER, Configuration())
    server.initiate_connection({h.MAX_STREAMS: 100, h.INITIAL_WINDOW: 0})
    events = []

    def talk() -> None:
        for _ in range(4):
            server.receive_data(client.connection.data_to_send())
            client.feed(server.data_to_send())
            events.extend(server.events())

    talk()
    for _ in range(50):
        client.request(BODY[:500])
    talk()
    server.update_settings({h.INITIAL_WINDOW: 100_000})
    talk()
    assert not [event for event in events if isinstance(event, StreamReset)]
    assert sum(len(event.data) for event in events if isinstance(event, DataReceived)) == 50 * 500
    client.check_alive()
