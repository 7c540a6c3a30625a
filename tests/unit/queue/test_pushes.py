"""From an inline chunk's columns to pushes that know their row."""

from __future__ import annotations

from typing import Any

import pytest

from pushcore.journal.journal import push_id
from pushcore.models.apns import Notification
from pushcore.queue.campaign import CampaignInfo
from pushcore.queue.chunk import Chunk
from pushcore.queue.errors import ChunkError
from pushcore.queue.pushes import NumberedNotification, notifications

INFO = CampaignInfo("camp", "f", 3)
CHUNK = Chunk.inline(2, 7, [{"token": f"{row:02x}" * 32, "name": f"N{row}"} for row in (7, 8, 9)])


def test_one_payload_for_all_rows() -> None:
    payload = {"aps": {"alert": "Hi"}}
    made: Any = notifications(payload, priority=5, topic="com.example.app")(CHUNK, INFO)
    assert [each.row for each in made] == [7, 8, 9]
    assert [each.token for each in made] == ["07" * 32, "08" * 32, "09" * 32]
    assert all(each.payload is payload and each.priority == 5 for each in made)
    assert {each.topic for each in made} == {"com.example.app"}
    assert all(isinstance(each, Notification) for each in made)


def test_a_payload_of_each_rows_columns() -> None:
    made: Any = notifications(lambda row: {"aps": {"alert": row["name"]}})(CHUNK, INFO)
    assert [each.payload["aps"]["alert"] for each in made] == ["N7", "N8", "N9"]


def test_the_apns_id_follows_from_campaign_and_row() -> None:
    one: Any = notifications({})(CHUNK, INFO)
    again: Any = notifications({})(CHUNK, INFO)
    other: Any = notifications({})(CHUNK, CampaignInfo("camp2", "f", 3))
    assert [each.apns_id for each in one] == [push_id("camp", row) for row in (7, 8, 9)]
    assert [each.apns_id for each in one] == [each.apns_id for each in again]
    assert not {each.apns_id for each in one} & {each.apns_id for each in other}


def test_rows_that_have_an_outcome_are_left_out() -> None:
    made: Any = notifications(lambda row: {"n": row["name"]})(CHUNK.without(0b010), INFO)
    assert [(each.row, each.token, each.payload["n"]) for each in made] == [
        (7, "07" * 32, "N7"),
        (9, "09" * 32, "N9"),
    ]


def test_tokens_may_be_in_another_column_and_must_be_somewhere() -> None:
    chunk = Chunk.inline(0, 1, [{"device": "ab" * 32}])
    made: Any = notifications({}, column="device")(chunk, INFO)
    assert made[0].token == "ab" * 32
    with pytest.raises(ChunkError, match="chunk 0 has no column 'token'"):
        notifications({})(chunk, INFO)


def test_a_numbered_push_is_a_push_with_a_row() -> None:
    push = NumberedNotification(4, "ab" * 32, b"{}", priority=10)
    assert (push.row, push.token, push.priority) == (4, "ab" * 32, 10)
    assert not hasattr(push, "__dict__")
