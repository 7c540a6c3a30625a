"""Our client against servers that are not ours: `nghttpd` and nginx, as Debian packages them."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fakeservers import Certificates
from pushcore import Notification, PushEngine, Result, Verdict
from pushcore.http2.streams import ConnectionState
from tests.e2e.support import ENGINES, push, raw_client, send_all, using, verdicts

NUMBER = 1000
NGHTTPD = shutil.which("nghttpd")
NGINX = shutil.which("nginx")

pytestmark = [pytest.mark.usefixtures("clean"), pytest.mark.parametrize("http2", ENGINES)]
needs_nghttpd = pytest.mark.needs("nghttpd")
needs_nginx = pytest.mark.needs("nginx")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def running(port: int, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process, once it accepts connections on the port; ended by SIGTERM."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    assert process.returncode is None, f"{command[0]} ended with {process.returncode}"
                    await asyncio.sleep(0.01)
                else:
                    writer.close()
                    await writer.wait_closed()
                    break
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            await process.wait()


@contextlib.asynccontextmanager
async def nghttpd(certs: Certificates, *options: str) -> AsyncIterator[str]:
    """The URL of an `nghttpd` that has no file to give: 404 to everything."""
    assert NGHTTPD is not None
    port = free_port()
    server = str(certs.server_file)
    async with running(port, NGHTTPD, "-a", "127.0.0.1", *options, str(port), server, server):
        yield f"https://127.0.0.1:{port}"


NGINX_CONF = """
daemon off;
master_process off;
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    {options}
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        location /3/device/ {{ {action} }}
    }}
}}
"""


@contextlib.asynccontextmanager
async def nginx(certs: Certificates, place: Path, action: str, options: str = "") -> AsyncIterator[str]:
    """The URL of an nginx that does `action` with every push."""
    assert NGINX is not None
    port = free_port()
    conf = place / "nginx.conf"
    conf.write_text(
        NGINX_CONF.format(
            place=place, port=port, certificate=certs.server_file, action=action, options=options
        )
    )
    async with running(port, NGINX, "-p", str(place), "-e", str(place / "error.log"), "-c", str(conf)):
        yield f"https://127.0.0.1:{port}"


def status_counts(results: list[Result]) -> Counter[tuple[int | None, Verdict]]:
    return Counter((result.status, result.verdict) for result in results)


def pushes() -> list[Notification]:
    return [push(number) for number in range(NUMBER)]


@needs_nghttpd
async def test_nghttpd(http2: str, certs: Certificates) -> None:
    async with nghttpd(certs) as url, using(raw_client(certs, url, http2=http2)) as client:
        results = await send_all(client, pushes())
        assert status_counts(results) == {(404, Verdict.MISCONFIGURED): NUMBER}
        assert all(result.attempts == 1 for result in results)
        assert {result.reason for result in results} == {"UnexpectedResponse"}  # its body is HTML
        (link, *_) = client._dispatcher.pool.links
        assert link.connection.state is ConnectionState.OPEN


@needs_nghttpd
async def test_nghttpd_with_small_windows_and_frames_to_pad(http2: str, certs: Certificates) -> None:
    """Windows of 2^10-1 bytes, padded frames, a small header table and ten streams."""
    options = ("-w", "10", "-W", "16", "-b", "50", "-c", "64", "-m", "10", "--trailer", "grpc-status: 0")
    large = {"aps": {"alert": "x" * 3500}}
    async with (
        nghttpd(certs, *options) as url,
        using(raw_client(certs, url, http2=http2, max_connections=2)) as client,
    ):
        results = await send_all(client, [push(number, large) for number in range(200)])
        assert status_counts(results) == {(404, Verdict.MISCONFIGURED): 200}
        assert all(link.connection.peer_limit == 10 for link in client._dispatcher.pool.links)


@needs_nginx
async def test_nginx_that_responds_200(http2: str, certs: Certificates, tmp_path: Path) -> None:
    async with (
        nginx(certs, tmp_path, "return 200;") as url,
        using(raw_client(certs, url, http2=http2)) as client,
    ):
        results = await send_all(client, pushes())
        assert verdicts(results) == {Verdict.ACCEPTED: NUMBER}
        assert all(result.id is None for result in results)  # nginx gives no apns-id


@needs_nginx
async def test_nginx_with_static_files_allows_no_post(
    http2: str, certs: Certificates, tmp_path: Path
) -> None:
    for notification in (push(number) for number in range(NUMBER)):
        file = tmp_path / "3" / "device" / notification.token
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    async with (
        nginx(certs, tmp_path, f"root {tmp_path};") as url,
        using(raw_client(certs, url, http2=http2)) as client,
    ):
        results = await send_all(client, pushes())
        assert status_counts(results) == {(405, Verdict.MISCONFIGURED): NUMBER}


@needs_nginx
async def test_nginx_with_a_body_in_each_response(http2: str, certs: Certificates, tmp_path: Path) -> None:
    """20 KB each, 20 MB in all: more than our window, so what is consumed must be acknowledged."""
    (tmp_path / "large").write_bytes(b"x" * 20_000)
    options = f"root {tmp_path}; error_page 503 /large;"
    async with (
        nginx(certs, tmp_path, "return 503;", options) as url,
        using(raw_client(certs, url, http2=http2, max_connections=1)) as client,
    ):
        results = await send_all(client, pushes())
        assert status_counts(results) == {(503, Verdict.UNAVAILABLE): NUMBER}


@needs_nginx
async def test_nginx_that_ends_a_connection_after_some_requests(
    http2: str, certs: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`keepalive_requests` makes it send GOAWAY; what lies beyond is sent again on another connection."""
    monkeypatch.setattr("pushcore.http2.dialer.FIRST_PAUSE", 0.02)
    async with (
        nginx(certs, tmp_path, "return 200;", "keepalive_requests 300;") as url,
        using(raw_client(certs, url, http2=http2, max_connections=2)) as client,
    ):
        results = await send_all(client, pushes())
        assert verdicts(results) == {Verdict.ACCEPTED: NUMBER}
        assert client._dispatcher.pool.dialled >= 4


@needs_nginx
@pytest.mark.parametrize("requests", [10, 100])
async def test_nginx_that_takes_fewer_requests_than_streams(
    http2: str, certs: Certificates, tmp_path: Path, requests: int
) -> None:
    """128 streams on each connection, of which it answers ten: nobody waits, and nothing ends unsent."""
    async with (
        nginx(certs, tmp_path, "return 200;", f"keepalive_requests {requests};") as url,
        using(raw_client(certs, url, http2=http2, timeout=30.0)) as client,
    ):
        results = await send_all(client, pushes())
        assert verdicts(results) == {Verdict.ACCEPTED: NUMBER}
        assert max(result.attempts for result in results) <= 4


@needs_nginx
async def test_nginx_through_the_engine(http2: str, certs: Certificates, tmp_path: Path) -> None:
    async with (
        nginx(
            certs, tmp_path, 'return 410 \'{"reason": "Unregistered", "timestamp": 1700000000000}\';'
        ) as url,
        using(raw_client(certs, url, http2=http2)) as client,
        PushEngine(client) as engine,
    ):
        results = [result async for result in engine.send_many(pushes())]
        assert status_counts(results) == {(410, Verdict.UNREGISTERED): NUMBER}
        assert {(result.reason, result.timestamp) for result in results} == {("Unregistered", 1.7e9)}
        assert all(result.drop_token for result in results)
