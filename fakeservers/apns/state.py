"""What the connections of one fake APNs share: its registry, and its records of requests and responses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

from fakeservers.apns.asserted import AssertedState
from fakeservers.apns.provider_tokens import ProviderTokens
from fakeservers.apns.registry import ApnsRegistry
from fakeservers.apns.rules import PATH, Fields
from fakeservers.faults import chance
from fakeservers.records import PushCounts, Records
from fakeservers.serving.types import Request


class ApnsRecord:
    """One request and its response."""

    __slots__ = ("_fields", "_path", "body", "connection", "reason", "status", "time")

    def __init__(
        self,
        path: bytes,
        fields: Fields,
        body: bytes,
        status: int,
        reason: str,
        connection: int,
        time: float,
    ) -> None:
        self._path = path
        self._fields = fields
        self.body = body
        self.status = status
        """0 without a response; then `reason` names the fate."""
        self.reason = reason
        """Apple's reason or the name of a fate; empty for an ordinary 200."""
        self.connection = connection
        """1 for the first connection that was accepted, and so on."""
        self.time = time
        """Time by the fake's clock, seconds."""

    @classmethod
    def of(cls, request: Request, status: int, reason: str, connection: int, now: float) -> ApnsRecord:
        """The record of a request."""
        _, headers, body = request
        fields = dict(headers)
        return cls(fields.get(b":path", b""), fields, body, status, reason, connection, now)

    @property
    def token(self) -> str:
        """The device token in the path, or the whole path when it has none."""
        return self._path.removeprefix(PATH).decode("latin-1")

    @property
    def headers(self) -> dict[str, str]:
        """Headers and pseudo-headers; of one that came twice, the last."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self._fields.items()}

    def __repr__(self) -> str:
        return f"ApnsRecord({self.token!r}, status={self.status}, reason={self.reason!r}, connection={self.connection})"


@dataclass(slots=True)
class ApnsState:
    """What the connections of one fake share."""

    registry: ApnsRegistry
    tokens: ProviderTokens
    now: Callable[[], float]
    token_max_age: float
    token_min_refresh: float
    received: Records[ApnsRecord, int]
    counts: Counter[tuple[int, str]] = field(default_factory=Counter)
    pushes: PushCounts = field(default_factory=PushCounts)
    asserted: AssertedState = field(default_factory=AssertedState)
    """What injected responses have asserted."""
    seed: int | None = None
    """Seed of the `apns-id`s in responses; None for random ones."""

    def id_prefix(self, number: int, header: str = "apns-id") -> bytes:
        """The first half of the ids on the n-th connection; the second half is the stream's."""
        if self.seed is None:
            return str(uuid4())[:24].upper().encode()
        digits = f"{chance.salt(self.seed, header, number):016x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-8{digits[13:16]}-".upper().encode()

    def note(
        self, path: bytes, fields: Fields, body: bytes, status: int, reason: str, connection: int
    ) -> None:
        """Count and record one request with its response."""
        self.counts[status, reason] += 1
        if self.received.maxlen != 0:
            self.received.append(ApnsRecord(path, fields, body, status, reason, connection, self.now()))
