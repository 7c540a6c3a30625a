"""Everything that goes to Google goes through the proxy: messages, tokens, and the old instance-id API."""

from __future__ import annotations

import pytest

from fakeservers import Certificates, FakeFcm
from pushcore import LegacyMessage, Topics, Verdict
from tests.e2e.fcm_support import RUNS, account_of, fcm_of, legacy_of, message, registration, send_all, using
from tests.e2e.support import verdicts
from tests.support.proxy import ConnectProxy

pytestmark = pytest.mark.usefixtures("clean")


@pytest.mark.parametrize("http2", RUNS)
async def test_messages_tokens_and_topics(http2: str, certs: Certificates) -> None:
    async with (
        FakeFcm(certs=certs) as fake,
        FakeFcm(certs=certs, account=fake.account) as tokens,
        FakeFcm(certs=certs, account=fake.account) as topics,
        ConnectProxy() as proxy,
    ):
        fake._state.oauth = topics._state.oauth = tokens.oauth
        client = fcm_of(fake, auth=account_of(tokens), http2=http2, proxy=proxy.url())
        async with using(client):
            results = await send_all(client, map(message, range(100)))
            assert verdicts(results) == {Verdict.ACCEPTED: 100}
            old = Topics(client, instance_id=True, instance_id_url=topics.url)
            assert [result.ok async for result in old.subscribe("news", [registration()])] == [True]
        servers = [tokens, fake, topics]
        assert sorted(proxy.targets) == sorted(server.url.removeprefix("https://") for server in servers)
        assert proxy.tunnels == sum(server.accepted for server in servers) == 3


@pytest.mark.parametrize("http2", RUNS)
async def test_the_legacy_api(http2: str, certs: Certificates) -> None:
    async with (
        FakeFcm(certs=certs) as fake,
        ConnectProxy() as proxy,
        using(legacy_of(fake, http2=http2, proxy=proxy.url())) as client,
    ):
        assert (await client.send(LegacyMessage(to=registration()))).ok
        assert proxy.tunnels == fake.accepted == 1


@pytest.mark.parametrize("http2", RUNS)
async def test_a_proxy_that_refuses(http2: str, certs: Certificates) -> None:
    """Neither a token nor a connection is to be had, and the push says so in time."""
    response = b"HTTP/1.1 403 Forbidden\r\n\r\n"
    async with (
        FakeFcm(certs=certs) as fake,
        ConnectProxy(answer=response) as proxy,
        using(fcm_of(fake, http2=http2, proxy=proxy.url(), timeout=1.0)) as client,
    ):
        results = await send_all(client, map(message, range(10)))
        assert verdicts(results) == {Verdict.UNSENT: 10}
        assert all("403" in str(result.detail) for result in results)
        assert fake.accepted == 0
