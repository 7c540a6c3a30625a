"""What a message stores and shows; what it becomes is tested with the requests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pushcore.models.aps import Aps
from pushcore.models.fcm import (
    AndroidConfig,
    AndroidConfigV2,
    AndroidNotification,
    ApnsConfig,
    FcmNotification,
    LegacyMessage,
    LegacyNotification,
    Message,
    camel,
)


def test_a_message_stores_what_it_is_given_and_checks_nothing() -> None:
    wrong: Any = object()
    push = Message(token=wrong, data=wrong, android=wrong)
    assert all(getattr(push, name) is wrong for name in ("token", "data", "android"))
    assert push.topic is None
    assert push.validate_only is False
    with pytest.raises(TypeError):
        Message("token")  # type: ignore[call-arg]  # what the types forbid


def test_equality_and_repr() -> None:
    assert Message(token="a", data={"k": "v"}) == Message(token="a", data={"k": "v"})
    assert Message(token="a") != Message(fid="a")
    assert Message(token="a") != "a"
    assert repr(Message(token="secret-token-of-a-device")) == "<Message token=secret-t…>"
    assert repr(Message(topic="news")) == "<Message topic=news>"
    assert LegacyMessage(to="a") == LegacyMessage(to="a")
    assert LegacyMessage(to="a") != LegacyMessage(to="b")
    assert LegacyMessage(to="a") != "a"
    assert repr(LegacyMessage(to="secret-token-of-a-device")) == "<LegacyMessage to=secret-t…>"
    assert repr(LegacyMessage(registration_ids=["a", "b"])) == "<LegacyMessage registration_ids=2>"
    wrong: Any = 7  # its result says so, and is printed
    assert repr(LegacyMessage(registration_ids=wrong)) == "<LegacyMessage registration_ids=int>"


def test_to_dict() -> None:
    when = datetime(2026, 1, 15, 1, 30, tzinfo=UTC)
    config = AndroidConfig(ttl=0, notification=AndroidNotification(event_time=when, vibrate_timings=(0.25,)))
    assert config.to_dict() == {
        "ttl": "0s",
        "notification": {"event_time": "2026-01-15T01:30:00+00:00", "vibrate_timings": ["0.25s"]},
    }
    assert AndroidConfigV2(background_sync=True).to_dict() == {"background_sync": {}}
    assert AndroidConfigV2(background_sync={}).to_dict() == {"background_sync": {}}
    assert AndroidConfigV2(background_sync=False).to_dict() == {}
    assert ApnsConfig(payload=Aps("Hi")).to_dict() == {"payload": {"aps": {"alert": "Hi"}}}
    assert LegacyNotification(body_loc_args=["a", "b"]).to_dict() == {"body_loc_args": '["a","b"]'}
    push = Message(topic="t", notification=FcmNotification("T"), validate_only=True)
    assert push.to_dict() == {
        "validate_only": True,
        "message": {"topic": "t", "notification": {"title": "T"}},
    }
    assert Message.from_dict(push.to_dict()).to_dict() == push.to_dict()


def test_spellings() -> None:
    assert [camel(name) for name in ("android_v2", "use_as_v1_data_message", "ttl")] == [
        "androidV2",
        "useAsV1DataMessage",
        "ttl",
    ]
