"""A small HTTP/2 client on python-hyper/h2, to look at the fakes with other eyes than theirs."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self, cast

import h2.connection
import h2.events
import h2.settings
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from fakeservers import FakeApns, FakeFcm

DEADLINE = 5.0
DEVICE = "ab" * 32
FRAME = 16_384
PAYLOAD = b'{"aps":{"alert":"Hi"}}'


@dataclass
class Reply:
    """What came back on one stream."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    reset: int | None = None

    @property
    def reason(self) -> str:
        return str(json.loads(self.body)["reason"]) if self.body else ""


class _Connection(h2.connection.H2Connection):
    """h2 closes at a GOAWAY, though the streams up to its mark are still to be answered (RFC 9113, 6.8)."""

    def _receive_goaway_frame(self, frame: Any) -> Any:
        state = self.state_machine.state
        received = super()._receive_goaway_frame(frame)
        self.state_machine.state = state
        return received


class Client(asyncio.Protocol):
    """One connection. `request` sends, `reply` waits; every wait ends within `DEADLINE`."""

    def __init__(self) -> None:
        config = h2.config.H2Configuration(
            header_encoding="utf-8",
            # What is wrong with a request is for the server to find.
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = _Connection(config)
        self.transport: asyncio.Transport
        self.replies: dict[int, Reply] = {}
        self.ended: set[int] = set()
        self.settings: list[dict[int, int]] = []
        self.goaway: h2.events.ConnectionTerminated | None = None
        self.lost = False
        self._changed = asyncio.Event()

    @classmethod
    async def connect(cls, fake: FakeApns | FakeFcm, *, pem: str | None = None) -> Self:
        context = ssl.create_default_context(cafile=fake.ca_file)
        context.set_alpn_protocols(["h2"])
        if pem:
            context.load_cert_chain(pem)
        host, port = fake.url.removeprefix("https://").rsplit(":", 1)
        _, client = await asyncio.get_running_loop().create_connection(cls, host, int(port), ssl=context)
        return client

    async def __aenter__(self) -> Self:
        await self.until(lambda: bool(self.settings))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.transport.close()
        await self.until(lambda: self.lost)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.h2.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            self._take(event)
        self.flush()
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._changed.set()

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RemoteSettingsChanged():
                self.settings.append(
                    {int(code): item.new_value for code, item in event.changed_settings.items()}
                )
            case h2.events.ResponseReceived():
                reply = self.replies[event.stream_id]
                reply.headers = {str(name): str(value) for name, value in event.headers}
                reply.status = int(reply.headers[":status"])
            case h2.events.DataReceived():
                self.replies[event.stream_id].body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self.ended.add(event.stream_id)
            case h2.events.StreamReset():
                self.replies[event.stream_id].reset = int(event.error_code)
                self.ended.add(event.stream_id)
            case h2.events.ConnectionTerminated():
                self.goaway = event

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds()`."""
        async with asyncio.timeout(DEADLINE):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def greeted(self) -> None:
        """Wait for the server's SETTINGS, or the end of the connection."""
        await self.until(lambda: bool(self.settings) or self.lost)

    async def answered(self, streams: set[int]) -> None:
        """Wait for the end of these streams, or of the connection."""
        await self.until(lambda: self.lost or streams <= self.ended)

    @property
    def streams(self) -> int:
        """How many streams the server allows."""
        return self.h2.remote_settings.max_concurrent_streams

    def pretend_streams(self, limit: int) -> None:
        """Believe in another stream limit than the server's."""
        self.h2.remote_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = limit
        self.h2.remote_settings.acknowledge()

    def request(self, headers: list[tuple[str, str]], body: bytes = PAYLOAD) -> int:
        stream_id = self.h2.get_next_available_stream_id()
        self.replies[stream_id] = Reply()
        self.h2.send_headers(stream_id, headers, end_stream=not body)
        for at in range(0, len(body), FRAME):
            self.h2.send_data(stream_id, body[at : at + FRAME], end_stream=at + FRAME >= len(body))
        self.flush()
        return stream_id

    async def reply(self, stream_id: int) -> Reply:
        await self.until(lambda: stream_id in self.ended)
        return self.replies[stream_id]

    async def push(self, headers: list[tuple[str, str]], body: bytes = PAYLOAD) -> Reply:
        return await self.reply(self.request(headers, body))


async def soon(holds: Callable[[], bool]) -> None:
    """Let the loop run until `holds()`: for what the server does after the client has seen its part."""
    async with asyncio.timeout(DEADLINE):
        while not holds():
            await asyncio.sleep(0.001)


def provider_token(
    fake: FakeApns,
    *,
    issued: float | None = None,
    header: dict[str, Any] | None = None,
    claims: dict[str, Any] | None = None,
    key: ec.EllipticCurvePrivateKey | None = None,
    der: bool = False,
    encode: Callable[[bytes], bytes] = lambda raw: _base64(raw),
) -> str:
    """A JWT signed with the fake's key (or another), good unless told otherwise.

    Args:
        der: whether the signature is in DER, as openssl makes it, and not as JOSE wants it.
        encode: makes base64 of each part.
    """
    if key is None:
        with open(fake.key_file, "rb") as file:
            loaded = serialization.load_pem_private_key(file.read(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        key = loaded
    issued = int(time.time()) if issued is None else issued
    parts = (
        {"alg": "ES256", "kid": fake.key_id} | (header or {}),
        {"iss": fake.team_id, "iat": issued} | (claims or {}),
    )
    text = b".".join(encode(json.dumps(part).encode()) for part in parts)
    signature = key.sign(text, ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(signature)
    jose = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return (text + b"." + encode(signature if der else jose)).decode()


def headers_for(
    fake: FakeApns, token: str = "", device: str = DEVICE, /, **changes: str | None
) -> list[tuple[str, str]]:
    """Headers of a push in order. `changes` replaces (`apns_topic="x"`), adds or, with None, leaves out;
    `path=` and `method=` are the pseudo-headers."""
    fields: dict[str, str | None] = {
        ":method": changes.pop("method", "POST"),
        ":scheme": "https",
        ":authority": fake.url.removeprefix("https://"),
        ":path": changes.pop("path", f"/3/device/{device}"),
        "authorization": f"bearer {token}" if token else None,
        "apns-topic": fake.topic,
        "apns-push-type": "alert",
    }
    fields.update({name.replace("_", "-"): value for name, value in changes.items()})
    return [(name, value) for name, value in fields.items() if value is not None]


def _base64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
