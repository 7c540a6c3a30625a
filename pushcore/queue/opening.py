"""From a URL to the adapter that speaks to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..arguments import check_number, check_type
from ..errors import ConfigurationError
from ..redaction import shown_address, split_address
from .access import Access
from .protocol import IDLE, campaign_name

if TYPE_CHECKING:
    from .brokers.nats import NatsQueue
    from .brokers.redis import RedisQueue


_REDIS: Final = frozenset(
    {
        "unix",
        *(f"{scheme}{kind}" for scheme in ("redis", "rediss") for kind in ("", "+sentinel", "+cluster")),
    }
)


async def open_queue(
    url: str, campaign: str, *, idle: float = IDLE, access: Access | None = None, **options: Any
) -> RedisQueue | NatsQueue:
    """The queue of a campaign, to be closed or used in `async with`.

    `redis://`, `rediss://`, `unix://` and `valkey://` are Redis and Valkey; `redis+sentinel://HOST:PORT,HOST:PORT/SERVICE` is the
    master that sentinels know, `redis+cluster://HOST:PORT,HOST:PORT` a cluster. `nats://` and `tls://` are NATS: several URLs
    separated by commas, `?replicas=3` at their end for streams on three servers.

    Args:
        url: of the server or servers.
        campaign: its name.
        idle: seconds without a heartbeat after which a worker's chunks go to another.
        access: passwords and certificates that do not stand in the URL.
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
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    servers = url.partition("?")[0].split(",")
    if any(
        split_address(server if "://" in server else f"//{server.partition('/')[0]}") is None
        for server in servers
    ):
        raise ConfigurationError(
            "the queue's URL cannot be read: its host or port is invalid; expected redis://HOST:PORT or nats://HOST:PORT"
        )
    if scheme.startswith("valkey"):
        scheme = "redis" + scheme.removeprefix("valkey")
        url = scheme + url[url.index(":") :]
    if scheme in _REDIS:
        from .brokers.redis import RedisQueue  # each adapter needs a library that the other does not

        return await RedisQueue.open(url, campaign, idle=idle, access=access, **options)
    if scheme in ("nats", "tls"):
        from .brokers.nats import NatsQueue

        return await NatsQueue.open(url, campaign, idle=idle, access=access, **options)
    raise ConfigurationError(f"a queue's URL begins with redis:// or nats://, not {shown_address(url)}")
