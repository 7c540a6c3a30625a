"""A campaign's description and state in the store: what is written, what is read, and who may not take part."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pushcore.errors import ConfigurationError
from pushcore.queue.brokers.memory import MemoryQueue
from pushcore.queue.campaign import (
    INFO,
    STATE,
    CampaignInfo,
    CampaignState,
    announce,
    read_info,
    read_state,
    set_state,
)
from pushcore.queue.chunk import CHUNK_ROWS, MAX_ROWS
from pushcore.queue.errors import CampaignConflict, ChunkError

NEEDS = {"apns": {"topic": "com.example.app", "team": "TEAM123456"}, "fcm": {"project": "p"}}


def test_a_description_comes_back_as_it_was() -> None:
    info = CampaignInfo("camp-1", "f", 250, NEEDS, {"template": {"title": "Hi"}})
    assert CampaignInfo.decode(info.encode()) == info
    assert CampaignInfo("camp", "f").chunk_rows == CHUNK_ROWS


def test_equal_descriptions_have_equal_bytes() -> None:
    one = CampaignInfo("camp", "f", options={"a": 1, "b": 2})
    assert one.encode() == CampaignInfo("camp", "f", options={"b": 2, "a": 1}).encode()


@pytest.mark.parametrize(
    ("name", "rows", "words"),
    [
        ("", 1, "1 to 64"),
        ("a b", 1, "1 to 64"),
        ("c", 0, "chunk_rows must be a whole number from 1 to 10000"),
        ("c", MAX_ROWS + 1, "10001"),
    ],
)
def test_a_description_that_cannot_be(name: str, rows: int, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        CampaignInfo(name, "f", rows)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"{}",
        b'{"name": "c"}',
        b'{"name": "c", "fingerprint": "f", "shard": 1}',
        b'{"name": "a b", "fingerprint": "f"}',
        b'{"name": "c", "fingerprint": "f", "chunk_rows": 0}',
        b'{"name": "c", "fingerprint": "f", "chunk_rows": "many"}',
        b'{"name": 5, "fingerprint": "f"}',
    ],
)
def test_a_malformed_description_is_one_error(data: bytes) -> None:
    with pytest.raises(ChunkError, match="cannot be read"):
        CampaignInfo.decode(data)


@pytest.mark.parametrize(
    ("offers", "words"),
    [
        ({}, "needs apns, and this worker has none"),
        ({"apns": NEEDS["apns"]}, "needs fcm, and this worker has none"),
        ({**NEEDS, "apns": {"topic": "com.example.app"}}, "needs team 'TEAM123456' for apns, .* has None"),
        ({**NEEDS, "fcm": {"project": "q"}}, "needs project 'p' for fcm, and this worker has 'q'"),
    ],
)
def test_a_worker_that_differs_is_told_in_what(offers: dict[str, Any], words: str) -> None:
    with pytest.raises(CampaignConflict, match=words):
        CampaignInfo("camp", "f", needs=NEEDS).check(offers)


def test_a_worker_may_have_more_than_is_needed() -> None:
    CampaignInfo("camp", "f", needs=NEEDS).check({**NEEDS, "fcm": {"project": "p", "account": "a"}, "x": {}})
    CampaignInfo("camp", "f").check({})


async def test_the_first_announcement_describes_the_campaign() -> None:
    store = MemoryQueue("camp")
    assert await read_info(store) is None
    info = CampaignInfo("camp", "f", 20, options={"a": 1})
    await announce(store, info)
    await announce(store, CampaignInfo("camp", "f", 20, options={"a": 2}))  # the same campaign
    assert await read_info(store) == info
    for other in (CampaignInfo("camp", "g", 20), CampaignInfo("camp", "f", 21)):
        with pytest.raises(CampaignConflict, match="another campaign with the name camp"):
            await announce(store, other)
    assert await read_info(store) == info


async def test_a_damaged_description_is_an_error_and_not_a_conflict() -> None:
    store = MemoryQueue("camp")
    await store.write(INFO, b"garbage", 0)
    with pytest.raises(ChunkError):
        await read_info(store)
    with pytest.raises(ChunkError):
        await announce(store, CampaignInfo("camp", "f"))


async def test_a_state_is_running_until_something_else_is_said() -> None:
    store = MemoryQueue("camp")
    assert await read_state(store) is CampaignState.RUNNING
    for state in CampaignState:
        await set_state(store, state)
        assert await read_state(store) is state


@pytest.mark.parametrize("value", [b"", b"stopping", b"\xff"])
async def test_an_unknown_state_counts_as_running(value: bytes) -> None:
    store = MemoryQueue("camp")
    await store.write(STATE, value, 0)
    assert await read_state(store) is CampaignState.RUNNING


def test_no_secret_is_in_what_is_written() -> None:
    """`needs` and `options` are all that a caller can add."""
    assert set(orjson.loads(CampaignInfo("camp", "f").encode())) == {
        "name", "fingerprint", "chunk_rows", "needs", "options",
    }  # fmt: skip


@pytest.mark.parametrize("field", ["name", "fingerprint", "chunk_rows", "needs", "options"])
@pytest.mark.parametrize(
    "value", [None, 1.5, "x", [], {"apns": 1}, True, 0, 10**12, {"apns": {"topic": "a"}}]
)
def test_a_description_of_any_types_is_taken_or_refused_by_name(field: str, value: object) -> None:
    described = {"name": "a", "fingerprint": "f", "chunk_rows": 5, "needs": {}, "options": {}, field: value}
    right = field in ("name", "fingerprint") and isinstance(value, str)
    right = right or (
        field == "needs" and value in ([], {"apns": {"topic": "a"}}) and isinstance(value, dict)
    )
    right = right or (field == "options" and isinstance(value, dict))
    if right:
        CampaignInfo.decode(orjson.dumps(described)).check({"apns": {"topic": "a"}})
        return
    with pytest.raises(ChunkError, match="the campaign's description in the queue cannot be read"):
        CampaignInfo.decode(orjson.dumps(described))
