"""A conversation with a `Connection` in memory, written down as text: one line per frame, and its bytes below it.

    # words of the script
    > HEADERS 04 stream 1, 98 bytes     what the connection sends: type, flags, stream, length of the payload
      00ff…                             the payload in hexadecimal digits; "x83" behind a line: so many times
    < SETTINGS 00 stream 0, 6 bytes     what the peer sends
    = stream 1: 200                     how an exchange ended, or an error's class

`frames_of` reads such a text back.
"""

from __future__ import annotations

import itertools
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pushcore.http2.connection import Connection
from pushcore.http2.exchange import Exchange
from pushcore.http2.streams import Limits
from pushcore.requests import END, RequestBuilder
from pushcore.results import Result
from tests.golden.pushes import Case
from tests.support.http2 import PREFACE, UncheckedServer

NAMES: Final = (
    *("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS"),
    *("PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION"),
)
OURS: Final = ">"
THEIRS: Final = "<"
AUTHORIZATION: Final = "authorization"
_WIDTH: Final = 48  # bytes in a line


@dataclass(frozen=True, slots=True)
class Raw:
    """A frame: who sent it, and its bytes, those of the preface, or another value of `authorization`."""

    ours: bool
    kind: str
    stream_id: int
    data: bytes


class Talk:
    """A connection, the script's peer, and what they have said. Time is given, and stands still unless told."""

    def __init__(self, requests: RequestBuilder, authorization: bytes | None = None) -> None:
        self.lines: list[str] = []
        self.cases: list[Case] = []
        """All pushes that were given, in order."""
        self.connection = Connection(Limits(), 0.0)
        self.waiting: deque[Exchange] = deque()
        self._requests = requests
        self._wire = UncheckedServer()
        self._now = 0.0
        if authorization is not None:
            self.authorize(authorization)
        self._flush()

    # --- the script's words ---------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        self.lines.append(f"# {text}")

    def authorize(self, value: bytes) -> None:
        """The next requests carry this `authorization`."""
        self.note(f"{AUTHORIZATION} {value.decode()}")
        self.connection.authorize(value)

    def send(self, cases: Iterable[Case], deadline: float = 1e9) -> None:
        """Give pushes to the connection; what it cannot take now waits until it can."""
        given = list(cases)
        self.cases += given
        made: list[Exchange] = []
        refused: list[Result] = []
        kind = type(given[0].push)
        left = self._requests.build((case.push for case in given), kind, _sink, deadline, made, refused)
        assert left is END
        for result in refused:
            self.lines.append(f"= not a request: {result.verdict.name} {result.reason}")
        self.waiting += made
        self._flush()

    def peer(self, *frames: bytes) -> None:
        """The peer sends these frames in one piece."""
        raw = b"".join(frames)
        self._write_down(THEIRS, raw)
        self.connection.receive(raw, self._now)
        self._flush()

    def answer(self, stream_ids: Iterable[int], status: int = 200, body: bytes = b"") -> None:
        """The peer answers these streams."""
        self.peer(*(self._wire.answer(stream_id, status, body) for stream_id in stream_ids))

    def answer_all(self) -> None:
        """The peer answers whatever is open, until nothing waits."""
        while self.connection.streams:
            self.answer(list(self.connection.streams))

    def tick(self, now: float) -> None:
        """The clock says this."""
        self.note(f"{now:g} s")
        self._now = now
        self.connection.tick(now)
        self._flush()

    @property
    def text(self) -> str:
        """All that was said."""
        return "\n".join(self.lines) + "\n"

    # --- writing down ---------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        connection = self.connection
        self._collect()
        connection.take(self.waiting)
        raw = connection.data_to_send()
        if raw.startswith(PREFACE):
            self.lines += [f"{OURS} PREFACE", f"  {PREFACE.hex()}"]
            raw = raw[len(PREFACE) :]
        self._write_down(OURS, raw)
        self._collect()

    def _collect(self) -> None:
        connection = self.connection
        for exchange in connection.finished + connection.refused:
            error = exchange.error
            ended = str(exchange.status) if error is None else type(error).__name__
            end = ", not processed" if error is not None and error.unprocessed else ""
            self.lines.append(f"= stream {exchange.stream_id}: {ended}{end}")
        connection.finished.clear()
        connection.refused.clear()

    def _write_down(self, who: str, raw: bytes) -> None:
        while raw:
            length = int.from_bytes(raw[:3])
            kind, flags, stream_id = struct.unpack(">BBI", raw[3:9])
            self.lines.append(f"{who} {NAMES[kind]} {flags:02x} stream {stream_id}, {length} bytes")
            payload, raw = raw[9 : 9 + length], raw[9 + length :]
            assert len(payload) == length
            pieces = [payload[at : at + _WIDTH].hex() for at in range(0, length, _WIDTH)]
            for piece, same in itertools.groupby(pieces):
                count = len(list(same))
                self.lines.append(f"  {piece}" if count == 1 else f"  {piece} x{count}")


def _sink(finished: Any) -> None:
    raise AssertionError("nobody delivers here")


def frames_of(text: str) -> Iterator[Raw]:
    """The frames of a conversation's text, the preface first."""
    head: list[str] = []
    payload = ""
    for line in [*text.splitlines(), "# end"]:
        if line.startswith("  "):
            digits, _, count = line[2:].partition(" x")
            payload += digits * int(count or 1)
            continue
        if head:
            yield _raw(head, bytes.fromhex(payload))
        head = line.split() if line[0] in (OURS, THEIRS) else []
        payload = ""
        if line.startswith(f"# {AUTHORIZATION} "):
            yield Raw(True, AUTHORIZATION, 0, line.split(maxsplit=2)[2].encode())


def _raw(head: list[str], payload: bytes) -> Raw:
    who, kind = head[0] == OURS, head[1]
    if kind == "PREFACE":
        return Raw(who, kind, 0, payload)
    stream_id = int(head[4].rstrip(","))
    start = len(payload).to_bytes(3) + struct.pack(">BBI", NAMES.index(kind), int(head[2], 16), stream_id)
    assert int(head[5]) == len(payload), head
    return Raw(who, kind, stream_id, start + payload)
