"""An HTTP proxy for CONNECT only, on asyncio's streams, for the tests of `pushcore.http2.proxy`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Awaitable, Callable

from .loopback import LoopbackServer

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class ConnectProxy(LoopbackServer):
    """A proxy on a free port.

    `credentials`: "user:password" that it demands. `answer`: what it says to every CONNECT in place of opening a
    tunnel, after which it hangs up. `talk`: what it does with a connection in place of all that. `context`: its TLS,
    for an https:// proxy. `hosts`: where a name leads, in the place of DNS.

    `targets`: what CONNECT asked for. `accepted` counts connections, `tunnels` those that were let through, and
    `headers` are those of the last request, names in lower case.
    """

    def __init__(
        self,
        *,
        credentials: str | None = None,
        answer: bytes | None = None,
        talk: Talk | None = None,
        context: ssl.SSLContext | None = None,
        hosts: dict[str, tuple[str, int]] | None = None,
    ) -> None:
        super().__init__(context)
        self.targets: list[str] = []
        self.headers: dict[str, str] = {}
        self.tunnels = 0
        self._credentials = credentials
        self._answer = answer
        self._talk = talk or self._tunnel
        self._hosts = hosts or {}

    def url(self, credentials: str | None = None) -> str:
        """Its address, with a name and a password if there are some."""
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://{f'{credentials}@' if credentials else ''}127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._talk(reader, writer)
            await writer.drain()
        writer.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
        method, target, version = line.split(" ")
        assert (method, version) == ("CONNECT", "HTTP/1.1")
        self.targets.append(target)
        self.headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in fields if line)
        }
        assert self.headers["host"] == target  # RFC 9112, section 3.2.3
        if self._answer is not None:
            writer.write(self._answer)
            return
        if self._credentials is not None:
            word = base64.b64encode(self._credentials.encode()).decode("ascii")
            if self.headers.get("proxy-authorization") != f"Basic {word}":
                writer.write(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                    b'Proxy-Authenticate: Basic realm="test"\r\nContent-Length: 5\r\n\r\nsorry'
                )
                return
        host, _, port = target.rpartition(":")
        where, there = self._hosts.get(host, (host, int(port)))
        try:
            inner_reader, inner_writer = await asyncio.open_connection(where, there)
        except OSError:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            return
        self._writers.append(inner_writer)
        self.tunnels += 1
        writer.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


class Balancer(LoopbackServer):
    """A TCP proxy before several servers: each connection goes to the next one that can be connected to.

    What it has passed on once is lost with its server, as behind nginx without `proxy_next_upstream`.
    """

    def __init__(self, *ports: int) -> None:
        super().__init__()
        self._ports = ports
        self._next = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in self._ports:
            self._next += 1
            port = self._ports[self._next % len(self._ports)]
            with contextlib.suppress(OSError):
                inside_reader, inside_writer = await asyncio.open_connection("127.0.0.1", port)
                self._writers.append(inside_writer)
                await asyncio.gather(_copy(reader, inside_writer), _copy(inside_reader, writer))
                break
        writer.close()
