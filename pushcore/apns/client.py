"""`ApnsClient`: sends notifications to APNs and says what became of each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, cast
from urllib.parse import urlsplit

from ..auth.provider_token import HOLD, ApnsKey, TokenLease
from ..errors import ClosedError, ConfigurationError, GoAway, HeaderListTooLarge, TransportError
from ..http2.exchange import Exchange, header_of
from ..http2.headers import Field
from ..http2.pool import Pool
from ..http2.protocol import ENGINES, Link
from ..http2.proxy import Proxy, find_proxy
from ..http2.streams import Limits
from ..http2.tls import ClientCertificate, client_context
from ..models.apns import Notification
from ..results import ACCEPTED, Result, Verdict
from .reasons import REASONS, read_error, verdict_for
from .request import ApnsRequests

log = logging.getLogger("pushcore.apns")

HOSTS: Final = {"production": "api.push.apple.com", "sandbox": "api.sandbox.push.apple.com"}
"""Apple's hosts ("Sending notification requests to APNs")."""

NETWORK_SLACK: Final = 30.0
"""Seconds that a connection keeps a token beyond Apple's 20 minutes: the first push with the old one may have been
held up on its way, so that Apple saw it that much later than we sent it."""


class ApnsClient:
    """A sender to one environment of APNs with one key or certificate, over a few HTTP/2 connections.

    `auth`: an `ApnsKey` or an `ApnsCertificate`. `topic`: the bundle id of pushes that name none. `environment`:
    "production" or "sandbox"; `url`, such as "https://127.0.0.1:2197", takes its place. `ca_file`: PEM file of the
    only authorities to trust, None for the system's. `max_connections`: how many to open at most. `timeout`: seconds
    from the moment that the client takes a push until its result. `http2`: "fast", or "reference" for the one on
    python-hyper/h2. `proxy`: an HTTP proxy or its address, such as "http://user:password@proxy.example:3128", that all
    connections go through; "environment" takes it from HTTPS_PROXY and NO_PROXY; None, the default, is none. `now`:
    the wall clock, UNIX seconds.

    Use it as an async context manager, on one event loop. Raises `ConfigurationError` for what cannot work.
    """

    handles = Notification
    """The pushes that the engine hands to this client."""
    streams = 1000
    """Requests at a time on a connection, as APNs usually allows."""
    quota = False
    """APNs limits no project's rate; its 429 is about one device."""

    def __init__(
        self,
        auth: ApnsKey | ClientCertificate,
        *,
        topic: str | None = None,
        environment: str = "production",
        url: str | None = None,
        ca_file: str | Path | None = None,
        max_connections: int = 8,
        timeout: float = 10.0,
        http2: str = "fast",
        proxy: Proxy | str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._host, self._port = _host_and_port(environment, url)
        if http2 not in ENGINES:
            raise ConfigurationError(f"http2 is one of {', '.join(ENGINES)}, not {http2!r}")
        if max_connections < 1 or timeout <= 0:
            raise ConfigurationError("max_connections must be at least 1 and timeout above 0")
        self._key = auth if isinstance(auth, ApnsKey) else None
        certificate = auth if isinstance(auth, ClientCertificate) else None
        if self._key is None and certificate is None:
            raise ConfigurationError("auth is an ApnsKey or an ApnsCertificate")
        self._context = client_context(ca_file=ca_file, certificate=certificate)
        host = f"[{self._host}]" if ":" in self._host else self._host
        authority = host if self._port == 443 else f"{host}:{self._port}"
        self.requests = ApnsRequests(authority, topic, token_auth=self._key is not None)
        self.max_connections = max_connections
        self.timeout = timeout
        self._engine = http2
        self._proxy = find_proxy(proxy, self._host, self._port)
        self._now = now
        self._leases: dict[Link, TokenLease] = {}
        self._token = b""  # the newest that a connection was given
        self._pool: Pool | None = None

    # --- opening and closing --------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Get ready to send; the first connection is made when there is something to send."""
        if self._pool is not None:
            raise ClosedError("this client is open already")
        self._loop = asyncio.get_running_loop()
        self._pool = Pool(
            host=self._host,
            port=self._port,
            context=self._context,
            limits=Limits(timeout=self.timeout),
            max_connections=self.max_connections,
            engine=self._engine,
            authorize=self._authorize,
            proxy=self._proxy,
            name="apns",
        )

    async def close(self) -> None:
        """Wait up to `timeout` for what is open, then close all connections. Does nothing when it is not open."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()
            self._leases.clear()

    @property
    def opened(self) -> bool:
        """Whether the client can send."""
        return self._pool is not None

    async def __aenter__(self) -> ApnsClient:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def pool(self) -> Pool:
        """The connections. Raises `ClosedError` when the client is not open."""
        if self._pool is None:
            raise ClosedError("the client is not open: use it in `async with`")
        return self._pool

    # --- sending --------------------------------------------------------------------------------------------------

    async def send(self, push: Notification) -> Result:
        """Send one push and wait for its result. It never raises for what becomes of the push.

        Cancelled, it resets the stream and frees its slot; the push may have been delivered all the same.

        Raises:
            ClosedError: the client is not open.
        """
        pool = self._pool
        if pool is None:
            raise ClosedError("the client is not open: use it in `async with`")
        loop = self._loop
        future = loop.create_future()
        exchange = self.requests.build(push, self._settle, (push, future), loop.time() + self.timeout)
        if type(exchange) is Result:
            return exchange
        exchange = cast(Exchange, exchange)
        pool.submit(exchange)
        try:
            return cast(Result, await future)
        except asyncio.CancelledError:
            pool.cancel(exchange)
            raise

    def _settle(self, exchange: Exchange) -> None:
        push, future = exchange.context
        result = self.result(exchange, push)
        if result is not None and not future.done():
            future.set_result(result)

    def result(self, exchange: Exchange, push: Any) -> Result | None:
        """What became of `push`, whose finished exchange this is; None when it was sent once more."""
        if exchange.status == 200 and exchange.error is None:
            if push.apns_id is None:
                return Result(push, ACCEPTED, 200, exchange.attempts, exchange.block, _find_id)
            return Result(push, ACCEPTED, 200, exchange.attempts, push.apns_id)
        if exchange.error is not None:
            return _unanswered(exchange, push, exchange.error)
        status = exchange.status
        reason, timestamp = read_error(exchange.data)
        verdict = verdict_for(status, reason)
        detail = None
        if reason == "ExpiredProviderToken" and self._key is not None:
            if self._renewed(self._key):
                pool = self._pool  # None while the client closes: then the answer stands
                if pool is not None and not getattr(exchange, "replayed", False):
                    exchange.replayed = True
                    exchange.restart()
                    pool.waiting.append(exchange)
                    return None
            else:
                detail = "Apple calls our newest token expired: this machine's clock is wrong"
        sent = push.apns_id is not None
        return Result(
            push,
            verdict,
            status,
            exchange.attempts,
            push.apns_id if sent else exchange.block,
            None if sent else _find_id,
            reason,
            timestamp,
            detail=detail,
        )

    # --- provider tokens ------------------------------------------------------------------------------------------

    def _authorize(self, link: Link) -> None:
        """Give a connection the token that it may use now; called before the first request of each tick."""
        if self._key is None:
            return
        lease = self._leases.get(link)
        if lease is None:
            self._leases = {each: kept for each, kept in self._leases.items() if not each.gone.done()}
            lease = self._leases[link] = TokenLease(self._key, HOLD + NETWORK_SLACK)
        now = self._now()
        if not lease.since <= now < lease.due:
            value = lease.renew(now)
            if value is not None:
                link.connection.authorize(value)
                self._tell_rotation(value)

    def _tell_rotation(self, value: bytes) -> None:
        if value != self._token and self._pool is not None:
            if self._token:
                log.info("the provider token was renewed")
            self._token = value
            self._pool.events.token_rotated("apns")

    def _renewed(self, key: ApnsKey) -> bool:
        """After an ExpiredProviderToken: leave the connections that use an old token. False if there is none.

        Apple wedges a connection that has used an expired token, so it gets nothing more.
        """
        newest = key.reset(self._now())
        renewed = False
        for link, lease in self._leases.items():
            if lease.token is not None and lease.token.iat != newest.iat and not link.gone.done():
                link.connection.drain()
                renewed = True
        return renewed


def _find_id(block: bytes | list[Field]) -> str | None:
    return header_of(block, b"apns-id")


def _unanswered(exchange: Exchange, push: Any, error: TransportError) -> Result:
    """The result of an exchange that ended without a complete answer."""
    reason = error.reason if isinstance(error, GoAway) else None
    if isinstance(error, HeaderListTooLarge):
        verdict = Verdict.INVALID
    elif error.unprocessed:
        # GOAWAY can say why: {"reason": "BadCertificateEnvironment"} refuses every push there will be.
        known = REASONS.get(reason or "")
        configured = known is not None and known.verdict is Verdict.MISCONFIGURED
        verdict = Verdict.MISCONFIGURED if configured else Verdict.UNSENT
    else:
        verdict = Verdict.UNKNOWN
    status = exchange.status or None
    return Result(push, verdict, status, exchange.attempts, push.apns_id, reason=reason, detail=error)


def _host_and_port(environment: str, url: str | None) -> tuple[str, int]:
    if url is None:
        if environment not in HOSTS:
            raise ConfigurationError(f'environment is "production" or "sandbox", not {environment!r}')
        return HOSTS[environment], 443
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"url must look like https://127.0.0.1:2197, not {url!r}") from None
    if (
        parts.scheme != "https"
        or not parts.hostname
        or parts.path.strip("/")
        or parts.query
        or parts.username
    ):
        raise ConfigurationError(f"url must look like https://127.0.0.1:2197, not {url!r}")
    return parts.hostname, port or 443
