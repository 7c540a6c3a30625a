"""A fake FCM: HTTP/2 and HTTP/1.1 over TLS on a port of this machine, with Google's rules, or with 200 for everything."""

from __future__ import annotations

import os
import secrets
import ssl
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from fakeservers.certs import Certificates
from fakeservers.faults import FaultPlan
from fakeservers.faults.answers import FCM_CODES
from fakeservers.faults.inject import Injector
from fakeservers.fcm import fates, oauth
from fakeservers.fcm.legacy import LegacyApi
from fakeservers.fcm.message import read_send
from fakeservers.fcm.oauth import LIFETIME, OAuthServer
from fakeservers.fcm.service_account import FILE_NAME, PROJECT_NUMBER, SERVER_KEY, FakeServiceAccount
from fakeservers.fcm.strict import FcmRecord, FcmState, StrictFcm, is_push
from fakeservers.fcm.topics import Subscriptions, TopicApi
from fakeservers.records import FakeServer, Records, remember
from fakeservers.responses.fcm import JSON, Reply, status_header
from fakeservers.serving.google_front import (
    BARE_POLICY,
    GOOGLE_SETTINGS,
    GOOGLE_WINDOW,
    FrontEndPolicy,
    GoogleFront,
)
from fakeservers.serving.types import (
    INITIAL_WINDOW_SIZE,
    Answer,
    Handler,
    Request,
    ServerConnection,
    ServerLimits,
)

PROFILES = ("strict", "bare")
BARE_WINDOW = 16 * 1024 * 1024
BARE_SETTINGS = {**GOOGLE_SETTINGS, INITIAL_WINDOW_SIZE: BARE_WINDOW}

MAX_BODY = 1_048_576
"""Bytes of a body: a batch of the instance-id API has a thousand tokens."""

_TOKEN_REQUEST = b"grant_type="


class FakeFcm(FakeServer[FcmRecord, tuple[int, str]]):
    """A fake FCM with its OAuth token endpoint, listening while its `async with` block runs.

    Args:
        profile: `strict` enforces Google's rules; `bare` responds with 200 and one constant body to everything except
            token requests, for measurements.
        host: address to listen on.
        port: 0 takes a free one.
        delay: seconds between a request and its response.
        certs: credentials to serve with; None makes some in a temporary directory, which is deleted at the end.
        account: the service account whose assertions are accepted, and its project; None makes one.
        server_key: what the legacy API accepts as `Authorization: key=…`.
        access_token_lifetime: seconds for which an access token is valid.
        topic_rate: topic changes per second of the project; 0 for no limit, Google's is 3000.
        now: the clock, UNIX seconds, for checks of assertions and access tokens.
        keep: the number of requests in `received`, 0 for none; the oldest are dropped first.
        limits: limits of clients.
        reuse_port: let other processes listen on the same port, which must not be 0 then.
        policy: behaviour on HTTP/2 connections; None for Google's, or for none with the bare profile.
        faults: errors to make: a plan, the name of a preset, or a file. With a plan, ids in responses are reproducible, too.

    Raises:
        ValueError: there is no such profile; or a `FaultError` for the faults.
        OSError: on entering, when the address cannot be listened on.
    """

    _state: FcmState
    _server: GoogleFront

    def __init__(
        self,
        profile: str = "strict",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        delay: float = 0.0,
        certs: Certificates | None = None,
        account: FakeServiceAccount | None = None,
        server_key: str = SERVER_KEY,
        access_token_lifetime: int = LIFETIME,
        topic_rate: float = 0.0,
        now: Callable[[], float] = time.time,
        keep: int = 1000,
        limits: ServerLimits | None = None,
        reuse_port: bool = False,
        policy: FrontEndPolicy | None = None,
        faults: FaultPlan | str | os.PathLike[str] | None = None,
    ) -> None:
        if profile not in PROFILES:
            raise ValueError(f"unknown profile {profile!r}: strict or bare")
        self.profile = profile
        self.account = account or FakeServiceAccount.create()
        self.oauth = OAuthServer(self.account, now=now, lifetime=access_token_lifetime)
        """The token endpoint: it can be slow, down or refuse, and issues and expires tokens."""
        if reuse_port:
            self.oauth.share(secrets.token_bytes(32))  # forked processes inherit it
        self.subscriptions = Subscriptions()
        """Topic subscriptions."""
        self._host = host
        self._wanted_port = port
        self._reuse_port = reuse_port
        self._delay = delay
        self._certs = certs
        self._limits = limits or ServerLimits(max_body=MAX_BODY)
        self._policy = policy or (FrontEndPolicy() if profile == "strict" else BARE_POLICY)
        projects = (self.account.project_id, PROJECT_NUMBER)
        self._state = FcmState(
            self.account,
            self.oauth,
            projects,
            server_key,
            self._limits.max_body,
            now,
            Records(keep, FcmRecord.of),
        )
        legacy = LegacyApi(self._state)
        self.groups = legacy.groups
        """The legacy API's device groups: notification key to registration tokens."""
        self._topic_api = TopicApi(self._state, self.subscriptions, topic_rate)
        self._apis = (legacy, self._topic_api)
        self.faults = FaultPlan.of(faults)
        """The fault plan; may be changed at any time."""
        if faults is not None:
            self._state.seed = self.faults.seed
            self.oauth.repeat(self.faults.seed)
        self._cleanup = ExitStack()
        self._account_file: Path

    async def __aenter__(self) -> Self:
        with ExitStack() as cleanup:
            directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="fakefcm-")))
            if self._certs is None:
                self._certs = Certificates.create(directory)
            context = _without_client_certificate(self._certs.server_context())
            strict = self.profile == "strict"
            self._server = GoogleFront(
                self._open_strict if strict else self._open_bare,
                context,
                settings=GOOGLE_SETTINGS if strict else BARE_SETTINGS,
                window=GOOGLE_WINDOW if strict else BARE_WINDOW,
                delay=self._delay,
                limits=self._limits,
                policy=self._policy,
            )
            self._server.broken_context = self._broken_context
            self._server.validates_frames = strict
            injector = Injector(
                self.faults,
                "fcm",
                self._server,
                self._record,
                self._state.now,
                project=self.project_id,
                oauth=self.oauth,
                asserted=self._assert,
            )
            cleanup.callback(self.faults.watch(self._state.asserted.clear))
            cleanup.callback(injector.stop)
            injector.start()
            self._first_fates = dict(self.fates), tuple(self.next_fates), set(self.ios_tokens)
            self._first_subscriptions = self.subscriptions.snapshot()
            self._first_groups = deepcopy(self.groups)
            oauth = self.oauth
            self._first_oauth = oauth.lifetime, oauth.says, oauth.delay, oauth.down, oauth.error
            await self._server.start(self._host, self._wanted_port, reuse_port=self._reuse_port)
            self.oauth.token_uri = f"{self.url}/token"
            self._account_file = directory / FILE_NAME
            self.account.write(self._account_file, self.oauth.token_uri)
            self._cleanup = cleanup.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._server.close()
        finally:
            self._cleanup.close()

    @property
    def service_account_file(self) -> str:
        """A service account's file as from Google's console; its `token_uri` is this fake's."""
        return str(self._account_file)

    @property
    def project_id(self) -> str:
        """The fake's only project."""
        return self.account.project_id

    @property
    def project_number(self) -> str:
        """Accepted in a path instead of the id."""
        return PROJECT_NUMBER

    @property
    def server_key(self) -> str:
        """The legacy API's `Authorization: key=…`."""
        return self._state.server_key

    @property
    def token_requests(self) -> int:
        """Number of requests to the token endpoint."""
        return self.oauth.requests

    @property
    def fates(self) -> dict[str, str]:
        """Fates of tokens, installation ids, topics and conditions that are not fated by their text; may be changed."""
        return self._state.fates

    @property
    def next_fates(self) -> deque[str]:
        """Fates of the next sends, whatever their target, used up one by one; may be added to."""
        return self._state.next_fates

    @property
    def ios_tokens(self) -> set[str]:
        """Tokens and installation ids of iOS devices; may be added to. For such a token
        an invalid `apns` part is reported as a fault of the token, as Google does."""
        return self._state.ios_tokens

    @property
    def server(self) -> GoogleFront:
        """The listener, for its counters and its `peers`."""
        return self._server

    def reset_fates(self) -> None:
        """Restore the fates and the iOS tokens of the start, and forget what injected responses have asserted."""
        for collection in (self._state.asserted, self.fates, self.next_fates, self.ios_tokens):
            collection.clear()
        fates, next_fates, ios_tokens = self._first_fates
        self.fates.update(fates)
        self.next_fates.extend(next_fates)
        self.ios_tokens.update(ios_tokens)

    def reset_subscriptions(self) -> None:
        """Restore the topic subscriptions and device groups of the start, and the project's allowance of changes."""
        self.subscriptions.restore(self._first_subscriptions)
        self.groups.clear()
        self.groups.update(deepcopy(self._first_groups))
        self._topic_api.refill()

    def reset_oauth(self) -> None:
        """Restore the token endpoint's settings of the start; issued tokens stay valid."""
        oauth = self.oauth
        oauth.lifetime, oauth.says, oauth.delay, oauth.down, oauth.error = self._first_oauth
        oauth.requests = 0
        oauth.counts.clear()
        if self._state.seed is not None:
            oauth.repeat(self._state.seed)

    def write_config(self, directory: str | os.PathLike[str]) -> None:
        """Write `ca.pem`, the service account's file and `fcm.json`, which says all that a client needs.

        Raises:
            OSError: they cannot be written.
        """
        folder = Path(directory).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        ca_file = folder / self.certs.ca_file.name
        if not folder.samefile(self.certs.directory):
            ca_file.write_bytes(self.certs.ca_file.read_bytes())
        self.account.write(folder / FILE_NAME, self.oauth.token_uri)
        config = {
            "url": self.url,
            "ca_file": str(ca_file),
            "service_account_file": str(folder / FILE_NAME),
            "project_id": self.project_id,
            "server_key": self.server_key,
        }
        (folder / "fcm.json").write_bytes(
            orjson.dumps(config, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        )

    def _broken_context(self, how: str) -> ssl.SSLContext:
        return _without_client_certificate(self.certs.broken_context(how))

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
        state = self._state
        fields = dict(request[1])
        if is_push(fields.get(b":path", b"")):
            state.pushes.count(status, unprocessed=unprocessed)
        if not status and not reason:
            return
        state.counts[status, reason] += 1
        if fields.get(b":path", b"").startswith(oauth.PATH):
            self.oauth.requests += 1
            self.oauth.counts[status, reason] += 1
        if self.profile == "strict" and state.received.maxlen != 0:
            state.received.append(FcmRecord.of(request, status, reason, (peer.id, peer.version), state.now()))

    def _assert(self, link: ServerConnection, request: Request, reason: str, reply: Reply) -> None:
        """Let later responses agree with a fault's response about a target or an access token."""
        if self.profile != "strict":
            return
        fate = FCM_CODES.get(reason, reason)
        if fate == "AccessTokenExpired":
            self.oauth.expire(dict(request[1]).get(b"authorization"))
        elif fate in fates.LASTING:
            send, target = read_send(request[2])
            if send.refusal is None:
                remember(self._state.asserted, target, fate)

    def _open_strict(self, link: ServerConnection) -> Handler:
        return StrictFcm(link, self._state, self._apis, self._delay)

    def _open_bare(self, link: ServerConnection) -> Handler:
        first_id = self._state.first_id(link.number)
        if first_id is not None:
            self._state.next_id = first_id
        headers = (status_header(200), JSON)
        body = b'{"name":"projects/%b/messages/%b"}' % (
            self.project_id.encode(),
            self._state.message_id().encode(),
        )
        counts, pushes = self._state.counts, self._state.pushes

        def answer(requests: list[Request]) -> Sequence[Answer]:
            counts[200, ""] += len(requests)
            pushes.accept(len(requests))
            return [
                (stream_id, headers, body)
                if sent[:1] == b"{" or _TOKEN_REQUEST not in sent
                else self._token_answer(stream_id, sent)
                for stream_id, _, sent in requests
            ]

        return answer

    def _token_answer(self, stream_id: int, body: bytes) -> Answer:
        """The bare profile issues real access tokens, although it does not check them."""
        reply = self.oauth(body)
        self._state.pushes.received -= 1
        self._state.pushes.accepted -= 1
        return stream_id, reply.headers, reply.body


def _without_client_certificate(context: ssl.SSLContext) -> ssl.SSLContext:
    """Ask for no client certificate, as Google does."""
    context.verify_mode = ssl.CERT_NONE
    return context
