"""What a fault does: a class per kind, whose fields are the keys of a plan's `what`.

Most kinds act on requests; those in `ON_CONNECTION` act on a connection from its beginning. A kind in `ENDING` replaces
the response. libnghttp2 refuses to send what the kinds in `ON_WIRE` need: a connection that such a fault may reach runs on
`fakeservers.serving.wire` instead.
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

# Actions on a request that replace its response


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Send this response. `reason` alone gives the provider's own: APNs reasons, FCM fates and error codes, OAuth errors."""

    reason: str = given(text(200), "")
    """With `status`, any text (in `{"reason": …}` for APNs, as `status` of the error for FCM)."""
    status: int = given(whole(0, 599), 0)
    """200 to 599; 0 is the status of the reason."""
    body: str | None = given(optional(text()), None)
    """The body, instead of the one that belongs to the reason."""
    content_type: str = given(text(200), "")
    """Instead of `application/json`, or `text/html` when the body begins with `<`."""
    headers: tuple[tuple[str, str], ...] = given(header_pairs, ())
    """Additional headers."""
    retry_after: int | str | None = given(optional(after_header), None, seconds=True)
    """`Retry-After`: seconds, or any text."""
    details: bool = given(flag, True)
    """Whether Google's error object has its `details`."""
    lasting: bool = given(flag, True)
    """Whether what the reason says of a token, key, topic or device stays true until the plan changes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stall:
    """Never respond to this request; its stream stays open."""

    processed: bool = given(flag, False)
    """Count the push as accepted nevertheless."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reset:
    """RST_STREAM; over HTTP/1.1 the connection is cut."""

    code: int | str = given(error_code, "REFUSED_STREAM")
    processed: bool = given(flag, False)
    """Count the push as accepted nevertheless."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """End the connection without GOAWAY and close_notify."""

    how: str = given(choice(("reset", "close", "frame")), "reset")
    """`reset`: TCP RST, unsent data is lost. `close`: FIN. `frame`: the response is sent without its last byte,
    then FIN."""
    processed: bool = given(flag, False)
    """Count the push as accepted; with a cut response it always is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HalfOpen:
    """From this request on the connection is dead, without any sign of it."""

    how: str = given(choice(("silent", "eof")), "silent")
    """`silent`: nothing is answered or acknowledged any more. `eof`: the same after a FIN from the server."""
    processed: bool = given(flag, False)
    """Count the push as accepted nevertheless."""


# Actions on a request besides its response


@dataclass(frozen=True, kw_only=True, slots=True)
class Delay:
    """Respond later: a fixed number of seconds, or one drawn from a range, percentiles or a table. Delays of several faults add up."""

    seconds: float | None = given(optional(duration), None, seconds=True)
    between: tuple[float, ...] = given(some(duration, 2, 2), (), seconds=True)
    """Seconds, uniformly between these two."""
    percentiles: tuple[tuple[float, float], ...] = given(points(0, 100, "a percentile"), (), seconds=True)
    """Percent and seconds, rising; interpolated linearly."""
    table: tuple[tuple[float, float], ...] = given(points(0, MAX_SECONDS, "a weight"), (), seconds=True)
    """Weight and seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Goaway:
    """Send GOAWAY; over HTTP/1.1 the connection closes after the response."""

    last: int | str = given(last_stream, "all")
    """Last stream id: `all` whose headers were received completely, `none`, `before` this one, `max`, or a number."""
    code: int | str = given(error_code, "NO_ERROR")
    debug: str = given(text(16_000), "")
    """Debug data, as `{"reason":"Shutdown"}`."""
    notice: float = given(duration, 0.0, seconds=True)
    """Seconds by which another GOAWAY, with the highest last stream id, precedes it (RFC 9113, 6.8)."""
    grace: float | None = given(optional(duration), None, seconds=True)
    """Seconds after which the connection is cut; by default it closes when every request has its response."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Send SETTINGS on an open connection."""

    values: tuple[tuple[str, int], ...] = given(setting_values)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeStreamLimit:
    """Change the limit of concurrent streams. A limit that is already in force is not announced again."""

    limits: tuple[int, ...] = given(some(whole(0, MAX_32)))
    """The limits, used in turn and cyclically, on each connection from the first."""
    restore: float | None = given(optional(duration), None, seconds=True)
    """Seconds after which the former limit is restored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ping:
    """Send PING."""

    count: int = given(whole(1, MAX_REPEAT), 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeAccessTokens:
    """Change access tokens that the fake FCM has issued or will issue."""

    lifetime: int | None = given(optional(whole(0, int(MAX_SECONDS))), None, seconds=True)
    """Lifetime in seconds of tokens issued from now on."""
    says: int | None = given(optional(whole(0, int(MAX_SECONDS))), None, seconds=True)
    """`expires_in` of tokens issued from now on, whatever their lifetime."""
    expire: bool = given(flag, False)
    """All issued tokens expire now."""
    forget: bool = given(flag, False)
    """All issued tokens become unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """Send an illegal frame before the response: one of the names, or any bytes."""

    name: str = given(choice(ILLEGAL), "")
    hex: str = given(hexadecimal, "")
    """Bytes in hexadecimal, sent as they are."""
    count: int = given(whole(1, MAX_REPEAT), 1)
    """How many times, without a pause."""

    def built(self, stream_id: int) -> bytes:
        """The bytes to send for a request on this stream."""
        return self._bytes(stream_id) * self.count

    @property
    def size(self) -> int:
        """Number of bytes to send."""
        return len(self._bytes(1)) * self.count

    def _bytes(self, stream_id: int) -> bytes:
        return ILLEGAL[self.name].build(stream_id) if self.name else bytes.fromhex(self.hex)


# Actions on a connection from its beginning


@dataclass(frozen=True, kw_only=True, slots=True)
class Connect:
    """Before TLS."""

    how: str = given(choice(("refuse", "reset", "close", "silent", "plain", "delay")), "reset")
    """`refuse`: the port is closed while the fault is in force. `reset`, `close`: accepted, then RST or FIN. `silent`:
    accepted, then nothing is sent. `plain`: an HTTP/1.1 error without TLS. `delay`: TLS begins `seconds` late."""
    seconds: float = given(duration, 0.0, seconds=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """The handshake: a certificate that is `expired`, not valid yet (`early`), for another host (`wrong-host`) or of an
    unknown CA (`wrong-ca`); no ALPN (`no-alpn`); another protocol (`http/1.1`); cut after ClientHello (`cut`)."""

    how: str = given(choice(("expired", "early", "wrong-host", "wrong-ca", "no-alpn", "http/1.1", "cut")))


@dataclass(frozen=True, kw_only=True, slots=True)
class Slow:
    """Send slowly: `bytes` every `seconds`."""

    bytes: int = given(whole(1, 1_048_576), 1)
    seconds: float = given(duration, 0.01, seconds=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Truncate:
    """Cut the connection after this number of bytes of HTTP/2, possibly in the middle of a frame."""

    bytes: int = given(whole(0, 1_000_000_000))
    how: str = given(choice(("close", "reset")), "close")


@dataclass(frozen=True, kw_only=True, slots=True)
class Greeting:
    """The contents of the first SETTINGS."""

    values: tuple[tuple[str, int], ...] = given(setting_values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The flow-control credit that a client gets."""

    stream: int | None = given(optional(whole(0, MAX_STREAM)), None)
    """INITIAL_WINDOW_SIZE of the first SETTINGS."""
    drip: int = given(whole(0, MAX_STREAM), 0)
    """Bytes of each WINDOW_UPDATE for the connection and its open streams; 0 sends none."""
    seconds: float = given(duration, 0.05, seconds=True)
    """Seconds between two of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """How responses are divided into frames; all of it is legal."""

    fragment: int = given(whole(0, 16_384), 0)
    """Bytes of a DATA frame at most; 0 for the maximum."""
    pad: int = given(whole(0, 255), 0)
    """Bytes of padding of each HEADERS and DATA frame."""
    continuation: int = given(whole(0, 16_384), 0)
    """Bytes of a header block in one frame at most, the rest in CONTINUATION; 0 for the maximum."""
    empty: int = given(whole(0, MAX_REPEAT), 0)
    """Empty DATA frames before the last one."""
    table: int | None = given(optional(whole(0, 65_536)), None)
    """Bytes of the server's compression table, at most what the client allows."""
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
    """Read the action that a table with `kind` describes.

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
    """Check what a check of a single field cannot."""
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
