"""The control port serves its own page and programs of this machine; no other page, and no client that is broken or mean."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from fakeservers import Control, ControlService, FakeApns
from fakeservers.control import calls
from fakeservers.control import guard as control_guard
from fakeservers.control import server as control
from tests.fakeservers.control_client import DEADLINE, ask, scene

TOKEN = "a-token-of-some-length"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("LOCALHOST:{port}", 200),
        ("[::1]:{port}", 200),
        ("192.0.2.7:{port}", 200),  # no DNS leads there by a name
        ("evil.example:{port}", 421),
        ("127.0.0.1.evil.example:{port}", 421),
        ("localhost", 421),
        ("localhost:1", 421),
        ("", 421),
    ],
)
async def test_the_host_header_must_name_this_server(host: str, status: int) -> None:
    async with scene() as running:
        port = running.control.url.rsplit(":", 1)[1]
        answer = await running.ask("GET", "/v1/state", headers={"Host": host.format(port=port)})
        assert answer.status == status
        if status == 421:
            assert "does not name this server" in answer.detail


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({"Origin": "http://evil.example"}, "/v1/reset", 403),
        ({"Origin": "null"}, "/v1/reset", 403),
        ({"Origin": "https://127.0.0.1:{port}"}, "/v1/reset", 403),
        ({"Origin": "http://127.0.0.1:1"}, "/v1/reset", 403),
        ({"Sec-Fetch-Site": "cross-site"}, "/v1/reset", 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"}, "/v1/reset", 403),
        ({"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}, "/v1/reset", 200),
        ({}, "/v1/reset", 200),
    ],
)
async def test_other_pages_change_nothing(headers: dict[str, str], path: str, status: int) -> None:
    async with scene() as running:
        await running.push()
        port = running.control.url.rsplit(":", 1)[1]
        sent = {name: value.format(port=port) for name, value in headers.items()}
        answer = await running.ask("POST", path, {}, sent)
        assert answer.status == status
        assert len(running.apns.received) == (0 if status == 200 else 1)
        assert not any(name.startswith("access-control-") for name in answer.headers)


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/v1/state", 403)])
async def test_a_link_may_lead_to_the_page_and_to_nothing_else(path: str, status: int) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    async with scene() as running:
        assert (await running.ask("GET", path, headers=headers)).status == status
        embedded = {**headers, "Sec-Fetch-Mode": "no-cors"}
        assert (await running.ask("GET", path, headers=embedded)).status == 403


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", ""],
)
async def test_what_a_form_can_send_is_not_taken(kind: str) -> None:
    async with scene() as running:
        answer = await running.ask("POST", "/v1/reset", b"{}", {"content-type": kind})
        assert (answer.status, "must be JSON" in answer.detail) == (415, True)


async def test_every_answer_keeps_browsers_from_guessing_and_framing() -> None:
    async with scene() as running:
        await running.push(body=b'{"aps":{"alert":"<script>alert(1)</script>"}}')
        for path in ("/", "/v1/state", "/v1/received", "/openapi.json", "/metrics", "/nothing?<script>"):
            answer = await running.ask("GET", path)
            for name, value in control_guard.SAFE_HEADERS.items():
                if path != "/" or name not in ("content-security-policy", "referrer-policy"):
                    assert answer.headers[name] == value
            assert "server" not in answer.headers
            assert path == "/" or answer.headers["content-type"].split(";")[0] in (
                "application/json",
                "application/problem+json",
                "text/plain",
            )


async def test_the_page_lets_in_its_own_script_alone() -> None:
    async with scene() as running:
        answer = await running.ask("GET", "/")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "script-src 'sha256-" in policy
        text = answer.body.decode()
        assert "http://" not in text.replace("http://www.w3.org", "")
        assert "https://" not in text
        assert "innerHTML" not in text
        assert "{{" not in text


async def test_elsewhere_a_token_is_needed() -> None:
    async with FakeApns() as apns:
        with pytest.raises(ValueError, match="needs a token"):
            Control(ControlService(apns), host="0.0.0.0")
        async with Control(ControlService(apns), host="0.0.0.0", token=TOKEN) as other:
            url = other.url.replace("0.0.0.0", "127.0.0.1")
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
                answer = await ask(url, "GET", "/v1/state", headers=headers)
                assert (answer.status, answer.detail) == (401, "the token is missing or wrong")
                assert answer.headers["www-authenticate"] == "Bearer"
            for path in ("/metrics", "/openapi.json", "/v1/events", "/nothing"):
                assert (await ask(url, "GET", path)).status == 401
            good = await ask(url, "GET", "/v1/state", headers={"Authorization": f"Bearer {TOKEN}"})
            assert good.status == 200


async def test_the_login_form_takes_the_token_and_gives_a_cookie() -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    async with FakeApns() as apns, Control(ControlService(apns), token=TOKEN) as control:
        form_page = await ask(control, "GET", "/")
        assert b'type="password"' in form_page.body
        assert b"<script" not in form_page.body
        for given in (b"token=wrong", b"", b"token=%ff", b"a&" * 50, b"\xff"):
            refused = await ask(control, "POST", "/session", given, form)
            assert (refused.status, "set-cookie" in refused.headers) == (401, False)
        foreign = await ask(
            control, "POST", "/session", b"token=" + TOKEN.encode(), {**form, "Origin": "http://evil"}
        )
        assert foreign.status == 403
        taken = await ask(control, "POST", "/session", b"token=" + TOKEN.encode(), form)
        assert (taken.status, taken.headers["location"]) == (303, "/")
        cookie = taken.headers["set-cookie"]
        assert "httponly" in cookie.lower()
        assert "samesite=strict" in cookie.lower()
        page = await ask(control, "GET", "/", headers={"Cookie": cookie.split(";")[0]})
        assert b'id="notifications"' in page.body
        assert (
            await ask(control, "GET", "/v1/state", headers={"Cookie": cookie.split(";")[0]})
        ).status == 200
        for bad in ("fakeservers=wrong", "fakeservers", "\x7f=;;", "a" * 8000):
            assert (await ask(control, "GET", "/v1/state", headers={"Cookie": bad})).status == 401


async def raw(control: Control, sent: bytes, *, ended: bool = False) -> bytes:
    """What comes back until the other side closes."""
    host, port = control.url.removeprefix("http://").split(":")
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent.replace(b"HOST", f"{host}:{port}".encode()))
        if ended:
            writer.write_eof()
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"HTTP/1.1 400"),
        (b"GET / HTTP/1.1\r\nHost: HOST\r\nX: " + b"a" * 100_000, b"HTTP/1.1 400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"HTTP/1.1 "),
        (
            b"POST /v1/reset HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 9999999\r\n\r\n",
            b"HTTP/1.1 413",
        ),
        (b"GET /v1/state HTTP/1.1\r\nConnection: close\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /v1/state HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\nConnection: close\r\n\r\n", b"HTTP/1.1 400"),
        (
            b"GET /v1/apns/devices/%2e%2e%2f%ff HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
            b"HTTP/1.1 40",
        ),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", b"HTTP/1.1 404"),
    ],
)
async def test_what_is_no_request_costs_its_own_connection(
    sent: bytes, answer: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    async with scene() as running:
        assert (await raw(running.control, sent)).startswith(answer)
        assert (await running.ask("GET", "/v1/state")).status == 200
    assert capfd.readouterr() == ("", "")


async def test_a_body_without_an_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_guard, "MAX_BODY", 10_000)
    monkeypatch.setattr(control_guard, "BODY_SECONDS", 0.2)
    head = b"POST /v1/reset HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with scene() as running:
        chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
        assert (await raw(running.control, head + chunk * 5)).startswith(b"HTTP/1.1 413")
        assert (await raw(running.control, head + chunk)).startswith(b"HTTP/1.1 408")
        await raw(running.control, head + chunk, ended=True)
        assert (await running.ask("GET", "/v1/state")).status == 200


async def test_a_connection_that_asks_for_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "IDLE", 0.1)
    async with scene() as running:
        assert await raw(running.control, b"") == b""
        assert await raw(running.control, b"GET / HTTP/1.1\r\nHos") == b""


async def test_only_so_many_pages_look_on_and_those_that_leave_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "MAX_WATCHERS", 2)
    async with scene() as running:
        host, port = running.control.url.removeprefix("http://").split(":")
        request = f"GET /v1/events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
        watching = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(request)
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            watching.append(writer)
        answer = await running.ask("GET", "/v1/events", headers={"Connection": "close"})
        assert (answer.status, answer.detail) == (503, "2 pages look on already")
        for writer in watching:
            writer.close()
        async with asyncio.timeout(DEADLINE):
            while True:
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(request)
                taken = b" 200 " in await reader.readuntil(b"\r\n\r\n")
                writer.close()
                if taken:
                    break
                await asyncio.sleep(0.05)


async def test_a_port_in_use() -> None:
    async with FakeApns() as apns:
        with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
            async with Control(ControlService(apns), port=taken.getsockname()[1]):
                pass


def test_the_page_is_in_the_package() -> None:
    place = Path(control.__file__).parent / "page"
    assert {"page.html", "page.css", "page.js", "login.html"} <= {file.name for file in place.iterdir()}
