"""Runs of answers: frames that differ in nothing but stream and block are unpacked together.

A provider answers a burst of pushes with a burst of answers, and those that say the same are of the same length. What
`Connection.receive` does for each frame by itself (find its end, see whether it is whole, cut out its block) is done
here for a whole run by one `struct.Struct.iter_unpack`, in C. Whatever does not look like the run ends it, untouched:
the scan goes on from there, so nothing is decided here that is not decided there in the same way.

An answer without a body is one HEADERS frame. One with a body has its DATA frame right behind it, or behind the HEADERS
of all answers that the server wrote together (so does nghttp2, which writes headers first).
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from operator import length_hint
from struct import Struct
from typing import Final

from .answers import STATUS_BY_BYTE
from .exchange import Exchange
from .frames import DATA, END_HEADERS, END_STREAM, HEAD, HEAD_SIZE, HEADERS

LONGEST: Final = 1024
"""Bytes of a frame's payload that may be part of a run; Apple's and Google's answers are much shorter."""
WORTH: Final = 3
"""Answers of one length that must have come before the next are taken for a run: to look for one costs as much as some
answers by themselves."""
LONGEST_PATIENCE: Final = 1024
"""What `WORTH` becomes, doubled each time, where runs are looked for in vain: Huffman coded ids differ in length."""

_STREAM: Final = 5  # where the stream id stands in a frame, behind length, type and flags

Streams = dict[int, Exchange]


@lru_cache(maxsize=512)
def _single(size: int) -> Struct:
    return Struct(f">5xI{size}s")


@lru_cache(maxsize=256)
def _pair(block: int, body: int) -> Struct:
    return Struct(f">5xI{block}s9x{body}s")


def read_answers(data: bytes, position: int, block: int, streams: Streams, finished: list[Exchange]) -> int:
    """Finish the streams that HEADERS frames with END_STREAM answer, the first of which begins at `position`.

    They have blocks of `block` bytes and the same status. Returns how many there were.
    """
    size = HEAD_SIZE + block
    count, status = _heads(data, position, size, len(data), block, END_HEADERS | END_STREAM)
    pop = streams.pop
    before = len(streams)
    with suppress(KeyError):  # one that is not open ends the run
        for stream_id, content in _single(block).iter_unpack(
            memoryview(data)[position : position + count * size]
        ):
            exchange = pop(stream_id)
            if exchange.status:
                streams[stream_id] = exchange
                break
            exchange.status = status
            exchange.block = content
            finished.append(exchange)
    return before - len(streams)


def read_heads(data: bytes, position: int, block: int, streams: Streams) -> int:
    """The same for HEADERS frames whose DATA is still to come; no stream ends."""
    size = HEAD_SIZE + block
    count, status = _heads(data, position, size, len(data), block, END_HEADERS)
    get = streams.get
    records = _single(block).iter_unpack(memoryview(data)[position : position + count * size])
    for stream_id, content in records:
        exchange = get(stream_id)
        if exchange is None or exchange.status:
            return count - length_hint(records) - 1
        exchange.status = status
        exchange.block = content
    return count


def read_bodies(
    data: bytes, position: int, body: int, most: int, streams: Streams, finished: list[Exchange]
) -> int:
    """Finish the streams that DATA frames of `body` bytes end, `most` of them at most. Returns how many there were."""
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


def read_pairs(
    data: bytes,
    position: int,
    block: int,
    body: int,
    most: int,
    streams: Streams,
    finished: list[Exchange],
) -> int:
    """The same for answers of a HEADERS frame and, right behind it, one DATA frame of `body` bytes that ends the stream."""
    second = HEAD_SIZE + block  # where DATA begins
    size = second + HEAD_SIZE + body
    count, status = _heads(data, position, size, most, block, END_HEADERS)
    count = _alike(data, position + second, size, count, _data(body))
    count = _same_streams(data, position, size, count, second)
    pop = streams.pop
    before = len(streams)
    for stream_id, content, piece in _pair(block, body).iter_unpack(
        memoryview(data)[position : position + count * size]
    ):
        exchange = pop(stream_id, None)
        if exchange is None:
            break
        if exchange.status:
            streams[stream_id] = exchange
            break
        exchange.status = status
        exchange.block = content
        exchange.data = piece
        finished.append(exchange)
    return before - len(streams)


def _heads(data: bytes, position: int, size: int, most: int, block: int, flags: int) -> tuple[int, int]:
    """How many records, one every `size` bytes, begin with HEADERS alike in flags, length and status; and the status."""
    most = min((len(data) - position) // size, most)
    at = position + HEAD_SIZE
    status = STATUS_BY_BYTE[data[at]] if most else 0
    if status < 200:
        return 0, 0
    count = _alike(data, position, size, most, HEAD.pack(block << 8 | HEADERS, flags, 0)[:_STREAM])
    return _alike(data, at, size, count, data[at : at + 1]), status


def _data(body: int) -> bytes:
    """What a DATA frame of that size that ends its stream begins with."""
    return HEAD.pack(body << 8 | DATA, END_STREAM, 0)[:_STREAM]


def _alike(data: bytes, position: int, size: int, count: int, expected: bytes) -> int:
    """How many of `count` records, one every `size` bytes from `position` on, begin with what is expected.

    A column of them is one slice and is looked through in C: for a run of 200 answers this costs each of them a few ns.
    """
    for column in range(len(expected)):
        values = data[position + column : position + count * size : size]
        count -= len(values.lstrip(expected[column : column + 1]))
    return count


def _same_streams(data: bytes, position: int, size: int, count: int, second: int) -> int:
    """How many records name the same stream in both of their frames, the second of which begins at `second`."""
    for column in range(_STREAM, HEAD_SIZE):
        end = position + count * size
        first, other = data[position + column : end : size], data[position + second + column : end : size]
        if first != other:
            count = next(number for number in range(count) if first[number] != other[number])
    return count
