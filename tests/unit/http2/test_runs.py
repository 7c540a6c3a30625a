"""Runs of answers: what is read together is what would be read frame by frame."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.http2.connection import Connection
from pushcore.http2.runs import LONGEST, LONGEST_PATIENCE, WORTH
from pushcore.http2.streams import Limits
from tests.support import http2 as h
from tests.support.http2 import ClientHarness

OPEN = 200
GHOSTS = (51, 53)
"""Streams whose callers have gone, while no RST_STREAM may be sent."""

ID = b"\x00\x07apns-id\x24" + b"0" * 36
# The last three are no answers of that length: a literal status, an interim one and one that cannot be read.
BLOCKS = [b"\x88" + ID, b"\x8c" + ID, b"\x88" + ID[:-1], b"\x48\x03410", b"\x08\x03100", b"\x08\x03abc"]


def opened(limits: Limits | None = None) -> ClientHarness:
    """A connection with many open streams, whose first answer has been read."""
    client = ClientHarness(limits=limits)
    client.feed(h.settings((h.MAX_STREAMS, 5000)), h.window_update(0, 1 << 24))
    for _ in range(OPEN):
        client.request()
    client.sent()
    client.feed(h.frame(h.HEADERS, 0x5, 1, b"\x20\x88"))
    client.connection._reset_budget = 0.0
    for exchange in client.opened:
        if exchange.stream_id in GHOSTS:
            client.connection.cancel(exchange)
    return client


def read(pieces: Sequence[bytes], limits: Limits | None = None) -> tuple[object, ...]:
    """All that can be seen of a connection that has read these pieces."""
    client = opened(limits)
    for piece in pieces:
        client.feed(piece)
    connection = client.connection
    assert isinstance(connection, Connection)
    ended = [
        (each.stream_id, each.status, each.status and each.block, each.data, str(each.error))
        for each in [*client.finished, *client.refused]
    ]
    return (
        sorted(ended),
        connection._credit,
        connection._consumed,
        connection.state,
        sorted(connection.streams),
        client.output(),
    )


# Mostly the same, for there are no runs else. The last stream was never opened.
answers = st.tuples(
    st.integers(1, OPEN + 1).map(lambda number: 2 * number + 1),
    st.sampled_from([BLOCKS[0]] * 12 + BLOCKS),
    st.sampled_from([None] + [b"{}"] * 9),
    st.sampled_from([0x4] * 15 + [0x0]),
)


def frames_of(stream: int, block: bytes, body: bytes | None, flags: int) -> list[bytes]:
    if body is None:
        return [h.frame(h.HEADERS, flags | 0x1, stream, block)]
    return [h.frame(h.HEADERS, flags, stream, block), h.data(stream, body)]


@pytest.mark.slow
@given(
    st.lists(answers, max_size=60, unique_by=lambda answer: answer[0]),
    st.lists(answers, max_size=2),
    st.booleans(),
)
def test_together_and_one_by_one(
    batch: list[tuple[int, bytes, bytes | None, int]],
    more: list[tuple[int, bytes, bytes | None, int]],
    interleaved: bool,
) -> None:
    frames = [frame for answer in batch + more for frame in frames_of(*answer)]
    if interleaved:  # all headers first, as HTTP/2 allows
        frames.sort(key=lambda frame: frame[3], reverse=True)
    assert read([b"".join(frames)]) == read(frames)


@pytest.mark.slow
@given(st.lists(st.booleans(), min_size=10, max_size=150), st.integers(0, 60), st.booleans())
def test_long_runs_with_strangers_in_them(same: list[bool], cut: int, bodies: bool) -> None:
    """Answers in order, some of which differ in length; the last one is not whole."""
    frames = []
    for number, plain in enumerate(same):
        stream = 2 * number + 3
        block = BLOCKS[0] if plain else BLOCKS[2]
        if bodies:
            frames += [h.frame(h.HEADERS, 0x4, stream, block), h.data(stream, b"{}")]
        else:
            frames.append(h.frame(h.HEADERS, 0x5, stream, block))
    raw = b"".join(frames)
    raw = raw[: len(raw) - cut]
    assert read([raw]) == read([raw[at : at + 50] for at in range(0, len(raw), 50)])


def noted(connection: Connection) -> list[int]:
    """The lengths of the runs that it finds from now on, 0 for one that was looked for in vain."""
    lengths: list[int] = []
    note = connection._found

    def found(length: int) -> None:
        lengths.append(length)
        note(length)

    connection._found = found  # type: ignore[method-assign, assignment]  # the test listens
    return lengths


def test_a_run_is_read_together() -> None:
    """The proof that the tests above try what they are for: one unpacking for a hundred answers."""
    client = opened()
    connection = client.connection
    assert isinstance(connection, Connection)
    lengths = noted(connection)
    frames = [h.frame(h.HEADERS, 0x5, 2 * number + 3, BLOCKS[0]) for number in range(20)]
    client.feed(b"".join(frames))
    assert lengths == [20 - 1 - WORTH]


def test_headers_that_come_before_all_bodies_are_read_together() -> None:
    """As nghttp2 sends them; in all, a run of headers and one of bodies. A few do not make the next ones cheaper."""
    client = opened()
    connection = client.connection
    assert isinstance(connection, Connection)
    lengths = noted(connection)
    for batch in (range(20), range(20, 22), range(22, 42)):
        streams = [2 * number + 3 for number in batch if 2 * number + 3 not in GHOSTS]
        heads = [h.frame(h.HEADERS, 0x4, stream, BLOCKS[0]) for stream in streams]
        client.feed(b"".join([*heads, *(h.data(stream, b"{}") for stream in streams)]))
        assert [each.stream_id for each in client.finished][-len(streams) :] == streams
    length = 20 - 1 - WORTH
    assert lengths == [length, length, length - 2, length - 2]  # two are ghosts


@pytest.mark.parametrize("bodies", [False, True])
def test_where_none_is_found_it_is_looked_for_more_rarely(bodies: bool) -> None:
    client = opened()
    connection = client.connection
    assert isinstance(connection, Connection)
    for _ in range(20):
        connection._found(0)
    assert connection._run_after == LONGEST_PATIENCE
    connection._found(1)
    assert connection._run_after == WORTH


def test_the_credit_ends_a_run_of_bodies() -> None:
    """What the peer may not send is no more read in a run than by itself."""
    limits = Limits(receive_window=65_535)
    body = b"x" * LONGEST
    frames = [
        piece
        for number in range(OPEN - 10)
        for piece in (h.frame(h.HEADERS, 0x4, 2 * number + 3, b"\x88"), h.data(2 * number + 3, body))
    ]
    together, alone = opened(limits), opened(limits)
    for client in (together, alone):
        client.connection.limits = Limits(receive_window=1 << 30)  # so that no credit is given back
    together.feed(b"".join(frames))
    for frame in frames:
        alone.feed(frame)
    assert together.connection.state is alone.connection.state
    together.check_broken(h.FLOW_CONTROL_ERROR)
    alone.check_broken(h.FLOW_CONTROL_ERROR)
    assert [each.stream_id for each in together.finished] == [each.stream_id for each in alone.finished]
