"""Header blocks of answers: the status is read as python-hyper/hpack reads it, or not at all."""

from __future__ import annotations

import hpack
import pytest
from hpack import huffman, huffman_constants
from hypothesis import given
from hypothesis import strategies as st

from pushcore.http2.blocks import MAX_CONTINUATIONS, HeaderBlockReader
from pushcore.http2.response_headers import LITERAL, STATUS_BY_BYTE, decode_block, plain_fields, read_status

HUFFMAN = huffman.HuffmanEncoder(huffman_constants.REQUEST_CODES, huffman_constants.REQUEST_CODES_LENGTH)


def strings(value: bytes) -> list[bytes]:
    coded = HUFFMAN.encode(value)
    return [bytes((len(value),)) + value, bytes((0x80 | len(coded),)) + coded]


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_in_every_form(status: int) -> None:
    value = str(status).encode()
    for update in (b"", b"\x20", b"\x20\x3f\xe1\x1f"[:1] * 2):
        for name in range(8, 15):
            for pattern in (0x00, 0x10, 0x40):
                for string in strings(value):
                    block = update + bytes((pattern | name,)) + string
                    assert hpack.Decoder().decode(block, raw=True) == [(b":status", value)]
                    assert read_status(block) == status
                    assert read_status(block + b"\x0f\x0d\x010") == status
    for sensitive in (False, True):
        encoder = hpack.Encoder()
        block = encoder.encode(
            [hpack.NeverIndexedHeaderTuple(":status", str(status))]
            if sensitive
            else [(":status", str(status))]
        )
        assert read_status(block) == status


def test_status_by_byte() -> None:
    for first in range(256):
        if STATUS_BY_BYTE[first] <= 0:
            continue
        assert hpack.Decoder().decode(bytes((first,)), raw=True) == [
            (b":status", b"%d" % STATUS_BY_BYTE[first])
        ]
    assert sorted(each for each in STATUS_BY_BYTE if each > 0) == [200, 204, 206, 304, 400, 404, 500]


def test_literal_statuses_are_marked_in_all_three_forms() -> None:
    marked = {first for first in range(256) if STATUS_BY_BYTE[first] == LITERAL}
    assert marked == {form | name for form in (0x00, 0x10, 0x40) for name in range(8, 15)}
    for first in marked:
        assert read_status(bytes((first, 3)) + b"410") == 410


@pytest.mark.parametrize(
    "block", [b"\x3f\x88\x01\x8c", b"\x3f\x8c\x01\x88", b"\x20\x3f\x88\x01\x8c", b"\x21\x88"], ids=bytes.hex
)
def test_a_size_update_above_0_is_not_read_over(block: bytes) -> None:
    """We announce a table of 0, so it is illegal; a long one even holds bytes that look like a status."""
    assert read_status(block) == 0
    reader = HeaderBlockReader()
    for number, received in enumerate((b"\x20\x88", block)):
        reader.begin(2 * number + 1, received, end_stream=True)
        status, _ = reader.read()
    assert [(b":status", b"%d" % status)] == hpack.Decoder().decode(block, raw=True)


@given(st.binary(max_size=12))
def test_read_status_reads_what_hpack_reads(block: bytes) -> None:
    """It never raises, and never reads another status than a real decoder; it may give up (0)."""
    status = read_status(block)
    if not status:
        return
    try:
        fields = list(hpack.Decoder().decode(block, raw=True))
    except hpack.HPACKError:
        return  # the rest of the block is broken; nobody has asked for it
    assert fields[0] == (b":status", b"%d" % status)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\x20",
        b"\x48",
        b"\x08",
        b"\x48\x03",
        b"\x48\x0320",
        b"\x48\x03099",
        b"\x80",
        b"\xbe",
        b"\x00\x07:status\x03200",
        b"\x41\x03200",
        b"\x4f\x03200",
        b"\x0f\x03200",
        b"\x47\x03200",
    ],
)
def test_an_unreadable_status_is_zero(block: bytes) -> None:
    assert read_status(block) == 0


def test_decode_block_keeps_to_its_limit() -> None:
    block = hpack.Encoder().encode([("x", "v" * 100)])
    assert decode_block(block, 1000) == [(b"x", b"v" * 100)]
    with pytest.raises(hpack.OversizedHeaderListError):
        decode_block(block, 100)


def test_fields_are_bytes_whichever_way_hpack_gives_them() -> None:
    assert plain_fields([(":status", b"200"), (b"x", "é")]) == [(b":status", b"200"), (b"x", "é".encode())]


# --- the reader ---------------------------------------------------------------------------------------------------


def test_a_block_may_have_eight_continuations() -> None:
    reader = HeaderBlockReader()
    assert (reader.pending, reader.stateless) == (False, False)
    for stream_id in (1, 3):
        reader.begin(stream_id, b"\x20\x88", end_stream=stream_id == 3)
        assert [reader.extend(b"") for _ in range(MAX_CONTINUATIONS)] == [True] * MAX_CONTINUATIONS
        assert (reader.stream_id, reader.end_stream, reader.pending) == (stream_id, stream_id == 3, True)
        assert reader.read() == (200, b"\x20\x88")
        assert (reader.pending, reader.stateless) == (False, True)
    reader.begin(5, b"\x88", end_stream=True)
    assert [reader.extend(b"") for _ in range(MAX_CONTINUATIONS + 1)][-1] is False
    assert MAX_CONTINUATIONS == 8


def test_a_block_may_have_64_kib() -> None:
    reader = HeaderBlockReader()
    reader.begin(1, b"x" * 65_535, end_stream=True)
    assert reader.extend(b"x")
    assert not reader.extend(b"x")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(":status", "200"), ("x", "1")], 200),
        ([(":status", "100")], 100),
        ([(":status", "599")], 599),
        ([(":status", "600")], 0),
        ([(":status", "099")], 0),
        ([(":status", "20")], 0),
        ([(":status", "2000")], 0),
        ([(":status", "2x0")], 0),
        ([("status", "200")], 0),
        ([("x", "1"), (":status", "200")], 0),
        ([], 0),
    ],
)
def test_a_block_that_uses_the_table_is_decoded_at_once(fields: list[tuple[str, str]], status: int) -> None:
    reader = HeaderBlockReader()
    reader.begin(1, hpack.Encoder().encode(fields), end_stream=True)
    decoded = [(name.encode(), value.encode()) for name, value in fields]
    assert reader.read() == (status, decoded)
    assert not reader.stateless
    reader.begin(3, hpack.Encoder().encode([(":status", "404")]), end_stream=True)
    assert reader.read() == (404, [(b":status", b"404")])


def test_a_value_may_have_any_bytes() -> None:
    block = b"\x20\x88\x00\x01x\x02\xff\xfe"
    assert decode_block(block, 1000) == [(b":status", b"200"), (b"x", b"\xff\xfe")]
    reader = HeaderBlockReader()
    reader.begin(1, block[1:], end_stream=True)
    assert reader.read() == (200, [(b":status", b"200"), (b"x", b"\xff\xfe")])
