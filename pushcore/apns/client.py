"""`ApnsClient`: sends notifications to APNs and says what became of each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ..auth.provider_token import HOLD, ApnsKey, TokenLease
from ..errors import ConfigurationError, GoAway, HeaderListTooLarge, TransportError
from ..http2.exchange import Exchange, header_of
from ..http2.headers import Field
from ..http2.origin import Origin, read_origin
from ..http2.protocol import Link
from ..http2.proxy import Proxy
from ..http2.tls import ClientCertificate, client_context
from ..models.apns import Notification
from ..results import ACCEPTED, Result, Verdict
from ..sender import Sender
from .reasons import REASONS, read_error, verdict_for
from .request import ApnsRequests

log = logging.getLogger("pushcore.apns")

HOSTS: Final = {"production": "api.push.apple.com", "sandbox": "api.sandbox.push.apple.com"}
"""Apple's hosts ("Sending notification requests to APNs")."""

NETWORK_SLACK: Final = 30.0
"""Seconds that a connection keeps a token beyond Apple's 20 minutes: the first push with the old one may have been
held up on its way, so that Apple saw it that much later than we sent it."""


class ApnsClient(Sender[Notification]):
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
    provider = "apns"
    idle_ping = 3600.0
    """Apple's only cadence: after an hour of inactivity."""

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
        if url is None and environment not in HOSTS:
            raise ConfigurationError(f'environment is "production" or "sandbox", not {environment!r}')
        origin = Origin(HOSTS[environment]) if url is None else read_origin(url)
        self._key = auth if isinstance(auth, ApnsKey) else None
        certificate = auth if isinstance(auth, ClientCertificate) else None
        if self._key is None and certificate is None:
            raise ConfigurationError("auth is an ApnsKey or an ApnsCertificate")
        super().__init__(
            origin,
            client_context(ca_file=ca_file, certificate=certificate),
            max_connections=max_connections,
            timeout=timeout,
            http2=http2,
            proxy=proxy,
            now=now,
        )
        self.requests = ApnsRequests(origin.authority, topic, token_auth=self._key is not None)
        self._leases: dict[Link, TokenLease] = {}
        self._token = b""  # the newest that a connection was given

    async def close(self) -> None:
        """Wait up to `timeout` for what is open, then close all connections. Does nothing when it is not open."""
        await super().close()
        self._leases.clear()

    # --- sending --------------------------------------------------------------------------------------------------

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
