"""The requests of one read and the faults that apply to them: which requests the handler gets, and what is sent for the others."""

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
    """Records a request that no handler has seen, with its status and reason; without a reason it is only counted."""

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
"""Called with a request, the reason of a fault's response to it, and that response."""

HIGHEST = 0x7FFFFFFF
GONE = 410


class TokenIssuer(Protocol):
    """What a plan can change about access tokens: the fake's OAuth endpoint."""

    lifetime: int
    says: int | None

    def expire_all(self) -> None:
        """All issued access tokens expire now."""

    def forget_all(self) -> None:
        """All issued access tokens become unknown."""


class PlanAtWork(Protocol):
    """What a batch needs of its plan: an `Injector`."""

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
        """Let the fake's later responses agree with this one."""

    def reply(self, action: Answer, request: Request) -> Reply:
        """The response of a fault in the form of this request's provider."""

    def headers(self, reply: Reply, peer: ServerConnection, request: Request) -> Sequence[Header]:
        """Headers of the response."""


class Batch:
    """The requests of one read under faults. `plain` has those that the handler gets."""

    def __init__(
        self, injector: PlanAtWork, peer: ServerConnection, state: FaultState, handler: Handler
    ) -> None:
        self.plain: list[Request] = []
        self._injector = injector
        self._peer = peer
        self._state = state
        self._handler = handler
        self._answers: list[Answered] = []
        self._delays: dict[int, float] = {}

    def take(self, request: Request, matching: Sequence[Bound]) -> bool:
        """Apply the faults that match a request. False when the connection has ended, so that later requests are not looked at."""
        injector, state, stream_id = self._injector, self._state, request[0]
        ending: Bound | None = None
        delay = 0.0
        for bound in matching:
            rule = bound.rule
            if rule.ending is not None:
                if ending is not None and not rule.sides and not rule.delays:
                    continue  # an earlier fault has replaced the response
                ending = ending or bound
            injector.plan.hits[rule.fault.id] += 1
            for distribution in rule.delays:
                delay += chance.delay_of(distribution, chance.draw(bound.delay_salt, stream_id))
            for side in rule.sides:
                self._apply_side_effect(bound, side, stream_id)
        if state.last_stream is not None and stream_id > state.last_stream:
            injector.note(self._peer, request, 0, matching[0].rule.fault.id, unprocessed=True)
            return True
        if ending is None:
            self.plain.append(request)
            if delay:
                self._delays[stream_id] = delay
            return True
        return self._end(request, ending, delay)

    def finish(self) -> Sequence[Answered]:
        """The responses to send now; delayed ones are scheduled."""
        answers = self._handler(self.plain) if self.plain else ()
        self.plain = []
        if self._state.watches_errors:
            for _, headers, _ in answers:
                self._watch(int(headers[0][1]))
        if self._delays:
            kept = []
            for answer in answers:
                delay = self._delays.get(answer[0])
                if delay is None:
                    kept.append(answer)
                else:
                    self._answer_later(delay, answer)
            answers = kept
        return [*self._answers, *answers] if self._answers else answers

    def _end(self, request: Request, ending: Bound, delay: float) -> bool:
        peer, stream_id = self._peer, request[0]
        action = ending.rule.ending
        if isinstance(action, Answer):
            reply = self._injector.reply(action, request)
            reason = reply.reason or ("" if reply.status == 200 else ending.rule.fault.id)
            self._injector.note(peer, request, reply.status, reason)
            self._injector.assert_reason(peer, request, action, reply)
            self._watch(reply.status)
            answer: Answered = (stream_id, self._injector.headers(reply, peer, request), reply.body)
            if delay:
                self._answer_later(delay, answer)
            else:
                self._answers.append(answer)
            return True
        assert isinstance(action, Stall | Reset | Cut | HalfOpen)
        if action.processed or (isinstance(action, Cut) and action.how == "frame"):
            self.plain.append(request)
        else:
            refused = isinstance(action, Reset) and code_number(action.code) == REFUSED_STREAM
            self._injector.note(peer, request, 0, ending.rule.fault.id, unprocessed=refused)
        if isinstance(action, Stall):
            peer.forget(stream_id)
            return True
        if isinstance(action, Reset):
            peer.reset(stream_id, code_number(action.code))
            return True
        # Earlier requests are answered; the rest of this read counts as received after the end.
        if not (isinstance(action, Cut) and action.how == "frame"):
            peer.forget(stream_id)
        peer.give(self.finish())
        self._answers = []
        if isinstance(action, Cut):
            peer.cut(action.how)
        else:
            peer.mute(eof=action.how == "eof")
        return False

    def _apply_side_effect(self, bound: Bound, action: Action, stream_id: int) -> None:
        """Apply an action that does not replace the response."""
        peer = self._peer
        if isinstance(action, Goaway):
            self._send_goaway(action, stream_id)
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

    def _send_goaway(self, action: Goaway, stream_id: int) -> None:
        peer, state = self._peer, self._state
        numbers = {"all": None, "none": 0, "before": max(stream_id - 2, 0), "max": HIGHEST}
        last = numbers[action.last] if isinstance(action.last, str) else action.last
        code, debug = code_number(action.code), action.debug.encode()
        if action.notice and isinstance(peer, Nghttp2Connection | WireConnection):
            peer.announce_goaway()
            self._timer(action.notice, lambda: peer.goaway(code, debug=debug))
        else:
            peer.goaway(code, last_stream_id=last, debug=debug)
        if last is not None:
            state.last_stream = last if state.last_stream is None else min(last, state.last_stream)
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

    def _answer_later(self, delay: float, answer: Answered) -> None:
        self._peer.after(self._injector.delay + delay, [answer])

    def _timer(self, seconds: float, action: Callable[[], None]) -> None:
        timers = self._state.timers

        def run() -> None:
            timers.discard(timer)
            action()

        timer = asyncio.get_running_loop().call_later(seconds, run)
        timers.add(timer)

    def _watch(self, status: int) -> None:
        """Count an error on this connection; 410 is none to Apple."""
        if status >= 400 and status != GONE:
            for bound in self._state.bound:
                if bound.rule.when.errors:
                    bound.errors += 1
