"""Senders whose host is fixed reach the fakes: certificates for the providers' names, a CONNECT proxy, client certificates."""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import re
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from fakeservers import Certificates, FakeApns, FakeFcm, fated_token
from fakeservers.__main__ import main
from fakeservers.certs import certificate_topics
from fakeservers.handouts import PASSPHRASE, wanted_certificate, write_fates
from fakeservers.impersonation import HOSTS, hosts_of, impersonated, route_to
from fakeservers.serving import redirecting_proxy
from fakeservers.serving.redirecting_proxy import RedirectingProxy
from tests.fakeservers.client import DEADLINE, DEVICE, PAYLOAD, headers_for, provider_token
from tests.fakeservers.faults_client import run
from tests.fakeservers.fcm_client import send_body, send_headers

CURL = ("curl", "-sS", "--noproxy", "", "--max-time", "15")


@asynccontextmanager
async def both(directory: Path) -> AsyncIterator[tuple[FakeApns, FakeFcm, RedirectingProxy]]:
    certs = Certificates.create(directory, hosts=tuple(HOSTS))
    async with FakeApns(certs=certs) as apns, FakeFcm(certs=certs) as fcm:
        urls = {"apns": apns.url, "channels": apns.channels_url, "fcm": fcm.url}
        async with RedirectingProxy(route_to(urls)) as proxy:
            yield apns, fcm, proxy


def fields(headers: Sequence[tuple[str, str]]) -> list[str]:
    return [part for name, value in headers if name[0] != ":" for part in ("-H", f"{name}: {value}")]


@pytest.mark.parametrize("way", ["proxy", "connect-to"])
async def test_curl_by_the_providers_own_names(way: str, tmp_path: Path) -> None:
    async with both(tmp_path) as (apns, fcm, proxy):
        apple = fields(headers_for(apns, provider_token(apns)))
        google = fields(send_headers(fcm))
        project = f"/v1/projects/{fcm.project_id}/messages:send"
        requests: list[tuple[str, Any, list[str], bytes, int]] = [
            ("https://api.push.apple.com/3/device/" + DEVICE, apns.url, apple, PAYLOAD, 200),
            ("https://api.sandbox.push.apple.com:2197/3/device/" + DEVICE, apns.url, apple, PAYLOAD, 200),
            (
                "https://api-manage-broadcast.push.apple.com:2196/1/apps/x/all-channels",
                *(apns.channels_url, [*apple, "-X", "GET"], b"", 403),
            ),
            ("https://fcm.googleapis.com" + project, fcm.url, google, send_body(), 200),
            ("https://oauth2.googleapis.com/token", fcm.url, [], b"grant_type=x", 400),
            ("https://iid.googleapis.com/iid/info/x", fcm.url, [*google, "-X", "GET"], b"", 400),
        ]
        for url, fake, headers, body, status in requests:
            match = re.fullmatch(r"https://([^/:]+)(?::(\d+))?(/.*)", url)
            assert match is not None
            to = f"{match[1]}:{match[2] or 443}:{fake.removeprefix('https://')}"
            lead = ("--proxy", proxy.url) if way == "proxy" else ("--connect-to", to)
            sent = ("-d", body.decode()) if body else ()
            command = (*CURL, "--http2", "--cacert", apns.ca_file, *lead, *headers, *sent)
            code, output = await run(*command, "-o", "/dev/null", "-w", "%{http_code} %{http_version}", url)
            assert (code, output) == (0, f"{status} 2"), url
        assert apns.counts[200, ""] == 2
        assert proxy.tunnels == (len(requests) if way == "proxy" else 0)


NO_AUTHORITY = (
    *(
        b"nowhere",
        b"a:b",
        b"x:99999999999",
        b"api.push.apple.com:0",
        b"api.push.apple.com:70000",
        b"a:-1",
        b":443",
    ),
    *(
        b"api.push.apple.com:",
        b"api.push.apple.com:4\xb23",
        b"u:p@api.push.apple.com:443",
        b"\x1b[31mevil:443",
    ),
    *(
        b"https://api.push.apple.com:443",
        b"api.push.apple.com/x:443",
        b"::1:443",
        b"",
        b" api.push.apple.com:443",
    ),
)
OTHER_HOSTS = (b"[::1]", b"[2620:149:208::1]", b"17.188.1.1", b"apple.com.example", b"a" * 15_000)
REFUSED_HEADS = (
    *((b"CONNECT %b HTTP/1.1\r\n\r\n" % authority, b" 400 ") for authority in NO_AUTHORITY),
    *((b"CONNECT %b:443 HTTP/1.0\r\n\r\n" % host, b" 502 ") for host in OTHER_HOSTS),
    *((b"%b / HTTP/1.1\r\n\r\n" % method, b" 405 ") for method in (b"GET", b"HEAD", b"connect", b"PRI")),
    (b"x" * 20_000 + b"\r\n\r\n", b""),
    (b"CONNECT api.push.apple.com:443 HTTP/1.1\r\n" + b"x: y\r\n" * 10_000, b""),
)
"""What the proxy refuses, and the status that the answer has."""


async def test_what_the_proxy_does_not_take(tmp_path: Path) -> None:
    async with both(tmp_path) as (apns, _, proxy):
        for url, code_text, sentence in (
            ("https://example.com/", "502", "no fake answers for example.com:443"),
            ("http://api.push.apple.com/", "405", "this proxy takes CONNECT alone"),
        ):
            code, output = await run(*CURL, "-v", "--proxy", proxy.url, url)
            assert code_text in output, (code, output)
            assert url.startswith("https") or sentence in output
        port = int(proxy.url.rpartition(":")[2])
        for head, status in REFUSED_HEADS:
            async with asyncio.timeout(DEADLINE):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(head)
                try:
                    answer = await reader.read()
                except ConnectionError:
                    answer = b""
                writer.close()
            assert status in answer
        # By the port of a fake under any name, as a service account's token_uri has it.
        target = apns.url.removeprefix("https://")
        command = (*CURL, "--proxytunnel", "--proxy", proxy.url, "--cacert", apns.ca_file, "--http2")
        _, output = await run(*command, "-d", "{}", f"https://{target}/3/device/{DEVICE}")
        assert "MissingProviderToken" in output
        assert proxy.refused >= 2 + 2 + 14 + 5 + 4
        assert proxy.tunnels == 1


async def test_a_head_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redirecting_proxy, "HEAD_TIMEOUT", 0.05)
    async with both(tmp_path) as (_, _, proxy), asyncio.timeout(DEADLINE):
        port = int(proxy.url.rpartition(":")[2])
        for part in (b"", b"CONNECT api.push", b"CONNECT api.push.apple.com:443 HTTP/1.1\n\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(part)
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert answer.endswith(b"\r\n\r\nexpected a request within 0.05 s\n")
            writer.close()
        monkeypatch.setattr(redirecting_proxy, "HEAD_TIMEOUT", DEADLINE)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x" * 2 * redirecting_proxy.MAX_HEAD)
        assert b" 431 " in await reader.readline()
        writer.transport.abort()


async def test_a_tunnel_whose_other_end_is_closed_is_no_error() -> None:
    """uvloop raises a RuntimeError for a transport that is closed."""

    class Closed:
        aborted = False

        @property
        def transport(self) -> Any:
            return self

        def write_eof(self) -> None:
            raise RuntimeError("the handler is closed")

        def abort(self) -> None:
            self.aborted = True

    reader, writer = asyncio.StreamReader(), Closed()
    reader.feed_eof()
    await redirecting_proxy._copy(reader, writer)  # type: ignore[arg-type]
    assert writer.aborted


async def test_bytes_behind_a_connect_reach_the_fake_with_and_without_a_name(tmp_path: Path) -> None:
    """The handshake begins in the packet of the CONNECT, as with clients that do not wait for the 200."""
    async with both(tmp_path) as (apns, _, proxy), asyncio.timeout(DEADLINE):
        context = ssl.create_default_context(cafile=apns.ca_file)
        context.check_hostname = False
        for name in ("api.push.apple.com", "fcm.googleapis.com", None):
            hello, received = ssl.MemoryBIO(), ssl.MemoryBIO()
            session = context.wrap_bio(received, hello, server_hostname=name)
            with pytest.raises(ssl.SSLWantReadError):
                session.do_handshake()
            reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rpartition(":")[2]))
            head = b"CONNECT api.push.apple.com:443 HTTP/1.1\r\nhost: other.example\r\n\r\n"
            writer.write(head + hello.read())
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            while session.version() is None or hello.pending:
                try:
                    session.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    received.write(await reader.read(65_536))
            assert session.getpeercert()
            writer.transport.abort()


async def test_a_tunnel_ends_with_its_proxy(tmp_path: Path) -> None:
    async with both(tmp_path) as (apns, _, proxy):
        port = int(proxy.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"CONNECT api.push.apple.com:443 HTTP/1.1\r\nhost: x\r\n\r\n")
        async with asyncio.timeout(DEADLINE):
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            context = ssl.create_default_context(cafile=apns.ca_file)
            context.set_alpn_protocols(["h2"])
            await writer.start_tls(context, server_hostname="api.push.apple.com")
            assert (await reader.read(9))[3] == 4  # SETTINGS
            await proxy.__aexit__()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1 << 20)
        writer.transport.abort()


def test_the_names_of_an_option() -> None:
    assert impersonated("all") == tuple(HOSTS)
    assert set(impersonated("fcm, API.push.apple.com")) == {*hosts_of(["fcm"]), "api.push.apple.com"}
    assert "api-manage-broadcast.push.apple.com" in hosts_of(["apns"])
    for text, name in (("example.com", "'example.com'"), ("apns,", "''"), ("fcm,apple.com", "'apple.com'")):
        with pytest.raises(
            argparse.ArgumentTypeError, match=f"{name} may not be impersonated, expected some of apns"
        ):
            impersonated(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("app", "'app' is not NAME:TOPIC"),
        ("../x:com.example.app", "'../x' is no name for a file"),
        ("ca:com.example.app", "'ca' is no name for a file"),
        ("app:com example", "'com example' is no bundle id"),
        ("app:com.example.app,", "'' is no bundle id"),
        ("app:app", "'app' is no bundle id"),
    ],
)
def test_a_client_certificate_that_cannot_be_made(text: str, sentence: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=re.escape(sentence)):
        wanted_certificate(text)


@pytest.mark.parametrize("text", ["x" * 10_000, "x" * 10_000 + ":a.b", "app:" + "x" * 10_000])
def test_of_a_long_value_the_beginning_is_shown(text: str) -> None:
    for read in (wanted_certificate, impersonated):
        with pytest.raises(argparse.ArgumentTypeError) as caught:
            read(text)
        assert len(str(caught.value)) < 600


def test_two_certificates_of_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--client-cert", "app:com.example.a", "--client-cert", "app:com.example.b"]
    assert main(["apns", "--certs", str(tmp_path / "certs"), *words]) == 2
    said = "fakeservers: --client-cert names app twice; expected different names\n"
    assert capsys.readouterr().err == said
    assert not list(tmp_path.iterdir())


async def test_every_fate_of_the_file_happens(tmp_path: Path) -> None:
    write_fates(tmp_path, ("apns", "fcm"))
    rows = list(csv.DictReader((tmp_path / "fates.csv").read_text().splitlines()))
    assert {row["provider"] for row in rows} == {"apns", "fcm"}
    assert next(row for row in rows if row["fate"] == "Unregistered")["token"] == fated_token("Unregistered")
    from tests.fakeservers.client import Client

    async with FakeApns() as apns, FakeFcm() as fcm:
        for row in rows:
            if not row["status"]:
                continue
            fake: Any = apns if row["provider"] == "apns" else fcm
            if row["provider"] == "apns":
                headers, body = headers_for(apns, provider_token(apns), row["token"]), PAYLOAD
            elif row["fate"] == "InternalTimeout":
                continue  # it takes five seconds
            else:
                headers, body = send_headers(fcm), send_body(token=row["token"])
            async with await Client.connect(fake) as client:
                assert (await client.push(headers, body)).status == int(row["status"]), row


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "fakeservers", "all", "--certs", str(tmp_path), "--proxy-port", "0"]
    command += [
        "--client-cert",
        "app:com.example.app,com.example.app.voip",
        "--client-cert",
        "b:com.example.b",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(5)]
            match = re.fullmatch(r"proxy on (http://127\.0\.0\.1:(\d+))\n", lines[0])
            assert match is not None
            assert lines[-1] == "ready\n"
            assert json.loads((tmp_path / "proxy.json").read_text()) == {"url": match[1]}
            _, certificate, _ = pkcs12.load_key_and_certificates(
                (tmp_path / "app.p12").read_bytes(), PASSPHRASE
            )
            assert certificate is not None
            assert certificate_topics(certificate) == {"com.example.app", "com.example.app.voip"}
            assert (tmp_path / "b.pem").stat().st_mode & 0o777 == 0o600
            push = (*CURL, "--http2", "--proxy", match[1], "--cacert", str(tmp_path / "ca.pem"))
            topic = ("-H", "apns-topic: com.example.app", "--cert", str(tmp_path / "app.pem"), "-d", "{}")
            url = f"https://api.push.apple.com/3/device/{DEVICE}"
            done = subprocess.run(
                [*push, *topic, "-w", "%{http_code}", url], capture_output=True, text=True, check=False
            )
            assert done.stdout == "200", done
            # The port is in use now, and the sentence says which.
            assert main(["fcm", "--certs", str(tmp_path / "other"), "--proxy-port", match[2]]) == 2
            sentence = f"cannot listen on 127.0.0.1 port {match[2]}: Address already in use"
            assert capsys.readouterr().err == f"fakeservers: {sentence}\n"
        finally:
            process.kill()


def test_without_the_option_the_certificate_is_for_this_machine_alone(tmp_path: Path) -> None:
    certs = Certificates.create(tmp_path)
    context = certs.server_context()
    client = ssl.create_default_context(cafile=str(certs.ca_file))
    for name, good in (("localhost", True), ("api.push.apple.com", False)):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        asking = client.wrap_bio(incoming, outgoing, server_hostname=name)
        answering = context.wrap_bio(outgoing, incoming, server_side=True)
        problem = ""
        for _ in range(4):
            for side in (asking, answering):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                except ssl.SSLError as error:
                    problem = problem or str(error)
        assert (problem == "") == good
