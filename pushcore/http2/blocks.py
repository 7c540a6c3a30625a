"""Header blocks of responses: put together from their frames, and decoded no further than needed.

We announce a header table of 0, so that each block stands for itself: its status is read from its first bytes and
the rest is decoded only on demand, so its other fields are not checked. A peer that obeys begins its first block with a size update to 0 (RFC 7541,
section 4.2). A peer that does not uses the default table, and all its blocks are decoded as they arrive.
"""

from __future__ import annotations

from typing import Final

import hpack

from .exchange import MAX_HEADER_LIST
from .headers import Field
from .response_headers import decode_block, plain_fields, read_status

MAX_CONTINUATIONS: Final = 8  # as nghttp2 since CVE-2024-28182; one is rare enough
MAX_BLOCK: Final = 64 * 1024  # bytes of one compressed header block over all its frames


class HeaderBlockReader:
    """The HPACK decoder of one connection, and the header block that is arriving."""

    __slots__ = ("_block", "_continuations", "_decoder", "_first", "end_stream", "stream_id")

    def __init__(self) -> None:
        self.stream_id = 0
        """The stream of the block that is arriving, or that arrived last."""
        self.end_stream = False
        """Whether its HEADERS frame ends the stream."""
        self._block: bytearray | None = None
        self._continuations = 0
        self._first = True
        self._decoder: hpack.Decoder | None = None

    @property
    def pending(self) -> bool:
        """Whether a block has begun: nothing but its CONTINUATION frames may come."""
        return self._block is not None

    @property
    def stateless(self) -> bool:
        """Whether a block can be read without the ones before it; true once the first has shown that the peer obeys our table size."""
        return not self._first and self._decoder is None

    def begin(self, stream_id: int, fragment: bytes, *, end_stream: bool) -> None:
        """HEADERS, without padding and priority."""
        self.stream_id = stream_id
        self.end_stream = end_stream
        self._block = bytearray(fragment)
        self._continuations = 0

    def extend(self, fragment: bytes) -> bool:
        """CONTINUATION; False when the block has become larger than we accept."""
        assert self._block is not None
        self._block += fragment
        self._continuations += 1
        return self._continuations <= MAX_CONTINUATIONS and len(self._block) <= MAX_BLOCK

    def read(self) -> tuple[int, bytes | list[Field]]:
        """The status (0 if there is none) and the header block: bytes, or fields if it had to be decoded.

        A block is decoded if it may depend on others, or does not begin with a status in one of the usual forms: then it
        is one in another form, or trailers.

        Raises `hpack.HPACKError` if a block that must be decoded is malformed.
        """
        assert self._block is not None
        block = bytes(self._block)
        self._block = None
        if self._first:
            self._first = False
            if block[:1] != b"\x20":
                self._decoder = hpack.Decoder(max_header_list_size=MAX_HEADER_LIST)
        if self._decoder is not None:
            fields = plain_fields(self._decoder.decode(block, raw=True))
        elif status := read_status(block):
            return status, block
        else:
            fields = decode_block(block, MAX_HEADER_LIST)
        return status_of(fields), fields


def status_of(fields: list[Field]) -> int:
    """The status of a decoded header block; 0 if its first field is none that HTTP has."""
    name, value = fields[0] if fields else (b"", b"")
    if name != b":status" or len(value) != 3 or not value.isdigit():
        return 0
    return int(value) if 100 <= int(value) < 600 else 0  # RFC 9110, section 15


def holds_pseudo_fields(block: bytes | list[Field]) -> bool:
    """Whether a header block that `HeaderBlockReader.read` returned cannot be trailers (RFC 9113, section 8.1)."""
    return isinstance(block, bytes) or any(name.startswith(b":") for name, _ in block)
