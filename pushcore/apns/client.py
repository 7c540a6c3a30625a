"""`ApnsClient`: sends notifications to APNs, with a result for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from ..arguments import check_choice, check_type
from ..auth.provider_token import ApnsKey, Environment
from ..errors import ConfigurationError
from ..http2.origin import Origin, read_origin
from ..http2.protocol import Http2
from ..http2.proxy import Proxy
from ..http2.streams import KEEPALIVE, KeepAlive
from ..http2.tls import ApnsCertificate, PathOrContent
from ..models.apns import Broadcast, Notification
from ..provider_client import ProviderClient
from ..results import Result
from .dispatcher import ApnsDispatcher

N = TypeVar("N", bound=Notification)
B = TypeVar("B", bound=Broadcast)

HOSTS: Final[Mapping[Environment, str]] = {
    "production": "api.push.apple.com",
    "sandbox": "api.sandbox.push.apple.com",
}
"""Apple's hosts ("Sending notification requests to APNs")."""


class ApnsClient(ProviderClient[Notification]):
    """Sends to one environment of APNs with one key or certificate, over a few HTTP/2 connections.

    APNs binds a connection, at its first push, to one team, one environment and one family of keys. So if you have
    several keys, make several clients.

    Use it as an async context manager, on one event loop.

    Args:
        auth: an `ApnsKey` or an `ApnsCertificate`.
        topic: the bundle id for pushes without a topic.
        environment: "production", the default, or "sandbox".
        url: another server instead of Apple's, such as "https://127.0.0.1:2197". If `environment` is not set, the
            client then accepts pushes of both environments.
        broadcast_url: the server for broadcasts, if it is another one. Apple's text names the server for pushes,
            its examples "https://api-broadcast.push.apple.com".
        ca_file: the only CAs to trust, as the path of a PEM file or its content; None for the system's.
        max_connections: the limit of open connections.
        timeout: seconds from the moment when the client takes a push until its result.
        http2: "fast", or "reference" for the one on python-hyper/h2.
        proxy: the HTTP proxy for all connections, or its address, such as
            "http://user:password@proxy.example:3128"; "environment" reads it from HTTPS_PROXY and NO_PROXY; None,
            the default, for no proxy.
        idle_ping: seconds without traffic after which a connection is pinged, one hour as Apple advises; None for
            never.
        keepalive: TCP keepalive by the system: seconds without traffic before the first probe, seconds between
            probes, and the number of probes without a response that ends the connection; None for none.
        now: the wall clock, UNIX seconds.

    Raises:
        ConfigurationError: an argument is wrong; the message names it.
    """

    _dispatcher: ApnsDispatcher

    def __init__(
        self,
        auth: ApnsKey | ApnsCertificate,
        *,
        topic: str | None = None,
        environment: Environment | None = None,
        url: str | None = None,
        broadcast_url: str | None = None,
        ca_file: PathOrContent | None = None,
        max_connections: int = 8,
        timeout: float = 10.0,
        http2: Http2 = "fast",
        proxy: Proxy | str | None = None,
        idle_ping: float | None = 3600.0,
        keepalive: KeepAlive | None = KEEPALIVE,
        now: Callable[[], float] = time.time,
    ) -> None:
        if environment is not None:
            check_choice("environment", environment, HOSTS)
        if url is None:
            environment = environment or "production"
            origin = Origin(HOSTS[environment])
        else:
            origin = read_origin(url)
        self.environment: Environment | None = environment
        """The environment; None if only a URL was given."""
        check_type("auth", auth, (ApnsKey, ApnsCertificate), "an ApnsKey or an ApnsCertificate")
        self._check_environment(auth)
        dispatcher = ApnsDispatcher(
            auth,
            origin,
            origin if broadcast_url is None else read_origin(broadcast_url, "broadcast_url"),
            topic,
            ca_file,
            max_connections=max_connections,
            timeout=timeout,
            http2=http2,
            proxy=proxy,
            idle_ping=idle_ping,
            keepalive=keepalive,
            now=now,
            environment=environment,
        )
        super().__init__(dispatcher)

    if TYPE_CHECKING:  # the same method, whose result knows a subclass

        async def send(self, push: N) -> Result[N]: ...

    def use(self, auth: ApnsKey | ApnsCertificate) -> None:
        """Replace the key or certificate by another key or certificate. The client may be open and sending.

        From the next request on, new connections with the new credentials are used. The old connections get no more
        requests, and end when their last push has its response. No push is lost or sent twice. A push that Apple
        rejected with 403 on an old connection is sent again. `ca_file` is read again if one of the two credentials is
        a certificate. If a certificate replaces a key, Apple rejects pushes of the type location, and pushes to other
        topics.

        Raises:
            ConfigurationError: the credentials are wrong, or they are a key and the client has a certificate and no topic; the
                client continues as before.
            EventLoopError: the client was opened on another event loop.
        """
        self._check_environment(auth)
        self._dispatcher.use(auth)

    def _check_environment(self, auth: object) -> None:
        restricted = auth.environment if isinstance(auth, ApnsKey) else None
        if restricted is not None and self.environment not in (None, restricted):
            raise ConfigurationError(
                f"the key is for {restricted}, and the environment is {self.environment}"
            )

    async def broadcast(self, push: B) -> Result[B]:
        """Send one push to all devices that are subscribed to a channel, and wait for its result, as `send` does.

        `result.id` is the `apns-request-id`. ACCEPTED means that APNs has accepted the push; it says nothing about the
        devices.

        Raises:
            ClosedError: the client is not open.
            EventLoopError: the client was opened on another event loop.
            TypeError: the object is not a `Broadcast`.
        """
        return await self._dispatcher.broadcast(push)
