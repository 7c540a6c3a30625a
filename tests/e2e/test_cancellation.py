"""`send` and `send_many` cancelled at each point where they wait: nothing leaks, and the next push goes through."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from fakeservers import FakeApns
from pushcore import ApnsClient, ApnsKey, Notification, PushEngine
from tests.e2e.support import cancel_after

PAYLOAD = {"aps": {"alert": "Hi"}}
ENOUGH = 400
"""Turns of the loop after which a send on loopback has ended; cancelled at each of them until then."""


def client_of(fake: FakeApns, **options: Any) -> ApnsClient:
    key = ApnsKey.from_file(fake.key_file, key_id=fake.key_id, team_id=fake.team_id)
    return ApnsClient(key, topic=fake.topic, url=fake.url, ca_file=fake.ca_file, **options)


def pushes(count: int) -> Iterator[Notification]:
    return (Notification(f"{number:064x}", PAYLOAD) for number in range(count))


def assert_clean(client: ApnsClient) -> None:
    assert not client._dispatcher.pool.waiting
    assert not client._dispatcher.pool.listeners
    for link in client._dispatcher.pool.links:
        assert link.connection.idle
        assert not link.connection.finished


@pytest.mark.parametrize("http2", ["fast", "reference"])
async def test_send_cancelled_at_every_await(http2: str) -> None:
    async with FakeApns() as fake, client_of(fake, http2=http2) as client:
        assert (await client.send(Notification("ab", PAYLOAD))).ok
        for turns in range(ENOUGH):
            if not await cancel_after(client.send(Notification("cd", PAYLOAD)), turns):
                break
            assert_clean(client)
            assert (await client.send(Notification("ef", PAYLOAD))).ok
        else:
            pytest.fail("the send never ended by itself")
        assert turns > 1


async def test_send_cancelled_while_it_connects() -> None:
    async with FakeApns() as fake:
        for turns in range(ENOUGH):
            async with client_of(fake) as client:
                if not await cancel_after(client.send(Notification("cd", PAYLOAD)), turns):
                    break
                assert_clean(client)
        else:
            pytest.fail("the send never ended by itself")
        assert turns > 3


async def test_send_many_cancelled_at_every_await() -> None:
    async def run(engine: PushEngine) -> None:
        async for _ in engine.send_many(pushes(60)):
            await asyncio.sleep(0)

    async with FakeApns() as fake, client_of(fake) as client:
        assert (await client.send(Notification("ab", PAYLOAD))).ok
        async with PushEngine(client, window=16) as engine:
            for turns in range(ENOUGH):
                if not await cancel_after(run(engine), turns):
                    break
                await engine.close()  # ends the generator that the cancelled caller left behind
                engine._open = True
                assert_clean(client)
                assert (await client.send(Notification("ef", PAYLOAD))).ok
            else:
                pytest.fail("the run never ended by itself")
            assert turns > 10
        assert client.opened


async def test_cancelled_twice_while_it_waits_for_what_is_in_flight() -> None:
    async def run(engine: PushEngine) -> None:
        async for _ in engine.send_many(pushes(60)):
            pass

    async with FakeApns(delay=0.05) as fake, client_of(fake) as client:
        assert (await client.send(Notification("ab", PAYLOAD))).ok
        async with PushEngine(client, window=16) as engine:
            task = asyncio.create_task(run(engine))
            while all(link.connection.idle for link in client._dispatcher.pool.links):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        while not all(link.connection.idle for link in client._dispatcher.pool.links):
            await asyncio.sleep(0.001)
        assert_clean(client)
