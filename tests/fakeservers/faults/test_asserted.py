"""What an injected response has said stays true: no sender is blamed for believing it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from fakeservers import FakeApns, FakeFcm, fated_token
from fakeservers.faults import Answer, FaultPlan, Shape
from tests.fakeservers.client import DEVICE, Client, headers_for, provider_token
from tests.fakeservers.faults_support import one, plan_of
from tests.fakeservers.fcm_client import error_of, send_body, send_headers

both_engines = pytest.mark.parametrize("shapes", [(), (Shape(),)], ids=["libnghttp2", "wire"])


def apns(what: Any, *shapes: Shape, **when: Any) -> FakeApns:
    plan = FaultPlan(0, [one("wire", shape) for shape in shapes])
    plan.add(one("said", what, **{"limit": 1, **when}))
    return FakeApns(faults=plan)


def tokens(fake: FakeApns) -> tuple[str, str]:
    """Two provider tokens, the second a second newer."""
    now = int(time.time())
    return provider_token(fake, issued=now - 1), provider_token(fake, issued=now)


@both_engines
async def test_a_new_token_after_an_expired_one(shapes: tuple[Shape, ...]) -> None:
    async with apns(Answer(reason="ExpiredProviderToken"), *shapes, nth=2) as fake:
        old, new = tokens(fake)
        async with await Client.connect(fake) as client:
            assert (await client.push(headers_for(fake, old))).status == 200
            # The connection is wedged, whatever token comes, and the next one is no update too many.
            for token in (old, new, old, new):
                assert (await client.push(headers_for(fake, token))).reason == "ExpiredProviderToken"
            await client.until(lambda: client.streams == 1)
        for token, status in ((new, 200), (old, 403)):
            async with await Client.connect(fake) as client:
                assert (await client.push(headers_for(fake, token))).status == status


async def test_a_token_that_really_expires_wedges_its_connection() -> None:
    now = time.time()
    async with FakeApns(now=lambda: now, token_max_age=100) as fake, await Client.connect(fake) as client:
        old = provider_token(fake, issued=now)
        assert (await client.push(headers_for(fake, old))).status == 200
        now += 101
        new = provider_token(fake, issued=now)
        for token in (old, new):
            assert (await client.push(headers_for(fake, token))).reason == "ExpiredProviderToken"
        async with await Client.connect(fake) as second:
            assert (await second.push(headers_for(fake, new))).status == 200


TOKEN_REASONS = [
    ("InvalidProviderToken", False),
    ("InvalidProviderToken", True),
    ("MissingProviderToken", False),
    ("MissingProviderToken", True),
    ("ExpiredProviderToken", True),  # a fated device speaks of its own push alone
]


@pytest.mark.parametrize(("reason", "fated"), TOKEN_REASONS)
async def test_a_new_token_after_one_that_was_called_invalid(reason: str, fated: bool) -> None:
    async with apns(Answer(reason=reason), nth=2) as fake, await Client.connect(fake) as client:
        old, new = tokens(fake)
        if fated:
            fake.faults.remove("said")
        assert (await client.push(headers_for(fake, old))).status == 200
        device = fated_token(reason) if fated else DEVICE
        assert (await client.push(headers_for(fake, old, device))).reason == reason
        assert (await client.push(headers_for(fake, new))).status == 200
        assert client.settings[1:] == [{3: 1000}]
        reply = await client.push(headers_for(fake, old))
        lasts = reason == "InvalidProviderToken" and not fated
        assert reply.reason == (reason if lasts else "TooManyProviderTokenUpdates")


async def test_a_key_of_another_environment_is_so_on_every_connection() -> None:
    async with apns(Answer(reason="BadEnvironmentKeyIdInToken")) as fake:
        for token in tokens(fake):
            async with await Client.connect(fake) as client:
                reply = await client.push(headers_for(fake, token))
                assert reply.reason == "BadEnvironmentKeyIdInToken"


async def test_an_unrelated_key_is_so_on_its_connection() -> None:
    async with apns(Answer(reason="UnrelatedKeyIdInToken")) as fake, await Client.connect(fake) as client:
        token = provider_token(fake)
        for _ in range(2):
            assert (await client.push(headers_for(fake, token))).reason == "UnrelatedKeyIdInToken"
        async with await Client.connect(fake) as second:
            assert (await second.push(headers_for(fake, token))).status == 200


@both_engines
@pytest.mark.parametrize(
    "reason", ["BadDeviceToken", "DeviceTokenNotForTopic", "Unregistered", "ExpiredToken", "TopicDisallowed"]
)
async def test_a_device_or_topic(reason: str, shapes: tuple[Shape, ...]) -> None:
    async with apns(Answer(reason=reason), *shapes, nth=2) as fake, await Client.connect(fake) as client:
        token = provider_token(fake)
        headers = headers_for(fake, token)
        assert (await client.push(headers)).status == 200
        first, second = await client.push(headers), await client.push(headers)
        assert first.reason == second.reason == reason
        assert first.body == second.body  # 410 has the same timestamp
        other = await client.push(headers_for(fake, token, "cd" * 32))
        assert (other.reason == reason) == (reason == "TopicDisallowed")
        fake.faults.remove("said")
        assert (await client.push(headers)).status == 200


async def test_what_is_not_to_last() -> None:
    async with (
        apns(Answer(reason="Unregistered", lasting=False)) as fake,
        await Client.connect(fake) as client,
    ):
        headers = headers_for(fake, provider_token(fake))
        assert [(await client.push(headers)).status for _ in range(2)] == [410, 200]


@pytest.mark.parametrize("reason", ["UNREGISTERED", "SENDER_ID_MISMATCH", "ApnsDisabled", "InvalidToken"])
async def test_a_registration(reason: str) -> None:
    async with (
        FakeFcm(faults=plan_of(Answer(reason=reason), limit=1)) as fake,
        await Client.connect(fake) as client,
    ):
        headers = send_headers(fake)
        first, second = [await client.push(headers, send_body()) for _ in range(2)]
        assert first.status == second.status > 399
        assert json.loads(first.body) == json.loads(second.body)
        other = send_body(token="c" * 22 + ":APA91b" + "x" * 100)
        assert (await client.push(headers, other)).status == 200
        fake.faults.clear()
        assert (await client.push(headers, send_body())).status == 200


async def test_an_access_token_that_was_called_expired() -> None:
    plan = plan_of(Answer(reason="AccessTokenExpired"), limit=1)
    async with FakeFcm(faults=plan) as fake, await Client.connect(fake) as client:
        headers = send_headers(fake)
        for _ in range(2):
            reply = await client.push(headers, send_body())
            assert (reply.status, error_of(reply)["status"]) == (401, "UNAUTHENTICATED")
        assert (await client.push(send_headers(fake), send_body())).status == 200
