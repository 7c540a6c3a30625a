"""pushcore's clients as the benchmarks run them, one process per run.

`python -m bench.cases CASE TARGET COUNT STREAMS CONNECTIONS [WORK]`; TARGET and WORK are JSON. It prints one JSON line with the fields of `stage.ClientRun`. What it sets up before the first notification is not
counted; the garbage collector is set as `pushcore send` sets it.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import uvloop

from pushcore import ApnsClient, FcmClient, PushEngine
from pushcore.engine.collector import relax_collector
from pushcore.engine.rate import Rate
from pushcore.http2.connection import Connection
from pushcore.http2.exchange import NO_FIELDS, Exchange, request
from pushcore.http2.headers import Field, HeaderTemplate
from pushcore.http2.protocol import Link
from pushcore.http2.streams import Limits
from pushcore.http2.tls import client_context

from .harness.providers import PROVIDERS, TIMEOUT, USUAL, Provider, Workload
from .harness.stage import Target

NO_RATE = Rate.parse("none")


class Stopwatch:
    """CPU and wall time from `start` to `stop`."""

    def start(self) -> None:
        """Begin."""
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def stop(self, count: int, ok: int, answered: int, cipher: str = "") -> dict[str, Any]:
        """The fields of `stage.ClientRun`."""
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        return {
            "rate": count / wall,
            "cpu_us": cpu / count * 1e6,
            "ok": ok,
            "answered": answered,
            "peak_mb": _peak_mb(),
            "cipher": cipher,
        }


def _peak_mb() -> float:
    """The peak of resident memory. (`ru_maxrss` would include that of the parent process.)"""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(match[1]) / 1024 if match else 0.0


class FrameLoop:
    """Keeps one connection full. Bodies are ready, tokens distinct; windows, limits and deadlines are obeyed."""

    def __init__(
        self, target: Target, headers: list[Field], paths: Iterator[bytes], body: bytes, streams: int
    ) -> None:
        authority = target.url.removeprefix("https://").encode()
        pseudo = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", authority)]
        self.template = HeaderTemplate([*pseudo, *headers])
        self.paths, self.body, self.streams = paths, body, streams
        self.statuses: dict[int, int] = {}
        self.sink = self.count  # bound once: who has the same sink is told together
        self.going = False
        self.waiting: deque[Exchange] = deque()
        self.done = asyncio.get_running_loop().create_future()
        self.loop = asyncio.get_running_loop()

    def count(self, finished: list[Exchange]) -> None:
        """Count the responses."""
        for exchange in finished:
            status = exchange.status
            self.statuses[status] = self.statuses.get(status, 0) + 1

    def fill(self, link: Link) -> None:
        """Open as many streams as are free; called after each batch of responses."""
        connection = link.connection
        if not self.going:
            return
        room = min(connection.capacity, self.streams) - len(connection.streams)
        if room <= 0:
            return
        deadline = self.loop.time() + TIMEOUT
        template, body, sink = self.template, self.body, self.sink
        waiting = self.waiting
        for path in islice(self.paths, room):
            waiting.append(request(template, path, body, NO_FIELDS, sink, None, deadline))
        connection.take(waiting)
        if waiting:
            raise SystemExit("a stream was free and could not be opened: is the window too small?")
        link.schedule()
        if not connection.streams and not self.done.done():
            self.done.set_result(None)


async def frames(
    target: Target, count: int, streams: int, connections: int, work: Workload
) -> dict[str, Any]:
    """Requests through `connection` and `protocol` alone."""
    loop = asyncio.get_running_loop()
    provider = PROVIDERS[target.provider]
    paths = iter([provider.path(target, number, work).encode() for number in range(count)])
    body = provider.body(work)
    fields = {name.encode(): value.encode() for name, value in (await _headers(provider, target)).items()}
    authorization = fields.pop(b"authorization")
    context = client_context(ca_file=target.ca_file)
    host, _, port = target.url.removeprefix("https://").partition(":")
    pairs = []
    for _ in range(connections):
        feed = FrameLoop(target, list(fields.items()), paths, body, streams)

        def new_link(feed: FrameLoop = feed) -> Link:
            return Link(Connection(Limits(timeout=TIMEOUT), loop.time()), feed.fill)

        _, link = await loop.create_connection(new_link, host, int(port), ssl=context)
        await link.ready
        link.connection.authorize(authorization)
        pairs.append((feed, link))

    def tick() -> None:
        for _, link in pairs:
            link.tick(loop.time())
        ticking.append(loop.call_later(0.5, tick))

    ticking: list[asyncio.TimerHandle] = []
    cipher = _cipher_of(pairs[0][1])
    meter = Stopwatch()
    meter.start()
    tick()
    for feed, link in pairs:
        feed.going = True
        feed.fill(link)
    await asyncio.gather(*(feed.done for feed, _ in pairs))
    ticking[-1].cancel()
    statuses: dict[int, int] = {}
    for feed, _ in pairs:
        for status, seen in feed.statuses.items():
            statuses[status] = statuses.get(status, 0) + seen
    expected = 404 if target.name == "nghttpd" else 200
    measured = meter.stop(count, statuses.get(expected, 0), sum(statuses.values()), cipher)
    for _, link in pairs:
        link.close()
        await link.gone
    return measured


def _cipher_of(link: Link) -> str:
    assert link._transport is not None
    cipher = link._transport.get_extra_info("cipher")
    return str(cipher[0]) if cipher else ""


async def _headers(provider: Provider, target: Target) -> dict[str, str]:
    return await asyncio.to_thread(provider.headers, target)


@asynccontextmanager
async def connected(
    provider: Provider, target: Target, connections: int
) -> AsyncIterator[ApnsClient | FcmClient]:
    """A client with all its connections open and its token accepted, so that neither is measured."""
    client = provider.client(target, connections)
    await client.open(connections=connections)
    try:
        (await client.send(next(provider.pushes(1, USUAL)))).raise_for_verdict()
        yield client
    finally:
        await client.close()


async def engine(
    target: Target, count: int, streams: int, connections: int, work: Workload
) -> dict[str, Any]:
    """`PushEngine.send_many` with one `Result` for each push."""
    ok = answered = 0
    provider = PROVIDERS[target.provider]
    # Fewer streams than the provider allows are had by a smaller window.
    window = streams * connections if streams < provider.streams else None
    async with (
        connected(provider, target, connections) as client,
        PushEngine(client, rate=NO_RATE, window=window) as push_engine,
    ):
        meter = Stopwatch()
        meter.start()
        async for result in push_engine.send_many(provider.pushes(count, work)):
            if result.ok:
                ok += 1
            elif result.status is not None:
                answered += 1
        return meter.stop(count, ok, ok + answered)


async def send(target: Target, count: int, streams: int, connections: int, work: Workload) -> dict[str, Any]:
    """One long-lived task per stream; each awaits `client.send`."""
    provider = PROVIDERS[target.provider]
    source = provider.pushes(count, work)
    ok = answered = 0

    async def worker(client: ApnsClient | FcmClient) -> None:
        nonlocal ok, answered
        for push in source:
            result = await client.send(push)
            if result.ok:
                ok += 1
            elif result.status is not None:
                answered += 1

    async with connected(provider, target, connections) as client:
        meter = Stopwatch()
        meter.start()
        await asyncio.gather(*(worker(client) for _ in range(streams * connections)))
        return meter.stop(count, ok, ok + answered)


CASES = {"frames": frames, "engine": engine, "send": send}


def main() -> None:
    """Run one case and print what was measured."""
    case, target, count, streams, connections = sys.argv[1:6]
    work = Workload(**json.loads(sys.argv[6])) if len(sys.argv) > 6 else USUAL
    assert ssl.HAS_TLSv1_3
    relax_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        running = CASES[case](Target(**json.loads(target)), int(count), int(streams), int(connections), work)
        print(json.dumps(runner.run(running)))


if __name__ == "__main__":
    main()
