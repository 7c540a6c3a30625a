"""What the end-to-end tests share: clients for a fake, sending many at once, and servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any

import pytest

from fakeservers import Certificates, FakeApns
from pushcore import ApnsClient, ApnsKey, Notification, Result, Verdict
from tests.support.loopback import LoopbackServer

ENGINES = ("fast", "reference")
PAYLOAD = {"aps": {"alert": "Hi"}}
CLOSING = 3.0
"""Seconds within which a client without requests must be closed, whatever its servers are like."""

RST_STREAM, SETTINGS, PING, GOAWAY = 3, 4, 6, 7
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 3, 4


def key_of(fake: FakeApns) -> ApnsKey:
    return ApnsKey.from_file(fake.key_file, key_id=fake.key_id, team_id=fake.team_id)


def client_of(fake: FakeApns, **options: Any) -> ApnsClient:
    """A client that is set up rightly for `fake`, but for what `options` say."""
    return ApnsClient(
        **{
            "auth": key_of(fake),
            "topic": fake.topic,
            "url": fake.url,
            "ca_file": fake.ca_file,
            "timeout": 10.0,
            **options,
        }
    )


def push(number: int = 0, payload: Any = PAYLOAD, **options: Any) -> Notification:
    """A push to a device of its own."""
    return Notification(f"{number:064x}", payload, **options)


async def send_all(client: ApnsClient, pushes: Iterable[Notification]) -> list[Result]:
    """Send all at once; the results in the order of the pushes."""
    return list(await asyncio.gather(*(client.send(push) for push in pushes)))


def verdicts(results: Iterable[Result]) -> Counter[Verdict]:
    return Counter(result.verdict for result in results)


async def soon(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until `condition` holds; it is a failure when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


SPINNING = 150
"""Turns that take no time. A name is resolved in a thread, which needs some: later turns are a millisecond each."""


async def cancel_after(work: Any, turns: int) -> bool:
    """Cancel the coroutine after so many turns of the loop; False when it had ended before."""
    task = asyncio.ensure_future(work)
    for turn in range(turns):
        await asyncio.sleep(0 if turn < SPINNING else 0.001)
        if task.done():
            task.result()
            return False
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return True


@contextlib.asynccontextmanager
async def using(client: ApnsClient, closes_within: float = CLOSING) -> AsyncIterator[ApnsClient]:
    """The open client; at the end it must close in time, leave nothing, and the loop must have heard no error."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    await client.open()
    pool = client._dispatcher.pool
    try:
        yield client
    finally:
        async with asyncio.timeout(closes_within):
            await client.close()
    assert not pool.links
    assert not pool.waiting
    assert not complaints


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Collects garbage at the end of a test: a socket or a transport that nobody closed warns, and so fails it."""
    yield
    gc.collect()


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """One HTTP/2 frame."""
    return struct.pack(">I", len(payload) << 8 | kind) + struct.pack(">BI", flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, b"".join(struct.pack(">HI", *setting) for setting in values.items()))


def goaway(last: int = 0, code: int = 0, debug: bytes = b"") -> bytes:
    return frame(GOAWAY, struct.pack(">II", last, code) + debug)


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawServer(LoopbackServer):
    """Accepts connections on a port of its own and lets `talk` do with them what it likes; then they are cut.

    `context` is its TLS; None for none. `accepted` counts the connections, over TLS those that got through it.
    """

    def __init__(self, talk: Talk, context: ssl.SSLContext | None = None, *, alpn: str | None = "h2") -> None:
        super().__init__(context)
        self._talk = talk
        if context is not None and alpn is not None:
            context.set_alpn_protocols([alpn])

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._talk(reader, writer)
        writer.transport.abort()


def raw_client(certs: Certificates, url: str, **options: Any) -> ApnsClient:
    """A client for a `RawServer`."""
    key = ApnsKey.from_file(certs.key_file, key_id=certs.key_id, team_id=certs.team_id)
    return ApnsClient(
        **{"auth": key, "topic": "com.example.app", "url": url, "ca_file": certs.ca_file, **options}
    )


async def hold(reader: asyncio.StreamReader) -> None:
    """Read and forget until the client goes."""
    while await reader.read(65_536):
        pass


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP RST."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
