"""A transport that responds inside the process: it measures a sender without a server. `python -m bench.inprocess send …`.

It replaces TLS and the network under `pushcore`'s command line. Only the frame headers of requests are parsed, for
their length and end; each request gets a 200 in the loop's next turn. On two cores there is no room for a server beside two
processes, so these are measured here. Nothing in it depends on the machine's speed, so `bench.counting` counts a push's
allocations with it.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from typing import Any, ClassVar, Final

from pushcore.http2.dialer import Attempt, Dialer
from pushcore.http2.protocol import Link

APNS_URL: Final = "https://127.0.0.1:1"
FCM_URL: Final = "https://127.0.0.1:2"
OAUTH_URL: Final = "https://127.0.0.1:3/token"
"""Settings of a client without a server: addresses without name resolution, each with its own responses."""

_STREAMS: Final = {1: 1000, 2: 100, 3: 1}
"""By port: requests at a time, as the providers allow."""
_BODIES: Final = {
    1: b"",
    2: b'{\n  "name": "projects/fake-project/messages/0:1700000000000000%31bd1c9631bd1c96"\n}\n',
    3: b'{"access_token":"ya29.inprocess","expires_in":3599,"token_type":"Bearer"}',
}
"""By port: what stands in an answer."""
_FIRST: Final = b"\x20\x88\x00\x07apns-id\x24eabeae54-14a8-11e5-b60b-1697f925ec7b"
"""The header block of the first answer: that the header table is empty, 200, and an id, for which a client looks once."""

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_LARGEST: Final = (1 << 31) - 1
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW = 0, 1, 4, 6, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_HEADER: Final = struct.Struct(">HBBBI")  # length in 16 and 8 bits, type, flags, stream


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _HEADER.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


def _hello(port: int) -> bytes:
    """SETTINGS, and the largest window."""
    settings = struct.pack(">HIHI", 3, _STREAMS[port], 4, _LARGEST >> 8)
    return _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW, 0, 0, struct.pack(">I", _LARGEST - 65_535))


class AnsweringTransport(asyncio.Transport):
    """The transport of one connection, and the server behind it. While `holding` is set, no transport responds."""

    holding: ClassVar[bool] = False

    def __init__(self, link: Link, port: int) -> None:
        super().__init__()
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._out: list[bytes] = []
        self._due = False
        self._closed = False
        body = _BODIES[port]
        # An answer: length and all else of HEADERS but its stream, its block, and the same of DATA.
        flags = _END_HEADERS if body else _END_HEADERS | _END_STREAM
        self._first, self._head = (_start(length, _HEADERS, flags) for length in (len(_FIRST), 1))
        self._answered = False
        self._data = _start(len(body), _DATA, _END_STREAM) if body else b""
        self._body = body
        live.append(self)
        link.connection_made(self)
        link.data_received(_hello(port))

    def write(self, data: Any) -> None:
        """Called by the link."""
        raw = bytes(data)
        if self._rest:
            raw = self._rest + raw
        at = len(_PREFACE) if raw.startswith(_PREFACE) else 0
        end, unpack, out = len(raw), _HEADER.unpack_from, self._out
        while end - at >= _HEADER.size:
            high, low, kind, flags, stream = unpack(raw, at)
            next_at = at + _HEADER.size + (high << 8 | low)
            if next_at > end:
                break
            if kind <= _HEADERS:
                if flags & _END_STREAM:
                    out.append(self._answer(stream.to_bytes(4)))
            elif kind in (_SETTINGS, _PING) and not flags & _ACK:
                out.append(_frame(kind, _ACK, 0, raw[at + _HEADER.size : next_at] if kind == _PING else b""))
            at = next_at
        self._rest = raw[at:]
        if out and not self._due:
            self._due = True
            self._loop.call_soon(self.deliver)

    def _answer(self, stream: bytes) -> bytes:
        # \x88 is 200.
        head = self._head + stream + b"\x88" if self._answered else self._first + stream + _FIRST
        self._answered = True
        return head + self._data + stream + self._body if self._data else head

    def deliver(self) -> None:
        """Send the waiting responses, unless they are held."""
        if self.holding:
            return
        self._due = False
        out, self._out = b"".join(self._out), []
        if out and not self._closed:
            self._link.data_received(out)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """No information: always the default."""
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered."""

    def is_closing(self) -> bool:
        """Whether the transport has been closed."""
        return self._closed

    def close(self) -> None:
        """Close the transport, as a socket is closed."""
        if not self._closed:
            self._closed = True
            live.remove(self)
            self._loop.call_soon(self._link.connection_lost, None)

    abort = close


live: Final[list[AnsweringTransport]] = []
"""Those that are open."""


def hold() -> None:
    """Respond to nothing until `release`."""
    AnsweringTransport.holding = True


def release() -> None:
    """Send the held responses, and respond to everything from now on."""
    AnsweringTransport.holding = False
    for transport in live.copy():
        transport.deliver()


def _start(length: int, kind: int, flags: int) -> bytes:
    """A frame's header without its stream."""
    return length.to_bytes(3) + bytes((kind, flags))


async def _open(self: Dialer, attempt: Attempt, seconds: float) -> Link:
    link = self.new_link()
    AnsweringTransport(link, self.port)
    await link.ready
    return link


def install() -> None:
    """From now on all connections of this process use this transport."""
    Dialer._open_address = _open  # type: ignore[method-assign]  # in the place of the wire, in this process alone


if __name__ == "__main__":
    from pushcore.cli.main import main

    install()
    sys.exit(main())
