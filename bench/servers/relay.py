"""A TCP relay that makes a server distant: `python -m bench.servers.relay UPSTREAM_PORT ONE_WAY_MS`.

It holds every byte, WINDOW_UPDATEs too, for half of the round trip in each direction, and does not limit the bandwidth.
It listens on 127.0.0.1 and prints `listening on PORT`. SIGTERM ends it, and so does the end of its standard input, that
is, of its parent process.

A real distance also delays TCP's handshake, its acknowledgements and thus its slow start. The relay does not: both ends
see a near peer, so a connection has its full window from its first byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import signal
import sys
from collections import deque
from typing import Final

LARGEST_HELD: Final = 64 * 2**20
"""Bytes on their way in one direction of a connection; more are left in the kernel until some have arrived."""
MOST_CONNECTIONS: Final = 256
RESUME: Final = LARGEST_HELD // 2


class DelayedBytes:
    """Bytes in flight in one direction, each chunk with its time of arrival."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.size = 0
        self._chunks: deque[tuple[float, bytes]] = deque()

    def add(self, data: bytes, now: float) -> None:
        """Add a chunk that leaves now."""
        self._chunks.append((now + self.delay, data))
        self.size += len(data)

    def arrived(self, now: float) -> list[bytes]:
        """The chunks that have arrived by now, in order, each once."""
        arrived = []
        while self._chunks and self._chunks[0][0] <= now:
            arrived.append(self._chunks.popleft()[1])
        self.size -= sum(map(len, arrived))
        return arrived

    @property
    def next(self) -> float | None:
        """When the next chunk arrives."""
        return self._chunks[0][0] if self._chunks else None


class RelayEndpoint(asyncio.Protocol):
    """One end of a relayed connection: what it reads is held, then written to `other`."""

    def __init__(self, delay: float, live: set[RelayEndpoint]) -> None:
        self.loop = asyncio.get_running_loop()
        self.held = DelayedBytes(delay)
        self.other: RelayEndpoint | None = None
        self.transport: asyncio.Transport | None = None
        self.full = False
        self.over = False
        self._live = live
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close the connection if there are too many."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._live.add(self)
        if len(self._live) > 2 * MOST_CONNECTIONS:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Hold the bytes."""
        self.held.add(data, self.loop.time())
        if self.held.size > LARGEST_HELD and self.transport is not None:
            self.transport.pause_reading()
        if self._timer is None:
            self._wait()

    def pause_writing(self) -> None:
        """Keep the bytes for this end at the other one."""
        self.full = True

    def resume_writing(self) -> None:
        """Write again."""
        self.full = False
        if self.other is not None:
            self.other.pass_on()

    def _wait(self) -> None:
        due = self.held.next
        self._timer = None if due is None else self.loop.call_at(due, self.pass_on)

    def pass_on(self) -> None:
        """Write the arrived bytes to the other end, if it is there and can take them; it calls again when it can."""
        other = self.other
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if other is None or other.transport is None or other.full:
            return
        chunks = self.held.arrived(self.loop.time())
        if chunks and not other.transport.is_closing():
            other.transport.writelines(chunks)
        if self.transport is not None and self.held.size < RESUME and not self.transport.is_closing():
            self.transport.resume_reading()
        self._wait()
        if self.over and self.held.next is None:
            other.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Close the other end after all earlier bytes have arrived there."""
        self.over = True
        self._live.discard(self)
        self.pass_on()


async def serve(port: int, delay: float, ready: asyncio.Future[int] | None = None) -> None:
    """Relay to that port of 127.0.0.1 until cancelled, then cut all connections.

    `ready` is called with the port; without it the port is printed.
    """
    loop = asyncio.get_running_loop()
    live: set[RelayEndpoint] = set()
    joining: set[asyncio.Task[None]] = set()

    async def join(near: RelayEndpoint) -> None:
        far = RelayEndpoint(delay, live)
        far.other = near
        try:
            await loop.create_connection(lambda: far, "127.0.0.1", port)
        except OSError:
            if near.transport is not None:
                near.transport.abort()
            return
        near.other = far
        near.pass_on()  # bytes that arrived before there was a reader

    def accept() -> RelayEndpoint:
        near = RelayEndpoint(delay, live)
        task = loop.create_task(join(near))
        joining.add(task)
        task.add_done_callback(joining.discard)
        return near

    server = await loop.create_server(accept, "127.0.0.1", 0)
    own = int(server.sockets[0].getsockname()[1])
    if ready is not None:
        ready.set_result(own)
    else:
        print(f"listening on {own}", flush=True)
    try:
        async with server:
            await server.serve_forever()
    finally:
        for task in joining:
            task.cancel()
        for end in list(live):
            if end.transport is not None:
                end.transport.abort()
        await asyncio.sleep(0)  # the loop tells both ends


def loop_in_microseconds() -> asyncio.AbstractEventLoop:
    """A loop on `select`, which waits in microseconds. epoll and libuv wait in milliseconds, as long as a near server's round trip."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _main(port: int, delay: float) -> None:
    loop = asyncio.get_running_loop()
    serving = loop.create_task(serve(port, delay))
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, serving.cancel)

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            serving.cancel()

    loop.add_reader(sys.stdin, read)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_in_microseconds) as runner:
        runner.run(_main(int(sys.argv[1]), float(sys.argv[2]) / 1000))
