"""A TCP server on loopback, for the servers and proxies of tests that are not the fakes."""

from __future__ import annotations

import abc
import asyncio
import ssl
from typing import Any, Self


class LoopbackServer(abc.ABC):
    """Serves each connection on a free port of 127.0.0.1; leaving it cancels its tasks and aborts its connections.

    `context` is its TLS; None for none. `accepted` counts the connections, over TLS those whose handshake succeeded.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.accepted = 0
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        tls: dict[str, Any] = {} if self._context is None else {"ssl_shutdown_timeout": 1.0}
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._context, **tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.append(writer)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @abc.abstractmethod
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...
