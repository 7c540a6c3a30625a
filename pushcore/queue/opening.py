"""From a URL to the adapter that speaks to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..arguments import check_number, check_type
from ..errors import ConfigurationError
from .protocol import IDLE, campaign_name

if TYPE_CHECKING:
    from .brokers.nats import NatsQueue
    from .brokers.redis import RedisQueue


async def open_queue(
    url: str, campaign: str, *, idle: float = IDLE, **options: Any
) -> RedisQueue | NatsQueue:
    """The queue of a campaign, to be closed or used in `async with`: `redis://`, `rediss://`, `unix://` and
    `valkey://` for Redis and Valkey, `nats://` and `tls://` for NATS.

    Args:
        url: of the server.
        campaign: its name.
        idle: seconds without a heartbeat after which a worker's chunks go to another.
        options: the adapter's and its client library's.

    Returns:
        The queue, connected.

    Raises:
        ConfigurationError: another scheme, no string, or the client library is not installed.
        QueueError: it cannot be reached or used.
    """
    check_type("url", url, str, "a string such as redis://HOST:PORT")
    campaign_name(campaign)
    check_number("idle", idle, above=0)
    try:
        scheme = urlsplit(url).scheme
        for server in url.split(","):
            _ = urlsplit(server).port
    except ValueError:  # whose text may hold a part of the password
        raise ConfigurationError(
            "the queue's URL cannot be read: its host or its port is none; expected redis://HOST:PORT or nats://HOST:PORT"
        ) from None
    if scheme in ("valkey", "valkeys"):
        scheme = "redis" + scheme.removeprefix("valkey")
        url = scheme + url[url.index(":") :]
    if scheme in ("redis", "rediss", "unix"):
        from .brokers.redis import RedisQueue  # each adapter needs a library that the other does not

        return await RedisQueue.open(url, campaign, idle=idle, **options)
    if scheme in ("nats", "tls"):
        from .brokers.nats import NatsQueue

        return await NatsQueue.open(url, campaign, idle=idle, **options)
    raise ConfigurationError(f"a queue's URL begins with redis:// or nats://, not {scheme[:20]!r}")
