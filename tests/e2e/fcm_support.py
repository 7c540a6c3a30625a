"""What the end-to-end tests of FCM share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from fakeservers import FakeFcm
from pushcore import FcmClient, LegacyFcmClient, Message, PushEngine, Result, ServiceAccount
from pushcore.engine.rate import Rate
from tests.e2e.support import CLOSING, ENGINES

FID = "dPx6Y0k3Qm2Vb1N9zW8aLk"
DATA = {"title": "Hi"}
RUNS = (*ENGINES, pytest.param("fast", id="fast on uvloop", marks=pytest.mark.uvloop))
"""Both codecs, and the loop that senders use."""


def registration(number: int = 0) -> str:
    """A registration token of a device of its own."""
    return f"{FID}:APA91b{number:0134x}"


def message(number: int = 0, **fields: Any) -> Message:
    return Message(token=registration(number), data=DATA, **fields)


def account_of(fake: FakeFcm, **changes: Any) -> ServiceAccount:
    account = ServiceAccount.from_file(fake.service_account_file)
    for name, value in changes.items():
        setattr(account, name, value)
    return account


def fcm_of(fake: FakeFcm, **options: Any) -> FcmClient:
    """A client that is set up rightly for `fake`, but for what `options` say."""
    return FcmClient(
        **{
            "auth": account_of(fake),
            "url": fake.url,
            "ca_file": fake.ca_file,
            "timeout": 10.0,
            **options,
        }
    )


def legacy_of(fake: FakeFcm, **options: Any) -> LegacyFcmClient:
    return LegacyFcmClient(
        **{"server_key": fake.server_key, "url": fake.url, "ca_file": fake.ca_file, **options}
    )


def plain_engine(*clients: Any, **options: Any) -> PushEngine:
    """An engine that repeats nothing, waits for nothing and stops for nothing: what the client says is what comes out."""
    return PushEngine(*clients, **{"retry": None, "rate": Rate.parse("none"), "breaker": False, **options})


async def send_all(client: FcmClient, pushes: Iterable[Message]) -> list[Result]:
    """Send all at once; the results in the order of the pushes."""
    return list(await asyncio.gather(*(client.send(push) for push in pushes)))


@contextlib.asynccontextmanager
async def using(client: Any, closes_within: float = CLOSING) -> AsyncIterator[Any]:
    """The open client; at the end it must close in time, leave nothing, and the loop must have heard no error."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    await client.open()
    pools = [client._dispatcher.pool]
    pools += [endpoint.pool for endpoint in getattr(client._dispatcher, "_endpoints", {}).values()]
    try:
        yield client
    finally:
        async with asyncio.timeout(closes_within):
            await client.close()
    for pool in pools:
        assert not pool.links
        assert not pool.waiting
    assert not complaints
