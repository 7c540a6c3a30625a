"""The stream state of a client connection, independent of the codec.

A stream is one dict entry, from `open` until one of these ends:

                  take()                   response complete, reset, error
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

MAX_UNSENT_ACKS = 1000
"""PING and SETTINGS that we must acknowledge while we cannot write; nghttp2 has the same limit."""
MAX_REASON = 100  # characters of a peer's reason that errors repeat
LONG_SILENCE: Final = 60.0
"""Seconds of silence after which a connection is probed before it gets requests: a NAT or firewall may have dropped it."""
PROBE_TIMEOUT: Final = 1.0
"""Seconds in which a peer must respond to a probe, at most: several round trips to any server."""
PROBE_REQUESTS: Final = 1
"""Requests that probe a peer that must not be pinged. They are lost if the peer is gone."""

KeepAlive = tuple[int, int, int]
"""TCP keepalive: seconds of silence before the first probe, seconds between probes, unanswered probes until the end."""
KEEPALIVE: Final[KeepAlive] = (60, 15, 4)
"""Often enough for a NAT that drops connections after some minutes; a dead connection is found after two minutes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Timeouts and limits; one object for all connections of a pool."""

    timeout: float = 10.0
    """Seconds that a request has for its response, from the moment that the pool takes it."""
    idle_ping: float | None = 3600.0
    """Seconds of silence on an idle connection before a PING; None for peers that forbid it."""
    keepalive: KeepAlive | None = KEEPALIVE
    """TCP keepalive of a silent connection; None: the default of the system, which is none."""
    receive_window: int = 16 * 1024 * 1024
    """Bytes that the peer may send before we acknowledge, over all streams; needed by rejections, which have bodies."""
    max_body: int = 128 * 1024
    """Bytes of one response's body. It is announced as the window of each stream, which is never increased."""
    resets_per_second: int = 100
    """RST_STREAM frames per second, at most; servers close connections with more (CVE-2023-44487)."""


class ConnectionState(enum.Enum):
    """The state of a connection; see the diagram in the module's docstring."""

    WAITING = "waiting for SETTINGS"
    OPEN = "open"
    DRAINING = "draining"
    CLOSED = "closed"


def _no_sink(_: list[Exchange]) -> None:
    pass


GHOST = request(HeaderTemplate(()), b"", b"", NO_FIELDS, _no_sink)
"""The entry of a stream that has ended for us but not for the peer, which still counts it."""
GHOST.status, GHOST.data = 1, b"-"  # as if it had both already, so that the fast path does not finish it


class Streams:
    """The bookkeeping that `Connection` and `ReferenceConnection` share. `now` is always in seconds of one clock.

    `capacity` is the number of streams that may be open now: the peer's limit while requests are taken, otherwise 0.
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
        """Whether the peer has lowered its stream limit, or not raised it yet. Then no other connection is opened."""
        self.next_id = 1
        self.written_id = 1
        """Streams below this id were passed to the transport; the others have certainly not been processed."""
        self.error: TransportError | None = None
        """Why the connection ended or is ending."""
        self.answered = False
        """Whether any request on this connection has had a response."""
        self.authenticated = False
        """Whether any response has shown that the server accepts our credentials."""
        self.progressed = False
        """Whether there was a response since requests were last refused on this connection."""
        self.retired = False
        """Whether its credentials have been replaced: if the server rejects the old ones, the request is sent again."""
        self.probing = False
        """Whether a probe after a long silence has had no reply yet, see `probe`."""
        self.served: int | None = None
        """How many requests had been written when the peer ended the connection, if all of them had been answered."""
        self.refusal_rounds = 0
        """How often the peer, since its last response, has refused requests that were opened after its last refusals."""
        self._refused_from = self.next_id  # streams from here on were opened after the last refusals
        self.opened_at = now
        self.last_received = now
        self._idle_at = now  # the last tick at which no request was open
        self._paused = False
        self._unsent_acks = 0  # acknowledgements since the transport last accepted bytes
        self._ghosts: deque[int] = deque()
        self._reset_budget = float(limits.resets_per_second)
        self._budget_at = now
        self._last_allowed = frames.LAST_STREAM_ID
        self._carried: int | None = None
        self._reply_deadline: float | None = None  # for any byte from the peer, after a PING or a probe

    # Implemented by the codecs.
    def _send_reset(self, stream_id: int, code: int) -> None:
        raise NotImplementedError

    def _send_ping(self) -> None:
        raise NotImplementedError

    def _send_goaway(self, code: int, debug: bytes) -> None:
        raise NotImplementedError

    def _discard(self) -> None:
        """Drop unwritten bytes: their requests are about to be reported as unprocessed."""
        raise NotImplementedError

    def _withdraw(self, stream_id: int) -> bool:
        """Prevent that an unwritten request reaches the peer completely; False if that is not possible."""
        raise NotImplementedError

    def _count_ack(self) -> None:
        """Count an acknowledgement for the peer; end the connection if too many could not be written."""
        self._unsent_acks += 1
        if self._unsent_acks > MAX_UNSENT_ACKS and self._paused:
            self._fail(
                frames.ENHANCE_YOUR_CALM, "the server requests acknowledgements and does not read them"
            )

    # --- what may be taken ----------------------------------------------------------------------------------------

    def _set_limit(self, limit: int) -> None:
        """The peer sent its stream limit (RFC 9113, section 5.1.2)."""
        if limit < self.peer_limit:
            self.throttled = self.state is not ConnectionState.WAITING or limit <= 1
        elif limit > self.peer_limit:
            self.throttled = False
        self.peer_limit = limit
        self._update_capacity()

    def _update_capacity(self) -> None:
        takes = self.state is ConnectionState.OPEN and not self._paused
        capacity = self.peer_limit if takes else 0
        if self._reply_deadline is not None:  # no new requests until the peer has replied
            pinged = not self.probing or self.limits.idle_ping is not None
            capacity = 0 if pinged else min(capacity, PROBE_REQUESTS)
        self.capacity = capacity

    def pause(self, paused: bool) -> None:
        """The transport's buffer is full, or has space again."""
        self._paused = paused
        self._update_capacity()

    def drain(self) -> None:
        """Take no more requests; open ones may still have their responses."""
        if self.state in (ConnectionState.WAITING, ConnectionState.OPEN):
            self.state = ConnectionState.DRAINING
            self._update_capacity()

    def _ended(self) -> bool:
        return self.state is ConnectionState.CLOSED

    @property
    def opened(self) -> int:
        """The number of streams opened on this connection."""
        return self.next_id // 2

    @property
    def carried(self) -> int | None:
        """The number of requests that the peer processes according to its GOAWAY; None unless it has refused later ones."""
        return self._carried

    @property
    def unresponsive(self) -> bool:
        """Whether a PING has no reply that was sent because requests had no responses."""
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

    def count_refusals(self, refused: list[Exchange]) -> None:
        """The peer has refused these requests by RST_STREAM."""
        if self.progressed:
            self.progressed, self.refusal_rounds = False, 0
        elif refused[-1].stream_id >= self._refused_from:
            self.refusal_rounds += 1
        else:
            return
        self._refused_from = self.next_id

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
        above = [stream_id for stream_id in self.streams if stream_id > self._last_allowed]
        if self._last_allowed < self.next_id:  # it may have answered streams above `last` before
            self._carried = (above[0] if above else self._last_allowed + 1) // 2
        for stream_id in above:
            # If a response has begun, the GOAWAY contradicts it; sending that request again might double the push.
            self._finish(stream_id, self.error if self.streams[stream_id].status else refused)
        self.drain()

    def lost(self, error: TransportError) -> None:
        """The connection is lost: the outcome of written requests is unknown, unwritten requests are refused."""
        if self.state is ConnectionState.CLOSED:
            return
        if self.error is None or isinstance(error, ProtocolError):
            self.error = error
        by_peer = self.state is ConnectionState.OPEN or isinstance(self.error, GoAway)
        if by_peer and not any(stream_id < self.written_id for stream_id in self.streams):
            self.served = self.written_id // 2
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
        """Send GOAWAY and end; open requests end as in `lost`."""
        if self.state is not ConnectionState.CLOSED:
            self.lost(ConnectionLost("the client closed the connection"))
            self._send_goaway(code, debug)

    def _fail(self, code: int, message: str) -> None:
        """A protocol error of the peer: end with GOAWAY (RFC 9113, section 5.4.1)."""
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
        """Expire requests, send RST_STREAM as far as their rate allows, and check whether the peer still replies."""
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
        # All streams are checked: a request that was resent from another connection expires before older requests here.
        # That costs 30 ns per open stream, a few times a second.
        expired = [stream_id for stream_id, exchange in self.streams.items() if exchange.deadline <= now]
        if not expired:
            return
        if len(expired) > self.limits.resets_per_second:
            # This many resets at once look like an attack; close this connection instead.
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
            # Silence counts only from the first open request on.
            if now - max(self.last_received, self._idle_at) >= timeout / 2:
                self._expect_reply(now + timeout / 2)
                self._send_ping()
        else:
            self._idle_at = now
            if self.limits.idle_ping is not None and now - self.last_received >= self.limits.idle_ping:
                self.probe(now)

    def probe(self, now: float) -> None:
        """Check whether the peer still replies, before it gets requests: for idle connections after a long silence.

        It is pinged and gets no requests until it has replied; if PING is forbidden, it gets `PROBE_REQUESTS`. If no byte
        arrives in time, the connection takes no more requests, and its open requests expire by their deadlines.
        """
        self.probing = True
        self._expect_reply(now + min(PROBE_TIMEOUT, self.limits.timeout / 4))
        if self.limits.idle_ping is not None:
            self._send_ping()

    def _expect_reply(self, deadline: float) -> None:
        self._reply_deadline = deadline
        self._update_capacity()

    def _on_reply(self) -> None:
        """A byte has arrived from a peer that was pinged or probed."""
        self._reply_deadline = None
        self.probing = False
        self._update_capacity()

    def _give_up(self) -> None:
        """A peer that was pinged or probed has not replied."""
        if self.probing and not self.idle:
            self._on_reply()
            self.error = ConnectionLost("the server did not respond after a long silence")
            self.drain()
        else:
            self.lost(
                ConnectionLost("the server does not respond: no byte and no PING ACK within the timeout")
            )


def _as_processed(error: TransportError) -> TransportError:
    """The same error for a request that was written: its outcome is unknown."""
    return ConnectionLost(str(error)) if error.unprocessed else error


def read_reason(debug: bytes) -> str | None:
    """The reason in GOAWAY's debug data: `reason` of Apple's JSON, or the text itself if it is short and printable."""
    try:
        document = orjson.loads(debug)
        if isinstance(document, dict) and isinstance(document.get("reason"), str):
            debug = document["reason"].encode()
    except orjson.JSONDecodeError:
        pass
    text = "".join(letter for letter in debug.decode("utf-8", "replace") if letter.isprintable())
    return text[:MAX_REASON] or None
