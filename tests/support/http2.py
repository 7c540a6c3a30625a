"""A client connection and its servers, in memory: all tests of the protocol use them.

`ClientHarness` drives either engine and checks what must always be true: each exchange ends exactly once, the output is frames
that the peer accepts, and a closed connection keeps nothing. `UncheckedServer` sends whatever the test wants, by hyperframe and
hpack; `HonestServer` is python-hyper/h2, for everything that is legal.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack
from hyperframe.frame import Frame, GoAwayFrame, RstStreamFrame, SettingsFrame

from pushcore.errors import ConnectionLost, ProtocolError
from pushcore.http2.connection import Connection
from pushcore.http2.exchange import Exchange, request
from pushcore.http2.headers import Field, HeaderTemplate
from pushcore.http2.reference import ReferenceConnection
from pushcore.http2.streams import ConnectionState, Limits

ENGINES: dict[str, type[Connection] | type[ReferenceConnection]] = {
    "fast": Connection,
    "reference": ReferenceConnection,
}
DELIVERIES = ("whole", "bytes")

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0x0, 0x1, 0x2, 0x3, 0x4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0x5, 0x6, 0x7, 0x8, 0x9

END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITY_FLAG = 0x4, 0x8, 0x20

TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME, MAX_LIST = 1, 2, 3, 4, 5, 6

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT = 0, 1, 2, 3, 4
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 5, 6, 7, 8, 9
CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY, HTTP_1_1_REQUIRED = 0xA, 0xB, 0xC, 0xD

TEMPLATE = HeaderTemplate(
    [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", b"push.example"),
        (b"apns-topic", b"com.example.app"),
    ]
)


# --- frames, by the layout of RFC 9113 alone ----------------------------------------------------------------------


def frame(kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream_id) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *pair) for pair in pairs))


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, struct.pack(">I", increment))


def rst_stream(stream_id: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream_id, struct.pack(">I", code))


def goaway(last: int, code: int = NO_ERROR, debug: bytes = b"") -> bytes:
    return frame(GOAWAY, payload=struct.pack(">II", last, code) + debug)


def ping(opaque: bytes = b"12345678", flags: int = 0) -> bytes:
    return frame(PING, flags, 0, opaque)


def data(stream_id: int, body: bytes = b"", flags: int = END_STREAM) -> bytes:
    return frame(DATA, flags, stream_id, body)


SETTINGS_ACK = frame(SETTINGS, ACK)


def parse(raw: bytes) -> Iterator[Any]:
    """Whole frames, by hyperframe; anything else is an error of the sender."""
    while raw:
        parsed, length = Frame.parse_frame_header(memoryview(raw[:9]))
        assert len(raw) >= 9 + length, "the last frame is cut short"
        parsed.parse_body(memoryview(raw[9 : 9 + length]))
        parsed.body_len = length
        yield parsed
        raw = raw[9 + length :]


# --- the client ---------------------------------------------------------------------------------------------------


class ClientHarness:
    """One connection of either engine. `finished` and `refused` have the ended exchanges so far, in order."""

    def __init__(self, engine: str = "fast", delivery: str = "whole", limits: Limits | None = None) -> None:
        self.fast = engine == "fast"
        self.delivery = delivery
        self.now = 0.0
        self.connection = ENGINES[engine](limits or Limits(), self.now)
        self.opened: list[Exchange] = []
        self.finished: list[Exchange] = []
        self.refused: list[Exchange] = []
        self.preface_seen = False

    # requests

    def offer(
        self,
        body: bytes = b"{}",
        own_fields: tuple[Field, ...] = (),
        *,
        template: HeaderTemplate = TEMPLATE,
        path: bytes = b"/3/device/abc",
        deadline: float = float("inf"),
    ) -> Exchange | None:
        """A request, or None if the connection cannot take it now."""
        exchange = request(template, path, body, own_fields, lambda _: None, None, deadline)
        waiting = deque([exchange])
        self.connection.take(waiting)
        if waiting:
            return None
        self.opened.append(exchange)
        self.collect()
        return exchange

    def request(
        self,
        body: bytes = b"{}",
        own_fields: tuple[Field, ...] = (),
        *,
        template: HeaderTemplate = TEMPLATE,
        path: bytes = b"/3/device/abc",
        deadline: float = float("inf"),
    ) -> Exchange:
        exchange = self.offer(body, own_fields, template=template, path=path, deadline=deadline)
        assert exchange is not None, "the connection took no request"
        return exchange

    # what goes in and comes out

    def feed(self, *raw: bytes) -> ClientHarness:
        received = b"".join(raw)
        pieces: Iterable[bytes] = [received]
        if self.delivery == "bytes":
            pieces = [received[at : at + 1] for at in range(len(received))]
        for piece in pieces:
            self.connection.receive(piece, self.now)
        self.collect()
        return self

    def tick(self, now: float) -> ClientHarness:
        self.now = now
        self.connection.tick(now)
        self.collect()
        return self

    def output(self) -> bytes:
        """The output, without the preface."""
        raw = self.connection.data_to_send()
        if raw and not self.preface_seen:
            assert raw.startswith(PREFACE), "the connection does not begin with the preface"
            raw = raw[len(PREFACE) :]
            self.preface_seen = True
        return raw

    def sent(self) -> list[Any]:
        """The frames of the output."""
        return list(parse(self.output()))

    def collect(self) -> None:
        """Collect the ended exchanges, and check what must be true after every call."""
        connection = self.connection
        self.finished += connection.finished
        self.refused += connection.refused
        connection.finished.clear()
        connection.refused.clear()
        ended = [id(exchange) for exchange in self.finished + self.refused]
        assert len(ended) == len(set(ended)), "an exchange ended twice"
        assert not set(ended) & {id(exchange) for exchange in connection.streams.values()}
        assert set(ended) <= {id(exchange) for exchange in self.opened}, (
            "something ended that nobody asked for"
        )
        assert all(exchange.error is not None for exchange in self.refused)
        if connection.state is ConnectionState.CLOSED:
            assert not connection.streams
            assert connection.capacity == 0
            assert connection.error is not None

    # what it came to

    @property
    def state(self) -> ConnectionState:
        return self.connection.state

    def open_ids(self) -> list[int]:
        return list(self.connection.streams)

    def check_alive(self) -> None:
        """Check that the connection is alive: a new request gets a response."""
        assert self.state in (ConnectionState.OPEN, ConnectionState.DRAINING), self.connection.error

    def check_broken(self, code: int, reference: int | None = None) -> None:
        """Closed because the peer broke the protocol, with GOAWAY and this code.

        `reference` is the code that python-hyper/h2 prefers, where the RFC leaves a choice.
        """
        expected = code if self.fast or reference is None else reference
        assert self.state is ConnectionState.CLOSED
        error = self.connection.error
        assert isinstance(error, ProtocolError), error
        assert error.code == expected, error
        goaways = [parsed for parsed in self.sent() if isinstance(parsed, GoAwayFrame)]
        assert [parsed.error_code for parsed in goaways] == [expected]
        self.collect()

    def check_stream_error(self, exchange: Exchange, code: int, reference_closes: int | None = None) -> None:
        """This exchange alone ended by a breach, with RST_STREAM and this code.

        `reference_closes`: python-hyper/h2 makes it an error of the connection, as section 5.4.1 allows.
        """
        if not self.fast and reference_closes is not None:
            self.check_broken(reference_closes)
            assert exchange in self.finished + self.refused
            return
        assert exchange in self.finished
        assert isinstance(exchange.error, ProtocolError), exchange.error
        self.check_alive()
        assert exchange.error.code == code
        resets = [parsed for parsed in self.sent() if isinstance(parsed, RstStreamFrame)]
        assert [(parsed.stream_id, parsed.error_code) for parsed in resets] == [(exchange.stream_id, code)]


@dataclass
class Dial:
    """Makes clients of one engine and one delivery; a test that uses it runs once for each of the four."""

    engine: str
    delivery: str
    clients: list[ClientHarness] = field(default_factory=list)

    @property
    def fast(self) -> bool:
        return self.engine == "fast"

    def __call__(
        self, *pairs: tuple[int, int], limits: Limits | None = None, started: bool = True
    ) -> ClientHarness:
        """A client whose peer has sent SETTINGS with these pairs; not `started`, one that has heard nothing."""
        client = ClientHarness(self.engine, self.delivery, limits)
        self.clients.append(client)
        if started:
            client.sent()
            client.feed(settings(*pairs))
            client.sent()
        return client


# --- servers ------------------------------------------------------------------------------------------------------


class UncheckedServer:
    """A server that checks nothing: header blocks by hpack, requests by hyperframe and hpack."""

    def __init__(self, table_size: int = 0) -> None:
        self.encoder = hpack.Encoder()
        self.encoder.header_table_size = table_size
        self.decoder = hpack.Decoder()

    def block(self, *fields: tuple[str, str]) -> bytes:
        return self.encoder.encode(fields)

    def headers(
        self, stream_id: int, *fields: tuple[str, str], flags: int = END_HEADERS | END_STREAM
    ) -> bytes:
        return frame(HEADERS, flags, stream_id, self.block(*fields))

    def answer(
        self, stream_id: int, status: int = 200, body: bytes = b"", fields: tuple[tuple[str, str], ...] = ()
    ) -> bytes:
        """A whole response."""
        flags = END_HEADERS if body else END_HEADERS | END_STREAM
        head = self.headers(stream_id, (":status", str(status)), *fields, flags=flags)
        return head + (data(stream_id, body) if body else b"")

    def requests(self, sent: Iterable[Any]) -> dict[int, ServerRequest]:
        """The requests in these frames, each with its fields and as much of its body as there is."""
        requests: dict[int, ServerRequest] = {}
        block = b""
        for parsed in sent:
            match type(parsed).__name__:
                case "HeadersFrame" | "ContinuationFrame":
                    request = requests.setdefault(parsed.stream_id, ServerRequest())
                    block += parsed.data
                    request.ended |= "END_STREAM" in parsed.flags
                    if "END_HEADERS" in parsed.flags:
                        request.fields = [
                            (name, value) for name, value in self.decoder.decode(block, raw=True)
                        ]
                        block = b""
                case "DataFrame":
                    request = requests.setdefault(parsed.stream_id, ServerRequest())
                    request.pieces.append(parsed.data)
                    request.ended |= "END_STREAM" in parsed.flags
        return requests


@dataclass
class ServerRequest:
    """One request, as a server sees it."""

    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    ended: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


class HonestServer:
    """An honest server: python-hyper/h2, which raises when the client breaks a rule."""

    def __init__(self, pairs: dict[int, int] | None = None) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        if pairs:
            self.h2.local_settings = h2.settings.Settings(
                client=False,
                initial_values={h2.settings.SettingCodes(key): value for key, value in pairs.items()},
            )
            self.h2.decoder.max_allowed_table_size = pairs.get(TABLE_SIZE, 4096)
        self.h2.initiate_connection()
        self.requests: dict[int, ServerRequest] = {}
        self.events: list[h2.events.Event] = []

    def receive(self, raw: bytes) -> None:
        for event in self.h2.receive_data(raw):
            self.events.append(event)
            stream_id = getattr(event, "stream_id", None) or 0
            match event:
                case h2.events.RequestReceived(headers=headers):
                    self.requests[stream_id] = ServerRequest([(name, value) for name, value in headers or []])
                case h2.events.DataReceived(data=piece, flow_controlled_length=length):
                    self.requests[stream_id].pieces.append(piece or b"")
                    self.consumed(stream_id, length or 0)
                case h2.events.StreamEnded():
                    self.requests[stream_id].ended = True

    def consumed(self, stream_id: int, length: int) -> None:
        """Give back the credit for a body; a stingy server overrides it."""
        if length:
            self.h2.acknowledge_received_data(length, stream_id)

    def answer(
        self, stream_id: int, status: int = 200, body: bytes = b"", fields: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self.h2.send_headers(stream_id, [(":status", str(status)), *fields], end_stream=not body)
        if body:
            self.h2.send_data(stream_id, body, end_stream=True)

    def of(self, kind: type[h2.events.Event]) -> list[h2.events.Event]:
        return [event for event in self.events if isinstance(event, kind)]


def converse(client: ClientHarness, server: HonestServer) -> None:
    """Carry bytes both ways until neither side has output."""
    while True:
        raw = client.connection.data_to_send()
        if raw:
            client.preface_seen = True
            server.receive(raw)
        reply = server.h2.data_to_send()
        if reply:
            client.feed(reply)
        if not raw and not reply:
            return


def settings_of(sent: Iterable[Any]) -> list[SettingsFrame]:
    return [parsed for parsed in sent if isinstance(parsed, SettingsFrame)]


def only(sent: Iterable[Any], name: str) -> list[Any]:
    """The frames of one kind, named as the RFC names it, e.g. "DATA"."""
    class_names = {"DATA": "DataFrame", "HEADERS": "HeadersFrame", "RST_STREAM": "RstStreamFrame"}
    class_names |= {"PING": "PingFrame", "GOAWAY": "GoAwayFrame", "WINDOW_UPDATE": "WindowUpdateFrame"}
    class_names |= {"CONTINUATION": "ContinuationFrame", "SETTINGS": "SettingsFrame"}
    return [parsed for parsed in sent if type(parsed).__name__ == class_names[name]]


LOST = ConnectionLost("the connection was lost")
