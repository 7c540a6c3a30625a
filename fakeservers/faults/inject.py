"""A plan in force on one fake: which faults apply to a connection or a request, and what they do to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import orjson

from fakeservers.faults import chance
from fakeservers.faults.actions import Answer
from fakeservers.faults.answers import answer_of
from fakeservers.faults.batch import Asserted, Batch, RequestRecorder, TokenIssuer
from fakeservers.faults.fault import Fault
from fakeservers.faults.plan import FaultPlan
from fakeservers.faults.rules import Bound, FaultState, Rule, add_to, is_refusal, needs_wire
from fakeservers.faults.when import within
from fakeservers.responses.apns import is_canonical_id
from fakeservers.responses.fcm import Reply
from fakeservers.serving.h2peer import Literal
from fakeservers.serving.types import Answer as Answered
from fakeservers.serving.types import (
    ConnectionFaults,
    FaultSource,
    Handler,
    Header,
    Request,
    ServerConnection,
)

DEVICE = b"/3/device/"
MANAGEMENT = "/1/"
"""Prefix of the paths of channel management, which has a port of its own."""
TOKEN_PATH = b"/token"


class FaultyServer(Protocol):
    """What a plan needs of the server that it acts on."""

    delay: float
    injector: FaultSource | None

    def faults_changed(self, faults: FaultSource | None, /) -> None:
        """Follow these faults from now on, None for none."""


class Injector:
    """Applies a plan to the connections of one server.

    Args:
        plan: the faults; they may change at any time.
        provider: `apns` or `fcm`; at `fcm` the requests to `/token` are `oauth`.
        server: the listener.
        record: records requests that a fault answered instead of the handler.
        now: the fake's clock, UNIX seconds.
        project: the Google project that responses name.
        oauth: the token endpoint.
        only: prefix of `path`; faults with another one do not apply.
        asserted: called for each reason that lasts, see `Answer.lasting`.
    """

    def __init__(
        self,
        plan: FaultPlan,
        provider: str,
        server: FaultyServer,
        record: RequestRecorder,
        now: Callable[[], float],
        *,
        project: str = "",
        oauth: TokenIssuer | None = None,
        only: str = "",
        asserted: Asserted | None = None,
    ) -> None:
        self.plan = plan
        self._only = only
        self._provider = provider
        self.server = server
        self._record = record
        self._asserted = asserted
        self._now = now
        self._project = project
        self.oauth = oauth
        self._rules: list[Rule] = []
        self._entries: list[Rule] = []
        self._refusals: list[Fault] = []
        self._counts: Counter[str] = Counter()
        self._epoch = plan.epoch
        self._refused = False
        self._states: dict[int, FaultState] = {}
        self._unwatch: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Follow the plan from now on."""
        self.server.injector = self
        self._unwatch = self.plan.watch(self._changed)
        self.plan.start()
        self._changed()

    def stop(self) -> None:
        """Stop following the plan."""
        self._unwatch()
        self.server.faults_changed(None)

    def _changed(self) -> None:
        if self.plan.epoch != self._epoch:
            self._epoch = self.plan.epoch
            self._counts.clear()
            for state in self._states.values():
                state.counts.clear()
                state.bound.clear()
        rules = [Rule(fault) for fault in self.plan.enabled]
        services = {"apns"} if self._provider == "apns" else {"fcm", "oauth"}
        rules = [
            rule for rule in rules if rule.providers & services and rule.when.path.startswith(self._only)
        ]
        self._rules = [rule for rule in rules if not rule.fault.on_connection]
        self._refusals = [rule.fault for rule in rules if is_refusal(rule.fault)]
        self._entries = [rule for rule in rules if rule.fault.on_connection and not is_refusal(rule.fault)]
        if not self._refusals:
            self._refused = False
        self.server.faults_changed(self if rules else None)

    # Connections

    @property
    def may_refuse(self) -> bool:
        """Whether the listener must ask `refuses` regularly."""
        return bool(self._refusals)

    def refuses(self) -> bool:
        """Whether the port must be closed now."""
        elapsed = self.plan.elapsed
        refusing = [fault.id for fault in self._refusals if fault.when.in_time(elapsed)]
        if refusing and not self._refused:
            self.plan.hits.update(refusing)
        self._refused = bool(refusing)
        return self._refused

    def entry(self, number: int) -> ConnectionFaults | None:
        """How to receive the n-th connection; None for default behaviour."""
        entry = ConnectionFaults(number)
        elapsed = self.plan.elapsed
        special = False
        for rule in self._entries:
            when = rule.when
            if not when.in_time(elapsed) or not self._on_connection(rule, number):
                continue
            if when.share < 1.0 and self._salt(rule, number, "share") >= rule.limit:
                continue
            if when.counts and not self._is_counted_in(rule, self._counts):
                continue
            self.plan.hits[rule.fault.id] += 1
            special = True
            for action in rule.actions:
                add_to(entry, action)
        for rule in self._rules:
            if needs_wire(rule.fault) and self._on_connection(rule, number):
                entry.wire = special = True
        return entry if special else None

    def forget(self, number: int) -> None:
        """The connection is gone."""
        state = self._states.pop(number, None)
        if state is not None:
            for timer in state.timers:
                timer.cancel()

    # Requests

    @property
    def delay(self) -> float:
        """Seconds between a request and its response without faults."""
        return self.server.delay

    def answer(self, peer: ServerConnection, handler: Handler, requests: list[Request]) -> Sequence[Answered]:
        """The responses to these requests, the handler's and those of faults."""
        state = self._state(peer)
        elapsed = self.plan.elapsed
        live = [bound for bound in state.bound if bound.rule.when.in_time(elapsed)]
        batch = Batch(self, peer, state, handler)
        last = state.last_stream
        for number, request in enumerate(requests, 1):
            if last is not None and request[0] > last:
                self.note(peer, request, 0, "", unprocessed=True)  # after our own GOAWAY
                continue
            matching: list[Bound] = []
            for bound in live:
                if bound.chooses(request[0]) and self._matches(bound, state, request):
                    matching.append(bound)
            if not matching:
                batch.plain.append(request)
                continue
            if not batch.take(request, matching):
                for late in requests[number:]:  # received in the same read, and the connection is gone
                    self.note(peer, late, 0, "")
                break
            last = state.last_stream
        return batch.finish()

    def _state(self, peer: ServerConnection) -> FaultState:
        state = self._states.get(peer.number)
        if state is None:
            state = self._states[peer.number] = FaultState()
        if state.version != self.plan.version:
            state.version = self.plan.version
            former = {bound.rule.fault.id: bound for bound in state.bound}
            state.bound = []
            for rule in self._rules:
                if not self._on_connection(rule, peer.number):
                    continue
                salts = (self._salt(rule, peer.number, purpose) for purpose in ("share", "delay"))
                bound = Bound(rule, *salts)
                if rule.fault.id in former:
                    bound.turns, bound.errors = former[rule.fault.id].turns, former[rule.fault.id].errors
                state.bound.append(bound)
            state.watches_errors = any(bound.rule.when.errors for bound in state.bound)
        return state

    def _salt(self, rule: Rule, number: int, purpose: str) -> int:
        return chance.salt(self.plan.seed, self._provider, rule.fault.id, number, purpose)

    def _on_connection(self, rule: Rule, number: int) -> bool:
        when = rule.when
        if when.connection and not within(when.connection, number):
            return False
        return not when.connection_every or number % when.connection_every == 0

    def _matches(self, bound: Bound, state: FaultState, request: Request) -> bool:
        """Whether a fault applies to a request that its share has chosen."""
        rule = bound.rule
        when = rule.when
        if self._provider != "apns" and len(rule.providers) < 3:
            is_oauth = path_of(request).startswith(TOKEN_PATH)
            if ("oauth" if is_oauth else "fcm") not in rule.providers:
                return False
        if when.path and not path_of(request).startswith(when.path.encode()):
            return False
        if when.token and not self._token(request).startswith(when.token.encode()):
            return False
        if when.errors and bound.errors < when.errors:
            return False
        if when.counts and not self._is_counted_in(
            rule, state.counts if when.per_connection else self._counts
        ):
            return False
        bound.errors = 0
        return True

    def _is_counted_in(self, rule: Rule, counts: Counter[str]) -> bool:
        """Count a request that meets the other conditions. Returns whether `nth`, `every` and `limit` select it."""
        when, name = rule.when, rule.fault.id
        counts[name] += 1
        number = counts[name]
        if when.nth and not within(when.nth, number):
            return False
        if when.every and number % when.every:
            return False
        if when.limit:
            taken = name + "\0"
            if counts[taken] >= when.limit:
                return False
            counts[taken] += 1
        return True

    def _token(self, request: Request) -> bytes:
        if self._provider == "apns":
            return path_of(request)[len(DEVICE) :].lower()
        try:
            message = orjson.loads(request[2])["message"]
            token = message.get("token") or message.get("fid") or ""
            return token.encode() if isinstance(token, str) else b""
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
            return b""

    def note(
        self,
        peer: ServerConnection,
        request: Request,
        status: int,
        reason: str,
        *,
        unprocessed: bool = False,
    ) -> None:
        """Record a request that no handler has seen."""
        self._record(peer, request, status, reason, unprocessed=unprocessed)

    def assert_reason(self, peer: ServerConnection, request: Request, action: Answer, reply: Reply) -> None:
        """Let the fake's later responses agree with this one."""
        if self._asserted is not None and action.lasting and action.reason:
            self._asserted(peer, request, action.reason, reply)

    def headers(self, reply: Reply, peer: ServerConnection, request: Request) -> Sequence[Header]:
        """Headers of the response; Apple's always have the request's id, or a new one."""
        if self._provider != "apns":
            return reply.headers
        name = b"apns-id" if path_of(request).startswith(DEVICE) else b"apns-request-id"
        given = dict(request[1]).get(name)
        if not given or not is_canonical_id(given):
            labels = (self.plan.seed, peer.number, request[0])
            digits = f"{chance.salt(*labels, 1):016x}{chance.salt(*labels, 2):016x}"
            given = (
                "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
                .upper()
                .encode()
            )
        return (*reply.headers, Literal(name, given))

    def reply(self, action: Answer, request: Request) -> Reply:
        """The response of a fault in the form of this request's provider."""
        provider = self._provider
        if provider == "fcm" and path_of(request).startswith(TOKEN_PATH):
            provider = "oauth"
        return answer_of(action, provider, project=self._project, now=self._now())


def path_of(request: Request) -> bytes:
    """The `:path` of a request."""
    for name, value in request[1]:
        if name == b":path":
            return value
    return b""
