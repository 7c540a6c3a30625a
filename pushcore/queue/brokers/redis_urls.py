"""From the URL of Redis or Valkey to a client: one server, the master that Redis Sentinel names, or a cluster.

redis://[USER@]HOST:PORT[/DB]                             rediss:// over TLS; unix:///PATH
redis+sentinel://[USER@]HOST:PORT[,HOST:PORT …]/SERVICE[/DB]   the hosts are sentinels; rediss+sentinel:// over TLS
redis+cluster://[USER@]HOST:PORT[,HOST:PORT …]            any nodes; rediss+cluster:// over TLS
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from ...errors import ConfigurationError
from ..access import Access, check_url_files

try:
    import redis.asyncio as client_library
    from redis.asyncio.cluster import ClusterNode, RedisCluster
    from redis.asyncio.retry import Retry
    from redis.asyncio.sentinel import Sentinel
    from redis.backoff import NoBackoff
except ImportError:  # pragma: no cover  # the extra is not installed, and `RedisQueue.open` says so
    if not TYPE_CHECKING:
        client_library = None

CONNECT: Final = 5.0
"""Seconds for a connection."""
ANSWER: Final = 10.0
"""Seconds for a response, more than any command waits."""
SENTINEL_PORT: Final = 26_379
PORT: Final = 6379


_Sentinel: Any = Sentinel if client_library is not None else None
_Cluster: Any = RedisCluster if client_library is not None else None


def client_of(url: str, access: Access, options: Mapping[str, Any]) -> tuple[Any, list[Any], str]:
    """The client for a URL, further clients to close with it, and the name of the servers in messages.

    Raises:
        ConfigurationError: the URL is invalid.
    """
    scheme, _, rest = url.partition("://")
    kind = scheme.partition("+")[2]
    tls = scheme.startswith("rediss")
    settings: dict[str, Any] = {
        "socket_connect_timeout": CONNECT,
        "socket_timeout": ANSWER,
        "retry": Retry(NoBackoff(), 0),  # the caller decides which commands may be repeated
        **access.tls(tls),
        **options,
    }
    if access.password is not None:
        settings["password"] = access.password
    if not kind:
        check_url_files(url)
        where = urlsplit(url)
        if where.scheme == "unix":
            if not where.path:
                raise ConfigurationError("a queue's URL of a socket is unix:///PATH; it has no path")
            return client_library.from_url(url, **settings), [], where.path
        database = where.path.strip("/")
        if database and not (database.isascii() and database.isdecimal()):  # redis-py would take number 0
            raise ConfigurationError(
                "the database in a queue's URL must be a number, as in redis://HOST:PORT/1"
            )
        shown = f"{where.hostname or 'localhost'}:{where.port or PORT}"
        return client_library.from_url(url, **settings), [], shown
    authority, _, path = rest.partition("/")
    if "?" in rest:
        raise ConfigurationError(f"a queue's URL of {scheme} has no options")
    credentials, _, hosts = authority.rpartition("@")
    user, _, password = credentials.partition(":")
    if user:
        settings["username"] = unquote(user)
    if password:
        settings.setdefault("password", unquote(password))
    if tls:
        settings["ssl"] = True
    nodes = [_host(host, SENTINEL_PORT if kind == "sentinel" else PORT) for host in hosts.split(",")]
    shown = ", ".join(f"{host}:{port}" for host, port in nodes)
    if kind == "cluster":
        if path.strip("/"):
            raise ConfigurationError(
                "a cluster of Redis has one database; the queue's URL is redis+cluster://HOST:PORT"
            )
        del settings["retry"]  # a cluster's client needs it to follow moved slots
        return _Cluster(startup_nodes=[ClusterNode(*node) for node in nodes], **settings), [], shown
    service, _, database = path.partition("/")
    if not service or not (database or "0").isdecimal():
        raise ConfigurationError(
            "a queue's URL of sentinels is redis+sentinel://HOST:PORT,HOST:PORT/SERVICE, or /SERVICE/DB"
        )
    own = {name: value for name, value in settings.items() if name not in ("username", "password")}
    own["socket_timeout"] = CONNECT
    if access.sentinel_password is not None:
        own["password"] = access.sentinel_password
    sentinel: Any = _Sentinel(nodes, sentinel_kwargs=own, **settings)
    master = sentinel.master_for(unquote(service), db=int(database or 0))
    return master, sentinel.sentinels, f"{service} (sentinels {shown})"


def _host(text: str, default: int) -> tuple[str, int]:
    """Host and port of one server; an IPv6 address is in brackets."""
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ConfigurationError("a queue's URL has no host; expected HOST:PORT,HOST:PORT")
    return parts.hostname, parts.port or default
