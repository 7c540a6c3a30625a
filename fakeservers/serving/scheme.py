"""`:scheme: https:`, which firebase-admin for Node sends and Google accepts, is rewritten for libnghttp2.

libnghttp2 resets a stream whose `:scheme` has a colon (RFC 3986, 3.1), and has no option to let it pass. HPACK makes
it a matter of one byte: the colon and the letter B have codes of the same length (RFC 7541, appendix B), so the value
is changed in place, before libnghttp2 reads the header block, and no length and no table differ.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

from fakeservers.serving.types import Header

HEADERS, CONTINUATION = 1, 9
HEAD_SIZE = 9
PREFACE_SIZE = 24
MAX_FRAME = 16_384
"""Maximum bytes of a frame; libnghttp2 refuses a longer one by its head alone."""

SENT, TAKEN = b"https:", b"httpsB"
# A literal field line whose name is entry 6 or 7 of the static table, both of which are `:scheme` (RFC 7541, 6.2),
# then the value: Huffman-coded, or as it is.
_LITERAL = rb"([\x06\x07\x16\x17\x46\x47])"
_HUFFMAN = re.compile(_LITERAL + rb"\x85\x9d\x29\xad\x17\x3f")
_PLAIN = re.compile(_LITERAL + rb"\x06https:")
_TAKEN_CODED = b"\x85\x9d\x29\xad\x17\x7f"

_head = struct.Struct(">IB")  # length and type together, flags


class SchemeRewriter:
    """Rewrites the scheme in what one client sends, before libnghttp2 reads it.

    A client that uses this scheme does so in its first request. So the bytes of every client are checked up to the end of
    its first request, and later ones only if that had it.
    """

    def __init__(self) -> None:
        self.rewrites = False
        """Whether this client's scheme was rewritten."""
        self.finished = False
        """Whether this client's bytes need no more checks."""
        self._ahead = PREFACE_SIZE  # bytes still to come before the next frame's head
        self._held = b""  # a head or a header block that is not whole

    def feed(self, data: bytes) -> bytes:
        """The bytes that libnghttp2 must read now; a HEADERS frame is passed on when it is complete."""
        data = self._held + data
        at, end = self._ahead, len(data)
        parts: list[bytes] = []
        begun = 0
        while not self.finished and end - at >= HEAD_SIZE:
            word, _ = _head.unpack_from(data, at)
            kind, next_at = word & 0xFF, at + HEAD_SIZE + (word >> 8)
            if kind in (HEADERS, CONTINUATION) and word >> 8 <= MAX_FRAME:
                if next_at > end:
                    break
                block = data[at:next_at]
                rewritten = _PLAIN.sub(rb"\1" + b"\x06httpsB", _HUFFMAN.sub(rb"\1" + _TAKEN_CODED, block))
                if rewritten != block:
                    self.rewrites = True
                    parts += (data[begun:at], rewritten)
                    begun = next_at
                elif not self.rewrites:
                    self.finished = True
            at = next_at
        if self.finished or at >= end:
            self._held, self._ahead = b"", at - end
            parts.append(data[begun:])
        else:
            self._held, self._ahead = data[at:], 0
            parts.append(data[begun:at])
        return b"".join(parts)


def as_sent(headers: Sequence[Header]) -> Sequence[Header]:
    """The headers of a request as the client sent them."""
    return [(name, SENT if name == b":scheme" and value == TAKEN else value) for name, value in headers]
