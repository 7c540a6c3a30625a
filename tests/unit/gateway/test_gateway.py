"""The apps and callers that are served now: whose app a request is for, and what a reload keeps and replaces."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from pushcore.errors import ConfigurationError
from pushcore.gateway.callers import Caller, digest_of
from pushcore.gateway.config import CallerSection, FleetSection, LimitsSection, ServerSection
from pushcore.gateway.gateway import Gateway
from pushcore.gateway.problems import GatewayProblem
from pushcore.queue.errors import QueueError
from tests.support.gateway import OTHER_TOKEN, TOKEN, config_of
from tests.support.virtual_gateway import (
    ALERT,
    IPHONE,
    Providers,
    VirtualClient,
    apns_section,
    app,
    serve,
)


def test_the_app_of_a_request() -> None:
    one, two = Gateway(config_of(app())), Gateway(config_of(app(), app(id="other")))
    everybody, bound = Caller("web"), Caller("web", ["other"])
    assert one.app_of(everybody, None).id == "shop"
    assert two.app_of(everybody, "other").id == "other"
    assert two.app_of(bound, None).id == "other"
    assert two.app_of(bound, "other").id == "other"
    for caller, name in ((everybody, None), (everybody, "nobody"), (bound, "shop")):
        with pytest.raises(GatewayProblem) as raised:
            two.app_of(caller, name)
        assert (raised.value.status, raised.value.name) == (422, "no-app")


async def accepted(client: VirtualClient, token: str = TOKEN, **request: Any) -> bool:
    reply = await client.post("/v1/push", {"to": IPHONE, "payload": ALERT, **request}, token=token)
    return reply.status == 200 and reply.json()["verdict"] == "ACCEPTED"


def test_a_reload_keeps_what_has_not_changed(providers: Providers, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "pushcore.gateway")

    async def work(client: VirtualClient) -> None:
        gateway = client.gateway
        shop, caller = gateway.apps["shop"], gateway.callers.all[0]
        assert await accepted(client)
        new = (
            CallerSection(name="web", tokens=(digest_of(OTHER_TOKEN),), apps=("new",), concurrent=3),
            CallerSection(name="late", tokens=(digest_of(TOKEN),)),
        )
        await gateway.reload(config_of(app(), app(id="new"), callers=new))
        assert gateway.apps["shop"] is shop
        assert gateway.callers.all[0] is caller
        assert (caller.apps, caller.concurrent) == (frozenset({"new"}), 3)
        assert await accepted(client, app="shop"), "a token may have passed to another caller"
        assert await accepted(client, OTHER_TOKEN)
        assert [sender.connections for sender in (shop.apns(), gateway.apps["new"].apns())] == [1, 1]
        assert "reloaded: 2 apps, 1 of them new or changed" in caplog.text

    serve(work)


def test_a_reload_closes_an_app_that_has_changed_once_it_is_idle(providers: Providers) -> None:
    async def work(client: VirtualClient) -> None:
        old = client.gateway.apps["shop"]
        pushing = asyncio.create_task(accepted(client))
        await asyncio.sleep(0.01)
        await client.gateway.reload(config_of(app(apns=(apns_section(key_id="XYZ123DEFG"),))))
        assert client.gateway.apps["shop"] is not old
        assert old.apns().client.opened
        assert await pushing
        assert await accepted(client)
        await asyncio.sleep(5)
        assert not old.apns().client.opened
        assert client.gateway.apps["shop"].apns().client.opened

    serve(work)
    assert len(providers.tokens) == 2


def test_a_reload_that_cannot_be_used_changes_nothing(providers: Providers) -> None:
    async def work(client: VirtualClient) -> None:
        gateway = client.gateway
        before = (gateway.config, gateway.apps, gateway.callers, gateway.sealing)
        with pytest.raises(ConfigurationError):
            await gateway.reload(config_of(app(apns=(apns_section(team_id=""),))))
        assert (gateway.config, gateway.apps, gateway.callers, gateway.sealing) == before
        assert await accepted(client)

    serve(work)


def test_a_reload_names_what_needs_a_restart(providers: Providers, caplog: pytest.LogCaptureFixture) -> None:
    async def work(client: VirtualClient) -> None:
        before = client.gateway.config
        await client.gateway.reload(msgspec.structs.replace(before, limits=LimitsSection(body=2048)))
        assert "restart" not in caplog.text
        after = msgspec.structs.replace(
            before,
            server=ServerSection(port=0, access_log=False, trusted_proxies=("10.0.0.0/8",)),
            limits=LimitsSection(connections=5),
            fleet=FleetSection(instances=2),
        )
        for _ in range(2):  # as long as it has not been started again
            caplog.clear()
            await client.gateway.reload(after)
            changed = "[server] trusted-proxies, [server] access-log, [fleet] instances, [limits] connections"
            assert f"changes that need a restart: {changed}" in caplog.text
        caplog.clear()
        await client.gateway.reload(before)
        assert "restart" not in caplog.text

    serve(work)


def test_apps_that_are_replaced_are_closed_before_the_gateway_is(providers: Providers) -> None:
    async def work(client: VirtualClient) -> Any:
        old = client.gateway.apps["shop"]
        await client.gateway.reload(msgspec.structs.replace(client.gateway.config, app=(app(id="new"),)))
        assert list(client.gateway.apps) == ["new"]
        return old.senders

    assert not any(sender.client.opened for sender in serve(work))


def test_a_redis_that_cannot_be_reached_is_a_mistake_in_the_configuration(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(client: VirtualClient) -> None:
        async def fail(_: object) -> None:
            raise QueueError("connection refused")

        monkeypatch.setattr("pushcore.gateway.apps.App.open", fail)
        with pytest.raises(ConfigurationError, match=r"^the configuration: connection refused"):
            await client.gateway.reload(config_of(app(id="new")))
        monkeypatch.undo()

    serve(work)
