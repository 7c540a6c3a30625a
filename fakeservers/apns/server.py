"""A fake APNs: real HTTP/2 over TLS on a port of this machine, with Apple's rules, or with 200 for everything."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from fakeservers.apns import asserted
from fakeservers.apns.authentication import STREAMS
from fakeservers.apns.channel_api import BROADCASTS, ChannelApi
from fakeservers.apns.provider_tokens import ProviderTokens
from fakeservers.apns.registry import ApnsRegistry
from fakeservers.apns.rules import PATH
from fakeservers.apns.state import ApnsRecord, ApnsState
from fakeservers.apns.strict import StrictApns
from fakeservers.certs import Certificates, write_private
from fakeservers.faults import FaultPlan
from fakeservers.faults.inject import MANAGEMENT, Injector, path_of
from fakeservers.records import FakeServer, Records, remember
from fakeservers.responses.fcm import Reply
from fakeservers.serving.h2peer import Nghttp2Connection
from fakeservers.serving.h2server import H2Server
from fakeservers.serving.types import (
    DEFAULT_WINDOW,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    Answer,
    Handler,
    Request,
    ServerConnection,
    ServerLimits,
)

TOPIC = "com.example.app"
"""The default bundle id."""

STRICT_SETTINGS = {
    HEADER_TABLE_SIZE: 4096,
    MAX_CONCURRENT_STREAMS: 1,
    INITIAL_WINDOW_SIZE: 65_535,
    MAX_FRAME_SIZE: 16_384,
    MAX_HEADER_LIST_SIZE: 8000,
}
"""What APNs announces to an unauthenticated client (reference/apns.md, 1.3); a certificate gets 1000 streams."""

BARE_WINDOW = 16 * 1024 * 1024
BARE_SETTINGS = {**STRICT_SETTINGS, MAX_CONCURRENT_STREAMS: STREAMS, INITIAL_WINDOW_SIZE: BARE_WINDOW}

PROFILES = ("strict", "bare")
NO_PUSHES = (MANAGEMENT.encode(), BROADCASTS)
"""Path prefixes of requests that are not pushes to a device."""

_TIMESTAMP = re.compile(rb'"timestamp":(\d{1,15})')


class FakeApns(FakeServer[ApnsRecord, int]):
    """A fake APNs, listening while its `async with` block runs.

    Args:
        profile: `strict` enforces Apple's rules; `bare` responds with 200 to everything, with one `apns-id` per
            connection, for measurements.
        host: address to listen on.
        port: 0 takes a free one.
        channels_port: port for the management of channels, which both profiles check; 0 takes a free one.
        delay: seconds between a request and its response.
        certs: credentials to serve with; None makes some in a temporary directory, which is deleted at the end.
        registry: keys, topics, devices and channels. The fake's own key is added unless its id exists already, and its team
            may push to `com.example.app` unless it has topics.
        now: the clock, UNIX seconds, for checks of provider tokens.
        token_max_age: seconds after `iat` when a provider token expires.
        token_min_refresh: seconds for which a connection must keep a provider token.
        keep: the number of requests in `received`, 0 for none; the oldest are dropped first.
        limits: limits of clients.
        reuse_port: let other processes listen on the same ports, which must not be 0 then.
        faults: errors to make: a plan, the name of a preset, or a file. With a plan, ids in responses are reproducible, too.

    Raises:
        ValueError: there is no such profile; or a `FaultError` for the faults.
        OSError: on entering, when the address cannot be listened on.
    """

    _state: ApnsState

    def __init__(
        self,
        profile: str = "strict",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        channels_port: int = 0,
        delay: float = 0.0,
        certs: Certificates | None = None,
        registry: ApnsRegistry | None = None,
        now: Callable[[], float] = time.time,
        token_max_age: float = 3600.0,
        token_min_refresh: float = 1200.0,
        keep: int = 1000,
        limits: ServerLimits | None = None,
        reuse_port: bool = False,
        faults: FaultPlan | str | os.PathLike[str] | None = None,
    ) -> None:
        if profile not in PROFILES:
            raise ValueError(f"unknown profile {profile!r}: strict or bare")
        self.profile = profile
        self.registry = registry or ApnsRegistry()
        self._host = host
        self._wanted_port = port
        self._wanted_channels_port = channels_port
        self.asked_port = port
        """The port of the last attempt to listen."""
        self._reuse_port = reuse_port
        self._delay = delay
        self._certs = certs
        self._limits = limits
        self._state = ApnsState(
            self.registry,
            ProviderTokens(self.registry),
            now,
            token_max_age,
            token_min_refresh,
            Records(keep, ApnsRecord.of),
        )
        self.faults = FaultPlan.of(faults)
        """The fault plan; may be changed at any time."""
        if faults is not None:
            self._state.seed = self.faults.seed
        self._cleanup = ExitStack()
        self._server: H2Server
        self._channels_server: H2Server

    async def __aenter__(self) -> Self:
        with ExitStack() as cleanup:
            if self._certs is None:
                directory = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="fakeapns-"))
                self._certs = Certificates.create(directory)
            certs = self._certs
            if self.registry.key(certs.key_id) is None:
                self.registry.add_key(certs.key_id, certs.team_id, certs.key_file.read_bytes())
            if not self.registry.topics(certs.team_id):
                self.registry.allow(certs.team_id, TOPIC)
            self._first_registry = self.registry.snapshot()
            self._first_channels = self.registry.channels.snapshot()
            strict = self.profile == "strict"
            self._server = H2Server(
                self._open_strict if strict else self._open_bare,
                certs.server_context(),
                settings=STRICT_SETTINGS if strict else BARE_SETTINGS,
                window=DEFAULT_WINDOW if strict else BARE_WINDOW,
                delay=self._delay,
                limits=self._limits,
            )
            self._server.broken_context = certs.broken_context
            self._server.validates_frames = strict
            cleanup.callback(self.faults.watch(self._state.asserted.clear))
            injector = Injector(
                self.faults, "apns", self._server, self._record, self._state.now, asserted=self._assert
            )
            cleanup.callback(injector.stop)
            injector.start()
            self._channels_server = H2Server(
                lambda peer: ChannelApi(peer, self._state),
                certs.server_context(),
                settings=STRICT_SETTINGS,
                delay=self._delay,
                limits=self._limits,
            )
            self._channels_server.validates_frames = True
            managing = Injector(
                self.faults,
                "apns",
                self._channels_server,
                self._record,
                self._state.now,
                only=MANAGEMENT,
                asserted=self._assert,
            )
            cleanup.callback(managing.stop)
            managing.start()
            async with AsyncExitStack() as started:
                for server, port in (
                    (self._server, self._wanted_port),
                    (self._channels_server, self._wanted_channels_port),
                ):
                    self.asked_port = port
                    await server.start(self._host, port, reuse_port=self._reuse_port)
                    started.push_async_callback(server.close)
                started.pop_all()
            self._cleanup = cleanup.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await asyncio.gather(self._server.close(), self._channels_server.close())
        finally:
            self._cleanup.close()

    @property
    def channels_url(self) -> str:
        """`https://127.0.0.1:PORT` of the port on which channels are managed."""
        return self._url_of(self._channels_server)

    @property
    def key_file(self) -> str:
        """The `.p8` to sign provider tokens with."""
        return str(self.certs.key_file)

    @property
    def key_id(self) -> str:
        """`kid` of provider tokens."""
        return self.certs.key_id

    @property
    def team_id(self) -> str:
        """`iss` of provider tokens."""
        return self.certs.team_id

    @property
    def topic(self) -> str:
        """The first bundle id that the team may push to."""
        return self.registry.topics(self.team_id)[0]

    @property
    def tokens_seen(self) -> dict[str, float]:
        """Distinct provider tokens with a valid signature, the newest 1024, and their `iat`."""
        return self._state.tokens.seen

    @property
    def server(self) -> H2Server:
        """The listener, for its counters and its `peers`."""
        return self._server

    def _servers(self) -> Sequence[H2Server]:
        return self._server, self._channels_server

    def reset_fates(self) -> None:
        """Forget what injected responses have asserted, and the provider tokens that were seen."""
        self._state.asserted.clear()
        self._state.tokens.forget()
        self.registry.changes += 1  # connections check again what they remember as valid

    def reset_registry(self) -> None:
        """Restore the keys, topics and devices of the start."""
        self.registry.restore(self._first_registry)

    def reset_channels(self) -> None:
        """Restore the channels of the start."""
        self.registry.channels.restore(self._first_channels)

    def write_config(self, directory: str | os.PathLike[str]) -> None:
        """Write `ca.pem`, the `.p8` and `apns.json`, which says all that a client needs, into a directory.

        Raises:
            OSError: it cannot be written.
        """
        folder = Path(directory).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        certs = self.certs
        if not folder.samefile(certs.directory):
            (folder / certs.ca_file.name).write_bytes(certs.ca_file.read_bytes())
            write_private(folder / certs.key_file.name, certs.key_file.read_bytes())
        config = {
            "url": self.url,
            "channels_url": self.channels_url,
            "ca_file": str(folder / certs.ca_file.name),
            "key_file": str(folder / certs.key_file.name),
            "key_id": self.key_id,
            "team_id": self.team_id,
            "topic": self.topic,
        }
        (folder / "apns.json").write_bytes(
            orjson.dumps(config, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        )

    def _record(
        self,
        peer: ServerConnection,
        request: Request,
        status: int,
        reason: str,
        *,
        unprocessed: bool = False,
    ) -> None:
        """Record a request that a fault responded to."""
        if not path_of(request).startswith(NO_PUSHES):
            self._state.pushes.count(status, unprocessed=unprocessed)
        if not status and not reason:
            return
        if self.profile == "strict":
            fields = dict(request[1])
            self._state.note(fields.get(b":path", b""), fields, request[2], status, reason, peer.id)
        else:
            self._state.counts[status, reason] += 1

    def _assert(self, peer: ServerConnection, request: Request, reason: str, reply: Reply) -> None:
        """Let later responses agree with a fault's response, as far as its reason lasts."""
        handler = peer.handler
        if not isinstance(handler, StrictApns | ChannelApi):
            return
        state, fields = self._state, dict(request[1])
        if reason in asserted.DEVICE:
            path = fields.get(b":path", b"")
            if path.startswith(PATH):
                timestamp = _TIMESTAMP.search(reply.body)
                since = int(timestamp[1]) if timestamp else None
                remember(state.asserted.devices, path[len(PATH) :].lower(), (reason, since))
        elif reason in asserted.TOPIC:
            remember(state.asserted.topics, fields.get(b"apns-topic", b""), reason)
        else:
            handler.assert_reason(reason, fields)
        self.registry.changes += 1  # connections check again what they remember as valid

    def _open_strict(self, peer: Nghttp2Connection) -> Handler:
        return StrictApns(peer, self._state, self._delay)

    def _open_bare(self, peer: Nghttp2Connection) -> Handler:
        headers = ((b":status", b"200"), (b"apns-id", self._state.id_prefix(peer.number) + b"%012x" % 0))
        counts, pushes = self._state.counts, self._state.pushes

        def answer(requests: list[Request]) -> Sequence[Answer]:
            counts[200, ""] += len(requests)
            pushes.accept(len(requests))
            return [(stream_id, headers, b"") for stream_id, _, _ in requests]

        return answer
