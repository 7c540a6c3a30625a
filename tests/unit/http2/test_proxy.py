"""What a proxy's address, the environment and the answer to CONNECT are taken for."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from pushcore.errors import ConfigurationError, ConnectError, ProxyError
from pushcore.http2.proxy import MAX_HEADER, Proxy, _ConnectRequest, _EarlyData, find_proxy

# --- addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://proxy.example:3128", "<Proxy http://proxy.example:3128>"),
        ("proxy.example:3128", "<Proxy http://proxy.example:3128>"),
        ("proxy.example", "<Proxy http://proxy.example:80>"),
        ("HTTP://Proxy.Example:3128/", "<Proxy http://proxy.example:3128>"),
        ("https://proxy.example", "<Proxy https://proxy.example:443>"),
        ("http://[::1]:3128", "<Proxy http://[::1]:3128>"),
        ("http://me:secret@proxy.example:3128", "<Proxy http://proxy.example:3128 with a password>"),
        ("me:secret@proxy.example:3128", "<Proxy http://proxy.example:3128 with a password>"),
    ],
)
def test_parse(url: str, shown: str) -> None:
    assert repr(Proxy.parse(url)) == shown


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "must look like"),
        ("http://", "must look like"),
        ("http://me:secret@", "must look like"),
        ("http://me:secret@host:0", "must look like"),
        ("http://me:secret@host:port", "must look like"),
        ("http://me:secret@host:65536", "must look like"),
        ("http://me:secret@host/path", "must look like"),
        ("http://me:secret@host?query", "must look like"),
        ("http://me:secret@host#fragment", "must look like"),
        ("http://me:secret@ho st", "must look like"),
        ("http://me:secret@a..b", "must look like"),
        ("secret" * 11, "must look like"),
        ("http://me:secret@host\r\nX: y", "must look like"),
        ("http://me:secret@[::1", "must look like"),
        ("socks5://me:secret@host:1080", "only http and https proxies"),
        ("http://me%0d%0aX:secret@host", "control character"),
        ("http://me%3Ayou:secret@host", "colon"),
    ],
)
def test_parse_refuses_and_repeats_no_secret(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Proxy.parse(url)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_scheme_is_repeated_as_far_as_it_is_short() -> None:
    with pytest.raises(ConfigurationError, match=f"not '{'x' * 20}'$"):
        Proxy.parse(f"{'x' * 30}://host:1080")


def test_a_port_is_between_1_and_65535() -> None:
    assert [Proxy("host", port).address for port in (1, 65_535)] == [("host", 1), ("host", 65_535)]
    for port in (0, 65_536):
        with pytest.raises(ConfigurationError, match="port must be a whole number"):
            Proxy("host", port)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"host": None}, "host must be the name or address of a proxy"),
        ({"host": "a b"}, "host must be the name or address of a proxy"),
        ({"username": b"secret"}, "username must be a string, not bytes"),
        ({"password": b"secret"}, "password must be a string, not bytes"),
        ({"tls": "yes"}, "tls must be"),
        ({"ca_file": 1}, "ca_file must be a path, PEM, or None"),
    ],
)
def test_a_wrong_type_is_named_and_no_secret_shown(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        Proxy(**{"host": "proxy.example", "port": 3128, **given})
    assert "secret" not in str(caught.value)


def test_ca_file_of_the_proxy_is_read_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        Proxy("proxy.example", 3128, tls=True, ca_file=tmp_path / "missing.pem")


@pytest.mark.parametrize(
    ("proxy", "login"),
    [
        (Proxy.parse("http://me:secret@host"), "me:secret"),
        (Proxy.parse("http://m%C3%A9:s%40%2F%3A@host"), "mé:s@/:"),
        (Proxy.parse("http://me@host"), "me:"),
        (Proxy.parse("http://me:secret@host", username="you", password="other"), "you:other"),
        (Proxy("host", 80, username="me", password="secret"), "me:secret"),
        (Proxy("host", 80, username="me"), "me:"),
        (Proxy("host", 80, password="secret"), ":secret"),
        (Proxy.parse("http://me:secret@host", username="you"), "you:"),
        (Proxy.parse("http://host"), None),
    ],
)
def test_request(proxy: Proxy, login: str | None) -> None:
    lines = proxy._request("api.push.apple.com", 443).decode().split("\r\n")
    assert lines[:2] == ["CONNECT api.push.apple.com:443 HTTP/1.1", "Host: api.push.apple.com:443"]
    assert lines[-2:] == ["", ""]
    if login is None:
        assert len(lines) == 4
    else:
        word = base64.b64encode(login.encode()).decode()
        assert lines[2:-2] == [f"Proxy-Authorization: Basic {word}"]


def test_request_for_an_address_and_for_a_name_that_is_not_ascii() -> None:
    proxy = Proxy("host", 80)
    assert proxy._request("::1", 2197).startswith(b"CONNECT [::1]:2197 HTTP/1.1\r\nHost: [::1]:2197\r\n")
    assert proxy._request("bücher.example", 443).startswith(b"CONNECT xn--bcher-kva.example:443 ")


@pytest.mark.parametrize("host", ["", "a b", "a\r\nX: y", "\ud800", "ü" * 70])
def test_request_never_carries_what_is_no_name(host: str) -> None:
    with pytest.raises(ProxyError) as caught:
        Proxy("host", 80)._request(host, 443)
    assert caught.value.permanent


# --- the environment ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "port"),
    [
        ({}, None),
        ({"HTTP_PROXY": "http://p:1"}, None),  # for http:// addresses, which we have none of
        ({"HTTPS_PROXY": "http://p:1"}, 1),
        ({"HTTPS_PROXY": "http://p:1", "https_proxy": "http://p:2"}, 2),
        ({"HTTPS_PROXY": "http://p:1", "https_proxy": ""}, 1),
        ({"ALL_PROXY": "http://p:3"}, 3),
        ({"ALL_PROXY": "http://p:3", "HTTPS_PROXY": "http://p:1"}, 1),
        ({"all_proxy": "http://p:4", "ALL_PROXY": "http://p:3"}, 4),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "apple.com"}, None),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "apple.com"}, None),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "", "NO_PROXY": "apple.com"}, None),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "other", "NO_PROXY": "apple.com"}, 1),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": ""}, 1),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "apple.com:2197"}, 1),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "apple.com:443"}, None),
        ({"HTTPS_PROXY": "nonsense://", "NO_PROXY": "*"}, None),
    ],
)
def test_from_environment(environ: dict[str, str], port: int | None) -> None:
    proxy = Proxy.from_environment("api.push.apple.com", environ)
    assert (proxy.port if proxy is not None else None) == port


def test_environment_that_makes_no_sense_is_named_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Proxy.from_environment("host", {"HTTPS_PROXY": "http://me:secret@host:port"})
    assert str(caught.value).startswith("HTTPS_PROXY: ")
    assert "secret" not in str(caught.value)


def test_find_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "all_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://p:1")
    proxy = Proxy("host", 80)
    assert find_proxy(None, "h", 443) is None
    assert find_proxy(proxy, "h", 443) is proxy
    assert repr(find_proxy("http://p:2", "h", 443)) == "<Proxy http://p:2>"
    assert repr(find_proxy("environment", "h", 443)) == "<Proxy http://p:1>"
    monkeypatch.setenv("NO_PROXY", "h:2197")
    assert find_proxy("environment", "h", 2197) is None
    assert find_proxy("environment", "h", 443) is not None


# --- the answer ---------------------------------------------------------------------------------------------------


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.paused = False
        self.protocol: asyncio.BaseProtocol | None = None

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.paused = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


def asked() -> tuple[_ConnectRequest, Wire]:
    asking, wire = _ConnectRequest(b"CONNECT", with_password=True), Wire()
    asking.connection_made(wire)
    assert wire.written == b"CONNECT"
    return asking, wire


@pytest.mark.parametrize("step", [1, 7, 100_000])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.0 200\r\n\r\n",
        b"HTTP/1.1 204 \r\nVia: 1.1 x\r\nContent-Length: 10\r\n\r\n",  # RFC 9110: a length means nothing here
        b"HTTP/1.1 200 OK\nVia: 1.1 x\n\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 199 x\r\n\r\nHTTP/1.1 299 x\r\n\r\n",
    ],
)
async def test_answer_that_opens_the_tunnel(answer: bytes, step: int) -> None:
    asking, wire = asked()
    for start in range(0, len(answer), step):
        assert not asking.answered.done()
        assert not wire.paused
        asking.data_received(answer[start : start + step])
    await asking.answered
    assert wire.paused  # nothing more is read before TLS is there to read it
    asking.connection_lost(None)  # later, and of no interest


@pytest.mark.parametrize("step", [1, 100_000])
@pytest.mark.parametrize(
    ("answer", "status", "permanent"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", 407, True),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", 401, True),
        (b"HTTP/1.1 451 x\r\n\r\n", 451, True),
        (b"HTTP/1.1 501 Not Implemented\r\n\r\n", 501, True),
        (b"HTTP/1.1 429 x\r\n\r\n", 429, False),
        (b"HTTP/1.1 504 x\r\n\r\n", 504, False),
        (b"HTTP/1.1 403 Forbidden\r\nX: y\r\n\r\n", 403, True),
        (b"HTTP/1.1 405 No\r\n\r\n", 405, True),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", 502, False),
        (b"HTTP/1.1 503 secret\r\n\r\n", 503, False),
        (b"HTTP/1.1 300 x\r\n\r\n", 300, False),
        (b"HTTP/1.1 304 x\r\n\r\n", 304, False),
        (b"HTTP/1.1 505 x\r\n\r\n", 505, True),
        (b"HTTP/1.1 099 OK\r\n\r\n", None, False),
        (b"HTTP/1.1 20 OK\r\n\r\n", None, False),
        (b"HTTP/1.1 2000 OK\r\n\r\n", None, False),
        (b"HTTP/2.0 200 OK\r\n\r\n", None, False),
        (b" HTTP/1.1 200 OK\r\n\r\n", None, False),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", None, False),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", None, False),
        pytest.param(b"HTTP/1.1 " + b"2" * MAX_HEADER, None, False, marks=pytest.mark.slow),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * MAX_HEADER, None, False, marks=pytest.mark.slow),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_answer_that_does_not(answer: bytes, status: int | None, permanent: bool, step: int) -> None:
    asking, wire = asked()
    for start in range(0, len(answer), step):
        asking.data_received(answer[start : start + step])
    with pytest.raises(ProxyError) as caught:
        await asking.answered
    assert caught.value.status == status
    assert caught.value.permanent is permanent
    assert isinstance(caught.value, ConnectError)
    assert caught.value.unprocessed
    assert "secret" not in str(caught.value)
    assert len(asking._received) <= max(MAX_HEADER, len(answer[:step]))
    assert not wire.paused


async def test_the_header_of_an_answer_has_a_longest_size() -> None:
    start, end = b"HTTP/1.1 200 OK\r\nX: ", b"\r\n\r\n"
    longest = start + b"x" * (MAX_HEADER - len(start + end)) + end
    asking, _ = asked()
    asking.data_received(longest[:-1])
    assert not asking.answered.done()
    asking.data_received(longest[-1:])
    await asking.answered
    for longer in (b"y" + end, b"yyyy"):
        asking, _ = asked()
        asking.data_received(longest[: -len(end)] + longer)
        assert asking.answered.done()
        asking.data_received(b"more, which is of no interest")
        with pytest.raises(ProxyError, match="has more than 16384 bytes of header"):
            await asking.answered


async def test_more_than_the_answer() -> None:
    asking, _ = asked()
    asking.data_received(b"HTTP/1.1 200 OK\r\n\r\n\x16")
    with pytest.raises(ProxyError, match="more than its response"):
        await asking.answered


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (b"", "does not accept its name and password"),
        (b"Proxy-Authenticate: Basic realm=x\r\n", "does not accept its name and password"),
        (
            b"proxy-authenticate: NTLM\r\nProxy-Authenticate: basic\r\n",
            "does not accept its name and password",
        ),
        (b"Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n", "not supported: Negotiate, NTLM"),
        (b"Proxy-Authenticate: Digest\r\n" * 6, "not supported: Digest(, Digest){4}$"),
        (b"Proxy-Authenticate: \x1b[31mred\r\n", "does not accept its name and password"),
    ],
)
async def test_a_407_names_the_credentials_that_it_requires(fields: bytes, words: str) -> None:
    asking, _ = asked()
    asking.data_received(b"HTTP/1.1 407 x\r\n" + fields + b"\r\n")
    with pytest.raises(ProxyError, match=words):
        await asking.answered


async def test_end_before_the_answer() -> None:
    for end in (_ConnectRequest.eof_received, lambda asking: asking.connection_lost(ConnectionResetError())):
        asking, _ = asked()
        asking.data_received(b"HTTP/1.1 200 O")
        end(asking)
        with pytest.raises(ProxyError, match="without a response"):
            await asking.answered


# --- what comes before the protocol is there ----------------------------------------------------------------------


class Recorder(asyncio.Protocol):
    def __init__(self) -> None:
        self.events: list[Any] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append(transport)

    def data_received(self, data: bytes) -> None:
        self.events.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append(exc)


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("received", [[], [b"SETTINGS", b"GOAWAY"]])
def test_no_byte_is_lost_between_the_handshake_and_the_protocol(lost: bool, received: list[bytes]) -> None:
    keeping, wire, recorder = _EarlyData(), Wire(), Recorder()
    error = ConnectionResetError()
    for each in received:
        keeping.data_received(each)
    if lost:
        keeping.connection_lost(error)
    keeping.hand_over(wire, recorder)
    assert wire.protocol is recorder
    assert recorder.events == [wire, *([b"SETTINGSGOAWAY"] if received else []), *([error] if lost else [])]


def test_the_hint_is_not_taken_for_a_password() -> None:
    for wrong in (5, "http://me:secret@host:port"):
        with pytest.raises(ConfigurationError) as caught:
            Proxy.parse(wrong)  # type: ignore[arg-type]
        assert "http://proxy.example:3128; a name and a password stand before the host" in str(caught.value)
        assert "removed" not in str(caught.value)
