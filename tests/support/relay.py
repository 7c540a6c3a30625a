"""A network between a client and a server that can forget its connections without a word, as a NAT or a firewall does."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self


class ForgetfulRelay:
    """Passes bytes on to a port of this machine, from a port of its own.

    `accepted` counts connections. `swallowed` is how many bytes have disappeared since `forget`.
    """

    def __init__(self, target: int) -> None:
        self.accepted = 0
        self.swallowed = 0
        self._target = target
        self._forgotten: set[asyncio.StreamWriter] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    def forget(self) -> None:
        """From now on nothing passes on the connections of now, and neither side is told. New ones work."""
        self._forgotten |= self._writers

    def cut(self) -> None:
        """End the forgotten connections."""
        for writer in self._forgotten:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        other_reader, other = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, other}
        for source, sink in ((reader, other), (other_reader, writer)):
            task = asyncio.create_task(self._pass(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                if sink in self._forgotten:
                    self.swallowed += len(data)
                else:
                    sink.write(data)
                    await sink.drain()
        if sink not in self._forgotten:
            sink.close()
