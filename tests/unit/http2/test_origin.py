"""Addresses of servers: which are read, and how they are written in `:authority`."""

from __future__ import annotations

from typing import Any

import pytest

from pushcore.errors import ConfigurationError
from pushcore.http2.origin import Origin, read_origin, split_uri


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("https://127.0.0.1:2197", Origin("127.0.0.1", 2197), "127.0.0.1:2197"),
        ("https://fcm.googleapis.com", Origin("fcm.googleapis.com"), "fcm.googleapis.com"),
        ("https://fcm.googleapis.com:443/", Origin("fcm.googleapis.com"), "fcm.googleapis.com"),
        ("https://[::1]:9", Origin("::1", 9), "[::1]:9"),
        ("https://[::1]", Origin("::1"), "[::1]"),
        (f"https://{'h' * 63}.a", Origin(f"{'h' * 63}.a"), f"{'h' * 63}.a"),
    ],
)
def test_an_address_is_read_and_written_as_authority(url: str, origin: Origin, authority: str) -> None:
    assert read_origin(url) == origin
    assert origin.authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:1",
        "http://h",
        "https://",
        "https://h/x",
        "https://h?x",
        "https://h#x",
        "https://u@h",
        "https://h:x",
        "https://h:999999",
        "https://[::1",
        "https://hé",
        f"https://{'h' * 64}.a",
        "https://a..b",
        "https://a b",
        None,
        b"https://h",
    ],
)
def test_only_an_https_address_without_a_path_is_accepted(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="must look like"):
        read_origin(url)


@pytest.mark.parametrize(
    ("url", "port"),
    [("https://h:0", 0), ("https://h:00/", 0), ("https://[::1]:65536", 65536), ("https://h:99999", 99999)],
)
def test_a_port_that_no_server_has_is_named(url: str, port: int) -> None:
    with pytest.raises(ConfigurationError, match=f"^apns has port {port}; expected one from 1 to 65535$"):
        read_origin(url, "apns")


def test_equal_servers_are_one_key() -> None:
    assert len({Origin("push.example"), Origin("push.example", 443), Origin("push.example", 8443)}) == 2


def test_a_token_uri_in_its_parts() -> None:
    assert split_uri("https://oauth2.googleapis.com/token") == (Origin("oauth2.googleapis.com"), b"/token")
    assert split_uri("https://h:1/a?b=c") == (Origin("h", 1), b"/a?b=c")
    assert split_uri("https://h") == (Origin("h"), b"/")
