"""What instances share: a rate, an account's fleet in Redis, and the keys of requests."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from pushcore.engine.rate import FCM_RATE, Rate
from pushcore.errors import ConfigurationError
from pushcore.gateway import fleets
from pushcore.gateway.config import FleetSection
from pushcore.gateway.fleets import Instances
from pushcore.gateway.idempotency import MemoryRecords, RedisRecords

REDIS = FleetSection(redis="redis://127.0.0.1:1")


@pytest.mark.parametrize(
    ("section", "text", "quota", "rate"),
    [
        (FleetSection(), None, True, FCM_RATE),
        (FleetSection(), None, False, None),
        (FleetSection(), "500/s", False, Rate(500)),
        (FleetSection(instances=5), "500/s", True, Rate(100)),
        (FleetSection(instances=3), None, True, Rate(FCM_RATE.pushes / 3, FCM_RATE.seconds)),
        (FleetSection(instances=3), None, False, None),
        (FleetSection(redis="redis://h", instances=3), "500/s", True, Rate(500)),
    ],
)
def test_the_rate_of_an_instance(section: FleetSection, text: Any, quota: bool, rate: Any) -> None:
    assert Instances(section).rate(text, quota=quota) == rate


def test_no_rate_has_no_share() -> None:
    rate = Instances(FleetSection(instances=3)).rate("none", quota=True)
    assert rate is not None
    assert rate.unlimited
    with pytest.raises(ConfigurationError):
        Instances(FleetSection()).rate("fast", quota=True)


class Opened:
    """A queue and its fleet, whose opening and closing are written down."""

    def __init__(self) -> None:
        self.log: list[str] = []

    async def open_queue(self, url: str, name: str) -> Opened:
        self.log.append(f"{url} {name}")
        return self

    async def __aenter__(self) -> Opened:
        self.log.append("enter")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.log.append("exit")


async def test_instances_meet_at_a_name_that_hides_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Opened()
    monkeypatch.setattr(fleets, "open_queue", opened.open_queue)
    monkeypatch.setattr(fleets, "Fleet", lambda queue: queue)
    first, other = Instances(REDIS).fleet("fcm my-project"), Instances(REDIS).fleet("fcm other")
    assert first is not None
    assert other is not None
    async with first() as shared:
        assert shared is opened  # type: ignore[comparison-overlap]
        assert opened.log[1:] == ["enter", "enter"]
    async with Instances(REDIS).fleet("fcm my-project")() as shared:  # type: ignore[misc]
        pass
    async with other():
        pass
    names = [line for line in opened.log if line.startswith("redis://127.0.0.1:1 gateway-")]
    assert names[0] == names[1] != names[2]
    assert "my-project" not in names[0]
    assert opened.log.count("exit") == 6
    assert Instances(FleetSection()).fleet("fcm my-project") is None


async def test_keys_of_requests_are_in_memory_or_in_redis() -> None:
    assert isinstance(Instances(FleetSection()).idempotency()._store, MemoryRecords)
    for url in ("redis://127.0.0.1:1", "valkey://127.0.0.1:1", "valkeys://127.0.0.1:1"):
        shared = Instances(FleetSection(redis=url)).idempotency()
        assert isinstance(shared._store, RedisRecords)
        await shared.close()
    with pytest.raises(ConfigurationError, match="no URL of a Redis server"):
        Instances(FleetSection(redis="redis://h:port")).idempotency()


def test_redis_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match="pushcore\\[redis\\]"):
        Instances(REDIS).idempotency()
