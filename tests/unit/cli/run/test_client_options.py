"""Proxies as the options name them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pushcore import Proxy
from pushcore.apns.client import ApnsClient
from pushcore.audience.problems import BadInput
from pushcore.cli.run.client_options import ClientOptions
from pushcore.errors import ConfigurationError
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
        ("http://me:s3cret@proxy.example", b"other", "--proxy already contains a password"),
        ("http://me@proxy.example", b"\n", "is empty; expected a file with the proxy's password"),
        ("http://me@proxy.example", b"s3cret\xff", "--proxy: the password is not UTF-8"),
        ("none", b"s3cret", "--proxy-password-file needs --proxy URL"),
        ("environment", b"s3cret", "--proxy-password-file needs --proxy URL"),
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


def test_settings_of_idle_connections_reach_the_clients(tmp_path: Path) -> None:
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


# --- who sends what ---------------------------------------------------------------------------------------------------


@pytest.fixture
def apns(tmp_path: Path) -> dict[str, Any]:
    """Options with a key for APNs."""
    (tmp_path / "key.p8").write_bytes(KEY)
    (tmp_path / "ca.pem").write_bytes(AUTHORITY)
    return {
        "apns_key": str(tmp_path / "key.p8"),
        "key_id": "ABC123DEFG",
        "team_id": "TEAM123456",
        "topic": "com.example.app",
        "ca_file": str(tmp_path / "ca.pem"),
        "proxy": "none",
    }


def refusal(options: dict[str, Any]) -> str:
    with pytest.raises((BadInput, ConfigurationError)) as raised:
        ClientOptions(**options).clients()
    return str(raised.value)


def test_for_both_environments_there_is_a_client_of_each(apns: dict[str, Any], tmp_path: Path) -> None:
    clients = ClientOptions(**apns, environment="auto").clients()
    production, sandbox = clients.all
    assert isinstance(production, ApnsClient)
    assert isinstance(sandbox, ApnsClient)
    assert clients == {"apns": production}
    assert (production.environment, sandbox.environment) == ("production", "sandbox")
    assert ClientOptions(**apns).clients().sandbox is None


def test_the_sandbox_may_have_a_key_and_a_url_of_its_own(apns: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "sandbox.p8").write_bytes(KEY)
    options = ClientOptions(
        **apns,
        environment="auto",
        apns_sandbox_key=str(tmp_path / "sandbox.p8"),
        sandbox_key_id="SANDBOX123",
        apns_url="https://127.0.0.1:1",
        apns_sandbox_url="https://127.0.0.1:2",
    )
    key, own = options.apns_auth(), options.sandbox_auth()
    assert ("ABC123DEFG" in repr(key), "SANDBOX123" in repr(own)) == (True, True)
    assert [getattr(client._dispatcher.requests, "topic", None) for client in options.clients().all] == [
        "com.example.app",
        "com.example.app",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"apns_sandbox_url": "https://h"}, "--apns-sandbox-url needs --environment auto"),
        ({"sandbox_key_id": "SANDBOX123"}, "--sandbox-key-id needs --environment auto"),
        (
            {"environment": "auto", "apns_url": "https://h"},
            "--apns-url and --apns-sandbox-url go together; expected both or neither",
        ),
        (
            {"environment": "auto", "sandbox_key_id": "SANDBOX123"},
            "--apns-sandbox-key and --sandbox-key-id go together; expected both or neither",
        ),
        (
            {"environment": "sandbox", "apns_url": "https://h"},
            "--environment and --apns-url exclude each other",
        ),
        ({"apns_cert": "c.pem"}, "expected either --apns-key FILE or --apns-cert FILE"),
        ({"apns_cert_key": "k.pem"}, "--apns-cert-key and --apns-cert-password-file belong to --apns-cert"),
        ({"team_id": None}, "--team-id is missing; --apns-key needs it"),
        ({"topic": None}, "--topic is missing; --apns-key needs it"),
        (
            {"apns_key": None},
            "--key-id needs either --apns-key FILE or --apns-cert FILE",
        ),
        ({"fcm_project": "p"}, "--fcm-project needs --fcm-service-account FILE"),
        ({"collapse_id": "x" * 65}, "the options cannot work: "),
    ],
)
def test_options_for_apns_that_do_not_go_together(
    apns: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    assert words in refusal({**apns, **changes})


def test_a_sandbox_key_needs_a_team(apns: dict[str, Any], tmp_path: Path) -> None:
    options = {**apns, "apns_sandbox_key": apns["apns_key"], "sandbox_key_id": "SANDBOX123", "team_id": None}
    with pytest.raises(BadInput, match="--team-id is missing; --apns-sandbox-key needs it"):
        ClientOptions(**options).sandbox_auth()


def test_without_credentials_there_is_nowhere_to_send() -> None:
    assert refusal({}).startswith("no provider: expected either --apns-key FILE or --apns-cert FILE")
    with pytest.raises(BadInput, match="expected either --apns-key FILE or --apns-cert FILE"):
        ClientOptions().apns_auth()
    with pytest.raises(BadInput, match="--fcm-service-account is missing"):
        ClientOptions().fcm_account()


def test_an_account_without_a_project_needs_the_option(tmp_path: Path) -> None:
    content = {name: value for name, value in info().items() if name != "project_id"}
    (tmp_path / "account.json").write_bytes(orjson.dumps(content))
    options: dict[str, Any] = {"fcm_service_account": str(tmp_path / "account.json"), "proxy": "none"}
    assert refusal(options) == f"{tmp_path}/account.json contains no project; expected --fcm-project ID"
    account = ClientOptions(**options, fcm_project="p").fcm_account()
    assert getattr(account, "project_id", "") is None


# --- certificates -----------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """A certificate of an app and its key, in two files; the key has the passphrase "s3cret"."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.USER_ID, "com.example.app"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "Apple Push Services: com.example.app"),
        ]
    )
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=99))
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "cert.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"s3cret"),
        )
    )
    return str(tmp_path / "cert.pem"), str(tmp_path / "cert.key")


def test_a_certificate_with_its_key_and_passphrase_in_files(
    certificate: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "passphrase").write_text("s3cret\r\n")
    path, key = certificate
    options = ClientOptions(
        apns_cert=path, apns_cert_key=key, apns_cert_password_file=str(tmp_path / "passphrase"), proxy="none"
    )
    assert "com.example.app" in repr(options.apns_auth())
    assert isinstance(options.sandbox_auth(), type(options.apns_auth()))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "as --apns-cert-key"),
        ({"key_id": "ABC123DEFG"}, "--key-id and --team-id belong to --apns-key"),
        ({"team_id": "TEAM123456"}, "--key-id and --team-id belong to --apns-key"),
        ({"apns_cert_password_file": "/nonexistent"}, "the file of --apns-cert-password-file cannot be read"),
    ],
)
def test_certificates_that_cannot_be_used(
    certificate: tuple[str, str], changes: dict[str, Any], words: str
) -> None:
    assert words in refusal({"apns_cert": certificate[0], "proxy": "none", **changes})
