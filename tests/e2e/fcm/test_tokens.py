"""Access tokens: minted once for all, renewed in the background, and what happens when there is none to be had."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from fakeservers import Certificates, FakeFcm, fated_registration
from fakeservers.fcm.service_account import FakeServiceAccount as FakeAccount
from pushcore import FcmClient, Message, Result, Verdict
from pushcore.auth.access_token import COOL_DOWN, MARGIN
from tests.e2e.fcm_support import DATA, RUNS, account_of, fcm_of, message, plain_engine, send_all, using
from tests.e2e.support import RawServer, hold, soon, verdicts

pytestmark = pytest.mark.usefixtures("clean")

START = 1_750_000_000.0
NEVER = math.inf


class Clock:
    """Virtual UNIX seconds, moved by hand, for the client and the fake alike."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Tokens:
    """The tokens of an open client, by a clock for their pauses that is moved by hand."""

    def __init__(self, client: FcmClient) -> None:
        self.tokens = client._dispatcher._tokens
        self.now = 0.0
        self.tokens._clock = lambda: self.now
        self.tokens._asked_offset = self.tokens._now() - self.now  # the exchange is no step of the wall clock


def sent(fake: FakeFcm) -> int:
    """Messages that reached the fake."""
    return sum("messages:send" in request.path for request in fake.received)


# --- one for all ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", RUNS)
async def test_the_first_pushes_wait_for_one_token_and_hold_no_stream(
    http2: str, certs: Certificates
) -> None:
    gate = asyncio.Event()
    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake, http2=http2)) as client:
        post = next(iter(client._dispatcher._endpoints.values())).post

        async def gated(form: bytes) -> Any:
            await gate.wait()
            return await post(form)

        next(iter(client._dispatcher._endpoints.values())).post = gated
        pushes = [asyncio.create_task(client.send(message(number))) for number in range(500)]
        await soon(lambda: client._dispatcher.pool.links)  # it connects while the token is fetched
        await asyncio.sleep(0.1)
        assert len(client._dispatcher.pool.waiting) == 500
        assert len(client._dispatcher.pool.links) == 1  # and one connection is enough
        assert client._dispatcher.pool.links[0].connection.idle
        gate.set()
        assert verdicts(await asyncio.gather(*pushes)) == {Verdict.ACCEPTED: 500}
        assert fake.token_requests == 1


@pytest.mark.deadline(100.0)
@pytest.mark.parametrize("http2", RUNS)
async def test_10_000_sends_with_an_expired_token_ask_once(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs, keep=0) as fake, using(fcm_of(fake, http2=http2, timeout=60.0)) as client:
        # Ten connections, all in use, so that as many streams as possible are refused.
        while len(client._dispatcher.pool.links) < 10:
            assert verdicts(await send_all(client, map(message, range(2000)))) == {Verdict.ACCEPTED: 2000}
        assert fake.token_requests == 1
        before = fake.counts[200, ""]
        fake.oauth.expire_all()
        results = await send_all(client, map(message, range(10_000)))
        assert verdicts(results) == {Verdict.ACCEPTED: 10_000}
        assert fake.token_requests == 2
        refused = fake.counts[401, "ACCESS_TOKEN_EXPIRED"]
        assert 100 <= refused <= 1000  # what was in flight, and nothing afterwards
        assert sum(result.attempts == 2 for result in results) == refused
        assert fake.counts[200, ""] - before == 10_001  # each accepted once; and the token


@pytest.mark.parametrize("http2", RUNS)
async def test_the_engine_over_an_expired_token(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs, keep=0) as fake, using(fcm_of(fake, http2=http2)) as client:
        async with plain_engine(client) as running:
            accepted = 0
            async for result in running.send_many(map(message, range(5000))):
                accepted += result.ok
                if accepted == 2500:
                    fake.oauth.expire_all()
        assert accepted == 5000
        assert fake.token_requests == 2


@pytest.mark.parametrize("http2", RUNS)
async def test_a_token_refused_while_its_successor_is_fetched(http2: str, certs: Certificates) -> None:
    """The old answers come in while a new token is on its way, and after it has come: none of them asks again."""
    async with FakeFcm(certs=certs, delay=0.2) as fake, using(fcm_of(fake, http2=http2)) as client:
        assert (await client.send(message())).ok
        fake.oauth.expire_all()
        first = asyncio.create_task(client.send(message(1)))
        await soon(lambda: fake.counts[401, "ACCESS_TOKEN_EXPIRED"] == 1)
        second = asyncio.create_task(client.send(message(2)))
        await soon(lambda: fake.counts[401, "ACCESS_TOKEN_EXPIRED"] == 2)
        results = await asyncio.gather(first, second)
        assert [(result.verdict, result.attempts) for result in results] == [(Verdict.ACCEPTED, 2)] * 2
        assert fake.token_requests == 2


@pytest.mark.parametrize("http2", RUNS)
async def test_a_rejection_of_a_token_that_was_replaced_already(http2: str, certs: Certificates) -> None:
    """Tokens come at once and answers late: what the old token was refused for says nothing about the new one."""
    account = FakeAccount.create()
    async with (
        FakeFcm(certs=certs, account=account) as tokens,
        FakeFcm(certs=certs, account=account, delay=0.3) as fake,
    ):
        fake._state.oauth = tokens.oauth
        async with using(fcm_of(fake, http2=http2, auth=account_of(tokens))) as client:
            assert (await client.send(message())).ok
            tokens.oauth.expire_all()
            pushes = []
            for number in range(6):
                pushes.append(asyncio.create_task(client.send(message(number))))
                await asyncio.sleep(0.04)
            results = await asyncio.gather(*pushes)
            assert verdicts(results) == {Verdict.ACCEPTED: 6}
            assert tokens.token_requests == 2


# --- by the clock ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", RUNS)
async def test_twenty_hours_without_a_rejected_token(http2: str, certs: Certificates) -> None:
    clock = Clock()
    async with (
        FakeFcm(certs=certs, now=clock, keep=0) as fake,
        using(fcm_of(fake, now=clock, http2=http2)) as client,
    ):
        hours = 20
        for _ in range(hours * 60):
            clock.now += 60.0
            assert (await client.send(message())).ok
        assert fake.counts[401, "ACCESS_TOKEN_EXPIRED"] == 0
        # Renewed 5 to 10 minutes before the hour is over; one at the start.
        assert hours <= fake.token_requests <= hours * 60 / 48 + 1


@pytest.mark.parametrize("http2", RUNS)
async def test_the_old_token_serves_while_the_endpoint_is_slow(http2: str, certs: Certificates) -> None:
    clock = Clock()
    async with (
        FakeFcm(certs=certs, now=clock) as fake,
        using(fcm_of(fake, now=clock, http2=http2)) as client,
    ):
        assert (await client.send(message())).ok
        fake.oauth.delay = NEVER
        clock.now += 3599 - MARGIN - 1
        for number in range(20):
            assert (await client.send(message(number))).ok
        assert fake.token_requests == 2


@pytest.mark.parametrize("http2", RUNS)
@pytest.mark.parametrize("trouble", ["down", "invalid_grant"])
async def test_the_old_token_serves_while_the_endpoint_refuses(
    trouble: str, http2: str, certs: Certificates
) -> None:
    clock = Clock()
    async with (
        FakeFcm(certs=certs, now=clock) as fake,
        using(fcm_of(fake, now=clock, http2=http2)) as client,
    ):
        assert (await client.send(message())).ok
        pauses = Tokens(client)
        fake.oauth.down, fake.oauth.error = trouble == "down", "" if trouble == "down" else trouble
        clock.now += 3599 - MARGIN - 1
        assert verdicts(await send_all(client, map(message, range(1000)))) == {Verdict.ACCEPTED: 1000}
        await soon(lambda: client._dispatcher._tokens.error is not None)
        assert verdicts(await send_all(client, map(message, range(1000)))) == {Verdict.ACCEPTED: 1000}
        assert fake.token_requests == 2  # not in a loop: the pause is not over
        fake.oauth.down, fake.oauth.error = False, ""
        pauses.now += COOL_DOWN
        assert (await client.send(message())).ok
        await soon(lambda: fake.token_requests == 3)
        await soon(lambda: client._dispatcher._tokens.error is None)
        clock.now += MARGIN
        assert (await client.send(message())).ok


@pytest.mark.parametrize("http2", RUNS)
async def test_a_wrong_clock_is_called_so(http2: str, certs: Certificates) -> None:
    clock = Clock()
    async with (
        FakeFcm(certs=certs) as fake,
        using(fcm_of(fake, now=clock, http2=http2)) as client,
    ):
        result = await client.send(message())
        assert (result.verdict, result.reason) == (Verdict.MISCONFIGURED, "invalid_grant")
        assert "reasonable timeframe" in str(result.detail)
        assert "set this machine's clock: it is " in str(result.detail)


@pytest.mark.parametrize("http2", RUNS)
@pytest.mark.parametrize("wrong", [7200.0, -7200.0])
async def test_a_clock_that_is_set_right_is_accepted_at_the_next_push(
    wrong: float, http2: str, certs: Certificates
) -> None:
    clock, skew = Clock(), [wrong]
    async with (
        FakeFcm(certs=certs, now=clock) as fake,
        using(fcm_of(fake, now=lambda: clock.now + skew[0], http2=http2)) as client,
    ):
        for _ in range(3):
            result = await client.send(message())
            assert (result.verdict, result.reason) == (Verdict.MISCONFIGURED, "invalid_grant")
            assert f"it is 2 h {'fast' if wrong > 0 else 'slow'}" in str(result.detail)
        assert fake.token_requests == 1
        skew[0] = 0.0
        assert (await client.send(message())).ok
        assert fake.token_requests == 2


@pytest.mark.parametrize("http2", RUNS)
async def test_a_refused_account_is_not_blamed_on_a_clock_that_is_right(
    http2: str, certs: Certificates
) -> None:
    clock = Clock()
    async with FakeFcm(certs=certs, now=clock) as fake, using(fcm_of(fake, now=clock, http2=http2)) as client:
        fake.oauth.error = "invalid_grant"
        result = await client.send(message())
        assert (result.verdict, result.reason) == (Verdict.MISCONFIGURED, "invalid_grant")
        assert "clock" not in str(result.detail)


# --- no token -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", RUNS)
@pytest.mark.parametrize(
    "error", ["invalid_grant", "invalid_scope", "invalid_request", "unauthorized_client"]
)
async def test_an_account_that_google_refuses_is_misconfigured_at_once(
    error: str, http2: str, certs: Certificates
) -> None:
    async with FakeFcm(certs=certs) as fake:
        fake.oauth.error = error
        async with using(fcm_of(fake, http2=http2, timeout=30.0)) as client:
            pauses = Tokens(client)
            async with asyncio.timeout(5):
                for count in (1, 50, 50):  # those that wait for the first answer, and those after it
                    results = await send_all(client, map(message, range(count)))
                    assert verdicts(results) == {Verdict.MISCONFIGURED: count}
                    assert {result.reason for result in results} == {error}
                    assert {result.attempts for result in results} == {0}
                    assert {result.status for result in results} == {None}
            assert (fake.token_requests, sent(fake)) == (1, 0)
            fake.oauth.error = ""
            pauses.now += COOL_DOWN
            assert (await client.send(message())).ok
            assert fake.token_requests == 2


@pytest.mark.parametrize("http2", RUNS)
async def test_the_engine_ends_when_google_refuses_the_account(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake:
        fake.oauth.error = "invalid_grant"
        async with plain_engine(fcm_of(fake, http2=http2, timeout=30.0)) as running:
            async with asyncio.timeout(10):
                results = [result async for result in running.send_many(map(message, range(3000)))]
        assert verdicts(results) == {Verdict.MISCONFIGURED: 3000}
        assert fake.token_requests == 1


@pytest.mark.parametrize("http2", RUNS)
@pytest.mark.parametrize("trouble", ["down", "silent", "mute", "refused"])
async def test_without_a_token_a_push_ends_in_time_and_says_why(
    trouble: str, http2: str, certs: Certificates
) -> None:
    async with FakeFcm(certs=certs) as fake:
        options: dict[str, Any] = {}
        fake.oauth.down = trouble == "down"
        if trouble == "silent":
            fake.oauth.delay = NEVER
        if trouble == "refused":
            async with RawServer(lambda reader, writer: hold(reader)) as gone:
                uri = f"{gone.url}/token"
            options["auth"] = account_of(fake, token_uri=uri)  # nobody listens there any more
        async with RawServer(lambda reader, writer: hold(reader), certs.server_context()) as mute:
            if trouble == "mute":  # TLS, and then nothing
                options["auth"] = account_of(fake, token_uri=f"{mute.url}/token")
            async with using(fcm_of(fake, http2=http2, timeout=1.0, **options)) as client:
                Tokens(client)
                results = await send_all(client, map(message, range(20)))
                assert verdicts(results) == {Verdict.UNSENT: 20}
                assert {result.attempts for result in results} == {0}
                words = {"down": "503", "refused": "refused the connection"}
                expected = words.get(trouble, "no access token was received")
                assert all(expected in str(result.detail) for result in results)
                assert all(result.retryable for result in results)
                assert fake.token_requests == (1 if trouble in ("down", "silent") else 0)
                assert sent(fake) == 0


@pytest.mark.parametrize("http2", RUNS)
async def test_pushes_that_wait_are_sent_when_the_endpoint_is_back(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake:
        fake.oauth.down = True
        async with using(fcm_of(fake, http2=http2, timeout=20.0)) as client:
            pauses = Tokens(client)
            pushes = [asyncio.create_task(client.send(message(number))) for number in range(50)]
            await soon(lambda: client._dispatcher._tokens.error is not None)
            fake.oauth.down = False
            pauses.now += 1.0  # at the next tick of the pool it is asked again, without another push
            assert verdicts(await asyncio.gather(*pushes)) == {Verdict.ACCEPTED: 50}
            assert fake.token_requests == 2


@pytest.mark.parametrize("http2", RUNS)
async def test_a_key_of_another_account(http2: str, certs: Certificates) -> None:
    async with (
        FakeFcm(certs=certs) as fake,
        using(fcm_of(fake, http2=http2, auth=account_of(fake, client_email="x@y.example"))) as client,
    ):
        result = await client.send(message())
        assert (result.verdict, result.reason) == (Verdict.MISCONFIGURED, "invalid_grant")
        assert "account not found" in str(result.detail)
        secrets = (fake.account.key_id, "BEGIN", "eyJ")
        assert not any(secret in f"{result} {result.detail!r}" for secret in secrets)


# --- tokens that are refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", RUNS)
async def test_a_second_rejection_is_misconfigured_and_not_retried(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake, http2=http2)) as client:
        bad = Message(token=fated_registration("AccessTokenExpired"), data=DATA)
        Tokens(client)
        first = await client.send(bad)
        assert (first.verdict, first.attempts) == (Verdict.MISCONFIGURED, 2)
        for _ in range(20):  # a fresh token did not help: it is not asked for once more
            again = await client.send(bad)
            assert (again.verdict, again.attempts) == (Verdict.MISCONFIGURED, 1)
        assert fake.token_requests == 2
        assert (await client.send(message())).ok


@pytest.mark.parametrize("http2", RUNS)
async def test_a_rejected_token_without_a_replacement(http2: str, certs: Certificates) -> None:
    """The key was deleted: what is in flight is refused, and what follows learns why."""
    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake, http2=http2)) as client:
        assert (await client.send(message())).ok
        fake.oauth.forget_all()
        fake.oauth.error = "invalid_grant"
        results = await send_all(client, map(message, range(200)))
        assert verdicts(results) == {Verdict.MISCONFIGURED: 200}
        assert {result.reason for result in results} == {"invalid_grant"}
        assert fake.token_requests == 2
        assert fake.counts[401, "ACCESS_TOKEN_TYPE_UNSUPPORTED"] <= 100


@pytest.mark.parametrize("http2", RUNS)
async def test_two_clients_of_one_account_have_tokens_of_their_own(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake:
        account = account_of(fake)
        async with (
            using(fcm_of(fake, auth=account, http2=http2)) as one,
            using(fcm_of(fake, auth=account, http2=http2)) as two,
        ):
            assert (await one.send(message())).ok
            assert (await two.send(message())).ok
        assert fake.token_requests == 2


# --- the end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", RUNS)
async def test_closing_while_a_token_is_minted(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake:
        fake.oauth.delay = NEVER
        async with using(fcm_of(fake, http2=http2), closes_within=2.0) as client:
            pushes = [asyncio.create_task(client.send(message(number))) for number in range(20)]
            await soon(lambda: fake.token_requests == 1)
            await client.close()
            results = await asyncio.gather(*pushes)
            assert verdicts(results) == {Verdict.UNSENT: 20}
            assert all("closed" in str(result.detail) for result in results)


@pytest.mark.parametrize("http2", RUNS)
async def test_closing_while_refused_pushes_wait_for_another_token(http2: str, certs: Certificates) -> None:
    async with (
        FakeFcm(certs=certs) as fake,
        using(fcm_of(fake, http2=http2), closes_within=2.0) as client,
    ):
        assert (await client.send(message())).ok
        fake.oauth.delay = NEVER
        fake.oauth.expire_all()
        pushes = [asyncio.create_task(client.send(message(number))) for number in range(20)]
        await soon(lambda: fake.token_requests == 2)
        await client.close()
        assert verdicts(await asyncio.gather(*pushes)) == {Verdict.UNSENT: 20}


@pytest.mark.parametrize("http2", RUNS)
async def test_a_rejection_while_the_client_closes(http2: str, certs: Certificates) -> None:
    async with (
        FakeFcm(certs=certs, delay=0.1) as fake,
        using(fcm_of(fake, http2=http2), closes_within=3.0) as client,
    ):
        assert (await client.send(message())).ok
        fake.oauth.expire_all()
        pushes = [asyncio.create_task(client.send(message(number))) for number in range(5)]
        await soon(lambda: sent(fake) == 6)
        closing = asyncio.create_task(client.close())
        results: list[Result] = await asyncio.gather(*pushes)
        await closing
        assert len(results) == 5
        assert verdicts(results).keys() <= {Verdict.UNSENT, Verdict.MISCONFIGURED}


async def test_an_account_of_another_fake(certs: Certificates) -> None:
    """Both servers share their host's name and nothing else: tokens of the one are no good at the other."""
    async with (
        FakeFcm(certs=certs) as fake,
        FakeFcm(certs=certs, account=FakeAccount.create()) as other,
        using(fcm_of(fake, auth=account_of(other))) as client,
    ):
        result = await client.send(message())
        assert (result.verdict, result.attempts) == (Verdict.MISCONFIGURED, 2)
        assert other.token_requests == 2
