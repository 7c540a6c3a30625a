"""Which pushes wait for the limit of a topic or a device, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from pushcore import LegacyMessage, Message, Notification
from pushcore.engine.holds import Holds
from pushcore.reasons import LimitScope

TOKEN = "ab" * 32


@pytest.mark.parametrize(
    ("scope", "limited", "same", "other"),
    [
        ("topic", Message(topic="news"), Message(topic="news"), Message(topic="sport")),
        ("topic", Message(topic="news"), Message(topic="news"), Message(token="news")),
        (
            "topic",
            Message(condition="'a' in topics"),
            Message(condition="'a' in topics"),
            Message(topic="a"),
        ),
        ("topic", LegacyMessage(to="/topics/news"), LegacyMessage(to="/topics/news"), LegacyMessage(to="x")),
        ("device", Message(token="a"), Message(token="a", data={"x": "y"}), Message(token="b")),
        ("device", Message(fid="a"), Message(fid="a"), Message(token="a")),
        (
            "device",
            Notification(TOKEN, {}),
            Notification(TOKEN, {}, topic="com.example.app"),
            Notification("cd" * 32, {}),
        ),
        ("device", LegacyMessage(to="a"), LegacyMessage(to="a"), LegacyMessage(registration_ids=["a"])),
    ],
)
def test_a_limit_holds_what_is_for_the_same_target_and_nothing_else(
    scope: LimitScope, limited: Any, same: Any, other: Any
) -> None:
    holds = Holds()
    hold = holds.join(limited, scope, until=1060.0)
    assert hold is not None
    assert (hold.until, hold.waiting) == (1060.0, 1)
    assert holds.find(same) is hold
    assert holds.find(other) is None


@pytest.mark.parametrize(
    ("scope", "push"),
    [
        ("project", Message(topic="news")),
        (None, Message(topic="news")),
        ("device", Message(topic="news")),
        ("topic", Message(token="a")),
        ("device", LegacyMessage(registration_ids=["a", "b"])),
        ("device", object()),
    ],
)
def test_a_limit_of_something_else_holds_nothing(scope: LimitScope | None, push: Any) -> None:
    holds = Holds()
    assert holds.join(push, scope, until=1060.0) is None
    assert holds.by_attribute == {}


def test_the_longest_wait_of_a_target_is_that_of_all_its_pushes() -> None:
    holds, push = Holds(), Message(topic="news")
    hold = holds.join(push, "topic", until=1060.0)
    assert hold is not None
    assert holds.join(push, "topic", until=1090.0) is hold
    assert holds.join(push, "topic", until=1070.0) is hold
    assert (hold.until, hold.waiting) == (1090.0, 3)


def test_a_target_is_free_and_forgotten_when_nothing_waits_for_it_any_more() -> None:
    holds, push = Holds(), Message(topic="news")
    first = holds.join(push, "topic", until=1060.0)
    second = holds.join(push, "topic", until=1060.0)
    device = holds.join(Message(token="a"), "device", until=1060.0)
    assert first is not None
    assert second is not None
    assert device is not None
    holds.leave(first)
    assert holds.find(push) is first
    holds.leave(second)
    assert holds.find(push) is None
    assert list(holds.by_attribute) == ["token"]
    holds.leave(device)
    assert holds.by_attribute == {}
