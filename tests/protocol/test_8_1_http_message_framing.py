"""RFC 9113, sections 8.1 and 8.1.1: an answer is interim headers, a header, a body and trailers; all else is malformed."""

from __future__ import annotations

import pytest

from pushcore.errors import ProtocolError
from tests.support import http2 as h
from tests.support.http2 import ClientHarness, Dial, HonestServer, UncheckedServer, converse


@pytest.mark.parametrize("interim", [[100], [103], [100, 103], [103] * 20, [199]])
@pytest.mark.parametrize("table", [0, 4096], ids=["stateless", "eager"])
def test_interim_answers_are_passed_over(dial: Dial, interim: list[int], table: int) -> None:
    client, wire = dial(), UncheckedServer(table)
    for body in (b"", b"body"):
        exchange = client.request()
        for status in interim:
            client.feed(wire.headers(exchange.stream_id, (":status", str(status)), flags=h.END_HEADERS))
            assert exchange.status == 0
        client.feed(wire.answer(exchange.stream_id, 429, body))
        assert (exchange.status, exchange.data, exchange.error) == (429, body, None)


@pytest.mark.parametrize("body", [b"", b"a body"])
@pytest.mark.parametrize("table", [0, 4096], ids=["stateless", "eager"])
def test_trailers(dial: Dial, body: bytes, table: int) -> None:
    client, wire = dial(), UncheckedServer(table)
    for _ in range(3):
        exchange = client.request()
        number = exchange.stream_id
        client.feed(wire.headers(number, (":status", "200"), flags=h.END_HEADERS))
        client.feed(*([h.data(number, body, 0)] if body else []))
        client.feed(wire.headers(number, ("grpc-status", "0"), ("x", str(number))))
        assert (exchange.status, exchange.data, exchange.error) == (200, body, None)


@pytest.mark.parametrize("body", [b"", b"x"])
@pytest.mark.parametrize(
    "block",
    [b"\x88", b"\x8d", b"\x48\x03103", b"\x00\x01x\x01y\x88", b"\x04\x01/", b"\x00\x02:x\x01y"],
    ids=["200", "404", "103", "200 behind a field", ":path", "an unknown one"],
)
@pytest.mark.parametrize("table", [0, 4096], ids=["stateless", "eager"])
def test_a_second_response_is_no_trailers(dial: Dial, body: bytes, block: bytes, table: int) -> None:
    """Trailers must hold no pseudo-header fields: of two statuses for one stream, none is believed (section 8.1)."""
    client, wire = dial(), UncheckedServer(table)
    client.feed(wire.answer(client.request().stream_id))
    exchange, other = client.request(), client.request()
    client.feed(wire.headers(exchange.stream_id, (":status", "200"), flags=h.END_HEADERS))
    client.feed(*([h.data(exchange.stream_id, body, 0)] if body else []))
    client.sent()
    client.feed(h.frame(h.HEADERS, 0x5, exchange.stream_id, block))
    assert client.finished[1] is exchange
    assert isinstance(exchange.error, ProtocolError)
    if client.fast or b"103" not in block:
        client.feed(wire.answer(other.stream_id))
        assert (other.status, other.error) == (200, None)
    else:  # h2 makes it an error of the connection, as section 5.4.1 allows
        client.check_broken(h.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "field", [("Apns-Id", "1"), ("connection", "close"), (":status", "404"), ("x", "a\nb")]
)
@pytest.mark.parametrize("table", [0, 4096], ids=["stateless", "eager"])
def test_the_fields_behind_the_status_are_not_checked(dial: Dial, field: tuple[str, str], table: int) -> None:
    """The fast engine does not decode them, and the other one must come to the same result."""
    client, wire = dial(), UncheckedServer(table)
    for _ in range(2):
        exchange = client.request()
        client.feed(wire.answer(exchange.stream_id, 200, b"", (field,)))
        assert (exchange.status, exchange.error) == (200, None)


def malformed(client: ClientHarness, *raw: bytes) -> None:
    """One stream is malformed, another is not and survives it with our own codec."""
    exchange, other = client.opened
    client.sent()
    client.feed(*raw)
    client.check_stream_error(exchange, h.PROTOCOL_ERROR, reference_closes=h.PROTOCOL_ERROR)
    if client.fast:
        client.feed(h.frame(h.HEADERS, 0x5, other.stream_id, b"\x20\x88"))
        assert (other.status, other.error) == (200, None)


@pytest.fixture
def client(dial: Dial) -> ClientHarness:
    client = dial()
    client.request()
    client.request()
    return client


def test_a_body_before_its_header(client: ClientHarness) -> None:
    """A malformed response MUST be treated as a stream error of type PROTOCOL_ERROR (h2: of the connection)."""
    malformed(client, h.data(1, b"x", 0))


def test_a_body_after_an_interim_header(client: ClientHarness, wire: UncheckedServer) -> None:
    malformed(client, wire.headers(1, (":status", "103"), flags=h.END_HEADERS), h.data(1, b"x", 0))


def test_an_interim_header_that_ends_the_stream(client: ClientHarness, wire: UncheckedServer) -> None:
    malformed(client, wire.headers(1, (":status", "103")))


def test_a_second_header_that_does_not_end_the_stream(client: ClientHarness, wire: UncheckedServer) -> None:
    malformed(
        client,
        wire.headers(1, (":status", "200"), flags=h.END_HEADERS),
        wire.headers(1, ("x", "y"), flags=h.END_HEADERS),
    )


@pytest.mark.parametrize(
    "fields",
    [
        (("content-type", "text/plain"),),
        ((":status", "20"),),
        ((":status", "2000"),),
        ((":status", "abc"),),
        ((":status", ""),),
        ((":status", "099"),),
        ((":status", "000"),),
        ((":status", "600"),),
        ((":status", "+20"),),
        (("server", "x"), (":status", "200")),
        ((":path", "/"), (":status", "200")),
    ],
    ids=lambda fields: repr(fields[0]),
)
@pytest.mark.parametrize("table", [0, 4096], ids=["stateless", "eager"])
def test_a_header_without_a_readable_status(
    dial: Dial, fields: tuple[tuple[str, str], ...], table: int
) -> None:
    """Whichever way it is malformed, the exchange ends with ProtocolError; h2 ends the connection for some."""
    client, wire = dial(), UncheckedServer(table)
    exchange = client.request()
    client.sent()
    client.feed(wire.headers(1, *fields))
    assert client.finished == [exchange]
    assert isinstance(exchange.error, ProtocolError)
    assert exchange.error.code == h.PROTOCOL_ERROR
    if client.fast:
        client.check_alive()


def test_the_stream_of_an_unreadable_status_is_reset(dial: Dial, wire: UncheckedServer) -> None:
    """Otherwise the server would go on with a response that nobody reads, and keep the slot."""
    client = dial()
    exchange = client.request()
    client.sent()
    client.feed(wire.headers(1, ("server", "x"), flags=h.END_HEADERS))
    client.check_stream_error(exchange, h.PROTOCOL_ERROR)


def test_an_early_answer_stops_our_body(dial: Dial, wire: UncheckedServer) -> None:
    """A client MUST NOT discard an answer because of a reset that follows; we may stop sending with NO_ERROR."""
    client = dial((h.INITIAL_WINDOW, 10))
    exchange = client.request(b"x" * 100)
    client.sent()
    client.feed(wire.answer(1, 413, b"too large"))
    assert (exchange.status, exchange.data, exchange.error) == (413, b"too large", None)
    resets = h.only(client.sent(), "RST_STREAM")
    assert [(one.stream_id, one.error_code) for one in resets] == [(1, h.NO_ERROR)]
    client.feed(h.window_update(1, 100), h.rst_stream(1, h.NO_ERROR), h.window_update(0, 100))
    assert h.only(client.sent(), "DATA") == []
    client.feed(wire.answer(client.request().stream_id))
    assert client.finished[-1].status == 200


def test_an_early_header_lets_our_body_go_on(dial: Dial, wire: UncheckedServer) -> None:
    client = dial((h.INITIAL_WINDOW, 10))
    exchange = client.request(b"x" * 25)
    wire.requests(client.sent())
    client.feed(wire.headers(1, (":status", "200"), flags=h.END_HEADERS), h.data(1, b"begin ", 0))
    client.feed(h.window_update(1, 100))
    assert wire.requests(client.sent())[1].ended
    client.feed(h.data(1, b"end"))
    assert (exchange.data, exchange.error) == (b"begin end", None)


def test_a_complete_answer_followed_by_a_reset(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    exchange = client.request()
    client.feed(wire.answer(1, 400, b"bad"), h.rst_stream(1, h.NO_ERROR))
    assert (exchange.status, exchange.data, exchange.error) == (400, b"bad", None)


def test_answers_in_any_order_and_interleaved(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    exchanges = [client.request() for _ in range(6)]
    heads = [wire.headers(e.stream_id, (":status", "200"), flags=h.END_HEADERS) for e in exchanges]
    client.feed(*heads)
    client.feed(*(h.data(e.stream_id, b"%d" % e.stream_id, 0) for e in reversed(exchanges)))
    client.feed(*(h.data(e.stream_id, b"!") for e in exchanges[3:] + exchanges[:3]))
    assert client.finished == exchanges[3:] + exchanges[:3]
    assert [e.data for e in exchanges] == [b"%d!" % e.stream_id for e in exchanges]


def test_an_honest_server_with_everything(dial: Dial) -> None:
    """Interim answer, header, body, trailers, as python-hyper/h2 writes them."""
    client, server = dial(started=False), HonestServer()
    converse(client, server)
    exchange = client.request(b'{"aps":{}}', ((b"apns-id", b"1"),))
    converse(client, server)
    (request,) = server.requests.values()
    assert (request.body, request.ended) == (b'{"aps":{}}', True)
    server.h2.send_headers(1, [(":status", "103"), ("link", "</x>")])
    server.h2.send_headers(1, [(":status", "200"), ("apns-id", "1")])
    server.h2.send_data(1, b"body", pad_length=20)
    server.h2.send_headers(1, [("x-trailer", "1")], end_stream=True)
    converse(client, server)
    assert (exchange.status, exchange.data, exchange.error) == (200, b"body", None)
