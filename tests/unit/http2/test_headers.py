"""Our header blocks, as python-hyper/hpack reads them."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.http2 import headers
from pushcore.http2.headers import (
    LARGEST_BLOCK,
    LONGEST_PATH,
    MAX_LAYOUTS,
    OWN_FIELDS,
    EncodedTemplate,
    Field,
    HeaderEncoder,
    HeaderTemplate,
    encode_integer,
    list_size,
    path_literal,
    path_literal_head,
)

# --- integers (RFC 7541, section 5.1 and appendix C.1) ------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "bits", "encoded"),
    [(10, 5, "0a"), (1337, 5, "1f9a0a"), (42, 8, "2a"), (30, 5, "1e"), (31, 5, "1f00"), (127, 7, "7f00")],
    ids=["C.1.1", "C.1.2", "C.1.3", "largest-short", "smallest-long", "seven-bits"],
)
def test_integers_of_the_rfc(value: int, bits: int, encoded: str) -> None:
    assert encode_integer(value, 0, bits).hex() == encoded


@given(st.integers(0, 1 << 32), st.integers(1, 8))
def test_integers(value: int, bits: int) -> None:
    raw = encode_integer(value, 0, bits)
    assert raw == bytes(hpack.hpack.encode_integer(value, bits))
    assert hpack.hpack.decode_integer(raw, bits) == (value, len(raw))


@given(st.integers(0, 1000))
def test_the_pattern_stays_in_front(value: int) -> None:
    assert encode_integer(value, 0x40, 6)[0] & 0xC0 == 0x40


# --- requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 75, 126, 127, 128, 254, 255, 1000, LONGEST_PATH])
def test_path_literals(length: int) -> None:
    path = (b"/3/device/" + b"a" * length)[:length]
    assert path_literal(path) == path_literal_head(length) + path
    decoder = hpack.Decoder()
    assert decoder.decode(path_literal(path), raw=True) == [(b":path", path)]
    assert len(decoder.header_table.dynamic_entries) == 0


def test_a_path_is_bounded() -> None:
    with pytest.raises(ValueError, match="1024"):
        path_literal(b"/" * (LONGEST_PATH + 1))


def test_list_size() -> None:
    assert list_size([(b"a", b"bc"), (b"", b"")]) == 35 + 32


def test_a_template_puts_pseudo_header_fields_first_and_keeps_the_order_else() -> None:
    fields = [(b"b", b"1"), (b":method", b"POST"), (b"a", b"2"), (b":scheme", b"https")]
    assert HeaderTemplate(fields).fields == (fields[1], fields[3], fields[0], fields[2])


class Peer:
    """One connection seen from both ends: our encoder, their decoder."""

    def __init__(self) -> None:
        self.encoder = HeaderEncoder()
        self.decoder = hpack.Decoder()

    def send(self, template: HeaderTemplate, path: bytes, own_fields: tuple[Field, ...] = ()) -> int:
        """One request, as `Connection.open` puts it together; the number of bytes of its block."""
        encoder = self.encoder
        block = encoder.blocks.get(template) or encoder.build(template)
        raw = block.prefix + path_literal(path) + block.suffix + encoder.encode_own_fields(own_fields)
        fields = [(name, value) for name, value in self.decoder.decode(raw, raw=True)]
        names = [name.startswith(b":") for name, _ in fields]
        assert names == sorted(names, reverse=True), "pseudo-header fields come first"
        expected = [*template.fields, (b":path", path), *own_fields]
        if encoder.authorization is not None:
            expected.append((b"authorization", encoder.authorization))
        assert sorted(fields) == sorted(expected)
        self.check_table()
        return len(raw)

    def resize(self, size: int) -> None:
        self.encoder.resize(size)
        self.decoder.max_allowed_table_size = size

    def check_table(self) -> None:
        """The mirror holds what the decoder's table holds, in its order, and no more than is allowed."""
        theirs = [(bytes(name), bytes(value)) for name, value in self.decoder.header_table.dynamic_entries]
        assert list(self.encoder._table) == theirs
        assert self.encoder._table_size == sum(len(name) + len(value) + 32 for name, value in theirs)
        assert self.encoder._table_size <= self.encoder.limit


def template_of(topic: int, size: int = 10) -> HeaderTemplate:
    return HeaderTemplate(
        [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", b"api.push.example"),
            (b"apns-topic", b"com.example.%d." % topic + b"t" * size),
            (b"apns-push-type", b"alert" if topic % 2 else b"background"),
        ]
    )


TEMPLATES = [template_of(number, number * 60) for number in range(12)]
TAILS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"apns-id", b"apns-expiration", b"apns-collapse-id", b"x-a", b"content-length", b"x-b"]
        ),
        st.binary(max_size=200),
    ),
    max_size=4,
    unique_by=lambda field: field[0],
).map(tuple)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from(TEMPLATES), st.binary(max_size=200), TAILS),
        st.tuples(st.just("authorize"), st.sampled_from([b"bearer a", b"bearer " + b"b" * 250, b"c" * 5000])),
        st.tuples(
            st.just("resize"), st.sampled_from([0, 1, 31, 60, 150, 400, 1000, 4095, 4096, 4097, 1 << 20])
        ),
    ),
    max_size=40,
)


@given(STEPS)
def test_any_sequence_is_understood(steps: list[tuple[object, ...]]) -> None:
    peer = Peer()
    for step in steps:
        match step:
            case ("send", HeaderTemplate() as template, bytes() as path, tuple() as own_fields):
                peer.send(template, path, own_fields)
            case ("authorize", bytes() as value):
                peer.encoder.authorize(value)
            case ("resize", int() as size):
                peer.resize(size)


@given(st.lists(st.sampled_from([0, 50, 300, 4096]), min_size=2, max_size=6), TAILS)
def test_any_sizes_between_two_blocks_are_signalled(sizes: list[int], own_fields: tuple[Field, ...]) -> None:
    peer = Peer()
    peer.send(TEMPLATES[1], b"/a", own_fields)
    for size in sizes:
        peer.resize(size)
    for _ in range(3):
        peer.send(TEMPLATES[1], b"/b", own_fields)


def test_a_warm_request_is_small() -> None:
    """One byte for each stable field, one for each name: what the design promises."""
    peer = Peer()
    peer.encoder.authorize(b"bearer " + b"x" * 250)
    template = template_of(1)
    path = b"/3/device/" + b"a" * 64
    for _ in range(4):
        peer.send(template, path, ((b"apns-id", b"i" * 36),))
    assert template in peer.encoder.blocks
    stable = len(template.fields) + 1
    assert peer.send(template, path) == stable + 2 + len(path)
    assert peer.send(template, path, ((b"apns-id", b"i" * 36),)) <= stable + 2 + len(path) + 3 + 36


def test_everything_fits_or_nothing_is_pushed_out() -> None:
    """200 topics on one key: those that have no room are literals, and the others keep their place."""
    peer = Peer()
    peer.encoder.authorize(b"bearer " + b"x" * 250)
    many = [template_of(number) for number in range(200)]
    for _ in range(3):
        sizes = [peer.send(template, b"/x") for template in many]
    before = list(peer.encoder._table)
    sizes = [peer.send(template, b"/x") for template in many]
    assert list(peer.encoder._table) == before
    assert sizes[0] < 20 < sizes[-1] < 60


def test_a_rotated_token_costs_one_insertion() -> None:
    peer = Peer()
    template = template_of(1)
    for number in range(30):  # more than the table holds
        peer.encoder.authorize(b"bearer %03d" % number + b"x" * 240)
        first, second, third = (peer.send(template, b"/x") for _ in range(3))
        assert first > 200
        assert second < 150  # what the insertion pushed out comes in again
        assert third < 15


def test_the_same_token_again_costs_nothing() -> None:
    peer = Peer()
    template = template_of(1)
    for _ in range(3):
        peer.encoder.authorize(b"bearer x")
        peer.send(template, b"/x")
    assert template in peer.encoder.blocks
    peer.encoder.authorize(b"bearer x")
    assert template in peer.encoder.blocks


def test_blocks_near_a_limit_are_never_ready_made() -> None:
    """`Connection.open` checks neither the peer's header list nor its frame size for those that are."""
    encoder = HeaderEncoder()
    large = HeaderTemplate([(b"x", b"v" * 16_000)])
    for _ in range(3):
        encoder.build(large)
    assert large not in encoder.blocks
    small = template_of(1)
    encoder.list_limit = list_size(small.fields) + OWN_FIELDS
    encoder.build(small)
    encoder.build(small)
    assert small in encoder.blocks
    encoder.blocks.clear()
    encoder.list_limit -= 1
    encoder.build(small)
    assert small not in encoder.blocks


# --- to the byte --------------------------------------------------------------------------------------------------


def test_a_path_is_a_literal_with_the_fourth_name() -> None:
    assert path_literal(b"/x") == b"\x04\x02/x"


def test_a_block_uses_the_static_table_and_then_the_dynamic_one() -> None:
    encoder = HeaderEncoder()
    template = HeaderTemplate(
        [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", b"a.example"),
            (b"content-type", b"json"),
            (b"apns-topic", b"t"),
            (b"apns-topic", b"u"),
        ]
    )
    block = encoder.build(template)
    assert block.prefix == b"\x83\x87\x41\x09a.example"
    assert block.suffix == b"\x5f\x04json\x40\x0aapns-topic\x01t\x7e\x01u"
    assert template not in encoder.blocks
    block = encoder.build(template)
    assert (block.prefix, block.suffix) == (b"\x83\x87\xc1", b"\xc0\xbf\xbe")
    assert block.list_size == list_size(template.fields)
    assert encoder.blocks == {template: block}


FIELDS: list[Field] = [
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":method", b"DELETE"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":scheme", b"other"),
    *((name, b"v") for name in (b":authority", b"accept", b"authorization", b"content-length")),
    *((name, b"v") for name in (b"content-type", b"user-agent", b"apns-topic")),
]


@pytest.mark.parametrize("limit", [0, 4096])
@pytest.mark.parametrize("field", FIELDS, ids=repr)
def test_a_field_is_read_as_it_was_meant(field: Field, limit: int) -> None:
    """With and without a dynamic table, in a template and alone; its name costs no bytes if the static table has it."""
    peer = Peer()
    peer.resize(limit)
    for template in (HeaderTemplate([field]), HeaderTemplate([])):
        for _ in range(3):
            peer.send(template, b"/x", () if template.fields or field[0].startswith(b":") else (field,))
    size = peer.send(HeaderTemplate([field]), b"/x") - len(path_literal(b"/x"))
    assert size <= 3 + len(field[1]) + (len(field[0]) if field[0] == b"apns-topic" else 0)


def test_an_index_above_126_takes_two_bytes() -> None:
    peer = Peer()
    template = HeaderTemplate([(b"x%02d" % number, b"") for number in range(100)])
    peer.send(template, b"/x")
    for _ in range(2):
        assert peer.send(template, b"/x") == 65 + 2 * 35 + len(path_literal(b"/x"))


@pytest.mark.parametrize(("length", "kept"), [(LARGEST_BLOCK, True), (LARGEST_BLOCK + 1, False)])
def test_the_largest_block_is_kept_ready(length: int, kept: bool) -> None:
    encoder = HeaderEncoder()
    encoder.resize(0)
    encoder.build(HeaderTemplate([]))  # the next one does not have to say the table's size
    value = b"v" * (length - 6)  # a literal: 0, one byte and the name, three bytes of length
    template = HeaderTemplate([(b"x", value)])
    block = encoder.build(template)
    assert len(block.prefix + block.suffix) == length
    assert (template in encoder.blocks) is kept


def test_layouts_of_many_lengths_do_not_pile_up() -> None:
    block = EncodedTemplate(b"p", b"s", 0)
    layouts = [block.layout(b"/3/", length) for length in range(MAX_LAYOUTS)]
    assert [block.layout(b"/3/", length) for length in range(MAX_LAYOUTS)] == layouts
    assert len(block.layouts) == MAX_LAYOUTS == 64
    block.layout(b"/3/", MAX_LAYOUTS)
    assert list(block.layouts) == [MAX_LAYOUTS]


def test_packers_of_many_sizes_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "MAX_OWN_PACKERS", 3)
    layout = EncodedTemplate(b"p", b"s", 0).layout(b"/3/", 1)
    for size in range(4):
        assert [key[2] for key in layout.own_packers] == list(range(size))
        layout.add_own_packer(b"", b"apns-id", 36, size)
    assert [key[2] for key in layout.own_packers] == [3]


@pytest.mark.parametrize("length", [0, 1, 126, 127, 128, 300])
def test_an_own_field_may_have_any_length(length: int) -> None:
    peer = Peer()
    for _ in range(3):
        peer.send(template_of(1), b"/x", ((b"apns-id", b"i" * length),))


@pytest.mark.parametrize(("size", "inserted"), [(100, True), (99, False)])
def test_a_field_may_fill_the_whole_table(size: int, inserted: bool) -> None:
    encoder = HeaderEncoder()
    encoder.resize(size)
    template = HeaderTemplate([(b"x", b"v" * 67)])  # with 32 bytes of overhead: 100
    encoder.build(template)
    assert (len(encoder.build(template).suffix) == 1) is inserted


@pytest.mark.parametrize(("excess", "inserted"), [(0, True), (1, False)])
def test_a_field_may_fill_the_whole_table_of_a_new_encoder(excess: int, inserted: bool) -> None:
    encoder = HeaderEncoder()
    template = HeaderTemplate([(b"x", b"v" * (4096 - 33 + excess))])
    encoder.build(template)
    assert (len(encoder.build(template).suffix) == 1) is inserted
