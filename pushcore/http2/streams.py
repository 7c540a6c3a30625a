"""The stream state of a client connection, independent of the codec.

A stream lives in one dict entry, from `open` to the one place where it leaves again:

                  open()                   response complete, reset, error
    (not taken) ─────────▶ streams[id] ────────────────────────────────▶ finished   its sink is called
                               │      surely not processed
                               ├────────────────────────────────────────▶ refused   the pool sends it again
                               │      expired or cancelled
                               └──▶ RST_STREAM, or a ghost that keeps the slot until one may be sent

The connection itself: WAITING (for the peer's SETTINGS) → OPEN → DRAINING (nothing new is taken) → CLOSED.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass
from typing import Final

import orjson

from ..errors import ConnectionLost, GoAway, ProtocolError, ResponseTimeout, StreamReset, TransportError
from . import frames
from .exchange import NO_FIELDS, Exchange, request
from .headers import HeaderTemplate

MAX_UNSENT_ACKS = 1000  # as nghttp2: PING and SETTINGS that we must acknowledge while we cannot write
MAX_REASON = 100  # characters of a peer's own words that we repeat
LONG_SILENCE: Final = 60.0
"""Seconds after which an idle connection is probed before it gets requests: a NAT or a firewall may have forgotten it."""
PROBE_TIMEOUT: Final = 1.0
"""Seconds in which a peer must answer a probe, at most: several times the way to any server."""
PROBE_REQUESTS: Final = 1
"""Requests that probe a peer which must not be pinged. They are lost where it is not there any more."""

KeepAlive = tuple[int, int, int]
"""TCP's: seconds of silence before the first probe, seconds between probes, and how many unanswered ones end it."""
KEEPALIVE: Final[KeepAlive] = (60, 15, 4)
"""Often enough for a NAT that forgets connections after some minutes, and two minutes until a dead one is known."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Timeouts and limits; one object for all connections of a pool."""

    timeout: float = 10.0
    """Seconds from the moment that the pool takes a request until it must have a response."""
    idle_ping: float | None = 3600.0
    """Seconds of silence on an idle connection before a PING; None for peers that forbid it."""
    keepalive: KeepAlive | None = KEEPALIVE
    """The system's probes of a silent TCP connection; None for its default, which is none."""
    receive_window: int = 16 * 1024 * 1024
    """What the peer may send before we acknowledge, over all streams; rejections with bodies need it."""
    max_body: int = 128 * 1024
    """Bytes of one response's body. It is announced as the window of each stream and never widened."""
    resets_per_second: int = 100
    """How many RST_STREAM frames we send; servers defend themselves against more (CVE-2023-44487)."""


class ConnectionState(enum.Enum):
    """The state of a connection; see the diagram in the module's docstring."""

    WAITING = "waiting for SETTINGS"
    OPEN = "open"
    DRAINING = "draining"
    CLOSED = "closed"


def _no_sink(_: list[Exchange]) -> None:
    pass


GHOST = request(HeaderTemplate(()), b"", b"", NO_FIELDS, _no_sink)
"""Stands in a slot whose request is over for us but not for the peer, which still counts the stream."""
GHOST.status, GHOST.data = 1, b"-"  # as if it had both already, so that no fast branch finishes it


class Streams:
    """The bookkeeping that `Connection` and `ReferenceConnection` share. `now` is always in seconds of one clock.

    `capacity` is how many streams may be open at this moment: the peer's limit while requests are taken, otherwise 0.
    After each call of `receive`, `tick` or `lost` the caller empties `finished` and `refused`.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.state = ConnectionState.WAITING
        self.streams: dict[int, Exchange] = {}
        self.finished: list[Exchange] = []
        self.refused: list[Exchange] = []
        self.capacity = 0
        self.peer_limit = frames.LAST_STREAM_ID
        self.throttled = False
        """The peer has lowered its stream limit, or not raised it yet: no reason to open another connection."""
        self.next_id = 1
        self.written_id = 1
        """Streams below it were handed to the transport; those from it on have surely not been processed."""
        self.error: TransportError | None = None
        """Why the connection ended or is ending."""
        self.answered = False
        """Whether any request has been answered here."""
        self.authenticated = False
        """Whether any response was of a server that accepts our credentials."""
        self.progressed = False
        """Whether any has been answered since requests were last refused here."""
        self.retired = False
        """Its credentials have been replaced: what the server says against them is no reason to give a request up."""
        self.probing = False
        """After a long silence the peer has yet to show that it is there, see `probe`."""
        self.opened_at = now
        self.last_received = now
        self._idle_at = now  # the last tick at which no request was open
        self._paused = False
        self._unsent_acks = 0  # what the peer made us say since the transport last had room
        self._ghosts: deque[int] = deque()
        self._reset_budget = float(limits.resets_per_second)
        self._budget_at = now
        self._last_allowed = frames.LAST_STREAM_ID
        self._reply_deadline: float | None = None  # for any byte, after a PING or a probe

    # What a codec adds.
    def _send_reset(self, stream_id: int, code: int) -> None:
        raise NotImplementedError

    def _send_ping(self) -> None:
        raise NotImplementedError

    def _send_goaway(self, code: int, debug: bytes) -> None:
        raise NotImplementedError

    def _discard(self) -> None:
        """Forget what was not handed over yet: its requests are about to be called unprocessed."""
        raise NotImplementedError

    def _withdraw(self, stream_id: int) -> bool:
        """Keep an unwritten request from ever reaching the peer whole; False when that is not possible."""
        raise NotImplementedError

    def _count_ack(self) -> None:
        """The peer asked for an acknowledgement; see whether it reads them, too."""
        self._unsent_acks += 1
        if self._unsent_acks > MAX_UNSENT_ACKS and self._paused:
            self._fail(
                frames.ENHANCE_YOUR_CALM, "the server requests acknowledgements and does not read them"
            )

    # --- what may be taken ----------------------------------------------------------------------------------------

    def _set_limit(self, limit: int) -> None:
        """The peer said how many streams it allows (RFC 9113, section 5.1.2)."""
        if limit < self.peer_limit:
            self.throttled = self.state is not ConnectionState.WAITING or limit <= 1
        elif limit > self.peer_limit:
            self.throttled = False
        self.peer_limit = limit
        self._update_capacity()

    def _update_capacity(self) -> None:
        takes = self.state is ConnectionState.OPEN and not self._paused
        capacity = self.peer_limit if takes else 0
        if self._reply_deadline is not None:  # nothing new until it is there
            pinged = not self.probing or self.limits.idle_ping is not None
            capacity = 0 if pinged else min(capacity, PROBE_REQUESTS)
        self.capacity = capacity

    def pause(self, paused: bool) -> None:
        """The transport's buffer is full, or has emptied again."""
        self._paused = paused
        self._update_capacity()

    def drain(self) -> None:
        """Take nothing new; what is open may be answered."""
        if self.state in (ConnectionState.WAITING, ConnectionState.OPEN):
            self.state = ConnectionState.DRAINING
            self._update_capacity()

    def _ended(self) -> bool:
        return self.state is ConnectionState.CLOSED

    @property
    def opened(self) -> int:
        """The number of requests that were sent on this connection, or are about to be."""
        return self.next_id // 2

    @property
    def carried(self) -> int | None:
        """The number of requests that the peer processes according to its GOAWAY; None without one, or without a number."""
        last = self._last_allowed
        return (last + 1) // 2 if last < self.next_id else None

    @property
    def unresponsive(self) -> bool:
        """Whether a PING is unanswered that was sent because requests are."""
        return self._reply_deadline is not None and not self.probing

    @property
    def idle(self) -> bool:
        """True when no request waits for a response here."""
        return len(self.streams) == len(self._ghosts)

    # --- how streams end ------------------------------------------------------------------------------------------

    def _finish(self, stream_id: int, error: TransportError | None = None) -> None:
        exchange = self.streams.pop(stream_id)
        if exchange is GHOST:
            self._ghosts.remove(stream_id)
            return
        exchange.error = error
        if error is not None and error.unprocessed:
            self.refused.append(exchange)
        else:
            self.finished.append(exchange)

    def _on_reset(self, stream_id: int, code: int) -> None:
        """The peer sent RST_STREAM for an open stream."""
        # RFC 9113, section 8.7: REFUSED_STREAM says that no processing took place.
        refused = code == frames.REFUSED_STREAM and not self.streams[stream_id].status
        self._finish(stream_id, StreamReset(code, unprocessed=refused))

    def _on_goaway(self, last: int, code: int, debug: bytes) -> None:
        """The peer sent GOAWAY: streams above `last` were not and will not be processed (RFC 9113, section 6.8)."""
        reason = read_reason(debug)
        self.error = GoAway(code, debug, unprocessed=False, reason=reason)
        self._last_allowed = min(last, self._last_allowed)
        refused = GoAway(code, debug, unprocessed=True, reason=reason)
        for stream_id in [stream_id for stream_id in self.streams if stream_id > self._last_allowed]:
            # One whose response has begun contradicts itself, and sending it again might double it.
            self._finish(stream_id, self.error if self.streams[stream_id].status else refused)
        self.drain()

    def lost(self, error: TransportError) -> None:
        """The connection is gone: what was written is of unknown fate, what was not is refused."""
        if self.state is ConnectionState.CLOSED:
            return
        if self.error is None or isinstance(error, ProtocolError):
            self.error = error
        self.state = ConnectionState.CLOSED
        self._update_capacity()
        self._discard()
        reason = self.error if isinstance(self.error, GoAway) else error
        unsent = ConnectionLost(f"{reason}; this request had not been written")
        unsent.unprocessed = True
        for stream_id in list(self.streams):
            self._finish(stream_id, unsent if self._unwritten(stream_id) else _as_processed(reason))

    def _unwritten(self, stream_id: int) -> bool:
        return stream_id >= self.written_id

    def close(self, code: int = frames.NO_ERROR, debug: bytes = b"") -> None:
        """Say GOAWAY and end; whatever is still open ends as `lost` says."""
        if self.state is not ConnectionState.CLOSED:
            self.lost(ConnectionLost("the client closed the connection"))
            self._send_goaway(code, debug)

    def _fail(self, code: int, message: str) -> None:
        """The peer broke the protocol: end, and say so in GOAWAY (RFC 9113, section 5.4.1)."""
        self.lost(ProtocolError(code, message))
        self._send_goaway(code, message.encode())

    def cancel(self, exchange: Exchange) -> None:
        """Cancel the exchange: reset its stream, free its slot, call no sink."""
        stream_id = exchange.stream_id
        if self.streams.get(stream_id) is exchange:
            self._abandon(stream_id)

    def _abandon(self, stream_id: int) -> None:
        if self._reset_budget >= 1 and self.state is not ConnectionState.CLOSED:
            self._reset_budget -= 1
            del self.streams[stream_id]
            self._send_reset(stream_id, frames.CANCEL)
        else:
            self.streams[stream_id] = GHOST
            self._ghosts.append(stream_id)

    # --- time -----------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Expire what is due, reset what may be reset, and see whether the peer is still there."""
        if self.state is ConnectionState.CLOSED:
            return
        allowed = self.limits.resets_per_second
        self._reset_budget = min(allowed, self._reset_budget + allowed * (now - self._budget_at))
        self._budget_at = now
        self._expire(now)
        while self._ghosts and self._reset_budget >= 1:
            stream_id = self._ghosts.popleft()
            del self.streams[stream_id]
            self._reset_budget -= 1
            self._send_reset(stream_id, frames.CANCEL)
        self._check_silence(now)

    def _expire(self, now: float) -> None:
        # All are looked at: a request that came from another connection expires before older requests here. It costs
        # 30 ns per open stream, a few times a second.
        expired = [stream_id for stream_id, exchange in self.streams.items() if exchange.deadline <= now]
        if not expired:
            return
        if len(expired) > self.limits.resets_per_second:
            # So many resets at once look like an attack; leave this connection instead, with its slots.
            self._send_goaway(frames.NO_ERROR, b"too many requests timed out")
            self.error = ConnectionLost(f"{len(expired)} requests timed out together")
            self.drain()
            self._reset_budget = 0.0
        for stream_id in expired:
            exchange = self.streams[stream_id]
            unwritten = self._unwritten(stream_id) and self._withdraw(stream_id)
            exchange.error = ResponseTimeout(
                "the request was not written in time" if unwritten else "no response in time",
                unprocessed=unwritten,
            )
            self._abandon(stream_id)
            self.finished.append(exchange)

    def _check_silence(self, now: float) -> None:
        timeout = self.limits.timeout
        if self.state is ConnectionState.WAITING:
            if now - self.opened_at >= timeout:
                self._fail(frames.SETTINGS_TIMEOUT, "the server sent no SETTINGS within the timeout")
        elif self._reply_deadline is not None:
            if now >= self._reply_deadline:
                self._give_up()
        elif not self.idle:
            # Silence before the requests says nothing.
            if now - max(self.last_received, self._idle_at) >= timeout / 2:
                self._expect_reply(now + timeout / 2)
                self._send_ping()
        else:
            self._idle_at = now
            if self.limits.idle_ping is not None and now - self.last_received >= self.limits.idle_ping:
                self.probe(now)

    def probe(self, now: float) -> None:
        """Find out whether the peer is still there, before it gets requests: for idle connections after a long silence.

        It is pinged and gets nothing until it has answered, or gets `PROBE_REQUESTS` where pings are forbidden. When no
        byte has come by then, the connection takes nothing new, and what is open ends in its time.
        """
        self.probing = True
        self._expect_reply(now + min(PROBE_TIMEOUT, self.limits.timeout / 4))
        if self.limits.idle_ping is not None:
            self._send_ping()

    def _expect_reply(self, deadline: float) -> None:
        self._reply_deadline = deadline
        self._update_capacity()

    def _on_reply(self) -> None:
        """A byte has come from a peer that was pinged or probed."""
        self._reply_deadline = None
        self.probing = False
        self._update_capacity()

    def _give_up(self) -> None:
        """A peer that was pinged or probed has not answered."""
        if self.probing and not self.idle:
            self._on_reply()
            self.error = ConnectionLost("the server did not respond after a long silence")
            self.drain()
        else:
            self.lost(
                ConnectionLost("the server does not respond: no byte and no PING ACK within the timeout")
            )


def _as_processed(error: TransportError) -> TransportError:
    """The same error for a request that was written: its fate is unknown."""
    return ConnectionLost(str(error)) if error.unprocessed else error


def read_reason(debug: bytes) -> str | None:
    """GOAWAY's debug data as a word: `reason` of Apple's JSON, otherwise the text itself if it is short and printable."""
    try:
        document = orjson.loads(debug)
        if isinstance(document, dict) and isinstance(document.get("reason"), str):
            debug = document["reason"].encode()
    except orjson.JSONDecodeError:
        pass
    text = "".join(letter for letter in debug.decode("utf-8", "replace") if letter.isprintable())
    return text[:MAX_REASON] or None
