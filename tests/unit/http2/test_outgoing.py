"""What leaves a connection: batches, bodies in parts and cancelled requests, as hyperframe and python-hyper/h2 read them.

The rules of RFC 9113 are in `tests/protocol`, for both engines. Here is what `take` and `data_to_send` promise beyond.
"""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushcore.errors import ConnectionLost, HeaderListTooLarge
from pushcore.http2.connection import Connection
from pushcore.http2.exchange import Exchange, request
from pushcore.http2.flow_control import QUICK
from pushcore.http2.headers import Field, FrameLayout, HeaderTemplate, list_size
from pushcore.http2.outgoing import MAX_CANCELLED
from pushcore.http2.streams import Limits
from tests.support import http2 as h
from tests.support.http2 import TEMPLATE, ClientHarness, HonestServer, UncheckedServer, converse

OTHER = HeaderTemplate(
    [*TEMPLATE.fields[:3], (b"apns-topic", b"com.example.other"), (b"apns-priority", b"5")]
)
BODY = bytes(range(256)) * 40


def exchange_of(
    body: bytes = b"{}",
    path: bytes = b"/3/device/abc",
    own_fields: tuple[Field, ...] = (),
    template: HeaderTemplate = TEMPLATE,
) -> Exchange:
    return request(template, path, body, own_fields, lambda _: None)


def opened(*pairs: tuple[int, int], warm: bool = True) -> ClientHarness:
    """A connection whose peer has sent its SETTINGS; `warm`, one that has sent a request of each template."""
    client = ClientHarness()
    client.sent()
    client.feed(h.settings((h.MAX_STREAMS, 1000), *pairs))
    if warm:
        wire = UncheckedServer()
        for template in (TEMPLATE, OTHER):
            client.feed(wire.answer(client.request(b"", template=template).stream_id))
    client.sent()
    return client


def take(client: ClientHarness, *exchanges: Exchange) -> list[Exchange]:
    """Offer them together; those that the connection has not taken."""
    waiting = deque(exchanges)
    client.connection.take(waiting)
    client.opened += [each for each in exchanges if each not in waiting]
    return list(waiting)


def set_window(client: ClientHarness, size: int) -> None:
    """What the connection may still send, as if the rest had been spent."""
    assert isinstance(client.connection, Connection)
    client.connection.window = size


def data_of(client: ClientHarness) -> list[tuple[int, int]]:
    """Stream and size of each DATA frame that is to be written."""
    return [(one.stream_id, len(one.data)) for one in h.only(client.sent(), "DATA")]


# --- take ---------------------------------------------------------------------------------------------------------


def test_a_batch_is_opened_in_order_on_consecutive_streams() -> None:
    client = opened()
    batch = [exchange_of(b"%d" % number, b"/3/device/%04d" % number) for number in range(50)]
    assert take(client, *batch) == []
    assert [each.stream_id for each in batch] == list(range(5, 105, 2))
    sent = client.sent()
    assert [one.stream_id for one in h.only(sent, "HEADERS")] == list(range(5, 105, 2))
    assert [one.data for one in h.only(sent, "DATA")] == [each.body for each in batch]


def test_names_that_are_new_to_the_table_may_come_up_within_a_batch() -> None:
    client, server = ClientHarness(), HonestServer()
    converse(client, server)
    client.connection.authorize(b"bearer one")
    client.request()
    converse(client, server)
    field_lists: list[tuple[Field, ...]] = [
        (),
        ((b"apns-id", b"1"),),
        (),
        ((b"apns-new", b"2"),),
        (),
        (),
    ]
    batch = [exchange_of(own_fields=own_fields) for own_fields in field_lists]
    assert take(client, *batch) == []
    converse(client, server)
    for exchange in batch:
        fields = server.requests[exchange.stream_id].fields
        assert fields == [
            *TEMPLATE.fields[:3],
            (b":path", b"/3/device/abc"),
            *TEMPLATE.fields[3:],
            (b"authorization", b"bearer one"),
            *exchange.own_fields,
        ]


def test_a_field_of_ones_own_may_have_any_size_in_each_request_of_a_batch() -> None:
    client, server = ClientHarness(), HonestServer()
    converse(client, server)
    sizes = [(3, 10), (3, 10), (3, 11), (36, 11), (126, 10), (127, 10), (200, 10), (3, 10), (36, 11)]
    batch = [
        exchange_of(b"b" * size, own_fields=((name, b"%d" % number * length),))
        for number, (length, size) in enumerate(sizes)
        for name in (b"apns-id", b"apns-expiration")
    ]
    batch += [exchange_of(own_fields=((b"apns-id", b"1" * 36), (b"apns-expiration", b"2" * 36)))]
    for part in (
        batch[:1],
        batch[1:2],
        batch[2:],
        [exchange_of(b"b" * 10, own_fields=((b"apns-id", b"abc"),))],
    ):
        assert take(client, *part) == []
        converse(client, server)
        for exchange in part:
            received = server.requests[exchange.stream_id]
            own = exchange.own_fields
            assert received.fields[-len(own) :] == list(own)
            assert (received.body, received.ended) == (exchange.body, True)


def test_requests_without_a_free_stream_stay_in_order() -> None:
    client = opened((h.MAX_STREAMS, 3))
    batch = [exchange_of() for _ in range(5)]
    assert take(client, *batch) == batch[3:]
    assert take(client, *batch[3:]) == batch[3:]


def test_a_body_without_credit_stays_first_even_if_a_smaller_one_would_fit() -> None:
    client = opened((h.INITIAL_WINDOW, 1 << 20))
    set_window(client, 100)
    large, small = exchange_of(b"x" * 200), exchange_of(b"y" * 10)
    assert take(client, exchange_of(b"z" * 50), large, small) == [large, small]
    assert client.connection.window == 50
    client.feed(h.window_update(0, 150))
    assert take(client, large, small) == [small]
    assert client.connection.window == 0


def test_a_batch_of_equal_bodies_stops_where_the_credit_ends() -> None:
    client = opened()
    set_window(client, 350)
    batch = [exchange_of(b"x" * 100) for _ in range(5)]
    assert take(client, *batch) == batch[3:]
    assert client.connection.window == 50


def test_a_body_larger_than_all_credit_begins_when_nothing_else_is_open() -> None:
    client = opened((h.INITIAL_WINDOW, 1 << 20))
    set_window(client, 100)
    large = exchange_of(b"x" * 250)
    assert take(client, large) == []
    assert data_of(client) == [(5, 100)]
    client.feed(h.window_update(0, 100))
    assert data_of(client) == [(5, 100)]
    client.feed(h.window_update(0, 100))
    assert data_of(client) == [(5, 50)]
    assert client.connection.window == 50


@pytest.mark.parametrize("size", [1, 2, QUICK - 1, QUICK, QUICK + 1, 16_384, 16_385])
def test_every_size_of_body_arrives_whole_and_is_taken_from_the_window(size: int) -> None:
    client, wire = opened((h.INITIAL_WINDOW, 1 << 20)), UncheckedServer()
    for _ in range(2):
        before = client.connection.window
        exchange = client.request(BODY[:1] * size)
        sent = client.sent()
        assert sum(len(one.data) for one in h.only(sent, "DATA")) == size
        assert "END_STREAM" in sent[-1].flags
        assert client.connection.window == before - size
        client.feed(wire.answer(exchange.stream_id))


def test_a_request_without_a_body_ends_with_its_headers() -> None:
    client = opened()
    take(client, exchange_of(b""), exchange_of(b"x"), exchange_of(b""))
    sent = client.sent()
    assert [(type(one).__name__, one.stream_id, "END_STREAM" in one.flags) for one in sent] == [
        ("HeadersFrame", 5, True),
        ("HeadersFrame", 7, False),
        ("DataFrame", 7, True),
        ("HeadersFrame", 9, True),
    ]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([TEMPLATE, OTHER]),
            st.sampled_from([b"/3/device/a", b"/3/device/bb", b"/3/device/" + b"c" * 200]),
            st.sampled_from([0, 1, 1, 2, 100, 5000, 7000]),
            st.sampled_from([(), ((b"apns-id", b"1"),), ((b"apns-id", b"2"), (b"apns-expiration", b"0"))]),
            st.sampled_from([None, b"bearer a", b"bearer b"]),
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([0, 1000, 65_535, 1 << 20]),
)
def test_an_honest_server_reads_any_mix_of_requests_as_they_were_meant(
    mix: list[tuple[HeaderTemplate, bytes, int, tuple[Field, ...], bytes | None]], window: int
) -> None:
    client, server = ClientHarness(), HonestServer({h.INITIAL_WINDOW: window, h.MAX_STREAMS: 1000})
    converse(client, server)
    expected: list[tuple[Exchange, bytes | None]] = []
    value: bytes | None = None
    for number, (template, path, size, own_fields, authorization) in enumerate(mix):
        if authorization is not None:
            value = authorization
            client.connection.authorize(value)
        exchange = exchange_of(bytes([65 + number]) * size, path, own_fields, template)
        left = take(client, exchange)
        converse(client, server)
        if left:
            assert take(client, *left) == []
        expected.append((exchange, value))
    converse(client, server)
    assert len(server.requests) == len(mix)
    for exchange, authorization in expected:
        received = server.requests[exchange.stream_id]
        fields = dict(received.fields)
        assert fields[b":path"] == exchange.path
        assert fields.get(b"authorization") == authorization
        assert fields[b"apns-topic"] == dict(exchange.template.fields)[b"apns-topic"]
        assert set(exchange.own_fields) <= set(received.fields)
        if window or not exchange.body:
            assert received.body == exchange.body
            assert received.ended
        else:
            assert not received.ended


# --- bodies in parts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [0, 1, 1000])
def test_parts_of_several_bodies_follow_each_streams_own_credit(window: int) -> None:
    client = opened((h.INITIAL_WINDOW, window))
    take(client, exchange_of(BODY[:3000]), exchange_of(BODY[:3000]))
    assert data_of(client) == [(5, window), (7, window)] * bool(window)
    client.feed(h.window_update(7, 10))
    assert data_of(client) == [(7, 10)]
    client.feed(h.window_update(5, 5000))
    assert data_of(client) == [(5, 3000 - window)]
    client.feed(h.settings((h.INITIAL_WINDOW, window + 5)))
    assert data_of(client) == [(7, 5)]


def test_credit_of_the_connection_goes_to_the_oldest_body_first() -> None:
    client = opened((h.INITIAL_WINDOW, 1000), (h.MAX_FRAME, 16_384))
    set_window(client, 3000)
    take(client, exchange_of(BODY[:1500]), exchange_of(BODY[:1500]))
    assert data_of(client) == [(5, 1000), (7, 1000)]
    set_window(client, 0)
    client.feed(h.window_update(5, 500), h.window_update(7, 500))
    assert data_of(client) == []
    client.feed(h.window_update(0, 600))
    assert data_of(client) == [(5, 500), (7, 100)]


@pytest.mark.parametrize(("maximum", "sizes"), [(16_384, [16_384, 8_616]), (20_000, [20_000, 5000])])
def test_a_part_is_no_larger_than_the_peers_frames(maximum: int, sizes: list[int]) -> None:
    client = opened((h.INITIAL_WINDOW, 1 << 20), (h.MAX_FRAME, maximum))
    take(client, exchange_of(b"x" * 25_000))
    assert [size for _, size in data_of(client)] == sizes


def test_small_bodies_go_on_while_a_large_one_waits_for_its_stream() -> None:
    client = opened((h.INITIAL_WINDOW, 1000))
    take(client, exchange_of(BODY[:2000]), exchange_of(b"small"))
    assert data_of(client) == [(5, 1000), (7, 5)]


# --- expired or cancelled -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_fields", [(), ((b"apns-id", b"1"),)], ids=["one piece", "two pieces"])
@pytest.mark.parametrize("warm", [False, True])
def test_a_request_that_expires_before_it_is_written_is_none_to_the_server(
    own_fields: tuple[Field, ...], warm: bool
) -> None:
    client, server = ClientHarness(), HonestServer()
    converse(client, server)
    if warm:
        client.request(own_fields=own_fields)
        converse(client, server)
    kept, late = client.request(b"kept", own_fields), client.request(b"late", own_fields, deadline=5.0)
    before = client.connection.window
    client.tick(6.0)
    assert client.finished[-1] is late
    assert late.error is not None
    assert late.error.unprocessed
    assert client.connection.window == before + 4
    converse(client, server)
    assert server.requests[kept.stream_id].body == b"kept"
    assert server.requests[late.stream_id].pieces == []
    assert not server.requests[late.stream_id].ended
    last = client.request(b"last", own_fields)
    converse(client, server)
    assert server.requests[last.stream_id].body == b"last"


def test_a_written_request_that_expires_may_have_been_processed() -> None:
    client = opened()
    exchange = client.request(b"late", deadline=5.0)
    client.sent()
    before = client.connection.window
    client.tick(6.0)
    assert exchange.error is not None
    assert not exchange.error.unprocessed
    assert client.connection.window == before


def test_a_written_request_that_is_cancelled_keeps_its_credit() -> None:
    client = opened()
    exchange = client.request(b"gone")
    client.sent()
    before = client.connection.window
    client.connection.cancel(exchange)
    assert client.connection.window == before
    assert [one.error_code for one in h.only(client.sent(), "RST_STREAM")] == [h.CANCEL]


def test_a_cancelled_body_in_parts_sends_nothing_more() -> None:
    client = opened((h.INITIAL_WINDOW, 100))
    exchange = client.request(BODY)
    client.sent()
    client.connection.cancel(exchange)
    client.sent()
    client.feed(h.window_update(exchange.stream_id, 100), h.window_update(0, 100))
    assert data_of(client) == []


# --- what is written ----------------------------------------------------------------------------------------------


def test_everything_is_handed_over_once() -> None:
    client = ClientHarness()
    first = client.connection.data_to_send()
    assert first.startswith(h.PREFACE)
    assert client.connection.data_to_send() == b""
    client.feed(h.settings())
    assert client.connection.data_to_send() == h.SETTINGS_ACK


def test_a_new_authorization_holds_for_the_next_request_and_not_for_those_before() -> None:
    client, server = ClientHarness(), HonestServer()
    converse(client, server)
    client.connection.authorize(b"bearer one")
    one = client.request()
    client.connection.authorize(b"bearer two")
    assert client.connection.authorization == b"bearer two"
    two = client.request()
    converse(client, server)
    values = [dict(server.requests[each.stream_id].fields)[b"authorization"] for each in (one, two)]
    assert values == [b"bearer one", b"bearer two"]


def test_a_header_list_above_the_peers_limit_ends_its_push_and_no_other() -> None:
    client, server = ClientHarness(), HonestServer()
    converse(client, server)
    client.feed(h.settings((h.MAX_LIST, 300)))
    large, small = exchange_of(own_fields=((b"apns-collapse-id", b"x" * 300),)), exchange_of()
    assert take(client, large, small) == []
    client.collect()
    assert isinstance(large.error, HeaderListTooLarge)
    assert client.finished == [large]
    converse(client, server)
    assert server.requests[small.stream_id].ended
    assert not server.requests[large.stream_id].ended


# --- to the byte --------------------------------------------------------------------------------------------------


def test_a_header_list_above_the_peers_limit_is_reset_on_its_stream() -> None:
    client = opened((h.MAX_LIST, 300))
    large = exchange_of(own_fields=((b"apns-collapse-id", b"x" * 300),))
    assert take(client, large) == []
    sent = client.sent()
    assert [(type(one).__name__, one.stream_id) for one in sent] == [
        ("HeadersFrame", 5),
        ("RstStreamFrame", 5),
    ]
    assert sent[-1].error_code == h.CANCEL
    assert "300" in str(large.error)


@pytest.mark.parametrize("excess", [0, 1])
def test_a_header_list_of_the_peers_limit_is_sent(excess: int) -> None:
    client = opened()
    fields = [*TEMPLATE.fields, (b":path", b"/3/device/abc")]
    client.feed(h.settings((h.MAX_LIST, list_size(fields) - excess)))
    client.sent()
    exchange = client.request()
    assert isinstance(exchange.error, HeaderListTooLarge) is bool(excess)


def test_an_expired_request_whose_block_is_as_long_as_its_body_leaves_its_headers() -> None:
    """The block that inserts the template's fields leaves in a piece of its own; the peer must get it."""
    measured, client = opened(warm=False), opened(warm=False)
    measured.request()
    (headers,) = h.only(measured.sent(), "HEADERS")
    exchange = client.request(b"x" * headers.body_len, deadline=1.0)
    window = client.connection.window
    client.tick(1.0)
    assert exchange.error is not None
    assert exchange.error.unprocessed
    sent = client.sent()
    assert [type(one).__name__ for one in sent] == ["HeadersFrame", "RstStreamFrame"]
    assert client.connection.window == window + headers.body_len


@pytest.mark.parametrize("size", [0, 16_385], ids=["headers alone", "two frames of data"])
@pytest.mark.parametrize("warm", [False, True])
def test_an_expired_request_that_cannot_be_taken_back_leaves_whole(size: int, warm: bool) -> None:
    """As its end reaches the server, nobody may be told that it has not been processed."""
    client = opened((h.INITIAL_WINDOW, 1 << 20), warm=warm)
    exchange = client.request(b"x" * size, deadline=1.0)
    window = client.connection.window
    client.tick(1.0)
    assert exchange.error is not None
    assert not exchange.error.unprocessed
    assert client.connection.window == window
    *sent, reset = client.sent()
    assert "END_STREAM" in sent[-1].flags
    assert sum(len(one.data) for one in h.only(sent, "DATA")) == size
    assert (reset.stream_id, reset.error_code) == (exchange.stream_id, h.CANCEL)


def test_a_field_of_ones_own_is_packed_like_the_last_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first inserts the name, the second brings the new block, the third is the first of its sizes. No other is joined."""
    joined = []
    original = Connection._with_own_fields

    def counting(self: Connection, exchange: Exchange, layout: FrameLayout) -> bytes:
        joined.append(exchange.stream_id)
        return original(self, exchange, layout)

    monkeypatch.setattr(Connection, "_with_own_fields", counting)
    client, server = ClientHarness(), HonestServer()
    converse(client, server)
    for _ in range(3):
        client.request()
    batch = [exchange_of(own_fields=((b"apns-id", b"%036d" % number),)) for number in range(8)]
    assert take(client, *batch[:5]) == []
    assert take(client, *batch[5:]) == []
    two = exchange_of(own_fields=((b"apns-id", b"%036d" % 8), (b"apns-expiration", b"1")))
    assert take(client, two) == []
    assert joined == [batch[0].stream_id, batch[2].stream_id, two.stream_id]
    converse(client, server)
    for exchange in [*batch, two]:
        assert server.requests[exchange.stream_id].fields[-len(exchange.own_fields) :] == [
            *exchange.own_fields
        ]


def test_unwritten_frames_are_discarded_but_for_the_preface() -> None:
    client = ClientHarness()
    client.feed(h.settings())
    client.request()
    client.connection.lost(ConnectionLost("gone"))
    client.collect()
    settings, update = client.sent()
    assert settings.settings == {
        h.TABLE_SIZE: 0,
        h.ENABLE_PUSH: 0,
        h.INITIAL_WINDOW: 131_072,
        h.MAX_LIST: 16_384,
    }
    assert (update.stream_id, update.window_increment) == (0, 16_777_216 - 65_535)
    client = opened()
    client.request()
    client.connection.lost(ConnectionLost("gone"))
    client.collect()
    assert client.sent() == []


@pytest.mark.parametrize(("window", "updates"), [(65_535, 0), (65_536, 1)])
def test_the_window_is_widened_only_if_it_is_larger_than_the_default(window: int, updates: int) -> None:
    client = ClientHarness(limits=Limits(receive_window=window))
    increments = [one.window_increment for one in h.only(client.sent(), "WINDOW_UPDATE")]
    assert increments == [1] * updates


def test_an_initial_window_may_be_as_large_as_the_largest() -> None:
    client = opened((h.INITIAL_WINDOW, 0))
    exchange = client.request(b"x" * 100)
    client.sent()
    client.feed(h.settings((h.INITIAL_WINDOW, 0x7FFF_FFFF)))
    client.check_alive()
    assert data_of(client) == [(exchange.stream_id, 100)]


@pytest.mark.parametrize("excess", [0, 1])
def test_a_window_may_grow_to_the_largest_and_no_further(excess: int) -> None:
    client = opened((h.INITIAL_WINDOW, 0))
    upload = client.request(b"x" * 100)
    set_window(client, 1)
    client.sent()
    client.feed(h.window_update(0, 0x7FFF_FFFF - 1 + excess))
    if excess:
        client.check_broken(h.FLOW_CONTROL_ERROR)
        return
    client.check_alive()
    assert client.connection.window == 0x7FFF_FFFF
    client.feed(h.window_update(upload.stream_id, 0x7FFF_FFFF))
    client.check_alive()
    assert data_of(client) == [(upload.stream_id, 100)]


@pytest.mark.parametrize("excess", [0, 1])
def test_a_stream_whose_body_has_left_judges_one_update(excess: int) -> None:
    client = opened()
    exchange = client.request(b"x" * 100)
    client.sent()
    client.feed(h.window_update(exchange.stream_id, 0x7FFF_FFFF - 65_535 + 100 + excess))
    if excess:
        client.check_stream_error(exchange, h.FLOW_CONTROL_ERROR)
    else:
        client.check_alive()
        assert client.sent() == []


def test_the_streams_that_were_reset_are_forgotten_by_the_older_half() -> None:
    client = opened()
    connection = client.connection
    assert isinstance(connection, Connection)
    connection._cancelled = set(range(1, 2 * MAX_CANCELLED - 1, 2))
    connection._reset(19_999, h.CANCEL)
    assert len(connection._cancelled) == MAX_CANCELLED == 10_000
    connection._reset(20_001, h.CANCEL)
    assert connection._cancelled == {*range(10_001, 20_002, 2)}


def test_a_body_may_take_all_the_credit_beside_another_request() -> None:
    client = opened((h.INITIAL_WINDOW, 1 << 20))
    client.request(b"")
    client.sent()
    set_window(client, QUICK + 1)
    assert take(client, exchange_of(b"x" * (QUICK + 1))) == []
    assert data_of(client) == [(7, QUICK + 1)]


def test_a_window_of_a_body_in_parts_must_not_overflow() -> None:
    client = opened((h.INITIAL_WINDOW, 1000))
    set_window(client, 0)
    upload = client.request(b"x" * 100)
    client.sent()
    client.feed(h.window_update(upload.stream_id, 0x7FFF_FFFF - 1000))
    client.check_alive()
    assert client.finished[2:] == []
    client.feed(h.window_update(upload.stream_id, 1))
    client.check_stream_error(upload, h.FLOW_CONTROL_ERROR)


def test_a_lower_limit_of_the_header_list_holds_for_a_known_template() -> None:
    client = opened()
    for _ in range(3):
        assert client.request().error is None
    client.feed(h.settings((h.MAX_LIST, 50)))
    assert isinstance(client.request().error, HeaderListTooLarge)
