"""A gateway in virtual time: the application, called as a server calls it, and providers that answer inside the process.

All but HTTP serving and TLS is the real thing. A test is `run(work())` of `tests.support.virtual`, in which a wait of 25 s takes none.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

import orjson
import pytest
from starlette.applications import Starlette

from pushcore.gateway.app import create_app
from pushcore.gateway.config import ApnsSection, AppSection, FcmSection, GatewayConfig
from pushcore.gateway.gateway import Gateway
from tests.support.gateway import TOKEN, config_of
from tests.support.key_material import account, materials
from tests.support.virtual import Answer, connect_to, run

TOPIC = "com.example.app"
IPHONE = f"{1:064x}"
ANDROID = "f" * 22 + ":APA91b" + "x" * 134
ALERT: dict[str, Any] = {"aps": {"alert": "Hi"}}
EXPO: dict[str, Any] = {"title": "Hi", "body": "there"}


def apns_section(**changes: Any) -> ApnsSection:
    """A key for `TOPIC`."""
    options: dict[str, Any] = {"key": materials()["p8"], "key_id": "ABC123DEFG", "team_id": "TEAM123456"}
    return ApnsSection(**{**options, "topics": (TOPIC,), **changes})


def fcm_section(**changes: Any) -> FcmSection:
    """An account of the project "my-project"."""
    return FcmSection(**{"service_account": json.dumps(account()), "rate": "none", **changes})


def app(**changes: Any) -> AppSection:
    """The app "shop" with both providers."""
    return AppSection(**{"id": "shop", "apns": (apns_section(),), "fcm": fcm_section(), **changes})


class Providers:
    """APNs, FCM, Google's tokens and Expo's service. Accepts everything that `fates` does not name.

    Attributes:
        fates: by token, what is answered for it.
        requests: each push: its path, its headers and its body.
        expo: answers Expo's paths.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, latency: float = 0.05) -> None:
        self.fates: dict[str, Answer | Callable[[], Answer]] = {}
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.expo: Callable[[str, Any], Answer] = lambda path, body: (500, {}, b"")
        connect_to(monkeypatch, self, latency=latency)

    @property
    def tokens(self) -> list[str]:
        """Of the pushes to devices, in order."""
        return [self._token(path, body) for path, _, body in self.requests]

    @staticmethod
    def _token(path: str, body: Any) -> str:
        if path.startswith("/3/device/"):
            return path.rpartition("/")[2]
        message = body.get("message", {}) if isinstance(body, dict) else {}
        return str(message.get("token") or message.get("topic") or path)

    def __call__(self, fields: dict[str, str], body: bytes) -> Answer:
        """The response of a server."""
        path = fields[":path"]
        if path == "/token":
            token = {"access_token": "ya29.x", "expires_in": 3599, "token_type": "Bearer"}
            return 200, {}, orjson.dumps(token)
        document = orjson.loads(body) if body.startswith((b"{", b"[")) else body
        self.requests.append((path, fields, document))
        if path.startswith("/--/"):
            return self.expo(path, document)
        fate = self.fates.get(self._token(path, document))
        if fate is not None:
            return fate() if callable(fate) else fate
        if path.startswith("/v1/"):
            return 200, {}, b'{"name":"projects/my-project/messages/17"}'
        return 200, {"apns-id": "00000000-0000-4000-8000-000000000001"}, b""


def refused(status: int, reason: str, **more: Any) -> Answer:
    """APNs' response to a rejected push."""
    return status, {}, orjson.dumps({"reason": reason, **more})


class GatewayReply:
    """A response. `headers`: by their names in lower case."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        """The body."""
        return orjson.loads(self.body)

    @property
    def problem(self) -> str:
        """The name of its problem."""
        assert self.headers["content-type"] == "application/problem+json"
        return str(self.json()["type"]).rpartition(":")[2]


class VirtualClient:
    """Requests to the application. `gateway`: behind it."""

    def __init__(self, app: Starlette) -> None:
        self.app = app
        self.gateway: Gateway = app.state.gateway

    async def request(
        self,
        method: str,
        path: str,
        body: Any = b"",
        *,
        token: str | None = TOKEN,
        receive: Callable[[], Any] | None = None,
        client: tuple[str, int] | None = ("192.0.2.7", 5),
        **headers: str,
    ) -> GatewayReply:
        """The response.

        Args:
            method, path: the path with its query.
            body: bytes, or what becomes JSON.
            token: of the caller; None for no `Authorization`.
            receive: of ASGI, in place of the whole body.
            client: the address of the client.
            headers: with underscores for dashes.
        """
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        parts = deque([{"type": "http.request", "body": content, "more_body": False}])

        async def whole() -> Any:
            return parts.popleft() if parts else {"type": "http.disconnect"}

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope_of(method, path, token, client, headers), receive or whole, send)
        start, *rest = sent
        fields = {name.decode(): value.decode() for name, value in start["headers"]}
        return GatewayReply(start["status"], fields, b"".join(part.get("body", b"") for part in rest))

    async def post(self, path: str, body: Any = b"", **options: Any) -> GatewayReply:
        """The response to a POST, see `request`."""
        return await self.request("POST", path, body, **options)

    async def get(self, path: str, **options: Any) -> GatewayReply:
        """The response to a GET without a token."""
        return await self.request("GET", path, token=None, **options)

    async def push(self, **request: Any) -> dict[str, Any]:
        """The result of one push."""
        reply = await self.post("/v1/push", request)
        assert reply.status == 200, reply.body
        result: dict[str, Any] = reply.json()
        return result

    async def batch(self, pushes: Iterable[Any], **options: Any) -> list[dict[str, Any]]:
        """The results of a batch."""
        reply = await self.post("/v1/push/batch", {"pushes": list(pushes), **options})
        assert reply.status == 200, reply.body
        results: list[dict[str, Any]] = reply.json()["results"]
        return results


def scope_of(
    method: str,
    path: str,
    token: str | None = TOKEN,
    client: tuple[str, int] | None = ("192.0.2.7", 5),
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The scope of a request."""
    fields = [
        (name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in (headers or {}).items()
    ]
    if token is not None:
        fields.append((b"authorization", b"Bearer " + token.encode()))
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": fields,
        "client": client,
        "server": ("gateway.test", 80),
        "scheme": "http",
        "http_version": "1.1",
    }


@contextlib.asynccontextmanager
async def opened(config: GatewayConfig) -> AsyncIterator[VirtualClient]:
    """The running gateway of a configuration."""
    application = create_app(config)
    async with application.router.lifespan_context(application):
        yield VirtualClient(application)


def serve(
    work: Callable[[VirtualClient], Coroutine[Any, Any, Any]], config: GatewayConfig | None = None
) -> Any:
    """Run `work` with a gateway in virtual time; the app "shop" unless configured. No task is left behind."""

    async def whole() -> Any:
        async with opened(config if config is not None else config_of(app())) as client:
            returned = await work(client)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left running: {left}"
        return returned

    return run(whole())
