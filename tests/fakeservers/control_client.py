"""A plain HTTP client for control ports, and pushes for them to look at."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fakeservers import Control, ControlService, FakeApns, FakeFcm
from tests.fakeservers.client import DEVICE, PAYLOAD, Client, Reply, headers_for, provider_token

DEADLINE = 10.0


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        """What a problem document says; it must be one."""
        assert self.headers["content-type"] == "application/problem+json"
        content = self.json
        assert set(content) == {"type", "title", "status", "detail"}
        assert content["status"] == self.status
        return str(content["detail"])


def ask_now(
    url: str, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """One request on a connection of its own. A body that is not bytes is sent as JSON."""
    sent = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        sent.setdefault("content-type", "application/json")
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=DEADLINE)
    try:
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, fields, response.read())
    finally:
        connection.close()


async def ask(
    control: Control | str, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """The same without stopping the loop."""
    url = control if isinstance(control, str) else control.url
    return await asyncio.to_thread(ask_now, url, method, path, body, headers)


@dataclass
class Scene:
    """Both fakes, their control port and one connection to the fake APNs."""

    apns: FakeApns
    fcm: FakeFcm
    control: Control
    client: Client

    async def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return await ask(self.control, method, path, body, headers)

    async def push(self, device: str = DEVICE, body: bytes = PAYLOAD, **changes: str | None) -> Reply:
        token = provider_token(self.apns, issued=ISSUED)
        return await self.client.push(headers_for(self.apns, token, device, **changes), body)


ISSUED = 1_700_000_000


class Clock:
    """A clock that goes on by a second with every look."""

    def __init__(self) -> None:
        self.now = float(ISSUED)

    def __call__(self) -> float:
        self.now += 1
        return self.now


@asynccontextmanager
async def scene(**options: Any) -> AsyncIterator[Scene]:
    async with (
        FakeApns(now=Clock(), token_min_refresh=0.0) as apns,
        FakeFcm(certs=apns.certs) as fcm,
        Control(ControlService(apns, fcm), **options) as control,
        await Client.connect(apns) as client,
    ):
        yield Scene(apns, fcm, control, client)
