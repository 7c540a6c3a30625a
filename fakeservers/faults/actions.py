"""What a fault does: a class per kind, whose fields are the keys of a plan's `what`.

Requests are what most kinds happen to; those in `ON_CONNECTION` happen to a connection from its beginning. Of the kinds
in `ENDING` one takes the place of the answer. libnghttp2 would refuse to send what those in `ON_WIRE` need: a connection
that such a fault may reach runs on `fakeservers.serving.wire` instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from fakeservers.faults.fields import (
    MAX_FLOOD,
    MAX_REPEAT,
    MAX_STREAM,
    after_header,
    header_pairs,
    hexadecimal,
    last_stream,
    points,
)
from fakeservers.faults.illegal import ILLEGAL
from fakeservers.faults.names import MAX_32, error_code, setting_values
from fakeservers.faults.reading import (
    MAX_SECONDS,
    FaultError,
    choice,
    duration,
    flag,
    given,
    optional,
    read,
    show,
    some,
    text,
    whole,
    write,
)

# What happens to a request, and takes the place of its answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Answer this. `reason` alone gives the provider's own answer: APNs reasons, FCM fates and error codes, OAuth errors."""

    reason: str = given(text(200), "")
    """With `status` it may be any text (in `{"reason": …}` for APNs, as `status` of the error for FCM)."""
    status: int = given(whole(0, 599), 0)
    """200 to 599; 0 is the reason's own."""
    body: str | None = given(optional(text()), None)
    """Instead of the one that belongs to the reason."""
    content_type: str = given(text(200), "")
    """Instead of `application/json`, or `text/html` when the body begins with `<`."""
    headers: tuple[tuple[str, str], ...] = given(header_pairs, ())
    """More headers."""
    retry_after: int | str | None = given(optional(after_header), None, seconds=True)
    """`Retry-After`: seconds, or any text."""
    details: bool = given(flag, True)
    """Whether an error of Google's has its `details`."""
    lasting: bool = given(flag, True)
    """Whether what the reason says of a token, key, topic or device stays true until the plan changes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stall:
    """Never answer this request; its stream stays open."""

    processed: bool = given(flag, False)
    """Count the push as taken all the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reset:
    """RST_STREAM; over HTTP/1.1 the connection is cut."""

    code: int | str = given(error_code, "REFUSED_STREAM")
    processed: bool = given(flag, False)
    """Count the push as taken all the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """End the connection without GOAWAY and close_notify."""

    how: str = given(choice(("reset", "close", "frame")), "reset")
    """`reset`: TCP RST, what was not sent is lost. `close`: FIN. `frame`: the request is answered but for the last byte
    of the answer, then FIN."""
    processed: bool = given(flag, False)
    """Count the push as taken all the same; a cut answer always was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HalfOpen:
    """From this request on the connection is dead and nobody says so."""

    how: str = given(choice(("silent", "eof")), "silent")
    """`silent`: nothing is answered or acknowledged any more. `eof`: the same after a FIN in our direction."""
    processed: bool = given(flag, False)
    """Count the push as taken all the same."""


# What happens besides the answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Delay:
    """Answer later: so many seconds, drawn from a range, by percentiles, or from a table. Delays of several faults add up."""

    seconds: float | None = given(optional(duration), None, seconds=True)
    between: tuple[float, ...] = given(some(duration, 2, 2), (), seconds=True)
    """Evenly between these two."""
    percentiles: tuple[tuple[float, float], ...] = given(points(0, 100, "a percentile"), (), seconds=True)
    """Percent and seconds, rising; between two of them in a straight line."""
    table: tuple[tuple[float, float], ...] = given(points(0, MAX_SECONDS, "a weight"), (), seconds=True)
    """Weight and seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Goaway:
    """Send GOAWAY; over HTTP/1.1 the connection closes after the answer."""

    last: int | str = given(last_stream, "all")
    """Last stream id: `all` whose headers have come whole, `none`, `before` this one, `max`, or a number."""
    code: int | str = given(error_code, "NO_ERROR")
    debug: str = given(text(16_000), "")
    """Debug data, as `{"reason":"Shutdown"}`."""
    notice: float = given(duration, 0.0, seconds=True)
    """So many seconds before it, another GOAWAY with the last stream id at its highest announces it (RFC 9113, 6.8)."""
    grace: float | None = given(optional(duration), None, seconds=True)
    """So many seconds after it the connection is cut; by default it closes when all is answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Send SETTINGS in mid-flight."""

    values: tuple[tuple[str, int], ...] = given(setting_values)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeStreamLimit:
    """Move the limit of concurrent streams; it is never announced twice as it is."""

    limits: tuple[int, ...] = given(some(whole(0, MAX_32)))
    """Taken in turn, from the first again after the last; each connection begins anew."""
    restore: float | None = given(optional(duration), None, seconds=True)
    """After so many seconds the limit is again what it was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ping:
    """Send PING."""

    count: int = given(whole(1, MAX_REPEAT), 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeAccessTokens:
    """Change the access tokens that the fake FCM has issued or is going to."""

    lifetime: int | None = given(optional(whole(0, int(MAX_SECONDS))), None, seconds=True)
    """Seconds for which those to come are good."""
    says: int | None = given(optional(whole(0, int(MAX_SECONDS))), None, seconds=True)
    """`expires_in` of those to come, true or not."""
    expire: bool = given(flag, False)
    """All so far expire now."""
    forget: bool = given(flag, False)
    """All so far become unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """Send what no honest server sends, before the answer: one of the names, or any bytes."""

    name: str = given(choice(ILLEGAL), "")
    hex: str = given(hexadecimal, "")
    """Bytes in hexadecimal, sent as they are."""
    count: int = given(whole(1, MAX_REPEAT), 1)
    """How often, without a pause."""

    def built(self, stream_id: int) -> bytes:
        """What is sent at a request on this stream."""
        return self._once(stream_id) * self.count

    @property
    def size(self) -> int:
        """Bytes of it."""
        return len(self._once(1)) * self.count

    def _once(self, stream_id: int) -> bytes:
        return ILLEGAL[self.name].build(stream_id) if self.name else bytes.fromhex(self.hex)


# What happens to a connection from its beginning


@dataclass(frozen=True, kw_only=True, slots=True)
class Connect:
    """Before TLS."""

    how: str = given(choice(("refuse", "reset", "close", "silent", "plain", "delay")), "reset")
    """`refuse`: nobody listens while the fault is in force. `reset`, `close`: accepted, then RST or FIN. `silent`:
    accepted, and not a word. `plain`: an HTTP/1.1 error in clear. `delay`: TLS begins `seconds` late."""
    seconds: float = given(duration, 0.0, seconds=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """The handshake: a certificate that is `expired`, not valid yet (`early`), for another host (`wrong-host`) or of a CA
    that nobody knows (`wrong-ca`); no ALPN (`no-alpn`); another protocol (`http/1.1`); cut after ClientHello (`cut`)."""

    how: str = given(choice(("expired", "early", "wrong-host", "wrong-ca", "no-alpn", "http/1.1", "cut")))


@dataclass(frozen=True, kw_only=True, slots=True)
class Slow:
    """Bytes trickle: `bytes` of them every `seconds`."""

    bytes: int = given(whole(1, 1_048_576), 1)
    seconds: float = given(duration, 0.01, seconds=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Truncate:
    """The connection is cut when so many bytes of HTTP/2 were sent, wherever in a frame that is."""

    bytes: int = given(whole(0, 1_000_000_000))
    how: str = given(choice(("close", "reset")), "close")


@dataclass(frozen=True, kw_only=True, slots=True)
class Greeting:
    """What the first SETTINGS say."""

    values: tuple[tuple[str, int], ...] = given(setting_values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The credit that a client gets to send by."""

    stream: int | None = given(optional(whole(0, MAX_STREAM)), None)
    """INITIAL_WINDOW_SIZE of the first SETTINGS."""
    drip: int = given(whole(0, MAX_STREAM), 0)
    """Bytes of each WINDOW_UPDATE for the connection and its open streams; 0 gives none ever."""
    seconds: float = given(duration, 0.05, seconds=True)
    """Between two of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """How answers look in frames; all of it is legal."""

    fragment: int = given(whole(0, 16_384), 0)
    """Bytes of a DATA frame at most; 0 for as many as go."""
    pad: int = given(whole(0, 255), 0)
    """Bytes of padding of each HEADERS and DATA frame."""
    continuation: int = given(whole(0, 16_384), 0)
    """Bytes of a header block in one frame at most, the rest in CONTINUATION; 0 for as many as go."""
    empty: int = given(whole(0, MAX_REPEAT), 0)
    """Empty DATA frames before the last one."""
    table: int | None = given(optional(whole(0, 65_536)), None)
    """Bytes of the compression table of our header blocks, if the client allows so many."""
    huffman: bool = given(flag, True)
    """Whether header blocks are Huffman-coded."""
    priority: bool = given(flag, False)
    """HEADERS carry a priority, which RFC 9113 deprecates."""


Action: TypeAlias = (
    Answer
    | Stall
    | Reset
    | Cut
    | HalfOpen
    | Delay
    | Goaway
    | Settings
    | ChangeStreamLimit
    | Ping
    | ChangeAccessTokens
    | Frame
    | Connect
    | Tls
    | Slow
    | Truncate
    | Greeting
    | Window
    | Shape
)

KINDS: dict[str, type[Any]] = {
    "answer": Answer,
    "stall": Stall,
    "reset": Reset,
    "cut": Cut,
    "half-open": HalfOpen,
    "delay": Delay,
    "goaway": Goaway,
    "settings": Settings,
    "streams": ChangeStreamLimit,
    "ping": Ping,
    "access-tokens": ChangeAccessTokens,
    "frame": Frame,
    "connect": Connect,
    "tls": Tls,
    "slow": Slow,
    "truncate": Truncate,
    "greeting": Greeting,
    "window": Window,
    "shape": Shape,
}
NAMES = {kind: name for name, kind in KINDS.items()}

ENDING = (Answer, Stall, Reset, Cut, HalfOpen)
ON_CONNECTION = (Connect, Tls, Slow, Truncate, Greeting, Window, Shape)
ON_WIRE = (Frame, Window, Shape)


def read_action(table: Any) -> Action:
    """The action that a table with `kind` describes.

    Raises:
        FaultError: there is no such kind, or its keys are wrong.
    """
    if not isinstance(table, Mapping):
        raise FaultError(f"what is {show(table)}, expected a table with kind", key="what")
    name = table.get("kind")
    try:
        kind = KINDS[choice(KINDS)(name)]
    except ValueError as error:
        raise FaultError(f"what.kind is {show(name)}, expected {error}", key="kind") from None
    action: Action = read(kind, {key: value for key, value in table.items() if key != "kind"}, "what")
    _check(action)
    return action


def write_action(action: Action) -> dict[str, Any]:
    """The table that `read_action` takes."""
    return {"kind": NAMES[type(action)], **write(action)}


def _check(action: Action) -> None:
    """What a field by itself cannot tell."""
    if isinstance(action, Delay):
        ways = (action.seconds is not None, action.between, action.percentiles, action.table)
        if sum(map(bool, ways)) != 1:
            raise FaultError("a delay needs one of seconds, between, percentiles, table", key="what")
        if action.between and action.between[0] > action.between[1]:
            raise FaultError("what.between falls, expected it to rise", key="between")
        if any(
            lower[0] >= higher[0] or lower[1] > higher[1] for lower, higher in pairwise(action.percentiles)
        ):
            raise FaultError("what.percentiles fall, expected them to rise", key="percentiles")
        if action.table and not sum(weight for weight, _ in action.table):
            raise FaultError("what.table has no weight above 0", key="table")
    elif isinstance(action, Answer):
        if action.status and action.status < 200:
            raise FaultError(f"what.status is {action.status}, expected 200 to 599", key="status")
        if not action.reason and not action.status:
            raise FaultError("an answer needs a reason or a status", key="what")
    elif isinstance(action, Goaway) and action.notice and action.last != "all":
        raise FaultError(f"what.last is {action.last}, expected all: a notice promises it", key="last")
    elif isinstance(action, Frame) and bool(action.name) == bool(action.hex):
        raise FaultError("a frame needs one of name, hex", key="what")
    elif isinstance(action, Frame) and action.size > MAX_FLOOD:
        raise FaultError(
            f"what.count is {action.count}, expected {MAX_FLOOD} bytes at most in all", key="count"
        )
