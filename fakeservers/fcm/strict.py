"""The strict profile: one `StrictFcm` answers the requests of one connection as Google would, to any API."""

from __future__ import annotations

import hmac
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from fakeservers.faults import chance
from fakeservers.faults.inject import path_of
from fakeservers.fcm import fates, oauth
from fakeservers.fcm.message import is_apns_consistent, read_send
from fakeservers.fcm.service_account import FakeServiceAccount
from fakeservers.records import Outcome, PushCounts, Records
from fakeservers.responses.fcm import (
    ALWAYS,
    BY_FATE,
    INTERNAL_TIMEOUT,
    JSON,
    METHOD,
    NO_CREDENTIALS,
    RETRY_AFTER,
    UNAUTHENTICATED,
    FatedSend,
    Reply,
    html_page,
    insufficient_scope,
    invalid_fields,
    no_such_page,
    not_a_token,
    not_found,
    status_header,
    too_large,
    unauthenticated,
)
from fakeservers.serving.types import (
    INTERNAL_ERROR,
    REFUSED_STREAM,
    Answer,
    Header,
    Request,
    ServerConnection,
)

IDS_PER_STREAM = 1024
"""More than a request needs: one of the legacy API has a thousand tokens."""
_OK_HEADERS = (status_header(200), JSON, *ALWAYS)
LEGACY_PATH = b"/fcm/send"
_QUERY = {"access_token", "alt", "callback", "fields", "key", "oauth_token", "prettyPrint", "quotaUser"}
_QUERY |= {"$.xgafv", "uploadType", "upload_protocol"}

Fields = dict[bytes, bytes]


class FcmRecord:
    """One request and its response."""

    __slots__ = ("_fields", "body", "connection", "reason", "status", "time", "version")

    def __init__(
        self, fields: Fields, body: bytes, status: int, reason: str, origin: tuple[int, str], now: float
    ) -> None:
        self._fields = fields
        self.body = body
        self.status = status
        """0 without a response; then `reason` names the fate."""
        self.reason = reason
        """FCM's error code, the reason of `ErrorInfo`, Google's status or the name of a fate; empty for a plain 200."""
        self.connection = origin[0]
        """1 for the first connection that was accepted, and so on."""
        self.version = origin[1]
        """`2` or `1.1`."""
        self.time = now
        """Time by the fake's clock, seconds."""

    @classmethod
    def of(cls, request: Request, status: int, reason: str, origin: tuple[int, str], now: float) -> FcmRecord:
        """The record of a request that came on this connection, in this version of HTTP."""
        return cls(dict(request[1]), request[2], status, reason, origin, now)

    @property
    def method(self) -> str:
        """`POST`, as a rule."""
        return self.headers.get(":method", "")

    @property
    def path(self) -> str:
        """Path and query."""
        return self.headers.get(":path", "")

    @property
    def headers(self) -> dict[str, str]:
        """Headers and pseudo-headers; of one that came twice, the last."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self._fields.items()}

    def __repr__(self) -> str:
        return f"FcmRecord({self.path!r}, status={self.status}, reason={self.reason!r}, connection={self.connection})"


@dataclass(slots=True)
class Call:
    """One request to an API."""

    method: str
    path: str
    """Without the query, still percent-encoded."""
    query: dict[str, str]
    authorization: bytes | None
    content_type: str
    body: bytes


@dataclass(slots=True)
class FcmState:
    """What the connections of one fake share."""

    account: FakeServiceAccount
    oauth: oauth.OAuthServer
    projects: tuple[str, ...]
    """Id and number of the only project."""
    server_key: str
    max_body: int
    """Bytes of a request; a longer body is truncated here."""
    now: Callable[[], float]
    received: Records[FcmRecord, tuple[int, str]]
    fates: dict[str, str] = field(default_factory=dict)
    """Fates of targets that are not fated by their text."""
    pushes: PushCounts = field(default_factory=PushCounts)
    asserted: dict[str, str] = field(default_factory=dict)
    """Fates that injected responses have asserted, by target."""
    next_fates: deque[str] = field(default_factory=deque)
    """Fates of the next sends, whatever their target."""
    ios_tokens: set[str] = field(default_factory=set)
    """Tokens and installation ids of iOS devices, for which the `apns` part is checked."""
    counts: Counter[tuple[int, str]] = field(default_factory=Counter)
    next_id: int = 1
    """Of ids in responses; with a seed each request begins with its own."""
    seed: int | None = None
    """Seed of the ids in responses; None: the clock."""

    def fate_of(self, target: str) -> str:
        """What happens to a send to this token, installation id, topic or condition; empty for an ordinary one."""
        if self.next_fates:
            return self.next_fates.popleft()
        return self.fates.get(target) or self.asserted.get(target) or fates.fate_of(target)

    def message_id(self) -> str:
        """A new message id in Google's form."""
        number = self.next_id
        self.next_id = number + 1
        moment = int(self.now() * 1_000_000) if self.seed is None else 10**15 + number
        return f"0:{moment}%{number:08x}f9fd7ecd"

    def take_id(self) -> int:
        """A new id that is a number."""
        self.next_id += 1
        return self.next_id - 1

    def first_id(self, connection: int) -> int | None:
        """The first id on this connection, which depends on the seed and the connection alone; None without a seed."""
        return None if self.seed is None else chance.salt(self.seed, "message-id", connection) >> 24

    def is_project(self, name: str) -> bool:
        """Whether a name in a path is the project's id or number."""
        return name in self.projects

    def has_server_key(self, authorization: bytes | None) -> bool:
        """Whether the legacy API may be used: `key=…`."""
        expected = f"key={self.server_key}".encode()
        return authorization is not None and hmac.compare_digest(authorization.replace(b" ", b""), expected)

    def refuse_token(self, authorization: bytes | None, method: str) -> Reply | None:
        """The response to a request whose access token is not valid for FCM; None when it is."""
        reason = self.oauth.check(authorization)
        if not reason:
            return None
        if reason == "ACCESS_TOKEN_SCOPE_INSUFFICIENT":
            return insufficient_scope()
        message = NO_CREDENTIALS if reason == "CREDENTIALS_MISSING" else UNAUTHENTICATED
        return unauthenticated(reason, message, method)

    def fated_reply(self, fate: str, token: str, field_name: str, ok: Reply) -> Reply:
        """The response of a fate to an otherwise valid request. `ok`: the response without a fate."""
        milliseconds = fates.milliseconds_of(token)
        if fate == fates.CANONICAL:
            return ok
        if fate in fates.TRANSPORT:
            return Reply(ok.status, ok.headers, ok.body, fate, milliseconds / 1000, fate)
        if fate not in BY_FATE:
            return html_page(500, "Fake", f"{fate!r} is none of the fates of this fake.")
        seconds = milliseconds // 1000 or RETRY_AFTER
        reply = BY_FATE[fate](FatedSend(self.account.project_id, field_name, self.now(), seconds))
        if fate == "InternalTimeout":
            delay = milliseconds / 1000 or INTERNAL_TIMEOUT
            return Reply(reply.status, reply.headers, reply.body, reply.reason, delay)
        return reply


Api = Callable[[Call], Reply | None]
"""Responds to a request; None when it is not this API's."""


class StrictFcm:
    """Answers on one connection; a `Handler` for `GoogleFront`.

    Args:
        link: the connection.
        state: what the fake's connections share.
        apis: tried in order after v1 send and the token endpoint.
        delay: seconds between a request and its response, to which the delay of a fate is added.
    """

    def __init__(self, link: ServerConnection, state: FcmState, apis: Sequence[Api], delay: float) -> None:
        self._link = link
        self._state = state
        self._apis = apis
        self._delay = delay
        self._first_id = state.first_id(link.number)
        self._ok_start = b'{\n  "name": "projects/%b/messages/' % state.account.project_id.encode()
        self._headers: Sequence[Header] = ()
        self._fields: Fields = {}  # of those
        self._is_push = False  # whether a request with those is a push
        self._key: tuple[bytes, bytes | None, bytes | None] = (b"", None, None)  # path, method, authorization
        # A send with those is valid but for its body until then, unless the token endpoint has changed.
        self._valid_until = -math.inf
        self._oauth_changes = 0
        self._last_stream: int | None = None  # after GOAWAY
        self._cut = False

    def __call__(self, requests: list[Request]) -> Sequence[Answer]:
        state, link, first_id = self._state, self._link, self._first_id
        now, pushes, max_body, accepted = state.now(), state.pushes, state.max_body, 0
        answers: list[Answer] = []
        outcomes: dict[int, Outcome] = {}
        for number, (stream_id, headers, body) in enumerate(requests):
            if self._last_stream is not None and stream_id > self._last_stream:
                unprocessed = sum(is_push(path_of(request)) for request in requests[number:])
                pushes.leave(unprocessed, told=not self._cut)
                requests = requests[:number]  # after our own GOAWAY, or after a cut
                break
            if headers is not self._headers:
                self._headers, self._fields = headers, dict(headers)
                get = self._fields.get
                key = get(b":path", b""), get(b":method"), get(b"authorization")
                if key != self._key:
                    self._key, self._is_push, self._valid_until = key, is_push(key[0]), -math.inf
            if first_id is not None:
                state.next_id = first_id + stream_id * IDS_PER_STREAM
            if (
                now < self._valid_until
                and state.oauth.changes == self._oauth_changes
                and len(body) <= max_body
            ):
                reply = self._take(body)
            else:
                reply = self._reply(self._fields, body)
            if type(reply) is bytes:
                answers.append((stream_id, _OK_HEADERS, reply))
                accepted += 1
                continue
            assert isinstance(reply, Reply)
            answer: Answer = (stream_id, reply.headers, reply.body)
            status, reason = reply.status, reply.reason
            if reply.fate or reply.delay:
                status = self._apply_fate(reply, answer, answers)
            else:
                answers.append(answer)
            if status != 200 or reason:
                state.counts[status, reason] += 1
                outcomes[stream_id] = status, reason
                if self._is_push:
                    pushes.count(status, unprocessed=reason in fates.UNPROCESSED)
            elif self._is_push:
                accepted += 1
        if len(requests) > len(outcomes):
            state.counts[200, ""] += len(requests) - len(outcomes)
            pushes.accept(accepted)
        if state.received.maxlen != 0:
            state.received.add(requests, outcomes, (link.id, link.version), now)
        return answers

    def _reply(self, fields: Fields, body: bytes) -> Reply | bytes:
        """The response to a request; as `_take`."""
        if len(body) > self._state.max_body:
            return too_large()
        target = fields.get(b":path", b"")
        path, _, query = target.decode("latin-1").partition("?")
        call = Call(
            fields.get(b":method", b"").decode("latin-1"),
            path,
            dict(parse_qsl(query, keep_blank_values=True)) if query else {},
            fields.get(b"authorization"),
            fields.get(b"content-type", b"").decode("latin-1"),
            body,
        )
        parts = path.split("/")
        if len(parts) == 5 and path.startswith("/v1/projects/") and parts[4] == "messages:send":
            refusal = self._refuse_send(call, unquote(parts[3]))
            if refusal is not None:
                return refusal
            self._valid_until = self._state.oauth.valid_until
            self._oauth_changes = self._state.oauth.changes
            return self._take(body)
        if path == "/token":
            return self._state.oauth(body) if call.method == "POST" else no_such_page(path)
        for api in self._apis:
            reply = api(call)
            if reply is not None:
                return reply
        return no_such_page(path)

    def _refuse_send(self, call: Call, project: str) -> Reply | None:
        """`POST /v1/projects/{project}/messages:send`: check all but the body."""
        if call.method != "POST":
            return no_such_page(call.path)
        return (
            check_query(call.query, ())
            or self._state.refuse_token(call.authorization, METHOD)
            or (None if self._state.is_project(project) else not_found())
        )

    def _take(self, body: bytes) -> Reply | bytes:
        """Check and answer the message of a send. The body alone stands for the usual response to an accepted one."""
        state = self._state
        send, target = read_send(body)
        if send.refusal is not None:
            return send.refusal
        identifier = "fake_message_id" if send.is_dry_run else state.message_id()
        ok = b'%b%b"\n}\n' % (self._ok_start, identifier.encode())
        if target in state.ios_tokens and not is_apns_consistent(send.message):
            return not_a_token()
        fate = state.fate_of(target)
        if not fate:
            return ok
        kind = send.target
        named = target if kind in ("token", "fid") else ""
        return state.fated_reply(fate, named, f"message.{kind}", Reply(200, _OK_HEADERS, ok))

    def _apply_fate(self, reply: Reply, answer: Answer, answers: list[Answer]) -> int:
        """Delay a response, or apply a fate that is not a response of Google's. Returns the status that the client gets, 0 for none."""
        link, stream_id, fate = self._link, answer[0], reply.fate
        if fate in ("", fates.SLOW) and reply.delay < math.inf:
            link.after(self._delay + reply.delay, [answer])
            return reply.status
        if fate == fates.GOAWAY:
            answers.append(answer)
            self._send_goaway(stream_id)
            return reply.status
        if fate == fates.REFUSED_STREAM:
            link.reset(stream_id, REFUSED_STREAM)
        elif fate == fates.INTERNAL_RESET:
            link.reset(stream_id, INTERNAL_ERROR)
        elif fate == fates.GOAWAY_BEFORE:
            self._send_goaway(max(stream_id - 2, 0))
        elif fate == fates.CUT:
            self._last_stream, self._cut = 0, True
            link.abort()
        else:
            link.forget(stream_id)
        return 0

    def _send_goaway(self, last_stream: int) -> None:
        self._last_stream = last_stream
        self._link.goaway(last_stream_id=last_stream, debug=b"max_age")


def is_push(path: bytes) -> bool:
    """Whether a request is a send, by v1 or by the legacy API."""
    plain = path.partition(b"?")[0]
    return plain.endswith(b"/messages:send") or plain == LEGACY_PATH


def check_query(query: dict[str, str], known: Sequence[str]) -> Reply | None:
    """Reject an unknown query parameter, as Google does."""
    unknown = [name for name in query if name not in _QUERY and name not in known]
    if not unknown:
        return None
    problem = (
        f'Invalid JSON payload received. Unknown name "{unknown[0]:.100}": Cannot bind query parameter. '
        f"Field '{unknown[0]:.100}' could not be found in request message."
    )
    return invalid_fields([("", problem)])
