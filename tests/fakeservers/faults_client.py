"""A client that sees every frame as it came: TLS and sockets of the standard library, header blocks by hpack."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import hpack

from fakeservers import FakeApns, FakeFcm
from tests.fakeservers.client import DEADLINE, PAYLOAD

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)


@dataclass(frozen=True)
class Frame:
    """One frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def context_for(fake: FakeApns | FakeFcm, alpn: Sequence[str] = ("h2",)) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=fake.ca_file)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def address_of(fake: FakeApns | FakeFcm) -> tuple[str, int]:
    host, port = fake.url.removeprefix("https://").rsplit(":", 1)
    return host, int(port)


class RawClient:
    """One connection, closed at the end of its `async with` block; every wait ends within `DEADLINE`."""

    def __init__(self, fake: FakeApns | FakeFcm, *, settings: dict[int, int] | None = None) -> None:
        self.fake = fake
        self.frames: list[Frame] = []
        self.data = b""
        """What was read and is no whole frame."""
        self.raw = b""
        """All that was read."""
        self.eof = False
        self.broken: Exception | None = None
        """How the connection ended, if not by EOF."""
        self._settings = settings or {}
        self._encoder = hpack.Encoder()
        self._next = 1
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        host, port = address_of(self.fake)
        async with asyncio.timeout(DEADLINE):
            self._reader, self._writer = await asyncio.open_connection(host, port, ssl=context_for(self.fake))
        payload = b"".join(
            key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in self._settings.items()
        )
        self.send(PREFACE + frame(SETTINGS, payload))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def request(self, headers: Sequence[tuple[str, str]], body: bytes = PAYLOAD) -> int:
        """Send one; the stream's number."""
        stream = self._next
        self._next += 2
        block = self._encoder.encode(list(headers))
        sent = frame(HEADERS, block, flags=4 if body else 5, stream=stream)
        self.send(sent + (frame(DATA, body, flags=1, stream=stream) if body else b""))
        return stream

    async def until(self, holds: Callable[[], bool]) -> None:
        """Read until `holds()`; the end of the connection ends it too."""
        async with asyncio.timeout(DEADLINE):
            while not holds() and not self.eof:
                await self._read()

    async def to_the_end(self) -> None:
        """Read until the connection ends."""
        await self.until(lambda: False)

    async def answer(self, stream: int) -> list[Frame]:
        """The frames of a stream, when its last has come."""
        await self.until(lambda: any(frame.stream == stream and _ends(frame) for frame in self.frames))
        return [frame for frame in self.frames if frame.stream == stream]

    def of(self, kind: int) -> list[Frame]:
        """Frames of one kind."""
        return [frame for frame in self.frames if frame.kind == kind]

    async def _read(self) -> None:
        try:
            data = await self._reader.read(65_536)
        except (OSError, ssl.SSLError) as error:
            self.broken, data = error, b""
        self.eof = not data
        self.data += data
        self.raw += data
        while len(self.data) >= 9:
            length = int.from_bytes(self.data[:3], "big")
            if len(self.data) < 9 + length:
                break
            head, payload = self.data[:9], self.data[9 : 9 + length]
            self.frames.append(Frame(head[3], head[4], int.from_bytes(head[5:9], "big"), payload))
            self.data = self.data[9 + length :]
            if head[3] == SETTINGS and not head[4]:
                self.send(frame(SETTINGS, flags=1))
            elif head[3] == PING and not head[4]:
                self.send(frame(PING, payload, flags=1))


def _ends(frame: Frame) -> bool:
    return frame.kind == RST_STREAM or (frame.kind in (DATA, HEADERS) and frame.flags & 1 == 1)


def settings_of(frame: Frame) -> dict[int, int]:
    """What a SETTINGS frame says."""
    payload = frame.payload
    return {
        int.from_bytes(payload[at : at + 2], "big"): int.from_bytes(payload[at + 2 : at + 6], "big")
        for at in range(0, len(payload), 6)
    }


def goaway_of(frame: Frame) -> tuple[int, int, bytes]:
    """Last stream id, code and debug data."""
    return (
        int.from_bytes(frame.payload[:4], "big"),
        int.from_bytes(frame.payload[4:8], "big"),
        frame.payload[8:],
    )


async def run(*command: str, stdin: bytes = b"") -> tuple[int, str]:
    """Exit code and output of a program."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(15):
        output, _ = await process.communicate(stdin)
    assert process.returncode is not None
    return process.returncode, output.decode(errors="replace")
