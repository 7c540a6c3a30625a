"""Duplicate devices of an audience: counted while it is sent, or found before anything is sent.

`TokenSample` counts during the run and keeps at most `LIMIT` tokens. Up to that number the count is exact, beyond it an
estimate from a sample. `DuplicateFinder` finds all duplicates; it needs one bit of memory per row and a few megabytes. The
entries to compare (25 bytes per row) are in a temporary file, in partitions by the first byte of a hash, which are read one
after the other.

A Firebase installation id and a registration token that begins with it are one device ("Send to the Firebase installation id"
at firebase.google.com/docs). Two tokens that begin with the same id count as two devices, because one of them may be
unregistered.
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
from .devices import FCM, find_device, token_of

LIMIT: Final = 65_536
"""Distinct tokens in a sample, at most."""
DUPLICATE: Final = "an earlier row has the same device (--unique)"
"""The reason of a row that `--unique` skips."""

ID_LENGTH: Final = 22
"""Characters of a Firebase installation id."""
_INSTALLATION: Final = re.compile(r"([cdef][A-Za-z0-9_-]{21})(?::|$)", re.ASCII)
_ENTRY: Final = Struct("<16sQB")  # hash, row, and one of these kinds:
_TOKEN, _INSTALLATION_ID, _OF_INSTALLATION = range(3)
_PARTS: Final = 256
_BLOCK: Final = 640 * _ENTRY.size  # bytes of a part that are written together


class TokenSample:
    """Counts rows with the token of an earlier row; an estimate beyond `LIMIT` distinct tokens.

    If the hash of a token has a bit in common with `mask`, the token is not in the sample and need not be added. For FCM this
    must also be true of the hash of its first `ID_LENGTH` characters.
    """

    def __init__(self) -> None:
        self.mask = 0
        self._repeats: dict[int, int] = {}  # hash of a token: rows with it after the first
        self._installations: dict[int, int] = {}  # hash of an id: bit 1 for the id, bit 2 for a token

    def add(self, token: str) -> int:
        """Count the token of a row. Returns the new mask."""
        key, repeats = hash(token), self._repeats
        if not key & self.mask:
            repeats[key] = repeats.get(key, -1) + 1
            if len(repeats) > LIMIT:
                self._shrink()
        return self.mask

    def add_of_fcm(self, token: str) -> int:
        """`add` for a registration token of FCM or an installation id."""
        next_character = token[ID_LENGTH : ID_LENGTH + 1]
        if not next_character or next_character == ":":
            key, installations = hash(token[:ID_LENGTH]), self._installations
            if not key & self.mask:
                installations[key] = installations.get(key, 0) | (2 if next_character else 1)
                if len(installations) > LIMIT:
                    self._shrink()
        return self.add(token)

    def _shrink(self) -> None:
        while len(self._repeats) > LIMIT or len(self._installations) > LIMIT:
            self.mask = self.mask * 2 + 1
            for counts in (self._repeats, self._installations):
                for key in [key for key in counts if key & self.mask]:
                    del counts[key]

    @property
    def exact(self) -> bool:
        """Whether the sample contains all tokens."""
        return not self.mask

    @property
    def same_token(self) -> int:
        """The number of rows with the token of an earlier row."""
        return sum(self._repeats.values()) * (self.mask + 1)

    @property
    def same_installation(self) -> int:
        """The number of installation ids for which the audience also has a token that begins with them."""
        return sum(bits == 3 for bits in self._installations.values()) * (self.mask + 1)


class DuplicateFinder:
    """Finds every row with the device of an earlier row. Call `add` for all rows, `finish` once, and always `close`."""

    def __init__(self) -> None:
        self._key = os.urandom(16)  # so that tokens cannot be crafted to collide
        self._file: Any = tempfile.TemporaryFile(prefix="pushcore-unique-")  # noqa: SIM115  # closed by `close`
        self._parts = [bytearray() for _ in range(_PARTS)]
        self._blocks: list[list[tuple[int, int]]] = [[] for _ in range(_PARTS)]
        self._last = 0

    def add(self, row: int, token: str, platform: str) -> None:
        """Record a row. Raises `OSError` when the temporary file cannot be written."""
        self._last = max(self._last, row)
        if platform != FCM:
            digest = self._digest(token.lower())
            self._put(digest[0], digest, row, _TOKEN)
            return
        digest, match = self._digest(token), _INSTALLATION.match(token)
        if match is None:
            self._put(digest[0], digest, row, _TOKEN)
            return
        # Tokens of one installation are in the same partition, so that a row is counted once, under one of the two.
        installation = self._digest(f"installation {match[1]}")
        self._put(installation[0], digest, row, _TOKEN)
        kind = _INSTALLATION_ID if len(token) == len(match[1]) else _OF_INSTALLATION
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
        """The duplicates of all rows. Raises `OSError` when the temporary file cannot be read."""
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

    def _entries(self, number: int, unwritten: bytearray) -> Iterator[tuple[bytes, int, int]]:
        """The entries of one partition, in the order of rows."""
        for start, size in self._blocks[number]:
            self._file.seek(start)
            yield from _ENTRY.iter_unpack(self._file.read(size))
        yield from _ENTRY.iter_unpack(unwritten)


class Duplicates:
    """The rows of an audience with the device of an earlier row.

    `same_token`: the number of rows with the token of an earlier row. `same_installation`: the number of further rows for the
    same device: one row has its installation id, another its token.
    """

    def __init__(self, skipped: bytes, same_token: int, same_installation: int) -> None:
        self._skipped = skipped
        self.same_token = same_token
        self.same_installation = same_installation

    def __contains__(self, row: int) -> bool:
        return row >> 3 < len(self._skipped) and bool(self._skipped[row >> 3] >> (row & 7) & 1)

    @property
    def exact(self) -> bool:
        """Always true: every row was compared."""
        return True


def find_duplicates(path: str, only: str = "") -> Duplicates:
    """Find the duplicates of the audience in the file `path`. `only`: as in `find_device`.

    Raises:
        BadInput: The audience cannot be opened, or has no column "token".
        OSError: Reading the audience or using a temporary file failed.
    """
    with contextlib.closing(DuplicateFinder()) as finder, Audience(path) as audience:
        audience.select({"token", "platform"})
        columns = audience.columns
        token_at: Any = None if columns is None else audience.index("token")
        platform_at: Any = "platform"
        if columns is not None:
            platform_at = audience.index("platform") if "platform" in columns else None
        for number, values in audience.records(lambda *bad: None):
            if columns is None:
                token, platform_value = token_of(values), values.get(platform_at)
            else:
                token, platform_value = values[token_at], None if platform_at is None else values[platform_at]
            try:
                device = find_device(token, platform_value, only)
            except BadRow:
                continue
            finder.add(number, device.token, device.platform)
        return finder.finish()


def duplicate_lines(duplicates: TokenSample | Duplicates, *, left_out: bool) -> list[str]:
    """The lines about duplicates in the summary. `left_out`: whether the duplicates were skipped."""
    approximate = "" if duplicates.exact else "~"
    action = "left out" if left_out else "--unique sends to each device once"
    kinds = (
        (duplicates.same_token, "the token of an earlier row"),
        (duplicates.same_installation, "an installation id and a token that begins with it"),
    )
    return [
        f"  {'duplicate':<13} {approximate + format(count, ','):>12}  {description}; {action}"
        for count, description in kinds
        if count
    ]


def _set(bits: bytearray, row: int) -> int:
    """Set a row's bit; 1 if it was not set before."""
    index, bit = row >> 3, 1 << (row & 7)
    was_set = bits[index] & bit
    bits[index] |= bit
    return 0 if was_set else 1
