"""Types that the files of `serving` share: requests and responses, limits, protocols.

It imports no other file of theirs: what a connection, its server, the listener and a fault plan need of each other is here.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from fakeservers.serving.latency import Latency

Header: TypeAlias = tuple[bytes, bytes]
Request: TypeAlias = tuple[int, Sequence[Header], bytes]
"""Stream id, headers beginning with the pseudo-headers, body (see `ServerLimits.max_body`)."""
Answer: TypeAlias = tuple[int, Sequence[Header], bytes]
"""Stream id, headers beginning with `:status`, body (may be empty)."""
Handler: TypeAlias = Callable[[list[Request]], Sequence[Answer]]
"""Takes the complete requests of one read and returns responses; others may follow by `ServerConnection.after`."""
Settings: TypeAlias = Mapping[int, int]

# Identifiers of settings (RFC 9113, 6.5.2)
HEADER_TABLE_SIZE = 0x1
MAX_CONCURRENT_STREAMS = 0x3
INITIAL_WINDOW_SIZE = 0x4
MAX_FRAME_SIZE = 0x5
MAX_HEADER_LIST_SIZE = 0x6

# Error codes (RFC 9113, 7)
PROTOCOL_ERROR = 0x1
INTERNAL_ERROR = 0x2
REFUSED_STREAM = 0x7
ENHANCE_YOUR_CALM = 0xB

HIGHEST = 0x7FFFFFFF
"""The highest stream id."""

DEFAULT_WINDOW = 65_535
"""The connection window that every HTTP/2 connection starts with (RFC 9113, 6.9.2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerLimits:
    """Limits of one client, or of all clients together."""

    max_connections: int = 1024
    """Open connections; further ones are cut before their first byte is read."""
    max_body: int = 8192
    """Bytes. A longer body reaches the handler truncated, to more bytes than this."""
    max_header_list: int = 16_384
    """Bytes of one request's headers, counted as in RFC 9113, 6.5.2; a longer list ends the connection."""
    max_buffered: int = 1_048_576
    """Bytes of unread responses after which the peer's requests are no longer read."""
    resets: tuple[int, int] = (1000, 33)
    """Open requests that a client may reset: a burst, and a number per second (CVE-2023-44487, "rapid reset")."""
    handshake_timeout: float = 10.0
    """Seconds."""


# How a plan receives a connection. The classes in `fakeservers.faults.actions` document the fields.


class ConnectFault(Protocol):
    """A fault before TLS."""

    @property
    def how(self) -> str: ...
    @property
    def seconds(self) -> float: ...


class TlsFault(Protocol):
    """A fault of the handshake."""

    @property
    def how(self) -> str: ...


class SlowFault(Protocol):
    """Bytes are sent slowly."""

    @property
    def bytes(self) -> int: ...
    @property
    def seconds(self) -> float: ...


class TruncateFault(Protocol):
    """The connection is cut after a number of bytes."""

    @property
    def bytes(self) -> int: ...
    @property
    def how(self) -> str: ...


class WindowFault(Protocol):
    """The flow-control credit that a client gets."""

    @property
    def stream(self) -> int | None: ...
    @property
    def drip(self) -> int: ...
    @property
    def seconds(self) -> float: ...


class ShapeFault(Protocol):
    """How responses are divided into frames."""

    @property
    def fragment(self) -> int: ...
    @property
    def pad(self) -> int: ...
    @property
    def continuation(self) -> int: ...
    @property
    def empty(self) -> int: ...
    @property
    def table(self) -> int | None: ...
    @property
    def huffman(self) -> bool: ...
    @property
    def priority(self) -> bool: ...


@dataclass(slots=True)
class ConnectionFaults:
    """How one connection is received. None stands for default behaviour."""

    number: int
    """1 for the first connection that reached the port."""
    connect: ConnectFault | None = None
    tls: TlsFault | None = None
    slow: SlowFault | None = None
    truncate: TruncateFault | None = None
    greeting: dict[int, int] = field(default_factory=dict)
    window: WindowFault | None = None
    shape: ShapeFault | None = None
    wire: bool = False
    """Whether the connection runs on `wire`."""


class ServerConnection(Protocol):
    """A connection over any protocol, for handlers and fault plans."""

    id: int
    number: int
    """1 for the first connection that reached the port, whatever became of it."""
    entry: ConnectionFaults | None
    """How it was received; None without a fault."""
    sock: socket.socket | None
    """The socket below TLS."""

    @property
    def version(self) -> str:
        """Of HTTP: `2` or `1.1`."""

    @property
    def waiting(self) -> int:
        """Number of open requests."""

    @property
    def handler(self) -> Callable[[Any], Any]:
        """The handler of its requests."""

    def after(self, seconds: float, answers: Sequence[Answer]) -> None:
        """Send these responses after this number of seconds, unless their streams are closed by then."""

    def give(self, answers: Sequence[Answer]) -> None:
        """Send these responses at once."""

    def forget(self, stream_id: int) -> None:
        """Never respond to this request."""

    def reset(self, stream_id: int, error_code: int) -> None:
        """Reset the stream of one request; over HTTP/1.1 the connection is cut."""

    def goaway(self, error_code: int = 0, *, last_stream_id: int | None = None, debug: bytes = b"") -> None:
        """Send GOAWAY: respond to requests up to `last_stream_id`, then close."""

    def abort(self) -> None:
        """Cut the connection."""

    def cut(self, how: str) -> None:
        """End the connection without GOAWAY or close_notify: by `reset`, `close` or in mid-`frame`."""

    def mute(self, *, eof: bool = False) -> None:
        """Answer and acknowledge nothing any more; `eof` sends a FIN first."""


class FaultSource(Protocol):
    """A fault plan in force on one server: `fakeservers.faults.inject.Injector`."""

    @property
    def may_refuse(self) -> bool:
        """Whether the plan has faults that refuse connections."""

    def refuses(self) -> bool:
        """Whether the port refuses connections now."""

    def entry(self, number: int) -> ConnectionFaults | None:
        """How to receive the n-th connection; None for default behaviour."""

    def forget(self, number: int) -> None:
        """Forget a connection that has ended."""

    def answer(self, peer: ServerConnection, handler: Handler, requests: list[Request]) -> Sequence[Answer]:
        """The responses to these requests, the handler's and those of faults."""


@dataclass(slots=True)
class ServerCounters:
    """Counters of one listener since its start or its last reset."""

    connections_accepted: int = 0
    """Connections that were admitted."""
    requests: int = 0
    """Complete requests."""
    connections_refused: int = 0
    """Connections beyond the limit."""
    connections_turned_away: int = 0
    """Connections that a fault refused before TLS: reset, closed, silent, plain."""
    handshakes_failed: int = 0
    """Connections whose TLS handshake failed."""
    streams_reset_by_client: int = 0
    """Streams that clients reset."""
    streams_over_limit: int = 0
    """Streams beyond the limit, reset with REFUSED_STREAM."""
    streams_refused: int = 0
    """Streams within the limit, reset with REFUSED_STREAM."""
    streams_reset_by_server: int = 0
    """Streams that were reset with another code."""
    goaways: int = 0
    """GOAWAYs that were sent, announcements apart."""
    goaway_unprocessed: int = 0
    """Requests above the last stream id of one, begun and not processed."""
    goaways_received: int = 0
    """GOAWAYs of clients."""
    protocol_errors: int = 0
    """Connections that were ended for protocol errors."""


class Server(Protocol):
    """What a connection needs of the server that it belongs to."""

    settings: Settings
    window: int
    delay: float
    limits: ServerLimits
    latency: Latency
    faults: FaultSource | None
    validates_frames: bool
    counters: ServerCounters

    def open_handler(self, peer: Any, /) -> Handler:
        """The handler of a new connection, which may change `peer.settings`."""

    def admit(self, peer: Any, /) -> bool:
        """Register a connection; False when there are too many."""

    def dismiss(self, peer: Any, /) -> None:
        """Remove a connection."""

    def hands_over(self, peer: Any, transport: Any, /) -> bool:
        """Replace the protocol of a connection, if the client asked for another one. Returns whether it did."""


def count_reset(counters: ServerCounters, error_code: int) -> None:
    """Count an RST_STREAM that a fault or a fate caused."""
    if error_code == REFUSED_STREAM:
        counters.streams_refused += 1
    else:
        counters.streams_reset_by_server += 1
