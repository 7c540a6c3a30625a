"""What a fake has received and counted: the last requests and their answers, and what became of pushes.

Keeping a request costs the fast path next to nothing: its record is made when it is read.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Generic, Protocol, TypeAlias, TypeVar, overload

from fakeservers.certs import Certificates
from fakeservers.serving.h2server import H2Server
from fakeservers.serving.types import Request, Settings

R = TypeVar("R")
K = TypeVar("K")
V = TypeVar("V")
From = TypeVar("From")
"""The type that identifies a request's connection."""
Outcome: TypeAlias = tuple[int, str] | None
"""Status and reason; None for a request that is recorded elsewhere."""
ACCEPTED: Outcome = (200, "")
MAX_REMEMBERED = 100_000
"""Entries of a table that `remember` fills."""


class Records(Sequence[R], Generic[R, From]):
    """The last records, oldest first. A record is made when it is read.

    Args:
        keep: how many to keep, None for all of them.
        make: makes a record of a request, its status and reason, where it came from and when.
    """

    def __init__(self, keep: int | None, make: Callable[[Request, int, str, From, float], R]) -> None:
        self.maxlen = keep
        self._make = make
        self._reads: deque[_Read[R, From]] = deque()
        self._size = 0  # of all reads: up to one read more than is kept

    def add(
        self, requests: Sequence[Request], outcomes: Mapping[int, Outcome], origin: From, now: float
    ) -> None:
        """Keep the requests of one read. `outcomes` holds, by stream id, those that were not simply accepted."""
        if self.maxlen is not None and len(requests) > self.maxlen and None not in outcomes.values():
            requests = requests[-self.maxlen :]
        self._push(_Read(requests, outcomes, origin, now))

    def append(self, record: R) -> None:
        """Keep one that is made already."""
        self._push(_Read((), {}, None, 0.0, [record]))

    def extend(self, records: Iterable[R]) -> None:
        """Keep these."""
        for record in records:
            self.append(record)

    def clear(self) -> None:
        """Forget all."""
        self._reads.clear()
        self._size = 0

    def __len__(self) -> int:
        return self._size if self.maxlen is None else min(self._size, self.maxlen)

    def __iter__(self) -> Iterator[R]:
        every = (record for read in list(self._reads) for record in read.records(self._make))
        return islice(every, self._size - len(self), None)

    def __reversed__(self) -> Iterator[R]:
        """Newest first; records that are not reached are not made."""
        every = (
            record for read in reversed(list(self._reads)) for record in reversed(read.records(self._make))
        )
        return islice(every, len(self))

    @overload
    def __getitem__(self, at: int) -> R: ...
    @overload
    def __getitem__(self, at: slice) -> list[R]: ...
    def __getitem__(self, at: int | slice) -> R | list[R]:
        if isinstance(at, slice):
            return list(self)[at]
        if not -len(self) <= at < len(self):
            raise IndexError(f"there are {len(self)} records")
        return next(islice(self, at, None) if at >= 0 else islice(reversed(self), -at - 1, None))

    def _push(self, read: _Read[R, From]) -> None:
        self._reads.append(read)
        self._size += read.size
        if self.maxlen is not None:
            while self._reads and self._size - self._reads[0].size >= self.maxlen:
                self._size -= self._reads.popleft().size


class _Read(Generic[R, From]):
    __slots__ = ("_made", "_now", "_origin", "_outcomes", "_requests", "size")

    def __init__(
        self,
        requests: Sequence[Request],
        outcomes: Mapping[int, Outcome],
        origin: From | None,
        now: float,
        made: list[R] | None = None,
    ) -> None:
        self._requests = requests
        self._outcomes = outcomes
        self._origin = origin
        self._now = now
        self._made = made
        unnoted = sum(outcome is None for outcome in outcomes.values()) if outcomes else 0
        self.size = len(requests) - unnoted if made is None else len(made)

    def records(self, make: Callable[[Request, int, str, From, float], R]) -> list[R]:
        """Made once: later calls return the same records."""
        if self._made is None:
            self._made = []
            for request in self._requests:
                outcome = self._outcomes.get(request[0], ACCEPTED)
                if outcome is not None:
                    assert self._origin is not None
                    self._made.append(make(request, *outcome, self._origin, self._now))
            self._requests, self._outcomes = (), {}
        return self._made


def remember(table: dict[K, V], key: K, value: V) -> None:
    """Set an entry of a table; the oldest leaves when there are `MAX_REMEMBERED`."""
    while len(table) >= MAX_REMEMBERED:
        del table[next(iter(table))]
    table[key] = value


@dataclass(slots=True)
class PushCounts:
    """What became of pushes: each that was received is counted as one of the other four."""

    received: int = 0
    """Pushes that came whole. Streams that were refused for the limit, token requests, topics and channels are none."""
    accepted: int = 0
    """Answered with 200, whether or not the client has read it."""
    rejected: int = 0
    """Answered with an error."""
    unprocessed: int = 0
    """Not processed, and the client was told so: RST_STREAM REFUSED_STREAM, or above a GOAWAY's last stream id."""
    cut: int = 0
    """Never answered, and the client cannot know: stalled, reset with another code, or the connection ended."""

    def reset(self) -> None:
        """Set all to zero."""
        self.received = self.accepted = self.rejected = self.unprocessed = self.cut = 0

    def count(self, status: int, *, unprocessed: bool = False) -> None:
        """Count a push by the status that it was answered with, 0 for none."""
        self.received += 1
        if status >= 400:
            self.rejected += 1
        elif status:
            self.accepted += 1
        elif unprocessed:
            self.unprocessed += 1
        else:
            self.cut += 1

    def accept(self, number: int) -> None:
        """Count pushes as accepted."""
        self.received += number
        self.accepted += number

    def leave(self, number: int, *, told: bool) -> None:
        """Count pushes that were not processed. `told`: the client was informed."""
        self.received += number
        if told:
            self.unprocessed += number
        else:
            self.cut += number


class FakeState(Protocol[R, From]):
    """What the connections of one fake share, as far as both fakes have it."""

    received: Records[R, From]
    counts: Counter[tuple[int, str]]
    pushes: PushCounts


class FakeServer(Generic[R, From]):
    """What can be asked of both fakes; a base class of them."""

    _state: FakeState[R, From]
    _server: H2Server
    _host: str
    _certs: Certificates | None

    @property
    def url(self) -> str:
        """`https://127.0.0.1:PORT`."""
        return self._url_of(self._server)

    def _url_of(self, server: H2Server) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"https://{host}:{server.port}"

    @property
    def certs(self) -> Certificates:
        """Its credentials; use them to make client certificates."""
        assert self._certs is not None, "not started"
        return self._certs

    @property
    def ca_file(self) -> str:
        """What a client must trust, PEM."""
        return str(self.certs.ca_file)

    @property
    def received(self) -> Records[R, From]:
        """The last requests and their responses, oldest first (strict profile only)."""
        return self._state.received

    @property
    def counts(self) -> Counter[tuple[int, str]]:
        """Responses by (status, reason), `(200, "")` for accepted requests; (0, fate) for what got no response."""
        return self._state.counts

    @property
    def pushes(self) -> PushCounts:
        """What became of the pushes to devices; other requests are not counted here."""
        return self._state.pushes

    @property
    def connections(self) -> int:
        """Connections open now."""
        return self._server.connections

    @property
    def accepted(self) -> int:
        """Connections accepted since the start, or since connections were numbered anew."""
        return self._server.accepted

    def counters(self) -> dict[str, int]:
        """What became of pushes (`PushCounts`), and what connections and streams have seen (`ServerCounters`)."""
        return {**asdict(self._state.pushes), **asdict(self._server.counters)}

    def _servers(self) -> Sequence[H2Server]:
        """All its listeners."""
        return (self._server,)

    def reset_counters(self) -> None:
        """Set all counters to zero."""
        self._state.counts.clear()
        self._state.pushes.reset()
        for server in self._servers():
            server.reset_counters()

    def reset_connections(self) -> None:
        """Number connections from 1 again, with the SETTINGS of the start; those that are open get GOAWAY."""
        for server in self._servers():
            server.begin_anew()

    def update_settings(self, settings: Settings) -> None:
        """Announce these SETTINGS on every open HTTP/2 connection, and on those to come unless a rule sets them anew."""
        self._server.settings = {**self._server.settings, **settings}
        for peer in list(self._server.peers):
            peer.update_settings(settings)
