"""The journal's format of outcomes: rows of a block as a bitmap and a blob, and back. No I/O.

A *part* is what one commit says of one block of `BLOCK` rows. Nearly every row is "accepted, 200, once", so that must
cost nothing: a row has a byte that names its kind (two of them need no description, one for each provider), and where
all are equal there is one for all. Tokens of APNs are kept as bytes, other texts as they are, for neither can be
compressed in a time that is worth it. An id that follows from campaign and row is not kept. That makes 33 bytes a row
for APNs, and for FCM the token and the message name.

    blob = CRC-32 | length of z | z | tokens | ids
    z    = JSON line | kinds | lengths of tokens | lengths of ids, by zlib where it is long
"""

from __future__ import annotations

import json
import struct
import zlib
from binascii import hexlify, unhexlify
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import compress
from itertools import count as count_from
from typing import Final, NamedTuple, cast

from ..errors import JournalError
from ..results import Verdict
from .outcome import PLAIN, EarlierAttempts, Outcome, OutcomeEntry, OutcomeKind, UncommonOutcome

VERSION: Final = 3
"""Of the format, including the tables. Files of another version are rejected."""
BLOCK: Final = 16_384
"""Rows whose parts lie together: row r is in block (r - 1) // BLOCK. As many as are in flight at most."""

_SIZE: Final = struct.Struct("<I")
_OFFSET: Final = struct.Struct("<H")
_COMPRESSED: Final = 0x8000_0000  # in the length of z
_WORTH_COMPRESSING: Final = 128  # bytes; below that zlib's own setting up is all there is
_COMMON_DIGITS: Final = 64  # of an APNs token today
_KEPT_OTHERWISE: Final = 0xFFFF_FFFF
"""In place of a text's length: a token that is kept as bytes, or an id that follows from the row."""

_outcome = partial(tuple.__new__, Outcome)  # `Outcome._make` without its check of the length
_DIGITS: Final = bytes.maketrans(b"01", b"\0\1")
_UNDELIVERED: Final = frozenset({"THROTTLED", "UNAVAILABLE", "UNSENT"})
OutcomeTally = Counter[tuple[str, str, str]]
"""How many rows by platform, verdict and reason ("" for none)."""


class PackedOutcomes(NamedTuple):
    """Results of rows of one block, packed. `tally`: the same, counted."""

    bits: bytes
    blob: bytes
    tally: OutcomeTally


class UniformOutcomes(NamedTuple):
    """Outcomes that differ in nothing but row, token and id, as nearly all do: nothing else of them is made."""

    kind: OutcomeKind
    entries: list[tuple[int, str, str | None]]

    def outcomes(self) -> list[Outcome]:
        """Each by itself."""
        platform, name, status, reason, attempts = self.kind
        verdict = Verdict[name]
        return [
            _outcome((row, token, platform, verdict, status, reason, sent, None, attempts))
            for row, token, sent in self.entries
        ]


def singly(batch: UniformOutcomes | list[Outcome]) -> list[Outcome]:
    """The outcomes of a batch, each by itself."""
    return batch.outcomes() if type(batch) is UniformOutcomes else batch  # type: ignore[return-value]  # the only other


# --- packing ----------------------------------------------------------------------------------------------------------


def pack(
    entries: Sequence[OutcomeEntry], prefix: str, before: Mapping[int, EarlierAttempts]
) -> PackedOutcomes:
    """Pack outcomes of different rows of one block, in the order of their rows.

    `prefix`: an id that is this and the row is not kept. `before`: what earlier runs have done with some rows.
    """
    rows, tokens, ids, marks = zip(*entries, strict=True)
    kinds, listed, times, tally = _pack_kinds(rows, marks, before)
    one_kind = kinds[0] if kinds.count(kinds[0]) == len(kinds) else None
    digits, token_lengths, packed_tokens = _pack_tokens(tokens)
    derived, id_lengths, packed_ids = _pack_ids(ids, rows, prefix)
    line = [len(rows), listed, times, one_kind, digits, len(token_lengths), derived, len(packed_tokens)]
    z = json.dumps(line, separators=(",", ":")).encode() + b"\n"
    if one_kind is None:
        z += struct.pack(f"<{len(kinds)}H", *kinds)
    z += token_lengths + id_lengths
    size = len(z)
    if size > _WORTH_COMPRESSING:
        z = zlib.compress(z, 1)
        size = len(z) | _COMPRESSED
    bits = _pack_rows(rows)
    body = b"".join((_SIZE.pack(size), z, packed_tokens, packed_ids))
    return PackedOutcomes(bits, _SIZE.pack(zlib.crc32(body, zlib.crc32(bits))) + body, tally)


def _pack_rows(rows: Sequence[int]) -> bytes:
    """Where in the block the first one is, and from there on a bit for each row."""
    first, last = rows[0], rows[-1]
    span = last - first + 1
    if span == len(rows):
        bits = (1 << span) - 1
    else:
        digits = bytearray(b"0") * span
        for row in rows:
            digits[last - row] = 0x31
        bits = int(digits, 2)
    return _OFFSET.pack((first - 1) % BLOCK) + bits.to_bytes((span + 7) // 8, "little")


def _pack_kinds(
    rows: Sequence[int], marks: Sequence[int | UncommonOutcome], before: Mapping[int, EarlierAttempts]
) -> tuple[Sequence[int], list[OutcomeKind], list[tuple[int, float]], OutcomeTally]:
    """The kind of each row, those kinds that are not plain, what has a timestamp, and how many there are of what."""
    kinds: list[int] = []
    listed: dict[OutcomeKind, int] = {}
    times: list[tuple[int, float]] = []
    if not before and marks.count(0) == len(marks):
        return marks, [], [], Counter({(*PLAIN[0][:2], ""): len(marks)})  # type: ignore[return-value]  # 0 is an int
    for where, mark in enumerate(marks):
        earlier = before.get(rows[where])
        if type(mark) is int and earlier is None:
            kinds.append(mark)
            continue
        kind = PLAIN[mark] if type(mark) is int else mark.kind  # type: ignore[union-attr]  # it is Odd
        if earlier is not None:
            kind = _after(earlier, kind)
        if kind in PLAIN:
            kinds.append(PLAIN.index(kind))
        else:
            kinds.append(listed.setdefault(kind, len(listed) + len(PLAIN)))
        if type(mark) is UncommonOutcome and mark.timestamp is not None:
            times.append((where, mark.timestamp))
    every = [*PLAIN, *listed]
    tally: OutcomeTally = Counter()
    for number, count in Counter(kinds).items():
        platform, verdict, _, reason, _ = every[number]
        tally[platform, verdict, reason or ""] += count
    return kinds, list(listed), times, tally


def _after(earlier: EarlierAttempts, kind: OutcomeKind) -> OutcomeKind:
    """What a row's outcome is, together with what earlier runs have done."""
    platform, verdict, status, reason, attempts = kind
    if attempts or verdict != "INVALID":  # else it was never sent: it is found wrong each time
        attempts += earlier.attempts
    if earlier.unsure and verdict in _UNDELIVERED:
        verdict = "UNKNOWN"
    return platform, verdict, status, reason, attempts


def _pack_tokens(tokens: Sequence[str]) -> tuple[int, bytes, bytes]:
    """How many digits those have that are kept as bytes; lengths, where not all are; the tokens themselves."""
    try:
        digits = len(tokens[0])
        if set(map(len, tokens)) == {digits}:
            joined = "".join(tokens).encode("ascii")
            packed = unhexlify(joined)
            if digits and not digits % 2 and hexlify(packed) == joined:
                return digits, b"", packed
    except ValueError:
        pass  # not all are hexadecimal
    digits = _COMMON_DIGITS
    short: dict[int, bytes] = {}
    for where, token in enumerate(tokens):
        packed_token = _as_bytes(token, digits)
        if packed_token is not None:
            short[where] = packed_token
    lengths = [_KEPT_OTHERWISE if where in short else len(token) for where, token in enumerate(tokens)]
    others = "".join([token for where, token in enumerate(tokens) if where not in short])
    return digits, _lengths(lengths), b"".join(short.values()) + others.encode("utf-8", "surrogatepass")


def _as_bytes(token: str, digits: int) -> bytes | None:
    """The bytes of a token of so many lower-case hexadecimal digits."""
    if len(token) != digits:
        return None
    try:
        packed = unhexlify(token)
    except ValueError:
        return None
    return packed if packed.hex() == token else None


def _pack_ids(ids: Sequence[str | None], rows: Sequence[int], prefix: str) -> tuple[bool, bytes, bytes]:
    """Whether all follow from their rows; lengths, where that is not so, 0 for none; the others themselves."""
    try:
        # As one text, since that is what C compares. Their lengths as well: else what one id lacks, the next could have.
        texts = cast(Sequence[str], ids)
        digits = "".join(texts).replace(prefix, "0000")
        alike = set(map(len, texts)) == {len(prefix) + 12}
        if alike and digits == struct.pack(f">{len(rows)}Q", *rows).hex():
            return True, b"", b""
    except TypeError:
        pass  # one of them is None
    ours = f"{prefix}%012x"
    lengths, others = [], []
    for sent, row in zip(ids, rows, strict=True):
        if not sent:
            lengths.append(0)
        elif sent == ours % row:
            lengths.append(_KEPT_OTHERWISE)
        else:
            lengths.append(len(sent))
            others.append(sent)
    if not any(lengths):
        return False, b"", b""
    return False, _lengths(lengths), "".join(others).encode("utf-8", "surrogatepass")


def _lengths(numbers: list[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


# --- unpacking --------------------------------------------------------------------------------------------------------


def is_whole(bits: bytes, blob: bytes) -> bool:
    """Whether the checksum of a part is right."""
    return zlib.crc32(memoryview(blob)[_SIZE.size :], zlib.crc32(bits)) == int.from_bytes(
        blob[: _SIZE.size], "little"
    )


def bitmap(bits: bytes) -> int:
    """The rows of a part as an integer: bit n is row n + 1 of its block."""
    offset: int = _OFFSET.unpack_from(bits)[0]
    return int.from_bytes(bits[_OFFSET.size :], "little") << offset


def rows_of(bits: int, block: int) -> list[int]:
    """The rows that such an integer stands for, in order."""
    lowest = bits & -bits
    rest = bits + lowest  # which carries a stretch of ones away
    if lowest and not rest & (rest - 1):
        first = block * BLOCK
        return [*range(first + lowest.bit_length(), first + bits.bit_length() + 1)]
    digits = f"{bits:b}"[::-1].encode().translate(_DIGITS)
    return list(compress(count_from(block * BLOCK + 1), digits))


def unpack(
    block: int, bits: bytes, blob: bytes, prefix: str, verdict: Verdict | None = None
) -> UniformOutcomes | list[Outcome]:
    """The outcomes of a part, or those with this verdict, in the order of their rows.

    Raises:
        JournalError: the part is damaged.
    """
    try:
        if not is_whole(bits, blob):
            raise ValueError
        return _unpack(block, bits, blob[_SIZE.size :], prefix, verdict)
    except (ValueError, LookupError, TypeError, struct.error, zlib.error):
        rows = f"{block * BLOCK + 1} to {(block + 1) * BLOCK}"
        raise JournalError(f"the journal is damaged: outcomes of rows {rows} cannot be read") from None


def _unpack(
    block: int, bits: bytes, blob: bytes, prefix: str, verdict: Verdict | None
) -> UniformOutcomes | list[Outcome]:
    size = _SIZE.unpack_from(blob)[0]
    end = _SIZE.size + (size & ~_COMPRESSED)
    z = blob[_SIZE.size : end]
    if size & _COMPRESSED:
        z = zlib.decompress(z)
    at = z.index(b"\n") + 1
    count, listed, times, one_kind, digits, token_lengths_size, derived, tokens_size = json.loads(z[:at])
    kinds: Sequence[int] = [one_kind] * count
    if one_kind is None:
        kinds = struct.unpack_from(f"<{count}H", z, at)
        at += 2 * count
    every = [*PLAIN, *listed]
    if verdict is not None and all(every[kind][1] != verdict.name for kind in set(kinds)):
        return []
    token_lengths, id_lengths = z[at : at + token_lengths_size], z[at + token_lengths_size :]
    rows = rows_of(bitmap(bits), block)
    tokens = _unpack_tokens(blob[end : end + tokens_size], token_lengths, digits)
    ours = f"{prefix}%012x"
    ids: list[str | None]
    if derived:
        ids = [ours % row for row in rows]
    elif not id_lengths:
        ids = [None] * count
    else:
        ids = _unpack_ids(blob[end + tokens_size :], id_lengths, rows, ours)
    if not len(rows) == len(tokens) == len(ids) == count:
        raise ValueError
    if one_kind is not None and not times:
        platform, name, status, reason, attempts = every[one_kind]
        Verdict[name]  # a KeyError where there is none
        return UniformOutcomes(
            (platform, name, status, reason, attempts), list(zip(rows, tokens, ids, strict=True))
        )
    outcomes = []
    moments: dict[int, float] = dict(times)
    verdicts = [Verdict[kind[1]] for kind in every]
    for where, (row, token, kind, sent) in enumerate(zip(rows, tokens, kinds, ids, strict=True)):
        platform, _, status, reason, attempts = every[kind]
        moment = moments.get(where) if moments else None
        outcomes.append(Outcome(row, token, platform, verdicts[kind], status, reason, sent, moment, attempts))
    return outcomes if verdict is None else [outcome for outcome in outcomes if outcome.verdict is verdict]


def _unpack_tokens(packed: bytes, lengths: bytes, digits: int) -> list[str]:
    if not lengths:
        joined = packed.hex()
        return [joined[at : at + digits] for at in range(0, len(joined), digits)]
    numbers = struct.unpack(f"<{len(lengths) // 4}I", lengths)
    half = digits // 2
    at, others_at = 0, 0
    others = packed[half * numbers.count(_KEPT_OTHERWISE) :].decode("utf-8", "surrogatepass")
    tokens = []
    for number in numbers:
        if number == _KEPT_OTHERWISE:
            tokens.append(packed[at : at + half].hex())
            at += half
        else:
            tokens.append(others[others_at : others_at + number])
            others_at += number
    return tokens


def _unpack_ids(packed: bytes, lengths: bytes, rows: list[int], ours: str) -> list[str | None]:
    others = packed.decode("utf-8", "surrogatepass")
    at = 0
    ids: list[str | None] = []
    for number, row in zip(struct.unpack(f"<{len(lengths) // 4}I", lengths), rows, strict=True):
        if number == _KEPT_OTHERWISE:
            ids.append(ours % row)
        else:
            ids.append(others[at : at + number] or None)
            at += number
    return ids
