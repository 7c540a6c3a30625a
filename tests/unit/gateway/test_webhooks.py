"""Signatures, secrets, and the addresses that a webhook may be sent to."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import httpcore
import pytest

from pushcore.audience.problems import BadInput
from pushcore.gateway.config import WebhookSection
from pushcore.gateway.webhooks import GuardedNetwork, Webhook, is_public, read_secret, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    return str(path)


def test_the_signature_is_that_of_the_specifications_example(secret_file: str) -> None:
    """Vector of the libraries of Standard Webhooks (and of Svix)."""
    signature = sign(
        read_secret(secret_file), "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}'
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("content", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_?", "x" * 300])
def test_what_is_no_secret(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secret"
    path.write_text(content)
    with pytest.raises(BadInput, match="base64 of 24 to 64 bytes") as raised:
        read_secret(str(path))
    assert len(content) < 10 or content not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::5db8:d822", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::1", False),
        ("2001:0:1::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "::1"])
async def test_this_machine_is_not_connected_to_by_any_name(host: str) -> None:
    with pytest.raises(httpcore.ConnectError):
        await GuardedNetwork(private=False).connect_tcp(host, 1, timeout=1)


@pytest.mark.parametrize("url", ["http://example.com/", "ftp://example.com", "example.com", "https://"])
def test_a_url_is_https(url: str, secret_file: str) -> None:
    with pytest.raises(BadInput, match="begins with https"):
        Webhook("a", WebhookSection(url=url, secret_file=secret_file), lambda outcome, results: None)
