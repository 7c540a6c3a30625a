"""The reading side of a connection of `wire`: from bytes to frames and complete header blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import hpack
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import ContinuationFrame, Frame, HeadersFrame

from fakeservers.serving.types import Header

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = 9
TABLE = 4096
MAX_CONTINUATIONS = 64
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 1, 3, 5, 6
REFUSED_STREAM, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 7, 9, 11


class ProtocolViolation(Exception):
    """A protocol error of the client, with its error code."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


@dataclass(frozen=True, slots=True)
class HeaderBlock:
    """A complete header block."""

    stream_id: int
    headers: Sequence[Header]
    ended: bool
    """Whether the client sends no body."""


class Incoming:
    """Reads frames. `max_header_list`: bytes of one block's headers, encoded or decoded."""

    def __init__(self, max_header_list: int) -> None:
        self._max_block = max_header_list
        self._decoder = hpack.Decoder(max_header_list_size=max_header_list)
        self._unread = bytearray()
        self._greeted = False
        self._block = bytearray()  # of a block that continues in CONTINUATION
        self._block_of: tuple[int, bool] | None = None
        self._continuations = 0

    def allow_table(self, size: int) -> None:
        """Set the client's maximum compression table; until the client has acknowledged it, 4096 bytes are allowed as well."""
        self._decoder.max_allowed_table_size = max(TABLE, size)

    def read(self, data: bytes, largest: int) -> Iterator[tuple[HeaderBlock | Frame, int]]:
        """Complete header blocks, and other frames with the length of their payload, `largest` at most.

        Raises:
            ProtocolViolation: the client has broken the protocol.
        """
        self._unread += data
        unread, at = self._unread, 0
        if not self._greeted:
            if not PREFACE.startswith(bytes(unread[: len(PREFACE)])):
                raise ProtocolViolation(PROTOCOL_ERROR, "no preface")
            if len(unread) < len(PREFACE):
                return
            self._greeted, at = True, len(PREFACE)
        while len(unread) - at >= HEAD:
            try:
                frame, length = Frame.parse_frame_header(memoryview(bytes(unread[at : at + HEAD])))
                if length > largest:
                    raise ProtocolViolation(FRAME_SIZE_ERROR, "frame too large")
                if len(unread) - at < HEAD + length:
                    break
                frame.parse_body(memoryview(bytes(unread[at + HEAD : at + HEAD + length])))
            except HyperframeError as error:
                raise ProtocolViolation(PROTOCOL_ERROR, str(error)) from None
            at += HEAD + length
            if isinstance(frame, HeadersFrame | ContinuationFrame):
                block = self._collect_block(frame)
                if block is not None:
                    yield block, length
            elif self._block_of is not None:
                raise ProtocolViolation(PROTOCOL_ERROR, "a header block is not finished")
            else:
                yield frame, length
        del unread[:at]

    def _collect_block(self, frame: HeadersFrame | ContinuationFrame) -> HeaderBlock | None:
        """The block, when it is complete with this frame."""
        if isinstance(frame, HeadersFrame):
            if self._block_of is not None:
                raise ProtocolViolation(PROTOCOL_ERROR, "a header block is not finished")
            self._block_of = frame.stream_id, "END_STREAM" in frame.flags
        elif self._block_of is None or self._block_of[0] != frame.stream_id:
            raise ProtocolViolation(PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        else:
            self._continuations += 1
        self._block += frame.data
        if len(self._block) > self._max_block or self._continuations > MAX_CONTINUATIONS:
            raise ProtocolViolation(ENHANCE_YOUR_CALM, "header block too large")
        if "END_HEADERS" not in frame.flags:
            return None
        try:
            decoded = self._decoder.decode(bytes(self._block), raw=True)
        except hpack.HPACKError as error:
            raise ProtocolViolation(COMPRESSION_ERROR, str(error)) from None
        headers = [(bytes(name), bytes(value)) for name, value in decoded]
        assert self._block_of is not None
        stream_id, ended = self._block_of
        self._block.clear()
        self._block_of, self._continuations = None, 0
        return HeaderBlock(stream_id, headers, ended)
