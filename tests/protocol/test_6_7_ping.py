"""RFC 9113, section 6.7: PING, theirs and ours."""

from __future__ import annotations

import pytest

from pushcore.errors import ConnectionLost
from pushcore.http2.streams import ConnectionState, Limits
from tests.support import http2 as h
from tests.support.http2 import Dial, UncheckedServer


def test_it_is_answered_with_the_same_payload(dial: Dial) -> None:
    """Receivers MUST send a PING frame with the ACK flag and an identical payload."""
    client = dial()
    client.feed(h.ping(b"abcdefgh"), h.ping(bytes(8)))
    pings = h.only(client.sent(), "PING")
    assert [(one.opaque_data, sorted(one.flags)) for one in pings] == [
        (b"abcdefgh", ["ACK"]),
        (bytes(8), ["ACK"]),
    ]


def test_an_acknowledgement_is_not_answered(dial: Dial) -> None:
    """An endpoint MUST NOT respond to PING frames containing this flag."""
    client = dial()
    client.feed(h.ping(flags=h.ACK))
    assert client.sent() == []
    client.check_alive()


@pytest.mark.parametrize("flags", [0, h.ACK])
@pytest.mark.parametrize("length", [0, 7, 9])
def test_another_size(dial: Dial, length: int, flags: int) -> None:
    """A length other than 8 MUST be treated as a connection error of type FRAME_SIZE_ERROR."""
    client = dial()
    client.feed(h.frame(h.PING, flags, 0, bytes(length)))
    client.check_broken(h.FRAME_SIZE_ERROR)


@pytest.mark.slow
def test_googles_ping_after_every_answer_is_no_flood(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    for _ in range(3000 if client.delivery == "whole" else 300):
        exchange = client.request()
        client.feed(wire.answer(exchange.stream_id), h.ping())
        assert len(h.only(client.sent(), "PING")) == 1
    client.check_alive()


def test_ours_goes_out_after_half_the_timeout_of_silence(dial: Dial, wire: UncheckedServer) -> None:
    client = dial(limits=Limits(timeout=10.0))
    exchange = client.request()
    client.sent()
    client.tick(4.9)
    assert client.sent() == []
    client.tick(5.0)
    assert len(h.only(client.sent(), "PING")) == 1
    client.tick(6.0)
    assert client.sent() == []  # one PING, not one for each tick
    client.feed(h.ping(b"pushcore", h.ACK), wire.answer(1))
    client.tick(12.0)
    client.check_alive()
    assert exchange.status == 200


def test_without_an_answer_the_connection_is_given_up(dial: Dial) -> None:
    client = dial(limits=Limits(timeout=10.0))
    exchange = client.request()
    client.sent()
    client.tick(5.0)
    client.tick(9.9)
    client.check_alive()
    client.tick(10.0)
    assert client.state is ConnectionState.CLOSED
    assert client.finished == [exchange]
    assert isinstance(exchange.error, ConnectionLost)


def test_silence_before_a_request_is_no_reason(dial: Dial) -> None:
    """Google, who forbids pings of idle connections, would count it."""
    client = dial(limits=Limits(timeout=10.0, idle_ping=None))
    client.tick(3600.0)
    client.request()
    client.sent()
    client.tick(3600.5)
    client.tick(3604.9)
    assert client.sent() == []
    client.tick(3605.0)
    assert len(h.only(client.sent(), "PING")) == 1


def test_a_connection_whose_ping_is_unanswered_takes_nothing_new(dial: Dial, wire: UncheckedServer) -> None:
    client = dial(limits=Limits(timeout=10.0))
    client.request()
    client.tick(5.0)
    assert client.connection.capacity == 0
    assert client.offer() is None
    client.feed(h.ping(b"pushcore", h.ACK))
    client.request()
    client.feed(wire.answer(1), wire.answer(3))
    client.check_alive()


@pytest.mark.parametrize("idle_ping", [3600.0, 100.0, None])
def test_idle(dial: Dial, idle_ping: float | None) -> None:
    """An idle connection is pinged when its peer allows that at all: APNs once an hour, FCM never."""
    client = dial(limits=Limits(timeout=10.0, idle_ping=idle_ping))
    at = idle_ping or 3600.0
    client.tick(at - 1.0)
    assert client.sent() == []
    client.tick(at)
    assert len(h.only(client.sent(), "PING")) == (1 if idle_ping else 0)
    assert (client.connection.capacity == 0) is (idle_ping is not None)
    client.tick(at + 1.0)
    assert client.state is (ConnectionState.CLOSED if idle_ping else ConnectionState.OPEN)


def test_an_idle_connection_that_answers_is_as_before(dial: Dial) -> None:
    client = dial((h.MAX_STREAMS, 10), limits=Limits(timeout=10.0))
    client.tick(3600.0)
    client.sent()
    client.now = 3600.9
    client.feed(h.ping(b"pushcore", h.ACK))
    assert client.connection.capacity == 10
    client.tick(7200.0)
    assert client.sent() == []
    client.tick(7201.0)
    assert len(h.only(client.sent(), "PING")) == 1


# --- after a long silence, before requests ---------------------------------------------------------------------------


def test_a_probed_peer_is_pinged_and_gets_nothing_until_it_has_answered(dial: Dial) -> None:
    client = dial((h.MAX_STREAMS, 10), limits=Limits(timeout=10.0))
    client.tick(100.0)
    client.connection.probe(100.0)
    assert len(h.only(client.sent(), "PING")) == 1
    assert client.offer() is None
    client.tick(100.9)
    client.feed(h.settings((h.MAX_STREAMS, 20)))  # any byte will do
    assert client.connection.capacity == 20
    assert not client.connection.probing
    client.tick(102.0)
    client.check_alive()


@pytest.mark.parametrize(("timeout", "seconds"), [(10.0, 1.0), (2.0, 0.5)])
def test_a_probed_peer_that_does_not_answer_is_gone(dial: Dial, timeout: float, seconds: float) -> None:
    client = dial(limits=Limits(timeout=timeout))
    client.tick(100.0)
    client.connection.probe(100.0)
    client.tick(99.99 + seconds)
    client.check_alive()
    client.tick(100.0 + seconds)
    assert client.state is ConnectionState.CLOSED
    assert isinstance(client.connection.error, ConnectionLost)


def test_a_peer_that_must_not_be_pinged_gets_one_request(dial: Dial, wire: UncheckedServer) -> None:
    client = dial((h.MAX_STREAMS, 100), limits=Limits(timeout=10.0, idle_ping=None))
    client.tick(100.0)
    client.connection.probe(100.0)
    client.request()
    assert client.offer() is None
    assert not h.only(client.sent(), "PING")
    client.feed(wire.answer(1))
    assert client.connection.capacity == 100


def test_without_a_response_to_that_request_nothing_new_is_taken_and_it_ends_in_its_time(
    dial: Dial, wire: UncheckedServer
) -> None:
    client = dial((h.MAX_STREAMS, 100), limits=Limits(timeout=10.0, idle_ping=None))
    client.tick(100.0)
    client.connection.probe(100.0)
    slow = client.request(deadline=110.0)
    client.tick(101.0)
    assert client.state is ConnectionState.DRAINING
    assert client.offer() is None
    assert not client.finished
    client.feed(wire.answer(1))  # it was only slow
    assert client.finished == [slow]
    assert slow.error is None
