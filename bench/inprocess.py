"""A transport that answers inside the process, so that a sender is measured without a server. `python -m bench.inprocess send …`.

It stands in the place of TLS and wire for `pushcore`'s own command line. Requests are parsed as far as their frame
headers, as their length and end must be known; each is answered with 200 at the loop's next turn. Two cores cannot also hold a server:
this is how to see what two processes do on them.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from typing import Any, Final

from pushcore.cli.main import main
from pushcore.http2.pool import Pool
from pushcore.http2.protocol import Link

URL: Final = "https://127.0.0.1:1"
"""What `--apns-url` must say: an address that nobody has to be asked for."""

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_STREAMS: Final = 1000
_LARGEST: Final = (1 << 31) - 1
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW = 0, 1, 4, 6, 8
_END_STREAM, _ACK = 1, 1
_HEADER: Final = struct.Struct(">HBBBI")  # length in 16 and 8 bits, type, flags, stream


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _HEADER.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


_HELLO: Final = _frame(_SETTINGS, 0, 0, struct.pack(">HIHI", 3, _STREAMS, 4, _LARGEST >> 8)) + _frame(
    _WINDOW, 0, 0, struct.pack(">I", _LARGEST - 65_535)
)
_OK: Final = b"\0\0\1\1\5"  # HEADERS with END_STREAM and END_HEADERS; its block is \x88, 200
_FIRST: Final = b"\0\0\2\1\5"  # the first one says before that that the header table is empty: \x20\x88


class Answering(asyncio.Transport):
    """The transport of one connection, and the server behind it."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._out: list[bytes] = []
        self._due = False
        self._answered = False
        self._closed = False
        link.connection_made(self)
        link.data_received(_HELLO)

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
                    out.append(_OK + stream.to_bytes(4) + b"\x88" if self._answered else self._first(stream))
            elif kind in (_SETTINGS, _PING) and not flags & _ACK:
                out.append(_frame(kind, _ACK, 0, raw[at + _HEADER.size : next_at] if kind == _PING else b""))
            at = next_at
        self._rest = raw[at:]
        if out and not self._due:
            self._due = True
            self._loop.call_soon(self._deliver)

    def _first(self, stream: int) -> bytes:
        self._answered = True
        return _FIRST + stream.to_bytes(4) + b"\x20\x88"

    def _deliver(self) -> None:
        self._due = False
        out, self._out = b"".join(self._out), []
        if not self._closed:
            self._link.data_received(out)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """There is nothing to know."""
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered."""

    def is_closing(self) -> bool:
        """Whether it has been closed."""
        return self._closed

    def close(self) -> None:
        """As a socket is closed."""
        if not self._closed:
            self._closed = True
            self._loop.call_soon(self._link.connection_lost, None)

    abort = close


async def _open(self: Pool, address: str, patience: float) -> Link:
    link = Link(self._new_connection(self.limits, self._loop.time()), self._on_progress)
    Answering(link)
    await link.ready
    self.links.append(link)
    self._arm()
    return link


if __name__ == "__main__":
    Pool._open_address = _open  # type: ignore[method-assign]
    sys.exit(main())
