"""Records of what was received: like the last of a list, and not made before somebody looks."""

from __future__ import annotations

import random

import pytest

from fakeservers import FakeApns, fated_token
from fakeservers.records import Outcome, Records
from tests.fakeservers.client import Client, headers_for, provider_token

Record = tuple[int, int, str, str, float]
"""Stream, status, reason, origin, time."""


class Made:
    """Makes records, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, request: object, status: int, reason: str, origin: str, now: float) -> Record:
        assert isinstance(request, tuple)
        self.count += 1
        return request[0], status, reason, origin, now


def read_of(*streams: int) -> list[tuple[int, list[tuple[bytes, bytes]], bytes]]:
    return [(stream, [], b"") for stream in streams]


def test_each_has_its_outcome() -> None:
    records: Records[Record, str] = Records(None, Made())
    records.add(read_of(1, 3, 5, 7), {3: (400, "BadTopic"), 5: None}, "a", 1.0)
    assert len(records) == 3
    assert list(records) == [(1, 200, "", "a", 1.0), (3, 400, "BadTopic", "a", 1.0), (7, 200, "", "a", 1.0)]
    assert [record[0] for record in reversed(records)] == [7, 3, 1]


@pytest.mark.parametrize("keep", [0, 1, 7, 50, None])
def test_it_is_like_the_end_of_a_list(keep: int | None) -> None:
    rng = random.Random(5)
    records: Records[Record, str] = Records(keep, Made())
    every: list[Record] = []
    stream = 1
    for turn in range(200):
        size = rng.choice([1, 1, 2, 30])
        streams = range(stream, stream + 2 * size, 2)
        stream += 2 * size
        others: dict[int, Outcome] = {
            stream_id: rng.choice([None, (500, "x")]) for stream_id in streams if rng.random() < 0.2
        }
        records.add(read_of(*streams), others, "a", float(turn))
        every += [
            (stream_id, *(others.get(stream_id) or (200, "")), "a", float(turn))
            for stream_id in streams
            if others.get(stream_id, 1)
        ]
        if rng.random() < 0.1:
            records.append((0, 1, "", "b", float(turn)))
            every.append((0, 1, "", "b", float(turn)))
        expected = every if keep is None else every[len(every) - keep :] if keep < len(every) else every
        expected = [] if keep == 0 else expected
        assert len(records) == len(expected)
        if turn % 20 == 0:
            assert list(records) == expected
            assert list(reversed(records)) == expected[::-1]
            assert records[2:5] == expected[2:5]
            assert [records[at] for at in range(-len(expected), len(expected))] == expected + expected
            with pytest.raises(IndexError):
                records[len(expected)]
    records.clear()
    assert (len(records), list(records)) == (0, [])


def test_what_nobody_looks_at_is_not_made_and_what_is_made_stays() -> None:
    made = Made()
    records: Records[Record, str] = Records(1000, made)
    for number in range(100):
        records.add(read_of(*range(number * 100 + 1, number * 100 + 101)), {}, "a", 0.0)
    assert made.count == 0
    newest = records[-1]
    assert newest[0] == 10_000
    assert made.count == 100  # those of its read
    assert records[-1] is newest
    assert made.count == 100


def test_memory_is_that_of_what_is_kept_and_one_read() -> None:
    records: Records[Record, str] = Records(10, Made())
    for _ in range(100):
        records.add(read_of(1, 3, 5, 7), {}, "a", 0.0)
    assert len(records._reads) == 3
    for _ in range(100):
        records.append((0, 0, "", "", 0.0))
    assert len(records._reads) == 10


async def test_a_fake_keeps_them_in_order() -> None:
    async with FakeApns(keep=5) as fake, await Client.connect(fake) as client:
        token = provider_token(fake)
        await client.push(headers_for(fake, token))
        await client.until(lambda: client.streams == 1000)
        devices = [
            "aa" * 32,
            fated_token("BadTopic"),
            "bb" * 32,
            "cc" * 32,
            fated_token("Unregistered"),
            "dd" * 32,
        ]
        for item in [client.request(headers_for(fake, token, device)) for device in devices]:
            await client.reply(item)
        assert [record.token for record in fake.received] == devices[1:]
        assert [record.status for record in fake.received] == [400, 200, 200, 410, 200]
        assert fake.received.maxlen == 5
        assert fake.counts == {(200, ""): 5, (400, "BadTopic"): 1, (410, "Unregistered"): 1}
