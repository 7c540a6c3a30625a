"""Servers that end a connection while there is more to send: nothing counts as written that a closing transport dropped."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from fakeservers import Certificates
from pushcore import Verdict
from tests.e2e.support import RawServer, push, raw_client, reset, send_all, soon, using, verdicts
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


def answer_ended(peer: h.HonestServer, most: int | None = None) -> list[bytes]:
    """Accept the requests that have come whole, so many at most; their paths."""
    ended = [stream_id for stream_id, request in peer.requests.items() if request.ended][:most]
    paths = []
    for stream_id in ended:
        paths.append(dict(peer.requests.pop(stream_id).fields)[b":path"])
        peer.answer(stream_id)
    return paths


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
            for path in answer_ended(peer, STREAMS - responses):
                responses += 1
                requests[path] += 1
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


@pytest.mark.parametrize(
    ("streams", "sends_goaway"),
    [(1, True), (1, False), (STREAMS, True)],
    ids=["GOAWAY and one stream", "close_notify and one stream", "GOAWAY"],
)
async def test_a_server_that_takes_one_request_on_each_connection_gets_several_at_a_time(
    http2: str, certs: Certificates, streams: int, sends_goaway: bool
) -> None:
    """As soon as it has served three, it responds to none until three connections have a request."""
    pushes, together = 40, 3
    served = open_requests = 0
    enough = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served, open_requests, enough
        peer = h.HonestServer({h.MAX_STREAMS: streams})
        writer.write(peer.h2.data_to_send())
        while not any(request.ended for request in peer.requests.values()):
            data = await reader.read(65_536)
            if not data:
                return
            peer.receive(data)
        open_requests += 1
        mine = enough
        if served < together or open_requests in (together, pushes - served):
            served += open_requests
            open_requests, enough = 0, asyncio.Event()
            mine.set()
        await mine.wait()
        peer.answer(1)
        writer.write(peer.h2.data_to_send() + (h.goaway(1) if sends_goaway else b""))
        if sends_goaway:
            await reader.read()
        else:
            writer.close()
            await writer.wait_closed()

    async with (
        RawServer(talk, certs.server_context()) as server,
        using(raw_client(certs, server.url, http2=http2, timeout=30.0)) as client,
    ):
        results = await send_all(client, [push(number) for number in range(pushes)])
        assert verdicts(results) == {Verdict.ACCEPTED: pushes}
        assert pushes <= server.accepted <= pushes + 8


async def test_connections_that_were_closed_when_nothing_waited_say_nothing_about_a_limit(
    http2: str, certs: Certificates
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = h.HonestServer({h.MAX_STREAMS: STREAMS})
        writer.write(peer.h2.data_to_send())
        while data := await reader.read(65_536):
            peer.receive(data)
            answer_ended(peer)
            writer.write(peer.h2.data_to_send())
            if peer.h2.highest_inbound_stream_id and server.accepted < 4:
                writer.close()
                await writer.wait_closed()
                return

    async with (
        RawServer(talk, certs.server_context()) as server,
        using(raw_client(certs, server.url, http2=http2)) as client,
    ):
        for number in range(3):
            assert (await client.send(push(number))).ok
            await soon(lambda: not client._dispatcher.pool.links)
        results = await send_all(client, [push(number) for number in range(50)])
        assert verdicts(results) == {Verdict.ACCEPTED: 50}
        assert server.accepted == 4
