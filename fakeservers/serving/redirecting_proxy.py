"""An HTTP proxy that leads every CONNECT to a fake, whatever host it names: no byte leaves the machine.

A sender that supports a proxy then needs no change of its host names (RFC 9110, 9.3.6).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import Self, TypeAlias

Address: TypeAlias = tuple[str, int]
Route: TypeAlias = Callable[[str, int], Address | None]
"""From host and port of a CONNECT to the address of a fake; None when no fake stands for them."""

MAX_HEAD = 16_384
"""Maximum bytes of a request's head."""
HEAD_TIMEOUT = 10.0
"""Seconds to wait for a request's head."""
CHUNK = 65_536
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):([0-9]{1,5})", re.ASCII)


class RedirectingProxy:
    """Listens while its `async with` block runs.

    Args:
        route: where each CONNECT leads.
        host: address to listen on.
        port: 0 takes a free one.
        max_connections: tunnels open at a time; one more is cut.

    Raises:
        OSError: on entering, when the address cannot be listened on.
    """

    def __init__(
        self, route: Route, *, host: str = "127.0.0.1", port: int = 0, max_connections: int = 1024
    ) -> None:
        self._route = route
        self._host = host
        self._wanted_port = port
        self._max_connections = max_connections
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self.tunnels = 0
        """Tunnels that were opened."""
        self.refused = 0
        """Requests that were answered with an error."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self._host, self._wanted_port, limit=MAX_HEAD)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Aborted transports close in the loop's next iteration, and the loop may end now.
        await asyncio.sleep(0)

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._server.sockets[0].getsockname()[1]}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= self._max_connections:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            writer.transport.abort()  # not in the task, which may be cancelled before its first line
            self._tasks.discard(task)

        task.add_done_callback(ended)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The client may disconnect; uvloop raises a RuntimeError when something is written after that.
        with contextlib.suppress(OSError, RuntimeError, asyncio.IncompleteReadError):
            target = await self._target(reader, writer)
            if target is not None:
                await self._tunnel(reader, writer, target)

    async def _target(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Address | None:
        """The address for a request; None when it was answered with an error."""
        try:
            async with asyncio.timeout(HEAD_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            await self._refuse(writer, "408 Request Timeout", f"expected a request within {HEAD_TIMEOUT:g} s")
            return None
        except asyncio.LimitOverrunError:
            status = "431 Request Header Fields Too Large"
            await self._refuse(writer, status, f"expected at most {MAX_HEAD} bytes before the empty line")
            return None
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        if method != "CONNECT":
            await self._refuse(writer, "405 Method Not Allowed", "this proxy takes CONNECT alone")
            return None
        authority = rest.partition(" ")[0]
        match = _AUTHORITY.fullmatch(authority)
        if match is None or not 1 <= int(match[2]) <= 65_535:
            sentence = "CONNECT needs HOST:PORT, with a port from 1 to 65535"
            await self._refuse(writer, "400 Bad Request", sentence)
            return None
        target = self._route(match[1].strip("[]"), int(match[2]))
        if target is None:
            await self._refuse(writer, "502 Bad Gateway", f"no fake answers for {authority:.300}")
        return target

    async def _refuse(self, writer: asyncio.StreamWriter, status: str, sentence: str) -> None:
        self.refused += 1
        body = f"{sentence}\n".encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\nallow: CONNECT\r\nconnection: close\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.write_eof()

    async def _tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Address
    ) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection(*target)
        except OSError:
            await self._refuse(writer, "502 Bad Gateway", "the fake does not listen")
            return
        self.tunnels += 1
        writer.write(b"HTTP/1.1 200 Connection Established\r\n\r\n")
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_copy(reader, inner_writer))
                tasks.create_task(_copy(inner_reader, writer))
        finally:
            inner_writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy bytes, the end included."""
    with contextlib.suppress(OSError, RuntimeError):  # of uvloop, for a transport that is closed
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
        return
    writer.transport.abort()
