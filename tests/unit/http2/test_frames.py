"""Frames as bytes, against hyperframe, which shares no code with ours."""

from __future__ import annotations

from typing import Any

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe import frame as theirs
from hypothesis import given
from hypothesis import strategies as st

from pushcore.http2 import frames
from tests.support import http2 as h
from tests.support.http2 import parse

ids = st.integers(0, 0x7FFF_FFFF)
words = st.integers(0, 0xFFFF_FFFF)


def one(raw: bytes) -> Any:
    (found,) = parse(raw)
    return found


def test_the_constants_are_those_of_the_rfc() -> None:
    for kind in theirs.FRAMES.values():
        name = {
            "RstStreamFrame": "RST_STREAM",
            "GoAwayFrame": "GOAWAY",
            "PushPromiseFrame": "PUSH_PROMISE",
        }.get(kind.__name__, kind.__name__.removesuffix("Frame").upper())
        name = {"WINDOWUPDATE": "WINDOW_UPDATE"}.get(name, name)
        if name != "ALTSVC":
            assert getattr(frames, name) == kind.type


@given(kind=st.integers(0, 255), flags=st.integers(0, 255), stream_id=ids, payload=st.binary(max_size=300))
def test_any_frame(kind: int, flags: int, stream_id: int, payload: bytes) -> None:
    raw = frames.encode_frame(kind, flags, stream_id, payload)
    word, seen_flags, seen_id = frames.HEAD.unpack_from(raw)
    assert (word >> 8, word & 0xFF, seen_flags, seen_id) == (len(payload), kind, flags, stream_id)
    assert raw[:3] == len(payload).to_bytes(3, "big")
    assert raw[3:9] == bytes((kind, flags)) + stream_id.to_bytes(4, "big")
    assert raw[9:] == payload


@given(st.dictionaries(st.integers(0, 0xFFFF), words, max_size=20))
def test_settings(pairs: dict[int, int]) -> None:
    raw = frames.encode_settings(pairs.items())
    found = one(raw)
    assert (found.settings, found.flags, found.stream_id) == (pairs, set(), 0)
    assert frames.decode_settings(raw[9:]) == list(pairs.items())


def test_settings_keep_their_order_and_repetitions() -> None:
    pairs = [(3, 1), (3, 2), (1, 0), (3, 3)]
    assert frames.decode_settings(frames.encode_settings(pairs)[9:]) == pairs


@given(st.binary(min_size=8, max_size=8), st.booleans())
def test_ping(opaque: bytes, ack: bool) -> None:
    found = one(frames.encode_ping(opaque, ack=ack))
    assert (found.opaque_data, "ACK" in found.flags) == (opaque, ack)


@given(ids, words, st.binary(max_size=50))
def test_goaway(last: int, code: int, debug: bytes) -> None:
    raw = frames.encode_goaway(last, code, debug)
    found = one(raw)
    assert (found.last_stream_id, found.error_code, found.additional_data) == (last, code, debug)
    assert frames.decode_goaway(raw[9:]) == (last, code, debug)


def test_the_reserved_bit_of_goaways_last_stream() -> None:
    assert frames.decode_goaway(b"\xff\xff\xff\xff\0\0\0\1") == (0x7FFF_FFFF, 1, b"")


@given(st.integers(1, 0x7FFF_FFFF), words)
def test_rst_stream(stream_id: int, code: int) -> None:
    raw = frames.encode_rst_stream(stream_id, code)
    assert (one(raw).stream_id, one(raw).error_code) == (stream_id, code)
    assert frames.decode_word(raw[9:]) == code


@given(ids, st.integers(1, 0x7FFF_FFFF))
def test_window_update(stream_id: int, increment: int) -> None:
    raw = frames.encode_window_update(stream_id, increment)
    assert (one(raw).stream_id, one(raw).window_increment) == (stream_id, increment)
    assert frames.decode_word(raw[9:]) == increment


def test_settings_ack() -> None:
    assert theirs.SettingsFrame(flags=["ACK"]).serialize() == frames.SETTINGS_ACK


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 21, 30, 95])
@pytest.mark.parametrize("end_stream", [True, False])
def test_headers_and_continuation(size: int, end_stream: bool) -> None:
    block = bytes(range(100))[:size]
    found = list(parse(frames.encode_headers(7, block, end_stream=end_stream, frame_size=10)))
    assert b"".join(piece.data for piece in found) == block
    assert [type(piece).__name__ for piece in found] == ["HeadersFrame"] + ["ContinuationFrame"] * (
        len(found) - 1
    )
    assert len(found) == max(1, -(-size // 10))
    assert all(piece.stream_id == 7 and len(piece.data) <= 10 for piece in found)
    assert ("END_STREAM" in found[0].flags) is end_stream
    assert ["END_HEADERS" in piece.flags for piece in found] == [False] * (len(found) - 1) + [True]


def test_the_codes_are_those_of_the_rfc() -> None:
    for code in ErrorCodes:
        assert getattr(frames, code.name) == code.value
    for setting in SettingCodes:
        if hasattr(frames, setting.name):
            assert getattr(frames, setting.name) == setting.value
    assert (frames.END_STREAM, frames.ACK, frames.END_HEADERS, frames.PADDED, frames.PRIORITY_FLAG) == (
        1,
        1,
        4,
        8,
        32,
    )
    assert (frames.HEADER_TABLE_SIZE, frames.MAX_HEADER_LIST_SIZE) == (1, 6)
    assert frames.HEAD_SIZE == frames.HEAD.size == 9
    assert frames.STREAM_MASK == frames.LARGEST_WINDOW == frames.LAST_STREAM_ID == 2**31 - 1
    assert (frames.DEFAULT_WINDOW, frames.DEFAULT_FRAME_SIZE, frames.LARGEST_FRAME_SIZE) == (
        65_535,
        2**14,
        2**24 - 1,
    )


def test_frames_to_the_byte() -> None:
    assert frames.encode_goaway(5, 2, b"x") == h.goaway(5, 2, b"x")
    assert frames.encode_ping(b"12345678") == h.ping()
    assert frames.encode_ping(b"12345678", ack=True) == h.ping(flags=h.ACK)
    assert frames.encode_rst_stream(7, 8) == h.rst_stream(7, 8)
    assert frames.encode_window_update(7, 8) == h.window_update(7, 8)
    assert frames.encode_settings([(1, 2), (3, 4)]) == h.settings((1, 2), (3, 4))


@pytest.mark.parametrize("end", [0, h.END_STREAM])
def test_only_the_last_frame_of_a_block_ends_it(end: int) -> None:
    assert frames.encode_headers(7, b"12345", end_stream=bool(end), frame_size=2) == (
        h.frame(h.HEADERS, end, 7, b"12")
        + h.frame(h.CONTINUATION, 0, 7, b"34")
        + h.frame(h.CONTINUATION, h.END_HEADERS, 7, b"5")
    )
    assert frames.encode_headers(7, b"12", end_stream=bool(end), frame_size=2) == h.frame(
        h.HEADERS, end | h.END_HEADERS, 7, b"12"
    )
