"""The application: its routes, what it rejects by itself, and its lifespan."""

from __future__ import annotations

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from pushcore.audience.problems import BadInput
from pushcore.errors import ConfigurationError
from pushcore.gateway import create_app
from pushcore.gateway.config import GatewayConfig
from tests.support.gateway import config_of
from tests.support.virtual import run
from tests.support.virtual_gateway import (
    ALERT,
    ANDROID,
    EXPO,
    IPHONE,
    Providers,
    VirtualClient,
    apns_section,
    app,
    serve,
)


def test_a_push_reaches_its_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    providers = Providers(monkeypatch)

    async def work(client: VirtualClient) -> None:
        assert (await client.push(to=IPHONE, payload=ALERT))["verdict"] == "ACCEPTED"
        assert (await client.push(to=ANDROID, payload=EXPO))["verdict"] == "ACCEPTED"

    serve(work)
    assert providers.tokens == [IPHONE, ANDROID]


def test_middleware_that_is_added_sees_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    Providers(monkeypatch)
    seen: list[str] = []

    class Middleware:
        def __init__(self, app: ASGIApp) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                seen.append(scope["path"])
            await self._app(scope, receive, send)

    async def work(client: VirtualClient) -> None:
        client.app.add_middleware(Middleware)
        assert (await client.push(to=IPHONE, payload=ALERT))["verdict"] == "ACCEPTED"
        assert (await client.get("/healthz")).status == 200

    serve(work)
    assert seen == ["/v1/push", "/healthz"]


def test_unknown_paths_and_methods_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    Providers(monkeypatch)

    async def work(client: VirtualClient) -> None:
        missing = await client.get("/nothing")
        assert (missing.status, missing.problem) == (404, "not-found")
        wrong = await client.get("/v1/push")
        assert (wrong.status, wrong.problem) == (405, "method")
        assert wrong.headers["allow"] == "POST"
        assert (await client.post("/v1/push/", {})).status == 404, (
            "no redirect: a client would send its push again, or not"
        )

    serve(work)


def test_a_wrong_configuration_is_reported_before_anything_is_opened() -> None:
    with pytest.raises(ConfigurationError, match="team"):
        create_app(config_of(app(apns=(apns_section(team_id=""),))))
    with pytest.raises(BadInput, match="neither apns nor fcm"):
        create_app(GatewayConfig(app=(app(apns=(), fcm=None),)))


def test_the_lifespan_opens_the_clients_and_closes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    Providers(monkeypatch)
    application = create_app(config_of(app()))
    senders = application.state.gateway.apps["shop"].senders

    async def work() -> None:
        assert not any(sender.client.opened for sender in senders)
        async with application.router.lifespan_context(application):
            assert all(sender.client.opened for sender in senders)
        assert not any(sender.client.opened for sender in senders)

    run(work())


def test_a_lifespan_that_cannot_open_closes_what_it_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    Providers(monkeypatch)
    application = create_app(config_of(app(), app(id="other")))
    gateway = application.state.gateway
    broken = RuntimeError("the second app")

    async def fail() -> None:
        raise broken

    monkeypatch.setattr(gateway.apps["other"], "open", fail)

    async def work() -> None:
        with pytest.raises(RuntimeError, match="the second app"):
            async with application.router.lifespan_context(application):
                raise AssertionError("it is not served")

    run(work())
    assert gateway.failure is broken
    assert not any(sender.client.opened for sender in gateway.apps["shop"].senders)
