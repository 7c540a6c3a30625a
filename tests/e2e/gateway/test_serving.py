"""How the gateway is reached: by TLS, behind a proxy whose headers are believed or not, and inside somebody else's service."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from fakeservers import Certificates, FakeApns
from pushcore.gateway import create_app
from pushcore.gateway.config import ServerSection
from tests.support.gateway import TOKEN, app_section, config_of, serving

REQUEST = {"to": f"{1:064x}", "payload": {"aps": {"alert": "Hi"}}}
HEADERS = {"authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("trusted", "client"),
    [((), "127.0.0.1"), (("10.0.0.0/8",), "127.0.0.1"), (("127.0.0.0/8",), "203.0.113.9")],
    ids=["nobody", "another", "this one"],
)
async def test_only_a_named_proxy_says_who_the_client_is(
    trusted: tuple[str, ...], client: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pushcore.gateway.access")
    async with (
        FakeApns() as fake,
        serving(config_of(app_section(fake), server=ServerSection(port=0, trusted_proxies=trusted))) as port,
        httpx.AsyncClient(headers=HEADERS) as http,
    ):
        response = await http.post(
            f"http://127.0.0.1:{port}/v1/push", json=REQUEST, headers={"x-forwarded-for": "203.0.113.9"}
        )
        assert response.json()["verdict"] == "ACCEPTED"
    line: dict[str, Any] = orjson.loads(caplog.records[-1].message)
    assert line["client"] == client


@pytest.mark.parametrize("path", ["/v1/push", "/v1/push/batch", "/v1/push/stream", "/--/api/v2/push/send"])
async def test_a_client_that_asks_for_an_upgrade_is_told_that_its_body_was_not_read(path: str) -> None:
    upgrade = {
        "connection": "Upgrade, HTTP2-Settings",
        "upgrade": "h2c",
        "http2-settings": "AAEAAEAAAAIAAAAB",
    }
    async with (
        FakeApns() as fake,
        serving(config_of(app_section(fake), server=ServerSection(port=0))) as port,
        httpx.AsyncClient(headers=HEADERS) as http,
    ):
        response = await http.post(f"http://127.0.0.1:{port}{path}", json=REQUEST, headers=upgrade)
        assert response.status_code == 400
        assert "HttpClient.Version.HTTP_1_1" in response.text
        assert (await http.get(f"http://127.0.0.1:{port}/healthz", headers=upgrade)).status_code == 200


async def test_tls_by_files(certs: Certificates) -> None:
    server = ServerSection(port=0, certificate=str(certs.server_file), certificate_key=str(certs.server_file))
    context = ssl.create_default_context(cafile=str(certs.ca_file))
    async with (
        FakeApns() as fake,
        serving(config_of(app_section(fake), server=server)) as port,
        httpx.AsyncClient(headers=HEADERS, verify=context) as http,
    ):
        response = await http.post(f"https://127.0.0.1:{port}/v1/push", json=REQUEST)
        assert response.json()["verdict"] == "ACCEPTED"


async def test_it_can_be_mounted_in_another_service(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "pushcore.gateway.access")
    async with FakeApns() as fake:
        gateway = create_app(config_of(app_section(fake)))

        @contextlib.asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            async with gateway.router.lifespan_context(gateway):
                yield

        service = Starlette(routes=[Mount("/push", gateway)], lifespan=lifespan)
        transport = httpx.ASGITransport(app=service)
        async with (
            service.router.lifespan_context(service),
            httpx.AsyncClient(transport=transport, base_url="http://service.test", headers=HEADERS) as http,
        ):
            for path, body in (("", orjson.dumps(REQUEST)), ("/stream", orjson.dumps(REQUEST))):
                response = await http.post(f"/push/v1/push{path}", content=body)
                assert b'"ACCEPTED"' in response.content
            assert (await http.get("/push/readyz")).json()["status"] == "ready"
    routes = [orjson.loads(record.message)["route"] for record in caplog.records]
    assert routes == ["/v1/push", "/v1/push/stream", "/readyz"]


@pytest.mark.parametrize("sent", [b"", b"POST /v1/push HT", b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /"])
async def test_a_client_that_sends_no_headers_loses_its_connection(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pushcore.gateway.serving.HEADERS", 0.1)
    async with FakeApns() as fake, serving(config_of(app_section(fake))) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 5)  # to the end of the connection
        assert answer.startswith(b"HTTP/1.1 200") == (b"healthz" in sent)
        writer.close()
        await writer.wait_closed()
