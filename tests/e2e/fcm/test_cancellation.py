"""FCM's clients cancelled at each point where they wait: nothing leaks, and the next push goes through."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakeservers import Certificates, FakeFcm
from pushcore import FcmClient, LegacyMessage, Topics
from tests.e2e.fcm_support import RUNS, fcm_of, legacy_of, message, plain_engine, registration
from tests.e2e.support import cancel_after, soon

pytestmark = pytest.mark.usefixtures("clean")

ENOUGH = 600
"""Turns of the loop after which everything here has ended on loopback; cancelled at each of them until then."""
NEVER = math.inf


def assert_clean(client: FcmClient) -> None:
    for pool in client._dispatcher._pools.values():
        assert not pool.waiting
        assert not pool.listeners
        for link in pool.links:
            assert link.connection.idle
            assert not link.connection.finished


@pytest.mark.parametrize("http2", RUNS)
async def test_send(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake, fcm_of(fake, http2=http2) as client:
        assert (await client.send(message())).ok
        for turns in range(ENOUGH):
            if not await cancel_after(client.send(message(1)), turns):
                break
            assert_clean(client)
            assert (await client.send(message(2))).ok
        else:
            pytest.fail("the send never ended by itself")
        assert turns > 1
        assert fake.token_requests == 1


@pytest.mark.parametrize("http2", RUNS)
async def test_send_while_it_connects_and_fetches_its_token(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake:
        for turns in range(0, ENOUGH, 2):
            async with fcm_of(fake, http2=http2) as client:
                if not await cancel_after(client.send(message()), turns):
                    break
                assert_clean(client)
        else:
            pytest.fail("the send never ended by itself")
        assert turns > 3


@pytest.mark.parametrize("http2", RUNS)
async def test_send_that_waits_for_a_token(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake:
        fake.oauth.delay = NEVER
        async with fcm_of(fake, http2=http2) as client:
            tasks = [asyncio.create_task(client.send(message(number))) for number in range(10)]
            await soon(lambda: fake.token_requests == 1 and len(client._dispatcher.pool.waiting) == 10)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert_clean(client)


@pytest.mark.parametrize("http2", RUNS)
async def test_send_that_is_being_replayed(http2: str, certs: Certificates) -> None:
    """Cancelled after its token was refused: neither the replay nor the new token is left behind."""
    async with FakeFcm(certs=certs) as fake, fcm_of(fake, http2=http2) as client:
        for turns in range(ENOUGH):
            async with asyncio.timeout(10):
                assert (await client.send(message())).ok
            client._dispatcher._tokens._renewed_until = -math.inf
            fake.oauth.expire_all()
            if not await cancel_after(client.send(message(1)), turns):
                break
            assert_clean(client)
        else:
            pytest.fail("the send never ended by itself")
        assert turns > 3
        assert fake.token_requests > 2


@pytest.mark.parametrize("http2", RUNS)
async def test_open_and_close(http2: str, certs: Certificates) -> None:
    """A client left at any moment leaves no task and no socket: the fixture and the runner look."""

    async def visit(fake: FakeFcm) -> None:
        async with fcm_of(fake, http2=http2) as client:
            assert (await client.send(message())).ok

    async with FakeFcm(certs=certs) as fake:
        for turns in range(0, ENOUGH, 3):
            if not await cancel_after(visit(fake), turns):
                break
        else:
            pytest.fail("the visit never ended by itself")
        await soon(lambda: not fake.connections)


@pytest.mark.parametrize("http2", RUNS)
async def test_send_many(http2: str, certs: Certificates) -> None:
    async def run(engine: Any) -> None:
        async for _ in engine.send_many(map(message, range(60))):
            await asyncio.sleep(0)

    async with FakeFcm(certs=certs) as fake, fcm_of(fake, http2=http2) as client:
        assert (await client.send(message())).ok
        async with plain_engine(client, window=16) as engine:
            for turns in range(0, ENOUGH, 3):
                client._dispatcher._tokens._renewed_until = -math.inf
                fake.oauth.expire_all()
                if not await cancel_after(run(engine), turns):
                    break
                await engine.close()
                engine._open = True
                assert_clean(client)
                assert (await client.send(message())).ok
            else:
                pytest.fail("the run never ended by itself")
            assert turns > 10


@pytest.mark.parametrize("http2", RUNS)
async def test_topics(http2: str, certs: Certificates) -> None:
    async def run(topics: Topics) -> None:
        async with contextlib.aclosing(topics.subscribe("news", map(registration, range(40)))) as results:
            async for result in results:
                assert result.ok
                await asyncio.sleep(0)
        await topics.list(registration())
        await topics.info(registration())

    async with FakeFcm(certs=certs) as fake, fcm_of(fake, http2=http2) as client:
        for batches in (False, True):
            topics = Topics(client, rate=1e6, concurrency=8, instance_id=batches, instance_id_url=fake.url)
            for turns in range(ENOUGH):
                if not await cancel_after(run(topics), turns):
                    break
                assert_clean(client)
            else:
                pytest.fail("the run never ended by itself")
            assert turns > 3
        assert (await client.send(message())).ok


async def test_topics_left_early(certs: Certificates) -> None:
    closed = False

    async def source() -> AsyncIterator[str]:
        nonlocal closed
        try:
            for number in range(10_000):
                yield registration(number)
        finally:
            closed = True

    async with FakeFcm(certs=certs) as fake, fcm_of(fake) as client:
        asked = source()
        async with contextlib.aclosing(Topics(client).subscribe("news", asked)) as results:
            async for _ in results:
                break
        assert_clean(client)
        await asked.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert closed
        assert (await client.send(message())).ok


@pytest.mark.parametrize("http2", RUNS)
async def test_the_legacy_client(http2: str, certs: Certificates) -> None:
    ids = [registration(number) for number in range(2500)]
    async with FakeFcm(certs=certs) as fake, legacy_of(fake, http2=http2) as client:
        for turns in range(ENOUGH):
            if not await cancel_after(client.send_multicast(LegacyMessage(registration_ids=ids)), turns):
                break
            assert not client._dispatcher.pool.waiting
            assert all(link.connection.idle for link in client._dispatcher.pool.links)
        else:
            pytest.fail("it never ended by itself")
        assert turns > 1
        assert (await client.send(LegacyMessage(to=registration()))).ok
