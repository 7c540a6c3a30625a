"""google-auth's own credentials, in their thread and over HTTP/1.1, with the fake that answers both."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.oauth2 import service_account

from fakeservers import Certificates, FakeFcm
from pushcore import Verdict
from tests.e2e.fcm_support import fcm_of, message, send_all, using
from tests.e2e.support import ENGINES, soon, verdicts

pytestmark = pytest.mark.usefixtures("clean")


def credentials_of(fake: FakeFcm) -> Any:
    load: Any = service_account.Credentials.from_service_account_file
    return load(fake.service_account_file)


@pytest.mark.parametrize("http2", ENGINES)
async def test_its_service_account(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake:
        client = fcm_of(fake, auth=credentials_of(fake), http2=http2)
        async with using(client):
            results = await send_all(client, map(message, range(300)))
            assert verdicts(results) == {Verdict.ACCEPTED: 300}
            assert fake.token_requests == 1
            assert [request.version for request in fake.received if request.path == "/token"] == ["1.1"]
            assert {request.version for request in fake.received if request.path != "/token"} == {"2"}
            fake.oauth.expire_all()
            results = await send_all(client, map(message, range(300)))
            assert verdicts(results) == {Verdict.ACCEPTED: 300}
            assert fake.token_requests == 2


@pytest.mark.parametrize("http2", ENGINES)
async def test_an_account_that_google_refuses(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake:
        fake.oauth.error = "invalid_grant"
        async with using(fcm_of(fake, auth=credentials_of(fake), http2=http2)) as client:
            results = await send_all(client, map(message, range(50)))
            assert verdicts(results) == {Verdict.MISCONFIGURED: 50}
            assert {result.reason for result in results} == {"invalid_grant"}
            assert fake.token_requests == 1


async def test_an_endpoint_that_is_down(certs: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda seconds: None)
    async with FakeFcm(certs=certs) as fake:
        fake.oauth.down = True
        async with using(fcm_of(fake, auth=credentials_of(fake), timeout=1.0)) as client:
            results = await send_all(client, map(message, range(20)))
            assert verdicts(results) == {Verdict.UNSENT: 20}
            fake.oauth.down = False
            await soon(lambda: client._dispatcher._tokens.current() is not None)
            assert (await client.send(message())).ok


async def test_closing_while_it_refreshes(certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake:
        fake.oauth.delay = 0.3
        client = fcm_of(fake, auth=credentials_of(fake))
        async with using(client, closes_within=2.0):
            push = asyncio.create_task(client.send(message()))
            await soon(lambda: fake.token_requests == 1)
            await client.close()
            assert (await push).verdict is Verdict.UNSENT
        thread = client._dispatcher._account._thread  # type: ignore[union-attr]  # the account is google-auth's here
        assert thread is not None
        await asyncio.to_thread(thread.join, 5)
        assert not thread.is_alive()
