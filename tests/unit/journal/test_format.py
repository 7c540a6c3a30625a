"""Packing: whatever goes in comes out, and damage is noticed."""

from __future__ import annotations

import json
import random
import struct
import uuid
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushcore.errors import ConnectError, JournalError
from pushcore.journal.format import (
    BLOCK,
    VERSION,
    PackedOutcomes,
    UniformOutcomes,
    bitmap,
    pack,
    rows_of,
    singly,
    unpack,
)
from pushcore.journal.outcome import (
    PLAIN,
    EarlierAttempts,
    Outcome,
    OutcomeEntry,
    RowDevice,
    UncommonOutcome,
    device_of,
    entry_of,
    id_prefix,
    push_id,
)
from pushcore.models.apns import Notification
from pushcore.models.fcm import LegacyMessage, Message
from pushcore.results import Result, Verdict

CAMPAIGN = "campaign"
PREFIX = id_prefix(CAMPAIGN)
FCM_TOKEN = "cUq9dLmpR0yYz1ABCDEFGH:APA91b" + "x_-9" * 32


class Push(Notification):
    __slots__ = ("row",)

    def __init__(self, row: int, token: str) -> None:
        super().__init__(token, b"{}", apns_id=push_id(CAMPAIGN, row))
        self.row = row


class Fcm(Message):
    __slots__ = ("row",)

    def __init__(self, row: int, **target: str) -> None:
        super().__init__(**target)  # type: ignore[arg-type]  # fields by their names
        self.row = row


def outcome(entry: OutcomeEntry) -> Outcome:
    """What must come out, spelt in another way than it is packed."""
    row, token, sent_id, mark = entry
    kind, timestamp = (PLAIN[mark], None) if isinstance(mark, int) else mark
    platform, verdict, status, reason, attempts = kind
    return Outcome(row, token, platform, Verdict[verdict], status, reason, sent_id, timestamp, attempts)


def there_and_back(entries: list[OutcomeEntry], block: int = 0) -> list[Outcome]:
    part = pack(entries, PREFIX, {})
    assert sum(part.tally.values()) == len(entries)
    assert rows_of(bitmap(part.bits), block) == [entry[0] for entry in entries]
    return singly(unpack(block, part.bits, part.blob, PREFIX))


ODD_TOKENS = [
    "",
    "ab",
    "AB" * 32,
    "ab" * 32,
    "aB" * 32,
    "ab" * 40,
    "a" * 63,
    "g" * 64,
    "é" * 64,
    " " + "ab" * 31 + " ",
    FCM_TOKEN,
    'a,"b\r\n\udcff',
    "\0\0",
    "\ud800",
    "💥" * 3,
    "x" * 100_000,
]


def test_odd_tokens_in_one_part() -> None:
    entries: list[OutcomeEntry] = [
        (row, token, push_id(CAMPAIGN, row), 0) for row, token in enumerate(ODD_TOKENS, 1)
    ]
    assert there_and_back(entries) == [outcome(entry) for entry in entries]


@pytest.mark.parametrize("token", ODD_TOKENS)
def test_a_part_with_one_kind_of_token(token: str) -> None:
    entries: list[OutcomeEntry] = [(row, token, None, row % 2) for row in (3, 4, 9)]
    assert there_and_back(entries) == [outcome(entry) for entry in entries]


def test_odd_ids() -> None:
    ids = [None, "", "projects/p/messages/0:1%2", push_id(CAMPAIGN, 5), push_id(CAMPAIGN, 6).upper()]
    ids += ["0000" + push_id(CAMPAIGN, 7)[24:], push_id(CAMPAIGN, 99), "é\udcff\0"]
    entries: list[OutcomeEntry] = [(row, "aa", each, 0) for row, each in enumerate(ids, 2)]
    expected = [outcome(entry)._replace(id=entry[2] or None) for entry in entries]
    assert there_and_back(entries) == expected


def test_ids_that_only_together_read_like_derived_ones() -> None:
    first, second = push_id(CAMPAIGN, 1), push_id(CAMPAIGN, 2)
    entries: list[OutcomeEntry] = [(1, "aa", first[:-1], 0), (2, "aa", first[-1] + second, 0)]
    assert there_and_back(entries) == [outcome(entry) for entry in entries]


def test_more_kinds_than_a_byte_can_number() -> None:
    entries: list[OutcomeEntry] = [
        (row, "aa", None, UncommonOutcome(("", "INVALID", None, f"reason {row} \udcff\0", 0), None))
        for row in range(1, 700)
    ]
    assert there_and_back(entries) == [outcome(entry) for entry in entries]


texts = st.text(st.characters(exclude_categories=()), max_size=70)
hexadecimal = st.binary(min_size=32, max_size=32).map(bytes.hex)
kinds = st.tuples(
    st.sampled_from(["apns", "fcm", ""]),
    st.sampled_from([each.name for each in Verdict]),
    st.none() | st.integers(100, 599),
    # Two halves of one character, apart, are the only text that JSON puts together.
    st.none()
    | texts.filter(lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") == text),
    st.integers(0, 1000),
)
marks = st.integers(0, 1) | st.builds(UncommonOutcome, kinds, st.none() | st.floats(0, 1e12))


@pytest.mark.slow
@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(1, BLOCK), texts | hexadecimal, st.none() | texts.filter(bool), marks),
        min_size=1,
        max_size=40,
        unique_by=lambda entry: entry[0],
    ),
    st.integers(0, 3),
)
def test_anything(entries: list[OutcomeEntry], block: int) -> None:
    placed = [(row + block * BLOCK, *rest) for row, *rest in sorted(entries, key=lambda entry: entry[0])]
    assert there_and_back(placed, block) == [outcome(entry) for entry in placed]  # type: ignore[arg-type]  # rows of the wider type


def test_only_one_verdict() -> None:
    gone = UncommonOutcome(("apns", "UNREGISTERED", 410, "Unregistered", 2), 1_700_000_000.25)
    entries: list[OutcomeEntry] = [(row, "aa", None, gone if row % 3 == 0 else 0) for row in range(1, 10)]
    part = pack(entries, PREFIX, {})
    found = singly(unpack(0, part.bits, part.blob, PREFIX, Verdict.UNREGISTERED))
    assert [(each.row, each.timestamp, each.attempts) for each in found] == [
        (row, 1_700_000_000.25, 2) for row in (3, 6, 9)
    ]
    assert unpack(0, part.bits, part.blob, PREFIX, Verdict.INVALID) == []
    assert part.tally == {("apns", "ACCEPTED", ""): 6, ("apns", "UNREGISTERED", "Unregistered"): 3}


def test_nearly_all_rows_need_33_bytes() -> None:
    rng = random.Random(1)
    entries: list[OutcomeEntry] = [
        (row, rng.randbytes(32).hex(), push_id(CAMPAIGN, row), 0) for row in range(1, 1001)
    ]
    part = pack(entries, PREFIX, {})
    assert len(part.bits) + len(part.blob) < 33 * 1000


def test_every_flipped_byte_is_noticed() -> None:
    entries: list[OutcomeEntry] = [(row, "ab" * 32, "other", row % 2) for row in range(1, 20)]
    part = pack(entries, PREFIX, {})
    for where in range(len(part.blob)):
        damaged = bytearray(part.blob)
        damaged[where] ^= 0x10
        with pytest.raises(JournalError, match="damaged: outcomes of rows 16385 to 32768"):
            unpack(1, part.bits, bytes(damaged), PREFIX)
    with pytest.raises(JournalError):
        unpack(1, part.bits[:-1] + b"\0", part.blob, PREFIX)
    for size in range(len(part.blob)):
        with pytest.raises(JournalError):
            unpack(1, part.bits, part.blob[:size], PREFIX)


def test_attempts_of_killed_runs_are_counted() -> None:
    def kind(verdict: str, attempts: int) -> UncommonOutcome:
        return UncommonOutcome(("apns", verdict, None, None, attempts), None)

    entries: list[OutcomeEntry] = [
        (1, "aa", None, 0),
        (2, "aa", None, 0),
        (3, "aa", None, kind("THROTTLED", 1)),
        (4, "aa", None, kind("UNSENT", 0)),
        (5, "aa", None, kind("UNSENT", 1)),
        (6, "aa", None, kind("INVALID", 0)),
        (7, "aa", None, kind("INVALID", 1)),
    ]
    before = {row: EarlierAttempts(2, 2) for row in (2, 3, 4, 6, 7)} | {5: EarlierAttempts(3, 0)}
    part = pack(entries, PREFIX, before)
    found = singly(unpack(0, part.bits, part.blob, PREFIX))
    assert [(each.verdict.name, each.attempts) for each in found] == [
        ("ACCEPTED", 1),
        ("ACCEPTED", 3),
        ("UNKNOWN", 3),  # a refusal does not say what became of the first one
        ("UNKNOWN", 2),
        ("UNSENT", 4),  # none of the earlier ones was delivered
        ("INVALID", 0),  # it never left, in no run
        ("INVALID", 3),
    ]


def test_ids_are_uuids_of_version_8_and_differ() -> None:
    seen = set()
    for campaign in ("a", "b", "é" * 32):
        for row in (1, 2, 2**48 - 1):
            found = push_id(campaign, row)
            assert str(uuid.UUID(found)) == found
            assert (uuid.UUID(found).version, uuid.UUID(found).variant) == (8, uuid.RFC_4122)
            assert int(found[-12:], 16) == row
            assert found == push_id(campaign, row)
            seen.add(found)
    assert len(seen) == 9


@pytest.mark.parametrize(
    ("push", "device"),
    [
        (Push(1, "aa"), ("apns", "aa")),
        (Notification(None, {}), ("apns", "")),  # type: ignore[arg-type]  # what the types forbid
        (Notification(17, {}), ("apns", "17")),  # type: ignore[arg-type]  # what the types forbid
        (Fcm(1, token=FCM_TOKEN), ("fcm", FCM_TOKEN)),
        (Fcm(1, fid="cccccccccccccccccccccc"), ("fcm", "cccccccccccccccccccccc")),
        (Fcm(1, topic="news"), ("fcm", "news")),
        (LegacyMessage(to="x"), ("fcm", "x")),
        (LegacyMessage(registration_ids=["x", "y"]), ("fcm", "x,y")),
        (RowDevice(1, "?", ""), ("", "?")),
        (object(), ("", "")),
    ],
)
def test_devices(push: object, device: tuple[str, str]) -> None:
    assert device_of(push) == device


def test_entries_say_what_the_results_file_says() -> None:
    push = Push(7, "aa")
    assert entry_of(Result(push, Verdict.ACCEPTED, 200, 1, push.apns_id)) == (7, "aa", push.apns_id, 0)
    assert entry_of(Result(Fcm(8, token="t"), Verdict.ACCEPTED, 200, 1, "projects/p/messages/1")) == (
        8,
        "t",
        "projects/p/messages/1",
        1,
    )
    unsent = entry_of(Result(push, Verdict.UNSENT, attempts=1, detail=ConnectError("no way")))
    assert unsent == (7, "aa", None, UncommonOutcome(("apns", "UNSENT", None, "no way", 1), None))
    invalid = Result(
        Fcm(8, token="t"), Verdict.INVALID, reason="INVALID_ARGUMENT", detail="the data is no text"
    )
    assert entry_of(invalid)[3] == UncommonOutcome(("fcm", "INVALID", None, "the data is no text", 0), None)
    gone = Result(push, Verdict.UNREGISTERED, 410, 2, push.apns_id, reason="Unregistered", timestamp=12.5)
    assert entry_of(gone)[3] == UncommonOutcome(("apns", "UNREGISTERED", 410, "Unregistered", 2), 12.5)


# --- to the byte ------------------------------------------------------------------------------------------------------


class Parsed(NamedTuple):
    """A part, read by its description in the module's docstring alone."""

    line: list[Any]
    compressed: bool
    kinds_and_lengths: bytes
    rest: bytes


def parsed(part: PackedOutcomes) -> Parsed:
    blob = part.blob
    crc, size = struct.unpack_from("<II", blob)
    assert crc == zlib.crc32(part.bits + blob[4:])
    end = 8 + (size & 0x7FFF_FFFF)
    z = zlib.decompress(blob[8:end]) if size >> 31 else blob[8:end]
    line, _, rest = z.partition(b"\n")
    return Parsed(json.loads(line), bool(size >> 31), rest, blob[end:])


def signed(bits: bytes, line: list[Any], kinds_and_lengths: bytes, rest: bytes) -> bytes:
    """The blob of a part with a right checksum, whatever is in it."""
    z = json.dumps(line).encode() + b"\n" + kinds_and_lengths
    body = struct.pack("<I", len(z)) + z + rest
    return struct.pack("<I", zlib.crc32(bits + body)) + body


def test_usual_rows_are_bytes_of_tokens_and_nothing_else() -> None:
    tokens = [f"{row:064x}" for row in range(3)]
    entries: list[OutcomeEntry] = [
        (row, token, push_id(CAMPAIGN, row), 0) for row, token in enumerate(tokens, 16_384 + 5)
    ]
    part = pack(entries, PREFIX, {})
    assert part.bits == b"\x04\0\x07"
    assert parsed(part) == ([3, [], [], 0, 64, 0, True, 96], False, b"", bytes.fromhex("".join(tokens)))
    assert part.tally == {("apns", "ACCEPTED", ""): 3}
    batch = unpack(1, part.bits, part.blob, PREFIX)
    assert isinstance(batch, UniformOutcomes)
    assert batch.kind == PLAIN[0]
    assert batch.entries == [entry[:3] for entry in entries]


def test_rows_of_fcm_are_texts_with_their_lengths() -> None:
    entries: list[OutcomeEntry] = [(1, "one", "a/1", 1), (3, "three", "a/22", 1)]
    part = pack(entries, PREFIX, {})
    assert part.bits == b"\0\0\x05"
    lengths = struct.pack("<4I", 3, 5, 3, 4)
    assert parsed(part) == ([2, [], [], 1, 64, 8, False, 8], False, lengths, b"onethreea/1a/22")
    assert part.tally == {("fcm", "ACCEPTED", ""): 2}


def test_a_part_has_only_those_lengths_that_differ_from_the_usual() -> None:
    entries: list[OutcomeEntry] = [
        (1, "ab" * 32, None, 0),
        (2, "other", push_id(CAMPAIGN, 2), 1),
        (3, "cd" * 32, "mine", 0),
        (4, "ef" * 32, None, 0),
    ]
    part = pack(entries, PREFIX, {})
    kept = 0xFFFF_FFFF
    lengths = struct.pack("<4H8I", 0, 1, 0, 0, kept, 5, kept, kept, 0, kept, 4, 0)
    tokens = bytes.fromhex("ab" * 32 + "cd" * 32 + "ef" * 32) + b"other"
    assert parsed(part) == ([4, [], [], None, 64, 16, False, len(tokens)], False, lengths, tokens + b"mine")
    assert there_and_back(entries) == [outcome(entry) for entry in entries]
    assert part.tally == {("apns", "ACCEPTED", ""): 3, ("fcm", "ACCEPTED", ""): 1}


def test_kinds_that_are_not_plain_are_listed_once() -> None:
    gone = ("apns", "UNREGISTERED", 410, "Unregistered", 1)
    entries: list[OutcomeEntry] = [
        (1, "aa", None, UncommonOutcome(gone, 7.5)),
        (2, "aa", None, 0),
        (3, "aa", None, UncommonOutcome(gone, None)),
        (4, "aa", None, UncommonOutcome(PLAIN[1], 2.0)),
        (5, "aa", None, UncommonOutcome(("fcm", "INVALID", None, "x", 0), None)),
    ]
    part = pack(entries, PREFIX, {})
    line, _, kinds_, _ = parsed(part)
    assert line[:4] == [5, [list(gone), ["fcm", "INVALID", None, "x", 0]], [[0, 7.5], [3, 2.0]], None]
    assert struct.unpack("<5H", kinds_) == (2, 0, 2, 1, 3)
    assert there_and_back(entries) == [outcome(entry) for entry in entries]
    assert part.tally == {
        ("apns", "UNREGISTERED", "Unregistered"): 2,
        ("apns", "ACCEPTED", ""): 1,
        ("fcm", "ACCEPTED", ""): 1,
        ("fcm", "INVALID", "x"): 1,
    }


def test_an_earlier_attempt_makes_a_usual_row_another_kind() -> None:
    part = pack([(1, "aa", None, 0), (2, "aa", None, 0)], PREFIX, {2: EarlierAttempts(1, 0)})
    line, _, kinds_, _ = parsed(part)
    assert line[1] == [["apns", "ACCEPTED", 200, None, 2]]
    assert struct.unpack("<2H", kinds_) == (0, 2)


def test_an_earlier_attempt_can_make_another_kind_a_usual_one() -> None:
    unsent = UncommonOutcome(("apns", "ACCEPTED", 200, None, 0), None)
    earlier = {1: EarlierAttempts(1, 0)}
    part = pack([(1, "aa", None, unsent)], PREFIX, earlier)
    assert parsed(part).line[:4] == [1, [], [], 0]


@pytest.mark.parametrize(("length", "compressed"), [(127, False), (128, False), (129, True), (400, True)])
def test_a_long_description_is_compressed(length: int, compressed: bool) -> None:
    def packed(reason: str) -> PackedOutcomes:
        kind = UncommonOutcome(("apns", "INVALID", 400, reason, 1), None)
        return pack([(1, "ab", None, kind)], PREFIX, {})

    shortest = len(packed("").blob) - 8 - 1  # without checksum, length and token
    part = packed("x" * (length - shortest))
    assert parsed(part).compressed is compressed
    if not compressed:
        assert len(part.blob) == 8 + length + 1
    (found,) = singly(unpack(0, part.bits, part.blob, PREFIX))
    assert found.reason == "x" * (length - shortest)


@pytest.mark.parametrize(
    ("rows", "bits"),
    [
        (range(1, 9), b"\0\0\xff"),
        (range(1, 10), b"\0\0\xff\x01"),
        ([2], b"\x01\0\x01"),
        ([16_384], b"\xff\x3f\x01"),
        ([3, 5, 10], b"\x02\0\x85"),
        ([1, 9], b"\0\0\x01\x01"),
    ],
)
def test_rows_are_bits_from_the_first_one_on(rows: Sequence[int], bits: bytes) -> None:
    part = pack([(row, "aa", None, 0) for row in rows], PREFIX, {})
    assert part.bits == bits
    assert rows_of(bitmap(bits), 0) == list(rows)
    assert rows_of(bitmap(bits), 2) == [row + 2 * BLOCK for row in rows]


def test_no_bits_are_no_rows() -> None:
    assert rows_of(0, 3) == []


@pytest.mark.parametrize(
    ("line", "more", "rest"),
    [
        ([2, [], [], 0, 2, 0, False, 1], b"", b"\xaa"),  # a token too few
        ([2, [], [], 0, 2, 0, False, 3], b"", b"\xaa\xbb\xcc"),  # and one too many
        ([3, [], [], 0, 2, 0, False, 3], b"", b"\xaa\xbb\xcc"),  # more than there are rows
        ([2, [], [], 0, 2, 0, False, 2], struct.pack("<3I", 1, 1, 1), b"\xaa\xbbabc"),  # an id too many
        ([2, [], [], 0, 2, 0, False, 2], struct.pack("<I", 1), b"\xaa\xbba"),  # and one too few
        ([2, [], [], 7, 2, 0, False, 2], b"", b"\xaa\xbb"),  # a kind that is not listed
        ([2, [], [], None, 2, 0, False, 2], b"\0\0", b"\xaa\xbb"),  # a kind too few
        ([2, [["apns", "NONE", 200, None, 1]], [], 2, 2, 0, False, 2], b"", b"\xaa\xbb"),
        ([2, [["apns", "NONE", 200, None, 1]], [[0, 1.0]], 2, 2, 0, False, 2], b"", b"\xaa\xbb"),
        ([2, [["apns"]], [], 2, 2, 0, False, 2], b"", b"\xaa\xbb"),
        ([2, [], [], 0, 2, 0, False], b"", b"\xaa\xbb"),
    ],
)
def test_a_part_that_contradicts_itself_is_damaged(line: list[Any], more: bytes, rest: bytes) -> None:
    bits = b"\0\0\x03"
    right = signed(bits, [2, [], [], 0, 2, 0, False, 2], b"", b"\xaa\xbb")
    assert [entry.token for entry in singly(unpack(0, bits, right, PREFIX))] == ["aa", "bb"]
    with pytest.raises(JournalError, match="outcomes of rows 1 to 16384 cannot be read"):
        unpack(0, bits, signed(bits, line, more, rest), PREFIX)


def test_the_sizes_of_the_format_are_part_of_it() -> None:
    assert (VERSION, BLOCK) == (3, 16_384)
