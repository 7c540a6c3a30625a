"""RFC 9113, section 4.3, and RFC 7541: the compression state of both directions."""

from __future__ import annotations

import hpack
import pytest

from pushcore.errors import ProtocolError
from pushcore.http2.exchange import Exchange, header_of
from pushcore.http2.streams import ConnectionState
from tests.support import http2 as h
from tests.support.http2 import ClientHarness, Dial, UncheckedServer

TAIL = ((b"apns-id", b"11111111-2222-3333-4444-555555555555"), (b"apns-expiration", b"0"))


def fields_of(request: h.ServerRequest) -> dict[bytes, bytes]:
    assert len(dict(request.fields)) == len(request.fields), "a field was sent twice"
    return dict(request.fields)


# --- ours ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, 0, 1, 40, 100, 200, 4095, 4096, 4097, 65_536, 0xFFFF_FFFF])
def test_requests_keep_to_the_peers_table(dial: Dial, size: int | None) -> None:
    """The encoder's table is at most SETTINGS_HEADER_TABLE_SIZE; a change is said at the start of the next block."""
    client = dial(*([] if size is None else [(h.TABLE_SIZE, size)]))
    wire = UncheckedServer()
    if size is not None:
        wire.decoder.max_allowed_table_size = size
    client.connection.authorize(b"bearer " + b"x" * 150)
    for number in range(6):
        path = b"/3/device/%064x" % number
        client.request(b"{}", TAIL, path=path)
        (request,) = wire.requests(client.sent()).values()
        fields = fields_of(request)
        assert fields[b":path"] == path
        assert fields[b"apns-topic"] == b"com.example.app"
        assert fields[b"authorization"] == b"bearer " + b"x" * 150
        assert fields[b"apns-id"] == TAIL[0][1]
        names = [name for name, _ in request.fields]
        assert sorted(names, key=lambda name: not name.startswith(b":")) == names, (
            "pseudo-header fields first"
        )


@pytest.mark.parametrize(
    "sizes", [[0], [0, 4096], [100, 4096, 0], [50, 0, 200], [4096, 65_536, 10], [0, 0, 0]]
)
def test_the_table_may_change_at_any_time(dial: Dial, sizes: list[int]) -> None:
    """A change of the size takes effect with the acknowledgement, even in the middle of many requests."""
    client, wire = dial(), UncheckedServer()
    for size in sizes:
        client.connection.authorize(b"bearer %d" % size)
        for _ in range(2):
            client.request(b"{}", TAIL)
            (request,) = wire.requests(client.sent()).values()
            assert fields_of(request)[b"authorization"] == b"bearer %d" % size
        client.feed(h.settings((h.TABLE_SIZE, size)))
        wire.decoder.max_allowed_table_size = size
    client.request(b"{}", TAIL)
    assert wire.requests(client.sent())


def test_two_sizes_between_blocks(dial: Dial) -> None:
    """The smallest size that occurs between two blocks must be signalled, then the final one (RFC 7541, 4.2)."""
    client, wire = dial(), UncheckedServer()
    client.request(b"{}", TAIL)
    wire.requests(client.sent())
    client.feed(h.settings((h.TABLE_SIZE, 0)), h.settings((h.TABLE_SIZE, 4096)))
    wire.decoder.header_table.maxsize = 0  # what a peer does when its own setting took effect
    wire.decoder.header_table.maxsize = 4096
    for _ in range(3):
        client.request(b"{}", TAIL)
        (request,) = wire.requests(client.sent()).values()
        assert fields_of(request)[b"apns-topic"] == b"com.example.app"


@pytest.mark.parametrize(
    ("sizes", "announced"),
    [
        ([100, 65_536, 0], [0]),
        ([0, 0], [0]),
        ([100, 0, 200], [0, 200]),
        ([300, 300, 300], [300]),
        ([300, 100, 200], [100, 200]),
    ],
)
def test_several_sizes_between_blocks(dial: Dial, sizes: list[int], announced: list[int]) -> None:
    """One in between may be larger than the peer's newest size, and then an error to it."""
    client, wire = dial(), UncheckedServer()
    client.request(b"{}", TAIL)
    wire.requests(client.sent())
    client.feed(*(h.settings((h.TABLE_SIZE, size)) for size in sizes))
    client.request(b"{}", TAIL)
    sent = client.sent()
    block = h.only(sent, "HEADERS")[0].data
    assert block.startswith(b"".join(size_update(size) for size in announced))
    wire.decoder.max_allowed_table_size = sizes[-1]
    (request,) = wire.requests(sent).values()
    assert fields_of(request)[b"apns-topic"] == b"com.example.app"


def size_update(size: int) -> bytes:
    encoded = hpack.hpack.encode_integer(size, 5)
    encoded[0] |= 0x20
    return bytes(encoded)


def test_a_request_written_with_the_old_table_goes_out_before_the_acknowledgement(dial: Dial) -> None:
    client, wire = dial(), UncheckedServer()
    client.request(b"{}", TAIL)
    client.feed(h.settings((h.TABLE_SIZE, 0)))
    client.request(b"{}", TAIL)
    sent = client.sent()
    kinds = [type(one).__name__ for one in sent]
    assert kinds.index("HeadersFrame") < kinds.index("SettingsFrame")
    assert len(wire.requests(sent)) == 2


# --- theirs -------------------------------------------------------------------------------------------------------


def literal(pattern: int, bits: int, name: int, value: bytes, huffman: bool) -> bytes:
    text = hpack.huffman.HuffmanEncoder(
        hpack.huffman_constants.REQUEST_CODES, hpack.huffman_constants.REQUEST_CODES_LENGTH
    ).encode(value)
    assert name < (1 << bits) - 1
    string = bytes((0x80 | len(text),)) + text if huffman else bytes((len(value),)) + value
    return bytes((pattern | name,)) + string


@pytest.mark.parametrize("update", [b"", b"\x20"], ids=["eager", "stateless"])
@pytest.mark.parametrize("huffman", [False, True], ids=["raw", "huffman"])
@pytest.mark.parametrize(
    ("pattern", "bits"), [(0x00, 4), (0x10, 4), (0x40, 6)], ids=["plain", "never", "incremental"]
)
@pytest.mark.parametrize("status", [200, 410, 429, 503])
def test_every_literal_form_of_status_is_read(
    dial: Dial, update: bytes, huffman: bool, pattern: int, bits: int, status: int
) -> None:
    client = dial()
    for name in (8, 14):
        exchange = client.request()
        block = literal(pattern, bits, name, str(status).encode(), huffman)
        client.feed(h.frame(h.HEADERS, 0x5, exchange.stream_id, update + block))
        assert (exchange.status, exchange.error) == (status, None)
        update = b""


@pytest.mark.parametrize("status", [200, 204, 206, 304, 400, 404, 500])
def test_indexed_status(dial: Dial, wire: UncheckedServer, status: int) -> None:
    client = dial()
    one, two = client.request(), client.request()
    client.feed(wire.answer(1, status), wire.answer(3, status, b"body"))
    assert (one.status, two.status, two.data) == (status, status, b"body")


def test_a_peer_that_ignores_our_table_size_is_understood(dial: Dial) -> None:
    """We announce a table of 0. A server that indexes all the same is decoded with a table from its first block."""
    client, wire = dial(), UncheckedServer(table_size=4096)
    for number in range(10):
        exchange = client.request()
        # the same unknown status again and again: an index into the dynamic table from the second time on
        client.feed(wire.answer(exchange.stream_id, 410, b"{}", (("apns-id", str(number)), ("x", "same"))))
        assert (exchange.status, exchange.data) == (410, b"{}")
        assert header_of(exchange.header_block, b"apns-id") == str(number)
        assert header_of(exchange.header_block, b"x") == "same"


def test_a_table_is_kept_for_streams_that_we_have_cancelled(dial: Dial) -> None:
    """A receiver MUST decode the block of a stream that it ignores, to keep its state (section 4.3)."""
    client, wire = dial(), UncheckedServer(table_size=4096)
    client.feed(wire.answer(client.request().stream_id, 200, b"", (("a", "b"),)))
    cancelled = client.request()
    client.connection.cancel(cancelled)
    client.feed(wire.answer(cancelled.stream_id, 429, b"late", (("c", "d"),)))
    last = client.request()
    client.feed(wire.answer(last.stream_id, 429, b"", (("a", "b"), ("c", "d"))))
    assert last.status == 429
    assert header_of(last.header_block, b"c") == "d"


def test_a_size_update_above_what_we_allow(dial: Dial) -> None:
    """A size above the limit is a decoding error (RFC 7541, 4.2) and so COMPRESSION_ERROR (RFC 9113, 4.3)."""
    client = dial()
    client.request()
    client.sent()
    client.feed(h.frame(h.HEADERS, 0x5, 1, b"\x3f\xe2\x1f\x88"))  # 4097
    client.check_broken(h.COMPRESSION_ERROR, reference=h.PROTOCOL_ERROR)


@pytest.mark.parametrize("block", [b"\xff\xff\xff\xff\xff", b"\xbe", b"\x80", b"\x48\x83\xff"])
def test_a_block_that_cannot_be_decoded(dial: Dial, block: bytes) -> None:
    """A decoding error in a field block MUST be treated as a connection error of type COMPRESSION_ERROR.

    python-hyper/h2 calls it PROTOCOL_ERROR.
    """
    client = dial()
    exchange = client.request()
    client.sent()
    client.feed(h.frame(h.HEADERS, 0x5, 1, block))
    client.check_broken(h.COMPRESSION_ERROR, reference=h.PROTOCOL_ERROR)
    assert client.finished == [exchange]


def after_a_table_of_0(dial: Dial, block: bytes) -> tuple[ClientHarness, Exchange]:
    """A client whose peer has shown that it obeys our table of 0, and the request that this block answers."""
    client = dial()
    client.feed(h.frame(h.HEADERS, 0x5, client.request().stream_id, b"\x20\x88"))
    exchange = client.request()
    client.sent()
    client.feed(h.frame(h.HEADERS, 0x5, exchange.stream_id, block))
    return client, exchange


@pytest.mark.parametrize("block", [b"\x58\x01x", b""])
def test_an_unreadable_status_of_a_stateless_peer_ends_its_stream(dial: Dial, block: bytes) -> None:
    client, exchange = after_a_table_of_0(dial, block)
    assert client.finished[-1] is exchange
    assert isinstance(exchange.error, ProtocolError)
    client.check_alive()


@pytest.mark.parametrize("block", [b"\xbe", b"\x80", b"\x48\x83\xff"])
def test_a_block_of_a_stateless_peer_that_cannot_be_decoded(dial: Dial, block: bytes) -> None:
    """Blocks are read as far as the status; one in which there is none is decoded."""
    client, exchange = after_a_table_of_0(dial, block)
    client.check_broken(h.COMPRESSION_ERROR, reference=h.PROTOCOL_ERROR)
    assert client.finished[-1] is exchange


@pytest.mark.parametrize("pattern", [b"\x00", b"\x10", b"\x40"], ids=["plain", "never", "incremental"])
@pytest.mark.parametrize("name", [b"\x07:status", b"\x85\xb8\x84\x8d\x36\xa3"], ids=["raw", "huffman"])
def test_the_name_of_status_may_be_a_literal(dial: Dial, pattern: bytes, name: bytes) -> None:
    """An encoder need not use the static table (RFC 7541, section 6.2)."""
    client, exchange = after_a_table_of_0(dial, pattern + name + b"\x03410\x00\x01x\x01y")
    assert (exchange.status, exchange.error) == (410, None)
    assert header_of(exchange.header_block, b"x") == "y"
    interim, final = client.request(), client.request()
    client.feed(h.frame(h.HEADERS, 0x4, interim.stream_id, pattern + name + b"\x03103"))
    client.feed(h.frame(h.HEADERS, 0x5, final.stream_id, b"\x88"))
    assert (interim.status, final.status) == (0, 200)


def test_fields_are_decoded_only_when_asked_for(dial: Dial, wire: UncheckedServer) -> None:
    client = dial()
    exchange = client.request()
    client.feed(wire.answer(1, 200, b"", (("apns-id", "ABC"), ("apns-unique-id", "DEF"))))
    assert isinstance(exchange.header_block, bytes) is client.fast
    assert header_of(exchange.header_block, b"apns-unique-id") == "DEF"
    assert header_of(exchange.header_block, b"retry-after") is None
    assert client.state is ConnectionState.OPEN
