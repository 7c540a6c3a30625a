"""RFC 9113, sections 6.5 to 6.5.3: SETTINGS, each of its identifiers, and its acknowledgement."""

from __future__ import annotations

import pytest

from pushcore.errors import HeaderListTooLarge
from tests.support import http2 as h
from tests.support.http2 import Dial, UncheckedServer

# --- 6.5: the frame -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 5, 7, 11])
def test_a_size_that_is_no_multiple_of_6(dial: Dial, length: int) -> None:
    """MUST be treated as a connection error of type FRAME_SIZE_ERROR."""
    client = dial()
    client.feed(h.frame(h.SETTINGS, payload=bytes(length)))
    client.check_broken(h.FRAME_SIZE_ERROR)


@pytest.mark.parametrize("length", [1, 6])
def test_an_acknowledgement_with_a_payload(dial: Dial, length: int) -> None:
    """An ACK with a length other than 0 MUST be treated as a connection error of type FRAME_SIZE_ERROR.

    python-hyper/h2 calls it PROTOCOL_ERROR.
    """
    client = dial()
    client.feed(h.frame(h.SETTINGS, h.ACK, 0, bytes(length)))
    client.check_broken(h.FRAME_SIZE_ERROR, reference=h.PROTOCOL_ERROR)


# --- 6.5.2: the identifiers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (h.TABLE_SIZE, 0),
        (h.TABLE_SIZE, 0xFFFF_FFFF),
        (h.ENABLE_PUSH, 0),
        (h.MAX_STREAMS, 1),
        (h.MAX_STREAMS, 0xFFFF_FFFF),
        (h.INITIAL_WINDOW, 0),
        (h.INITIAL_WINDOW, 0x7FFF_FFFF),
        (h.MAX_FRAME, 16_384),
        (h.MAX_FRAME, 16_777_215),
        (h.MAX_LIST, 1 << 20),
        (h.MAX_LIST, 0xFFFF_FFFF),
        (0x0, 1),
        (0x7, 1),
        (0x8, 1),  # ENABLE_CONNECT_PROTOCOL (RFC 8441)
        (0x9, 1),  # NO_RFC7540_PRIORITIES (RFC 9218)
        (0xFFFF, 0xFFFF_FFFF),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_legal_and_unknown_values(
    dial: Dial, wire: UncheckedServer, key: int, value: int, first: bool
) -> None:
    """An endpoint MUST ignore any identifier that it does not know, and acknowledge all."""
    client = dial(*([(key, value)] if first else []))
    if not first:
        client.feed(h.settings((key, value)))
        assert [sorted(one.flags) for one in h.settings_of(client.sent())] == [["ACK"]]
    exchange = client.request(b"")
    client.feed(wire.answer(1))
    assert (exchange.status, exchange.error) == (200, None)


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        (h.ENABLE_PUSH, 1, h.PROTOCOL_ERROR),
        (h.ENABLE_PUSH, 2, h.PROTOCOL_ERROR),
        (h.INITIAL_WINDOW, 0x8000_0000, h.FLOW_CONTROL_ERROR),
        (h.INITIAL_WINDOW, 0xFFFF_FFFF, h.FLOW_CONTROL_ERROR),
        (h.MAX_FRAME, 0, h.PROTOCOL_ERROR),
        (h.MAX_FRAME, 16_383, h.PROTOCOL_ERROR),
        (h.MAX_FRAME, 16_777_216, h.PROTOCOL_ERROR),
        (h.MAX_FRAME, 0xFFFF_FFFF, h.PROTOCOL_ERROR),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_illegal_values(dial: Dial, key: int, value: int, code: int, first: bool) -> None:
    client = dial(started=not first)
    client.feed(h.settings((h.MAX_STREAMS, 5), (key, value), (h.MAX_STREAMS, 6)))
    client.check_broken(code)


def test_values_are_processed_in_order(dial: Dial) -> None:
    """The values MUST be processed in the order they appear: the last one of an identifier holds."""
    client = dial((h.MAX_STREAMS, 5), (h.MAX_STREAMS, 2), (h.MAX_STREAMS, 3))
    assert sum(client.offer() is not None for _ in range(10)) == 3


# --- 6.5.2: MAX_HEADER_LIST_SIZE ----------------------------------------------------------------------------------


def size_of(exchange_fields: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 32 for name, value in exchange_fields)


def test_our_header_list_keeps_to_the_peers_limit(dial: Dial, wire: UncheckedServer) -> None:
    """A request above it ends as an error of its own, unsent, and those below it go on."""
    client = dial()
    client.request()
    (request,) = wire.requests(client.sent()).values()
    usual = size_of(request.fields)
    client.feed(h.settings((h.MAX_LIST, usual + 50)))
    for _ in range(3):
        below = client.request()
        above = client.request(b"{}", ((b"x-custom", b"v" * 100),))
        assert isinstance(above.error, HeaderListTooLarge)
        assert above in client.finished
        assert below not in client.finished
    requests = wire.requests(client.sent())
    complete = [request for request in requests.values() if request.ended]
    assert len(complete) == 3, "what is too large must never be complete to the peer"
    client.feed(h.settings((h.MAX_LIST, 1 << 20)))
    assert client.request(b"{}", ((b"x-custom", b"v" * 100),)).error is None
    wire.requests(client.sent())
    client.check_alive()


def test_a_too_large_request_without_a_body_is_not_complete_either(dial: Dial, wire: UncheckedServer) -> None:
    client = dial((h.MAX_LIST, 10))
    exchange = client.request(b"")
    assert exchange in client.finished
    assert not [request for request in wire.requests(client.sent()).values() if request.ended]


def test_the_limit_to_the_byte(dial: Dial, wire: UncheckedServer) -> None:
    """Our own codec counts the two bytes before the path as well, which errs on the safe side."""
    client = dial()
    client.request()
    (request,) = wire.requests(client.sent()).values()
    size = size_of(request.fields)
    client.feed(h.settings((h.MAX_LIST, size + 2 * client.fast)))
    assert client.request().error is None
    client.feed(h.settings((h.MAX_LIST, size - 1)))
    assert client.request().error is not None


# --- 6.5.3: synchronization ---------------------------------------------------------------------------------------


def test_each_is_acknowledged_once_and_at_once(dial: Dial) -> None:
    """Once all values have been processed, the recipient MUST immediately emit a SETTINGS frame with the ACK flag."""
    client = dial()
    client.feed(h.settings(), h.settings((h.MAX_STREAMS, 3)), h.SETTINGS_ACK, h.settings((0xAAAA, 1)))
    frames = h.settings_of(client.sent())
    assert [(sorted(one.flags), one.settings) for one in frames] == [(["ACK"], {})] * 3


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ((h.INITIAL_WINDOW, 0), (h.INITIAL_WINDOW, 100_000)),
        ((h.INITIAL_WINDOW, 100), (h.INITIAL_WINDOW, 101)),
    ],
)
def test_it_is_acknowledged_before_anything_that_it_allows(
    dial: Dial, first: tuple[int, int], later: tuple[int, int]
) -> None:
    """The sender of altered settings may rely on them once it has the ACK, and not before: to a server like
    libnghttp2, what comes ahead of it breaks the old window."""
    client = dial(first)
    for _ in range(3):
        client.request(b"x" * 500)
    client.sent()
    client.feed(h.settings(later))
    sent = client.sent()
    assert [type(one).__name__ for one in sent] == ["SettingsFrame", "DataFrame", "DataFrame", "DataFrame"]
    assert "ACK" in sent[0].flags


def test_a_frame_as_large_as_the_new_settings_allow_comes_after_their_acknowledgement(dial: Dial) -> None:
    """The window opens after the frames have become larger, in one read."""
    client = dial((h.INITIAL_WINDOW, 0))
    client.request(b"x" * 40_000)
    client.sent()
    client.feed(h.settings((h.MAX_FRAME, 50_000)), h.window_update(1, 50_000))
    sent = client.sent()
    assert "ACK" in sent[0].flags
    assert [len(one.data) for one in sent[1:]] == [40_000]


def test_no_request_of_new_settings_comes_before_their_acknowledgement(dial: Dial) -> None:
    client = dial((h.MAX_STREAMS, 1))
    client.request()
    assert client.offer() is None
    client.sent()
    client.feed(h.settings((h.MAX_STREAMS, 2)))
    client.request()
    assert type(client.sent()[0]).__name__ == "SettingsFrame"


@pytest.mark.parametrize("later", [(h.INITIAL_WINDOW, 0x8000_0000), (h.MAX_FRAME, 1), (h.ENABLE_PUSH, 1)])
def test_illegal_settings_are_not_acknowledged(dial: Dial, later: tuple[int, int]) -> None:
    client = dial()
    client.feed(h.settings(later))
    assert h.settings_of(client.sent()) == []


def test_an_acknowledgement_is_not_acknowledged(dial: Dial) -> None:
    client = dial()
    client.feed(h.SETTINGS_ACK)
    assert client.sent() == []


def test_an_acknowledgement_too_many_is_harmless(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    exchange = client.request()
    client.feed(h.SETTINGS_ACK * 3, wire.answer(1))
    assert exchange.status == 200
