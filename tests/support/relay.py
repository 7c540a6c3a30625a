"""A relay between a client and a server that can drop its connections silently, as a NAT or a firewall does."""

from __future__ import annotations

import asyncio
import contextlib

from .loopback import LoopbackServer


class ForgetfulRelay(LoopbackServer):
    """Passes bytes on to a port of this machine, from another port.

    `accepted` counts connections. `swallowed` is how many bytes have disappeared since `forget`.
    """

    def __init__(self, target: int) -> None:
        super().__init__()
        self.swallowed = 0
        self._target = target
        self._forgotten: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def forget(self) -> None:
        """From now on nothing passes on the present connections, and neither side is told. New ones work."""
        self._forgotten.update(self._writers)

    def cut(self) -> None:
        """End the forgotten connections."""
        for writer in self._forgotten:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers.append(other)
        await asyncio.gather(self._pass(reader, other), self._pass(other_reader, writer))

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
