"""Requests access tokens from a `token_uri`, over a connection of its own."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final

from ..auth.clock import clock_advice, read_retry_after
from ..auth.service_account import TokenResponse
from ..http2.exchange import header_of
from ..http2.headers import HeaderTemplate
from ..http2.origin import split_uri
from ..http2.pool import Pool
from ..http2.protocol import Http2
from ..http2.proxy import Proxy
from ..http2.round_trip import round_trip
from ..http2.streams import KEEPALIVE, KeepAlive, Limits

TIMEOUT: Final = 10.0
"""Seconds that a request for a token may take."""


class TokenEndpoint:
    """One token endpoint. `now`: the wall clock, which dates in responses are compared with.

    Make it on the event loop that it is used on, and close it there.
    """

    def __init__(
        self,
        token_uri: str,
        context: ssl.SSLContext,
        *,
        engine: Http2,
        now: Callable[[], float],
        proxy: Proxy | None = None,
        keepalive: KeepAlive | None = KEEPALIVE,
        timeout: float = TIMEOUT,
    ) -> None:
        origin, self._path = split_uri(token_uri)
        self._template = HeaderTemplate(
            [
                (b":method", b"POST"),
                (b":scheme", b"https"),
                (b":authority", origin.authority.encode("ascii")),
                (b"content-type", b"application/x-www-form-urlencoded"),
            ]
        )
        self._timeout = timeout
        self._now = now
        self.pool = Pool(
            host=origin.host,
            port=origin.port,
            context=context,
            limits=Limits(timeout, idle_ping=None, keepalive=keepalive),
            max_connections=1,
            engine=engine,
            proxy=proxy,
            name="oauth",
        )

    async def post(self, form: bytes) -> TokenResponse:
        """Post a form and wait for the response.

        Raises:
            TransportError: there is no response.
        """
        exchange = await round_trip(self.pool, self._template, self._path, form, self._timeout)
        if exchange.error is not None:
            raise exchange.error
        if exchange.status == 200:
            return TokenResponse(200, exchange.data)
        now = self._now()
        wait = header_of(exchange.header_block, b"retry-after")
        seconds = read_retry_after(wait, now) if wait is not None else None
        advice = clock_advice(header_of(exchange.header_block, b"date"), now)
        return TokenResponse(exchange.status, exchange.data, seconds, advice)

    async def close(self) -> None:
        """Close the connection. Cancel the calls of `post` that wait for a response first."""
        await self.pool.close()
