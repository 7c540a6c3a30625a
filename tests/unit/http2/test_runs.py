"""Runs of responses: what is read together is what would be read frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.http2.connection import Connection
from pushcore.http2.runs import LONGEST, LONGEST_WAIT, WORTH, ResponseRuns
from pushcore.http2.streams import Limits
from tests.support import http2 as h
from tests.support.http2 import ClientHarness

OPEN = 200
GHOSTS = (51, 53)
"""Streams whose callers have gone, while no RST_STREAM may be sent."""

ID = b"\x00\x07apns-id\x24" + b"0" * 36
# The last three are no answers of that length: a literal status, an interim one and one that cannot be read.
BLOCKS = [b"\x88" + ID, b"\x8c" + ID, b"\x88" + ID[:-1], b"\x48\x03410", b"\x08\x03100", b"\x08\x03abc"]


def opened(limits: Limits | None = None, first: int = 1) -> ClientHarness:
    """A connection with many open streams from `first` on, whose first answer has been read."""
    client = ClientHarness(limits=limits)
    client.feed(h.settings((h.MAX_STREAMS, 5000)), h.window_update(0, 1 << 24))
    client.connection.next_id = client.connection.written_id = first
    for _ in range(OPEN):
        client.request()
    client.sent()
    client.feed(h.frame(h.HEADERS, 0x5, first, b"\x20\x88"))
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
        (each.stream_id, each.status, each.status and each.header_block, each.data, str(each.error))
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


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each run that is read from now on, 0 for one that was looked for in vain."""
    sizes: list[int] = []
    read = ResponseRuns.read

    def listening(self: ResponseRuns, data: bytes, position: int, *rest: Any) -> tuple[int, int]:
        end, body = read(self, data, position, *rest)
        sizes.append(end - position)
        return end, body

    monkeypatch.setattr(ResponseRuns, "read", listening)
    return sizes


HEADERS_SIZE = 9 + len(BLOCKS[0])
DATA_SIZE = 9 + len(b"{}")


def test_a_run_is_read_together(sizes: list[int]) -> None:
    """The proof that the tests above try what they are for: one unpacking for a hundred responses."""
    frames = [h.frame(h.HEADERS, 0x5, 2 * number + 3, BLOCKS[0]) for number in range(20)]
    opened().feed(b"".join(frames))
    assert sizes == [(20 - 1 - WORTH) * HEADERS_SIZE]


@pytest.mark.parametrize("first", [(1 << 16) - 101, (1 << 24) - 101, (1 << 24) + 1])
@pytest.mark.parametrize("bodies", [False, True])
def test_a_connection_of_many_requests_still_has_runs(sizes: list[int], first: int, bodies: bool) -> None:
    """Its stream ids take more bytes, and change in several of them within one run."""
    client = opened(first=first)
    frames = [
        piece
        for number in range(1, 101)
        for piece in frames_of(first + 2 * number, BLOCKS[0], b"{}" if bodies else None, 0x4)
    ]
    client.feed(b"".join(frames))
    assert sizes == [(100 - 1 - WORTH) * (HEADERS_SIZE + bodies * DATA_SIZE)]
    assert [exchange.stream_id for exchange in client.finished] == [
        first + 2 * number for number in range(101)
    ]


def test_bodies_right_behind_their_headers_are_read_together(sizes: list[int]) -> None:
    """As Google sends them: a run of pairs, which begins behind a body."""
    frames = [piece for number in range(20) for piece in frames_of(2 * number + 3, BLOCKS[0], b"{}", 0x4)]
    client = opened()
    client.feed(b"".join(frames))
    assert sizes == [(20 - 1 - WORTH) * (HEADERS_SIZE + DATA_SIZE)]
    assert [exchange.data for exchange in client.finished[1:]] == [b"{}"] * 20


def test_headers_that_come_before_all_bodies_are_read_together(sizes: list[int]) -> None:
    """As nghttp2 sends them; in all, a run of headers and one of bodies. A few do not make the next ones cheaper."""
    client = opened()
    for batch in (range(20), range(20, 22), range(22, 42)):
        streams = [2 * number + 3 for number in batch if 2 * number + 3 not in GHOSTS]
        headers = [h.frame(h.HEADERS, 0x4, stream, BLOCKS[0]) for stream in streams]
        client.feed(b"".join([*headers, *(h.data(stream, b"{}") for stream in streams)]))
        assert [exchange.stream_id for exchange in client.finished][-len(streams) :] == streams
    count = 20 - 1 - WORTH
    # Two of the last batch are ghosts.
    assert sizes == [
        count * HEADERS_SIZE,
        count * DATA_SIZE,
        (count - 2) * HEADERS_SIZE,
        (count - 2) * DATA_SIZE,
    ]


def test_where_there_is_none_it_is_looked_for_more_rarely(sizes: list[int]) -> None:
    """Groups of equal responses that end where a run may begin, the next behind twice as many as the last."""
    blocks = [block for size in (1 + 3, 6, 12, 5) for block in [BLOCKS[0]] * size + [BLOCKS[2]]]
    client = opened()
    client.feed(*(h.frame(h.HEADERS, 0x5, 2 * number + 3, block) for number, block in enumerate(blocks)))
    assert sizes == [0, 0, 0]
    runs = ResponseRuns()
    waits = []
    for _ in range(10):
        waits.append(wait_of(runs))
        runs.read(b"", 0, h.END_STREAM | h.END_HEADERS, {}, [], 1)
    assert waits == [min(WORTH << tries, LONGEST_WAIT) for tries in range(10)]


def wait_of(runs: ResponseRuns) -> int:
    """Repetitions until a run may begin."""
    runs.restart()
    word = len(BLOCKS[0]) << 8 | h.HEADERS
    assert not runs.begins(word)
    return next(count for count in range(1, 2 * LONGEST_WAIT) if runs.begins(word))


HEAD, BODY, OTHER = 40 << 8 | h.HEADERS, 2 << 8 | h.DATA, 41 << 8 | h.HEADERS
LONG = (LONGEST + 1) << 8


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        ([HEAD] * 4, [3]),
        ([HEAD] * 6, [3, 4, 5]),
        ([BODY] * 4, [3]),
        ([HEAD, BODY] * 4, [7]),
        ([HEAD, BODY] * 5, [7, 9]),
        ([HEAD] * 3 + [BODY] * 4, [6]),
        ([HEAD, HEAD, BODY, BODY] * 4, []),
        ([HEAD, OTHER] * 9, []),
        ([HEAD] * 3 + [OTHER] * 2 + [HEAD] * 4, [8]),
        ([HEAD, OTHER, 3 << 8 | h.HEADERS] * 9, []),
        ([LONG | h.HEADERS] * 9, []),
        ([LONG | h.DATA] * 9, []),
        ([LONG | h.HEADERS, BODY] * 9, []),
        ([HEAD, LONG | h.DATA] * 9, []),
    ],
)
def test_the_table_of_states(words: list[int], begins: list[int]) -> None:
    """By the number of the frame: behind which of them a run may begin."""
    runs = ResponseRuns()
    assert [number for number, word in enumerate(words) if runs.begins(word)] == begins


def test_frames_of_another_read_are_no_repetition() -> None:
    runs = ResponseRuns()
    for _ in range(20):
        runs.restart()
        assert not any(runs.begins(HEAD) for _ in range(WORTH))


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


BODILESS = [h.frame(h.HEADERS, 0x5, 2 * number + 3, BLOCKS[0]) for number in range(20)]
PAIRS = [piece for number in range(20) for piece in frames_of(2 * number + 3, BLOCKS[0], b"{}", 0x4)]
HEADERS_FIRST = sorted(PAIRS, key=lambda frame: frame[3], reverse=True)
LITERAL = b"\x48\x03410" + (b"\x00\x07apns-id\x20" + b"0" * 36)[: len(BLOCKS[0]) - 5]
"""A block as long as the first, whose status has to be read. Its field is cut short, which is found on demand only."""


@pytest.mark.parametrize(
    "frames",
    [
        BODILESS,
        PAIRS,
        HEADERS_FIRST,
        [*BODILESS[:10], BODILESS[2], *BODILESS[10:]],  # a stream that has ended
        [*HEADERS_FIRST[:10], HEADERS_FIRST[2], *HEADERS_FIRST[10:]],  # a stream whose response has begun
        [*HEADERS_FIRST[:35], HEADERS_FIRST[22], *HEADERS_FIRST[35:]],
        [*HEADERS_FIRST[:7], *HEADERS_FIRST[10:]],  # three bodies without headers
        [*PAIRS[:20], *PAIRS[2:4], *PAIRS[20:]],
        [*PAIRS[:22], PAIRS[22], PAIRS[25], PAIRS[24], PAIRS[23], *PAIRS[26:]],  # two bodies change places
        [*PAIRS[:8], PAIRS[8], PAIRS[11], PAIRS[10], PAIRS[9], *PAIRS[12:]],
        [*BODILESS[:4], h.frame(h.HEADERS, 0x5, 11, LITERAL), *BODILESS[5:]],
        [*BODILESS[:8], h.frame(0x5, 0x5, 19, BLOCKS[0]), *BODILESS[9:]],
        [*BODILESS[:8], h.frame(h.HEADERS, 0x5, 19, BLOCKS[1]), *BODILESS[9:]],
        [*PAIRS[:8], h.frame(h.HEADERS, 0x4, 11, LITERAL), *PAIRS[9:]],
        [*HEADERS_FIRST[:4], h.frame(h.HEADERS, 0x4, 11, LITERAL), *HEADERS_FIRST[5:]],
        [h.data(3, b"x", 0), *BODILESS],
    ],
    ids=[
        "bodiless",
        "pairs",
        "headers first",
        "ended",
        "begun",
        "whole",
        "no headers",
        "pair twice",
        "crossed",
        "crossed first",
        "literal",
        "promise",
        "another status",
        "literal pair",
        "literal headers",
        "data",
    ],
)
def test_a_run_is_read_like_its_frames(frames: list[bytes]) -> None:
    assert read([b"".join(frames)]) == read(frames)


def test_a_run_that_was_not_there_resets_the_repetitions() -> None:
    runs = ResponseRuns()
    for after in (WORTH, 2 * WORTH, 4 * WORTH):
        assert not any(runs.begins(HEAD) for _ in range(after - (after > WORTH)))
        assert runs.begins(HEAD)
        assert runs.read(b"", 0, h.END_STREAM | h.END_HEADERS, {}, [], 1) == (0, 0)


def test_frames_of_different_reads_begin_no_run(sizes: list[int]) -> None:
    client = opened()
    for frame in BODILESS:
        client.feed(frame)
    assert sizes == []


@pytest.mark.parametrize(
    "frames", [BODILESS, PAIRS, HEADERS_FIRST], ids=["bodiless", "pairs", "headers first"]
)
@pytest.mark.parametrize("cut", [1, 5, 11, 12, 60])
def test_a_run_that_is_cut_short_is_read_like_its_pieces(frames: list[bytes], cut: int) -> None:
    raw = b"".join(frames)[:-cut]
    assert read([raw]) == read([raw[at : at + 50] for at in range(0, len(raw), 50)])
