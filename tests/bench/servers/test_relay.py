"""The relay: bytes arrive whole, in order and not before their time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from bench.servers.relay import DelayedBytes, serve

DELAY = 0.02


def test_bytes_arrive_in_order_and_not_early() -> None:
    held = DelayedBytes(0.5)
    held.add(b"a", 10.0)
    held.add(b"bc", 10.1)
    assert held.arrived(10.49) == []
    assert held.next == 10.5
    assert held.arrived(10.5) == [b"a"]
    assert held.size == 2
    assert held.arrived(11.0) == [b"bc"]
    assert held.size == 0
    assert held.next is None


@contextlib.asynccontextmanager
async def echo_behind_a_relay() -> AsyncIterator[int]:
    """The relay's port; the server gives back what it is sent, and then closes."""

    ended = asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()
        ended.set()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(server.sockets[0].getsockname()[1], DELAY, ready))
    try:
        yield await ready
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        await ended.wait()
        server.close()


async def test_a_round_trip_takes_twice_the_delay_and_brings_everything() -> None:
    loop = asyncio.get_running_loop()
    sent = bytes(range(256)) * 8192  # more than any buffer on the way
    async with echo_behind_a_relay() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        begun = loop.time()
        writer.write(sent)
        first = await reader.readexactly(1)
        assert loop.time() - begun >= 2 * DELAY
        assert first + await reader.readexactly(len(sent) - 1) == sent
        writer.close()
        await writer.wait_closed()


async def test_the_end_of_the_server_is_heard_after_its_last_bytes() -> None:
    async def say_and_leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"last words")
        writer.close()

    server = await asyncio.start_server(say_and_leave, "127.0.0.1", 0)
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(server.sockets[0].getsockname()[1], DELAY, ready))
    reader, writer = await asyncio.open_connection("127.0.0.1", await ready)
    assert await reader.read() == b"last words"
    writer.close()
    await writer.wait_closed()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    server.close()


async def test_a_relay_without_a_server_closes_the_connection() -> None:
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(1, DELAY, ready))  # nobody listens on port 1
    reader, writer = await asyncio.open_connection("127.0.0.1", await ready)
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
