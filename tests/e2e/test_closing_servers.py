"""Servers that end a connection while there is more to send: nothing counts as written that a closing transport dropped."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from fakeservers import Certificates
from pushcore import Verdict
from tests.e2e.support import RawServer, push, raw_client, reset, send_all, using, verdicts
from tests.support import http2 as h

pytestmark = [
    pytest.mark.usefixtures("clean"),
    pytest.mark.parametrize(
        "http2",
        ["fast", "reference", pytest.param("fast", id="fast on uvloop", marks=pytest.mark.uvloop)],
    ),
]

STREAMS = 100
PUSHES = 500


@pytest.mark.parametrize("cut", [False, True], ids=["close_notify", "a TCP reset"])
async def test_requests_that_a_closing_connection_did_not_process_are_sent_on_another(
    http2: str, certs: Certificates, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    """Each connection answers its first hundred requests and ends without GOAWAY, whatever has come behind them."""
    monkeypatch.setattr("pushcore.http2.dialer.FIRST_PAUSE", 0.02)
    requests: Counter[bytes] = Counter()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = h.HonestServer({h.MAX_STREAMS: STREAMS})
        responses = 0
        writer.write(peer.h2.data_to_send())
        while responses < STREAMS:
            data = await reader.read(65_536)
            if not data:
                return
            peer.receive(data)
            for stream_id, request in list(peer.requests.items()):
                if request.ended and responses < STREAMS:
                    responses += 1
                    requests[dict(request.fields)[b":path"]] += 1
                    peer.answer(stream_id)
                    del peer.requests[stream_id]
            writer.write(peer.h2.data_to_send())
        if cut:
            reset(writer)
        else:
            writer.close()
            await writer.wait_closed()

    async with (
        RawServer(talk, certs.server_context()) as server,
        using(raw_client(certs, server.url, http2=http2, max_connections=1)) as client,
    ):
        results = await send_all(client, [push(number) for number in range(PUSHES)])
        unknown = verdicts(results)[Verdict.UNKNOWN]
        if cut:  # what was written before the reset arrived may have been read
            assert verdicts(results)[Verdict.ACCEPTED] + unknown == PUSHES
        else:
            assert verdicts(results) == {Verdict.ACCEPTED: PUSHES}
            assert server.accepted == PUSHES // STREAMS
        assert max(requests.values()) == 1


async def test_a_server_that_takes_ten_requests_on_each_connection(
    http2: str, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hundred streams it answers ten and refuses the rest by GOAWAY, again and again."""
    monkeypatch.setattr("pushcore.http2.dialer.FIRST_PAUSE", 0.02)
    served = 10
    received: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = h.HonestServer({h.MAX_STREAMS: STREAMS})
        writer.write(peer.h2.data_to_send())
        while not any(request.ended for request in peer.requests.values()):
            peer.receive(await reader.read(65_536))
        received.append(len(peer.requests))
        while sum(request.ended for request in peer.requests.values()) < served:
            peer.receive(await reader.read(65_536))
        for stream_id in range(1, 2 * served, 2):
            peer.answer(stream_id)
        writer.write(h.goaway(2 * served - 1) + peer.h2.data_to_send())
        await reader.read()

    async with (
        RawServer(talk, certs.server_context()) as server,
        using(raw_client(certs, server.url, http2=http2, max_connections=1, timeout=30.0)) as client,
    ):
        results = await send_all(client, [push(number) for number in range(PUSHES)])
        assert verdicts(results) == {Verdict.ACCEPTED: PUSHES}
        assert server.accepted == PUSHES // served
        assert max(received[2:]) == served
