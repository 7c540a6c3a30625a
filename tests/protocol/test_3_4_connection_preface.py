"""RFC 9113, section 3.4: the preface, and SETTINGS as each side's first frame."""

from __future__ import annotations

import pytest

from pushcore.http2.streams import ConnectionState, Limits
from tests.support import http2 as h
from tests.support.http2 import ClientHarness, Dial, UncheckedServer


def test_client_begins_with_the_preface_and_settings(dial: Dial) -> None:
    """The client connection preface is a sequence of 24 octets, which MUST be followed by a SETTINGS frame."""
    client = dial(started=False)
    raw = client.connection.data_to_send()
    assert raw.startswith(h.PREFACE)
    first = next(iter(h.parse(raw[len(h.PREFACE) :])))
    assert type(first).__name__ == "SettingsFrame"
    assert "ACK" not in first.flags


def test_client_announces_its_limits(dial: Dial) -> None:
    """ENABLE_PUSH is 0; the window of a stream is the largest body; the connection's window is widened at once."""
    client = dial(started=False, limits=Limits(max_body=50_000, receive_window=1 << 20))
    first, second = client.sent()[:2]
    assert first.settings[h.ENABLE_PUSH] == 0
    assert first.settings[h.INITIAL_WINDOW] == 50_000
    assert first.settings[h.MAX_LIST] == 16_384
    assert first.settings.get(h.MAX_FRAME, 16_384) == 16_384
    assert first.settings[h.TABLE_SIZE] == (0 if client.fast else 4096)
    assert (second.stream_id, second.window_increment) == (0, (1 << 20) - 65_535)


def test_nothing_is_taken_before_the_servers_settings(dial: Dial) -> None:
    client = dial(started=False)
    assert client.offer() is None
    client.feed(h.settings())
    assert client.state is ConnectionState.OPEN
    assert client.offer() is not None


def test_an_empty_settings_frame_is_a_preface(dial: Dial) -> None:
    """The server connection preface consists of a potentially empty SETTINGS frame."""
    assert dial().state is ConnectionState.OPEN


@pytest.mark.parametrize(
    "first",
    [
        h.ping(),
        h.SETTINGS_ACK,
        h.window_update(0, 1),
        h.goaway(0),
        h.frame(0xEE),
        h.frame(h.HEADERS, 5, 1, b"\x88"),
    ],
    ids=["ping", "ack", "window", "goaway", "unknown", "headers"],
)
def test_servers_first_frame_must_be_settings(dial: Dial, first: bytes) -> None:
    """Clients and servers MUST treat an invalid connection preface as a connection error PROTOCOL_ERROR."""
    client = dial(started=False)
    client.feed(first, h.settings())
    client.check_broken(h.PROTOCOL_ERROR)


@pytest.mark.parametrize("text", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x46" * 3])
def test_a_server_of_another_protocol(dial: Dial, text: bytes) -> None:
    """What is no SETTINGS frame ends the connection and is named, though its letters are a large length, too."""
    client = dial(started=False).feed(text)
    client.check_broken(h.PROTOCOL_ERROR)
    assert "does it speak HTTP/2?" in str(client.connection.error)
    assert not client.refused
    assert not client.finished


def test_settings_and_an_answer_may_come_in_one_piece(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    exchange = client.request()
    client.feed(h.SETTINGS_ACK, wire.answer(1, 200))
    assert (exchange.status, exchange.error) == (200, None)


def test_requests_wait_for_no_acknowledgement(dial: Dial, wire: UncheckedServer) -> None:
    """A client can send frames right after its preface; it waits for SETTINGS, not for the ACK of its own."""
    client: ClientHarness = dial()
    client.request()
    assert h.only(client.sent(), "HEADERS")
