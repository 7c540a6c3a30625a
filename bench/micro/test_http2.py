"""Frames and header blocks: a thousand requests written, a thousand responses read."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from pushcore.http2 import frames
from pushcore.http2.connection import Connection
from pushcore.http2.exchange import NO_FIELDS, Exchange, request
from pushcore.http2.headers import HeaderEncoder, HeaderTemplate, path_literal
from pushcore.http2.response_headers import decode_block, read_status
from pushcore.http2.streams import Limits

BATCH = 1000
FIELDS = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":authority", b"api.push.apple.com"),
    (b"apns-topic", b"com.example.app"),
    (b"apns-push-type", b"alert"),
]
TEMPLATE = HeaderTemplate(FIELDS)
AUTHORIZATION = b"bearer " + b"x" * 180
BODY = b"x" * 194
PATHS = [b"/3/device/%064x" % number for number in range(BATCH)]
ID = b"eabeae54-14a8-11e5-b60b-1697f925ec7b"
# A name that is not indexed and a value, as APNs' answers carry their id; the first block empties the table.
ANSWER = b"\x88\x00\x07apns-id" + bytes([len(ID)]) + ID
MAX_STREAMS, INITIAL_WINDOW = 3, 4


def connection() -> Connection:
    """An open connection with enough streams and window for a batch."""
    made = Connection(Limits(timeout=60.0), 0.0)
    made.receive(frames.encode_settings([(MAX_STREAMS, BATCH), (INITIAL_WINDOW, 2**20)]), 0.0)
    made.receive(frames.encode_window_update(0, 2**26), 0.0)
    made.authorize(AUTHORIZATION)
    made.data_to_send()
    return made


def exchanges() -> deque[Exchange]:
    """A batch of requests."""
    return deque(request(TEMPLATE, path, BODY, NO_FIELDS, lambda _: None, None, 60.0) for path in PATHS)


def test_a_thousand_requests_out(benchmark: Any) -> None:
    """`take` and `data_to_send` of 1000 requests."""

    def ready() -> tuple[tuple[Connection, deque[Exchange]], dict[str, Any]]:
        made = connection()
        made.take(deque([request(TEMPLATE, PATHS[0], BODY, NO_FIELDS, lambda _: None, None, 60.0)]))
        made.receive(answers([1]), 0.0)
        made.data_to_send()
        return (made, exchanges()), {}

    def out(made: Connection, waiting: deque[Exchange]) -> int:
        made.take(waiting)
        return len(made.data_to_send())

    assert benchmark.pedantic(out, setup=ready, rounds=50) > BATCH * len(BODY)


def answers(streams: list[int]) -> bytes:
    """200 on each of these streams; the first begins with the table size update that a correct server sends."""
    responses = b"".join(
        frames.encode_headers(stream, ANSWER, end_stream=True, frame_size=16_384) for stream in streams[1:]
    )
    first = frames.encode_headers(streams[0], b"\x20" + ANSWER, end_stream=True, frame_size=16_384)
    return first + responses


@pytest.mark.parametrize("refused", [False, True], ids=["accepted", "refused"])
def test_a_thousand_answers_in(benchmark: Any, refused: bool) -> None:
    """`receive` of 1000 responses in pieces of 16 KiB."""

    def ready() -> tuple[tuple[Connection, list[bytes]], dict[str, Any]]:
        made = connection()
        made.take(exchanges())
        made.data_to_send()
        streams = list(made.streams)
        data = answers(streams)
        if refused:
            no = b"\x08\x03410" + ANSWER[1:]
            body = b'{"reason":"Unregistered","timestamp":1700000000000}'
            data = b"".join(
                frames.encode_headers(
                    stream, (b"\x20" if at == 0 else b"") + no, end_stream=False, frame_size=16_384
                )
                + frames.encode_frame(0, 1, stream, body)
                for at, stream in enumerate(streams)
            )
        return (made, [data[at : at + 16_384] for at in range(0, len(data), 16_384)]), {}

    def take_in(made: Connection, pieces: list[bytes]) -> int:
        for piece in pieces:
            made.receive(piece, 1.0)
        return len(made.finished)

    assert benchmark.pedantic(take_in, setup=ready, rounds=50) == BATCH


def test_a_header_block_for_a_template(benchmark: Any) -> None:
    """Once for each connection and combination of stable fields."""

    def build() -> int:
        encoder = HeaderEncoder()
        encoder.authorize(AUTHORIZATION)
        return len(encoder.build(TEMPLATE).prefix)

    assert benchmark(build) > 0


def test_a_path_as_a_literal(benchmark: Any) -> None:
    """What `build` saves for each push."""
    assert len(benchmark(path_literal, b"/3/device/" + b"a" * 64)) > 70


def test_the_status_of_a_block(benchmark: Any) -> None:
    """The status, without decoding the rest."""
    assert benchmark(read_status, ANSWER) == 200


def test_decoding_a_block(benchmark: Any) -> None:
    """Reading the apns-id that the provider made."""
    assert benchmark(decode_block, ANSWER, 16_384)[1] == (b"apns-id", ID)
