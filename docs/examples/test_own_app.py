"""Tests of your own app, with the fixtures of the extra `fakeservers`: `pytest test_own_app.py`.

`fake_apns` is a strict fake APNs for one test: it checks what Apple checks, and counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from fakeservers import fated_token
from fakeservers.pytest_plugin import ApnsFixture
from pushcore import ApnsClient, ApnsKey, Notification, PushEngine


class Devices:
    """The app under test: it pushes to its devices, and removes dead tokens."""

    def __init__(self, apns: ApnsClient, tokens: Iterable[str]) -> None:
        self.tokens = set(tokens)
        self._apns = apns

    async def push(self, title: str) -> int:
        """Push to all devices; returns the number of accepted pushes."""
        accepted = 0
        pushes = [Notification(token, {"aps": {"alert": {"title": title}}}) for token in sorted(self.tokens)]
        async with PushEngine(self._apns, retry=None) as engine:
            async for result in engine.send_many(pushes):
                accepted += result.ok
                if result.drop_token:
                    self.tokens.discard(result.push.token)
        return accepted


def client(fake: ApnsFixture) -> ApnsClient:
    """The app's client, connected to the fake."""
    key = ApnsKey.from_file(fake.key_file, key_id=fake.key_id, team_id=fake.team_id)
    return ApnsClient(key, topic=fake.topic, url=fake.url, ca_file=fake.ca_file)


def test_dead_tokens_are_removed(fake_apns: ApnsFixture) -> None:
    living, dead = "ab" * 32, fated_token("Unregistered")
    devices = Devices(client(fake_apns), [living, dead])
    assert asyncio.run(devices.push("Hi")) == 1
    assert devices.tokens == {living}
    assert fake_apns.counts == {(200, ""): 1, (410, "Unregistered"): 1}


@pytest.mark.fake_apns(delay=0.01)
def test_an_outage_removes_no_device(fake_apns: ApnsFixture) -> None:
    fake_apns.faults.add({"id": "outage", "what": {"kind": "answer", "reason": "ServiceUnavailable"}})
    devices = Devices(client(fake_apns), ["ab" * 32])
    assert asyncio.run(devices.push("Hi")) == 0
    assert devices.tokens == {"ab" * 32}
