"""An `FcmClient`'s access tokens and accounts in virtual time: what is sent again, what ends, and what replaces what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import google.auth.credentials
import orjson
import pytest

from pushcore import FcmClient, Message, Result
from pushcore.errors import AccessTokenError, ConfigurationError
from pushcore.results import Verdict
from tests.support.virtual import Answer, connect_to, run
from tests.unit.fcm.building import TOKEN, account

ACCEPTED = b'{"name": "projects/my-project/messages/0:1"}'


UNAUTHENTICATED = orjson.dumps({"error": {"code": 401, "status": "UNAUTHENTICATED", "message": "expired"}})


class TokenIssuer:
    """Issues the tokens ya29.1, ya29.2 …, and rejects pushes with one of `expired`. `issue`: what to respond instead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, latency: float = 0.05) -> None:
        self.issued = 0
        self.expired: set[str] = set()
        self.used: list[str] = []
        self.issue: Answer | None = None
        connect_to(monkeypatch, self, latency=latency)

    def __call__(self, fields: dict[str, str], body: bytes) -> Answer:
        if fields[":path"] == "/token":
            self.issued += 1
            answer = {"access_token": f"ya29.{self.issued}", "expires_in": 3599, "token_type": "Bearer"}
            return self.issue or (200, {}, orjson.dumps(answer))
        token = fields["authorization"].removeprefix("Bearer ")
        self.used.append(token)
        return (401, {}, UNAUTHENTICATED) if token in self.expired else (200, {}, ACCEPTED)


def with_client(work: Callable[[FcmClient], Awaitable[Any]], auth: Any = None) -> Any:
    async def opened() -> Any:
        async with FcmClient(auth or account(), url="https://fcm.test", project_id="my-project") as client:
            return await work(client)

    return run(opened())


def test_a_push_whose_token_has_expired_is_sent_again_with_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = TokenIssuer(monkeypatch)

    async def work(client: FcmClient) -> list[Result]:
        first = await client.send(Message(token=TOKEN))
        issuer.expired = {"ya29.1"}
        return [first, *await asyncio.gather(*(client.send(Message(token=TOKEN)) for _ in range(3)))]

    results: list[Result] = with_client(work)
    assert [(result.ok, result.attempts) for result in results] == [(True, 1), *[(True, 2)] * 3]
    assert issuer.issued == 2  # one for all


def test_a_token_that_is_refused_again_and_again_is_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = TokenIssuer(monkeypatch)
    issuer.expired = {f"ya29.{number}" for number in range(9)}

    async def work(client: FcmClient) -> Result:
        return await client.send(Message(token=TOKEN))

    result = with_client(work)
    assert (result.verdict, result.status, result.attempts) == (Verdict.MISCONFIGURED, 401, 2)
    assert issuer.used == ["ya29.1", "ya29.2"]


def test_what_is_in_flight_when_the_account_is_replaced_is_not_the_new_tokens_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issuer = TokenIssuer(monkeypatch, latency=5.0)

    async def work(client: FcmClient) -> Result:
        assert (await client.send(Message(token=TOKEN))).ok
        issuer.expired = {"ya29.1"}
        await asyncio.sleep(1.0)
        client.use(account())
        await asyncio.sleep(4.5)
        # The new token is on its way, and comes before this push's response.
        result = await client.send(Message(token=TOKEN))
        assert client.expiries["access_token"] > 0
        return result

    result = with_client(work)
    assert (result.ok, result.attempts) == (True, 2)
    assert issuer.used == ["ya29.1", "ya29.1", "ya29.2"]
    assert issuer.issued == 2


def test_an_account_that_google_does_not_know_ends_all_that_waits_for_its_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issuer = TokenIssuer(monkeypatch)
    issuer.issue = (
        400,
        {},
        b'{"error":"invalid_grant","error_description":"Invalid grant: account not found"}',
    )

    async def work(client: FcmClient) -> list[Result]:
        waiting = await asyncio.gather(*(client.send(Message(token=TOKEN)) for _ in range(3)))
        return [*waiting, await client.send(Message(token=TOKEN))]

    results: list[Result] = with_client(work)
    assert {(result.verdict, result.reason, result.status) for result in results} == {
        (Verdict.MISCONFIGURED, "invalid_grant", None)
    }
    assert "account not found" in str(results[0].detail)
    assert issuer.used == []


def test_without_a_token_in_time_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = TokenIssuer(monkeypatch)
    issuer.issue = 503, {}, b"try later"

    async def work(client: FcmClient) -> Result:
        return await client.send(Message(token=TOKEN))

    result = with_client(work)
    assert (result.verdict, issuer.used) == (Verdict.UNSENT, [])
    assert isinstance(result.detail, AccessTokenError)


def test_a_token_endpoint_that_does_not_respond_is_named_with_what_is_known_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issuer = TokenIssuer(monkeypatch, latency=1000.0)

    async def work(client: FcmClient) -> Result:
        return await client.send(Message(token=TOKEN))

    result = with_client(work)
    assert result.verdict is Verdict.UNSENT
    assert "token" in str(result.detail)
    assert issuer.used == []


def test_a_client_may_be_closed_while_it_ends_what_waits_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = TokenIssuer(monkeypatch)
    issuer.issue = 400, {}, b'{"error":"invalid_grant"}'

    async def work() -> None:
        client = FcmClient(account(), url="https://fcm.test")
        async with client:
            assert not (await client.send(Message(token=TOKEN))).ok
            sending = asyncio.ensure_future(client.send(Message(token=TOKEN)))
            while client._dispatcher._fail_handle is None:
                await asyncio.sleep(0)
        assert client._dispatcher._fail_handle is None
        assert not (await sending).ok

    run(work())


# --- accounts that replace others -------------------------------------------------------------------------------------


class Federated(google.auth.credentials.Credentials):
    """Credentials of google-auth, which are refreshed without a network."""

    def __init__(self, quota: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # google-auth has no types
        self._quota_project_id = quota

    def refresh(self, request: Any) -> None:
        self.token = "ya29.federated"
        self.expiry = (datetime.now(UTC) + timedelta(hours=1)).replace(tzinfo=None)


def test_an_account_may_be_replaced_by_credentials_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = TokenIssuer(monkeypatch)

    async def work(client: FcmClient) -> None:
        assert (await client.send(Message(token=TOKEN))).ok
        client.use(Federated())
        while "ya29.federated" not in issuer.used:
            assert (await client.send(Message(token=TOKEN))).ok
        client.use(account())
        while issuer.issued < 2:
            assert (await client.send(Message(token=TOKEN))).ok

    with_client(work)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            lambda: account("other"),
            "the account belongs to the project other, and this client sends to my-project",
        ),
        (lambda: Federated("billed"), "the account has another quota project, which needs another client"),
        (lambda: "account.json", "ServiceAccount or a credentials object"),
    ],
)
async def test_an_account_that_cannot_replace_another_changes_nothing(
    other: Callable[[], Any], words: str
) -> None:
    client = FcmClient(account())
    before = client._dispatcher._account
    with pytest.raises(ConfigurationError, match=words):
        client.use(other())
    assert client._dispatcher._account is before


async def test_a_client_that_was_told_its_project_takes_an_account_of_any() -> None:
    client = FcmClient(account("theirs"), project_id="mine")
    client.use(account("other"))
    assert client.project_id == "mine"


def test_sockets_are_closed_after_their_loop_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    TokenIssuer(monkeypatch)
    client = FcmClient(account(), url="https://fcm.test")

    async def send() -> list[Any]:
        await client.open()
        assert (await client.send(Message(token=TOKEN))).ok
        pools = [
            *client._dispatcher._pools.values(),
            *(e.pool for e in client._dispatcher._endpoints.values()),
        ]
        return [link for pool in pools for link in pool.links]

    links = run(send())
    assert len(links) == 2
    with asyncio.Runner() as runner:
        runner.run(client.close())
    assert not client.opened
