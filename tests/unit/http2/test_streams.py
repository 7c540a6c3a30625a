"""What both engines share: how exchanges end by time and by our own will. `now` is an argument; nothing sleeps."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from pushcore.errors import ConnectionLost, GoAway, ProtocolError, ResponseTimeout
from pushcore.http2.connection import Connection
from pushcore.http2.streams import GHOST, ConnectionState, Limits, read_reason
from tests.support import http2 as h
from tests.support.http2 import ENGINES, ClientHarness, Dial, UncheckedServer


@pytest.fixture(params=ENGINES)
def dial(request: pytest.FixtureRequest) -> Dial:
    return Dial(request.param, "whole")


@pytest.fixture
def wire() -> UncheckedServer:
    return UncheckedServer()


def resets(client: ClientHarness) -> list[tuple[int, int]]:
    return [(one.stream_id, one.error_code) for one in h.only(client.sent(), "RST_STREAM")]


def check_ghost() -> None:
    assert (GHOST.status, GHOST.data, GHOST.error) == (1, b"-", None), "the shared ghost was written to"


# --- expiry -------------------------------------------------------------------------------------------------------


def test_an_expired_request_is_reset_and_finished(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    early, late = client.request(deadline=5.0), client.request(deadline=6.0)
    client.sent()
    client.feed(h.ping()).tick(4.99)
    assert client.finished == []
    client.tick(5.0)
    assert client.finished == [early]
    assert isinstance(early.error, ResponseTimeout)
    assert isinstance(early.error, TimeoutError)
    assert not early.error.unprocessed
    assert resets(client) == [(1, h.CANCEL)]
    client.feed(wire.answer(1), wire.answer(3))
    assert (client.finished, early.status, late.status) == ([early, late], 0, 200)


def test_expiry_looks_at_all_and_not_at_the_oldest_alone(dial: Dial) -> None:
    client = dial()
    exchanges = [client.request(deadline=10.0 - number) for number in range(5)]
    client.sent()
    client.tick(8.0)
    assert client.finished == exchanges[2:]


def test_an_unwritten_request_expires_as_unprocessed_and_is_never_complete(
    dial: Dial, wire: UncheckedServer
) -> None:
    client = dial()
    client.sent()
    exchange = client.request(b"a body", deadline=1.0)
    window = client.connection.window
    client.tick(1.0)
    assert isinstance(exchange.error, ResponseTimeout)
    assert client.finished == [exchange]
    sent = client.sent()
    (request,) = wire.requests(sent).values()
    if exchange.error.unprocessed:
        assert not request.ended
        assert client.connection.window == window + len(b"a body")
    else:
        assert not client.fast, "our own codec takes back what was not written"
    client.check_alive()


def test_a_body_in_parts_expires_as_unprocessed(dial: Dial, wire: UncheckedServer) -> None:
    client = dial((h.INITIAL_WINDOW, 3))
    exchange = client.request(b"a body", deadline=1.0)
    client.sent()
    client.tick(1.0)
    assert exchange.error is not None
    assert exchange.error.unprocessed
    assert resets(client) == [(1, h.CANCEL)]
    client.feed(h.window_update(1, 100))
    assert client.sent() == []


def test_a_body_in_parts_that_is_being_answered_is_of_unknown_fate(dial: Dial, wire: UncheckedServer) -> None:
    for end in ("expire", "lose"):
        client = dial((h.INITIAL_WINDOW, 3))
        exchange = client.request(b"a body", deadline=1.0)
        client.sent()
        client.feed(h.frame(h.HEADERS, 0x4, 1, b"\x20\x88"))
        if end == "expire":
            client.tick(1.0)
        else:
            client.connection.lost(ConnectionLost("gone"))
            client.collect()
        assert client.finished == [exchange]
        assert exchange.error is not None
        assert not exchange.error.unprocessed


# --- the budget of resets -----------------------------------------------------------------------------------------


def test_resets_beyond_the_budget_leave_ghosts(dial: Dial, wire: UncheckedServer) -> None:
    """Ghosts keep their slot until they may be reset; nobody hears of them again."""
    client = dial((h.MAX_STREAMS, 10), limits=Limits(resets_per_second=4))
    exchanges = [client.request() for _ in range(10)]
    client.sent()
    for exchange in exchanges:
        client.connection.cancel(exchange)
    assert len(resets(client)) == 4
    assert len(client.connection.streams) == 6
    assert client.connection.idle
    assert [client.offer() is not None for _ in range(5)] == [True] * 4 + [False]
    client.sent()
    client.tick(0.5)
    assert len(resets(client)) == 2
    client.tick(10.0)  # no more than one second's worth, however long it was
    assert len(resets(client)) == 4
    assert client.open_ids() == [21, 23, 25, 27]
    assert client.finished == []
    check_ghost()


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_a_ghost_that_is_answered_frees_its_slot(dial: Dial, wire: UncheckedServer, parts: int) -> None:
    client = dial((h.MAX_STREAMS, 3), limits=Limits(resets_per_second=0))
    client.feed(wire.answer(client.request().stream_id))
    exchanges = [client.request() for _ in range(3)]
    client.sent()
    for exchange in exchanges:
        client.connection.cancel(exchange)
    for exchange in exchanges:
        number = exchange.stream_id
        match parts:
            case 1:
                client.feed(wire.answer(number))
            case 2:
                client.feed(wire.answer(number, 410, b"gone"))
            case _:
                client.feed(
                    wire.headers(number, (":status", "200"), flags=h.END_HEADERS), h.data(number, b"a", 0)
                )
                client.feed(h.data(number, b"b" * 10_000, 0), wire.headers(number, ("x", "trailer")))
        check_ghost()
    assert client.open_ids() == []
    assert client.connection.idle
    assert len(client.finished) == 1
    client.check_alive()
    client.tick(1.0)
    exchange = client.request()
    client.feed(wire.answer(exchange.stream_id, 200, b"{}"))
    assert (exchange.status, exchange.data) == (200, b"{}")


@pytest.mark.parametrize("code", [h.CANCEL, h.REFUSED_STREAM])
def test_a_ghost_that_the_peer_resets(dial: Dial, code: int) -> None:
    client = dial(limits=Limits(resets_per_second=0))
    client.connection.cancel(client.request())
    client.sent()
    client.feed(h.rst_stream(1, code))
    assert (client.open_ids(), client.finished, client.refused) == ([], [], [])
    assert client.connection.idle


def test_ghosts_end_with_goaway_and_with_the_connection(dial: Dial) -> None:
    client = dial(limits=Limits(resets_per_second=0))
    for _ in range(4):
        client.connection.cancel(client.request())
    client.sent()
    client.feed(h.goaway(3))
    assert client.open_ids() == [1, 3]
    client.connection.lost(ConnectionLost("gone"))
    client.collect()
    assert (client.open_ids(), client.finished, client.refused) == ([], [], [])
    assert client.connection.idle


def test_a_ghost_with_a_body_in_parts(dial: Dial, wire: UncheckedServer) -> None:
    client = dial((h.INITIAL_WINDOW, 3), limits=Limits(resets_per_second=0))
    client.connection.cancel(client.request(b"a body"))
    client.sent()
    client.feed(h.window_update(1, 1), h.window_update(0, 1), h.settings((h.INITIAL_WINDOW, 50)))
    assert not any(request.ended for request in wire.requests(client.sent()).values() if request.fields)
    client.feed(wire.answer(1))
    assert client.open_ids() == []
    client.check_alive()


def test_many_that_expire_together_end_the_connection(dial: Dial, wire: UncheckedServer) -> None:
    """A burst of RST_STREAM is what servers defend against: GOAWAY instead, and nothing new is taken."""
    client = dial(limits=Limits(resets_per_second=5))
    exchanges = [client.request(deadline=3.0) for _ in range(6)]
    alive = client.request(deadline=9.0)
    client.sent()
    client.feed(h.ping()).tick(3.0)
    assert client.finished == exchanges
    assert client.state is ConnectionState.DRAINING
    assert client.offer() is None
    assert isinstance(client.connection.error, ConnectionLost)
    sent = client.sent()
    assert [one.error_code for one in h.only(sent, "GOAWAY")] == [h.NO_ERROR]
    assert h.only(sent, "RST_STREAM") == []
    client.feed(wire.answer(alive.stream_id, 200, b"still answered"))
    assert (alive.status, alive.data, alive.error) == (200, b"still answered", None)
    assert client.connection.idle
    check_ghost()
    client.tick(3.5)
    assert len(resets(client)) == 2


def test_as_many_as_may_be_reset_expire_one_by_one(dial: Dial) -> None:
    client = dial(limits=Limits(resets_per_second=5))
    exchanges = [client.request(deadline=3.0) for _ in range(5)]
    client.sent()
    client.feed(h.ping()).tick(3.0)
    assert client.finished == exchanges
    assert client.state is ConnectionState.OPEN
    assert len(resets(client)) == 5


# --- is the peer still there --------------------------------------------------------------------------------------


def test_settings_must_come_within_the_timeout(dial: Dial) -> None:
    client = dial(started=False, limits=Limits(timeout=10.0))
    client.sent()
    client.tick(9.9)
    assert client.state is ConnectionState.WAITING
    client.tick(10.0)
    client.check_broken(h.SETTINGS_TIMEOUT)


@pytest.mark.parametrize("byte", [h.ping(flags=h.ACK), b"\0"], ids=["ack", "any"])
def test_any_byte_is_a_sign_of_life(dial: Dial, byte: bytes) -> None:
    client = dial(limits=Limits(timeout=10.0))
    client.request()
    client.sent()
    client.tick(5.0)
    assert len(h.only(client.sent(), "PING")) == 1
    client.now = 9.0
    client.feed(byte)
    client.tick(10.0)
    client.check_alive()
    client.tick(13.9)
    assert client.sent() == []
    client.tick(14.0)
    assert len(h.only(client.sent(), "PING")) == 1
    client.tick(19.0)
    assert client.state is ConnectionState.CLOSED


def test_traffic_makes_a_ping_needless(dial: Dial, wire: UncheckedServer) -> None:
    client = dial(limits=Limits(timeout=10.0))
    for second in range(1, 40):
        client.feed(wire.answer(client.request().stream_id))
        client.tick(float(second))
        assert h.only(client.sent(), "PING") == []


def test_ticks_after_the_end_do_nothing(dial: Dial) -> None:
    client = dial()
    client.connection.close()
    client.sent()
    client.tick(1e9)
    client.connection.close()
    assert client.sent() == []


# --- our own will -------------------------------------------------------------------------------------------------


def test_cancel(dial: Dial, wire: UncheckedServer) -> None:
    client = dial((h.MAX_STREAMS, 1))
    exchange = client.request()
    client.sent()
    client.connection.cancel(exchange)
    client.connection.cancel(exchange)
    assert resets(client) == [(1, h.CANCEL)]
    assert client.open_ids() == []
    other = client.request()
    client.feed(wire.answer(other.stream_id))
    client.connection.cancel(other)  # too late: it is finished
    assert client.finished == [other]
    assert resets(client) == []


def test_pause(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    exchange = client.request()
    client.connection.pause(True)
    assert client.offer() is None
    client.feed(wire.answer(1), h.settings((h.MAX_STREAMS, 7)))
    assert exchange.status == 200
    assert client.offer() is None
    client.connection.pause(False)
    assert client.connection.capacity == 7
    assert client.offer() is not None


def test_drain(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    exchange = client.request()
    client.connection.drain()
    client.feed(h.settings((h.MAX_STREAMS, 100)))
    client.connection.pause(True)
    client.connection.pause(False)
    assert client.offer() is None
    client.feed(wire.answer(1))
    assert exchange.status == 200
    assert client.state is ConnectionState.DRAINING


@pytest.mark.parametrize("state", ["waiting", "open", "draining", "closed"])
def test_close_in_every_state(dial: Dial, state: str) -> None:
    client = dial(started=state != "waiting")
    if state == "draining":
        client.feed(h.goaway(0))
    if state == "closed":
        client.connection.lost(ConnectionLost("gone"))
    client.sent()
    client.connection.close(h.NO_ERROR, b"bye")
    goaways = h.only(client.sent(), "GOAWAY")
    assert [one.additional_data for one in goaways] == ([] if state == "closed" else [b"bye"])
    assert client.state is ConnectionState.CLOSED


def test_throttled(dial: Dial) -> None:
    """Held at one stream or lowered: no reason to dial. Raised again, it is one."""
    client = dial()
    assert not client.connection.throttled
    for limit, throttled in ((1000, True), (1000, True), (500, True), (600, False), (600, False), (1, True)):
        client.feed(h.settings((h.MAX_STREAMS, limit)))
        assert client.connection.throttled is throttled, limit
    assert dial((h.MAX_STREAMS, 1)).connection.throttled
    assert dial((h.MAX_STREAMS, 0)).connection.throttled
    assert not dial((h.MAX_STREAMS, 2)).connection.throttled


def test_the_error_is_the_reason_and_not_its_consequence(dial: Dial) -> None:
    client = dial()
    client.feed(h.goaway(0, h.NO_ERROR, b'{"reason":"Shutdown"}'))
    client.connection.lost(ConnectionLost("closed"))
    assert isinstance(client.connection.error, GoAway)
    client = dial()
    client.feed(h.goaway(0), h.frame(h.PING, 0, 0, b""))
    assert isinstance(client.connection.error, ProtocolError)


def test_reasons_are_words() -> None:
    assert read_reason(b'{"reason":"BadDeviceToken"}') == "BadDeviceToken"
    assert read_reason(b"") is None
    assert read_reason(b"\n\t\0") is None
    assert read_reason(b'"text"') == '"text"'
    assert read_reason(b"\xe2\x80\xae evil") == " evil"


# --- the beginning ------------------------------------------------------------------------------------------------


def test_a_new_connection_has_shown_nothing(dial: Dial) -> None:
    connection = dial(started=False).connection
    assert connection.state is ConnectionState.WAITING
    assert (connection.answered, connection.authenticated, connection.progressed) == (False, False, False)
    assert (connection.retired, connection.probing, connection.throttled) == (False, False, False)
    assert (connection.capacity, connection.opened, connection.carried, connection.error) == (
        0,
        0,
        None,
        None,
    )
    assert connection.idle
    assert not connection.unresponsive


def test_settings_are_awaited_from_the_moment_of_opening() -> None:
    connection = Connection(Limits(timeout=10.0), 100.0)
    connection.tick(109.9)
    assert connection.error is None
    connection.tick(110.0)
    assert isinstance(connection.error, ProtocolError)


def test_a_silence_is_counted_from_the_moment_of_opening() -> None:
    connection = Connection(Limits(timeout=10.0, idle_ping=50.0), 100.0)
    connection.receive(h.settings(), 100.0)
    connection.data_to_send()
    connection.tick(149.9)
    assert connection.data_to_send() == b""
    connection.tick(150.0)
    assert connection.data_to_send() == h.ping(b"pushcore")
    assert connection.probing


def test_the_first_request_is_unprocessed_while_nothing_was_written(dial: Dial) -> None:
    client = dial(started=False)
    client.feed(h.settings())
    exchange = client.request()
    client.connection.lost(ConnectionLost("gone"))
    client.collect()
    assert client.refused == [exchange]
    assert "had not been written" in str(exchange.error)


def test_the_error_says_whether_an_expired_request_was_written() -> None:
    client = ClientHarness()
    client.feed(h.settings())
    written = client.request(deadline=1.0)
    client.sent()
    unwritten = client.request(deadline=1.0)
    client.tick(1.0)
    assert str(written.error) == "no response in time"
    assert str(unwritten.error) == "the request was not written in time"


def test_the_defaults_of_the_limits() -> None:
    assert Limits() == Limits(
        timeout=10.0,
        idle_ping=3600.0,
        keepalive=(60, 15, 4),
        receive_window=16_777_216,
        max_body=131_072,
        resets_per_second=100,
    )


def test_the_limits_of_a_pool_cannot_be_changed_behind_its_back() -> None:
    with pytest.raises(FrozenInstanceError):
        Limits().timeout = 1.0  # type: ignore[misc]


def test_goaway_says_how_many_requests_the_peer_has_taken(dial: Dial) -> None:
    client = dial()
    for _ in range(4):
        client.request()
    client.sent()
    assert (client.connection.opened, client.connection.carried) == (4, None)
    client.feed(h.goaway(0x7FFF_FFFF))
    assert client.connection.carried is None
    client.feed(h.goaway(7))
    assert client.connection.carried == 4
    client.feed(h.goaway(5))
    assert client.connection.carried == 3
    assert len(client.refused) == 1
    client.feed(h.goaway(0))
    assert client.connection.carried == 0


def test_a_round_of_refusals_is_over_when_a_newer_request_is_refused(dial: Dial) -> None:
    client, wire = dial(), h.UncheckedServer()
    connection = client.connection

    def refuse(*stream_ids: int) -> int:
        client.feed(*(h.rst_stream(stream_id, h.REFUSED_STREAM) for stream_id in stream_ids))
        connection.count_refusals(client.refused[-len(stream_ids) :])
        return connection.refusal_rounds

    for _ in range(4):
        client.request()
    client.feed(wire.answer(1))
    connection.progressed = True  # as `Link` says it
    assert refuse(3) == 0
    for _ in range(2):
        client.request()
    assert refuse(5, 7) == 0  # opened before the first refusal
    assert refuse(9) == 1
    client.request()
    assert refuse(11) == 1
    assert refuse(13) == 2
    client.request()
    connection.progressed = True
    assert refuse(15) == 0


def test_goaway_counts_the_requests_that_were_answered_all_the_same(dial: Dial) -> None:
    """A server may have processed more than its GOAWAY says: what it refuses is what is left."""
    client, wire = dial(), h.UncheckedServer()
    for _ in range(4):
        client.request()
    client.feed(wire.answer(1), wire.answer(3), wire.answer(5), h.goaway(1))
    assert (client.connection.carried, len(client.refused)) == (3, 1)


@pytest.mark.parametrize(
    ("last", "carried"), [(0, 0), (1, 1), (2, 1), (3, 2), (5, 3), (6, 3), (7, None), (8, None), (9, None)]
)
def test_goaway_without_open_requests_counts_those_up_to_its_last_stream(
    dial: Dial, last: int, carried: int | None
) -> None:
    """None if it refuses no stream that was opened: then it does not say how many the peer processes."""
    client, wire = dial(), h.UncheckedServer()
    for _ in range(3):
        client.feed(wire.answer(client.request().stream_id))
    client.feed(h.goaway(last))
    assert client.connection.carried == carried


@pytest.mark.parametrize(
    ("end", "served"), [("lost", 3), ("goaway", 3), ("unwritten", 3), ("unanswered", None), ("drained", None)]
)
def test_a_peer_that_ends_an_idle_connection_has_served_all_its_requests(
    dial: Dial, end: str, served: int | None
) -> None:
    """A connection of so many requests may be the server's rule, unless it owes a response or we end it."""
    client, wire = dial(), h.UncheckedServer()
    for _ in range(3):
        client.request()
    client.sent()
    client.feed(wire.answer(1), wire.answer(3), *([] if end == "unanswered" else [wire.answer(5)]))
    match end:
        case "goaway":
            client.feed(h.goaway(5))
        case "unwritten":
            client.request()
        case "drained":
            client.connection.drain()
    assert client.connection.served is None
    client.connection.lost(ConnectionLost("gone"))
    client.collect()
    assert client.connection.served == served


def test_refusals_before_any_response_are_a_round(dial: Dial) -> None:
    client = dial()
    assert client.connection.refusal_rounds == 0
    client.request()
    client.feed(h.rst_stream(1, h.REFUSED_STREAM))
    client.connection.count_refusals(client.refused)
    assert client.connection.refusal_rounds == 1


@pytest.mark.parametrize("answered", [True, False])
def test_after_a_probe_without_reply_the_open_request_has_its_time(dial: Dial, answered: bool) -> None:
    """The connection takes no more requests, but ends neither at once nor with its last request."""
    client, wire = dial(limits=Limits(timeout=10.0, idle_ping=None)), h.UncheckedServer()
    client.connection.probe(0.0)
    exchange = client.request(deadline=3.0)
    client.sent()
    client.tick(1.0)
    assert (client.state, client.connection.probing) == (ConnectionState.DRAINING, False)
    assert "after a long silence" in str(client.connection.error)
    client.tick(2.9)
    if answered:
        client.feed(wire.answer(1))
    client.tick(3.0)
    assert client.finished == [exchange]
    assert isinstance(exchange.error, ResponseTimeout) is not answered
    assert client.state is ConnectionState.DRAINING


@pytest.mark.parametrize(("length", "kept"), [(99, 99), (100, 100), (101, 100)])
def test_a_reason_is_cut(length: int, kept: int) -> None:
    assert read_reason(b"x" * length) == "x" * kept


@pytest.mark.parametrize("document", [b'{"reason":1}', b"[1]", b'{"other":"x"}'])
def test_another_document_is_the_reason_itself(document: bytes) -> None:
    assert read_reason(document) == document.decode()


def test_a_peer_that_owes_an_answer_to_a_ping_is_unresponsive(dial: Dial) -> None:
    client = dial(limits=Limits(timeout=10.0, idle_ping=50.0))
    client.tick(50.0)
    assert client.connection.probing
    assert not client.connection.unresponsive  # it is idle: a probe, and no request waits for its answer
    client.feed(h.ping(flags=h.ACK))
    client.request()
    client.tick(55.0)
    assert client.connection.unresponsive
    client.feed(h.ping(flags=h.ACK))
    assert not client.connection.unresponsive
