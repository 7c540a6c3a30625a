"""Opens connections to one origin, one at a time, with a pause after failures."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import Callable

from ..errors import ConnectError, ConnectionLost, TransportError
from .protocol import Link
from .proxy import Proxy
from .streams import ConnectionState
from .tls import name_tls_error

HANG_UP = 1.0
"""Seconds that a peer has to close, on TLS and on TCP."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds between dials after failures, doubled each time."""
LEAST_TIMEOUT = 1.0
"""Seconds that one of several addresses has at least."""


class Dialer:
    """Resolves the origin anew for each dial, tries its addresses in random order, and remembers why one failed.

    Args:
        host: the server's name, which its certificate is verified against.
        port: its port.
        context: TLS, see `tls.client_context`.
        timeout: seconds that one dial may take; half of them for all addresses together, so that a push that waits for
            the connection still learns why there is none.
        new_link: makes the protocol of a new connection.
        proxy: what all connections go through.
        rng: the source of jitter and of the order of addresses.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        context: ssl.SSLContext,
        timeout: float,
        new_link: Callable[[], Link],
        proxy: Proxy | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.host, self.port = host, port
        self.new_link = new_link
        self.last_error: TransportError | None = None
        """Why the newest dial failed, or its connection before it was of use; None after one that succeeded."""
        self._context = context
        self._timeout = timeout
        self._proxy = proxy
        self._rng = rng or random.Random()
        self._failures = 0
        self._not_before = 0.0
        self._loop = asyncio.get_running_loop()

    def back_off(self, error: TransportError) -> None:
        """Pause before the next dial, twice as long as after the failure before."""
        self.last_error = error
        pause = min(FIRST_PAUSE * 2 ** min(self._failures, 10), LONGEST_PAUSE)
        self._failures += 1
        self._not_before = self._loop.time() + pause * self._rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        """A connection was of use: the next failure is the first."""
        self._failures = 0

    async def pause(self) -> None:
        """Wait until the next dial is allowed."""
        seconds = self._not_before - self._loop.time()
        if seconds > 0:
            await asyncio.sleep(seconds)

    async def dial(self) -> Link:
        """A connection whose SETTINGS have arrived.

        Raises:
            TransportError: why there is none.
        """
        error: TransportError | None = None
        try:
            async with asyncio.timeout(self._timeout):
                addresses = await self._resolve()
                seconds = max(self._timeout / 2 / len(addresses), LEAST_TIMEOUT)
                for address in addresses:
                    try:
                        link = await self._open_address(address, seconds)
                    except (OSError, TransportError) as failure:
                        error = failure if isinstance(failure, TransportError) else name_tls_error(failure)
                    else:
                        self.last_error = None
                        return link
        except TimeoutError:
            pass
        except OSError as failure:
            error = name_tls_error(failure) if self._proxy is None else self._proxy.name_error(failure)
        raise error or ConnectError(f"no connection within {self._timeout:g} s")

    async def _resolve(self) -> list[str]:
        """The addresses of the server, or of the proxy, in random order: APNs has no load balancer in front of it."""
        host, port = self._proxy.address if self._proxy is not None else (self.host, self.port)
        infos = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(info[4][0]) for info in infos]
        self._rng.shuffle(addresses)
        return addresses

    async def _open_address(self, address: str, seconds: float) -> Link:
        link: Link | None = None
        try:
            async with asyncio.timeout(seconds):
                if self._proxy is not None:
                    link = await self._proxy.connect(
                        self.new_link, address, self.host, self.port, self._context, seconds
                    )
                else:
                    _, link = await self._loop.create_connection(
                        self.new_link,
                        address,
                        self.port,
                        ssl=self._context,
                        server_hostname=self.host,
                        ssl_shutdown_timeout=HANG_UP,
                    )
                await link.ready
                if link.connection.state is not ConnectionState.OPEN:  # SETTINGS, and GOAWAY at once
                    raise link.connection.error or ConnectionLost("the server closed the connection")
                return link
        except BaseException as error:
            if link is not None:
                link.abort()
            if isinstance(error, TimeoutError):
                missing = "no connection with TLS" if link is None else "connected, but no SETTINGS"
                raise ConnectError(f"{missing} within {seconds:g} s") from None
            raise
