"""Runs of answers: frames of one length, one behind the other, are unpacked together.

A provider answers a burst of pushes with a burst of answers, and those that say the same are of the same length. What
`Connection.receive` does for each frame by itself (find its end, see whether it is whole, cut out its block) is done
here for a whole run by one `struct.Struct.iter_unpack`, in C. Whatever does not look like the run ends it, untouched:
the scan goes on from there, so nothing is decided here that is not decided there in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Final

from . import frames
from .exchange import Exchange
from .headers import STATUS_BY_BYTE, read_status

LONGEST: Final = 1024
"""Bytes of a frame's payload that may be part of a run; Apple's and Google's answers are much shorter."""
WORTH: Final = 3
"""Answers of one length that must have come before the next are taken for a run: to look for one in vain costs as much
as two answers by themselves."""
LONGEST_PATIENCE: Final = 1024
"""What `WORTH` becomes, doubled each time, where runs are looked for in vain: Huffman coded ids differ in length."""

_HEAD: Final = 9
_END: Final = frames.END_HEADERS | frames.END_STREAM


@lru_cache(maxsize=256)
def _single(block: int) -> Struct:
    return Struct(f">IBI{block}s")


@lru_cache(maxsize=256)
def _pair(block: int, body: int) -> Struct:
    return Struct(f">IBI{block}sIBI{body}s")


def read_answers(
    data: bytes, position: int, word: int, streams: dict[int, Exchange], finish: Callable[[Exchange], None]
) -> int:
    """Finish the streams that HEADERS frames with END_STREAM answer, as long as their first word is `word`.

    They begin at `position`; returns where the first one begins that is not part of the run.
    """
    size = _HEAD + (word >> 8)
    whole = (len(data) - position) // size * size
    pop = streams.pop
    for head, flags, stream_id, block in _single(word >> 8).iter_unpack(
        memoryview(data)[position : position + whole]
    ):
        status = STATUS_BY_BYTE[block[0]]
        if status < 0:
            status = read_status(block)
        if head != word or flags != _END or status < 200:
            break
        exchange = pop(stream_id, None)
        if exchange is None:
            break
        if exchange.status:
            streams[stream_id] = exchange
            break
        exchange.status = status
        exchange.block = block
        finish(exchange)
        position += size
    return position


def read_pairs(
    data: bytes,
    position: int,
    word: int,
    body_word: int,
    credit: int,
    streams: dict[int, Exchange],
    finish: Callable[[Exchange], None],
) -> int:
    """The same for answers of a HEADERS frame and, right behind it, one DATA frame that ends the stream.

    The bodies together are smaller than `credit`, what the peer may still send in DATA frames.
    """
    size = 2 * _HEAD + (word >> 8) + (body_word >> 8)
    most = min((len(data) - position) // size, (credit - 1) // max(body_word >> 8, 1))
    pop = streams.pop
    for head, flags, stream_id, block, body_head, body_flags, body_stream, body in _pair(
        word >> 8, body_word >> 8
    ).iter_unpack(memoryview(data)[position : position + most * size]):
        status = STATUS_BY_BYTE[block[0]]
        if status < 0:
            status = read_status(block)
        if (
            head != word
            or flags != frames.END_HEADERS
            or status < 200
            or body_head != body_word
            or body_flags != frames.END_STREAM
            or body_stream != stream_id
        ):
            break
        exchange = pop(stream_id, None)
        if exchange is None:
            break
        if exchange.status:
            streams[stream_id] = exchange
            break
        exchange.status = status
        exchange.block = block
        exchange.data = body
        finish(exchange)
        position += size
    return position
