"""The token endpoint: what it takes for a good assertion, what it says of others, and what its tokens are worth."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable
from typing import Any

import google.auth.exceptions
import google.auth.transport.requests
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from google.oauth2 import service_account

from fakeservers import FakeFcm
from fakeservers.fcm.oauth import MESSAGING_SCOPE, PLATFORM_SCOPE
from tests.fakeservers.client import Client, Reply
from tests.fakeservers.fcm_client import (
    FORM,
    assertion,
    detail_of,
    error_of,
    request_headers,
    send_body,
    send_headers,
    token_form,
)

SIGNATURE = ("invalid_grant", "Invalid JWT Signature.")
AUDIENCE = ("invalid_grant", "Invalid JWT: Failed audience check.")
TIMES = (
    "invalid_grant",
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
    "Check your iat and exp values in the JWT claim.",
)
ACCOUNT = ("invalid_grant", "Invalid grant: account not found")
SCOPE = ("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
REQUEST = ("invalid_request", "Bad Request")
NOW = 1_800_000_000


async def ask(fake: FakeFcm, client: Client, body: bytes | None = None) -> Reply:
    headers = request_headers(fake, "/token", content_type=FORM)
    return await client.push(headers, token_form(assertion(fake)) if body is None else body)


async def test_a_good_assertion_buys_a_token() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await ask(fake, client)
        content = json.loads(reply.body)
        assert reply.status == 200
        assert content.keys() == {"access_token", "expires_in", "token_type"}
        assert (content["expires_in"], content["token_type"]) == (3599, "Bearer")
        assert content["access_token"].startswith("ya29.")
        sent = await client.push(
            send_headers(fake, authorization=f"Bearer {content['access_token']}"), send_body()
        )
        assert sent.status == 200
        assert (fake.token_requests, fake.oauth.counts) == (1, {(200, ""): 1})


BROKEN: list[tuple[dict[str, Any], tuple[str, str]]] = [
    ({"iss": "someone@else.iam.gserviceaccount.com"}, ACCOUNT),
    ({"iss": None}, ACCOUNT),
    ({"aud": "https://oauth2.googleapis.com/"}, AUDIENCE),
    ({"aud": None}, AUDIENCE),
    ({"iat": NOW, "exp": NOW + 3601}, TIMES),
    ({"iat": NOW, "exp": NOW}, TIMES),
    ({"iat": NOW + 301, "exp": NOW + 3600}, TIMES),
    ({"iat": NOW - 3900, "exp": NOW - 300}, TIMES),
    ({"iat": None}, TIMES),
    ({"exp": None}, TIMES),
    ({"iat": str(NOW)}, TIMES),
    ({"iat": True}, TIMES),
    ({"scope": None}, SCOPE),
    ({"scope": " "}, SCOPE),
    ({"scope": "firebase.messaging"}, SCOPE),
    ({"scope": f"{MESSAGING_SCOPE} nonsense"}, SCOPE),
    ({"scope": [MESSAGING_SCOPE]}, SCOPE),
    ({"header": {"alg": "none"}}, SIGNATURE),
    ({"header": {"alg": "HS256"}}, SIGNATURE),
    ({"header": {"kid": "another"}}, SIGNATURE),
]


@pytest.mark.parametrize(("changes", "expected"), BROKEN, ids=lambda case: str(case)[:60])
async def test_a_broken_assertion(changes: dict[str, Any], expected: tuple[str, str]) -> None:
    async with FakeFcm(now=lambda: float(NOW)) as fake, await Client.connect(fake) as client:
        signed = assertion(fake, **{"iat": NOW, "exp": NOW + 3600} | changes)
        reply = await ask(fake, client, token_form(signed))
        content = json.loads(reply.body)
        assert (reply.status, content) == (400, {"error": expected[0], "error_description": expected[1]})
        assert fake.oauth.counts == {(400, expected[0]): 1}


KEPT: list[dict[str, Any]] = [
    {"header": {"typ": None}},
    {"scope": f"{PLATFORM_SCOPE} {MESSAGING_SCOPE}"},
    {"iat": NOW + 300, "exp": NOW + 3900},
    {"iat": NOW - 3899, "exp": NOW - 299},
    {"iat": NOW + 0.5, "exp": NOW + 60.5},
    {"sub": "someone@example.com"},
    {"aud": "https://oauth2.googleapis.com/token"},
]


@pytest.mark.parametrize("changes", KEPT, ids=str)
async def test_a_kept_rule(changes: dict[str, Any]) -> None:
    async with FakeFcm(now=lambda: float(NOW)) as fake, await Client.connect(fake) as client:
        signed = assertion(fake, **{"iat": NOW, "exp": NOW + 3600} | changes)
        assert (await ask(fake, client, token_form(signed))).status == 200


async def test_the_key_must_be_the_accounts() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        other = rsa.generate_private_key(65_537, 2048)
        reply = await ask(fake, client, token_form(assertion(fake, key=other)))
        assert (reply.status, json.loads(reply.body)["error_description"]) == (400, SIGNATURE[1])


async def test_claims_changed_after_signing() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        head, _, signature = assertion(fake).split(".")
        _, claims, _ = assertion(fake, scope=PLATFORM_SCOPE).split(".")
        reply = await ask(fake, client, token_form(f"{head}.{claims}.{signature}"))
        assert (reply.status, json.loads(reply.body)["error_description"]) == (400, SIGNATURE[1])


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "invalid_request"),
        (b'{"grant_type": "x"}', "invalid_request"),
        (b"\xff\xfe", "invalid_request"),
        (token_form(""), "invalid_request"),
        (token_form("a.b"), "invalid_request"),
        (token_form("a.b.c.d"), "invalid_request"),
        (token_form("!.!.!"), "invalid_request"),
        (token_form("W10.W10.W10"), "invalid_request"),
        (token_form("e30.e30.e%C3%A9"), "invalid_request"),
        (token_form("e30.e30.e30"), "invalid_grant"),
        (token_form("e30.e30.e30", "refresh_token"), "unsupported_grant_type"),
    ],
)
async def test_what_is_no_assertion(body: bytes, error: str) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await ask(fake, client, body)
        assert (reply.status, json.loads(reply.body)["error"]) == (400, error)


async def test_a_request_that_is_too_long() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        for padding, status in ((15_000, 200), (16_384, 400)):
            body = token_form(assertion(fake)) + b"&more=" + b"x" * padding
            assert (await ask(fake, client, body)).status == status


async def test_another_method() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await client.push(request_headers(fake, "/token", method="GET"), b"")
        assert (reply.status, reply.headers["content-type"]) == (404, "text/html; charset=UTF-8")
        assert fake.token_requests == 0


# What a token is worth


def spoil_nothing(fake: FakeFcm) -> str:
    return f"bearer {fake.oauth.issue(scope=f'openid {PLATFORM_SCOPE}')}"


def spoil_by_expiry(fake: FakeFcm) -> str:
    token = fake.oauth.issue()
    fake.oauth.expire_all()
    return f"Bearer {token}"


def spoil_by_forgetting(fake: FakeFcm) -> str:
    token = fake.oauth.issue()
    fake.oauth.forget_all()
    return f"Bearer {token}"


WORTH: list[tuple[Callable[[FakeFcm], str | None], int, str | None]] = [
    (spoil_nothing, 200, None),
    (lambda fake: None, 401, "CREDENTIALS_MISSING"),
    (lambda fake: "Bearer", 401, "CREDENTIALS_MISSING"),
    (lambda fake: f"key={fake.server_key}", 401, "CREDENTIALS_MISSING"),
    (lambda fake: "Bearer ya29.made-up", 401, "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
    (spoil_by_forgetting, 401, "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
    (spoil_by_expiry, 401, "ACCESS_TOKEN_EXPIRED"),
    (
        lambda fake: f"Bearer {fake.oauth.issue(scope='https://www.googleapis.com/auth/datastore')}",
        403,
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
    ),
]


@pytest.mark.parametrize(("make", "status", "reason"), WORTH)
async def test_the_worth_of_a_token(
    make: Callable[[FakeFcm], str | None], status: int, reason: str | None
) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await client.push(send_headers(fake, authorization=make(fake)), send_body())
        assert reply.status == status
        assert fake.counts == {(status, reason or ""): 1}
        if reason is not None:
            error = error_of(reply)
            info = detail_of(error, "ErrorInfo")
            assert info is not None
            assert (info["reason"], info["domain"]) == (reason, "googleapis.com")
            assert info["metadata"] == {
                "method": "google.firebase.fcm.v1.FcmService.SendMessage",
                "service": "fcm.googleapis.com",
            }
            assert error["status"] == ("UNAUTHENTICATED" if status == 401 else "PERMISSION_DENIED")
        assert ("www-authenticate" in reply.headers) == (status == 401)


async def test_a_token_is_judged_anew_each_time() -> None:
    now = 1_900_000_000.0
    async with FakeFcm(now=lambda: now) as fake, await Client.connect(fake) as client:

        async def send(authorization: str | None) -> int:
            return (await client.push(send_headers(fake, authorization=authorization), send_body())).status

        first, second = (f"Bearer {fake.oauth.issue(lifetime=item)}" for item in (100, 200))
        assert [await send(item) for item in (first, first, None, first, second)] == [200, 200, 401, 200, 200]
        now += 150
        assert [await send(item) for item in (second, first, first, second)] == [200, 401, 401, 200]
        fake.oauth.forget_all()
        assert await send(second) == 401


async def test_a_token_expires_by_the_clock() -> None:
    clock = [float(NOW)]
    async with (
        FakeFcm(now=lambda: clock[0], access_token_lifetime=60) as fake,
        await Client.connect(fake) as client,
    ):
        signed = assertion(fake, iat=NOW, exp=NOW + 3600)
        content = json.loads((await ask(fake, client, token_form(signed))).body)
        assert content["expires_in"] == 60
        headers = send_headers(fake, authorization=f"Bearer {content['access_token']}")
        statuses = []
        for clock[0] in (NOW, NOW + 59.9, NOW + 60.0):
            statuses.append((await client.push(headers, send_body())).status)
        assert statuses == [200, 200, 401]


# What it can be told to do


async def test_down_unwilling_and_well_again() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        fake.oauth.down = True
        reply = await ask(fake, client)
        assert (reply.status, reply.headers["content-type"]) == (503, "text/html; charset=UTF-8")
        fake.oauth.down = False
        fake.oauth.error = "invalid_grant"
        reply = await ask(fake, client)
        assert (reply.status, json.loads(reply.body)["error_description"]) == (400, ACCOUNT[1])
        fake.oauth.error = ""
        fake.oauth.lifetime = 5
        assert json.loads((await ask(fake, client)).body)["expires_in"] == 5
        assert fake.token_requests == 3
        assert fake.oauth.counts == {(503, "Unavailable"): 1, (400, "invalid_grant"): 1, (200, ""): 1}


async def test_slow() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        fake.oauth.delay = 0.3
        headers = request_headers(fake, "/token", content_type=FORM)
        begun = time.monotonic()
        slow = client.request(headers, token_form(assertion(fake)))
        # The send comes later and is answered first: a slow token endpoint holds nothing up.
        assert (await client.push(send_headers(fake), send_body())).status == 200
        assert slow not in client.ended
        assert (await client.reply(slow)).status == 200
        assert time.monotonic() - begun >= 0.3


async def test_never() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        fake.oauth.delay = math.inf
        never = client.request(
            request_headers(fake, "/token", content_type=FORM), token_form(assertion(fake))
        )
        assert (await client.push(send_headers(fake), send_body())).status == 200
        assert never not in client.ended
        assert fake.token_requests == 1


# Google's own client


def refresh(fake: FakeFcm, scope: str = MESSAGING_SCOPE) -> str:
    """google-auth's way to a token, which is HTTP/1.1."""
    with requests.Session() as session:
        session.trust_env = False  # neither a proxy nor another CA
        session.verify = fake.ca_file
        credentials = service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call]  # google-auth has no types
            fake.service_account_file, scopes=[scope]
        )
        credentials.refresh(google.auth.transport.requests.Request(session))
        return str(credentials.token)


async def test_google_auth_gets_a_token() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        token = await asyncio.to_thread(refresh, fake)
        assert (
            await client.push(send_headers(fake, authorization=f"Bearer {token}"), send_body())
        ).status == 200
        assert [record.version for record in fake.received] == ["1.1", "2"]


@pytest.mark.parametrize("error", ["invalid_grant", "invalid_scope"])
async def test_google_auth_gives_up_at_once(error: str) -> None:
    async with FakeFcm() as fake:
        fake.oauth.error = error
        with pytest.raises(google.auth.exceptions.RefreshError, match=error) as raised:
            await asyncio.to_thread(refresh, fake)
        assert not raised.value.retryable
        assert fake.token_requests == 1


async def test_google_auth_understands_a_refusal_of_its_own() -> None:
    async with FakeFcm() as fake:
        with pytest.raises(google.auth.exceptions.RefreshError, match="invalid_scope"):
            await asyncio.to_thread(refresh, fake, "nonsense")
