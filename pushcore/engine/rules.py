"""The settings of an engine: clients, and the rules for all its runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from ..http2.exchange import Exchange
from ..http2.pool import Pool
from ..metrics import Listeners, Metrics
from ..requests import RequestBuilder
from ..results import P_co, Result
from .rate import FCM_RATE, Limiter, Rate, RateLimiter, project_limiter
from .retry import RetryPolicy

if TYPE_CHECKING:
    from .breaker import Peers, Trip


class EngineClient(Protocol[P_co]):
    """The interface of a client for the engine; the dispatchers of `ApnsClient`, `FcmClient` and `LegacyFcmClient` have it.

    `handles`: the class of its pushes. `streams`: requests that its provider allows at a time on one connection.
    `quota`: whether its provider limits the rate of a whole project, see `reasons.Reason.scope`.
    `environment`: where its provider has several, the one that it sends to; None where that is not known.
    `takes_all`: whether it takes every push of that class and environment; else `takes` says it of one.
    """

    @property
    def handles(self) -> type[P_co]: ...
    @property
    def streams(self) -> int: ...
    @property
    def quota(self) -> bool: ...
    @property
    def environment(self) -> str | None: ...
    @property
    def takes_all(self) -> bool: ...
    @property
    def max_connections(self) -> int: ...
    @property
    def timeout(self) -> float: ...
    @property
    def requests(self) -> RequestBuilder: ...
    @property
    def pool(self) -> Pool: ...
    @property
    def opened(self) -> bool: ...
    def check_loop(self) -> None: ...
    async def open(self) -> None: ...
    async def close(self) -> None: ...
    def takes(self, push: Any) -> bool: ...
    def accept(self, finished: list[Exchange], results: list[Result]) -> list[Exchange]: ...
    def result(self, exchange: Exchange, push: Any) -> Result | None: ...


class PushClient(Protocol[P_co]):
    """A client of pushes of the class `P_co`, as the engine is given it. Its inner side is not public; see `dispatcher_of`."""

    @property
    def _dispatcher(self) -> EngineClient[P_co]: ...


def dispatcher_of(client: PushClient[P_co]) -> EngineClient[P_co]:
    """The inner side of a client, for the packages above the engine: its requests, its connections, its limits."""
    return client._dispatcher


class Shared(Protocol):
    """State that several processes share: `shared.SharedState` on one machine, one for each provider, and
    `queue.fleet.Fleet` on many, one for all. `peers`: None where each judges by its own responses alone. `paused`: nothing is to
    be sent for now."""

    @property
    def paused(self) -> bool: ...
    @property
    def trip(self) -> Trip | None: ...
    def stop(self, trip: Trip) -> Trip: ...
    def limiter(self, name: str, limiter: RateLimiter) -> Limiter: ...
    def peers(self) -> Peers | None: ...


@dataclass(slots=True)
class Rules:
    """The sending rules of an engine, the same for all its runs."""

    retry: RetryPolicy | None
    rate: Rate | None
    breaker: bool
    events: Listeners
    listening: bool
    """Whether a listener gets results."""
    metrics: Metrics | None
    shared: Shared | Mapping[str, Shared] | None
    rng: Random = field(default_factory=Random)
    pending_timeout: float | None = None
    """Seconds that a push may wait for the rate limit; None for as long as it takes."""
    start: float = -math.inf
    """When the first push may be sent, in seconds of the event loop's clock."""

    def limiter(self, client: EngineClient) -> Limiter | None:
        """The client's: the rate that was set, else its provider's quota, else none."""
        rate = self.rate
        limiter: RateLimiter
        if client.quota:
            limiter = project_limiter(rate or FCM_RATE)
        elif rate is not None and not rate.unlimited:
            limiter = RateLimiter(rate)
        else:
            return None
        shared = self.shared_by(client.pool.name)
        return limiter if shared is None else shared.limiter(client.pool.name, limiter)

    def shared_by(self, name: str) -> Shared | None:
        """The state that this provider's lanes share with other processes."""
        shared = self.shared
        return shared.get(name) if isinstance(shared, Mapping) else shared
