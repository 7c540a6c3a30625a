"""Devices that an audience holds more than once: counted while it is read, or found before anything is sent.

`TokenSample` counts on the way and keeps `LIMIT` tokens at most: exact up to so many, an estimate from a sample beyond.
`DuplicateFinder` finds every one and keeps a bit for each row and a few megabytes, whatever the audience has: what it must
compare, 25 bytes a row, lies in a temporary file, in parts by the first byte of a hash, which are looked at one by one.

A Firebase installation id and a registration token that begins with it are one device ("Send to the Firebase installation id"
at firebase.google.com/docs); two such tokens are not the same, for one of them may be dead.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from hashlib import blake2b
from struct import Struct
from typing import Any, Final

from ..audience.audience import Audience
from ..audience.problems import BadRow
from .devices import FCM, find_device

LIMIT: Final = 65_536
"""Different tokens that a sample keeps."""
DUPLICATE: Final = "a row before has the same device (--unique)"
"""The reason of a row that is left out."""

ID_LENGTH: Final = 22
"""Characters of a Firebase installation id."""
_INSTALLATION: Final = re.compile(r"([cdef][A-Za-z0-9_-]{21})(?::|$)", re.ASCII)
_ENTRY: Final = Struct("<16sQB")  # hash, row, and which of these it is:
_TOKEN, _INSTALLATION_ID, _OF_INSTALLATION = range(3)
_PARTS: Final = 256
_BLOCK: Final = 640 * _ENTRY.size  # bytes of a part that are written together


class TokenSample:
    """How many rows have a token that a row before has, as far as `LIMIT` tokens tell.

    Nothing needs to be called for a token whose hash, and of FCM also that of its first `ID_LENGTH` characters, has one of
    the bits of `mask`: it is not in the sample.
    """

    def __init__(self) -> None:
        self.mask = 0
        self._more: dict[int, int] = {}  # hash of a token: rows with it behind the first
        self._installations: dict[int, int] = {}  # hash of an id: 1 for itself, 2 for a token

    def add(self, token: str) -> int:
        """Take a row's token; the new mask."""
        key, more = hash(token), self._more
        if not key & self.mask:
            more[key] = more.get(key, -1) + 1
            if len(more) > LIMIT:
                self._shrink()
        return self.mask

    def add_of_fcm(self, token: str) -> int:
        """The same of a token of FCM, or of an installation id."""
        after = token[ID_LENGTH : ID_LENGTH + 1]
        if not after or after == ":":
            key, seen = hash(token[:ID_LENGTH]), self._installations
            if not key & self.mask:
                seen[key] = seen.get(key, 0) | (2 if after else 1)
                if len(seen) > LIMIT:
                    self._shrink()
        return self.add(token)

    def _shrink(self) -> None:
        while len(self._more) > LIMIT or len(self._installations) > LIMIT:
            self.mask = self.mask * 2 + 1
            for each in (self._more, self._installations):
                for key in [key for key in each if key & self.mask]:
                    del each[key]

    @property
    def exact(self) -> bool:
        """Whether all tokens are in the sample."""
        return not self.mask

    @property
    def same_token(self) -> int:
        """Rows with a token that a row before has."""
        return sum(self._more.values()) * (self.mask + 1)

    @property
    def same_installation(self) -> int:
        """Installation ids that stand beside a token that begins with them."""
        return sum(bits == 3 for bits in self._installations.values()) * (self.mask + 1)


class DuplicateFinder:
    """Finds every row whose device a row before has. `add` all rows, then `finish` once; `close` it in any case."""

    def __init__(self) -> None:
        self._key = os.urandom(16)  # so that no audience can hold tokens chosen to have equal hashes
        self._file: Any = tempfile.TemporaryFile(prefix="pushcore-unique-")  # noqa: SIM115  # closed by `close`
        self._parts = [bytearray() for _ in range(_PARTS)]
        self._blocks: list[list[tuple[int, int]]] = [[] for _ in range(_PARTS)]
        self._last = 0

    def add(self, row: int, token: str, platform: str) -> None:
        """Take a row. Raises `OSError` when the temporary file cannot be written."""
        self._last = max(self._last, row)
        if platform != FCM:
            digest = self._digest(token.lower())
            self._put(digest[0], digest, row, _TOKEN)
            return
        digest, found = self._digest(token), _INSTALLATION.match(token)
        if found is None:
            self._put(digest[0], digest, row, _TOKEN)
            return
        # Tokens of one installation lie in the same part, so that a row is counted once, as the one or the other.
        installation = self._digest(f"installation {found[1]}")
        self._put(installation[0], digest, row, _TOKEN)
        kind = _INSTALLATION_ID if len(token) == len(found[1]) else _OF_INSTALLATION
        self._put(installation[0], installation, row, kind)

    def _digest(self, text: str) -> bytes:
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=self._key).digest()

    def _put(self, number: int, digest: bytes, row: int, kind: int) -> None:
        part = self._parts[number]
        part += _ENTRY.pack(digest, row, kind)
        if len(part) >= _BLOCK:
            self._blocks[number].append((self._file.tell(), len(part)))
            self._file.write(part)
            part.clear()

    def finish(self) -> Duplicates:
        """What was found. Raises `OSError`."""
        skipped = bytearray(self._last // 8 + 1)
        tokens = installations = 0
        for number, part in enumerate(self._parts):
            first: dict[bytes, int] = {}
            groups: dict[bytes, list[tuple[int, int]]] = {}
            for digest, row, kind in self._entries(number, part):
                if kind != _TOKEN:
                    groups.setdefault(digest, []).append((row, kind))
                elif first.setdefault(digest, row) != row:
                    tokens += _set(skipped, row)
            for group in groups.values():
                if any(kind == _INSTALLATION_ID for _, kind in group):
                    installations += sum(_set(skipped, row) for row, _ in sorted(group)[1:])
        return Duplicates(bytes(skipped), tokens, installations)

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()

    def _entries(self, number: int, rest: bytearray) -> Iterator[tuple[bytes, int, int]]:
        """Those of one part, in the order of rows."""
        for start, size in self._blocks[number]:
            self._file.seek(start)
            yield from _ENTRY.iter_unpack(self._file.read(size))
        yield from _ENTRY.iter_unpack(rest)


class Duplicates:
    """Which rows of an audience have a device that a row before has.

    `same_token`: how many have the same token. `same_installation`: how many more are the same device, once by its
    installation id and once by its token.
    """

    def __init__(self, skipped: bytes, same_token: int, same_installation: int) -> None:
        self._skipped = skipped
        self.same_token = same_token
        self.same_installation = same_installation

    def __contains__(self, row: int) -> bool:
        return row >> 3 < len(self._skipped) and bool(self._skipped[row >> 3] >> (row & 7) & 1)

    @property
    def exact(self) -> bool:
        """Always: every row was looked at."""
        return True


def find_duplicates(path: str, only: str = "") -> Duplicates:
    """Read an audience for its tokens alone. `only`: as in `find_device`.

    Raises:
        BadInput: it cannot be opened, or has no column "token".
        OSError: it or a temporary file breaks.
    """
    with contextlib.closing(DuplicateFinder()) as finder, Audience(path) as audience:
        audience.select({"token", "platform"})
        columns = audience.columns
        token_at: Any = "token" if columns is None else audience.index("token")
        platform_at: Any = "platform"
        if columns is not None:
            platform_at = audience.index("platform") if "platform" in columns else None
        for number, values in audience.records(lambda *bad: None):
            if columns is None:
                token, said = values.get(token_at), values.get(platform_at)
            else:
                token, said = values[token_at], None if platform_at is None else values[platform_at]
            try:
                device = find_device(token, said, only)
            except BadRow:
                continue
            finder.add(number, device.token, device.platform)
        return finder.finish()


def duplicate_lines(found: TokenSample | Duplicates, *, left_out: bool) -> list[str]:
    """What a summary says of them. `left_out`: they were not sent to."""
    about, rest = "" if found.exact else "~", "left out" if left_out else "--unique sends to each device once"
    kinds = (
        (found.same_token, "the token of a row before"),
        (found.same_installation, "an installation id and a token that begins with it"),
    )
    return [
        f"  {'duplicate':<13} {about + format(count, ','):>12}  {what}; {rest}"
        for count, what in kinds
        if count
    ]


def _set(bits: bytearray, row: int) -> int:
    """Set a row's bit; 1 if it was not set before."""
    at, bit = row >> 3, 1 << (row & 7)
    before = bits[at] & bit
    bits[at] |= bit
    return 0 if before else 1
