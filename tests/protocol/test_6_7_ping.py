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


@pytest.mark.parametrize("idle_ping", [3600.0, None])
def test_idle(dial: Dial, idle_ping: float | None) -> None:
    """An idle connection is pinged when its peer allows that at all: APNs once an hour, FCM never."""
    client = dial(limits=Limits(timeout=10.0, idle_ping=idle_ping))
    client.tick(3599.0)
    assert client.sent() == []
    client.tick(3600.0)
    assert len(h.only(client.sent(), "PING")) == (1 if idle_ping else 0)
    client.tick(3611.0)
    assert client.state is (ConnectionState.CLOSED if idle_ping else ConnectionState.OPEN)
