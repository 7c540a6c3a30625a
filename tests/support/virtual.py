"""Hours in seconds: an event loop whose clock jumps to the next timer, and a provider that responds inside the process.

The whole sender is the real one, from the engine down to the frames. Only the TLS transport is replaced, by
`VirtualTransport`, whose server is libnghttp2.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ngh2 import Configuration, Connection, DataReceived, RequestReceived, Role, Setting

from pushcore.http2.dialer import Attempt, Dialer
from pushcore.http2.protocol import Link

THREADS = 5.0
"""Real seconds that a thread, such as a journal's, may take for what nothing else is waited for."""

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""
IDS = {"/3/device/": "apns-id", "/4/broadcasts/": "apns-request-id"}
"""By the start of the path: the field with an id that each response of Apple's server has. An answer with "" has none."""
ID = "00000000-0000-4000-8000-000000000001"
Answers = Callable[[dict[str, str], bytes], Answer]
"""What to answer to a request's headers and body."""


class _Selector(selectors.SelectSelector):
    """A selector that lets the time of a wait pass at once."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            ready = super().select(THREADS)
            if not ready:
                raise RuntimeError("nothing will ever happen again: everything waits for something else")
        if not ready and timeout is not None and timeout > 0:
            self.loop.virtual += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Asyncio's own loop in virtual seconds. Nothing in it may wait for the outside world."""

    def __init__(self) -> None:
        self.virtual = 1000.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.virtual

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Without the deadline that Python 3.12 and later pass: it would be over before a thread has ended."""
        await super().shutdown_default_executor()


def run(work: Awaitable[Any]) -> Any:
    """Run a coroutine to its end in virtual time."""

    async def ended() -> Any:
        return await work

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(ended())


class VirtualTransport(asyncio.Transport):
    """The transport of one connection and the server behind it. Answers arrive `latency` virtual seconds later."""

    def __init__(self, link: Link, streams: int, answers: Answers, latency: float) -> None:
        super().__init__()
        self._link = link
        self._answers = answers
        self._latency = latency
        config = Configuration(max_deflate_dynamic_table_size=0, stream_reset_rate_limit=(1 << 30, 1 << 30))
        self._h2 = Connection(Role.SERVER, config)
        self._h2.initiate_connection(
            {Setting.MAX_CONCURRENT_STREAMS: streams, Setting.INITIAL_WINDOW_SIZE: 1 << 24}
        )
        self._h2.set_local_window_size(1 << 30)
        self._requests: dict[int, tuple[dict[str, str], bytearray]] = {}
        self._closed = False
        self._greeted = False  # until then, what the server says is not delayed
        self._loop = asyncio.get_running_loop()
        link.connection_made(self)
        greeting = self._h2.data_to_send()
        self._greeted = True
        link.data_received(greeting)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.call_soon(self._link.connection_lost, None)

    abort = close

    def write(self, data: Any) -> None:
        self._h2.receive_data(bytes(data))
        for event in self._h2.events():
            if isinstance(event, RequestReceived):
                headers = {bytes(name).decode(): bytes(value).decode() for name, value in event.headers}
                self._requests[event.stream_id] = headers, bytearray()
            elif isinstance(event, DataReceived):
                self._requests[event.stream_id][1].extend(event.data)
            if isinstance(event, RequestReceived | DataReceived) and event.end_stream:
                self._respond(event.stream_id)
        if self._greeted and (out := self._h2.data_to_send()):
            self._loop.call_later(self._latency, self._deliver, out)

    def _respond(self, stream: int) -> None:
        fields, sent = self._requests.pop(stream)
        status, headers, body = self._answers(fields, bytes(sent))
        for start, name in IDS.items():  # as Apple's server does
            if fields[":path"].startswith(start):
                headers = {name: fields.get(name, ID), **headers}
                headers = {other: value for other, value in headers.items() if value or other != name}
        block = [(":status", str(status)), *headers.items()]
        self._h2.send_response(stream, [(a.encode(), b.encode()) for a, b in block], end_stream=not body)
        if body:
            self._h2.send_data(stream, body, end_stream=True)

    def _deliver(self, data: bytes) -> None:
        if not self._closed:
            self._link.data_received(data)


def connect_to(
    monkeypatch: pytest.MonkeyPatch, answers: Answers, *, streams: int = 1000, latency: float = 0.05
) -> None:
    """Connect every new connection of a pool to such a server."""
    connect_each_to(monkeypatch, lambda: answers, streams=streams, latency=latency)


def connect_each_to(
    monkeypatch: pytest.MonkeyPatch,
    accept: Callable[[], Answers],
    *,
    streams: int = 1000,
    latency: float = 0.05,
) -> None:
    """The same for a server that remembers something of each connection: `accept` makes what answers on one."""

    async def open_address(self: Dialer, attempt: Attempt, seconds: float) -> Link:
        link = self.new_link()
        VirtualTransport(link, streams, accept(), latency)
        await link.ready
        return link

    async def addresses(*_: Any, **__: Any) -> Any:
        return [(0, 0, 0, "", ("192.0.2.1", 443))]

    monkeypatch.setattr(Dialer, "_open_address", open_address)
    monkeypatch.setattr(asyncio.SelectorEventLoop, "getaddrinfo", addresses)
