"""Response headers (RFC 7541): the status is read from the first bytes of their block, the rest on demand only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import hpack

from .headers import Field


def _huffman_digits(number: int) -> bytes:
    code = bits = 0
    for digit in map(int, str(number)):
        code_of_digit, length = (digit, 5) if digit < 3 else (0x16 + digit, 6)  # RFC 7541, appendix B
        code, bits = code << length | code_of_digit, bits + length
    padding = -bits % 8
    return (code << padding | (1 << padding) - 1).to_bytes((bits + padding) // 8, "big")


LITERAL: Final = -1
STATUS_BY_BYTE: Final[list[int]] = [0] * 256
"""The status for each first byte of a header block; `LITERAL` if `read_status` is needed, 0 if it is not a status."""
for _index, _status in enumerate((200, 204, 206, 304, 400, 404, 500), start=8):
    STATUS_BY_BYTE[0x80 | _index] = _status
    # With indexing, without, and never indexed (RFC 7541, section 6.2).
    for _representation in (
        0x40,
        0x00,
        0x10,
    ):
        STATUS_BY_BYTE[_representation | _index] = LITERAL

_STATUS_BY_STRING: Final[dict[bytes, int]] = {}
for _status in range(100, 600):
    _coded = _huffman_digits(_status)
    _STATUS_BY_STRING[b"\x03%d" % _status] = _status
    _STATUS_BY_STRING[bytes((0x80 | len(_coded),)) + _coded] = _status


def read_status(block: bytes) -> int:
    """The `:status` at the start of a header block without references to the dynamic table; 0 when it cannot be read.

    It is the first field by RFC 9113, section 8.3: an indexed static entry, or a literal with one of the static names
    8 to 14 in any of the three literal forms, raw or Huffman coded. Table-size updates to 0 before it are skipped.
    """
    position = 0
    while position < len(block) and block[position] == 0x20:
        position += 1
    if position >= len(block):
        return 0
    first = block[position]
    if first & 0x80:
        return max(STATUS_BY_BYTE[first], 0)
    name = first & 0x3F if first & 0x40 else first & 0x0F
    if 8 <= name <= 14 and position + 1 < len(block):
        length = block[position + 1] & 0x7F
        return _STATUS_BY_STRING.get(block[position + 1 : position + 2 + length], 0)
    return 0


def decode_block(block: bytes, limit: int) -> list[Field]:
    """All fields of a header block without references to the dynamic table.

    Args:
        block: as it was received.
        limit: of the header list, in bytes, counted as by `list_size`.

    Raises:
        hpack.HPACKError: it cannot be decoded, or is larger than `limit`.
    """
    return plain_fields(hpack.Decoder(max_header_list_size=limit).decode(block, raw=True))


def plain_fields(fields: Iterable[tuple[str | bytes, str | bytes]]) -> list[Field]:
    """hpack's header tuples as pairs of bytes."""
    return [
        (
            name if isinstance(name, bytes) else name.encode(),
            value if isinstance(value, bytes) else value.encode(),
        )
        for name, value in fields
    ]
