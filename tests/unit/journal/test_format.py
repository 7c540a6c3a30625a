"""Packing: whatever goes in comes out, and damage is noticed."""

from __future__ import annotations

import random
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushcore.errors import ConnectError, JournalError
from pushcore.journal.format import BLOCK, bitmap, pack, rows_of, singly, unpack
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


def test_what_killed_runs_have_done_is_counted() -> None:
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
