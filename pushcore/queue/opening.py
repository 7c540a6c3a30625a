"""From a URL to the adapter for its broker."""

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
    """Connect to the queue of a campaign. Close it, or use it in `async with`.

    `redis://`, `rediss://`, `unix://` and `valkey://` are Redis and Valkey. `redis+sentinel://HOST:PORT,HOST:PORT/SERVICE` is the
    master that Redis Sentinel names, `redis+cluster://HOST:PORT,HOST:PORT` a cluster. `nats://` and `tls://` are NATS: one URL
    or several, separated by commas; `?replicas=3` at the end keeps copies on three servers.

    Args:
        url: of the server or servers.
        campaign: its name.
        idle: seconds after which a chunk is leased to another worker, if its worker has not extended the lease.
        access: passwords and certificates that are not in the URL.
        options: further options of the adapter and its client library.

    Returns:
        The connected queue.

    Raises:
        ConfigurationError: the URL is invalid or has another scheme, a PEM file of `access` cannot be read, or the client
            library is not installed.
        QueueError: the queue is unreachable or rejects the connection.
    """
    check_type("url", url, str, "a string such as redis://HOST:PORT")
    campaign_name(campaign)
    check_number("idle", idle, above=0)
    if access is not None:
        check_type("access", access, Access, "an Access")
        access.check()
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
        from .brokers.redis import RedisQueue  # only one of the client libraries need be installed

        return await RedisQueue.open(url, campaign, idle=idle, access=access, **options)
    if scheme in ("nats", "tls"):
        from .brokers.nats import NatsQueue

        return await NatsQueue.open(url, campaign, idle=idle, access=access, **options)
    raise ConfigurationError(f"a queue's URL begins with redis:// or nats://, not {shown_address(url)}")
