"""Proxies as the options name them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from pushcore import Proxy
from pushcore.audience.problems import BadInput
from pushcore.cli.run.client_options import ClientOptions
from tests.unit.auth.test_service_account import info
from tests.unit.cli.credentials import AUTHORITY, KEY


def proxy_of(proxy: str, password_file: Path | None = None) -> Proxy | str | None:
    return ClientOptions(
        proxy=proxy, proxy_password_file=None if password_file is None else str(password_file)
    ).find_proxy()


def test_where_the_proxy_comes_from() -> None:
    assert ClientOptions().find_proxy() == "environment"
    assert proxy_of("environment") == "environment"
    assert proxy_of("none") is None
    found = proxy_of("proxy.example:3128")
    assert isinstance(found, Proxy)
    assert repr(found) == "<Proxy http://proxy.example:3128>"
    assert "with a password" in repr(proxy_of("http://me:s3cret@proxy.example:3128"))


def test_a_password_out_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pässword\n")
    found = proxy_of("http://m%40e@proxy.example:3128", tmp_path / "password")
    assert isinstance(found, Proxy)
    expected = Proxy("proxy.example", 3128, username="m@e", password="pässword")
    assert found._authorization == expected._authorization


@pytest.mark.parametrize(
    ("url", "content", "expected"),
    [
        ("http://proxy.example:3128/path", None, "--proxy: the proxy must look like"),
        ("socks5://proxy.example", None, "--proxy: only http and https proxies are known"),
        ("http://me:s3cret@:1", None, "--proxy: the proxy must look like"),
        ("http://proxy.example", b"s3cret", "--proxy names no user; with --proxy-password-file expected"),
        ("http://me:s3cret@proxy.example", b"other", "--proxy holds a password already"),
        ("http://me@proxy.example", b"\n", "is empty; expected a file with the proxy's password"),
        ("http://me@proxy.example", b"s3cret\xff", "--proxy: the password is not UTF-8"),
        ("none", b"s3cret", "--proxy-password-file is of no use without --proxy URL"),
        ("environment", b"s3cret", "--proxy-password-file is of no use without --proxy URL"),
    ],
)
def test_proxies_that_cannot_work(tmp_path: Path, url: str, content: bytes | None, expected: str) -> None:
    path = None
    if content is not None:
        path = tmp_path / "password"
        path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        proxy_of(url, path)
    assert expected in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_what_happens_on_idle_connections_reaches_the_clients(tmp_path: Path) -> None:
    (tmp_path / "key.p8").write_bytes(KEY)
    (tmp_path / "account.json").write_bytes(orjson.dumps(info()))
    (tmp_path / "ca.pem").write_bytes(AUTHORITY)
    options = ClientOptions(
        apns_key=str(tmp_path / "key.p8"),
        key_id="ABC123DEFG",
        team_id="TEAM123456",
        topic="com.example.app",
        fcm_service_account=str(tmp_path / "account.json"),
        fcm_project="my-project",
        ca_file=str(tmp_path / "ca.pem"),
        idle_ping=600.0,
        keepalive=(30, 5, 2),
    )
    clients = options.clients()
    assert {name: client.idle_ping for name, client in clients.items()} == {"apns": 600.0, "fcm": None}
    assert {client.keepalive for client in clients.values()} == {(30, 5, 2)}
