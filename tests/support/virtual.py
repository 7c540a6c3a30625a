"""Hours in seconds: an event loop whose clock jumps to the next timer, and a provider that answers inside the process.

The whole sender is the real one, from the engine down to the frames; only the TLS transport is replaced by `VirtualTransport`, which
python-hyper's hpack and hyperframe read.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import hpack
import pytest
from hyperframe.frame import DataFrame, Frame, HeadersFrame, PingFrame, SettingsFrame, WindowUpdateFrame

from pushcore.http2.dialer import Attempt, Dialer
from pushcore.http2.protocol import Link

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

FRAME = 16_384
"""Bytes of one DATA frame."""
THREADS = 5.0
"""Real seconds that a thread, such as a journal's, may take for what nothing else is waited for."""

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""
Answers = Callable[[dict[str, str], bytes], Answer]
"""What to answer to a request's headers and body."""


class _Selector(selectors.SelectSelector):
    """Where others wait for the time that they are given, this one lets it pass."""

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


def run(work: Awaitable[Any]) -> Any:
    """Run to its end in virtual time."""

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
        self._decoder, self._encoder = hpack.Decoder(), hpack.Encoder()
        self._encoder.header_table_size = 0  # the client announces it; the first block then says so
        self._rest = b""
        self._fields: dict[int, dict[str, str]] = {}
        self._bodies: defaultdict[int, bytes] = defaultdict(bytes)
        self._closed = False
        self._loop = asyncio.get_running_loop()
        link.connection_made(self)
        settings = SettingsFrame(0, settings={3: streams, 4: 1 << 24})
        grant = WindowUpdateFrame(0, window_increment=1 << 30)
        link.data_received(settings.serialize() + grant.serialize())

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
        raw = (self._rest + bytes(data)).removeprefix(PREFACE)
        out = b""
        while len(raw) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(raw[:9]))
            if len(raw) < 9 + length:
                break
            frame.parse_body(memoryview(raw[9 : 9 + length]))
            raw = raw[9 + length :]
            out += self._on_frame(frame)
        self._rest = raw
        if out:
            self._loop.call_later(self._latency, self._deliver, out)

    def _deliver(self, data: bytes) -> None:
        if not self._closed:
            self._link.data_received(data)

    def _on_frame(self, frame: Frame) -> bytes:
        stream = frame.stream_id
        if isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            return PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize()
        if isinstance(frame, HeadersFrame):
            decoded = self._decoder.decode(frame.data)
            self._fields[stream] = {str(name): str(value) for name, value in decoded}
        elif isinstance(frame, DataFrame):
            self._bodies[stream] += frame.data
        if not isinstance(frame, HeadersFrame | DataFrame) or "END_STREAM" not in frame.flags:
            return b""
        status, headers, body = self._answers(self._fields.pop(stream), self._bodies.pop(stream, b""))
        block = self._encoder.encode([(":status", str(status)), *headers.items()])
        head = HeadersFrame(stream, block, flags=["END_HEADERS"])
        if not body:
            head.flags.add("END_STREAM")
            return head.serialize()
        pieces = [body[at : at + FRAME] for at in range(0, len(body), FRAME)]
        frames = [DataFrame(stream, piece) for piece in pieces]
        frames[-1].flags.add("END_STREAM")
        return head.serialize() + b"".join(frame.serialize() for frame in frames)


def connect_to(
    monkeypatch: pytest.MonkeyPatch, answers: Answers, *, streams: int = 1000, latency: float = 0.05
) -> None:
    """Every connection that a pool opens from now on leads to such a server."""
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
