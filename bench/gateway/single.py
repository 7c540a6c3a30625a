"""Single pushes to a gateway at a fixed rate: `python -m bench.gateway.single URL TOKEN RATE SECONDS [--hostile]`.

The load is open (see `schedule`) and uses connections that are opened before and kept. `--hostile` adds one slow and one hostile
client for each hundred pushes, on other connections. Every push is sent, however late, and each to another device: `device(n)`.

It prints "half" when half of the responses have arrived, and at its end one JSON line: `planned`, `verdicts` (by verdict or status, "lost"
without a response), `unasked` (responses without a request), `offered` (due pushes per second), `latencies` in ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from array import array
from collections import Counter, deque
from random import Random
from typing import Any, Final, cast
from urllib.parse import urlsplit

import uvloop

from ..harness.schedule import TICK, due_by, summary

CONNECTIONS: Final = 1000
"""Kept connections: HTTP/1.1 carries one push at a time, so a second's pushes at 500 ms each."""
OPENED_AT_A_TIME: Final = 50
HOSTILE_EACH: Final = 100
"""Pushes for which there is one slow and one hostile client."""
FIRST_DEVICE: Final = 1000
"""Smaller ones are those of hostile clients."""
PAYLOAD: Final = {"aps": {"alert": "Hi"}}


def device(number: int) -> str:
    """The token of the n-th push, from 0."""
    return f"{FIRST_DEVICE + number:064x}"


def request_of(to: str, token: str) -> bytes:
    """One push as an HTTP/1.1 request."""
    body = json.dumps({"to": to, "payload": PAYLOAD}).encode()
    head = f"POST /v1/push HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def hostile_requests(token: str) -> tuple[bytes, ...]:
    """Requests that no client should send; they must not cost other clients anything."""
    push, head = request_of(f"{1:064x}", token), b"POST /v1/push HTTP/1.1\r\nhost: x\r\n"
    return (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        head + b"content-length: 5\r\ncontent-length: 6\r\n\r\nabcde",
        head + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        head + b"authorization: Bearer x\r\ncontent-length: 999999999999\r\n\r\n",
        request_of(f"{1:064x}", "wrong"),
        push[:-5],
        request_of("0", token) * 50,
    )


class KeptConnection(asyncio.Protocol):
    """One connection with one request at a time. `due`: when the push in progress was due; None while there is none."""

    def __init__(self, load: ServiceLoad) -> None:
        self._load = load
        self._data = b""
        self.due: float | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send a first request: it shows that the connection works, and begins its idle time."""
        self.transport = cast(asyncio.WriteTransport, transport)
        self.transport.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")

    def send(self, request: bytes, due: float) -> None:
        """Send a push."""
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """A response, whole or in parts."""
        data = self._data = self._data + data if self._data else data
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        at = data.find(b"content-length: ") + 16
        length = int(data[at : data.find(b"\r", at)])
        if len(data) < end + length:
            return
        self._data = data[end + length :]
        if not self.ready.done():
            self.ready.set_result(None)
            return
        self._load.answered(self, int(data[9:12]), data[end : end + length])

    def connection_lost(self, error: Exception | None) -> None:
        """Count a connection that the gateway closed before the end."""
        if not self.ready.done():
            self.ready.set_exception(error or ConnectionError("closed"))
        else:
            self._load.lost(self)


class ServiceLoad:
    """One run.

    Args:
        url: of the gateway.
        token: of a caller with a limit of at least all connections' requests at a time.
        rate: pushes per second.
        seconds: how long pushes are due.
        hostile: whether there are slow and hostile clients.
    """

    def __init__(self, url: str, token: str, rate: float, seconds: float, *, hostile: bool) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._token, self._rate, self._seconds, self._hostile = token, rate, seconds, hostile
        self.count = round(rate * seconds)
        self._free: deque[KeptConnection] = deque()
        self._backlog: deque[tuple[bytes, float]] = deque()
        self._verdicts: Counter[str] = Counter()
        self._unasked = 0
        self._latencies = array("d")
        self._ended = False
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> dict[str, Any]:
        """Send everything, wait for the responses, and return the figures."""
        for start in range(0, CONNECTIONS, OPENED_AT_A_TIME):
            await asyncio.gather(
                *(self._connect() for _ in range(min(OPENED_AT_A_TIME, CONNECTIONS - start)))
            )
        took = await self._offer()
        await self._done
        self._ended = True
        for connection in self._free:
            connection.transport.abort()
        await asyncio.gather(*self._tasks)
        return {
            "planned": self.count,
            "verdicts": dict(self._verdicts),
            "unasked": self._unasked,
            "offered": round(self.count / took, 1),
            "latencies": summary(self._latencies),
        }

    async def _connect(self) -> None:
        _, connection = await self._loop.create_connection(
            lambda: KeptConnection(self), self._host, self._port
        )
        await connection.ready
        self._use(connection)

    async def _offer(self) -> float:
        """Send the due pushes at each tick; the seconds that this took."""
        bad, rng = hostile_requests(self._token), Random(5)
        begun, number, tick = time.perf_counter(), 0, 0
        while number < self.count:
            now = time.perf_counter() - begun
            if tick * TICK > now:
                await asyncio.sleep(tick * TICK - now)
                continue
            at = begun + tick * TICK
            tick += 1
            while number < min(due_by(tick, self._rate), self.count):
                self._backlog.append((request_of(device(number), self._token), at))
                if self._hostile and number % HOSTILE_EACH == HOSTILE_EACH // 2:
                    self._start(self._be_slow())
                    self._start(self._be_hostile(rng.choice(bad)))
                number += 1
            while self._backlog and self._free:
                self._free.popleft().send(*self._backlog.popleft())
        return time.perf_counter() - begun

    def answered(self, connection: KeptConnection, status: int, body: bytes) -> None:
        """Count a response."""
        if connection.due is None:
            self._unasked += 1
            return
        self._latencies.append(time.perf_counter() - connection.due)
        self._count(json.loads(body)["verdict"] if status == 200 else str(status))
        self._use(connection)

    def lost(self, connection: KeptConnection) -> None:
        """Open another connection in place of a closed one."""
        if connection.due is not None:
            self._count("lost")
        elif not self._ended:
            self._free.remove(connection)
        if not self._ended:
            self._start(self._connect())

    def _use(self, connection: KeptConnection) -> None:
        if self._backlog:
            connection.send(*self._backlog.popleft())
        else:
            connection.due = None
            self._free.append(connection)

    def _count(self, verdict: str) -> None:
        self._verdicts[verdict] += 1
        counted = self._verdicts.total()
        if counted == self.count // 2:
            print("half", flush=True)
        if counted == self.count:
            self._done.set_result(None)

    def _start(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _be_slow(self) -> None:
        """Send a byte at a time, and never a whole request."""
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(self._host, self._port)
            for byte in request_of(f"{1:064x}", self._token)[:60]:
                if writer.transport.is_closing():  # the gateway waits 10 s for a request's headers
                    break
                writer.write(bytes((byte,)))
                await asyncio.sleep(self._seconds / 100)
            await _close(writer)

    async def _be_hostile(self, request: bytes) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection(self._host, self._port)
            try:
                writer.write(request)
                async with asyncio.timeout(self._seconds / 10):
                    await reader.read(100)
            finally:
                writer.transport.abort()
                await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def main() -> None:
    """Run one load and print the counts and the figures."""
    url, token, rate, seconds = sys.argv[1:5]

    async def work() -> dict[str, Any]:
        return await ServiceLoad(
            url, token, float(rate), float(seconds), hostile="--hostile" in sys.argv[5:]
        ).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(work())))


if __name__ == "__main__":
    main()
