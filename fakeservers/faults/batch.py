"""The requests of one read under the faults that they meet: which ones the handler sees, and what goes out instead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from fakeservers.faults import chance
from fakeservers.faults.actions import (
    Action,
    Answer,
    ChangeAccessTokens,
    ChangeStreamLimit,
    Cut,
    Frame,
    Goaway,
    HalfOpen,
    Ping,
    Reset,
    Settings,
    Stall,
)
from fakeservers.faults.names import code_number, setting_numbers
from fakeservers.faults.plan import FaultPlan
from fakeservers.faults.rules import Bound, FaultState
from fakeservers.responses.fcm import Reply
from fakeservers.serving.h2peer import Nghttp2Connection
from fakeservers.serving.types import (
    MAX_CONCURRENT_STREAMS,
    REFUSED_STREAM,
    Handler,
    Header,
    Request,
    ServerConnection,
)
from fakeservers.serving.types import Answer as Answered
from fakeservers.serving.wire import WireConnection


class RequestRecorder(Protocol):
    """Notes a request that no handler has seen, with the status and reason that it got; without a reason it is counted alone."""

    def __call__(
        self,
        peer: ServerConnection,
        request: Request,
        status: int,
        reason: str,
        *,
        unprocessed: bool = False,
    ) -> None: ...


Asserted: TypeAlias = Callable[[ServerConnection, Request, str, Reply], None]
"""Told of the reason of a fault's response to a request, and of the response."""

HIGHEST = 0x7FFFFFFF
GONE = 410


class TokenIssuer(Protocol):
    """What a plan can change about access tokens: the fake's OAuth endpoint."""

    lifetime: int
    says: int | None

    def expire_all(self) -> None:
        """Every access token so far expires now."""

    def forget_all(self) -> None:
        """Every access token so far becomes unknown."""


class PlanAtWork(Protocol):
    """What a batch needs of the plan that it carries out: an `Injector`."""

    @property
    def plan(self) -> FaultPlan: ...
    @property
    def oauth(self) -> TokenIssuer | None: ...
    @property
    def delay(self) -> float:
        """Seconds between a request and its response without faults."""

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

    def assert_reason(self, peer: ServerConnection, request: Request, action: Answer, reply: Reply) -> None:
        """Let the fake keep to what a response has said."""

    def reply(self, action: Answer, request: Request) -> Reply:
        """The response of a fault, as this request's provider gives it."""

    def headers(self, reply: Reply, peer: ServerConnection, request: Request) -> Sequence[Header]:
        """Those of the response."""


class Batch:
    """What becomes of the requests of one read. `plain` is for those that the handler is to see."""

    def __init__(
        self, injector: PlanAtWork, peer: ServerConnection, line: FaultState, handler: Handler
    ) -> None:
        self.plain: list[Request] = []
        self._injector = injector
        self._peer = peer
        self._line = line
        self._handler = handler
        self._answers: list[Answered] = []
        self._delays: dict[int, float] = {}

    def take(self, request: Request, met: Sequence[Bound]) -> bool:
        """Let the faults happen that a request has met; False when nothing after it matters any more."""
        injector, line, stream_id = self._injector, self._line, request[0]
        ender: Bound | None = None
        delay = 0.0
        for bound in met:
            rule = bound.rule
            if rule.ending is not None:
                if ender is not None and not rule.sides and not rule.delays:
                    continue  # another one was first
                ender = ender or bound
            injector.plan.hits[rule.fault.id] += 1
            for distribution in rule.delays:
                delay += chance.delay_of(distribution, chance.draw(bound.delay_salt, stream_id))
            for side in rule.sides:
                self._aside(bound, side, stream_id)
        if line.last_stream is not None and stream_id > line.last_stream:
            injector.note(self._peer, request, 0, met[0].rule.fault.id, unprocessed=True)
            return True
        if ender is None:
            self.plain.append(request)
            if delay:
                self._delays[stream_id] = delay
            return True
        return self._end(request, ender, delay)

    def finish(self) -> Sequence[Answered]:
        """The answers that are to go out now; the others are on their way."""
        answers = self._handler(self.plain) if self.plain else ()
        self.plain = []
        if self._line.watches_errors:
            for _, headers, _ in answers:
                self._watch(int(headers[0][1]))
        if self._delays:
            kept = []
            for answer in answers:
                delay = self._delays.get(answer[0])
                if delay is None:
                    kept.append(answer)
                else:
                    self._later(delay, answer)
            answers = kept
        return [*self._answers, *answers] if self._answers else answers

    def _end(self, request: Request, ender: Bound, delay: float) -> bool:
        peer, stream_id = self._peer, request[0]
        action = ender.rule.ending
        if isinstance(action, Answer):
            reply = self._injector.reply(action, request)
            reason = reply.reason or ("" if reply.status == 200 else ender.rule.fault.id)
            self._injector.note(peer, request, reply.status, reason)
            self._injector.assert_reason(peer, request, action, reply)
            self._watch(reply.status)
            answer: Answered = (stream_id, self._injector.headers(reply, peer, request), reply.body)
            if delay:
                self._later(delay, answer)
            else:
                self._answers.append(answer)
            return True
        assert isinstance(action, Stall | Reset | Cut | HalfOpen)
        if action.processed or (isinstance(action, Cut) and action.how == "frame"):
            self.plain.append(request)
        else:
            refused = isinstance(action, Reset) and code_number(action.code) == REFUSED_STREAM
            self._injector.note(peer, request, 0, ender.rule.fault.id, unprocessed=refused)
        if isinstance(action, Stall):
            peer.forget(stream_id)
            return True
        if isinstance(action, Reset):
            peer.reset(stream_id, code_number(action.code))
            return True
        # What came before is answered, and the rest of this read is as if it had come too late.
        if not (isinstance(action, Cut) and action.how == "frame"):
            peer.forget(stream_id)
        peer.give(self.finish())
        self._answers = []
        if isinstance(action, Cut):
            peer.cut(action.how)
        else:
            peer.mute(eof=action.how == "eof")
        return False

    def _aside(self, bound: Bound, action: Action, stream_id: int) -> None:
        """What happens besides the answer."""
        peer = self._peer
        if isinstance(action, Goaway):
            self._say_goodbye(action, stream_id)
        elif isinstance(action, ChangeAccessTokens):
            self._change_tokens(action)
        elif not isinstance(peer, Nghttp2Connection | WireConnection):
            return  # HTTP/1.1 has no frames
        elif isinstance(action, Settings):
            peer.update_settings(setting_numbers(action.values))
        elif isinstance(action, ChangeStreamLimit):
            self._move_limit(bound, action, peer)
        elif isinstance(action, Ping):
            peer.ping(action.count)
        elif isinstance(action, Frame) and isinstance(peer, WireConnection):
            peer.send_raw(action.built(stream_id))

    def _say_goodbye(self, action: Goaway, stream_id: int) -> None:
        peer, line = self._peer, self._line
        numbers = {"all": None, "none": 0, "before": max(stream_id - 2, 0), "max": HIGHEST}
        last = numbers[action.last] if isinstance(action.last, str) else action.last
        code, debug = code_number(action.code), action.debug.encode()
        if action.notice and isinstance(peer, Nghttp2Connection | WireConnection):
            peer.announce_goaway()
            self._timer(action.notice, lambda: peer.goaway(code, debug=debug))
        else:
            peer.goaway(code, last_stream_id=last, debug=debug)
        if last is not None:
            line.last_stream = last if line.last_stream is None else min(last, line.last_stream)
        if action.grace is not None:
            self._timer(action.notice + action.grace, peer.abort)

    def _move_limit(
        self, bound: Bound, action: ChangeStreamLimit, peer: Nghttp2Connection | WireConnection
    ) -> None:
        former = peer.settings.get(MAX_CONCURRENT_STREAMS, HIGHEST)
        limit = action.limits[bound.turns % len(action.limits)]
        bound.turns += 1
        if limit == former:
            return
        peer.update_settings({MAX_CONCURRENT_STREAMS: limit})
        if action.restore is not None:

            def restore() -> None:
                if peer.settings.get(MAX_CONCURRENT_STREAMS) == limit:
                    peer.update_settings({MAX_CONCURRENT_STREAMS: former})

            self._timer(action.restore, restore)

    def _change_tokens(self, action: ChangeAccessTokens) -> None:
        oauth = self._injector.oauth
        if oauth is None:
            return
        if action.lifetime is not None:
            oauth.lifetime = action.lifetime
        if action.says is not None:
            oauth.says = action.says
        if action.expire:
            oauth.expire_all()
        if action.forget:
            oauth.forget_all()

    def _later(self, delay: float, answer: Answered) -> None:
        self._peer.after(self._injector.delay + delay, [answer])

    def _timer(self, seconds: float, action: Callable[[], None]) -> None:
        timers = self._line.timers

        def run() -> None:
            timers.discard(timer)
            action()

        timer = asyncio.get_running_loop().call_later(seconds, run)
        timers.add(timer)

    def _watch(self, status: int) -> None:
        """Count an error on this connection; Apple does not count 410 as one."""
        if status >= 400 and status != GONE:
            for bound in self._line.bound:
                if bound.rule.when.errors:
                    bound.errors += 1
