"""RFC 9113, sections 8.2 and 8.3.1: what our requests look like to an honest server, which validates every field."""

from __future__ import annotations

import pytest

from pushcore.http2.headers import HeaderTemplate
from tests.support import http2 as h
from tests.support.http2 import Dial, HonestServer, converse


@pytest.mark.parametrize("pairs", [{}, {h.TABLE_SIZE: 0}, {h.TABLE_SIZE: 100}, {h.TABLE_SIZE: 65_536}])
def test_an_honest_server_accepts_them(dial: Dial, pairs: dict[int, int]) -> None:
    """Pseudo-header fields come before all others, each once; the server gets exactly what was asked for."""
    client, server = dial(started=False), HonestServer(pairs)
    converse(client, server)
    templates = [
        HeaderTemplate(
            [
                (b"apns-topic", b"com.example.%d" % number),
                (b":authority", b"push.example"),
                (b"apns-push-type", b"alert"),
                (b":method", b"POST"),
                (b":scheme", b"https"),
            ]
        )
        for number in range(3)
    ]
    for number in range(24):
        if number % 7 == 0:
            client.connection.authorize(b"bearer token-%d" % number)
        token = client.connection.authorization or b""
        path, own_fields = (
            b"/3/device/%d" % number,
            ((b"apns-id", b"%d" % number), (b"apns-expiration", b"0")),
        )
        exchange = client.request(b"{}", own_fields[: number % 3], template=templates[number % 3], path=path)
        converse(client, server)
        fields = server.requests[exchange.stream_id].fields
        assert sorted(fields) == sorted(
            [
                *templates[number % 3].fields,
                (b":path", path),
                (b"authorization", token),
                *own_fields[: number % 3],
            ]
        )
        server.answer(exchange.stream_id, 200)
        converse(client, server)
    assert [exchange.status for exchange in client.finished] == [200] * 24
