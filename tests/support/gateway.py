"""A gateway on fakes, in this process: the application is called as uvicorn calls it, or uvicorn serves it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
from starlette.applications import Starlette

from fakeservers import FakeApns, FakeFcm
from pushcore.gateway.app import create_app
from pushcore.gateway.callers import digest_of
from pushcore.gateway.config import (
    ApnsSection,
    AppSection,
    CallerSection,
    FcmSection,
    GatewayConfig,
    LimitsSection,
    ServerSection,
)
from pushcore.gateway.gateway import Gateway
from pushcore.gateway.serving import make_server

TOKEN = "pcg_" + "t" * 32
OTHER_TOKEN = "pcg_" + "o" * 32


def app_section(apns: FakeApns | None = None, fcm: FakeFcm | None = None, **changes: Any) -> AppSection:
    """An app on these fakes, with the name "shop" unless `changes` has another one."""
    options: dict[str, Any] = {"id": "shop"}
    if apns is not None:
        options["apns"] = (
            ApnsSection(
                key=str(apns.key_file),
                key_id=apns.key_id,
                team_id=apns.team_id,
                topics=(apns.topic,),
                url=apns.url,
                ca_file=str(apns.ca_file),
            ),
        )
    if fcm is not None:
        options["fcm"] = FcmSection(
            service_account=str(fcm.service_account_file), url=fcm.url, ca_file=str(fcm.ca_file), rate="none"
        )
    return AppSection(**{**options, **changes})


def config_of(
    *apps: AppSection, callers: tuple[CallerSection, ...] | None = None, **changes: Any
) -> GatewayConfig:
    """A configuration with a caller "web" of `TOKEN`, and "other" of `OTHER_TOKEN`."""
    if callers is None:
        callers = (
            CallerSection(name="web", tokens=(digest_of(TOKEN),)),
            CallerSection(name="other", tokens=(digest_of(OTHER_TOKEN),)),
        )
    options = {"server": ServerSection(port=0), "limits": LimitsSection(), **changes}
    return GatewayConfig(app=apps, caller=callers, **options)


class GatewayClient:
    """Requests to a gateway in this process. `http`: a client for requests that the methods do not make."""

    def __init__(self, app: Starlette, http: httpx.AsyncClient) -> None:
        self.gateway: Gateway = app.state.gateway
        self.gateway_routes: list[Any] = app.routes
        self.http = http

    async def post(
        self, path: str, body: Any, *, token: str | None = TOKEN, **headers: str
    ) -> httpx.Response:
        """Post JSON, or bytes as they are. Header names have underscores instead of dashes."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            fields["authorization"] = f"Bearer {token}"
        return await self.http.post(
            path, content=content, headers={"content-type": "application/json", **fields}
        )

    async def push(self, **request: Any) -> dict[str, Any]:
        """The result of one push."""
        response = await self.post("/v1/push", request)
        assert response.status_code == 200, response.text
        result: dict[str, Any] = response.json()
        return result


@contextlib.asynccontextmanager
async def gateway_of(config: GatewayConfig) -> AsyncIterator[GatewayClient]:
    """The running gateway of a configuration."""
    app = create_app(config)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as http,
    ):
        yield GatewayClient(app, http)


@contextlib.asynccontextmanager
async def fakes_and_gateway(**changes: Any) -> AsyncIterator[tuple[FakeApns, FakeFcm, GatewayClient]]:
    """Both fakes, and a gateway with the app "shop" on them. `changes`: of `config_of`."""
    async with (
        FakeApns() as apns,
        FakeFcm() as fcm,
        gateway_of(config_of(app_section(apns, fcm), **changes)) as client,
    ):
        yield apns, fcm, client


@contextlib.asynccontextmanager
async def serving(config: GatewayConfig) -> AsyncIterator[int]:
    """A server of this configuration; its port."""
    server = make_server(config)
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    server.on_ready = port.set_result
    running = asyncio.create_task(server.serve())
    try:
        yield await port
    finally:
        server.should_exit = True
        await running
