"""Runs of responses: frames that differ only in stream and content are unpacked together.

A provider answers a burst of pushes with a burst of responses, and equal responses have equal lengths. What
`Connection.receive` does for one frame (find its end, check that it is complete, cut out its payload) is done here for
a whole run by one `struct.Struct.iter_unpack`, in C. The run ends before the first frame that differs, and `receive`
continues with that frame. So both read every frame in the same way.

The bytes of a frame; those marked are equal in all frames of a run:

    0        3      4       5           9               9 + length
    +--------+------+-------+-----------+------ ... ----+
    | length | type | flags | stream id | payload       |
    +--------+------+-------+-----------+------ ... ----+
    |<------ equal -------->|           |<->| in HEADERS the first byte, too: the status

A run is a sequence of frames that repeats, with period 1 or 2 (H: HEADERS, D: DATA, *: with END_STREAM):

    H*H*H*H*H*H* ...           responses without a body
    H H H H ... D*D*D*D* ...   nghttp2 writes the headers of all responses first: two runs
    H D*H D*H D*H D* ...       each DATA directly after its HEADERS

`ResponseRuns` recognises a run by the first word of the frames (length and type). Its state is the last word, the word before
that, and the number of consecutive repetitions:

    the next word is              the last word     the one before it         neither
    ----------------------------  ----------------  ------------------------  -------
    repetitions                   one more          one more                  0
    a run may begin behind it     from `_after` on  from 2 * `_after` on      no
                                                    behind DATA
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from operator import length_hint
from struct import Struct
from typing import Final

from .exchange import Exchange
from .frames import DATA, END_HEADERS, END_STREAM, HEAD, HEAD_SIZE, HEADERS
from .response_headers import STATUS_BY_BYTE

LONGEST: Final = 1024
"""Bytes of a frame's payload that may be part of a run; Apple's and Google's responses are much shorter."""
WORTH: Final = 3
"""Repetitions before a run is tried: an attempt costs as much as reading eight responses one by one."""
LONGEST_WAIT: Final = 1024
"""The maximum of `WORTH`, which doubles after each attempt that finds no run: Huffman coded ids differ in length."""

_LONGEST_WORD: Final = LONGEST << 8 | 0xFF
_STREAM: Final = 5  # the offset of the stream id in a frame

Streams = dict[int, Exchange]


class ResponseRuns:
    """Recognises runs of responses on one connection and reads them."""

    __slots__ = ("_after", "_before", "_last", "_repeated")

    def __init__(self) -> None:
        self._after = WORTH
        self._last = self._before = self._repeated = 0

    def restart(self) -> None:
        """Forget the last frames: the next one does not directly follow them."""
        self._last = self._before = 0

    def begins(self, word: int) -> bool:
        """Whether a run may begin after this frame of a response. Called for each frame that is not in a run.

        Args:
            word: the first word of the frame, length << 8 | type.
        """
        last = self._last
        if word == last:
            self._before = word
            self._repeated = repeated = self._repeated + 1
            return repeated >= self._after and word <= _LONGEST_WORD
        before = self._before
        self._before = last
        self._last = word
        if word != before:
            self._repeated = 0
            return False
        self._repeated = repeated = self._repeated + 1
        return repeated >= 2 * self._after and word & 0xFF == DATA and max(word, last) <= _LONGEST_WORD

    def read(
        self, data: bytes, position: int, flags: int, streams: Streams, finished: list[Exchange], credit: int
    ) -> tuple[int, int]:
        """Read the run that begins at `position`, after a frame for which `begins` returned True.

        Args:
            data: what the peer sent.
            position: the end of that frame.
            flags: its flags.
            streams: the open streams; those that end move to `finished`.
            finished: exchanges that are complete.
            credit: bytes of DATA that the peer may still send; the run ends before it is used up.

        Returns:
            The end of the run (`position` if there is none), and the bytes of DATA in it.
        """
        word, before = self._last, self._before
        size, body = word >> 8, 0
        if word & 0xFF == HEADERS:
            record = HEAD_SIZE + size
            if flags & END_STREAM:
                count = _read_bodiless(data, position, size, streams, finished)
            else:
                count = _read_headers(data, position, size, streams)
        else:
            body = size
            most = (credit - 1) // max(body, 1)
            if word == before:
                record = HEAD_SIZE + body
                count = _read_bodies(data, position, body, most, streams, finished)
            else:
                block = before >> 8
                record = 2 * HEAD_SIZE + block + body
                count = _read_pairs(data, position, block, body, most, streams, finished)
        self._repeated = 0
        self._after = WORTH if count else min(2 * self._after, LONGEST_WAIT)
        return position + count * record, count * body


@lru_cache(maxsize=512)
def _single(size: int) -> Struct:
    return Struct(f">5xI{size}s")


@lru_cache(maxsize=256)
def _pair(block: int, body: int) -> Struct:
    return Struct(f">5xI{block}s9x{body}s")


def _read_bodiless(data: bytes, position: int, block: int, streams: Streams, finished: list[Exchange]) -> int:
    """Finish streams by HEADERS frames with END_STREAM, the first at `position`; returns how many.

    Their header blocks have `block` bytes and the same status.
    """
    size = HEAD_SIZE + block
    count, status = _alike_headers(data, position, size, len(data), block, END_HEADERS | END_STREAM)
    pop = streams.pop
    before = len(streams)
    with suppress(KeyError):  # a stream that is not open ends the run
        for stream_id, fragment in _single(block).iter_unpack(
            memoryview(data)[position : position + count * size]
        ):
            exchange = pop(stream_id)
            if exchange.status:
                streams[stream_id] = exchange
                break
            exchange.status = status
            exchange.header_block = fragment
            finished.append(exchange)
    return before - len(streams)


def _read_headers(data: bytes, position: int, block: int, streams: Streams) -> int:
    """The same for HEADERS frames without END_STREAM; no stream ends."""
    size = HEAD_SIZE + block
    count, status = _alike_headers(data, position, size, len(data), block, END_HEADERS)
    get = streams.get
    records = _single(block).iter_unpack(memoryview(data)[position : position + count * size])
    for stream_id, fragment in records:
        exchange = get(stream_id)
        if exchange is None or exchange.status:
            return count - length_hint(records) - 1
        exchange.status = status
        exchange.header_block = fragment
    return count


def _read_bodies(
    data: bytes, position: int, body: int, most: int, streams: Streams, finished: list[Exchange]
) -> int:
    """Finish streams by DATA frames of `body` bytes; at most `most` of them; returns how many."""
    size = HEAD_SIZE + body
    count = _alike(data, position, size, min((len(data) - position) // size, most), _data(body))
    pop = streams.pop
    before = len(streams)
    with suppress(KeyError):
        for stream_id, piece in _single(body).iter_unpack(
            memoryview(data)[position : position + count * size]
        ):
            exchange = pop(stream_id)
            if not exchange.status or exchange.data:
                streams[stream_id] = exchange
                break
            exchange.data = piece
            finished.append(exchange)
    return before - len(streams)


def _read_pairs(
    data: bytes,
    position: int,
    block: int,
    body: int,
    most: int,
    streams: Streams,
    finished: list[Exchange],
) -> int:
    """The same for responses of one HEADERS frame, directly followed by one DATA frame of `body` bytes with END_STREAM."""
    second = HEAD_SIZE + block  # where DATA begins
    size = second + HEAD_SIZE + body
    count, status = _alike_headers(data, position, size, most, block, END_HEADERS)
    count = _alike(data, position + second, size, count, _data(body))
    count = _same_streams(data, position, size, count, second)
    pop = streams.pop
    before = len(streams)
    for stream_id, fragment, piece in _pair(block, body).iter_unpack(
        memoryview(data)[position : position + count * size]
    ):
        exchange = pop(stream_id, None)
        if exchange is None:
            break
        if exchange.status:
            streams[stream_id] = exchange
            break
        exchange.status = status
        exchange.header_block = fragment
        exchange.data = piece
        finished.append(exchange)
    return before - len(streams)


def _alike_headers(
    data: bytes, position: int, size: int, most: int, block: int, flags: int
) -> tuple[int, int]:
    """The number of records of `size` bytes that begin with HEADERS of equal flags, length and status; and the status."""
    most = min((len(data) - position) // size, most)
    at = position + HEAD_SIZE
    status = STATUS_BY_BYTE[data[at]] if most else 0
    if status < 200:
        return 0, 0
    count = _alike(data, position, size, most, HEAD.pack(block << 8 | HEADERS, flags, 0)[:_STREAM])
    return _alike(data, at, size, count, data[at : at + 1]), status


def _data(body: int) -> bytes:
    """The first bytes of a DATA frame with END_STREAM and `body` bytes."""
    return HEAD.pack(body << 8 | DATA, END_STREAM, 0)[:_STREAM]


def _alike(data: bytes, position: int, size: int, count: int, expected: bytes) -> int:
    """The number of records, of `count` records of `size` bytes from `position` on, that begin with `expected`.

    One slice with a step has the same byte of all records, and is compared in C: a few ns per record in a run of 200.
    """
    for column in range(len(expected)):
        values = data[position + column : position + count * size : size]
        count -= len(values.lstrip(expected[column : column + 1]))
    return count


def _same_streams(data: bytes, position: int, size: int, count: int, second: int) -> int:
    """The number of records that have the same stream id in both frames; the second frame begins at `second`."""
    for column in range(_STREAM, HEAD_SIZE):
        end = position + count * size
        first, other = data[position + column : end : size], data[position + second + column : end : size]
        if first != other:
            count = next(number for number in range(count) if first[number] != other[number])
    return count
