"""Header blocks of requests, as templates (RFC 7541).

Consecutive pushes differ in their paths and in little else. So the common fields (`HeaderTemplate`) are inserted into the
peer's dynamic table once per connection and cost one byte each afterwards. A block is joined from three pieces of bytes:
*prefix* (pseudo-header fields), the path as a literal, *suffix* (the other fields). `HeaderEncoder` is the HPACK encoder of
one connection.

Rule: every block that `HeaderEncoder` returns must be sent, in that order, because building it may change the table.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final

from .frames import DATA, END_HEADERS, END_STREAM, HEAD, HEADERS

Field = tuple[bytes, bytes]

DEFAULT_TABLE_SIZE: Final = 4096  # RFC 7541, section 4.2 and RFC 9113, section 6.5.2
FIELD_OVERHEAD: Final = 32  # what a field counts beyond its bytes, in the table and in the list size

OWN_FIELDS: Final = 2048
"""The size in the header list that a request's own path and fields may have; the request builders stay below it."""
LONGEST_PATH: Final = 1024
LARGEST_BLOCK: Final = 1024
"""Bytes of a template's block that is cached, at most; with a request's own fields it still fits into a frame of any peer."""
UNLIMITED: Final = 1 << 32
MAX_OWN_PACKERS: Final = 1024
"""Sizes of fields and bodies for which the layout of a request with a field of its own is cached, at most."""
MAX_LAYOUTS: Final = 64
"""Lengths of paths for which the layout of a block is cached, at most."""

# The static table's entries that a request can use (RFC 7541, appendix A).
_STATIC: Final[dict[Field, int]] = {
    (b":method", b"GET"): 2,
    (b":method", b"POST"): 3,
    (b":scheme", b"http"): 6,
    (b":scheme", b"https"): 7,
}
_STATIC_NAMES: Final[dict[bytes, int]] = {  # any of the entries with that name
    b":authority": 1,
    b":method": 3,
    b":scheme": 7,
    b"accept": 19,
    b"authorization": 23,
    b"content-length": 28,
    b"content-type": 31,
    b"user-agent": 58,
}
_STATIC_SIZE: Final = 61
_INDEXED, _INCREMENTAL, _PLAIN, _SIZE_UPDATE = (0x80, 7), (0x40, 6), (0x00, 4), (0x20, 5)


def encode_integer(value: int, pattern: int, bits: int) -> bytes:
    """`value` with a prefix of `bits` bits, after `pattern` (RFC 7541, section 5.1)."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes((pattern | value,))
    out = bytearray((pattern | limit,))
    value -= limit
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _length(value: bytes) -> bytes:
    # Without Huffman coding: it would cost more CPU than the saved bytes are worth.
    return encode_integer(len(value), 0x00, 7)


_LENGTHS: Final = [encode_integer(length, 0x00, 7) for length in range(127)]


def _string(value: bytes) -> bytes:
    return _length(value) + value


@lru_cache(maxsize=1024)
def path_literal_head(length: int) -> bytes:
    """The bytes before a path of this length: literal without indexing, name 4 (":path").

    Raises ValueError if the path is too long for a request.
    """
    if length > LONGEST_PATH:
        raise ValueError(f"a path has at most {LONGEST_PATH} bytes")
    return encode_integer(4, *_PLAIN) + encode_integer(length, 0x00, 7)


def path_literal(path: bytes) -> bytes:
    """`:path` as a literal without indexing: Apple asks to keep it out of the dynamic table."""
    return path_literal_head(len(path)) + path


def list_size(fields: Iterable[Field]) -> int:
    """What SETTINGS_MAX_HEADER_LIST_SIZE counts (RFC 9113, section 6.5.2)."""
    return sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in fields)


class HeaderTemplate:
    """The fields that one kind of request has in common on every connection, pseudo-header fields first.

    `fields` contains neither `:path` nor `authorization`. The `:path` of a request begins with `path`; the rest differs per
    request. `authorization` differs per connection. Two templates are equal only if they are the same object, so that a
    lookup compares no fields.
    """

    __slots__ = ("fields", "path")

    def __init__(self, fields: Iterable[Field], path: bytes = b"") -> None:
        ordered = sorted(fields, key=lambda field: not field[0].startswith(b":"))
        self.fields: tuple[Field, ...] = tuple(ordered)
        self.path = path


class EncodedTemplate:
    """A template on one connection: `prefix`, then the path of the request, `suffix`, and the fields of the request alone.

    `list_size` is the size of the template's fields in the header list. `layouts` has one layout for each length of path.
    """

    __slots__ = ("layouts", "list_size", "prefix", "suffix")

    def __init__(self, prefix: bytes, suffix: bytes, list_size: int) -> None:
        self.prefix = prefix
        self.suffix = suffix
        self.list_size = list_size
        self.layouts: dict[int, FrameLayout] = {}

    def layout(self, path: bytes, length: int) -> FrameLayout:
        """The layout of requests whose path is `path` and `length` more bytes."""
        layout = self.layouts.get(length)
        if layout is None:
            if len(self.layouts) >= MAX_LAYOUTS:
                self.layouts.clear()
            layout = self.layouts[length] = FrameLayout(self, path, length)
        return layout


class FrameLayout:
    """The two frames of a request, HEADERS and DATA, made by one `pack` call from seven pieces.

    The pieces: `head` (HEADERS up to its stream id), stream id, `before`, the rest of the path, the bytes from there to
    the stream id of DATA, stream id, body. `after` follows the path in the block. `packers` has, for each size of body, the
    `pack` function and the bytes in the middle; `packer` adds a missing size.

    A request with one field of its own, such as the apns-id of each push of a campaign, has nine pieces: `own_packers` has, for each
    name, size of value and size of body, the `pack` function, `head`, the bytes between path and value, and those between value and
    stream id.
    """

    __slots__ = ("_path_length", "after", "before", "head", "own_packers", "packers")

    def __init__(self, block: EncodedTemplate, path: bytes, length: int) -> None:
        self.before = block.prefix + path_literal_head(len(path) + length) + path
        self.after = block.suffix
        self._path_length = length
        self.head = _frame_start(len(self.before) + length + len(self.after), HEADERS, END_HEADERS)
        self.packers: dict[int, tuple[Callable[..., bytes], bytes]] = {}
        self.own_packers: dict[tuple[bytes, int, int], tuple[Callable[..., bytes], bytes, bytes, bytes]] = {}

    def packer(self, size: int) -> tuple[Callable[..., bytes], bytes]:
        """For a body of that size."""
        between = self.after + _frame_start(size, DATA, END_STREAM)
        pack = _pack(len(self.before), self._path_length, len(between), size)
        made = self.packers[size] = pack, between
        return made

    def add_own_packer(self, start: bytes, name: bytes, length: int, size: int) -> None:
        """For values of `length` bytes, which `start` precedes in the block, and bodies of `size`."""
        if len(self.own_packers) >= MAX_OWN_PACKERS:
            self.own_packers.clear()
        block_size = len(self.before) + self._path_length + len(self.after) + len(start) + length
        between = self.after + start
        pack = _pack_own(len(self.before), self._path_length, len(between), length, size)
        head = _frame_start(block_size, HEADERS, END_HEADERS)
        self.own_packers[name, length, size] = pack, head, between, _frame_start(size, DATA, END_STREAM)


def _frame_start(size: int, kind: int, flags: int) -> bytes:
    """A frame's first five bytes; its stream id follows."""
    return HEAD.pack(size << 8 | kind, flags, 0)[:5]


@lru_cache(maxsize=8192)
def _pack(before: int, path: int, between: int, body: int) -> Callable[..., bytes]:
    return Struct(f">5sI{before}s{path}s{between}sI{body}s").pack


@lru_cache(maxsize=8192)
def _pack_own(before: int, path: int, between: int, value: int, body: int) -> Callable[..., bytes]:
    return Struct(f">5sI{before}s{path}s{between}s{value}s5sI{body}s").pack


class HeaderEncoder:
    """The HPACK encoder of one connection, with an exact copy of the peer's dynamic table.

    A field is inserted only if all fields in use fit into the table. Otherwise it is a literal without indexing, so that
    inserting a field never evicts one that will be needed again.
    """

    __slots__ = (
        "_first",
        "_live",
        "_live_size",
        "_names",
        "_pending_sizes",
        "_table",
        "_table_size",
        "authorization",
        "blocks",
        "limit",
        "list_limit",
    )

    def __init__(self) -> None:
        self.limit = DEFAULT_TABLE_SIZE
        """The maximum size of the table: what the peer allows, but never more than the default."""
        self.authorization: bytes | None = None
        """The value of `authorization` in every request of this connection; change it with `authorize`."""
        self._table: deque[Field] = deque()  # newest first, as indices count
        self._table_size = 0
        # Each entry's number in order of insertion; index = newest - number.
        self._first: dict[Field, int] = {}
        self._live: set[Field] = set()
        self._live_size = 0
        self.list_limit = UNLIMITED
        """The largest header list that the peer accepts. Blocks of nearly this size are never in `blocks`."""
        self.blocks: dict[HeaderTemplate, EncodedTemplate] = {}
        """Blocks that can be sent without a change of the table. If a template is not here, call `build`."""
        # What a literal with this name begins with, until the table changes.
        self._names: dict[bytes, bytes] = {}
        self._pending_sizes: list[int] = []

    def authorize(self, value: bytes) -> None:
        """Use another `authorization` from the next block on. All fields that were in use count as unused."""
        if value != self.authorization:
            self.authorization = value
            self._forget()

    def resize(self, allowed: int) -> None:
        """The peer sent SETTINGS_HEADER_TABLE_SIZE; the next block signals the new size (RFC 7541, section 4.2)."""
        size = min(allowed, DEFAULT_TABLE_SIZE)
        if size == self.limit:
            return
        # The smallest size between two blocks must be signalled, then the last one.
        lowest = min([size, *self._pending_sizes])
        self._pending_sizes = [lowest] if lowest == size else [lowest, size]
        self.limit = size
        self._evict(lowest)
        self._forget()

    def build(self, template: HeaderTemplate) -> EncodedTemplate:
        """The template's block for the next request, inserting what is not in the table yet."""
        updates = b"".join(encode_integer(size, *_SIZE_UPDATE) for size in self._pending_sizes)
        self._pending_sizes.clear()
        fields = template.fields
        if self.authorization is not None:
            fields = (*fields, (b"authorization", self.authorization))
        changed = bool(updates)
        pieces: list[bytes] = []
        split = len(fields)
        for position, field in enumerate(fields):
            if split == len(fields) and not field[0].startswith(b":"):
                split = position
            piece, inserted = self._encode(field)
            changed |= inserted
            pieces.append(piece)
        size = list_size(fields)
        block = EncodedTemplate(updates + b"".join(pieces[:split]), b"".join(pieces[split:]), size)
        length = len(block.prefix) + len(block.suffix)
        roomy = block.list_size + OWN_FIELDS <= self.list_limit and length <= LARGEST_BLOCK
        if not changed and roomy:  # sent again, a changed block would repeat the insertions
            self.blocks[template] = block
        return block

    def encode_own_fields(self, fields: Sequence[Field]) -> bytes:
        """The fields of one request alone, which follow the block of its template.

        They are literals without indexing. Only the first field with a name is inserted, so that the name has an index
        afterwards (Apple's advice for apns-id, apns-expiration and apns-collapse-id).
        """
        names = self._names
        pieces: list[bytes] = []
        for name, value in fields:
            head = names.get(name)
            if head is not None:
                pieces += head, _LENGTHS[len(value)] if len(value) < 127 else _length(value), value
            elif not self._name_index(name) and self._admit((name, value)):
                pieces.append(b"\x40" + _string(name) + _string(value))
                self._insert((name, value))
            else:
                pieces.append(self._literal(name, value))
        return b"".join(pieces)

    def own_field_start(self, name: bytes, length: int) -> bytes | None:
        """What precedes a value of `length` bytes in the literal of a field; None where the next such field may differ."""
        start = self._names.get(name)
        return None if start is None or length >= len(_LENGTHS) else start + _LENGTHS[length]

    def _literal(self, name: bytes, value: bytes) -> bytes:
        head = self._names.get(name)
        if head is None:
            index = self._name_index(name)
            head = encode_integer(index, *_PLAIN) if index else b"\x00" + _string(name)
            self._names[name] = head
        return head + _string(value)

    def _name_index(self, name: bytes) -> int:
        static = _STATIC_NAMES.get(name)
        if static:
            return static
        for position, field in enumerate(self._table):
            if field[0] == name:
                return _STATIC_SIZE + 1 + position
        return 0

    def _encode(self, field: Field) -> tuple[bytes, bool]:
        static = _STATIC.get(field)
        if static:
            return encode_integer(static, *_INDEXED), False
        if not self._admit(field):
            return self._literal(*field), False
        number = self._first.get(field)
        if number is not None:
            newest = self._first[self._table[0]]
            return encode_integer(_STATIC_SIZE + 1 + newest - number, *_INDEXED), False
        name = self._name_index(field[0])
        head = encode_integer(name, *_INCREMENTAL) if name else b"\x40" + _string(field[0])
        self._insert(field)
        return head + _string(field[1]), True

    def _admit(self, field: Field) -> bool:
        if field in self._live:
            return True
        size = len(field[0]) + len(field[1]) + FIELD_OVERHEAD
        if self._live_size + size > self.limit:
            return False
        self._live.add(field)
        self._live_size += size
        return True

    def _insert(self, field: Field) -> None:
        number = self._first[self._table[0]] + 1 if self._table else 0
        size = len(field[0]) + len(field[1]) + FIELD_OVERHEAD
        self._evict(self.limit - size)
        self._outdate()
        self._table.appendleft(field)
        self._first[field] = number
        self._table_size += size

    def _evict(self, size: int) -> None:
        while self._table_size > size:
            name, value = field = self._table.pop()
            del self._first[field]
            self._table_size -= len(name) + len(value) + FIELD_OVERHEAD

    def _forget(self) -> None:
        self._live.clear()
        self._live_size = 0
        self._outdate()

    def _outdate(self) -> None:
        self.blocks.clear()
        self._names.clear()
