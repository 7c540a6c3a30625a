"""`send` and `send_many` cancelled at each point where they wait: nothing leaks, and the next push goes through."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from fakeservers import FakeApns
from pushcore import ApnsClient, ApnsKey, Notification, PushEngine
from tests.e2e.support import cancel_after
from tests.support.scripted import until_closed

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


async def test_closing_an_engine_cancelled_at_every_await_inside_the_loop() -> None:
    """The consumer goes on, gets a result of each push that was sent, and the next close ends what is left."""

    async def consume(engine: PushEngine, turns: int) -> bool:
        results = engine.send_many(pushes(1_000))
        taken = [await anext(results)]
        cancelled = await cancel_after(engine.close(), turns)
        taken += await until_closed(results)
        assert len({result.push.token for result in taken}) == len(taken)
        assert len(taken) == fake.counts[200, ""] - before
        return cancelled

    async with FakeApns(delay=0.002, keep=0) as fake:
        for turns in range(1, ENOUGH):  # before its first step it has closed nothing
            before = fake.counts.get((200, ""), 0)
            engine = PushEngine(client := client_of(fake), window=16)
            await engine.open()
            pool = client._dispatcher.pool
            cancelled = await consume(engine, turns)
            await engine.close()
            assert not client.opened
            assert not pool.links
            assert not pool._leaving
            if not cancelled:
                break
        else:
            pytest.fail("the engine was never closed by itself")
        assert turns > 3
