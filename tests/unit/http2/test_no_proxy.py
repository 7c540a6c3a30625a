"""NO_PROXY: which hosts it covers."""

from __future__ import annotations

import pytest

from pushcore.http2.no_proxy import bypasses


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "direct"),
    [
        ("", "example.com", 443, False),
        ("*", "example.com", 443, True),
        ("*", "10.0.0.1", 443, True),
        ("example.com", "example.com", 443, True),
        ("example.com", "EXAMPLE.com.", 443, True),
        ("Example.COM.", "api.example.com", 443, True),
        ("example.com", "notexample.com", 443, False),
        ("example.com", "example.com.evil", 443, False),
        (".example.com", "api.example.com", 443, True),
        (".example.com", "example.com", 443, True),
        ("*.example.com", "api.example.com", 443, True),
        ("*.example.com", "notexample.com", 443, False),
        ("a.com,b.com", "b.com", 443, True),
        (" a.com , b.com ", "b.com", 443, True),
        ("a.com b.com", "b.com", 443, True),
        (",,", "b.com", 443, False),
        (".", "b.com", 443, False),
        ("example.com:443", "example.com", 443, True),
        ("example.com:443", "example.com", 2197, False),
        ("*:2197", "example.com", 2197, True),
        ("*:2197", "example.com", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.0.0.1/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "10.example", 443, False),
        ("10.1.2.3", "10.1.2.3", 443, True),
        ("10.1.2.3:443", "10.1.2.3", 443, True),
        ("10.1.2.3:443", "10.1.2.3", 80, False),
        ("0.0.1", "127.0.0.1", 443, False),
        ("::1", "::1", 443, True),
        ("::1", "[::1]", 443, True),
        ("[::1]", "::1", 443, True),
        ("[::1]:443", "::1", 443, True),
        ("[::1]:443", "::1", 80, False),
        ("[::1]:4", "::1", 443, False),
        ("[::1]:x4", "::1", 443, True),
        ("[::1]x443", "::1", 443, True),
        ("fd00::/8", "fd12::1", 443, True),
        ("fd00::/8", "10.0.0.1", 443, False),
        ("0:0:0:0:0:0:0:1", "::1", 443, True),
        ("10.0.0.0/99", "10.0.0.1", 443, False),
    ],
)
def test_a_host_is_connected_to_directly_when_an_entry_covers_it(
    no_proxy: str, host: str, port: int, direct: bool
) -> None:
    assert bypasses(no_proxy, host, port) is direct
