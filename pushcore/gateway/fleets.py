"""What several instances of one gateway share: the rates of their projects, and idempotency keys."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from ..engine.rate import FCM_RATE, Rate
from ..engine.rules import Shared
from ..errors import ConfigurationError
from ..queue.access import check_url_files
from ..queue.fleet import Fleet
from ..queue.opening import open_queue
from .config import FleetSection
from .idempotency import Idempotency, MemoryRecords, RedisRecords


class Instances:
    """The instances of one gateway, of which this is one.

    Args:
        section: of the configuration.

    Raises:
        ConfigurationError: redis-py is not installed, or the URL is wrong.
    """

    def __init__(self, section: FleetSection) -> None:
        self._section = section

    def rate(self, text: str | None, *, quota: bool) -> Rate | None:
        """The rate of this instance.

        Args:
            text: of the configuration; None for the provider's.
            quota: whether the provider has one for a project.

        Raises:
            ConfigurationError: the text is not a rate.
        """
        rate = Rate.parse(text) if text is not None else FCM_RATE if quota else None
        if rate is None or rate.unlimited or self._section.redis is not None or self._section.instances == 1:
            return rate
        return Rate(rate.pushes / self._section.instances, rate.seconds)

    def fleet(self, account: str) -> Callable[[], AbstractAsyncContextManager[Shared]] | None:
        """The shared state of one account of a provider, by its name; None if the instances share nothing."""
        url = self._section.redis
        if url is None:
            return None
        name = "gateway-" + hashlib.sha256(account.encode()).hexdigest()[:32]

        @contextlib.asynccontextmanager
        async def share() -> AsyncIterator[Shared]:
            async with await open_queue(url, name) as queue, Fleet(queue) as fleet:
                yield fleet

        return share

    def idempotency(self) -> Idempotency:
        """The service of idempotency keys."""
        return Idempotency(
            MemoryRecords() if self._section.redis is None else RedisRecords(_redis(self._section.redis))
        )


def _redis(url: str) -> Any:
    try:
        from redis import RedisError
        from redis import asyncio as redis
    except ImportError:
        raise ConfigurationError(
            'several instances share a Redis with redis-py, which is not installed; pip install "pushcore[redis]"'
        ) from None
    check_url_files(url)
    if url.startswith("valkey"):
        url = "redis" + url.removeprefix("valkey")
    try:
        client: Any = redis.from_url(url, socket_connect_timeout=2.0, socket_timeout=2.0)
        client.connection_pool.make_connection()  # an unknown option of the URL is an error now
        return client
    except (ValueError, TypeError, RedisError):
        raise ConfigurationError("redis is no URL of a Redis server; expected redis://HOST:PORT") from None
