"""Detects that not the tokens are wrong but environment, topic, project or key, so that further pushes would only do harm.

A campaign against the wrong environment gets BadDeviceToken for every push. A sender that believes it deletes all of its good
tokens, and Apple throttles senders of bad tokens. So the breaker counts the last responses, and a `Trip` says in one sentence
what to fix. There are three rules:

* **A run.** `RUN` results in a row blame the configuration, and no push was accepted before. A wrong token hardly ever
  causes such a response, so a few are enough.
* **Refusals.** Half of the last responses, at least `REFUSED_AT_LEAST`, blame key, certificate, topic or account. The limit is
  half, because a wrong APNs key in Firebase affects only iOS devices, and a wrong topic only its rows.
* **Suspects.** Four fifths of the last responses, `minimum` at least, blame the token as a wrong environment, topic or
  project does, or the message's parts that all have, or are refusals. A wrong environment gives nothing else, so that 500 responses decide. A dirty audience
  does not get there: that 400 of 500 are bad when 30 % are, each by itself, has a probability of 1e-117; with 60 % it
  is 1e-21, and a full window makes it less. Even when the 300 bad ones of 1 000 were sorted to the front, they are
  60 % when it is first decided. What does trip it is 800 bad tokens among 1 000 neighbours: a stop loses nothing, and
  an operator should look.

Responses that judge neither token nor configuration (too many requests, unavailable, none at all) do not count, and
neither does what was found invalid before it was sent. Of several processes each judges by the responses of all (`Peers`),
so that together they need no more of them than one.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

import orjson

from ..errors import (
    AccessTokenError,
    AlpnError,
    CertificateError,
    ConfigurationError,
    ConnectError,
    ProxyError,
)
from ..reasons import printable_word
from ..results import Result, Verdict

RUN: Final = 20
"""Results in a row that blame the configuration, none accepted before."""
WINDOW: Final = 1000
"""Responses that are looked back on."""
MINIMUM: Final = 500
"""Responses before the share of suspects says anything."""
REFUSED_AT_LEAST: Final = 100
"""Responses before the share of refusals says anything."""
SUSPECT_SHARE: Final = 0.8
REFUSED_SHARE: Final = 0.5

MAX_TRIP: Final = 3072
"""Bytes of a `Trip` that is written down."""
_MAX_WORD: Final = 100
_MAX_DETAIL: Final = 200
_MAX_SENTENCE: Final = 600  # characters, of four bytes at most
_MILLISECONDS: Final = 100_000_000_000  # as seconds the year 5138, as milliseconds 1973

_NEUTRAL: Final = frozenset({Verdict.THROTTLED, Verdict.UNAVAILABLE, Verdict.UNSENT, Verdict.UNKNOWN})
_GOOD, _SUSPECT, _REFUSED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Trip:
    """The cause that stops a campaign.

    Attributes:
        reason: the provider's reason, or the verdict if there is none.
        sentence: the cause and what to fix.
    """

    reason: str
    sentence: str

    def encode(self) -> bytes:
        """For other processes, in at most `MAX_TRIP` bytes."""
        return orjson.dumps([self.reason, self.sentence])

    @classmethod
    def decode(cls, data: bytes) -> Trip | None:
        """Decode the output of `encode`; None for other data."""
        try:
            fields = orjson.loads(data) if len(data) <= MAX_TRIP else None
        except orjson.JSONDecodeError:
            return None
        if not isinstance(fields, list) or len(fields) != 2:
            return None
        reason, sentence = printable_word(fields[0], _MAX_WORD), printable_word(fields[1], _MAX_SENTENCE)
        return cls(reason, sentence) if reason and sentence else None

    def __str__(self) -> str:
        return self.sentence


class Seen(NamedTuple):
    """The counts of one process: its last responses by kind, those `in_a_row` that blame the configuration, how many were
    ever `accepted`, and whether any speaks against its being the configuration (`others`, 0 or 1)."""

    good: int
    suspect: int
    refused: int
    in_a_row: int
    accepted: int
    others: int


NOTHING_SEEN: Final = Seen(0, 0, 0, 0, 0, 0)


class Peers(Protocol):
    """The other processes of the campaign. `parts`: how many there are, this one included."""

    @property
    def parts(self) -> int: ...
    def exchange(self, seen: Seen) -> Seen:
        """Tell them what this process has seen by now; what all of them have, added up."""


class _Streak:
    """Consecutive responses of one kind, and their count."""

    __slots__ = ("count", "kind")

    def __init__(self, kind: int, count: int) -> None:
        self.kind = kind
        self.count = count


class Breaker:
    """Watches the responses of one provider, or of one topic where the caller keeps a breaker for each.

    `window`: how many responses are looked back on. `minimum`: from how many on the share of suspects is taken. `peers`:
    of a campaign that several processes send; each looks back on a window of its own. `suspects`: whether the share of
    suspects is a reason to stop; they count as responses all the same. `trip`: None until it is clear that sending on is no
    use, and never changed afterwards.

    Raises `ConfigurationError` for a minimum below 1 or above the window.
    """

    __slots__ = (
        "_accepted",
        "_cause",
        "_counts",
        "_in_a_row",
        "_judges_suspects",
        "_minimum",
        "_new",
        "_others",
        "_peers",
        "_peers_seen",
        "_size",
        "_streaks",
        "_suspect",
        "_tell_at",
        "_tell_every",
        "_window",
        "trip",
    )

    def __init__(
        self,
        window: int = WINDOW,
        minimum: int = MINIMUM,
        peers: Peers | None = None,
        *,
        suspects: bool = True,
    ) -> None:
        if not 1 <= minimum <= window:
            raise ConfigurationError(
                f"a breaker's minimum is from 1 to its window of {window}, not {minimum}"
            )
        self.trip: Trip | None = None
        self._window = window
        self._minimum = minimum
        self._judges_suspects = suspects
        self._peers = peers
        # The first, and then by a quarter of its share of what a judgement needs: telling costs some microseconds.
        self._tell_at = math.inf if peers is None else 1
        self._tell_every = minimum if peers is None else max(minimum // (4 * peers.parts), 1)
        self._peers_seen = NOTHING_SEEN
        self._streaks: deque[_Streak] = deque()  # the last `window` responses, exactly
        self._size = 0
        self._counts = [0, 0, 0]  # in the window, by kind
        self._new = 0  # accepted, not in the window yet
        self._accepted = 0
        self._in_a_row = 0
        self._others = False
        self._cause: Result | None = None  # the last that blamed the configuration
        self._suspect: Result | None = None

    def accepted(self, count: int = 1) -> None:
        """`count` more pushes were accepted. Call it roughly in the order of the responses: before `take` of later ones."""
        self._new += count
        if self._new >= self._tell_at:
            self._fold()
            self._exchange()
            self._tell_at = self._tell_every

    @property
    def answers(self) -> int:
        """The number of responses of all processes: of each, a window at most."""
        return self._size + self._new + sum(self._peers_seen[:3])

    def take(self, result: Result) -> Trip | None:
        """Look at a result that is not accepted. The `Trip` when there is reason to stop, then and ever after."""
        if self._new:
            self._fold()
        kind = _kind(result)
        if result.verdict is Verdict.MISCONFIGURED or kind == _REFUSED:
            self._cause = result
            self._in_a_row += 1
        elif result.attempts or result.verdict is not Verdict.INVALID:  # else we found it out ourselves
            self._in_a_row = 0
            self._others = True
        if kind is None:
            return self.trip
        self._add(kind, 1)
        if kind == _SUSPECT:
            self._suspect = result
        self._exchange()
        if kind != _GOOD and self.trip is None:
            self.trip = self._judge()
        return self.trip

    def conclude(self) -> Trip | None:
        """At the end of a campaign: the trip, also where everything was refused that was tried, however little it was."""
        self._exchange()
        against = (
            self._others
            or self._new
            or self._accepted
            or self._peers_seen.others
            or self._peers_seen.accepted
        )
        if self.trip is None and self._cause is not None and not against:
            return _explain(self._cause, "there was no other response")
        return self.trip

    def _fold(self) -> None:
        new, self._new = self._new, 0
        self._accepted += new
        self._add(_GOOD, new)

    def _add(self, kind: int, count: int) -> None:
        streaks, counts = self._streaks, self._counts
        if streaks and streaks[-1].kind == kind:
            streaks[-1].count += count
        else:
            streaks.append(_Streak(kind, count))
        counts[kind] += count
        self._size += count
        while self._size > self._window:
            oldest = streaks[0]
            gone = min(oldest.count, self._size - self._window)
            oldest.count -= gone
            counts[oldest.kind] -= gone
            self._size -= gone
            if not oldest.count:
                streaks.popleft()

    def _exchange(self) -> None:
        if self._peers is not None:
            good, suspect, refused = self._counts
            seen = Seen(good, suspect, refused, self._in_a_row, self._accepted, self._others)
            self._peers_seen = self._peers.exchange(seen)

    def _judge(self) -> Trip | None:
        seen_by_peers = self._peers_seen
        suspects, refused = (
            self._counts[_SUSPECT] + seen_by_peers.suspect,
            self._counts[_REFUSED] + seen_by_peers.refused,
        )
        size = self._size + seen_by_peers.good + seen_by_peers.suspect + seen_by_peers.refused
        in_a_row = self._in_a_row + seen_by_peers.in_a_row
        if self._cause is not None:
            if in_a_row >= RUN and not self._accepted + seen_by_peers.accepted:
                return _explain(self._cause, f"{in_a_row} in a row, none accepted")
            if size >= REFUSED_AT_LEAST and refused >= REFUSED_SHARE * size:
                return _explain(self._cause, f"{refused} of the last {size} responses")
        if self._judges_suspects and size >= self._minimum and suspects + refused >= SUSPECT_SHARE * size:
            shown = self._suspect or self._cause
            assert shown is not None
            return _explain(shown, f"{suspects + refused} of the last {size} responses")
        return None


def blames_configuration(detail: object) -> bool:
    """Whether a result's `detail` is a permanent failure to connect, as of a certificate or a proxy: every push would fail."""
    # The cause of a missing access token is the failure of the request to the token endpoint.
    cause = detail.__cause__ if isinstance(detail, AccessTokenError) else detail
    return isinstance(cause, ConnectError) and cause.permanent


def _kind(result: Result) -> int | None:
    """The kind of a response; None if it says nothing about token or configuration."""
    verdict = result.verdict
    if result.suspect or result.row.if_all is not None:
        return _SUSPECT
    if verdict is Verdict.MISCONFIGURED or blames_configuration(result.detail):
        return _REFUSED
    if verdict is Verdict.UNKNOWN and result.row.blame == "configuration":
        return _REFUSED  # a 200 of another server
    if verdict in _NEUTRAL or not result.attempts:
        return None
    return _GOOD  # the token is known here (410), or it is the message that is wrong


def _explain(result: Result, evidence: str) -> Trip:
    """The sentence: the provider's word, its detail, what to fix, and how many responses say so."""
    reason = printable_word(result.reason, _MAX_WORD) or result.verdict.value
    row = result.row
    advice = (row.if_all or row.advice) if row.name else advice_on(result)
    topic = printable_word(getattr(result.push, "topic", None), _MAX_WORD) if row.about_topic else None
    words = [
        reason,
        printable_word(str(result.detail), _MAX_DETAIL) if result.detail is not None else None,
        advice,
    ]
    sentence = ": ".join(word.removesuffix(".") for word in words if word)
    if topic is not None:
        sentence += f" (the topic is {topic})"
    return Trip(reason, f"{sentence} ({evidence})"[:_MAX_SENTENCE])


def advice_on(result: Result) -> str:
    """The advice for a reason that is in no table: by the error, or by the status."""
    cause: object = result.detail
    if isinstance(cause, AccessTokenError):
        if not blames_configuration(cause):
            return "Correct the service account or its key"
        cause = cause.__cause__
    if isinstance(cause, CertificateError):
        return "Correct the certificate, or the trusted CAs"
    if isinstance(cause, AlpnError):
        return "Correct the address: that server does not speak HTTP/2"
    if isinstance(cause, ProxyError):
        return "Correct the proxy's address, its name and password, or its rules"
    return result.row.advice


# --- 410 ----------------------------------------------------------------------------------------------------------


def may_drop(timestamp: float | None, registered_at: object) -> bool:
    """Whether a token that was called dead at `timestamp` may be deleted: not if it was registered again since then.

    `timestamp`: `Result.timestamp`, UNIX seconds; with None there is nothing to compare, so the token may be deleted.
    `registered_at`: anything that `registered_time` reads; None or empty if it is not known. A value that cannot be read keeps the
    token, and so does the same second, because many databases store whole seconds.
    """
    if timestamp is None or registered_at is None or registered_at == "":
        return True
    registered = registered_time(registered_at)
    return registered is not None and registered < math.floor(timestamp)


def registered_time(value: object) -> float | None:
    """UNIX seconds of a `registered_at`: a number of seconds or milliseconds, or text with such a number or in ISO 8601.

    Text without a time zone is UTC, and a date means its last second. None if it is none of these.
    """
    if isinstance(value, str):
        value = value.strip()
        if len(value) > 40:
            return None
        if len(value) == 8 or not value.replace(".", "", 1).isdecimal():  # 20260131 is a date
            return _iso_time(value)
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value < 1000 * _MILLISECONDS:  # NaN neither
        return None
    return value / 1000 if value >= _MILLISECONDS else float(value)


def _iso_time(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        day_long = len(text) <= 10 and ":" not in text and "T" not in text.upper()
        return moment.timestamp() + (86_399 if day_long else 0)
    except (ValueError, OverflowError):
        return None
