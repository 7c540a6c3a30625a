"""The manners of Google's servers: connections that end by age or idleness, few streams, and no PING unasked."""

from __future__ import annotations

import asyncio

import pytest

from fakeservers import Certificates, FakeFcm, FrontEndPolicy, fated_registration
from pushcore import Message, Verdict
from tests.e2e.fcm_support import DATA, RUNS, fcm_of, message, plain_engine, send_all, using
from tests.e2e.support import soon, verdicts

pytestmark = pytest.mark.usefixtures("clean")


@pytest.mark.parametrize("http2", RUNS)
async def test_connections_that_age_lose_nothing(http2: str, certs: Certificates) -> None:
    """GOAWAY `max_age` in the middle of a campaign, again and again."""
    policy = FrontEndPolicy(max_age=0.15)
    async with FakeFcm(certs=certs, delay=0.02, policy=policy, keep=0) as fake:
        async with (
            using(fcm_of(fake, http2=http2, max_connections=4)) as client,
            plain_engine(client) as engine,
        ):
            results = [result async for result in engine.send_many(map(message, range(6000)))]
        assert verdicts(results) == {Verdict.ACCEPTED: 6000}
        assert len({result.id for result in results}) == 6000
        assert fake.accepted > 5
        assert fake.token_requests == 1


@pytest.mark.parametrize("http2", RUNS)
async def test_an_idle_client_is_sent_away_and_comes_back(http2: str, certs: Certificates) -> None:
    async with (
        FakeFcm(certs=certs, policy=FrontEndPolicy(session_timeout=0.1)) as fake,
        using(fcm_of(fake, http2=http2)) as client,
    ):
        for round in range(1, 4):
            assert (await client.send(message())).ok
            await soon(lambda: not client._dispatcher.pool.links and not fake.connections)
            assert fake.accepted == round + 1  # and the one for the token
        assert fake.token_requests == 1


@pytest.mark.parametrize("http2", RUNS)
async def test_idle_connections_are_not_pinged(http2: str, certs: Certificates) -> None:
    """Google counts them: here the first would be too many, and silence is as long as it can be."""
    loop = asyncio.get_running_loop()
    async with (
        FakeFcm(certs=certs, policy=FrontEndPolicy(max_pings=1)) as fake,
        using(fcm_of(fake, http2=http2)) as client,
    ):
        assert (await client.send(message())).ok
        for pool in (client._dispatcher.pool, next(iter(client._dispatcher._endpoints.values())).pool):
            for link in pool.links:
                link.tick(loop.time() + 100_000.0)
                assert not link.connection.probing
        await asyncio.sleep(0.05)  # time for one to arrive before the next request excuses it
        assert (await client.send(message())).ok
        assert fake.accepted == 2


@pytest.mark.parametrize("http2", RUNS)
async def test_no_more_than_a_hundred_streams(http2: str, certs: Certificates) -> None:
    """The fake ends a connection that opens more, as Google does; so many connections carry what is needed."""
    async with (
        FakeFcm(certs=certs, delay=0.1) as fake,
        using(fcm_of(fake, http2=http2, max_connections=3)) as client,
    ):
        results = await send_all(client, map(message, range(1500)))
        assert verdicts(results) == {Verdict.ACCEPTED: 1500}
        assert {result.attempts for result in results} == {1}
        assert len(client._dispatcher.pool.links) == 3
        assert fake.accepted == 4


@pytest.mark.parametrize("http2", RUNS)
async def test_a_silent_server_is_pinged_once_and_left(http2: str, certs: Certificates) -> None:
    async with (
        FakeFcm(certs=certs) as fake,
        using(fcm_of(fake, http2=http2, timeout=0.6)) as client,
    ):
        assert (await client.send(message())).ok
        result = await client.send(Message(token=fated_registration("Stall"), data=DATA))
        assert result.verdict is Verdict.UNKNOWN
        assert (await client.send(message())).ok
        assert fake.accepted == 2  # it answered the PING, so it was alive
